#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Describes the crates of the modules to rust-analyzer.

The kernel's own script (`make rust-analyzer`) knows the kernel's crates, but not
roots in sub-directories, nor crates between the kernel and a module such as
`vfio_bindings` and `vfio`. So ours are added here, each as the build compiled it:
what its .cmd file says.

    rust-analyzer.py <rust-project.json of the kernel> <build output>...
"""

import json
import pathlib
import re
import shlex
import sys

SYSROOT = ("core", "alloc", "std", "proc_macro")
# The crates between the kernel and a module, each before its users.
BETWEEN = ("vfio_bindings", "vfio")
NAME = re.compile(r'^#!\[crate_name = "(\w+)"\]', re.MULTILINE)
SAVED = re.compile(r"^savedcmd_\S+ := (.*?rustc .*?\.rs)\s*(?:;|$)", re.MULTILINE)


def commands(output):
    """The commands by which a build compiled crates, each before its users."""
    found = []
    for path in sorted(pathlib.Path(output).rglob(".*.cmd")):
        saved = SAVED.search(path.read_text())
        if saved:
            found.append(shlex.split(saved.group(1)))
    return sorted(found, key=lambda words: [name in externs(words) for name in BETWEEN[::-1]])


def values(words, option):
    """What the options of this name say."""
    return [after for word, after in zip(words, words[1:]) if word == option]


def externs(words):
    """The crates that a command names with --extern."""
    return values(words, "--extern")


def crate(words, index, cfg):
    """One entry of rust-project.json."""
    root = pathlib.Path(words[-1]).resolve()
    named = values(words, "--crate-name") or NAME.findall(root.read_text())
    # NAME=value ... rustc --edition=2021 ...
    environment = dict(w.split("=", 1) for w in words[: words.index("--edition=2021") - 1])
    # Where bindings are generated.
    include = [str(root.parent), *filter(None, [environment.get("VFIO_RS_GEN")])]
    return {
        "display_name": named[0] if named else root.stem,
        "root_module": str(root),
        "is_workspace_member": True,
        "deps": [{"crate": index[name], "name": name} for name in externs(words)],
        # Those of the configuration are in a file, which the kernel's script has read.
        "cfg": cfg + values(words, "--cfg"),
        "crate_attrs": ["no_std"],
        "edition": "2021",
        "env": environment,
        "source": {"include_dirs": include, "exclude_dirs": []},
    }


def keep(crates, wanted):
    """These crates without some; they refer to each other by number."""
    kept = [number for number, entry in enumerate(crates) if wanted(entry)]
    new = {number: at for at, number in enumerate(kept)}
    for entry in crates:
        entry["deps"] = [{**d, "crate": new[d["crate"]]} for d in entry["deps"] if d["crate"] in new]
    return [crates[number] for number in kept]


def main():
    project = json.loads(pathlib.Path(sys.argv[1]).read_text())
    crates = project["crates"]
    core = next(entry for entry in crates if entry["display_name"] == "core")
    kernel = next(entry for entry in crates if entry["display_name"] == "kernel")

    # In a core that is a crate like any other rust-analyzer does not find the
    # methods of integers, slices and pointers; so it is told where to find its
    # own. (The path is that of .../library/core/src/lib.rs.)
    project["sysroot_src"] = str(pathlib.Path(core["root_module"]).parents[2])
    crates = keep(crates, lambda entry: entry["display_name"] not in SYSROOT)

    # The kernel's script finds the fixture by itself, but not what that needs.
    top = pathlib.Path(__file__).resolve().parent.parent
    crates = keep(crates, lambda entry: top not in pathlib.Path(entry["root_module"]).parents)
    for entry in crates:
        entry["is_workspace_member"] = False

    for output in sys.argv[2:]:
        index = {entry["display_name"]: number for number, entry in enumerate(crates)}
        for words in commands(output):
            entry = crate(words, index, kernel["cfg"])
            index[entry["display_name"]] = len(crates)
            crates.append(entry)
    json.dump({**project, "crates": crates}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
