"""The start of a workload's process where fork is unsafe (macOS frameworks, an initialised GPU): a new Python.

Place in the flow: ``parent`` starts it with one pipe, which brings the runtime's setup and the assignment as one line of
JSON. The pipe then stays open as a lifeline: its end means that the parent is gone, so this process goes, too.
"""

import json
import os
import signal
import socket
import sys
import threading
from typing import NoReturn

from stagedoor.worker import descendants, division, preload, process
from stagedoor.worker.assignment import Assignment, RuntimeSetup


def main(lifeline: int) -> NoReturn:
    """Read what to be from ``lifeline``, and be it. The output pipe is standard output already."""
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(lifeline, 65536)
        if not piece:
            sys.exit(process.EXIT_BEFORE_ENTRY)
        line += piece
    order = json.loads(line)
    process.lead_group()
    process.die_with(order["parent_pid"])
    assignment = Assignment.from_json(order["assignment"])
    descendants.wear_tag(assignment.tag)
    # Before the imports: they may start threads, and a fork takes only one of them along.
    divided = division.enter(assignment, order["telling_fd"])
    preload.preload(RuntimeSetup.from_json(order["runtime"]))
    listener = socket.socket(fileno=order["listener_fd"]) if order["listener_fd"] is not None else None
    threading.Thread(target=_watch, args=(lifeline,), daemon=True, name="lifeline").start()
    process.become(assignment, listener, os.dup(1), frozenset({lifeline}), divided)


def _watch(lifeline: int) -> None:
    while os.read(lifeline, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)
