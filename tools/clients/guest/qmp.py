#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Sends a command to QEMU's monitor (QMP) and prints what it answers.

    qmp.py SOCKET COMMAND [KEY=VALUE...]        fails if the command does
    qmp.py SOCKET --until EVENT COMMAND ...     also waits for that event
"""

import json
import socket
import sys


def main():
    path, *words = sys.argv[1:]
    event = None
    if words[0] == "--until":
        event, words = words[1], words[2:]
    command, *arguments = words
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(300)
        line.connect(path)
        stream = line.makefile("rw")

        def send(name, **what):
            stream.write(json.dumps({"execute": name, "arguments": what}) + "\n")
            stream.flush()

        json.loads(stream.readline())
        send("qmp_capabilities")
        json.loads(stream.readline())
        send(command, **dict(word.split("=", 1) for word in arguments))
        answered = False
        for text in stream:
            message = json.loads(text)
            if "error" in message:
                sys.exit(text)
            if "return" in message:
                answered = True
                print(json.dumps(message["return"]))
            elif message.get("event") == event:
                event = None
                print(text.strip())
            if answered and event is None:
                return
        sys.exit("QEMU ended")


main()
