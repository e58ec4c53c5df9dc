"""Functions and APIs for the tests of the public listener."""

import io
import json
import uuid
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from public.deployed_api import CODE, Api

from stagedoor.testing import Server


@pytest.fixture(scope="module")
def function_arn(stagedoor: Server) -> str:
    iam, functions = stagedoor.client("iam"), stagedoor.client("lambda")
    name = f"api-{uuid.uuid4().hex[:8]}"
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]["Arn"]
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("app.py", CODE)
    return functions.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role=role,
        Handler="app.handler",
        Code={"ZipFile": package.getvalue()},
        Timeout=10,
    )["FunctionArn"]


@pytest.fixture
def make_api(stagedoor: Server, function_arn: str) -> Iterator[Callable[..., Api]]:
    made: list[Api] = []

    def make(**options: Any) -> Api:
        made.append(Api(stagedoor, function_arn, **options))
        return made[-1]

    yield make
    for api in made:
        api.client.delete_rest_api(restApiId=api.id)
