"""The public API: POST runs the function, OPTIONS tells browsers that a page from elsewhere may do so."""

from __future__ import annotations

from place import Place
from plan import RESOURCE, STAGE, Plan

STATEMENT = "the-sentiment-api"

_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST,OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Max-Age": "600",
}


def find(place: Place, name: str) -> str | None:
    """The id of the API of this name, if there is one."""
    for page in place.apigateway.get_paginator("get_rest_apis").paginate():
        for api in page["items"]:
            if api.get("name") == name:
                return api.get("id")
    return None


def ensure(place: Place, plan: Plan, function_arn: str) -> tuple[str, bool]:
    """The deployed API: its id, and whether anything had to be made.

    A half-made API (one without its stage) is deleted and made anew.
    """
    found = find(place, plan.api)
    if found:
        stages = place.apigateway.get_stages(restApiId=found)["item"]
        if any(stage.get("stageName") == STAGE for stage in stages):
            return found, _permit(place, plan, found)
        place.apigateway.delete_rest_api(restApiId=found)
    api_id = place.apigateway.create_rest_api(
        name=plan.api,
        description="Judges film reviews",
        endpointConfiguration={"types": ["REGIONAL"]},
    )["id"]
    root = next(item.get("id", "") for item in place.apigateway.get_resources(restApiId=api_id)["items"])
    resource = place.apigateway.create_resource(restApiId=api_id, parentId=root, pathPart=RESOURCE)["id"]
    _put_post(place, api_id, resource, function_arn)
    _put_options(place, api_id, resource)
    _permit(place, plan, api_id)
    place.apigateway.create_deployment(restApiId=api_id, stageName=STAGE)
    return api_id, True


def _put_post(place: Place, api_id: str, resource: str, function_arn: str) -> None:
    place.apigateway.put_method(
        restApiId=api_id, resourceId=resource, httpMethod="POST", authorizationType="NONE"
    )
    place.apigateway.put_integration(
        restApiId=api_id,
        resourceId=resource,
        httpMethod="POST",
        type="AWS_PROXY",
        integrationHttpMethod="POST",
        uri=f"arn:{place.partition}:apigateway:{place.region}:lambda:path/2015-03-31/functions/{function_arn}/invocations",
    )


def _put_options(place: Place, api_id: str, resource: str) -> None:
    """The answer to a browser's question before the POST, given by API Gateway itself."""
    place.apigateway.put_method(
        restApiId=api_id, resourceId=resource, httpMethod="OPTIONS", authorizationType="NONE"
    )
    place.apigateway.put_integration(
        restApiId=api_id,
        resourceId=resource,
        httpMethod="OPTIONS",
        type="MOCK",
        requestTemplates={"application/json": '{"statusCode": 200}'},
    )
    place.apigateway.put_method_response(
        restApiId=api_id,
        resourceId=resource,
        httpMethod="OPTIONS",
        statusCode="200",
        responseParameters={f"method.response.header.{header}": False for header in _CORS},
    )
    place.apigateway.put_integration_response(
        restApiId=api_id,
        resourceId=resource,
        httpMethod="OPTIONS",
        statusCode="200",
        responseParameters={
            f"method.response.header.{header}": f"'{value}'" for header, value in _CORS.items()
        },
    )


def _permit(place: Place, plan: Plan, api_id: str) -> bool:
    """Let this API, and no other, run the function; False when it may already."""
    source = place.arn("execute-api", f"{api_id}/*/POST/{RESOURCE}")
    functions = place.functions
    try:
        if source in functions.get_policy(FunctionName=plan.function)["Policy"]:
            return False
        functions.remove_permission(FunctionName=plan.function, StatementId=STATEMENT)
    except functions.exceptions.ResourceNotFoundException:
        pass  # nobody may run it yet
    functions.add_permission(
        FunctionName=plan.function,
        StatementId=STATEMENT,
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=source,
    )
    return True
