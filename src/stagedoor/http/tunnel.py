"""A tunnel through the proxy: bytes of a client go to another host and back, unread. Behind a CONNECT.

Which hosts may be reached is decided before (``front.proxy``); here is only the carrying: back-pressure both ways, ends that
are passed on, and an end to tunnels that nobody uses.
"""

import asyncio
from typing import Any, Final

from stagedoor.http.destinations import Destination

CONNECT_TIMEOUT_S: Final = 10.0
IDLE_TIMEOUT_S: Final = 600.0


class ReachesOurselvesError(Exception):
    """The connection ended at this very machine, whatever the address looked like."""


class _Side(asyncio.Protocol):
    """One end of a tunnel: what it receives, the other sends."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.other: _Side | None = None
        self.early: list[bytes] = []
        self.ended = False
        self.lost = asyncio.get_running_loop().create_future()
        self.active_s = asyncio.get_running_loop().time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.active_s = asyncio.get_running_loop().time()
        if self.other is None:
            self.early.append(data)
        elif not self.other.transport.is_closing():
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        if self.other is not None and self.other.ended:
            self.other.transport.close()
            return False
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        if self.other is not None:
            self.other.transport.close()


class HostTunnel:
    """A tunnel to another host, connected already; see ``http.message.Tunnel``."""

    def __init__(self, far: _Side, idle_timeout_s: float) -> None:
        self._far = far
        self._idle_timeout_s = idle_timeout_s

    async def carry(self, transport: asyncio.Transport, already_read: bytes) -> None:
        """Until both sides have ended."""
        near, far = _Side(), self._far
        near.transport = transport
        near.other, far.other = far, near
        transport.set_protocol(near)
        if far.lost.done() or transport.is_closing():
            transport.abort()
            far.transport.abort()
            return
        if already_read:
            far.transport.write(already_read)
        if far.early:
            transport.write(b"".join(far.early))
        transport.resume_reading()
        far.transport.resume_reading()
        loop = asyncio.get_running_loop()
        try:
            while not (near.lost.done() and far.lost.done()):
                left_s = max(near.active_s, far.active_s) + self._idle_timeout_s - loop.time()
                if left_s <= 0:
                    break
                pending = [side.lost for side in (near, far) if not side.lost.done()]
                await asyncio.wait(pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            transport.abort()
            far.transport.abort()


async def connect(destination: Destination, idle_timeout_s: float = IDLE_TIMEOUT_S) -> HostTunnel:
    """Connect to the first address that answers. OSError or TimeoutError when none does; ReachesOurselvesError."""
    loop = asyncio.get_running_loop()
    failure: OSError = OSError(f"{destination.host} has no address")
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        for address in destination.addresses:
            try:
                transport, side = await loop.create_connection(_Side, address, destination.port)
            except OSError as error:
                failure = error
                continue
            far, near = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
            if far is None or far[0] == near[0]:
                # A packet to one of our own addresses comes from that same address.
                transport.abort()
                raise ReachesOurselvesError(f"{destination.host} is this machine itself")
            transport.pause_reading()
            return HostTunnel(side, idle_timeout_s)
    raise failure
