"""The data path: bytes to a model and back, with no database and no look into the body.

Place in the flow: the signed listener's fast lane calls ``invoke`` with a request's bytes, and so does the operation in
``invocations``. ``traffic.endpoint_routes`` says which worker.
"""

from typing import NamedTuple, NoReturn

from stagedoor.domain.arns import Arn
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import House
from stagedoor.traffic.channel import CallFaultError, CallTimeoutError, ChannelLostError
from stagedoor.traffic.endpoint_routes import (
    EndpointKey,
    NoWorkerError,
    OverloadedError,
    StartFailedError,
    UnknownEndpointError,
    UnknownVariantError,
)

_ATTRIBUTES_AT_MOST = 1024
# What a container's answer beyond the printable characters of ASCII could do to a header.
_PRINTABLE = frozenset(map(chr, range(0x20, 0x7F))) | {"\t"}


class InvokeResult(NamedTuple):
    """A model's answer. ``custom_attributes`` is what the model says, if anything."""

    body: bytes
    content_type: str
    variant: str
    custom_attributes: str | None = None


async def invoke(
    house: House,
    account_id: str,
    region: str,
    endpoint_name: str,
    body: bytes,
    *,
    content_type: str | None = None,
    accept: str | None = None,
    custom_attributes: str | None = None,
    target_variant: str | None = None,
    inference_id: str | None = None,
) -> InvokeResult:
    """Ask an endpoint. AwsError 413 for a body that is too large, ValidationError, ServiceUnavailable, ModelError."""
    limit = house.settings.invoke_body_max_bytes
    if len(body) > limit:
        raise AwsError("413", f"HTTP content length exceeded {limit} bytes.", status=413)
    meta: dict[str, str] = {}
    if content_type:
        meta["content_type"] = content_type
    if accept:
        meta["accept"] = accept
    if custom_attributes is not None:
        if not _PRINTABLE.issuperset(custom_attributes) or len(custom_attributes) > _ATTRIBUTES_AT_MOST:
            raise validation_error("CustomAttributes must be at most 1024 printable characters of ASCII.")
        meta["custom_attributes"] = custom_attributes
    if inference_id:
        meta["inference_id"] = inference_id
    routes = house.endpoint_routes
    key = EndpointKey(account_id, region, endpoint_name)
    try:
        choice = await routes.choose(key, target_variant, house.settings.invoke_timeout_s)
    except UnknownEndpointError:
        raise validation_error(f"Endpoint {endpoint_name} of account {account_id} not found.") from None
    except UnknownVariantError as error:
        raise validation_error(
            f"Variant {target_variant} of endpoint {endpoint_name} not found. It has: {', '.join(error.variants)}."
        ) from None
    except NoWorkerError:
        raise _unavailable(
            f"Endpoint {endpoint_name} has no worker that is ready. Its log group says why; try again later."
        ) from None
    except StartFailedError as error:
        _model_error(key, 0, str(error))
    except OverloadedError:
        raise _unavailable(
            f"Endpoint {endpoint_name} has too many invocations waiting. Try again later."
        ) from None
    try:
        answer_meta, answer = await choice.channel.call(meta, body, house.settings.invoke_timeout_s)
    except CallFaultError as error:
        _model_error(key, error.status, error.reason)
    except CallTimeoutError:
        routes.report_unresponsive(choice.channel)
        _model_error(
            key,
            0,
            "Your invocation timed out while waiting for a response from container primary. Review the latency metrics "
            "for each container in Amazon CloudWatch, resolve the issue, and try again.",
        )
    except ChannelLostError:
        _model_error(key, 0, "An error occurred while handling request as the model process exited.")
    attributes = answer_meta.get("custom_attributes")
    if attributes is not None and (
        len(attributes) > _ATTRIBUTES_AT_MOST or not _PRINTABLE.issuperset(attributes)
    ):
        _model_error(
            key,
            500,
            "The model answered with custom attributes that are not printable ASCII of at most 1024.",
        )
    return InvokeResult(
        answer, answer_meta.get("content_type", "application/octet-stream"), choice.variant, attributes
    )


def validation_error(message: str) -> AwsError:
    """The runtime's answer to what is wrong with a request (it is not the control plane's ValidationException)."""
    return AwsError("ValidationError", message, status=400)


def _unavailable(message: str) -> AwsError:
    return AwsError("ServiceUnavailable", message, status=503)


def _model_error(key: EndpointKey, status: int, message: str) -> NoReturn:
    """AWS's ModelError: what the container said, and where its log is. Status 0: it said nothing."""
    group = f"/aws/sagemaker/Endpoints/{key.name}"
    kind = "client" if 400 <= status < 500 else "server"
    raise AwsError(
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
