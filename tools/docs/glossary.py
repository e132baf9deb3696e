#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Checks the tables of docs/glossary.md, which say what became of each C type and C function.

A table stands between two comments:

    <!-- glossary: types -->
    | `struct vfio_dma` | `drivers/vfio/vfio_iommu_type1.c` | `iommu_type1/mapping.rs`: `Mapping` |
    <!-- end of glossary -->

    <!-- glossary: functions drivers/vfio/group.c -->
    | `vfio_group_fops_open` | `group/file.rs`: `Group::open()` |
    <!-- end of glossary -->

    <!-- glossary: ours -->
    | `core/session.rs`: `Session` | What it stands for |
    <!-- end of glossary -->

The cell about us names a file below rust_vfio/ and, behind it, names that the file must define. A name
may say in which implementation, trait, type or module it is (`Group::open()`), and a field follows
a dot (`Type1State.valid`). A cell that begins with "-" gives the reason why there is nothing.

If the kernel's source is there, each function of the C files and each of their types must have a
row, and no row may name another one.
"""

import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from generated import Outcome, run

DOCUMENT = Path("docs/glossary.md")
SOURCES = Path("rust_vfio")
SERIES = Path("tools/series.sh")
HEADERS = [Path("drivers/vfio/vfio.h"), Path("include/linux/vfio.h")]

PLACE = re.compile(
    r"<!-- glossary: (?P<kind>types|ours|functions (?P<file>\S+)) -->\n"
    r"(?P<table>.*?)<!-- end of glossary -->",
    re.DOTALL,
)
CODE = re.compile(r"`([^`]+)`")

C_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
# The kernel's style: what is defined begins in the first column, and so does the brace of its body.
C_FUNCTION = re.compile(r"^(?![#\s])[^\n;{}=]*?\b(?P<name>\w+)\([^;{}]*\)\s*\n\{", re.MULTILINE)
C_TYPE = re.compile(r"^(?:static )?(?P<name>(?:struct|enum|union) \w+)\s*\{", re.MULTILINE)

VISIBLE = r"(?:pub(?:\([a-z ]+\))? )?"
# What opens a scope, and what names something. rustfmt puts the end of a scope below its beginning.
SCOPE = re.compile(rf"^(?P<indent> *){VISIBLE}(?:unsafe )?(?P<head>(?:impl|trait|struct|enum|mod)\b[^;]*)$")
ITEM = re.compile(
    rf"^ *{VISIBLE}(?:const |unsafe(?:\(uninit\))? |extern \"C\" )*"
    r"(?:fn|struct|enum|union|trait|type|const|static|mod|macro_rules!) (?:mut )?(?P<name>\w+)"
)
# A field of a structure, or a variant of an enumeration.
FIELD = re.compile(rf"^ +{VISIBLE}(?P<name>\w+)(?=:|,| =| {{|\()")


@dataclass(frozen=True)
class Row:
    """A row of a table: what C has, in which file, and what the last cell says."""

    c_name: str
    c_file: Path
    here: str


@dataclass
class Source:
    """A file of ours, and the names that it defines."""

    path: Path
    names: list[tuple[str, frozenset[str]]]

    @classmethod
    def read(cls, path: Path) -> "Source":
        """Reads a file and finds its names."""
        return cls(path, list(rust_names(path.read_text(encoding="utf-8"))))

    def defines(self, name: str) -> bool:
        """Returns whether the file defines `name`, which can have a path and a field."""
        *path, last = re.split(r"::|\.", name.removesuffix("()"))
        return any(last == found and words.issuperset(path) for found, words in self.names)


def rust_names(source: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Returns the names that Rust code defines, fields and variants included.

    With each come the words in the heads of the scopes that it is in.
    """
    scopes: list[tuple[str, str]] = []
    # The head of an implementation can have several lines.
    head, indent = "", ""
    for line in source.splitlines():
        text = line.split("//")[0].rstrip()
        if scopes and text == scopes[-1][0] + "}":
            scopes.pop()
            continue
        words = frozenset(word for _, words in scopes for word in re.findall(r"\w+", words))
        if found := ITEM.match(text):
            yield found["name"], words
        elif scopes and scopes[-1][1].startswith(("struct", "enum")) and (found := FIELD.match(text)):
            yield found["name"], words
        if head:
            head += text
        elif found := SCOPE.match(text):
            head, indent = found["head"], found["indent"]
        if head.endswith("{"):
            scopes.append((indent, head))
        if head.endswith(("{", "}", ";", ")")):
            head = ""


class Glossary:
    """The tables of the document, the tree, and the kernel's source if it is there."""

    def __init__(self, root: Path) -> None:
        """Reads the tables."""
        self.root = root
        self.text = (root / DOCUMENT).read_text(encoding="utf-8")
        self.sources: dict[str, Source] = {}
        self.types: list[Row] = []
        self.ours: list[Row] = []
        self.functions: dict[Path, list[Row]] = {}
        for place in PLACE.finditer(self.text):
            lines = [line.strip("|").split(" | ") for line in place["table"].splitlines() if "| `" in line]
            cells = [[cell.strip() for cell in line] for line in lines]
            if place["file"]:
                file = Path(place["file"])
                self.functions[file] = [Row(name.strip("`"), file, here) for name, here in cells]
            elif place["kind"] == "ours":
                self.ours += [Row(here, DOCUMENT, here) for here, _ in cells]
            else:
                self.types += [
                    Row(name.strip("`"), Path(file.strip("`")), here) for name, file, here in cells
                ]

    @cached_property
    def kernel(self) -> Path | None:
        """The kernel's source, where tools/setup.sh puts it."""
        series = re.search(r"^series=(\S+)$", (self.root / SERIES).read_text(encoding="utf-8"), re.MULTILINE)
        caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        cache = Path(os.environ.get("RUST_VFIO_CACHE", caches / "rust_vfio"))
        unpacked = cache / f"src/linux-source-{series[1]}" if series else cache
        kernel = Path(os.environ.get("KSRC", unpacked))
        return kernel if (kernel / HEADERS[0]).exists() else None

    def source(self, path: str) -> Source | None:
        """Returns a file of ours, if it is there."""
        if path not in self.sources:
            full = self.root / SOURCES / path
            if not full.is_file():
                return None
            self.sources[path] = Source.read(full)
        return self.sources[path]

    def unknown(self, row: Row) -> Iterator[str]:
        """Returns what a row names here that does not exist."""
        if row.here.startswith("-"):
            return
        source = None
        named = CODE.findall(row.here)
        if not named:
            yield f"{row.c_name}: there is neither a name nor a reason"
        for name in named:
            if name.endswith(".rs"):
                source = self.source(name)
                if source is None:
                    yield f"{row.c_name}: there is no {SOURCES}/{name}"
                    return
            elif source is None:
                yield f"{row.c_name}: `{name}` has no file in front of it"
            elif not source.defines(name):
                yield f"{row.c_name}: {source.path.relative_to(self.root)} does not define {name}"

    def missing(self) -> Iterator[str]:
        """Returns which rows the kernel's source asks for, or does not know."""
        if not self.kernel:
            return
        sources = {
            file: C_COMMENT.sub("", (self.kernel / file).read_text(encoding="utf-8"))
            for file in [*self.functions, *HEADERS]
        }
        for file, rows in self.functions.items():
            defined = [found["name"] for found in C_FUNCTION.finditer(sources[file])]
            yield from differences(f"functions of {file}", defined, [row.c_name for row in rows])
        for file, text in sources.items():
            defined = [found["name"] for found in C_TYPE.finditer(text)]
            rows = [row.c_name for row in self.types if row.c_file == file]
            yield from differences(f"types of {file}", defined, rows)
        for row in self.types:
            if row.c_file not in sources:
                yield f"{row.c_name}: {row.c_file} is not one of the files that are replaced"


def differences(what: str, defined: list[str], rows: list[str]) -> Iterator[str]:
    """Returns which names are defined and have no row, and the other way round."""
    yield from (f"{what}: {name} has {n} rows" for name, n in Counter(rows).items() if n > 1)
    yield from (f"{what}: {name} has no row" for name in sorted({*defined} - {*rows}))
    yield from (f"{what}: there is no {name}" for name in sorted({*rows} - {*defined}))


def produce(root: Path) -> Outcome:
    """Checks the document. There is nothing to make."""
    glossary = Glossary(root)
    found = [*glossary.missing()]
    functions = [row for rows in glossary.functions.values() for row in rows]
    for row in [*glossary.types, *glossary.ours, *functions]:
        found += glossary.unknown(row)
    if not all([glossary.types, glossary.ours, functions]):
        found.append("a table is missing")
    return Outcome(problems=[f"{DOCUMENT}: {problem}" for problem in found])


if __name__ == "__main__":
    sys.exit(run(produce, "Checks the tables of docs/glossary.md."))
