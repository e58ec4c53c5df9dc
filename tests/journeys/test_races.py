"""Many clients make or delete the same thing at the same time: one succeeds, all others get the right conflict."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from journeys import made
from journeys.deployed import Deployed
from services.hosting_house import IMAGE
from services.identities import document, trust, unique
from services.lambda_house import zipped

from stagedoor.testing import Server

CLIENTS = 20
ONCE = Config(retries={"total_max_attempts": 1})
Race = Callable[..., dict[str, int]]


@pytest.fixture(scope="module")
def race(stagedoor: Server) -> Iterator[Race]:
    """Runs one call in many threads; counts "done" and the errors as "status code"."""
    with ThreadPoolExecutor(CLIENTS) as threads:

        def run(service: str, operation: str, **request: Any) -> dict[str, int]:
            call = getattr(stagedoor.client(service, config=ONCE), operation)

            def one(_number: int) -> str:
                try:
                    call(**request)
                except ClientError as error:
                    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                    return f"{status} {error.response['Error']['Code']}"
                return "done"

            return dict(Counter(threads.map(one, range(CLIENTS))))

        yield run


def one_and(error: str) -> dict[str, int]:
    return {"done": 1, error: CLIENTS - 1}


def test_buckets_and_objects(stagedoor: Server, race: Race) -> None:
    name = unique("race")
    abroad = {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}
    conflict = one_and("409 BucketAlreadyOwnedByYou")
    assert race("s3", "create_bucket", Bucket=name, **abroad) == conflict
    wanted = {"Bucket": name, "Key": "key", "Body": b"x", "IfNoneMatch": "*"}
    assert race("s3", "put_object", **wanted) == one_and("412 PreconditionFailed")
    stagedoor.client("s3").delete_object(Bucket=name, Key="key")
    assert race("s3", "delete_bucket", Bucket=name) == one_and("404 NoSuchBucket")


def test_identities(race: Race) -> None:
    name = unique("race")
    exists = one_and("409 EntityAlreadyExists")
    role = {"RoleName": name, "AssumeRolePolicyDocument": trust({"Service": "lambda.amazonaws.com"})}
    assert race("iam", "create_role", **role) == exists
    assert race("iam", "delete_role", RoleName=name) == one_and("404 NoSuchEntity")
    assert race("iam", "create_user", UserName=name) == exists
    policy = document({"Action": "s3:*"})
    assert race("iam", "create_policy", PolicyName=name, PolicyDocument=policy) == exists
    keys = race("iam", "create_access_key", UserName=name)
    assert keys == {"done": 2, "409 LimitExceeded": CLIENTS - 2}


def test_functions(stagedoor: Server, race: Race) -> None:
    name = unique("race")
    function = {
        "FunctionName": name,
        "Runtime": "python3.12",
        "Role": made.role(stagedoor, name, "lambda"),
        "Handler": "app.handler",
        "Code": {"ZipFile": zipped("def handler(event, context):\n    return 1\n")},
    }
    exists = one_and("409 ResourceConflictException")
    assert race("lambda", "create_function", **function) == exists
    permission = {"Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com"}
    assert race("lambda", "add_permission", FunctionName=name, StatementId="one", **permission) == exists
    alias = {"FunctionName": name, "Name": "live", "FunctionVersion": "$LATEST"}
    assert race("lambda", "create_alias", **alias) == exists
    # The same code is the same version, however often and by however many it is published.
    assert race("lambda", "publish_version", FunctionName=name) == {"done": CLIENTS}
    versions = stagedoor.client("lambda").list_versions_by_function(FunctionName=name)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1"]
    gone = one_and("404 ResourceNotFoundException")
    assert race("lambda", "delete_function", FunctionName=name) == gone


def test_hosting(stagedoor: Server, race: Race) -> None:
    app = Deployed(stagedoor, unique("race")).bucket()
    refused = one_and("400 ValidationException")
    model = {
        "ModelName": app.name,
        "PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": f"s3://{app.name}/model.tar.gz"},
        "ExecutionRoleArn": made.role(stagedoor, app.name, "sagemaker", "AmazonS3ReadOnlyAccess"),
    }
    assert race("sagemaker", "create_model", **model) == refused
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": app.name,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    config = {"EndpointConfigName": app.name}
    assert race("sagemaker", "create_endpoint_config", **config, ProductionVariants=[variant]) == refused
    assert race("sagemaker", "create_endpoint", EndpointName=app.name, **config) == refused
    app.in_service()
    assert app.invoke_endpoint() == pytest.approx(app.expected, abs=1e-6)
    assert race("sagemaker", "delete_endpoint", EndpointName=app.name) == refused
    app.wait("endpoint_deleted")


def test_log_groups_and_apis(stagedoor: Server, race: Race) -> None:
    name = unique("race")
    exists = one_and("400 ResourceAlreadyExistsException")
    assert race("logs", "create_log_group", logGroupName=name) == exists
    assert race("logs", "create_log_stream", logGroupName=name, logStreamName="s") == exists
    api = stagedoor.client("apigateway").create_rest_api(name=name)
    root = {"restApiId": api["id"], "parentId": api["rootResourceId"]}
    conflict = one_and("409 ConflictException")
    assert race("apigateway", "create_resource", **root, pathPart="one") == conflict
    method = {"restApiId": api["id"], "resourceId": api["rootResourceId"], "httpMethod": "GET"}
    assert race("apigateway", "put_method", **method, authorizationType="NONE") == conflict
