"""How a connection is closed when everything has been said.

Place in the flow: ``connection`` and ``relay`` hang up by it. Over TLS a transport's ``close`` says goodbye and then waits for the client
to say it, too, half a minute long: a client that idles says nothing, and would keep a server that stops waiting. What counts is that
the client has all bytes, the goodbye among them; the system knows when it has (Linux).
"""

import array
import asyncio
import fcntl
import termios
from typing import Any

_FIRST_LOOK_S = 0.02
_LOOK_AGAIN_S = 0.1
_PATIENCE_S = 30.0


def hang_up(transport: Any) -> None:
    """Close ``transport`` once what was written is sent; do not wait for the client's goodbye."""
    transport.close()
    if transport.get_extra_info("sslcontext") is not None:
        loop = asyncio.get_running_loop()
        loop.call_later(_FIRST_LOOK_S, _end_when_taken, loop, transport, loop.time() + _PATIENCE_S)


def _end_when_taken(loop: asyncio.AbstractEventLoop, transport: Any, until_s: float) -> None:
    try:
        unsent_bytes = transport.get_write_buffer_size() or _unacknowledged_bytes(transport)
    except OSError:
        return  # gone, or a system that does not tell: the client's goodbye is waited for
    if not unsent_bytes:
        transport.abort()
    elif loop.time() < until_s:
        loop.call_later(_LOOK_AGAIN_S, _end_when_taken, loop, transport, until_s)


def _unacknowledged_bytes(transport: Any) -> int:
    """What the system holds that the other end has not confirmed. OSError."""
    count = array.array("i", [0])
    fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, count)
    return count[0]
