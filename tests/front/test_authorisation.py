"""Who may do what on the signed listener: refusals name principal, action and resource, and nothing happens."""

import json
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError
from services.identities import document, make_role, make_user, unique, user_arn

from stagedoor.testing import Server


def refusal(call: Any, **arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def test_invoking_an_endpoint_needs_its_permission(stagedoor: Server) -> None:
    name, keys = make_user(stagedoor, {"Action": "sagemaker:Describe*"})
    runtime = stagedoor.client("sagemaker-runtime", credentials=keys)
    arn = f"arn:aws:sagemaker:us-east-1:{stagedoor.account_id}:endpoint/reviews"
    assert refusal(runtime.invoke_endpoint, EndpointName="Reviews", Body=b"1") == (
        403,
        "AccessDeniedException",
        (
            f"User: {user_arn(stagedoor, name)} is not authorized to perform: sagemaker:InvokeEndpoint on resource: {arn} "
            "because no identity-based policy allows the sagemaker:InvokeEndpoint action"
        ),
    )
    allowed = {"Action": "sagemaker:InvokeEndpoint", "Resource": arn}
    _, keys = make_user(stagedoor, allowed)
    runtime = stagedoor.client("sagemaker-runtime", credentials=keys)
    # Allowed, and so told that there is no such endpoint.
    assert refusal(runtime.invoke_endpoint, EndpointName="Reviews", Body=b"1")[1] == "ValidationError"
    assert refusal(runtime.invoke_endpoint, EndpointName="other", Body=b"1")[1] == "AccessDeniedException"
    _, keys = make_user(stagedoor, allowed, {"Effect": "Deny", "Action": "*"})
    runtime = stagedoor.client("sagemaker-runtime", credentials=keys)
    message = refusal(runtime.invoke_endpoint, EndpointName="Reviews", Body=b"1")[2]
    assert message.endswith("with an explicit deny in an identity-based policy")


@pytest.mark.parametrize(
    ("service", "call", "status", "code", "action"),
    [
        ("sagemaker", "list_models", 400, "AccessDeniedException", "sagemaker:ListModels"),
        ("logs", "describe_log_groups", 400, "AccessDeniedException", "logs:DescribeLogGroups"),
        ("lambda", "list_functions", 403, "AccessDeniedException", "lambda:ListFunctions"),
        ("apigateway", "get_rest_apis", 403, "AccessDeniedException", "apigateway:GET"),
        ("iam", "list_roles", 403, "AccessDenied", "iam:ListRoles"),
        ("s3", "list_buckets", 403, "AccessDenied", "s3:ListAllMyBuckets"),
    ],
)
def test_each_service_refuses_in_its_own_way(
    stagedoor: Server, service: str, call: str, status: int, code: str, action: str
) -> None:
    name, keys = make_user(stagedoor)
    found = refusal(getattr(stagedoor.client(service, credentials=keys), call))
    assert found[:2] == (status, code)
    assert found[2].startswith(
        f"User: {user_arn(stagedoor, name)} is not authorized to perform: {action} on resource:"
    )
    assert stagedoor.client("sts", credentials=keys).get_caller_identity()["Arn"] == user_arn(stagedoor, name)


def test_passing_a_role_needs_its_permission_for_that_service(stagedoor: Server) -> None:
    role = make_role(stagedoor, principal={"Service": "sagemaker.amazonaws.com"})
    create = {
        "ModelName": unique("model"),
        "ExecutionRoleArn": role["Arn"],
        "PrimaryContainer": {"Image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"},
    }
    foreign = create | {"ExecutionRoleArn": "arn:aws:iam::444455556666:role/theirs"}
    assert refusal(stagedoor.client("sagemaker").create_model, **foreign) == (
        400,
        "AccessDeniedException",
        "Cross-account pass role is not allowed.",
    )
    _, keys = make_user(stagedoor, {"Action": "sagemaker:*"})
    found = refusal(stagedoor.client("sagemaker", credentials=keys).create_model, **create)
    assert found[1] == "AccessDeniedException"
    assert f"iam:PassRole on resource: {role['Arn']}" in found[2]
    for service, passes in (("lambda.amazonaws.com", False), ("sagemaker.amazonaws.com", True)):
        to_service = {"StringEquals": {"iam:PassedToService": service}}
        _, keys = make_user(
            stagedoor, {"Action": "sagemaker:*"}, {"Action": "iam:PassRole", "Condition": to_service}
        )
        sagemaker = stagedoor.client("sagemaker", credentials=keys)
        if passes:
            # Allowed, and so told that the model has no data.
            assert refusal(sagemaker.create_model, **create)[1] == "ValidationException"
        else:
            assert "iam:PassRole" in refusal(sagemaker.create_model, **create)[2]


class TestS3:
    @pytest.fixture
    def bucket(self, stagedoor: Server) -> str:
        name = unique("bucket")
        s3 = stagedoor.client("s3")
        s3.create_bucket(Bucket=name)
        for key in ("home/a", "other/b"):
            s3.put_object(Bucket=name, Key=key, Body=b"content")
        return name

    def test_identity_policies(self, stagedoor: Server, bucket: str) -> None:
        listing = {
            "Action": "s3:ListBucket",
            "Resource": f"arn:aws:s3:::{bucket}",
            "Condition": {"StringLike": {"s3:prefix": "home/*"}},
        }
        reading = {"Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/home/*"}
        _, keys = make_user(stagedoor, listing, reading)
        s3 = stagedoor.client("s3", credentials=keys)
        assert s3.list_objects_v2(Bucket=bucket, Prefix="home/")["KeyCount"] == 1
        assert s3.get_object(Bucket=bucket, Key="home/a")["Body"].read() == b"content"
        for call, arguments in (
            (s3.list_objects_v2, {"Prefix": ""}),
            (s3.list_objects_v2, {"Prefix": "other/"}),
            (s3.get_object, {"Key": "other/b"}),
            (s3.put_object, {"Key": "home/a", "Body": b"changed"}),
            (s3.delete_object, {"Key": "home/a"}),
            (s3.copy_object, {"Key": "home/c", "CopySource": f"{bucket}/home/a"}),
            (s3.get_bucket_policy, {}),
        ):
            assert refusal(call, Bucket=bucket, **arguments)[:2] == (403, "AccessDenied")
        assert s3.get_object(Bucket=bucket, Key="home/a")["Body"].read() == b"content"

    def test_copying_needs_to_read_the_source(self, stagedoor: Server, bucket: str) -> None:
        writing = {"Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
        name, keys = make_user(stagedoor, writing)
        s3 = stagedoor.client("s3", credentials=keys)
        copy = {"Bucket": bucket, "Key": "copy", "CopySource": f"{bucket}/home/a"}
        assert "s3:GetObject" in refusal(s3.copy_object, **copy)[2]
        reading = {"Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/home/*"}
        stagedoor.client("iam").put_user_policy(
            UserName=name, PolicyName="own", PolicyDocument=document(writing, reading)
        )
        s3.copy_object(**copy)

    def test_deleting_many_objects_refuses_each_by_itself(self, stagedoor: Server, bucket: str) -> None:
        here = {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}
        deleting = {
            "Action": "s3:DeleteObject",
            "Resource": f"arn:aws:s3:::{bucket}/home/*",
            "Condition": here,
        }
        _, keys = make_user(stagedoor, deleting)
        wanted = {"Objects": [{"Key": "home/a"}, {"Key": "other/b"}]}
        answer = stagedoor.client("s3", credentials=keys).delete_objects(Bucket=bucket, Delete=wanted)
        assert [entry["Key"] for entry in answer["Deleted"]] == ["home/a"]
        assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [("other/b", "AccessDenied")]
        left = stagedoor.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
        assert [entry["Key"] for entry in left] == ["other/b"]

    def test_a_missing_key_is_told_only_to_who_may_list(self, stagedoor: Server, bucket: str) -> None:
        reading = {"Action": "s3:GetObject"}
        _, keys = make_user(stagedoor, reading)
        s3 = stagedoor.client("s3", credentials=keys)
        assert refusal(s3.get_object, Bucket=bucket, Key="missing")[:2] == (403, "AccessDenied")
        _, keys = make_user(stagedoor, reading, {"Action": "s3:ListBucket"})
        s3 = stagedoor.client("s3", credentials=keys)
        assert refusal(s3.get_object, Bucket=bucket, Key="missing")[:2] == (404, "NoSuchKey")

    def test_bucket_policies(self, stagedoor: Server, bucket: str) -> None:
        root = stagedoor.client("s3")
        name, keys = make_user(stagedoor)
        s3 = stagedoor.client("s3", credentials=keys)
        resource = f"arn:aws:s3:::{bucket}/home/*"

        def put(*statements: dict[str, Any]) -> None:
            text = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
            root.put_bucket_policy(Bucket=bucket, Policy=text)

        allow = {
            "Effect": "Allow",
            "Principal": {"AWS": user_arn(stagedoor, name)},
            "Action": "s3:GetObject",
            "Resource": resource,
        }
        put(allow)
        s3.get_object(Bucket=bucket, Key="home/a")
        assert refusal(s3.get_object, Bucket=bucket, Key="other/b")[1] == "AccessDenied"
        put(allow, allow | {"Effect": "Deny", "Principal": "*"})
        assert refusal(root.get_object, Bucket=bucket, Key="home/a")[1] == "AccessDenied"
        # Root can always take a policy away again.
        put({"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{bucket}"]})
        assert refusal(root.list_objects_v2, Bucket=bucket)[1] == "AccessDenied"
        root.delete_bucket_policy(Bucket=bucket)
        root.list_objects_v2(Bucket=bucket)

    def test_nobody_gets_only_what_is_public(self, stagedoor: Server, bucket: str) -> None:
        root = stagedoor.client("s3")
        place = f"{stagedoor.api}/{bucket}/home/a"

        def status(url: str, method: str = "GET") -> int:
            try:
                with urllib.request.urlopen(urllib.request.Request(url, method=method)) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                return error.code

        assert status(place) == 403
        root.delete_public_access_block(Bucket=bucket)
        public = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{bucket}/home/*",
        }
        root.put_bucket_policy(
            Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [public]})
        )
        assert status(place) == 200
        assert status(f"{stagedoor.api}/{bucket}/other/b") == 403
        assert status(f"{stagedoor.api}/{bucket}/home/a", "DELETE") == 403
        assert status(f"{stagedoor.api}/{bucket}/home/new", "PUT") == 403
        assert status(f"{stagedoor.api}/{bucket}") == 403
        assert status(f"{stagedoor.api}/") == 403
        assert status(f"{stagedoor.api}/{unique('missing')}") == 404
        assert status(f"{stagedoor.api}/{unique('made')}", "PUT") == 403
