"""Attack cases 16 to 26: who is known and still may not. Nothing is stored, nothing runs, nothing is told.

Single decisions (case 17) are in ``authz/decisions.json``.
"""

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from authz.test_decisions import GROUPS
from botocore.exceptions import ClientError
from services.identities import document, make_role, make_user, trust, unique, user_arn
from services.lambda_house import zipped

from stagedoor.testing import Server

OTHER = "999988887777"
OTHER_KEYS = {"AccessKeyId": "AKIAOTHERACCOUNT0000", "SecretAccessKey": "another-secret-of-another-account"}
CODE = "import os, json\ndef handler(event, context):\n    return {'statusCode': 200, 'body': json.dumps(dict(os.environ))}\n"


def refusal(call: Callable[..., Any], **arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def function(server: Server, name: str, role: str, code: str = CODE) -> str:
    return server.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role=role,
        Handler="app.handler",
        Code={"ZipFile": zipped({"app.py": code})},
    )["FunctionArn"]


def lambda_role(server: Server, *statements: dict[str, Any]) -> dict[str, Any]:
    return make_role(server, *statements, principal={"Service": "lambda.amazonaws.com"})


@pytest.mark.parametrize(
    ("service", "operation", "action"),
    [
        ("s3", "list_buckets", "s3:ListAllMyBuckets"),
        ("iam", "list_users", "iam:ListUsers"),
        ("lambda", "list_functions", "lambda:ListFunctions"),
        ("sagemaker", "list_models", "sagemaker:ListModels"),
    ],
)
def test_case_16_an_explicit_deny_beside_an_allow(
    stagedoor: Server, service: str, operation: str, action: str
) -> None:
    name, keys = make_user(stagedoor, {"Action": "*"}, {"Effect": "Deny", "Action": action.lower()})
    _, code, message = refusal(getattr(stagedoor.client(service, credentials=keys), operation))
    assert code in {"AccessDenied", "AccessDeniedException"}
    assert message.startswith(f"User: {user_arn(stagedoor, name)} is not authorized to perform: {action} on")
    assert message.endswith("with an explicit deny in an identity-based policy")


def test_case_17_the_table_of_decisions_has_unknown_operators_and_keys() -> None:
    cases = [case for group in GROUPS for case in group["cases"]]
    assert len(cases) >= 300
    assert sum(case["expect"] == "unsaid" for case in cases) >= 10


def test_case_18_without_invoke_endpoint_the_container_sees_nothing(stagedoor: Server) -> None:
    name, keys = make_user(stagedoor, {"Action": ["sagemaker:Describe*", "sagemaker:InvokeEndpointAsync"]})
    runtime = stagedoor.client("sagemaker-runtime", credentials=keys)
    status, code, message = refusal(runtime.invoke_endpoint, EndpointName="reviews", Body=b"1")
    assert (status, code) == (403, "AccessDeniedException")
    # Before anything is looked up: whether there is such an endpoint is not told either.
    assert "because no identity-based policy allows the sagemaker:InvokeEndpoint action" in message
    assert user_arn(stagedoor, name) in message


def test_case_19_passing_a_role_needs_its_own_permission(stagedoor: Server) -> None:
    _, keys = make_user(stagedoor, {"Action": ["sagemaker:*", "lambda:*"]})
    sagemaker = stagedoor.client("sagemaker", credentials=keys)
    functions = stagedoor.client("lambda", credentials=keys)
    role = make_role(stagedoor, principal={"Service": ["sagemaker.amazonaws.com", "lambda.amazonaws.com"]})
    name = unique("passed")
    image = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
    variant = {"VariantName": "v", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    for call, arguments in (
        (
            sagemaker.create_model,
            {"ModelName": name, "ExecutionRoleArn": role["Arn"], "PrimaryContainer": {"Image": image}},
        ),
        (
            sagemaker.create_endpoint_config,
            {"EndpointConfigName": name, "ProductionVariants": [variant], "ExecutionRoleArn": role["Arn"]},
        ),
        (
            functions.create_function,
            {
                "FunctionName": name,
                "Runtime": "python3.12",
                "Role": role["Arn"],
                "Handler": "app.handler",
                "Code": {"ZipFile": zipped({"app.py": CODE})},
            },
        ),
    ):
        _, code, message = refusal(call, **arguments)
        assert code == "AccessDeniedException"
        assert f"iam:PassRole on resource: {role['Arn']}" in message
    assert refusal(stagedoor.client("sagemaker").describe_model, ModelName=name)[1] == "ValidationException"
    assert refusal(stagedoor.client("lambda").get_function, FunctionName=name)[0] == 404


def test_case_20_a_role_that_trusts_somebody_else_or_wants_an_external_id(stagedoor: Server) -> None:
    name, keys = make_user(stagedoor, {"Action": "sts:AssumeRole"})
    other, _ = make_user(stagedoor)
    sts = stagedoor.client("sts", credentials=keys)

    def assume(role: dict[str, Any], **more: Any) -> Any:
        return sts.assume_role(RoleArn=role["Arn"], RoleSessionName="session", **more)

    theirs = make_role(stagedoor, principal={"AWS": user_arn(stagedoor, other)})
    assert refusal(assume, role=theirs)[:2] == (403, "AccessDenied")
    text = trust(
        {"AWS": user_arn(stagedoor, name)}, Condition={"StringEquals": {"sts:ExternalId": "agreed-upon"}}
    )
    role = make_role(stagedoor, AssumeRolePolicyDocument=text)
    assert refusal(assume, role=role)[:2] == (403, "AccessDenied")
    assert refusal(assume, role=role, ExternalId="guessed")[:2] == (403, "AccessDenied")
    assume(role, ExternalId="agreed-upon")
    # One that does not exist is refused in the same words.
    missing = {"Arn": role["Arn"] + "x"}
    assert refusal(assume, role=missing)[2].replace(missing["Arn"], "") == refusal(assume, role=theirs)[
        2
    ].replace(theirs["Arn"], "")


def test_case_21_a_narrower_session_policy_holds_and_chains_last_an_hour(stagedoor: Server) -> None:
    _, keys = make_user(stagedoor, {"Action": "sts:AssumeRole"})
    role = make_role(stagedoor, {"Action": "*"}, MaxSessionDuration=43_200)
    sts = stagedoor.client("sts", credentials=keys)
    narrow = sts.assume_role(
        RoleArn=role["Arn"], RoleSessionName="narrow", Policy=document({"Action": "s3:List*"})
    )["Credentials"]
    stagedoor.client("s3", credentials=narrow).list_buckets()
    assert refusal(stagedoor.client("iam", credentials=narrow).list_users)[:2] == (403, "AccessDenied")
    assert refusal(stagedoor.client("s3", credentials=narrow).create_bucket, Bucket=unique("no"))[0] == 403
    wide = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="wide", DurationSeconds=7_200)["Credentials"]
    chained = stagedoor.client("sts", credentials=wide)
    call = {"RoleArn": role["Arn"], "RoleSessionName": "chained"}
    assert refusal(chained.assume_role, **call, DurationSeconds=3_601)[:2] == (400, "ValidationError")
    chained.assume_role(**call, DurationSeconds=3_600)


class TestCase22ApisAndFunctions:
    @pytest.fixture
    def api(self, stagedoor: Server) -> Iterator[tuple[Any, str, str, Callable[[], int]]]:
        name = unique("called")
        arn = function(stagedoor, name, lambda_role(stagedoor)["Arn"])
        client = stagedoor.client("apigateway")
        made = client.create_rest_api(name=name)
        place = {"restApiId": made["id"], "resourceId": made["rootResourceId"], "httpMethod": "GET"}
        client.put_method(**place, authorizationType="NONE")
        uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations"
        client.put_integration(**place, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
        client.create_deployment(restApiId=made["id"], stageName="prod")

        def call() -> int:
            url = f"{stagedoor.public}/_aws/execute-api/{made['id']}/prod/"
            try:
                with urllib.request.urlopen(url, timeout=30) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                assert json.loads(error.read()) == {"message": "Internal server error"}
                return error.code

        yield client, made["id"], name, call
        client.delete_rest_api(restApiId=made["id"])

    def test_case_22_an_api_without_the_functions_permission(
        self, stagedoor: Server, api: tuple[Any, str, str, Callable[[], int]]
    ) -> None:
        _, api_id, name, call = api
        functions = stagedoor.client("lambda")

        def allow(source: str, principal: str = "apigateway.amazonaws.com", **more: str) -> str:
            statement = uuid.uuid4().hex
            functions.add_permission(
                FunctionName=name,
                StatementId=statement,
                Action="lambda:InvokeFunction",
                Principal=principal,
                SourceArn=f"arn:aws:execute-api:us-east-1:{stagedoor.account_id}:{source}",
                **more,
            )
            return statement

        assert call() == 500
        allow("another0api/*/*/*")
        assert call() == 500
        allow(f"{api_id}/prod/POST/*")
        assert call() == 500
        allow(f"{api_id}/*", SourceAccount=OTHER)
        assert call() == 500
        allow(f"{api_id}/*", principal="events.amazonaws.com")
        assert call() == 500
        groups = stagedoor.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")
        assert groups["logGroups"] == []
        statement = allow(f"{api_id}/prod/GET/")
        assert call() == 200
        functions.remove_permission(FunctionName=name, StatementId=statement)
        assert call() == 500


def test_case_23_a_function_has_its_roles_credentials_and_no_others(stagedoor: Server) -> None:
    code = (
        "import os, glob, boto3\n"
        "def handler(event, context):\n"
        "    found = dict(os.environ)\n"
        "    texts = []\n"
        "    for path in ['/proc/self/environ', f'/proc/{os.getppid()}/environ', *glob.glob('/proc/*/environ'),\n"
        "                 *glob.glob('/proc/*/cmdline'), *event['files']]:\n"
        "        try:\n"
        "            texts.append(open(path, 'rb').read().decode('latin-1'))\n"
        "        except OSError:\n"
        "            pass\n"
        "    who = boto3.client('sts').get_caller_identity()['Arn']\n"
        "    return {'environment': found, 'texts': texts, 'who': who}\n"
    )
    name = unique("curious")
    role = lambda_role(stagedoor)
    function(stagedoor, name, role["Arn"], code)
    # What it may open of the data directory is the isolation's business; what it is given is this test's.
    files = [str(stagedoor.data / "stagedoor.json")]
    answer = stagedoor.client("lambda").invoke(
        FunctionName=name, Payload=json.dumps({"files": files}).encode()
    )
    found = json.loads(answer["Payload"].read())
    assert found["who"] == f"arn:aws:sts::{stagedoor.account_id}:assumed-role/{role['RoleName']}/{name}"
    assert found["environment"]["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    shown = json.dumps([found["environment"], found["texts"]])
    for secret in (
        stagedoor.secret_access_key,
        json.loads((stagedoor.data / "keys.json").read_text())["session_secret"],
    ):
        assert secret not in shown


class TestCase24AnotherAccount:
    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        folder = tmp_path_factory.mktemp("accounts")
        accounts = folder / "accounts.json"
        entry = {
            "account_id": OTHER,
            "access_key_id": OTHER_KEYS["AccessKeyId"],
            "secret_access_key": OTHER_KEYS["SecretAccessKey"],
        }
        accounts.write_text(json.dumps([entry]))
        server = Server(folder / "data", None, "--accounts", str(accounts)).start()
        yield server
        server.stop()

    def test_case_24_buckets_are_closed(self, server: Server) -> None:
        own, other = server.client("s3"), server.client("s3", credentials=OTHER_KEYS)
        bucket = unique("mine")
        own.create_bucket(Bucket=bucket)
        own.put_object(Bucket=bucket, Key="key", Body=b"content")
        for call, more in (
            (other.list_objects_v2, {}),
            (other.get_object, {"Key": "key"}),
            (other.get_object, {"Key": "missing"}),
            (other.put_object, {"Key": "key", "Body": b"changed"}),
            (other.delete_object, {"Key": "key"}),
            (other.delete_bucket, {}),
            (other.get_bucket_policy, {}),
        ):
            assert refusal(call, Bucket=bucket, **more)[:2] == (403, "AccessDenied")
        assert other.list_buckets()["Buckets"] == []
        assert own.get_object(Bucket=bucket, Key="key")["Body"].read() == b"content"

    def test_case_24_functions_endpoints_roles_and_groups_are_not_seen(self, server: Server) -> None:
        name = unique("mine")
        arn = function(server, name, lambda_role(server)["Arn"])
        user, _ = make_user(server)
        functions = server.client("lambda", credentials=OTHER_KEYS)
        assert refusal(functions.get_function, FunctionName=name)[0] == 404
        for call in (functions.invoke, functions.get_function, functions.delete_function):
            status, code, _ = refusal(call, FunctionName=arn)
            assert (status, code) in {(403, "AccessDeniedException"), (404, "ResourceNotFoundException")}
        assert functions.list_functions()["Functions"] == []
        iam = server.client("iam", credentials=OTHER_KEYS)
        assert refusal(iam.get_user, UserName=user)[:2] == (404, "NoSuchEntity")
        assert iam.list_users()["Users"] == []
        runtime = server.client("sagemaker-runtime", credentials=OTHER_KEYS)
        assert refusal(runtime.invoke_endpoint, EndpointName=name, Body=b"1")[1] == "ValidationError"
        logs = server.client("logs", credentials=OTHER_KEYS)
        assert logs.describe_log_groups()["logGroups"] == []

    def test_case_24_across_accounts_both_sides_must_allow(self, server: Server) -> None:
        bucket = unique("shared")
        own = server.client("s3")
        own.create_bucket(Bucket=bucket)
        own.put_object(Bucket=bucket, Key="key", Body=b"content")
        their_iam = server.client("iam", credentials=OTHER_KEYS)
        name = unique("theirs")
        their_iam.create_user(UserName=name)
        keys = their_iam.create_access_key(UserName=name)["AccessKey"]
        theirs = server.client("s3", credentials=keys)
        get = {"Bucket": bucket, "Key": "key"}
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{OTHER}:user/{name}"},
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{bucket}/*",
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        their_iam.put_user_policy(
            UserName=name, PolicyName="own", PolicyDocument=document({"Action": "s3:GetObject"})
        )
        assert refusal(theirs.get_object, **get)[:2] == (403, "AccessDenied")
        own.put_bucket_policy(Bucket=bucket, Policy=policy)
        assert theirs.get_object(**get)["Body"].read() == b"content"
        their_iam.delete_user_policy(UserName=name, PolicyName="own")
        assert refusal(theirs.get_object, **get)[:2] == (403, "AccessDenied")

    def test_case_24_a_role_of_another_account_needs_trust_and_permission(self, server: Server) -> None:
        role = make_role(server, {"Action": "s3:ListAllMyBuckets"}, principal={"AWS": OTHER})
        their_iam = server.client("iam", credentials=OTHER_KEYS)
        name = unique("visitor")
        their_iam.create_user(UserName=name)
        keys = their_iam.create_access_key(UserName=name)["AccessKey"]
        sts = server.client("sts", credentials=keys)
        call = {"RoleArn": role["Arn"], "RoleSessionName": "visit"}
        assert refusal(sts.assume_role, **call)[:2] == (403, "AccessDenied")
        their_iam.put_user_policy(
            UserName=name, PolicyName="own", PolicyDocument=document({"Action": "sts:AssumeRole"})
        )
        session = sts.assume_role(**call)["Credentials"]
        server.client("s3", credentials=session).list_buckets()
        identity = server.client("sts", credentials=session).get_caller_identity()
        assert identity["Account"] == server.account_id


def test_what_a_bucket_policy_says_of_referer_and_agent_holds_for_anonymous_callers(
    stagedoor: Server,
) -> None:
    s3, bucket = stagedoor.client("s3"), unique("linked")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="key", Body=b"content")
    s3.delete_public_access_block(Bucket=bucket)
    condition = {"StringLike": {"aws:Referer": "https://example.com/*", "aws:UserAgent": "browser*"}}
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
    statement = allow | {"Resource": f"arn:aws:s3:::{bucket}/*", "Condition": condition}
    s3.put_bucket_policy(
        Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )

    def status(**headers: str) -> int:
        asked = urllib.request.Request(f"{stagedoor.api}/{bucket}/key", headers=headers)
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    browser = {"User-Agent": "browser 1"}
    assert status(Referer="https://example.com/page", **browser) == 200
    assert status(Referer="https://example.org/page", **browser) == 403
    assert status(Referer="https://example.com/page") == 403
    assert status(**browser) == 403


def test_case_25_without_list_bucket_a_missing_key_is_forbidden(stagedoor: Server) -> None:
    s3, bucket = stagedoor.client("s3"), unique("bucket")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="key", Body=b"content")
    _, keys = make_user(stagedoor, {"Action": "s3:GetObject"})
    reader = stagedoor.client("s3", credentials=keys)
    assert reader.get_object(Bucket=bucket, Key="key")["Body"].read() == b"content"
    assert refusal(reader.get_object, Bucket=bucket, Key="missing")[:2] == (403, "AccessDenied")
    assert refusal(reader.head_object, Bucket=bucket, Key="missing")[0] == 403
    _, keys = make_user(stagedoor, {"Action": ["s3:GetObject", "s3:ListBucket"]})
    lister = stagedoor.client("s3", credentials=keys)
    assert refusal(lister.get_object, Bucket=bucket, Key="missing")[:2] == (404, "NoSuchKey")


class TestCase26ProtectedMethods:
    """More of it, with functions behind the methods, is in ``public.test_protected_methods``."""

    @pytest.fixture
    def client(self, stagedoor: Server) -> Any:
        return stagedoor.client("apigateway")

    @pytest.fixture
    def make_method(
        self, client: Any, stagedoor: Server
    ) -> Iterator[Callable[..., tuple[str, Callable[..., Any]]]]:
        made: list[str] = []

        def make(**protection: Any) -> tuple[str, Callable[..., Any]]:
            """A deployed method that answers by itself; the API's id, and what calls it."""
            api = client.create_rest_api(name=unique("guarded"))
            made.append(api["id"])
            place = {"restApiId": api["id"], "resourceId": api["rootResourceId"], "httpMethod": "GET"}
            client.put_method(**place, **({"authorizationType": "NONE"} | protection))
            client.put_method_response(**place, statusCode="200")
            client.put_integration(
                **place, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'}
            )
            client.put_integration_response(**place, statusCode="200")
            client.create_deployment(restApiId=api["id"], stageName="prod")

            def call(**headers: str) -> tuple[int, Any]:
                url = f"{stagedoor.public}/_aws/execute-api/{api['id']}/prod/"
                names = {name.replace("_", "-"): value for name, value in headers.items()}
                try:
                    with urllib.request.urlopen(urllib.request.Request(url, headers=names)) as answer:
                        return answer.status, None
                except urllib.error.HTTPError as error:
                    return error.code, json.loads(error.read())

            return api["id"], call

        yield make
        for api_id in made:
            client.delete_rest_api(restApiId=api_id)

    def test_case_26_a_stage_that_wants_a_key(self, client: Any, make_method: Callable[..., Any]) -> None:
        api_id, call = make_method(apiKeyRequired=True)
        forbidden = (403, {"message": "Forbidden"})
        assert call() == call(X_Api_Key="x" * 40) == call(X_Api_Key="") == forbidden
        key = client.create_api_key(name=unique("key"), enabled=True)
        assert call(X_Api_Key=key["value"]) == forbidden
        plan = client.create_usage_plan(name=unique("plan"), apiStages=[{"apiId": api_id, "stage": "prod"}])
        client.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
        assert call(X_Api_Key=key["value"])[0] == 200
        client.delete_api_key(apiKey=key["id"])
        assert call(X_Api_Key=key["value"]) == forbidden

    def test_case_26_a_method_that_wants_a_signature(self, make_method: Callable[..., Any]) -> None:
        _, call = make_method(authorizationType="AWS_IAM")
        assert call() == (403, {"message": "Missing Authentication Token"})

    def test_case_26_a_throttled_stage(self, client: Any, make_method: Callable[..., Any]) -> None:
        api_id, call = make_method()
        patch = [
            {"op": "replace", "path": "/*/*/throttling/burstLimit", "value": "1"},
            {"op": "replace", "path": "/*/*/throttling/rateLimit", "value": "0.001"},
        ]
        client.update_stage(restApiId=api_id, stageName="prod", patchOperations=patch)
        assert call()[0] == 200
        assert call() == (429, {"message": "Too Many Requests"})
