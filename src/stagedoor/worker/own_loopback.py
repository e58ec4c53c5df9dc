"""A loopback of a workload's own, from which the server can be reached all the same. Linux, network namespaces.

Place in the flow: ``confine`` makes it for a program that listens on a port that others have, too (``serve``: 8080). The process splits:
the workload goes on in the new network, and a relay in the old one, confined like the workload. Within, the server's ports are
listened on; whoever connects there is connected by the relay with the server outside.
"""

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import threading
from collections.abc import Sequence
from typing import NoReturn

from stagedoor.worker import linux

_SIOCSIFFLAGS, _IFF_UP_RUNNING = 0x8914, 0x41
_BACKLOG = 64
_CHUNK_BYTES = 64 * 1024
_FAILED = 70


def leave_network() -> None:
    """Go into a network namespace with nothing but its own loopback. OSError."""
    linux.unshare(linux.CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP_RUNNING))


def split(host: str, ports: Sequence[int]) -> list[socket.socket] | None:
    """None in the workload, which is in its own network then. In the relay: the sockets on which the workload will connect, as ``ports``.

    OSError in the workload alone; the relay has ended then.
    """
    ours, theirs = socket.socketpair()
    relay = os.fork()
    if relay == 0:
        ours.close()
        linux.die_with_parent(signal.SIGKILL)
        _, descriptors, _, _ = socket.recv_fds(theirs, 1, len(ports))
        theirs.close()
        if len(descriptors) != len(ports):
            os._exit(_FAILED)
        return [socket.socket(fileno=descriptor) for descriptor in descriptors]
    theirs.close()
    listening: list[socket.socket] = []
    try:
        leave_network()
        listening.extend(socket.create_server((host, port), backlog=_BACKLOG) for port in ports)
        socket.send_fds(ours, [b"."], [each.fileno() for each in listening])
    finally:
        ours.close()
        for each in listening:
            each.close()
    return None


def relay(listening: Sequence[socket.socket]) -> NoReturn:
    """Connect whoever comes with the same address outside, until the workload ends."""
    try:
        while True:
            for each in select.select(listening, [], [])[0]:
                with contextlib.suppress(OSError):
                    inner, _ = each.accept()
                    address = each.getsockname()
                    threading.Thread(target=_carry, args=(inner, address), daemon=True).start()
    finally:
        os._exit(_FAILED)


def _carry(inner: socket.socket, address: tuple[str, int]) -> None:
    """Both ways, until both have ended."""
    with inner, contextlib.suppress(OSError), socket.create_connection(address) as outer:
        other = {inner: outer, outer: inner}
        open_ends = [inner, outer]
        while open_ends:
            for end in select.select(open_ends, [], [])[0]:
                data = end.recv(_CHUNK_BYTES)
                if data:
                    other[end].sendall(data)
                else:
                    open_ends.remove(end)
                    other[end].shutdown(socket.SHUT_WR)
