"""A MOCK integration: the answer that an API's author wrote down, mostly for CORS preflights. Pure."""

import json
import re
from collections.abc import Mapping
from typing import Any

from stagedoor.http.message import Response
from stagedoor.public.deployed import DeployedStage
from stagedoor.public.event import PublicRequest


class MockError(Exception):
    """The mock is not complete; ``status`` is what the caller gets, the text is for the log."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def response(
    request: PublicRequest, stage: DeployedStage, integration: Mapping[str, Any], resource_path: str
) -> Response:
    """The response of the integration response whose pattern fits the template's status, or of the default one."""
    templates: Mapping[str, str] = integration.get("requestTemplates", {})
    media_type = request.header("content-type").partition(";")[0].strip().lower() or "application/json"
    template = templates.get(media_type)
    if template is None:
        if integration["passthroughBehavior"] == "NEVER" or (
            templates and integration["passthroughBehavior"] == "WHEN_NO_TEMPLATES"
        ):
            raise MockError(415, f"no request template for {media_type}")
        raise MockError(
            500, f"the mock has no request template for {media_type}, which would name a statusCode"
        )
    status = str(json.loads(template)["statusCode"])
    chosen = _chosen(integration.get("integrationResponses", {}), status)
    context = {
        "context.requestId": request.request_id,
        "context.stage": stage.stage,
        "context.apiId": stage.api_id,
        "context.httpMethod": request.http_method,
        "context.resourcePath": resource_path,
        "context.identity.sourceIp": request.source_ip,
    } | {f"stageVariables.{name}": value for name, value in stage.variables.items()}
    headers = [
        (name.removeprefix("method.response.header."), _value(expression, context))
        for name, expression in chosen.get("responseParameters", {}).items()
    ]
    bodies: Mapping[str, str] = chosen.get("responseTemplates", {})
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", next(iter(bodies), "application/json")))
    body = bodies.get("application/json", next(iter(bodies.values()), "")) or ""
    return Response(int(chosen["statusCode"]), headers, body.encode())


def _chosen(responses: Mapping[str, Mapping[str, Any]], status: str) -> Mapping[str, Any]:
    default: Mapping[str, Any] | None = None
    for candidate in responses.values():
        pattern = candidate.get("selectionPattern")
        if not pattern:
            default = default or candidate
        elif re.fullmatch(pattern, status):
            return candidate
    if default is None:
        raise MockError(500, f"no integration response fits the status {status}, and there is no default one")
    return default


def _value(expression: str, context: Mapping[str, str]) -> str:
    return expression[1:-1] if expression.startswith("'") else context.get(expression, "")
