"""Integrations of a method (a Lambda function, or a mock) and their responses.

What cannot be run is refused when it is put, by name: other integration types, templates beyond constants.
"""

import json
import re
from typing import Any

from stagedoor.domain.arns import Arn
from stagedoor.services.apigateway import patches, stored
from stagedoor.services.apigateway.methods import change
from stagedoor.services.call import Call
from stagedoor.store.records import Document

DEFAULT_TIMEOUT_MS = 29_000
_FUNCTION_URI = re.compile(
    r"arn:aws[a-z-]*:apigateway:[a-z0-9-]+:lambda:path/2015-03-31/functions/(.+)/invocations"
)
_MAPPED = re.compile(r"'[^']*'|context\.[A-Za-z.]+|stageVariables\.\w+")
_RULES = patches.Rules(
    {"uri": patches.text, "timeoutInMillis": patches.number, "passthroughBehavior": patches.text},
    {"requestTemplates": patches.text},
)
_RESPONSE_RULES = patches.Rules(
    {"selectionPattern": patches.text},
    {"responseParameters": patches.text, "responseTemplates": patches.text},
)


def put_integration(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Set what a method calls: AWS_PROXY with a Lambda function's URI, or MOCK."""
    stored.refuse(
        request, "connectionId", "credentials", "requestParameters", "cacheNamespace", "cacheKeyParameters",
        "tlsConfig", "integrationTarget", "responseTransferMode",
    )  # fmt: skip
    if request.get("connectionType", "INTERNET") != "INTERNET":
        raise stored.unsupported(f"connectionType {request['connectionType']}")
    integration: Document = {
        "type": request["type"],
        "passthroughBehavior": request.get("passthroughBehavior") or "WHEN_NO_MATCH",
        "timeoutInMillis": request.get("timeoutInMillis") or DEFAULT_TIMEOUT_MS,
        "cacheNamespace": request["resourceId"],
        "cacheKeyParameters": [],
    }
    if request.get("integrationHttpMethod"):
        integration["httpMethod"] = request["integrationHttpMethod"]
    for member in ("uri", "requestTemplates", "contentHandling"):
        if request.get(member):
            integration[member] = request[member]
    _check(integration)

    def put(resources: Document) -> Document:
        method = stored.method(resources, request["resourceId"], request["httpMethod"])
        method["methodIntegration"] = integration
        return integration

    return change(call, request, put)


def get_integration(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """A method's integration."""
    resources = stored.tree(call.house.records, call, request["restApiId"])
    return _integration(stored.method(resources, request["resourceId"], request["httpMethod"]))


def update_integration(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Patch an integration."""

    def update(resources: Document) -> Document:
        method = stored.method(resources, request["resourceId"], request["httpMethod"])
        patched = _RULES.apply(_integration(method), request.get("patchOperations"))
        _check(patched)
        method["methodIntegration"] = patched
        return patched

    return change(call, request, update)


def delete_integration(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Remove a method's integration."""

    def delete(resources: Document) -> Document:
        method = stored.method(resources, request["resourceId"], request["httpMethod"])
        _integration(method)
        del method["methodIntegration"]
        return {}

    return change(call, request, delete)


def put_integration_response(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """How an answer of the integration becomes the method's response (MOCK; AWS_PROXY answers by itself)."""
    response: Document = {"statusCode": request["statusCode"]}
    for member in ("selectionPattern", "responseParameters", "responseTemplates", "contentHandling"):
        if request.get(member):
            response[member] = request[member]
    _check_response(response)

    def put(resources: Document) -> Document:
        method = stored.method(resources, request["resourceId"], request["httpMethod"])
        _check_declared(method, response)
        _integration(method).setdefault("integrationResponses", {})[request["statusCode"]] = response
        return response

    return change(call, request, put)


def get_integration_response(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One integration response."""
    resources = stored.tree(call.house.records, call, request["restApiId"])
    method = stored.method(resources, request["resourceId"], request["httpMethod"])
    return _response(_integration(method), request)


def update_integration_response(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Patch an integration response."""

    def update(resources: Document) -> Document:
        method = stored.method(resources, request["resourceId"], request["httpMethod"])
        integration = _integration(method)
        patched = _RESPONSE_RULES.apply(_response(integration, request), request.get("patchOperations"))
        _check_response(patched)
        _check_declared(method, patched)
        integration["integrationResponses"][request["statusCode"]] = patched
        return patched

    return change(call, request, update)


def delete_integration_response(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Remove an integration response."""

    def delete(resources: Document) -> Document:
        method = stored.method(resources, request["resourceId"], request["httpMethod"])
        integration = _integration(method)
        _response(integration, request)
        del integration["integrationResponses"][request["statusCode"]]
        return {}

    return change(call, request, delete)


def function_of(uri: str) -> str:
    """The function's ARN in a Lambda invocation URI (stage variables not filled in). BadRequestException otherwise."""
    match = _FUNCTION_URI.fullmatch(uri)
    if match is None:
        raise stored.bad_request(
            "Invalid function ARN or invalid uri: stagedoor takes "
            "arn:aws:apigateway:REGION:lambda:path/2015-03-31/functions/FUNCTION-ARN/invocations"
        )
    return match[1]


def _check(integration: Document) -> None:
    kind = integration["type"]
    if kind not in ("AWS_PROXY", "MOCK"):
        raise stored.unsupported(f"integration type {kind}", "this release has AWS_PROXY (Lambda) and MOCK.")
    if not 50 <= integration["timeoutInMillis"] <= DEFAULT_TIMEOUT_MS:
        raise stored.bad_request("Timeout should be between 50 ms and 29000 ms")
    if kind == "AWS_PROXY":
        if integration.get("httpMethod") != "POST":
            raise stored.bad_request(
                "Enumeration value for HttpMethod must be POST for a Lambda proxy integration"
            )
        function = function_of(integration.get("uri", ""))
        if "${" not in function:
            try:
                Arn.parse(function)
            except ValueError as error:
                raise stored.bad_request("Invalid function ARN in the integration's uri") from error
        return
    for template in integration.get("requestTemplates", {}).values():
        _check_constant(template, "requestTemplates")
        mock_status(template)


def mock_status(template: str) -> int:
    """The status that a mock's request template asks for. BadRequestException when it names none."""
    try:
        return int(json.loads(template)["statusCode"])
    except (ValueError, KeyError, TypeError) as error:
        raise stored.bad_request(
            'requestTemplates of a MOCK integration must be JSON with a number as statusCode, e.g. {"statusCode": 200}'
        ) from error


def _check_constant(template: str, member: str) -> None:
    if "$" in template or re.search(r"^\s*#", template, re.MULTILINE):
        raise stored.unsupported(
            f"{member} with template expressions ($ or #)", "this release has constant templates."
        )


def _check_response(response: Document) -> None:
    for name, value in response.get("responseParameters", {}).items():
        if not name.startswith("method.response.header.") or not _MAPPED.fullmatch(value):
            raise stored.bad_request(
                f"Invalid mapping expression specified: {name} = {value}; stagedoor takes 'constants', context.* and "
                "stageVariables.* for method.response.header.*"
            )
    for template in response.get("responseTemplates", {}).values():
        _check_constant(template or "", "responseTemplates")


def _check_declared(method: Document, response: Document) -> None:
    declared = method.get("methodResponses", {}).get(response["statusCode"])
    if declared is None:
        raise stored.not_found("Response status code")
    for name in response.get("responseParameters", {}):
        if name not in declared.get("responseParameters", {}):
            raise stored.bad_request(
                f"Invalid mapping expression parameter specified: {name}: the method response does not declare it"
            )


def _integration(method: Document) -> Document:
    found = method.get("methodIntegration")
    if found is None:
        raise stored.not_found("Integration identifier")
    return found


def _response(integration: Document, request: dict[str, Any]) -> Document:
    found = integration.get("integrationResponses", {}).get(request["statusCode"])
    if found is None:
        raise stored.not_found("Response status code")
    return found
