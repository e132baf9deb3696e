#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes the tables of the contract's rows, with the tests that prove each of them.

The statements come from docs/rows.toml, the tests from the lists `ROWS` in
tools/testing/selftests/vfio/suite/rows/*.rs: a test proves the row with which its name begins.
A document says where it wants a table, and of which rows:

    <!-- rows: L -->
    ... what is here is replaced ...
    <!-- end of rows -->

The kinds of rows are explained in docs/rows.toml; `all` is all of them.

Besides, the program finds
  - tests without a row, and rows that two parts of rows.toml have;
  - rows, tests and sections that a document names and that do not exist;
  - defects of C (kind L), and tests that do not run on C, which docs/c-defects.md does not explain.
"""

import re
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from generated import Outcome, cell, run, table

STATEMENTS = Path("docs/rows.toml")
TABLE = Path("docs/contract.md")
ABI = Path("docs/abi.md")
DEFECTS = Path("docs/c-defects.md")
SUITE = Path("tools/testing/selftests/vfio/suite/rows")
MAKEFILE = Path("Makefile")

# One list of tests, and one entry of it: a name with the methods that are called on it.
LIST = re.compile(r"ROWS: &\[Row\] = rows!\[(.*?)\];", re.DOTALL)
ENTRY = re.compile(r"(?P<name>[A-Z]\d+_\w+)(?P<calls>(?:\s*\.\w+\([^)]*\))*)")
NOT_ON_C = "Holds::OnlyRust"
NO_TEST = "**no test**"
# A section of abi.md.
SECTION = re.compile(r"^#{2,3} (\d+(?:\.\d+)?)\b", re.MULTILINE)
# The place of a table in a document.
PLACE = re.compile(r"(?P<begin><!-- rows: (?P<kind>\w+) -->\n).*?(?P<end><!-- end of rows -->)", re.DOTALL)
# What looks like the name of a row or of a test.
MENTION = re.compile(r"\b(?:[FRTS]\d+_\w+|R-\d+|[FS]\d{3}|T\d{2})\b")


@dataclass(frozen=True)
class Test:
    """A test of the suite."""

    name: str
    # The name of its file.
    file: str
    # Whether it runs on the C modules as well.
    on_c: bool

    @property
    def row(self) -> str:
        """The row that it carries in its name: `R-38` for `R38_second_file`."""
        kind, number = self.name[0], self.name.partition("_")[0][1:]
        return f"R-{number}" if kind == "R" else f"{kind}{number}"


@dataclass(frozen=True)
class Part:
    """Rows that belong together."""

    title: str
    kind: str
    # The sections of abi.md that it is about, or else a sentence in their place.
    sections: list[str]
    note: str
    # The statement of each row.
    rows: dict[str, str]

    @property
    def head(self) -> str:
        """What stands above its table."""
        if not self.sections:
            return f"\n### {self.title}\n" + (f"\n{self.note}\n" if self.note else "")
        word = "Section" if len(self.sections) == 1 else "Sections"
        return f"\n### {self.title}\n\n{word} {', '.join(self.sections)} of [{ABI.name}]({ABI.name}).\n"


class Contract:
    """All rows, and what proves them."""

    def __init__(self, root: Path) -> None:
        """Reads them from the tree."""
        with (root / STATEMENTS).open("rb") as file:
            data = tomllib.load(file)
        self.parts = [
            Part(part["title"], part["kind"], part.get("sections", []), part.get("note", ""), part["rows"])
            for part in data["part"]
        ]
        self.also: dict[str, list[str]] = data["also"]
        self.tests = read_tests(root)
        self.by_name = {test.name: test for test in self.tests}

    @property
    def rows(self) -> list[str]:
        """The names of all rows."""
        return [row for part in self.parts for row in part.rows]

    def proof(self, row: str) -> str:
        """Returns what proves `row`, for a table: tests by file, and commands."""
        others = self.also.get(row, [])
        files: dict[str, list[str]] = {}
        for test in self.tests:
            if test.row == row or test.name in others:
                note = "" if test.on_c else " (not on C)"
                files.setdefault(test.file, []).append(f"`{test.name}`{note}")
        found = [f"[{file}]: {', '.join(names)}" for file, names in files.items()]
        found += [f"`{other}`" for other in others if other not in self.by_name]
        return "; ".join(found) or NO_TEST

    def summary(self) -> str:
        """Returns how many rows and tests there are, and which rows have no test."""
        missing = [row for row in self.rows if self.proof(row) == NO_TEST]
        text = f"{len(self.rows)} rows, {len(self.tests)} tests."
        return f"{text} Without a test: {', '.join(missing)}." if missing else text

    @staticmethod
    def link(row: str, part: Part) -> str:
        """Returns the name of `row`, with a link to where it is explained, if anywhere."""
        return f"[{row}]({DEFECTS.name}#{row.lower()})" if part.kind == "L" else row

    def text(self, kind: str) -> str:
        """Returns the tables of all parts of a kind, and the targets of their links."""
        parts = [part for part in self.parts if kind in (part.kind, "all")]
        text = f"\n{self.summary()}\n" if kind == "all" else ""
        for part in parts:
            if kind == "all":
                text += part.head
            lines = (
                [self.link(row, part), cell(statement), self.proof(row)]
                for row, statement in part.rows.items()
            )
            text += "\n" + table(["Row", "What holds", "Tests"], lines)
        files = sorted(set(re.findall(r"\[(\w+\.rs)\]", text)))
        links = "".join(f"[{file}]: ../{SUITE}/{file}\n" for file in files)
        return f"{text}\n{links}\n"

    def mistakes(self, root: Path) -> list[str]:
        """Returns what is wrong with rows.toml and the names of tests."""
        rows = self.rows
        problems = [f"{STATEMENTS}: {row} is there twice" for row, n in Counter(rows).items() if n > 1]
        problems += [
            f"{SUITE}/{test.file}: {test.name} carries the name of row {test.row}, which {STATEMENTS} lacks"
            for test in self.tests
            if test.row not in rows
        ]
        sections = SECTION.findall((root / ABI).read_text(encoding="utf-8"))
        problems += [f"{ABI}: {section} is there twice" for section, n in Counter(sections).items() if n > 1]
        problems += [
            f"{STATEMENTS}: {part.title}: {ABI} has no section {section}"
            for part in self.parts
            for section in part.sections
            if section not in sections
        ]
        targets = re.findall(r"^([\w-]+):", (root / MAKEFILE).read_text(encoding="utf-8"), re.MULTILINE)
        for row, others in self.also.items():
            if row not in rows:
                problems.append(f"{STATEMENTS}: [also] names {row}, which is no row")
            for other in others:
                command = other.removeprefix("make ")
                if other not in self.by_name and (command == other or command not in targets):
                    problems.append(f"{STATEMENTS}: {row}: there is no test or command `{other}`")
                elif other in self.by_name and self.by_name[other].row == row:
                    problems.append(f"{STATEMENTS}: {row}: {other} proves it anyway, by its name")
        return problems

    def mentions(self, path: Path, text: str) -> list[str]:
        """Returns which rows and tests a document names although there are none."""
        known = {*self.rows, *self.by_name}
        unknown = sorted(set(MENTION.findall(text)) - known)
        return [f"{path} names {name}, which does not exist" for name in unknown]

    def unexplained(self, text: str) -> list[str]:
        """Returns what the document about the defects of C, `text`, does not explain."""
        written = PLACE.sub("", text)
        rows = [row for part in self.parts if part.kind == "L" for row in part.rows]
        problems = [
            f"{DEFECTS} has no section `### {row}`"
            for row in rows
            if not re.search(rf"^### {row}$", written, re.MULTILINE)
        ]
        problems += [
            f"{DEFECTS} does not say why {test.name} does not run on C"
            for test in self.tests
            if not test.on_c and not re.search(rf"\b{test.name}\b", written)
        ]
        return problems


def read_tests(root: Path) -> list[Test]:
    """Returns all tests, as the lists in the files of the suite have them."""
    tests = []
    for path in sorted((root / SUITE).glob("*.rs")):
        source = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
        for block in LIST.findall(source):
            for entry in ENTRY.finditer(block):
                tests.append(Test(entry["name"], path.name, NOT_ON_C not in entry["calls"]))
    return tests


def produce(root: Path) -> Outcome:
    """Makes the tables of all documents."""
    contract = Contract(root)
    outcome = Outcome(problems=contract.mistakes(root))
    kinds = {part.kind for part in contract.parts} | {"all"}
    for path in sorted((root / "docs").glob("*.md")):
        name = path.relative_to(root)
        text = path.read_text(encoding="utf-8")
        outcome.problems += contract.mentions(name, PLACE.sub("", text))
        if name == DEFECTS:
            outcome.problems += contract.unexplained(text)
        found = [place["kind"] for place in PLACE.finditer(text)]
        outcome.problems += [
            f"{name}: there are no rows of kind `{kind}`" for kind in found if kind not in kinds
        ]
        if text.count("<!-- rows:") != len(found):
            outcome.problems.append(f"{name}: a table of rows does not end")
        if name == TABLE and found != ["all"]:
            outcome.problems.append(f"{name} must have one table, of all rows")
        if found:
            outcome.files[name] = PLACE.sub(
                lambda place: f"{place['begin']}{contract.text(place['kind'])}{place['end']}", text
            )
    return outcome


if __name__ == "__main__":
    sys.exit(run(produce, "Makes the tables of the contract's rows, with their tests."))
