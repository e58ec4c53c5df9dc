"""Methods that not everybody may call: AWS_IAM, resource policies, API keys, throttles. With unmodified clients."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from public.deployed_api import Api
from services.identities import make_role, make_user, unique

from stagedoor.testing import Server

MakeApi = Callable[..., Api]
MISSING = (403, "MissingAuthenticationTokenException", {"message": "Missing Authentication Token"})
FORBIDDEN = (403, "ForbiddenException", {"message": "Forbidden"})


def refused(answer: tuple[int, dict[str, str], Any]) -> tuple[int, str, Any]:
    status, headers, body = answer
    return status, headers["x-amzn-ErrorType"], json.loads(body) if isinstance(body, bytes) else body


def with_role(server: Server, statement: dict[str, Any]) -> dict[str, str]:
    arn = make_role(server, statement)["Arn"]
    _, keys = make_user(server, {"Action": "sts:AssumeRole"})
    return server.client("sts", credentials=keys).assume_role(RoleArn=arn, RoleSessionName="visitor")[
        "Credentials"
    ]


class TestAwsIam:
    @pytest.fixture
    def api(self, make_api: MakeApi) -> Api:
        api = make_api()
        api.proxy(api.resource("films"), authorizationType="AWS_IAM")
        api.proxy(api.resource("open"))
        api.deploy()
        api.allow()
        return api

    def test_without_a_signature_there_is_no_answer_and_other_methods_stay_open(self, api: Api) -> None:
        assert refused(api.call("/prod/films")) == MISSING
        assert api.call("/prod/open")[0] == 200

    def test_who_may_invoke_is_told_to_the_function(self, api: Api, stagedoor: Server) -> None:
        name, keys = make_user(
            stagedoor, {"Action": "execute-api:Invoke", "Resource": api.arn("prod/GET/films")}
        )
        status, _, event = api.signed("/prod/films?b=2&a=1", keys)
        assert status == 200
        identity = event["requestContext"]["identity"]
        user = stagedoor.client("iam").get_user(UserName=name)["User"]
        assert identity["accountId"] == stagedoor.account_id
        assert identity["userArn"] == user["Arn"]
        assert identity["user"] == identity["caller"] == user["UserId"]
        assert identity["accessKey"] == keys["AccessKeyId"]
        # The signature is API Gateway's to check: the function could only replay it.
        assert not {"authorization", "x-amz-security-token"} & {one.lower() for one in event["headers"]}

    def test_a_session_of_a_role_may_as_well(self, api: Api, stagedoor: Server) -> None:
        keys = with_role(stagedoor, {"Action": "execute-api:Invoke", "Resource": api.arn("*")})
        status, _, event = api.signed("/prod/films", keys, "POST", b"body")
        assert (status, event["body"]) == (200, "body")
        assert event["requestContext"]["identity"]["userArn"].endswith("/visitor")

    def test_who_may_not_is_told_so_without_the_account(self, api: Api, stagedoor: Server) -> None:
        name, keys = make_user(
            stagedoor, {"Action": "execute-api:Invoke", "Resource": api.arn("prod/POST/*")}
        )
        status, kind, body = refused(api.signed("/prod/films", keys))
        assert (status, kind) == (403, "AccessDeniedException")
        hidden = "*" * 8 + stagedoor.account_id[8:]
        assert body == {
            "Message": f"User: arn:aws:iam::{stagedoor.account_id}:user/{name} is not authorized to perform: "
            f"execute-api:Invoke on resource: arn:aws:execute-api:us-east-1:{hidden}:{api.id}/prod/GET/films"
        }

    def test_a_path_in_another_spelling_is_the_same_path_to_a_policy(self, make_api: MakeApi) -> None:
        api = make_api()
        api.proxy(api.resource("{proxy+}"), authorizationType="AWS_IAM")
        api.deploy()
        api.allow()
        allow = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}
        deny = allow | {"Effect": "Deny", "Resource": api.arn("*/*/admin/*")}
        _, keys = make_user(api.server, allow, deny)
        assert api.signed("/prod/films/1", keys)[0] == 200
        for path in ("/prod/admin/1", "/prod//admin//1", "/prod/%61dmin/1", "/prod/admin%2F1"):
            status, kind, body = refused(api.signed(path, keys))
            assert (status, kind) == (403, "AccessDeniedException"), path
            assert body["Message"].endswith("with an explicit deny")

    def test_what_is_wrong_with_a_signature_is_said(self, api: Api, stagedoor: Server) -> None:
        _, keys = make_user(stagedoor, {"Action": "execute-api:Invoke", "Resource": "*"})
        wrong = keys | {"SecretAccessKey": "wrong"}
        assert refused(api.signed("/prod/films", wrong))[:2] == (403, "InvalidSignatureException")
        nobody = keys | {"AccessKeyId": "AKIANOBODYNOBODY0000"}
        assert refused(api.signed("/prod/films", nobody))[:2] == (403, "UnrecognizedClientException")
        elsewhere = api.signed("/prod/films", keys, service="sagemaker")
        assert refused(elsewhere)[:2] == (403, "InvalidSignatureException")
        answer = api.call("/prod/films", Authorization="AWS4-HMAC-SHA256 nonsense")
        assert refused(answer)[:2] == (403, "IncompleteSignatureException")
        stagedoor.client("iam").update_access_key(
            UserName=self._owner(stagedoor, keys), AccessKeyId=keys["AccessKeyId"], Status="Inactive"
        )
        assert refused(api.signed("/prod/films", keys))[:2] == (403, "UnrecognizedClientException")

    def _owner(self, server: Server, keys: dict[str, str]) -> str:
        return server.client("iam").get_access_key_last_used(AccessKeyId=keys["AccessKeyId"])["UserName"]

    def test_the_signed_listener_serves_it_too(self, api: Api, stagedoor: Server) -> None:
        public, api.server.public = api.server.public, api.server.api
        try:
            assert api.signed("/prod/films")[0] == 200
        finally:
            api.server.public = public


class TestResourcePolicies:
    def test_a_policy_counts_from_the_next_deployment_on(self, make_api: MakeApi) -> None:
        api = make_api()
        api.proxy(api.resource("films"))
        api.deploy()
        api.allow()
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": "*",
                    "Action": "execute-api:Invoke",
                    "Resource": "execute-api:/prod/POST/*",
                }
            ],
        }
        patch = [{"op": "replace", "path": "/policy", "value": json.dumps(policy)}]
        api.client.update_rest_api(restApiId=api.id, patchOperations=patch)
        assert api.call("/prod/films")[0] == 200
        api.deploy()
        assert api.call("/prod/films", "POST")[0] == 200
        status, kind, body = refused(api.call("/prod/films"))
        assert (status, kind) == (403, "AccessDeniedException")
        assert body["Message"].startswith(
            "User: anonymous is not authorized to perform: execute-api:Invoke on resource: "
        )
        # AWS answers the policy with its quotes escaped once more; Terraform and others undo that.
        stored = json.loads(json.loads(f'"{api.client.get_rest_api(restApiId=api.id)["policy"]}"'))
        assert stored["Statement"][0]["Resource"] == api.arn("prod/POST/*")

    @pytest.mark.parametrize(("address", "status"), [("127.0.0.0/8", 403), ("10.0.0.0/8", 200)])
    def test_addresses_can_be_shut_out(self, make_api: MakeApi, address: str, status: int) -> None:
        everybody = {"Principal": "*", "Action": "execute-api:Invoke", "Resource": "execute-api:/*"}
        statements = [
            everybody | {"Effect": "Allow"},
            everybody | {"Effect": "Deny", "Condition": {"IpAddress": {"aws:SourceIp": address}}},
        ]
        api = make_api(policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
        api.proxy(api.resource("films"))
        api.deploy()
        api.allow()
        answer = api.call("/prod/films")
        assert answer[0] == status
        if status == 403:
            assert refused(answer)[2]["Message"].endswith("with an explicit deny")

    def test_a_user_whom_the_policy_names_needs_no_policy_of_its_own(
        self, make_api: MakeApi, stagedoor: Server
    ) -> None:
        name, keys = make_user(stagedoor, {"Action": "s3:ListAllMyBuckets", "Resource": "*"})
        _, others = make_user(stagedoor, {"Action": "s3:ListAllMyBuckets", "Resource": "*"})
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{stagedoor.account_id}:user/{name}"},
            "Action": "execute-api:Invoke",
            "Resource": "execute-api:/*",
        }
        api = make_api(policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        api.proxy(api.resource("films"), authorizationType="AWS_IAM")
        api.deploy()
        api.allow()
        assert api.signed("/prod/films", keys)[0] == 200
        assert refused(api.signed("/prod/films", others))[:2] == (403, "AccessDeniedException")
        assert refused(api.call("/prod/films")) == MISSING

    @pytest.mark.parametrize(
        "policy",
        [
            "no json",
            '{"Version": "2012-10-17", "Statement": []}',
            json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": "*",
                            "Action": "s3:GetObject",
                            "Resource": "execute-api:/*",
                        }
                    ],
                }
            ),
        ],
    )
    def test_what_is_no_policy_is_refused(self, make_api: MakeApi, policy: str) -> None:
        with pytest.raises(ClientError) as raised:
            make_api(policy=policy)
        assert raised.value.response["Error"]["Code"] == "BadRequestException"
        assert "Invalid policy document" in raised.value.response["Error"]["Message"]


class TestApiKeys:
    @pytest.fixture
    def api(self, make_api: MakeApi) -> Api:
        api = make_api()
        api.proxy(api.resource("films"), apiKeyRequired=True)
        api.deploy()
        api.allow()
        return api

    def test_without_a_key_of_a_plan_of_this_stage_it_is_forbidden(self, api: Api) -> None:
        client = api.client
        assert refused(api.call("/prod/films")) == FORBIDDEN
        key = client.create_api_key(name=unique("key"), enabled=True)
        assert refused(api.call("/prod/films", X_Api_Key=key["value"])) == FORBIDDEN
        plan = client.create_usage_plan(name=unique("plan"), apiStages=[{"apiId": api.id, "stage": "prod"}])
        client.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
        status, _, body = api.call("/prod/films", X_Api_Key=key["value"])
        assert status == 200
        identity = json.loads(body)["requestContext"]["identity"]
        assert (identity["apiKey"], identity["apiKeyId"]) == (key["value"], key["id"])
        assert refused(api.call("/prod/films", X_Api_Key=key["value"] + "x")) == FORBIDDEN
        api.deploy("other")
        assert refused(api.call("/other/films", X_Api_Key=key["value"])) == FORBIDDEN

    def test_a_key_ends_on_the_very_next_request(self, api: Api) -> None:
        client = api.client
        plan = client.create_usage_plan(name=unique("plan"), apiStages=[{"apiId": api.id, "stage": "prod"}])

        def works(key: dict[str, Any]) -> bool:
            return api.call("/prod/films", X_Api_Key=key["value"])[0] == 200

        for end in ("disabled", "taken out of the plan", "deleted", "stage taken out of the plan"):
            key = client.create_api_key(name=unique("key"), enabled=True)
            client.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
            assert works(key)
            if end == "disabled":
                patch = [{"op": "replace", "path": "/enabled", "value": "false"}]
                assert client.update_api_key(apiKey=key["id"], patchOperations=patch)["enabled"] is False
            elif end == "taken out of the plan":
                client.delete_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"])
            elif end == "deleted":
                client.delete_api_key(apiKey=key["id"])
            else:
                patch = [{"op": "remove", "path": "/apiStages", "value": f"{api.id}:prod"}]
                assert (
                    client.update_usage_plan(usagePlanId=plan["id"], patchOperations=patch)["apiStages"] == []
                )
            assert not works(key), end

    def test_keys_and_plans_are_kept_as_they_were_put(self, stagedoor: Server) -> None:
        client = stagedoor.client("apigateway")
        value = "k" * 24 + unique("v")
        key = client.create_api_key(name="mine", value=value, description="d", tags={"a": "b"})
        assert (key["value"], key["enabled"], key["stageKeys"]) == (value, False, [])
        assert "value" not in client.get_api_key(apiKey=key["id"])
        assert client.get_api_key(apiKey=key["id"], includeValue=True)["value"] == value
        found = client.get_api_keys(nameQuery="min", includeValues=True)["items"]
        assert value in [one["value"] for one in found]
        for call, arguments, code in (
            (client.create_api_key, {"name": "twice", "value": value}, "ConflictException"),
            (client.create_api_key, {"name": "short", "value": "short"}, "BadRequestException"),
            (client.get_api_key, {"apiKey": "nothing"}, "NotFoundException"),
            (client.get_usage_plan, {"usagePlanId": "nothing"}, "NotFoundException"),
            (
                client.create_usage_plan,
                {"name": "p", "apiStages": [{"apiId": "no", "stage": "no"}]},
                "NotFoundException",
            ),
            (
                client.create_usage_plan,
                {"name": "p", "quota": {"limit": 1, "period": "DAY"}},
                "BadRequestException",
            ),
        ):
            with pytest.raises(ClientError) as raised:
                call(**arguments)
            assert raised.value.response["Error"]["Code"] == code, arguments
        plan = client.create_usage_plan(name="p", throttle={"rateLimit": 2.5, "burstLimit": 5})
        given = client.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
        assert given == {"id": key["id"], "type": "API_KEY", "name": "mine", "value": value} | {
            "ResponseMetadata": given["ResponseMetadata"]
        }
        with pytest.raises(client.exceptions.ConflictException):
            client.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
        assert [one["id"] for one in client.get_usage_plan_keys(usagePlanId=plan["id"])["items"]] == [
            key["id"]
        ]
        assert client.get_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"])["name"] == "mine"
        assert plan["id"] in [one["id"] for one in client.get_usage_plans(keyId=key["id"])["items"]]
        patch = [{"op": "replace", "path": "/throttle/rateLimit", "value": "9"}]
        patched = client.update_usage_plan(usagePlanId=plan["id"], patchOperations=patch)
        assert patched["throttle"] == {"rateLimit": 9.0, "burstLimit": 5}
        client.delete_api_key(apiKey=key["id"])
        assert client.get_usage_plan_keys(usagePlanId=plan["id"])["items"] == []
        client.delete_usage_plan(usagePlanId=plan["id"])
        assert plan["id"] not in [one["id"] for one in client.get_usage_plans()["items"]]


class TestThrottles:
    def test_a_stage_that_is_throttled_answers_429(self, make_api: MakeApi) -> None:
        api = make_api()
        api.proxy(api.resource("films"))
        api.proxy(api.resource("open"))
        api.deploy()
        api.allow()
        patch = [
            {"op": "replace", "path": "/~1films/GET/throttling/rateLimit", "value": "0.01"},
            {"op": "replace", "path": "/~1films/GET/throttling/burstLimit", "value": "2"},
        ]
        stage = api.client.update_stage(restApiId=api.id, stageName="prod", patchOperations=patch)
        settings = stage["methodSettings"]["films/GET"]
        assert (settings["throttlingRateLimit"], settings["throttlingBurstLimit"]) == (0.01, 2)
        answers = [api.call("/prod/films") for _ in range(3)]
        assert [answer[0] for answer in answers] == [200, 200, 429]
        assert refused(answers[2]) == (429, "TooManyRequestsException", {"message": "Too Many Requests"})
        assert api.call("/prod/films", "POST")[0] == 200
        assert api.call("/prod/open")[0] == 200
        whole = [{"op": "replace", "path": "/*/*/throttling/burstLimit", "value": "0"}]
        api.client.update_stage(restApiId=api.id, stageName="prod", patchOperations=whole)
        assert api.call("/prod/open")[0] == 429

    def test_a_key_is_throttled_alone_and_recovers(self, make_api: MakeApi) -> None:
        api = make_api()
        api.proxy(api.resource("films"), apiKeyRequired=True)
        api.deploy()
        api.allow()
        plan = api.client.create_usage_plan(
            name=unique("plan"),
            apiStages=[{"apiId": api.id, "stage": "prod"}],
            throttle={"rateLimit": 4.0, "burstLimit": 1},
        )
        keys = [api.client.create_api_key(name=unique("key"), enabled=True) for _ in range(2)]
        for key in keys:
            api.client.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
        api.call("/prod/films", X_Api_Key=keys[1]["value"])  # the function is warm from here on
        answers = [api.call("/prod/films", X_Api_Key=keys[0]["value"])[0] for _ in range(20)]
        assert answers[0] == 200
        assert 429 in answers
        deadline = time.monotonic() + 30
        while api.call("/prod/films", X_Api_Key=keys[0]["value"])[0] == 429:
            assert time.monotonic() < deadline
        assert api.call("/prod/films", X_Api_Key=keys[1]["value"])[0] == 200
