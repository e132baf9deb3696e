# SPDX-License-Identifier: GPL-2.0
"""Documents that programs make: writing them, and checking that they are up to date.

A program says what the documents should contain (`Outcome`); `run` is its command line.
"""

import argparse
import difflib
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Outcome:
    """What a program found."""

    # What each file should contain, by its path relative to the root of the tree.
    files: dict[Path, str] = field(default_factory=dict)
    # What is wrong and has to be put right by hand.
    problems: list[str] = field(default_factory=list)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table in Markdown, with a newline at its end."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def cell(text: str) -> str:
    """Returns `text` such that it does not end a cell of a table."""
    return text.replace("|", r"\|")


def _differences(root: Path, files: dict[Path, str]) -> list[str]:
    """Returns the lines of a diff from what is there to what should be."""
    lines: list[str] = []
    for path, wanted in files.items():
        there = root / path
        found = there.read_text(encoding="utf-8") if there.exists() else ""
        made = f"{path} (made anew)"
        lines += difflib.unified_diff(
            found.splitlines(), wanted.splitlines(), str(path), made, lineterm="", n=1
        )
    return lines


def run(produce: Callable[[Path], Outcome], description: str) -> int:
    """Writes what `produce` makes of the tree, or compares it with what is there (`--check`).

    Returns the exit status: 1 if something differs, or is wrong and was found on the way.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="write nothing; say what differs")
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree (default: this one)")
    arguments = parser.parse_args()

    outcome = produce(arguments.root)
    failed = bool(outcome.problems)
    if arguments.check:
        differences = _differences(arguments.root, outcome.files)
        if differences:
            print(*differences, "error: documents are out of date; `make docs` makes them anew", sep="\n")
            failed = True
    else:
        for path, text in outcome.files.items():
            (arguments.root / path).write_text(text, encoding="utf-8")
    for problem in outcome.problems:
        print(f"error: {problem}", file=sys.stderr)
    return int(failed)
