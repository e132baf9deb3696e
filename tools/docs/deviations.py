#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes docs/deviations.md: where our modules differ from the C ones on purpose.

The code says so itself, in a paragraph of a doc comment (`//!` or `///`) that begins with
`Deviation:` and ends at an empty line of the comment. Any other way to say it would be missing in
the table, so that is an error: `Deviation:` within a paragraph, "Deviation from C", "Unlike C" and
"Unlike there" in any comment.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from generated import Outcome, cell, run, table

SOURCES = Path("rust_vfio")
DOCUMENT = Path("docs/deviations.md")

HEAD = """<!-- SPDX-License-Identifier: GPL-2.0 -->
<!-- Made by tools/docs/deviations.py from the comments in rust_vfio/: edit these, then `make docs`. -->
# Where our modules differ from the C ones on purpose

Each of these is what a comment in the code says after the word "Deviation". Those that put a
defect of the C modules right are explained, with their tests, in [c-defects.md](c-defects.md).

"""

MARK = "Deviation:"
COMMENT = re.compile(r"^\s*(?P<marker>//[/!]?)(?: (?P<text>.*))?$")
# What a deviation looks like that does not begin with MARK.
OTHERS = re.compile(r"\bDeviations?\b|\bdeviat(?:es|ions?) from\b|\b[Uu]nlike (?:in )?(?:the )?(?:C|there)\b")
# A link to an item of the documentation, which means nothing outside of it.
ITEM_LINK = re.compile(r"\[(`[^`\]]+`)\](?:\([^)]*\))?")


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of a comment, in one line."""

    file: Path
    # The number of its first line.
    line: int
    # Whether it is part of the documentation.
    doc: bool
    text: str


def paragraphs(file: Path, source: str) -> Iterator[Paragraph]:
    """Returns all paragraphs of the comments that have lines of their own."""
    begin, marker, texts = 0, "", list[str]()
    # The empty line ends the last paragraph.
    for number, line in enumerate([*source.splitlines(), ""], 1):
        comment = COMMENT.match(line)
        text = (comment["text"] or "").strip() if comment else ""
        if texts and (not comment or not text or comment["marker"] != marker):
            yield Paragraph(file, begin, marker != "//", " ".join(texts))
            texts = []
        if comment and text:
            if not texts:
                begin, marker = number, comment["marker"]
            texts.append(text)


def problem(paragraph: Paragraph) -> str | None:
    """Returns what is wrong with how a paragraph speaks of a deviation, if it does."""
    place = f"{paragraph.file}:{paragraph.line}"
    if paragraph.text.startswith(MARK):
        if not paragraph.doc:
            return f"{place}: a deviation belongs in a doc comment, not in a plain one"
        rest = paragraph.text.removeprefix(MARK)
    else:
        rest = paragraph.text
    if found := OTHERS.search(rest):
        return f'{place}: "{found[0]}" does not begin a paragraph with "{MARK}"'
    return None


def produce(root: Path) -> Outcome:
    """Makes the table of all deviations."""
    outcome = Outcome()
    rows = []
    for path in sorted((root / SOURCES).rglob("*.rs")):
        file = path.relative_to(root)
        for paragraph in paragraphs(file, path.read_text(encoding="utf-8")):
            if mistake := problem(paragraph):
                outcome.problems.append(mistake)
            if paragraph.doc and paragraph.text.startswith(MARK):
                text = ITEM_LINK.sub(r"\1", paragraph.text.removeprefix(MARK).strip())
                rows.append([f"[{file}](../{file})", cell(text[:1].upper() + text[1:])])
    outcome.files[DOCUMENT] = HEAD + table(["File", "Deviation"], rows)
    return outcome


if __name__ == "__main__":
    sys.exit(run(produce, "Makes docs/deviations.md from the comments in rust_vfio/."))
