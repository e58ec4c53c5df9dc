"""PyTorch's ``torchrun`` on a machine that jobs share: its port is the job's own, and a script's failure is told by the script.

Place in the flow: what ``torchrun`` on a job's PATH is, and what ``script_launch`` starts for ``torch_distributed``.
"""

import importlib
import os
import re
import sys
from typing import Any

from stagedoor.worker.script_launch import PORTS_VARIABLE
from stagedoor.worker.threads import VARIABLES

_AWS_PORT = "7777"
_PORT_OPTION = re.compile(r"--master[-_]port(=|$)")
_COUNT_OPTION = re.compile(r"--nproc[-_]per[-_]node=(\d+)")


def own_port(arguments: list[str], port: str) -> list[str]:
    """The arguments with the job's port where they name the one that AWS uses in every job."""
    found = list(arguments)
    for number, argument in enumerate(arguments):
        if argument == _AWS_PORT and number and _PORT_OPTION.fullmatch(arguments[number - 1]):
            found[number] = port
        elif (name := _PORT_OPTION.match(argument)) and argument[name.end() :] == _AWS_PORT:
            found[number] = name.group() + port
    return found


def share_threads(arguments: list[str]) -> None:
    """The processes of this host share its threads."""
    count = next((int(found[1]) for each in arguments if (found := _COUNT_OPTION.fullmatch(each))), 1)
    for name in VARIABLES:
        if os.environ.get(name, "").isdigit():
            os.environ[name] = str(max(1, int(os.environ[name]) // max(1, count)))


def main(arguments: list[str]) -> int:
    """The exit code: that of the first process that failed."""
    port = os.environ.get(PORTS_VARIABLE, "").partition(",")[0]
    if port:
        arguments = own_port(arguments, port)
    share_threads(arguments)
    run: Any = importlib.import_module("torch.distributed.run")
    errors: Any = importlib.import_module("torch.distributed.elastic.multiprocessing.errors")
    try:
        run.main(arguments)
    except errors.ChildFailedError as error:
        # No traceback of the launcher's: the last one in the output is the script's.
        rank, failure = error.get_first_failure()
        print(f"torchrun: the process with rank {rank} ended with exit code {failure.exitcode}", flush=True)
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
