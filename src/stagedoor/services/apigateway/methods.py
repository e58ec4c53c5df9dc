"""Methods of a resource and their responses."""

import re
from typing import Any

from stagedoor.services.apigateway import patches, stored
from stagedoor.services.call import Call
from stagedoor.store.records import Document, Transaction

HTTP_METHODS = frozenset({"ANY", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_STATUS = re.compile(r"[1-5]\d\d")
_RULES = patches.Rules(
    {"operationName": patches.text, "authorizationType": patches.text, "apiKeyRequired": patches.boolean},
    {"requestParameters": patches.boolean, "requestModels": patches.text},
)
_RESPONSE_RULES = patches.Rules({}, {"responseParameters": patches.boolean, "responseModels": patches.text})


def put_method(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Add a method, open or for callers whom IAM allows (AWS_IAM) or who show an API key. Authorisers are refused by name."""
    http_method = request["httpMethod"]
    if http_method not in HTTP_METHODS:
        raise stored.bad_request(
            "Invalid HttpMethod specified. Valid options are GET,PUT,POST,DELETE,PATCH,OPTIONS,HEAD,ANY"
        )
    stored.refuse(request, "authorizerId", "authorizationScopes", "requestValidatorId")
    method: Document = {
        "httpMethod": http_method,
        "authorizationType": request["authorizationType"],
        "apiKeyRequired": bool(request.get("apiKeyRequired")),
    }
    for member in ("operationName", "requestParameters", "requestModels"):
        if request.get(member):
            method[member] = request[member]
    _check(method)

    def put(resources: Document) -> Document:
        resource = stored.resource(resources, request["resourceId"])
        if http_method in resource["resourceMethods"]:
            raise stored.conflict("Method already exists for this resource")
        resource["resourceMethods"][http_method] = method
        return method

    return change(call, request, put)


def get_method(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One method with its responses and its integration."""
    resources = stored.tree(call.house.records, call, request["restApiId"])
    return stored.method(resources, request["resourceId"], request["httpMethod"])


def update_method(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Patch a method."""

    def update(resources: Document) -> Document:
        method = stored.method(resources, request["resourceId"], request["httpMethod"])
        patched = _RULES.apply(method, request.get("patchOperations"))
        _check(patched)
        resources[request["resourceId"]]["resourceMethods"][request["httpMethod"]] = patched
        return patched

    return change(call, request, update)


def delete_method(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete a method with its integration and responses."""

    def delete(resources: Document) -> Document:
        stored.method(resources, request["resourceId"], request["httpMethod"])
        del resources[request["resourceId"]]["resourceMethods"][request["httpMethod"]]
        return {}

    return change(call, request, delete)


def put_method_response(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Declare a status that the method answers, with the headers it may carry."""
    _check_status(request["statusCode"])
    response: Document = {"statusCode": request["statusCode"]}
    for member in ("responseParameters", "responseModels"):
        if request.get(member):
            response[member] = request[member]
    for parameter in response.get("responseParameters", {}):
        if not parameter.startswith("method.response.header."):
            raise stored.bad_request(f"Invalid response parameter specified: {parameter}")

    def put(resources: Document) -> Document:
        method = stored.method(resources, request["resourceId"], request["httpMethod"])
        responses = method.setdefault("methodResponses", {})
        if request["statusCode"] in responses:
            raise stored.conflict("Response already exists for this resource")
        responses[request["statusCode"]] = response
        return response

    return change(call, request, put)


def get_method_response(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One declared response."""
    resources = stored.tree(call.house.records, call, request["restApiId"])
    return _response(stored.method(resources, request["resourceId"], request["httpMethod"]), request)


def update_method_response(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Patch a declared response."""

    def update(resources: Document) -> Document:
        method = stored.method(resources, request["resourceId"], request["httpMethod"])
        patched = _RESPONSE_RULES.apply(_response(method, request), request.get("patchOperations"))
        method["methodResponses"][request["statusCode"]] = patched
        return patched

    return change(call, request, update)


def delete_method_response(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete a declared response."""

    def delete(resources: Document) -> Document:
        method = stored.method(resources, request["resourceId"], request["httpMethod"])
        _response(method, request)
        del method["methodResponses"][request["statusCode"]]
        return {}

    return change(call, request, delete)


def change(call: Call, request: dict[str, Any], act: Any) -> dict[str, Any]:
    """Run ``act`` on the API's tree inside one transaction; its result is the answer."""
    transaction: Transaction
    with call.house.records.transaction() as transaction:
        resources = stored.tree(transaction, call, request["restApiId"])
        answer: dict[str, Any] = act(resources)
        transaction.put(stored.key_of(call, stored.TREE, request["restApiId"]), resources)
    return answer


def _check(method: Document) -> None:
    kind = method["authorizationType"]
    if kind in ("CUSTOM", "COGNITO_USER_POOLS"):
        raise stored.unsupported(f"authorizationType {kind}", "this release has NONE and AWS_IAM.")
    if kind not in ("NONE", "AWS_IAM"):
        raise stored.bad_request(
            "Invalid authorization type specified. Valid options are NONE, AWS_IAM, CUSTOM, COGNITO_USER_POOLS"
        )


def _check_status(status: str) -> None:
    if not _STATUS.fullmatch(status):
        raise stored.bad_request("Invalid status code specified")


def _response(method: Document, request: dict[str, Any]) -> Document:
    found = method.get("methodResponses", {}).get(request["statusCode"])
    if found is None:
        raise stored.not_found("Response status code")
    return found
