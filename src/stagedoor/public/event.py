"""The event a Lambda proxy integration gives its function: payload format 1.0, field by field as AWS builds it. Pure.

Source: "Set up Lambda proxy integrations in API Gateway", input format for REST APIs.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from stagedoor.domain.clock import as_datetime
from stagedoor.public.deployed import DeployedStage
from stagedoor.public.match import Match

# What belongs to the connection and not to the request.
_NOT_FORWARDED = frozenset(
    {"connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
TRIAL_DOMAIN = "testPrefix.testDomainName"


@dataclass(frozen=True, slots=True)
class PublicRequest:
    """A request as integrations see it: ``headers`` with the names as the client spelt them, ``path`` behind the stage."""

    http_method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    source_ip: str
    scheme: str
    protocol: str
    request_id: str
    extended_request_id: str
    time_s: float
    is_trial: bool = False
    """Made by TestInvokeMethod, not by a client: it came through no proxy and to no domain."""
    identity: Mapping[str, str] = field(default_factory=dict[str, str])
    """Who calls, by the names of the event's ``identity``, as far as the method wanted to know."""

    def header(self, name: str) -> str:
        """The last value of a header, by lower-case name; empty when it is not there."""
        found = ""
        for spelt, value in self.headers:
            if spelt.lower() == name:
                found = value
        return found


def media_type_is_binary(media_type: str, binary_media_types: frozenset[str]) -> bool:
    """Whether the API takes this media type (perhaps with parameters) as binary; ``*/*`` and ``image/*`` are patterns."""
    kind = media_type.partition(";")[0].strip().lower()
    if not binary_media_types:
        return False
    return (
        "*/*" in binary_media_types
        or kind in binary_media_types
        or (f"{kind.partition('/')[0]}/*" in binary_media_types)
    )


def source_arn(stage: DeployedStage, found: Match) -> str:
    """The ARN of the method that calls, which resource policies narrow by."""
    return (
        f"arn:aws:execute-api:{stage.region}:{stage.account_id}:{stage.api_id}/{stage.stage}/"
        f"{found.method['httpMethod']}{found.resource['path']}"
    )


def proxy_event(request: PublicRequest, stage: DeployedStage, found: Match) -> dict[str, Any]:
    """The whole event."""
    headers = _forwarded(request)
    is_binary = media_type_is_binary(request.header("content-type"), stage.binary_media_types)
    body: str | None = None
    if request.body:
        body = (
            base64.b64encode(request.body).decode() if is_binary else request.body.decode("utf-8", "replace")
        )
    query = grouped_query(request.query)
    return {
        "resource": found.resource["path"],
        "path": request.path,
        "httpMethod": request.http_method,
        "headers": {name: values[-1] for name, values in headers.items()} or None,
        "multiValueHeaders": headers or None,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": dict(found.path_parameters) or None,
        "stageVariables": dict(stage.variables) or None,
        "requestContext": _request_context(request, stage, found),
        "body": body,
        "isBase64Encoded": bool(body) and is_binary,
    }


def _request_context(request: PublicRequest, stage: DeployedStage, found: Match) -> dict[str, Any]:
    host = TRIAL_DOMAIN if request.is_trial else request.header("host").partition(":")[0]
    context: dict[str, Any] = {
        "resourceId": found.resource["id"],
        "resourcePath": found.resource["path"],
        "httpMethod": request.http_method,
        "extendedRequestId": request.extended_request_id,
        "requestTime": as_datetime(request.time_s).strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "path": request.path if request.is_trial else f"/{stage.stage}{request.path}",
        "accountId": stage.account_id,
        "protocol": request.protocol,
        "stage": stage.stage,
        "domainPrefix": host.partition(".")[0],
        "requestTimeEpoch": int(request.time_s * 1000),
        "requestId": request.request_id,
        "identity": {
            "cognitoIdentityPoolId": None,
            "accountId": None,
            "cognitoIdentityId": None,
            "caller": None,
            "sourceIp": request.source_ip,
            "principalOrgId": None,
            "accessKey": None,
            "cognitoAuthenticationType": None,
            "cognitoAuthenticationProvider": None,
            "userArn": None,
            "userAgent": request.header("user-agent") or None,
            "user": None,
            **request.identity,
        },
        "domainName": host,
        "deploymentId": stage.deployment_id,
        "apiId": stage.api_id,
    }
    if found.method.get("operationName"):
        context["operationName"] = found.method["operationName"]
    return context


def _forwarded(request: PublicRequest) -> dict[str, list[str]]:
    """Headers by name, in order; the same name in two spellings stays two, as AWS has it."""
    pairs = [(name, value) for name, value in request.headers if name.lower() not in _NOT_FORWARDED]
    if request.is_trial:
        return _grouped(pairs)
    earlier = request.header("x-forwarded-for")
    port = request.header("host").rpartition(":")[2]
    added = {
        "X-Forwarded-For": f"{earlier}, {request.source_ip}" if earlier else request.source_ip,
        "X-Forwarded-Port": port if port.isdigit() else {"https": "443"}.get(request.scheme, "80"),
        "X-Forwarded-Proto": request.scheme,
    }
    names = {name.lower() for name in added}
    return _grouped(
        [(name, value) for name, value in pairs if name.lower() not in names] + list(added.items())
    )


def grouped_query(query: str) -> dict[str, list[str]]:
    """The parameters of a query string, decoded: all values of each, in order."""
    return _grouped(_query_pairs(query))


def _query_pairs(query: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((unquote_plus(name), unquote_plus(value)))
    return pairs


def _grouped(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return grouped
