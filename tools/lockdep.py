#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Compares the order of locks in docs/architecture.md, section 4, with what lockdep saw.

    lockdep.py FILE...

Each FILE is a copy of /proc/lockdep, or several in one, from a kernel with CONFIG_PROVE_LOCKING
that ran our modules. Addresses and counters may be left out, as tools/vm/guest/init.sh does it.

What is compared are the edges between two locks of our modules: one was taken while the other one
was the last that the thread had taken before. The exit status is 1 if there is an edge that the
document lacks. Edges of the document that were not seen are named, and so are locks; perhaps
nothing has tested them.
"""

import argparse
import re
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "docs"))

import locks  # noqa: E402
from generated import ROOT  # noqa: E402

HEADER = "all lock classes:"
# What stands before the name of a class: address, counters, and how it was used.
CLASS = re.compile(r"^\S+(?: OPS: *\d+)? FD: *\d+ BD: *\d+ \S+: ")
# What is taken under it, and the address of that.
INNER = re.compile(r"^ -> (?:\[\S+\] )?")
# One name can stand for several classes; subclasses are told apart by a number, too.
VERSION = re.compile(r"(?:#\d+)?(?:/\d+)?$")


def read(files: list[Path]) -> dict[str, set[str]]:
    """Returns the names of what was taken directly under each class, by its name."""
    graph: dict[str, set[str]] = defaultdict(set)
    outer = None
    for line in "\n\n".join(file.read_text(encoding="utf-8") for file in files).splitlines():
        if not line.strip() or line == HEADER:
            outer = None
        elif inner := INNER.match(line):
            if outer is not None:
                graph[outer].add(VERSION.sub("", line[inner.end() :]))
        else:
            outer = VERSION.sub("", CLASS.sub("", line))
            graph[outer].update()
    return graph


def compare(order: locks.Order, graph: dict[str, set[str]]) -> tuple[list[str], list[str]]:
    """Returns what is wrong, and what is only worth knowing."""
    ours = {lock.lockdep: lock.name for lock in order.locks}
    seen = {
        (ours[outer], ours[inner])
        for outer, inners in graph.items()
        for inner in inners
        if outer in ours and inner in ours
    }
    drawn = [edge for edge in order.edges if all(name in order.ours for name in edge)]
    wrong = [
        f"{locks.DOCUMENT} lacks an edge: {inner} was taken under {outer}"
        for outer, inner in sorted(seen - set(drawn))
    ]
    if not any(name in graph for name in ours):
        wrong.append("the copy has none of our locks")
    notes = [f"never taken: {ours[name]}" for name in ours if name not in graph]
    for outer, inner in drawn:
        if (outer, inner) not in seen:
            taken = graph.get(order.ours[outer].lockdep, set())
            between = sorted(
                other for other in taken if order.ours[inner].lockdep in graph.get(other, ())
            )
            way = f" (only under {', '.join(between)})" if between else ""
            notes.append(f"drawn but never seen: {inner} under {outer}{way}")
    notes.append(f"{len(seen)} edges between our locks were seen, {len(drawn)} are drawn")
    return wrong, notes


def main() -> int:
    """Is the command line."""
    parser = argparse.ArgumentParser(description="Compare the order of locks with lockdep's.")
    parser.add_argument("files", type=Path, nargs="+", help="copies of /proc/lockdep")
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree (default: this one)")
    arguments = parser.parse_args()
    for file in arguments.files:
        if not file.exists():
            sys.exit(f"error: there is no {file}; `make test DEBUG=1` leaves it behind at its end")
    graph = read(arguments.files)
    wrong, notes = compare(locks.read(arguments.root), graph)
    for note in notes:
        print(f"lock order: {note}")
    for problem in wrong:
        print(f"error: {problem}", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
