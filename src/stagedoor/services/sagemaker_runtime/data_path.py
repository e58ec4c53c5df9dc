"""The data path: bytes to a model and back, with no database and no look into the body.

Place in the flow: the signed listener's fast lane calls ``invoke`` with a request's bytes, and so does the operation in
``invocations``. ``traffic.endpoint_routes`` says which worker.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import NamedTuple

from stagedoor.domain.arns import Arn
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import House
from stagedoor.traffic.channel import Answer, CallFaultError, CallTimeoutError, ChannelError
from stagedoor.traffic.endpoint_routes import (
    Choice,
    EndpointKey,
    NoWorkerError,
    OverloadedError,
    StartFailedError,
    UnknownEndpointError,
    UnknownVariantError,
)

_ATTRIBUTES_AT_MOST = 1024
_CHOOSING_ERRORS = (
    UnknownEndpointError,
    UnknownVariantError,
    NoWorkerError,
    StartFailedError,
    OverloadedError,
)
# What a container's answer beyond the printable characters of ASCII could do to a header.
_PRINTABLE = frozenset(map(chr, range(0x20, 0x7F))) | {"\t"}


class Wanted(NamedTuple):
    """What an invocation asks for, in InvokeEndpoint's members, and the monotonic time at which it came."""

    received_s: float
    body: bytes
    content_type: str | None = None
    accept: str | None = None
    custom_attributes: str | None = None
    target_variant: str | None = None
    inference_id: str | None = None


class InvokeResult(NamedTuple):
    """A model's answer. ``custom_attributes`` is what the model says, if anything."""

    body: bytes
    content_type: str
    variant: str
    custom_attributes: str | None = None


class Invocation:
    """A call that a worker has. When ``answer`` is done, whichever way, ``result`` tells what came of it."""

    __slots__ = ("_channel", "_house", "_key", "_received_s", "_sent_s", "_series", "_variant", "answer")

    def __init__(
        self, house: House, key: EndpointKey, choice: Choice, meta: Mapping[str, str], wanted: Wanted
    ) -> None:
        self._house = house
        self._key = key
        self._variant, channel, instances = choice
        self._channel = channel
        self._received_s = wanted.received_s
        self._series = series = house.invocation_metrics.series(key, choice.variant)
        self._sent_s = house.clock.monotonic()
        self.answer: asyncio.Future[Answer] = channel.call(meta, wanted.body, house.settings.invoke_timeout_s)
        series.sent(instances)

    def result(self) -> InvokeResult:
        """What the model answered. AwsError ModelError."""
        sent_s = self._sent_s
        model_s = self._house.clock.monotonic() - sent_s
        try:
            meta, body = self.answer.result()
        except ChannelError as error:
            status = error.status if isinstance(error, CallFaultError) else 0
            self._series.answered(status, model_s, sent_s - self._received_s)
            raise self._failure(error) from None
        self._series.answered(200, model_s, sent_s - self._received_s)
        attributes = meta.get("custom_attributes")
        if attributes is not None and (
            len(attributes) > _ATTRIBUTES_AT_MOST or not _PRINTABLE.issuperset(attributes)
        ):
            text = "The model answered with custom attributes that are not printable ASCII of at most 1024."
            raise _model_error(self._key, 500, text)
        return InvokeResult(
            body, meta.get("content_type", "application/octet-stream"), self._variant, attributes
        )

    def _failure(self, error: ChannelError) -> AwsError:
        if isinstance(error, CallFaultError):
            return _model_error(self._key, error.status, error.reason)
        if isinstance(error, CallTimeoutError):
            self._house.endpoint_routes.report_unresponsive(self._channel)
            text = (
                "Your invocation timed out while waiting for a response from container primary. Review the latency metrics "
                "for each container in Amazon CloudWatch, resolve the issue, and try again."
            )
            return _model_error(self._key, 0, text)
        text = "An error occurred while handling request as the model process exited."
        return _model_error(self._key, 0, text)


def begin(house: House, key: EndpointKey, wanted: Wanted) -> Invocation | None:
    """Hand an invocation to a worker; None while no worker is ready. Errors as those of ``invoke``, for what is known by then."""
    meta = _meta(house, wanted)
    try:
        choice = house.endpoint_routes.choose_now(key, wanted.target_variant)
    except _CHOOSING_ERRORS as error:
        raise _not_chosen(key, wanted.target_variant, error) from None
    return None if choice is None else Invocation(house, key, choice, meta, wanted)


async def invoke(house: House, key: EndpointKey, wanted: Wanted) -> InvokeResult:
    """Ask an endpoint. AwsError 413 for a body that is too large, ValidationError, ServiceUnavailable, ModelError."""
    meta = _meta(house, wanted)
    try:
        choice = await house.endpoint_routes.choose(
            key, wanted.target_variant, house.settings.invoke_timeout_s
        )
    except _CHOOSING_ERRORS as error:
        raise _not_chosen(key, wanted.target_variant, error) from None
    invocation = Invocation(house, key, choice, meta, wanted)
    with contextlib.suppress(ChannelError):
        await invocation.answer
    return invocation.result()


def _meta(house: House, wanted: Wanted) -> dict[str, str]:
    """What the worker is told beside the body. AwsError 413, ValidationError."""
    _, body, content_type, accept, attributes, _, inference_id = wanted
    limit = house.settings.invoke_body_max_bytes
    if len(body) > limit:
        raise AwsError("413", f"HTTP content length exceeded {limit} bytes.", status=413)
    meta: dict[str, str] = {}
    if content_type:
        meta["content_type"] = content_type
    if accept:
        meta["accept"] = accept
    if attributes is not None:
        if not _PRINTABLE.issuperset(attributes) or len(attributes) > _ATTRIBUTES_AT_MOST:
            raise validation_error("CustomAttributes must be at most 1024 printable characters of ASCII.")
        meta["custom_attributes"] = attributes
    if inference_id:
        meta["inference_id"] = inference_id
    return meta


def _not_chosen(key: EndpointKey, target_variant: str | None, error: Exception) -> AwsError:
    """Why there is no worker for an invocation."""
    name = key.name
    if isinstance(error, UnknownEndpointError):
        return validation_error(f"Endpoint {name} of account {key.account_id} not found.")
    if isinstance(error, UnknownVariantError):
        return validation_error(
            f"Variant {target_variant} of endpoint {name} not found. It has: {', '.join(error.variants)}."
        )
    if isinstance(error, StartFailedError):
        return _model_error(key, 0, str(error))
    if isinstance(error, OverloadedError):
        return _unavailable(f"Endpoint {name} has too many invocations waiting. Try again later.")
    return _unavailable(
        f"Endpoint {name} has no worker that is ready. Its log group says why; try again later."
    )


def validation_error(message: str) -> AwsError:
    """The runtime's answer to what is wrong with a request (it is not the control plane's ValidationException)."""
    return AwsError("ValidationError", message, status=400)


def _unavailable(message: str) -> AwsError:
    return AwsError("ServiceUnavailable", message, status=503)


def _model_error(key: EndpointKey, status: int, message: str) -> AwsError:
    """AWS's ModelError: what the container said, and where its log is. Status 0: it said nothing."""
    group = f"/aws/sagemaker/Endpoints/{key.name}"
    kind = "client" if 400 <= status < 500 else "server"
    return AwsError(
        "ModelError",
        f'Received {kind} error ({status}) from primary with message "{message}". See the log group {group} in account '
        f"{key.account_id} for more information.",
        status=424,
        members={
            "OriginalStatusCode": status,
            "OriginalMessage": message,
            "LogStreamArn": str(Arn("logs", key.region, key.account_id, f"log-group:{group}")),
        },
    )
