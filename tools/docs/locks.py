#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Draws the order of locks, from the tables of section 4 of docs/architecture.md.

The first table there names the locks of our modules, the second one says which lock is taken
directly under which: no other lock is taken in between. Names in backquotes are ours. What has no
backquotes is a lock of somebody else, or many of them.

The drawing goes into that section, and into the crate roots of the modules. Besides, the program
finds locks in the code that the table does not name, and names in the tables that nobody has.
"""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from generated import Outcome, run

DOCUMENT = Path("docs/architecture.md")
SOURCES = Path("rust_vfio")
CORE_ROOT = SOURCES / "rust_vfio.rs"
TYPE1_ROOT = SOURCES / "rust_type1.rs"
# Locks that are declared here belong to vfio_iommu_type1.ko.
TYPE1_FILES = "iommu_type1/"
# The crate for drivers is part of other modules. Its own documentation has its locks.
DRIVER_FILES = "driver/"

# The part of the document that is for programs.
PART = re.compile(r"<!-- lock order: begin -->\n(.*?)<!-- lock order: end -->", re.DOTALL)
# The drawing in it, and in a crate root.
DRAWN = re.compile(r"(<!-- drawn by make docs -->\n```\n).*?(```\n)", re.DOTALL)
DRAWN_IN_CODE = re.compile(r"(//! # Lock order\n.*?//! ```text\n).*?(//! ```\n)", re.DOTALL)
NAME = re.compile(r"`([\w.]+)`")
QUOTED = re.compile(r"`([\w./]+)`")
# Where code creates a lock, with the name by which lockdep knows it.
CREATED = [
    re.compile(r"new_(?:mutex|spinlock)!\(.*?\"([\w.]+)\"", re.DOTALL),
    re.compile(r"(?:RwSem::new|__mutex_init)\(.*?c\"([\w.]+)\"", re.DOTALL),
    re.compile(r"global_lock! \{.*?\bstatic (\w+):", re.DOTALL),
]


@dataclass(frozen=True)
class Lock:
    """A lock of our modules."""

    name: str
    # Where it is declared, below `SOURCES`.
    file: str
    kind: str
    # What lockdep calls it.
    lockdep: str

    @property
    def is_type1s(self) -> bool:
        return self.file.startswith(TYPE1_FILES)


@dataclass(frozen=True)
class Order:
    """What the tables say."""

    locks: list[Lock]
    # Each lock, and one that is taken directly under it.
    edges: list[tuple[str, str]]

    @property
    def ours(self) -> dict[str, Lock]:
        return {lock.name: lock for lock in self.locks}

    def under(self, outer: str) -> list[str]:
        """Returns what is taken directly under a lock, in the order of the table."""
        return [inner for upper, inner in self.edges if upper == outer]


def _rows(text: str, header: list[str]) -> list[list[str]]:
    """Returns the cells of the table with this header, row by row."""
    rows: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if cells == header:
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and set(line) - set("|- "):
            rows.append(cells)
    return rows


def _name(cell: str) -> str:
    """Returns the name of a lock as a cell of the second table has it."""
    found = NAME.fullmatch(cell)
    return found[1] if found else f"({cell})"


def read(root: Path) -> Order:
    """Reads the tables."""
    document = (root / DOCUMENT).read_text(encoding="utf-8")
    part = PART.search(document)
    if part is None:
        sys.exit(f"error: {DOCUMENT} has no part between the marks of the lock order")
    locks = []
    for lock, kind, lockdep, *_ in _rows(
        part[1], ["Lock", "Kind", "In lockdep", "In C", "What it protects"]
    ):
        name, file = QUOTED.findall(lock)[:2]
        locks.append(Lock(name, file, kind, lockdep.strip("`")))
    edges = [
        (_name(outer), _name(inner)) for outer, inner, _ in _rows(part[1], ["Outer", "Inner", "Where"])
    ]
    return Order(locks, edges)


def draw(order: Order, roots: Iterable[str]) -> list[str]:
    """Returns the lines of a drawing, which begins with each of the roots that is not drawn yet."""
    lines: list[tuple[str, str]] = []
    drawn: set[str] = set()

    def node(name: str, depth: int, above: tuple[str, ...]) -> None:
        lock = order.ours.get(name)
        note = lock.kind if lock else ""
        inner = order.under(name)
        if name in above:
            return
        if name in drawn and inner:
            note = "as above"
        lines.append(("  " * depth + name, note))
        if name not in drawn:
            drawn.add(name)
            for lower in inner:
                node(lower, depth + 1, (*above, name))

    for name in roots:
        if name not in drawn:
            node(name, 0, ())
    width = max((len(text) for text, _ in lines), default=0) + 2
    return [f"{text:{width}}{note}".rstrip() for text, note in lines]


def _outermost(order: Order) -> list[str]:
    """Returns the locks under no other one: ours first, each kind in the order of the tables."""
    inner = {lower for _, lower in order.edges}
    ours = [lock.name for lock in order.locks]
    others = [outer for outer, _ in order.edges if outer not in order.ours]
    return [name for name in [*ours, *others] if name not in inner]


def _created(root: Path) -> dict[str, str]:
    """Returns the locks that the code creates, by their name in lockdep, with the file of each."""
    found: dict[str, str] = {}
    for path in sorted((root / SOURCES).rglob("*.rs")):
        file = str(path.relative_to(root / SOURCES))
        if file.startswith(DRIVER_FILES):
            continue
        text = path.read_text(encoding="utf-8")
        for pattern in CREATED:
            for name in pattern.findall(text):
                found[name] = file
    return found


def _problems(root: Path, order: Order) -> list[str]:
    problems = []
    created = _created(root)
    known = {lock.lockdep: lock for lock in order.locks}
    for name, file in created.items():
        if name not in known:
            problems.append(f"{DOCUMENT}: the table of locks lacks {name}, which {file} creates")
    for name, lock in known.items():
        if created.get(name) != lock.file:
            problems.append(f"{DOCUMENT}: {lock.file} does not create {name}")
    named = {name for edge in order.edges for name in edge if not name.startswith("(")}
    for name in sorted(named - set(order.ours)):
        problems.append(f"{DOCUMENT}: {name} is in the order of locks, but not in the table of locks")
    for edge in {edge for edge in order.edges if order.edges.count(edge) > 1}:
        problems.append(f"{DOCUMENT}: {edge[1]} under {edge[0]} is named twice")
    return problems


def _replace(pattern: re.Pattern[str], text: str, body: str, what: Path) -> str:
    if not pattern.search(text):
        sys.exit(f"error: {what} has no place for the drawing of the lock order")
    return pattern.sub(lambda found: found[1] + body + found[2], text, count=1)


def produce(root: Path) -> Outcome:
    """Draws the order into the documents."""
    order = read(root)
    everything = draw(order, _outermost(order))
    type1s = [lock.name for lock in order.locks if lock.is_type1s]
    # Those of type1 that are taken under others of type1 are drawn there.
    type1s.sort(key=lambda name: any(name in order.under(other) for other in type1s))
    outcome = Outcome(problems=_problems(root, order))
    text = (root / DOCUMENT).read_text(encoding="utf-8")
    body = "".join(f"{line}\n" for line in everything)
    outcome.files[DOCUMENT] = _replace(DRAWN, text, body, DOCUMENT)
    for path, lines in [(CORE_ROOT, everything), (TYPE1_ROOT, draw(order, type1s))]:
        text = (root / path).read_text(encoding="utf-8")
        body = "".join(f"//! {line}\n" for line in lines)
        outcome.files[path] = _replace(DRAWN_IN_CODE, text, body, path)
    return outcome


if __name__ == "__main__":
    sys.exit(run(produce, "Draw the order of locks."))
