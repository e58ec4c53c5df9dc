"""`stagedoor why-denied` and `stagedoor least-privilege`: what they print holds when it is done."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from cli.commands import stagedoor as stagedoor_command
from services.identities import document, make_role, make_user, unique
from urllib3 import request as fetch

from stagedoor.testing import Server


def refused(call: Callable[..., Any], **arguments: Any) -> str:
    """The request id of a call that policies refuse."""
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    assert raised.value.response["Error"]["Code"] in {"AccessDenied", "AccessDeniedException"}
    return raised.value.response["ResponseMetadata"]["RequestId"]


def printed(stagedoor: Server, *arguments: str) -> str:
    done = stagedoor_command(*arguments, "--data", str(stagedoor.data))
    assert done.returncode == 0, done.stderr
    return done.stdout


def said_no(stagedoor: Server, *arguments: str) -> str:
    done = stagedoor_command(*arguments, "--data", str(stagedoor.data))
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    return done.stderr


class TestWhyDenied:
    def test_the_policy_that_it_prints_allows_the_call(self, stagedoor: Server) -> None:
        name, keys = make_user(stagedoor, {"Action": "sagemaker:DescribeModel"})
        call = stagedoor.client("sagemaker", credentials=keys).list_models
        request_id = refused(call)
        text = printed(stagedoor, "why-denied", request_id)
        assert "sagemaker:ListModels" in text
        assert f"user/{name}\n  may not sagemaker:ListModels\n  on *" in text
        assert "implicit deny, decided by: identity-based" in text
        (entry,) = [json.loads(printed(stagedoor, "why-denied", "--json", request_id))]
        (need,) = entry["needed"]
        assert json.dumps(need["policy"], indent=2) in text
        iam = stagedoor.client("iam")
        iam.put_user_policy(UserName=name, PolicyName="more", PolicyDocument=json.dumps(need["policy"]))
        call()

    def test_a_deny_is_shown_with_the_policy_it_is_in(self, stagedoor: Server) -> None:
        deny = {"Sid": "NoModels", "Effect": "Deny", "Action": "sagemaker:*"}
        _, keys = make_user(stagedoor, {"Action": "*"}, deny)
        text = printed(
            stagedoor, "why-denied", refused(stagedoor.client("sagemaker", credentials=keys).list_models)
        )
        assert "explicit deny" in text
        assert "The Deny is in inline policy own of user" in text
        assert '"Sid": "NoModels"' in text

    def test_what_nearly_allowed_is_shown_with_the_reason(self, stagedoor: Server) -> None:
        bucket = unique("near")
        stagedoor.client("s3").create_bucket(Bucket=bucket)
        condition = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
        _, keys = make_user(stagedoor, {"Action": "s3:ListBucket", "Condition": condition})
        call = stagedoor.client("s3", credentials=keys).list_objects_v2
        text = printed(stagedoor, "why-denied", refused(call, Bucket=bucket))
        assert "Nearly: inline policy own of user" in text
        assert '"10.0.0.0/8"' in text

    def test_a_refusal_that_is_repeated_is_explained_as_the_policies_are_then(
        self, stagedoor: Server
    ) -> None:
        elsewhere = "arn:aws:sagemaker:us-east-1:000000000000:endpoint/{}"
        name, keys = make_user(
            stagedoor, {"Action": "sagemaker:InvokeEndpoint", "Resource": elsewhere.format("first")}
        )
        call = stagedoor.client("sagemaker-runtime", credentials=keys).invoke_endpoint

        def explained() -> dict[str, Any]:
            request_id = refused(call, EndpointName="wanted", Body=b"1")
            entry: dict[str, Any] = json.loads(printed(stagedoor, "why-denied", "--json", request_id))
            assert entry.pop("request_id") == request_id
            assert entry.pop("time")
            return entry

        before = explained()
        assert explained() == before
        (near,) = before["near_misses"]
        assert near["statement"]["Resource"] == elsewhere.format("first")
        allow = {"Action": "sagemaker:InvokeEndpoint", "Resource": elsewhere.format("second")}
        stagedoor.client("iam").put_user_policy(
            UserName=name, PolicyName="own", PolicyDocument=document(allow)
        )
        (near,) = explained()["near_misses"]
        assert near["statement"]["Resource"] == elsewhere.format("second")

    def test_public_apis_explain_themselves_too(self, stagedoor: Server) -> None:
        """The request id of an API's answer is in ``x-amzn-RequestId``."""
        client = stagedoor.client("apigateway")
        api = client.create_rest_api(name=unique("explained"))
        place = {"restApiId": api["id"], "resourceId": api["rootResourceId"], "httpMethod": "GET"}
        client.put_method(**place, authorizationType="AWS_IAM")
        client.put_integration(
            **place, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'}
        )
        client.create_deployment(restApiId=api["id"], stageName="prod")
        _, keys = make_user(stagedoor, {"Action": "s3:*"})
        request = AWSRequest("GET", f"{stagedoor.public}/_aws/execute-api/{api['id']}/prod/")
        credentials = Credentials(keys["AccessKeyId"], keys["SecretAccessKey"])
        SigV4Auth(credentials, "execute-api", "us-east-1").add_auth(request)
        answer = fetch("GET", request.url or "", headers=dict(request.headers))
        assert answer.status == 403
        text = printed(stagedoor, "why-denied", answer.headers["x-amzn-RequestId"])
        assert "may not execute-api:Invoke" in text
        assert f"{api['id']}/prod/GET/" in text
        client.delete_rest_api(restApiId=api["id"])

    def test_what_it_does_not_know_is_said(self, stagedoor: Server, tmp_path: Path) -> None:
        assert "No refusal with the request id nonsense" in said_no(stagedoor, "why-denied", "nonsense")
        for arguments in (("why-denied",), ("why-denied", "a", "b"), ("least-privilege",)):
            done = stagedoor_command(*arguments)
            assert done.returncode == 2
            assert "Usage:" in done.stderr
        nowhere = stagedoor_command("why-denied", "x", "--data", str(tmp_path / "nowhere"))
        assert (nowhere.returncode, nowhere.stdout) == (1, "")
        assert "Traceback" not in nowhere.stderr
        assert not (tmp_path / "nowhere").exists()


class TestLeastPrivilege:
    def test_the_policy_covers_exactly_what_the_role_did(self, stagedoor: Server) -> None:
        bucket = unique("used")
        stagedoor.client("s3").create_bucket(Bucket=bucket)
        role = make_role(stagedoor, {"Action": ["s3:*", "sagemaker:*"]})
        _, keys = make_user(stagedoor, {"Action": "sts:AssumeRole"})
        session = stagedoor.client("sts", credentials=keys).assume_role(
            RoleArn=role["Arn"], RoleSessionName="seen"
        )["Credentials"]

        def work(credentials: dict[str, str]) -> None:
            s3 = stagedoor.client("s3", credentials=credentials)
            s3.put_object(Bucket=bucket, Key="a/*", Body=b"x")
            s3.get_object(Bucket=bucket, Key="a/*")
            stagedoor.client("sagemaker", credentials=credentials).list_models()

        work(session)
        refused(stagedoor.client("iam", credentials=session).list_users)
        deadline = time.monotonic() + 20
        while "ListModels" not in (found := self._policy(stagedoor, role["RoleName"])):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert "ListUsers" not in found
        assert self._policy(stagedoor, role["Arn"]) == found
        exact = make_role(stagedoor)
        iam, sts = stagedoor.client("iam"), stagedoor.client("sts", credentials=keys)
        iam.put_role_policy(RoleName=exact["RoleName"], PolicyName="least", PolicyDocument=found)
        narrow = sts.assume_role(RoleArn=exact["Arn"], RoleSessionName="narrow")["Credentials"]
        work(narrow)
        s3 = stagedoor.client("s3", credentials=narrow)
        refused(s3.get_object, Bucket=bucket, Key="a/other")
        refused(s3.list_objects_v2, Bucket=bucket)

    def _policy(self, stagedoor: Server, role: str) -> str:
        done = stagedoor_command("least-privilege", role, "--data", str(stagedoor.data))
        if done.returncode:
            assert "was seen doing anything yet" in done.stderr
            return ""
        return document(*json.loads(done.stdout)["Statement"])

    def test_what_it_does_not_know_is_said(self, stagedoor: Server) -> None:
        text = said_no(stagedoor, "least-privilege", "nobody")
        assert "No role nobody was seen doing anything yet" in text
