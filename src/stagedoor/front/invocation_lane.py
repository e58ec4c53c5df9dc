"""The short lane of InvokeEndpoint: what an ordinary invocation looks like, and its answer, without the service's model.

Place in the flow: ``front.listener`` asks ``endpoint_name`` of every request and takes the long way (parse, validate, serialise) with
None, which therefore is always right and never wrong. Who signed and whether they may is decided for both in the same functions.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from stagedoor.http.message import Request, Response
from stagedoor.services.sagemaker_runtime.data_path import InvokeResult

_PATH: Final = re.compile(r"/endpoints/([a-zA-Z0-9](?:-*[a-zA-Z0-9]){0,62})/invocations").fullmatch
_NAME_MAX: Final = 63
_PATH_MAX: Final = len("/endpoints//invocations") + _NAME_MAX
_HEADERS_MAX: Final = 1024
_SCOPE: Final = "/sagemaker/aws4_request"
# Members whose constraints and meaning are the long way's to judge.
_FURTHER_MEMBERS: Final = frozenset(
    {
        "x-amzn-sagemaker-custom-attributes",
        "x-amzn-sagemaker-target-model",
        "x-amzn-sagemaker-target-variant",
        "x-amzn-sagemaker-target-container-hostname",
        "x-amzn-sagemaker-inference-id",
        "x-amzn-sagemaker-enable-explanations",
        "x-amzn-sagemaker-inference-component",
        "x-amzn-sagemaker-session-id",
        "x-amzn-sagemaker-prefix-aware-id",
    }
)


def endpoint_name(request: Request) -> str | None:
    """The endpoint that an ordinary, header-signed InvokeEndpoint names; None for anything else."""
    path, header = request.path, request.header
    if request.method != "POST" or request.query or len(path) > _PATH_MAX:
        return None
    if _SCOPE not in header.get("authorization", "") or not _FURTHER_MEMBERS.isdisjoint(header):
        return None
    types = header.get("content-type", "") + header.get("accept", "")
    if len(types) > _HEADERS_MAX or not types.isascii():
        return None
    return _named(path)


@lru_cache(4096)
def _named(path: str) -> str | None:
    found = _PATH(path)
    return found[1] if found is not None and len(found[1]) <= _NAME_MAX else None


def parameters(name: str, header: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The request in the model's members, as the long way would read it."""
    members: dict[str, Any] = {"EndpointName": name, "Body": body}
    if "content-type" in header:
        members["ContentType"] = header["content-type"]
    if "accept" in header:
        members["Accept"] = header["accept"]
    return members


def response(result: InvokeResult, request_id: str) -> Response:
    """A model's answer, as the long way would write it."""
    headers = [
        ("x-amzn-RequestId", request_id),
        ("Content-Type", result.content_type),
        ("x-Amzn-Invoked-Production-Variant", result.variant),
    ]
    if result.custom_attributes is not None:
        headers.append(("X-Amzn-SageMaker-Custom-Attributes", result.custom_attributes))
    return Response(200, headers, result.body)
