"""The program of a front process: ``python -m stagedoor.front_process PIPE COUNTS NUMBER LISTENER,… …``, descriptors all of them.

Place in the flow: ``front.processes.control`` starts it. It is a composition root like ``app``, of the little that an invocation needs.
"""

import os
import signal
import socket
import sys

import uvloop

from stagedoor.front.processes.connection_counts import ConnectionCounts
from stagedoor.front.processes.process import FrontProcess
from stagedoor.http.message import Request
from stagedoor.public.addressing import api_address
from stagedoor.server_process import bound_memory


def _public_claims(request: Request) -> bool:
    return api_address(request.header.get("host", ""), request.path) is not None


async def _run(pipe: int, counts: int, number: int, listeners: list[list[int]]) -> None:
    process = FrontProcess(
        socket.socket(fileno=pipe),
        [[socket.socket(fileno=descriptor) for descriptor in descriptors] for descriptors in listeners],
        ConnectionCounts(counts, number),
        _public_claims,
    )
    await process.run()


def main(arguments: list[str]) -> None:
    """Serve until the control process says stop or is gone."""
    os.umask(0o077)
    bound_memory()
    # A terminal's Ctrl-C goes to all processes; the control process says when it is time to stop.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    if sys.platform == "linux":
        from stagedoor.worker import linux

        linux.set_title("stagedoor: front process")
        linux.hide_from_debuggers()  # keys are in this process's memory
    pipe, counts, number = (int(text) for text in arguments[:3])
    listeners = [[int(text) for text in group.split(",")] for group in arguments[3:]]
    uvloop.run(_run(pipe, counts, number, listeners))


if __name__ == "__main__":
    main(sys.argv[1:])
