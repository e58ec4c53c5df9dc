"""TestInvokeMethod: run a method of an API as it is now, deployed or not."""

import asyncio
from typing import Any
from urllib.parse import quote

from stagedoor.services.apigateway import stored
from stagedoor.services.call import Call
from stagedoor.services.trial import Trial
from stagedoor.store.records import Document


async def test_invoke_method(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Call the method's integration; the answer holds status, headers, body and a log of what happened."""
    stored.refuse(request, "clientCertificateId")
    api, resources = await asyncio.to_thread(_load, call, request)
    resource = resources[request["resourceId"]]
    path, _, query = (request.get("pathWithQueryString") or quote(resource["path"])).partition("?")
    single: dict[str, str] = request.get("headers") or {}
    multiple_given: dict[str, list[str]] = request.get("multiValueHeaders") or {}
    headers = list(single.items())
    for name, values in multiple_given.items():
        headers += [(name, value) for value in values]
    if call.house.try_method is None:
        raise RuntimeError("the house has no public listener")
    result = await call.house.try_method(
        Trial(
            call.account_id,
            call.region,
            request["restApiId"],
            resources,
            request["resourceId"],
            request["httpMethod"],
            frozenset(kind.lower() for kind in api.get("binaryMediaTypes", [])),
            "/" + path.lstrip("/"),
            query,
            headers,
            (request.get("body") or "").encode(),
            request.get("stageVariables") or {},
            _identity(call),
        )
    )
    multiple: dict[str, list[str]] = {}
    for name, value in result.headers:
        multiple.setdefault(name, []).append(value)
    return {
        "status": result.status,
        "body": result.body.decode("utf-8", "replace"),
        "headers": {name: values[-1] for name, values in multiple.items()},
        "multiValueHeaders": multiple,
        "log": result.log,
        "latency": result.latency_ms,
    }


def _identity(call: Call) -> dict[str, str]:
    """What AWS's test puts into an event: who tries, and a key that stands for any."""
    caller = call.caller
    found = {
        "accountId": caller.account_id,
        "caller": caller.user_id,
        "user": caller.user_id,
        "userArn": caller.arn,
        "accessKey": caller.access_key_id,
        "apiKey": "test-invoke-api-key",
        "apiKeyId": "test-invoke-api-key-id",
    }
    agent = call.request.header.get("user-agent", "") if call.request is not None else ""
    return found | ({"userAgent": agent} if agent else {})


def _load(call: Call, request: dict[str, Any]) -> tuple[Document, Document]:
    records = call.house.records
    resources = stored.tree(records, call, request["restApiId"])
    method = stored.method(resources, request["resourceId"], request["httpMethod"])
    if "methodIntegration" not in method:
        raise stored.bad_request("No integration defined for method")
    return stored.api(records, call, request["restApiId"]), resources
