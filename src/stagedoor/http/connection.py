"""One HTTP/1.1 connection: an asyncio Protocol over httptools (llhttp). The first and the last hop of every flow.

A request is handed on as soon as its head is complete; its body streams behind it. Answers go out in the order of their
requests; while one is being made, at most ``PIPELINE_MAX`` further requests wait and the socket is paused.

What could be read in two ways is refused and ends the connection, so that nothing in front of the server and the server
itself ever disagree about where a request ends.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import httptools

from stagedoor.http import head
from stagedoor.http.body import BodyLostError, StreamBody
from stagedoor.http.farewell import hang_up
from stagedoor.http.head import RefusedHeadError, UnsendableHeaderError
from stagedoor.http.message import Answering, FileSlice, Pending, Request, Response, TlsFromHere, answer_of

log = logging.getLogger(__name__)

Handler = Callable[[Request], Answering]
"""What answers requests. A plain function may answer at once or when a future is done; a coroutine function gets a task."""

PIPELINE_MAX = 32
LINGER_S = 2.0
LINGER_MAX_BYTES = 16 * 1024 * 1024
FILE_CHUNK_BYTES = 1024 * 1024
DISCARD_MAX_BYTES = 1024 * 1024
_BODYLESS = frozenset({204, 304})
_FAILED = Response(500, (("content-type", "text/plain"),), b"internal error", close=True)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may ask for. Times in seconds, sizes in bytes.

    ``body_min_bytes_per_s`` counts over windows of ``body_stall_timeout_s``: a body that trickles in is a stalled one.
    """

    head_bytes: int = 65_536
    head_count: int = 200
    target_bytes: int = 16_384
    head_timeout_s: float = 30.0
    body_stall_timeout_s: float = 60.0
    body_min_bytes_per_s: float = 256.0
    idle_timeout_s: float = 120.0
    write_stall_timeout_s: float = 120.0
    tls_handshake_timeout_s: float = 10.0


class Acceptor(Protocol):
    """What a connection asks of the server that accepted it (``http.server``)."""

    handler: Handler
    limits: Limits

    def opened(self, connection: "Connection") -> bool:
        """Note a new connection; False when there are too many."""
        ...

    def gone(self, connection: "Connection") -> None:
        """Forget it."""
        ...

    async def begin_tls(self, transport: asyncio.Transport, switch: TlsFromHere) -> None:
        """Go on with HTTP behind TLS on this transport."""
        ...


def _into(fields: head.RawHeaders) -> Callable[[bytes, bytes], None]:
    """A parser's ``on_header``, called for each: a function that looks nothing up."""
    append = fields.append

    def on_header(name: bytes, value: bytes) -> None:
        append((name, value))

    return on_header


class Connection(asyncio.Protocol):
    """Speaks HTTP/1.1 on one accepted socket and calls the handler for each request."""

    def __init__(self, server: Acceptor, scheme: str) -> None:
        self._server = server
        self._handler = server.handler
        self._limits = server.limits
        self._scheme = scheme
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._fields: head.RawHeaders = []  # headers; trailers once the request has been handed on
        self.on_header = _into(self._fields)
        self._parser = httptools.HttpRequestParser(self)
        self._peer_host = ""
        self._queue: deque[tuple[Request, StreamBody, bool]] = deque()
        # What has to come before the next request: a task that answers, or the future that an answer is waiting for.
        self._current: asyncio.Future[Any] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._write_paused = False
        self._closing = False
        self._finishing = False
        self._reading_paused = 0
        self._last_activity_s = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._discarded_bytes = 0
        # Bytes behind a CONNECT: they belong to what the connection becomes.
        self._read_too_far: bytes | None = None
        # The request whose head or body is being parsed.
        self._target = b""
        self._unparsed_bytes = 0
        self._feeding_bytes = 0
        self._head_begun_s: float | None = None
        self._body: StreamBody | None = None
        self._window_begun_s = 0.0
        self._window_bytes = 0

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if transport.get_extra_info("sslcontext") is None:
            # uvloop keeps what is below this mark until the end of the loop's turn: answers that come together would wait for the last.
            self._transport.set_write_buffer_limits(high=0)
        peer: Any = transport.get_extra_info("peername")
        self._peer_host = str(peer[0]) if peer else ""
        if not self._server.opened(self):
            self._refuse(503, "too many connections; try again", (("retry-after", "1"),))
            return
        self._timer = self._loop.call_later(self._limits.head_timeout_s, self._check_timeouts)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.gone(self)
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        if self._body is not None:
            self._body.lose()
        for _, body, _ in self._queue:
            body.lose()
        self._queue.clear()
        if self._writable is not None and not self._writable.done():
            self._writable.set_exception(ConnectionResetError("the client went away"))
        if self._current is not None:
            self._current.cancel()

    def data_received(self, data: bytes) -> None:
        idle_since_s, self._last_activity_s = self._last_activity_s, self._loop.time()
        if self._closing:
            self._discarded_bytes += len(data)
            if self._discarded_bytes > LINGER_MAX_BYTES:
                self._transport.pause_reading()
            return
        if self._read_too_far is not None:
            self._read_too_far += data
            return
        body, body_bytes = self._body, self._window_bytes
        self._feeding_bytes = len(data)
        try:
            self._parser.feed_data(data)
            if self._head_begun_s is not None:
                # A head that is not complete: what has come of it so far, parsed or not.
                self._count_unparsed(len(data))
            elif body is not None and self._body is body and self._window_bytes == body_bytes:
                # Between the pieces of a body: an endless chunk extension or trailer.
                self._count_unparsed(len(data))
            else:
                self._unparsed_bytes = 0
            if self._fields and self._head_begun_s is None:
                # Trailers of a chunked body. The request has the headers it was handed on with: nothing joins them.
                self._check_size(self._fields)
        except RefusedHeadError as refused:
            self._refuse(refused.status, refused.reason)
        except httptools.HttpParserUpgrade as upgrade:
            if self._parser.get_method() != b"CONNECT":
                self._refuse(501, "protocol upgrades are not supported")
                return
            self._read_too_far = data[int(upgrade.args[0]) :]
            self.pause_reading()
            self._next()
        except httptools.HttpParserError as error:
            # What a callback raised arrives as the cause of httptools' own error.
            cause = error.__context__
            if isinstance(cause, RefusedHeadError):
                self._refuse(cause.status, cause.reason)
            else:
                self._refuse(400, "this is not a well-formed request")
        else:
            self._next()
            if self._current is None and self._head_begun_s is None and self._body is None:
                # Empty lines between requests: they ask nothing, so the connection idles on.
                self._last_activity_s = idle_since_s

    def _count_unparsed(self, size_bytes: int) -> None:
        self._unparsed_bytes += size_bytes
        if self._unparsed_bytes > self._limits.head_bytes + self._limits.target_bytes:
            raise RefusedHeadError(431, "the request's head is too large")

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._last_activity_s = self._loop.time()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # The parser's side.

    def on_message_begin(self) -> None:
        self._target = b""
        self._unparsed_bytes = 0
        self._head_begun_s = self._last_activity_s

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > self._limits.target_bytes:
            raise RefusedHeadError(414, "the request's target is too long")

    def on_headers_complete(self) -> None:
        parser, raw = self._parser, self._fields.copy()
        self._fields.clear()
        limits = self._limits
        if len(raw) > limits.head_count or self._unparsed_bytes + self._feeding_bytes > limits.head_bytes:
            self._check_size(raw)  # shorter input cannot hold too long ones
        version = parser.get_http_version()
        headers, header = head.headers(raw)
        chunked = head.is_chunked(version, header)
        method, path, query = head.request_lines[parser.get_method(), self._target, header.get("host", "")]
        waits = "expect" in header and version == "1.1" and header["expect"].lower() == "100-continue"
        body = StreamBody(
            None if chunked else int(header.get("content-length", "0")),
            self,
            self._continue if waits else None,
        )
        request = Request(method, path, query, headers, header, body, self._peer_host, self._scheme, raw)
        self._body = body
        self._head_begun_s = None
        self._window_begun_s = self._last_activity_s
        self._window_bytes = 0
        if self._queue and len(self._queue) >= PIPELINE_MAX:
            raise RefusedHeadError(400, "too many pipelined requests")
        self._queue.append((request, body, parser.should_keep_alive() and method != "CONNECT"))

    def _check_size(self, raw: list[tuple[bytes, bytes]]) -> None:
        """RefusedHeadError (431) for too many headers or too long ones."""
        size_bytes = sum([len(name) + len(value) + 4 for name, value in raw])
        if len(raw) > self._limits.head_count or size_bytes > self._limits.head_bytes:
            raise RefusedHeadError(431, "the request's head is too large")

    def on_body(self, data: bytes) -> None:
        self._window_bytes += len(data)
        body = self._body
        if body is not None:
            body.feed(data)

    def on_message_complete(self) -> None:
        if self._fields:
            self._check_size(self._fields)
            self._fields.clear()
        body = self._body
        if body is not None:
            body.finish()
            self._body = None

    # One request after the other.

    def _next(self) -> None:
        if self._finishing and self._current is None and not self._closing:
            self._closing = True
            hang_up(self._transport)
        while self._current is None and self._queue and not self._closing:
            request, body, keep_alive = self._queue.popleft()
            try:
                answering = self._handler(request)
            except Exception:
                log.exception("request failed", extra={"method": request.method, "path": request.path})
                answering = _FAILED
            if type(answering) is Pending:
                self._current = future = answering.future
                future.add_done_callback(partial(self._finish, request, body, keep_alive, answering))
            else:
                self._give(request, body, keep_alive, answering)

    def _finish(
        self,
        request: Request,
        body: StreamBody,
        keep_alive: bool,
        pending: Pending,
        future: "asyncio.Future[Any]",
    ) -> None:
        """What an answer was waiting for has come."""
        self._current = None
        if future.cancelled() or self._transport.is_closing():
            return
        try:
            response = pending.finish()
        except Exception:
            log.exception("request failed", extra={"method": request.method, "path": request.path})
            response = _FAILED
        self._give(request, body, keep_alive, response)
        if self._queue or self._finishing:
            self._next()

    def _give(self, request: Request, body: StreamBody, keep_alive: bool, answering: Answering) -> None:
        """Answer at once where nothing has to be waited for, else in a task."""
        if (
            type(answering) is Response
            and type(answering.body) is bytes
            and keep_alive
            and not answering.close
            and answering.switch is None
            and body.complete
        ):
            try:
                whole = self._whole(request, answering, answering.body, close=False)
            except UnsendableHeaderError:
                pass  # the task tells
            else:
                self._transport.write(whole)
                if not self._write_paused:
                    self._last_activity_s = self._loop.time()
                    return
                self._current = self._loop.create_task(self._drained())
                return
        self._current = self._loop.create_task(self._serve(request, body, keep_alive, answering))

    async def _drained(self) -> None:
        """The next request's turn comes when the client has taken the answer."""
        try:
            with contextlib.suppress(ConnectionError):
                await self._drain()
        finally:
            self._over()

    def _over(self) -> None:
        self._current = None
        self._last_activity_s = self._loop.time()
        if not self._closing:
            self._next()

    async def _serve(
        self, request: Request, body: StreamBody, keep_alive: bool, answering: Answering
    ) -> None:
        try:
            try:
                response = await answer_of(answering)
            except BodyLostError:
                self._transport.abort()
                return
            except Exception:
                log.exception("request failed", extra={"method": request.method, "path": request.path})
                response = _FAILED
            close = response.close or not keep_alive
            if response.switch is not None:
                await self._become(response)
                return
            if not body.complete and not await self._drop_rest(body):
                close = True
            try:
                await self._write(request, response, close)
            except UnsendableHeaderError:
                log.exception("answer refused", extra={"method": request.method, "path": request.path})
                self._closing = True
                await self._write(request, _FAILED, close=True)
                self._end(read_all=body.complete)
                return
            except Exception as error:
                # The head is out: all that can be said now is that this answer is not whole.
                if not (isinstance(error, ConnectionError) or self._transport.is_closing()):
                    log.exception("answer broke off", extra={"method": request.method, "path": request.path})
                self._transport.abort()
                return
            if close:
                self._end(read_all=body.complete and self._read_too_far is None)
        finally:
            self._over()

    async def _drop_rest(self, body: StreamBody) -> bool:
        """Read away what the handler left, when it is little; True when the connection can go on."""
        if body.content_length is None or body.content_length > DISCARD_MAX_BYTES:
            return False
        if body.waits_for_continue:
            return False
        try:
            async with asyncio.timeout(5.0):
                async for _ in body:
                    pass
        except (TimeoutError, BodyLostError):
            return False
        return True

    async def _become(self, response: Response) -> None:
        """The answer to a CONNECT; from then on the transport belongs to TLS or to a tunnel."""
        switch, read_too_far = response.switch, self._read_too_far or b""
        if self._timer is not None:
            self._timer.cancel()
        self._closing = True
        try:
            if isinstance(switch, TlsFromHere) and read_too_far:
                # TLS that began before it was agreed to could not be handed on whole.
                self._transport.abort()
                return
            self._transport.write(head.of_response(response, None, chunked=False, close=False))
            if isinstance(switch, TlsFromHere):
                await self._server.begin_tls(self._transport, switch)
            elif switch is not None:
                await switch.carry(self._transport, read_too_far)
        finally:
            self._server.gone(self)

    # Writing.

    def _continue(self) -> None:
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _whole(self, request: Request, response: Response, body: bytes, close: bool) -> bytes:
        if response.status in _BODYLESS:
            return head.of_response(response, None, chunked=False, close=close)
        beginning = head.of_response(response, len(body), chunked=False, close=close)
        return beginning if request.method == "HEAD" else beginning + body

    async def _write(self, request: Request, response: Response, close: bool) -> None:
        body = response.body
        bodyless = request.method == "HEAD" or response.status in _BODYLESS
        if isinstance(body, bytes):
            self._transport.write(self._whole(request, response, body, close))
            if self._write_paused:
                await self._drain()
            return
        if isinstance(body, FileSlice):
            self._transport.write(head.of_response(response, body.length, chunked=False, close=close))
            if not bodyless:
                await self._write_file(body)
            return
        announced = any(name.lower() == "content-length" for name, _ in response.headers)
        self._transport.write(
            head.of_response(response, None, chunked=not announced and not bodyless, close=close)
        )
        if bodyless:
            return
        async for chunk in body:
            if chunk:
                self._transport.write(chunk if announced else b"%x\r\n%b\r\n" % (len(chunk), chunk))
                if self._write_paused:
                    await self._drain()
        if not announced:
            self._transport.write(b"0\r\n\r\n")

    async def _write_file(self, part: FileSlice) -> None:
        file = await self._loop.run_in_executor(None, part.path.open, "rb")
        try:
            file.seek(part.offset)
            left = part.length
            while left:
                chunk = await self._loop.run_in_executor(None, file.read, min(FILE_CHUNK_BYTES, left))
                if not chunk:
                    raise EOFError(f"{part.path} is shorter than its record says")
                left -= len(chunk)
                self._transport.write(chunk)
                if self._write_paused:
                    await self._drain()
        finally:
            file.close()

    async def _drain(self) -> None:
        if self._closing:
            raise ConnectionResetError("the client went away")
        self._writable = self._loop.create_future()
        try:
            await self._writable
        finally:
            self._writable = None

    def _refuse(self, status: int, reason: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Answer a request that cannot be understood, unless an answer is on its way; then the connection ends."""
        self._closing = True
        if self._body is not None:
            self._body.lose()
        if self._current is None:
            response = Response(status, (("content-type", "text/plain"), *headers))
            beginning = head.of_response(response, len(reason), chunked=False, close=True)
            self._transport.write(beginning + reason.encode())
            self._end(read_all=False)
        else:
            self._current.cancel()
            self._transport.abort()

    def _end(self, *, read_all: bool) -> None:
        """Close. With input unread, a close would reset the connection and the client might never see the answer."""
        self._closing = True
        if read_all:
            hang_up(self._transport)
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        if self._reading_paused:
            self._transport.resume_reading()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(LINGER_S, self._transport.abort)

    # Flow control and time.

    def pause_reading(self) -> None:
        """Read no more from the socket until as many ``resume_reading`` have come."""
        self._reading_paused += 1
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on, when nobody else has paused."""
        self._reading_paused -= 1
        if not self._reading_paused and not self._closing:
            self._transport.resume_reading()

    def _check_timeouts(self) -> None:
        now_s = self._loop.time()
        idle_s = now_s - self._last_activity_s
        limits = self._limits
        if self._head_begun_s is not None:
            # From its first byte: a head that comes byte by byte is not activity.
            idle_s = now_s - self._head_begun_s
            allowed_s = limits.head_timeout_s
            waits_for_us = False
        elif self._body is not None:
            allowed_s = limits.body_stall_timeout_s
            waits_for_us = bool(self._reading_paused) or self._body.waits_for_continue
            if waits_for_us:
                self._window_begun_s, self._window_bytes = now_s, 0
            elif now_s - self._window_begun_s >= allowed_s:
                if self._window_bytes < limits.body_min_bytes_per_s * allowed_s:
                    idle_s = allowed_s
                self._window_begun_s, self._window_bytes = now_s, 0
        elif self._current is not None:
            allowed_s = limits.write_stall_timeout_s
            waits_for_us = not self._write_paused
        else:
            allowed_s = limits.idle_timeout_s
            waits_for_us = False
        if not waits_for_us and idle_s >= allowed_s:
            self._closing = True
            self._transport.abort()
            return
        pause_s = min(10.0, limits.head_timeout_s, max(0.05, allowed_s - idle_s))
        self._timer = self._loop.call_later(pause_s, self._check_timeouts)

    # What the server asks.

    def idle_s(self) -> float:
        """How long nothing has been asked on it; 0 while a request is under way."""
        busy = self._current is not None or self._queue or self._body is not None or self._head_begun_s
        return 0.0 if busy or self._closing else self._loop.time() - self._last_activity_s

    def abort(self) -> None:
        """End it now."""
        self._transport.abort()

    def finish(self) -> None:
        """Close now when idle, else after the answer that is being made."""
        if self._current is not None:
            self._queue.clear()
        self._finishing = True
        self._next()
