#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Compiles the examples of the API for drivers, each as a module of its own.

Examples are the blocks of Rust in docs/driver-api.md and in the documentation comments of
rust_vfio/driver/. As everywhere in Rust, lines that begin with `# ` are compiled and not shown, and
a block that is marked `compile_fail,E0046` must fail with just that error. `ignore` is no example.

    driver-examples.py <kernel build tree> <work directory>

rustdoc cannot run these: its tests are programs, and these are parts of a kernel. So this is our own.
"""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(?P<marks>[\w,]*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
ERROR = re.compile(r"^error\[(E\d+)\]", re.MULTILINE)

# What a module must have, if the example is only a part of one.
MODULE = """
struct ExampleModule;

impl kernel::Module for ExampleModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}

module! {
    type: ExampleModule,
    name: "example",
    authors: ["The rust_vfio developers"],
    description: "An example",
    license: "GPL v2",
    imports_ns: ["IOMMUFD"],
}
"""
KBUILD = """obj-m := rust_vfio_example.o
rust_vfio_example-y := example.o vfio_api.o
vfio_driver := example.o
include {top}/rust_vfio/driver/driver.mk
"""


@dataclass(frozen=True)
class Example:
    """A block of code, and what must become of it."""

    name: str
    code: str
    # The errors that the compiler must report; none if it must succeed.
    errors: frozenset


def examples():
    """Yields all examples."""
    sources = [TOP / "docs/driver-api.md", *sorted((TOP / "rust_vfio/driver").rglob("*.rs"))]
    for source in sources:
        text = source.read_text()
        if source.suffix == ".rs":
            comments = (re.match(r"\s*//[/!] ?(.*)", line) for line in text.splitlines())
            text = "\n".join(found[1] if found else "" for found in comments)
        for number, block in enumerate(BLOCK.finditer(text), 1):
            marks = set(filter(None, block["marks"].split(",")))
            if source.suffix == ".md" and "rust" not in marks or "ignore" in marks:
                continue
            code = re.sub(r"^# ?(?!\[)", "", block["code"], flags=re.MULTILINE)
            errors = frozenset(mark for mark in marks if re.fullmatch(r"E\d+", mark))
            if "compile_fail" in marks and not errors:
                sys.exit(f"{source}: an example that must fail does not say with which error")
            yield Example(f"{source.relative_to(TOP)}:{number}", code, errors)


def compile_example(example, kernel, work):
    """Compiles an example, and returns what is wrong, or None."""
    source = work / "source"
    source.mkdir(parents=True, exist_ok=True)
    code = "// SPDX-License-Identifier: GPL-2.0\n//! An example.\n"
    code += "#![allow(missing_docs, dead_code, unused_imports, unused_variables)]\n" + example.code
    if "module!" not in code:
        code += MODULE
    (source / "example.rs").write_text(code)
    (source / "Kbuild").write_text(KBUILD.format(top=TOP))
    built = subprocess.run(
        [TOP / "tools/modules.sh", kernel, source, work / "out", "modules"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = frozenset(ERROR.findall(built.stderr))
    if example.errors:
        if built.returncode == 0:
            return "it compiles"
        if found != example.errors:
            return f"it fails with {sorted(found)}:\n{built.stderr}"
    elif built.returncode:
        return built.stderr
    return None


def main():
    """Compiles all examples, and tells how that went as the other tests do."""
    if len(sys.argv) != 3:
        sys.exit("usage: driver-examples.py <kernel build tree> <work directory>")
    kernel, work = Path(sys.argv[1]), Path(sys.argv[2])
    shutil.rmtree(work, ignore_errors=True)
    passed = failed = 0
    for example in examples():
        what = f"fails with {', '.join(sorted(example.errors))}" if example.errors else "compiles"
        wrong = compile_example(example, kernel, work)
        if wrong is None:
            passed += 1
            print(f"ok - {example.name} {what}", flush=True)
        else:
            failed += 1
            print(f"not ok - {example.name} {what}", *wrong.splitlines(), sep="\n# ", flush=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
