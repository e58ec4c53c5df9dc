"""Finds out which isolation a workload gets here, by climbing the ladder for real in a process that does nothing else.

Place in the flow: ``engine.isolation`` runs it as ``worker.start probe FD`` before the first workload, with the same Python and as
the same user. FD brings one line of JSON (an assignment, and the runtime's ``path``); the answer is one line on standard output.
"""

import json
import os
import sys

from stagedoor.worker import grants
from stagedoor.worker.assignment import Assignment
from stagedoor.worker.confine import confine
from stagedoor.worker.division import divide, undivided


def main(order_fd: int) -> int:
    """Print ``{"rungs": [...], "missing": {rung: reason}}``."""
    with open(order_fd) as pipe:
        order = json.loads(pipe.readline())
    sys.path[:0] = order["path"]
    assignment = Assignment.from_json(order["assignment"])
    os.chdir(assignment.scratch)
    grants.runtime_folders()
    enter = undivided if assignment.isolation == "none" else divide
    division = enter(None)
    standing = confine(assignment, division)
    print(json.dumps({"rungs": standing.rungs, "missing": standing.missing}), flush=True)
    return 0
