#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Prints what clients of VFIO did, as a table: from what the VM's runner printed.

    table.py C.out RUST.out     two columns, and a mark where they differ
    table.py ONE.out            one
"""

import collections
import re
import sys

CLIENT = re.compile(r"# client (\S+) (\S+)")
# What docs/c-defects.md says of the C modules is no surprise.
DEFECT = re.compile(r"the C (core|backend) does not do this")
RESULT = re.compile(r"(not )?ok \d+ (?:- )?(.*?)(?: # SKIP (.*))?$")


def results(path):
    """Returns what came of each check, by program, version, name, and which one."""
    found = {}
    times = collections.Counter()
    client = None
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if match := CLIENT.match(line):
                client = match.groups()
            elif client and (match := RESULT.match(line.rstrip())):
                failed, name, reason = match.groups()
                verdict = "FAILED" if failed else f"skipped: {reason}" if reason else "ok"
                if reason and DEFECT.match(reason):
                    verdict = "defect"
                times[client, name] += 1
                found[*client, name, times[client, name]] = verdict
    return found


def main():
    columns = {path: results(path) for path in sys.argv[1:]}
    rows = list(dict.fromkeys(key for column in columns.values() for key in column))
    titles = [re.sub(r"\.out$", "", path.rsplit("/", 1)[-1]).upper() for path in columns]
    table = [["PROGRAM", "VERSION", "WHAT IT DID", *titles]]
    for row in rows:
        verdicts = [column.get(row, "missing") for column in columns.values()]
        if len(set(verdicts) - {"defect"}) > 1:
            verdicts[-1] += " <-- differs"
        table.append([*row[:3], *verdicts])
    widths = [max(map(len, column)) for column in zip(*table)]
    for line in table:
        print("  ".join(map(str.ljust, line, widths)).rstrip())


main()
