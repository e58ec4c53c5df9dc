"""Finds out which isolation a workload gets here, by climbing the ladder for real in a process that does nothing else.

Place in the flow: ``engine.isolation`` runs it as ``worker.start probe FD`` before the first workload, with the same Python and as
the same user. FD brings one line of JSON (an assignment, and the runtime's ``path``); the answer is one line on standard output.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from stagedoor.worker import division, grants
from stagedoor.worker.assignment import Assignment
from stagedoor.worker.confine import IsolationError, confine


def main(order_fd: int) -> NoReturn:
    """Print ``{"rungs": [...], "missing": {rung: reason}, "broken": rung or null}``.

    A ``broken`` rung failed half-way: what else there is has to be tried again without it.
    """
    with open(order_fd) as pipe:
        order = json.loads(pipe.readline())
    sys.path[:0] = order["path"]
    assignment = Assignment.from_json(order["assignment"])
    if assignment.launcher and not order.get("launched"):
        _launch(assignment, order)
    if assignment.launcher:
        os.setsid()  # bwrap leads the one that this process was started in
    os.chdir(assignment.scratch)
    grants.runtime_folders()
    divided = division.enter(assignment, None)
    found: dict[str, Any]
    try:
        standing = confine(assignment, divided)
        found = {"rungs": standing.rungs, "missing": standing.missing, "broken": None}
    except IsolationError as error:
        found = {"rungs": [], "missing": {error.rung: error.reason}, "broken": error.rung}
    os.write(1, json.dumps(found).encode() + b"\n")
    os._exit(0)


def _launch(assignment: Assignment, order: dict[str, Any]) -> NoReturn:
    """Go on as bwrap, which starts this program once more with the same order."""
    from stagedoor.worker import bubblewrap

    reading, writing = os.pipe()
    start = str(Path(__file__).with_name("start.py"))
    program = [sys.executable, "-I", start, "probe", str(reading)]
    launch = bubblewrap.Launch(assignment, program, dict(os.environ))
    for descriptor in (reading, *launch.descriptors):
        os.set_inheritable(descriptor, True)
    # An order is small enough for what a pipe holds.
    with os.fdopen(writing, "w") as pipe:
        pipe.write(json.dumps({**order, "launched": True}) + "\n")
    os.execve(assignment.launcher, launch.command, {})  # noqa: S606 - no shell, as it should be
