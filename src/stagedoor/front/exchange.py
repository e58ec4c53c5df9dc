"""One request and its answer on the signed listener, whatever becomes of it: an error in the caller's protocol, a line in the access log.

Place in the flow: ``front.listener`` and the front processes answer through ``Exchanges.answer``; what the steps of a request find out
on the way they note in its ``Exchange``.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from stagedoor.domain.clock import Clock
from stagedoor.domain.errors import AwsError
from stagedoor.front.access_log import AccessLog
from stagedoor.front.body_limits import DEFAULT_BYTES, BodyLimit
from stagedoor.http.message import BodyTooLargeError, ElsewhereError, Request, Response
from stagedoor.services.denials import Denials
from stagedoor.services.permissions import RefusedError
from stagedoor.wire import errors, models
from stagedoor.wire.error_shapes import ServiceErrors

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Exchange:
    """What is known so far about one request, so that an error can be said in its protocol.

    ``operation`` is botocore's model of it, ``operation_name`` its name for the logs; ``errors`` stands in for the service's model where
    that is not needed.
    """

    request: Request
    request_id: str
    service: str = "s3"
    operation: Any = None
    operation_name: str = "-"
    protocol: str | None = None
    caller_arn: str = ""
    body_limit: BodyLimit | None = None
    errors: ServiceErrors | None = None
    received_s: float = 0.0
    """The monotonic time at which it came."""


class Exchanges:
    """Answers requests by steps that may fail."""

    def __init__(self, clock: Clock, access_log: AccessLog, denials: Denials) -> None:
        self._clock = clock
        self._access_log = access_log
        self._denials = denials

    async def answer(self, exchange: Exchange, steps: Callable[[Exchange], Awaitable[Response]]) -> Response:
        """The response of ``steps``, or the error that ended them.

        Only what leaves no answer here is raised: cancellation, a lost connection, ElsewhereError.
        """
        try:
            return await steps(exchange)
        except Exception as error:  # noqa: BLE001 - failed raises again what leaves no answer
            return self.failed(exchange, error)

    def failed(self, exchange: Exchange, error: Exception) -> Response:
        """The response to a request whose steps an error ended. Raises it again where that leaves no answer here."""
        if isinstance(error, AwsError):
            if isinstance(error, RefusedError):
                self._denials.note(
                    exchange.request_id, exchange.service, exchange.operation_name, error.asked
                )
            return _error(exchange, error)
        if isinstance(error, BodyTooLargeError):
            limit = exchange.body_limit or BodyLimit(exchange.service, "", DEFAULT_BYTES)
            response = _error(exchange, limit.refusal(error))
            response.close = True
            return response
        if isinstance(error, ConnectionError | ElsewhereError):
            raise error
        # The one place where a fault of ours becomes an answer; the traceback belongs to the log alone.
        log.error("operation failed", extra={"request_id": exchange.request_id}, exc_info=error)
        return _error(
            exchange,
            AwsError(
                "InternalError" if exchange.service == "s3" else "InternalFailure",
                f"stagedoor failed on this request; its log has the cause under {exchange.request_id}.",
                status=500,
            ),
        )

    def log(self, exchange: Exchange, response: Response) -> None:
        """Note the call."""
        self._access_log.write(
            exchange.request_id,
            exchange.service,
            exchange.operation_name,
            response.status,
            self._clock.monotonic() - exchange.received_s,
            exchange.caller_arn,
        )


def _error(exchange: Exchange, error: AwsError) -> Response:
    service = cast("models.Service", exchange.errors) if exchange.errors else models.service(exchange.service)
    answer = errors.serialise(
        service,
        exchange.operation,
        exchange.protocol or service.protocols[0],
        error,
        exchange.request_id,
        exchange.request.path,
    )
    headers = [*answer.headers, *error.headers.items()]
    return Response(answer.status, headers, answer.body)  # pyright: ignore[reportArgumentType]
