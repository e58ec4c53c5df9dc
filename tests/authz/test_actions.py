"""Which actions operations need: one table, and checks of the data against botocore's models."""

from typing import Any

import pytest

from stagedoor.authz import actions
from stagedoor.authz.actions import Asked, required
from stagedoor.authz.caller import Caller
from stagedoor.wire import models

ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
USER = Caller("user", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/team/ann", "AIDAANN")
SAGEMAKER = f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:"
LAMBDA = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:"
IAM = f"arn:aws:iam::{ACCOUNT}:"
LOGS = f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:"
S3 = "arn:aws:s3:::"


def known(account_id: str, kind: str, name: str) -> str | None:
    return f"arn:aws:iam::{account_id}:{kind}/path/{name}" if name == "known" else None


def asked(
    service: str, operation: str, method: str = "", path: str = "", **request: Any
) -> list[tuple[str, str]]:
    found = required(service, Asked(operation, request, "eu-west-1", ACCOUNT, USER, method, path, known))
    return [tuple(one) for one in found]


TABLE = [
    ("sagemaker-runtime", "InvokeEndpoint", {"EndpointName": "Reviews"}, [("sagemaker:InvokeEndpoint", SAGEMAKER + "endpoint/reviews")]),
    ("sagemaker-runtime", "InvokeEndpointAsync", {"EndpointName": "e"}, [("sagemaker:InvokeEndpointAsync", SAGEMAKER + "endpoint/e")]),
    ("sagemaker", "DescribeEndpoint", {"EndpointName": "E"}, [("sagemaker:DescribeEndpoint", SAGEMAKER + "endpoint/e")]),
    ("sagemaker", "CreateEndpoint", {"EndpointName": "E", "EndpointConfigName": "C"}, [("sagemaker:CreateEndpoint", SAGEMAKER + "endpoint/e"), ("sagemaker:CreateEndpoint", SAGEMAKER + "endpoint-config/c")]),
    ("sagemaker", "ListEndpoints", {}, [("sagemaker:ListEndpoints", "*")]),
    ("sagemaker", "CreateModel", {"ModelName": "M", "ExecutionRoleArn": ROLE}, [("sagemaker:CreateModel", SAGEMAKER + "model/m"), ("iam:PassRole", ROLE)]),
    ("sagemaker", "CreateTrainingJob", {"TrainingJobName": "T", "RoleArn": ROLE, "Tags": [{"Key": "a", "Value": "b"}]}, [("sagemaker:CreateTrainingJob", SAGEMAKER + "training-job/t"), ("sagemaker:AddTags", SAGEMAKER + "training-job/t"), ("iam:PassRole", ROLE)]),
    ("sagemaker", "CreateTransformJob", {"TransformJobName": "T", "Tags": []}, [("sagemaker:CreateTransformJob", SAGEMAKER + "transform-job/t")]),
    ("sagemaker", "ListTags", {"ResourceArn": SAGEMAKER + "endpoint/e"}, [("sagemaker:ListTags", SAGEMAKER + "endpoint/e")]),
    ("sagemaker", "CreateNotebookInstance", {"RoleArn": ROLE}, [("sagemaker:CreateNotebookInstance", "*"), ("iam:PassRole", ROLE)]),
    ("lambda", "Invoke", {"FunctionName": "f"}, [("lambda:InvokeFunction", LAMBDA + "f")]),
    ("lambda", "Invoke", {"FunctionName": "f:prod"}, [("lambda:InvokeFunction", LAMBDA + "f:prod")]),
    ("lambda", "Invoke", {"FunctionName": "f", "Qualifier": "prod"}, [("lambda:InvokeFunction", LAMBDA + "f:prod")]),
    ("lambda", "Invoke", {"FunctionName": "f", "Qualifier": "$LATEST"}, [("lambda:InvokeFunction", LAMBDA + "f")]),
    ("lambda", "Invoke", {"FunctionName": LAMBDA + "f:3"}, [("lambda:InvokeFunction", LAMBDA + "f:3")]),
    ("lambda", "Invoke", {"FunctionName": "444455556666:function:f"}, [("lambda:InvokeFunction", "arn:aws:lambda:eu-west-1:444455556666:function:f")]),
    ("lambda", "Invoke", {"FunctionName": "arn:aws:lambda:us-east-1:444455556666:function:f"}, [("lambda:InvokeFunction", "arn:aws:lambda:us-east-1:444455556666:function:f")]),
    ("lambda", "CreateFunction", {"FunctionName": "f", "Role": ROLE}, [("lambda:CreateFunction", LAMBDA + "f"), ("iam:PassRole", ROLE)]),
    ("lambda", "UpdateFunctionConfiguration", {"FunctionName": "f"}, [("lambda:UpdateFunctionConfiguration", LAMBDA + "f")]),
    ("lambda", "ListFunctions", {}, [("lambda:ListFunctions", "*")]),
    ("lambda", "ListTags", {"Resource": LAMBDA + "f"}, [("lambda:ListTags", LAMBDA + "f")]),
    ("logs", "CreateLogGroup", {"logGroupName": "/g"}, [("logs:CreateLogGroup", LOGS + "/g:log-stream:")]),
    ("logs", "PutLogEvents", {"logGroupName": "/g", "logStreamName": "s"}, [("logs:PutLogEvents", LOGS + "/g:log-stream:s")]),
    ("logs", "DescribeLogGroups", {}, [("logs:DescribeLogGroups", LOGS + ":log-stream:")]),
    ("cloudwatch", "GetMetricStatistics", {"Namespace": "n"}, [("cloudwatch:GetMetricStatistics", "*")]),
    ("sts", "GetCallerIdentity", {}, []),
    ("sts", "AssumeRole", {"RoleArn": ROLE}, []),
    ("sts", "GetAccessKeyInfo", {"AccessKeyId": "AKIA"}, [("sts:GetAccessKeyInfo", "*")]),
    ("iam", "CreateRole", {"RoleName": "r", "Path": "/p/"}, [("iam:CreateRole", IAM + "role/p/r")]),
    ("iam", "GetRole", {"RoleName": "known"}, [("iam:GetRole", IAM + "role/path/known")]),
    ("iam", "GetRole", {"RoleName": "other"}, [("iam:GetRole", IAM + "role/other")]),
    ("iam", "ListRoles", {}, [("iam:ListRoles", "*")]),
    ("iam", "AddUserToGroup", {"GroupName": "known", "UserName": "u"}, [("iam:AddUserToGroup", IAM + "group/path/known")]),
    ("iam", "AddRoleToInstanceProfile", {"InstanceProfileName": "p", "RoleName": "known"}, [("iam:AddRoleToInstanceProfile", IAM + "instance-profile/p"), ("iam:PassRole", IAM + "role/path/known")]),
    ("iam", "CreateServiceLinkedRole", {"AWSServiceName": "s.amazonaws.com"}, [("iam:CreateServiceLinkedRole", IAM + "role/aws-service-role/s.amazonaws.com/*")]),
    ("sts", "GetFederationToken", {"Name": "bob", "Tags": [{}]}, [("sts:GetFederationToken", f"arn:aws:sts::{ACCOUNT}:federated-user/bob"), ("sts:TagSession", f"arn:aws:sts::{ACCOUNT}:federated-user/bob")]),
    ("sts", "AssumeRoleWithWebIdentity", {"RoleArn": ROLE}, []),
    ("iam", "GetUser", {}, [("iam:GetUser", USER.arn)]),
    ("iam", "DeleteUser", {"UserName": "known"}, [("iam:DeleteUser", IAM + "user/path/known")]),
    ("iam", "CreateAccessKey", {"UserName": "bob"}, [("iam:CreateAccessKey", IAM + "user/bob")]),
    ("iam", "CreatePolicy", {"PolicyName": "p", "Tags": [{}]}, [("iam:CreatePolicy", IAM + "policy/p"), ("iam:TagPolicy", IAM + "policy/p")]),
    ("iam", "AttachRolePolicy", {"RoleName": "known", "PolicyArn": "x"}, [("iam:AttachRolePolicy", IAM + "role/path/known")]),
    ("iam", "GetPolicy", {"PolicyArn": "arn:aws:iam::aws:policy/P"}, [("iam:GetPolicy", "arn:aws:iam::aws:policy/P")]),
    ("s3", "ListBuckets", {}, [("s3:ListAllMyBuckets", "*")]),
    ("s3", "CreateBucket", {"Bucket": "b"}, [("s3:CreateBucket", S3 + "b")]),
    ("s3", "HeadBucket", {"Bucket": "b"}, [("s3:ListBucket", S3 + "b")]),
    ("s3", "ListObjectsV2", {"Bucket": "b", "Prefix": "p"}, [("s3:ListBucket", S3 + "b")]),
    ("s3", "PutObject", {"Bucket": "b", "Key": "a/b c"}, [("s3:PutObject", S3 + "b/a/b c")]),
    ("s3", "PutObject", {"Bucket": "b", "Key": "k", "Tagging": "a=b", "ACL": "private"}, [("s3:PutObject", S3 + "b/k"), ("s3:PutObjectTagging", S3 + "b/k"), ("s3:PutObjectAcl", S3 + "b/k")]),
    ("s3", "GetObject", {"Bucket": "b", "Key": "k"}, [("s3:GetObject", S3 + "b/k")]),
    ("s3", "GetObject", {"Bucket": "b", "Key": "k", "VersionId": "v"}, [("s3:GetObjectVersion", S3 + "b/k")]),
    ("s3", "HeadObject", {"Bucket": "b", "Key": "k"}, [("s3:GetObject", S3 + "b/k")]),
    ("s3", "CopyObject", {"Bucket": "b", "Key": "k", "CopySource": "/other/a%20b?versionId=1"}, [("s3:PutObject", S3 + "b/k"), ("s3:GetObjectVersion", S3 + "other/a b")]),
    ("s3", "UploadPartCopy", {"Bucket": "b", "Key": "k", "CopySource": "other/x"}, [("s3:PutObject", S3 + "b/k"), ("s3:GetObject", S3 + "other/x")]),
    ("s3", "CompleteMultipartUpload", {"Bucket": "b", "Key": "k"}, [("s3:PutObject", S3 + "b/k")]),
    ("s3", "ListParts", {"Bucket": "b", "Key": "k"}, [("s3:ListMultipartUploadParts", S3 + "b/k")]),
    ("s3", "DeleteBucketCors", {"Bucket": "b"}, [("s3:PutBucketCORS", S3 + "b")]),
    ("s3", "GetPublicAccessBlock", {"Bucket": "b"}, [("s3:GetBucketPublicAccessBlock", S3 + "b")]),
]  # fmt: skip


@pytest.mark.parametrize(("service", "operation", "request_", "expected"), TABLE)
def test_requirements(service: str, operation: str, request_: dict, expected: list) -> None:
    assert asked(service, operation, **request_) == expected


def test_deleting_many_objects_asks_for_each_by_itself() -> None:
    assert asked("s3", "DeleteObjects", Bucket="b", Delete={"Objects": [{"Key": "a"}]}) == []


def test_api_gateway_needs_the_method_on_the_path() -> None:
    resource = "arn:aws:apigateway:eu-west-1::/restapis/abc/resources/x"
    assert asked("apigateway", "PutMethod", "PUT", "/restapis/abc/resources/x") == [
        ("apigateway:PUT", resource)
    ]
    assert asked("apigateway", "PutIntegration", "PUT", "/restapis/abc/resources/x", credentials=ROLE) == [
        ("apigateway:PUT", resource),
        ("iam:PassRole", ROLE),
    ]
    theirs = "arn:aws:iam::*:user/*"
    assert len(asked("apigateway", "PutIntegration", "PUT", "/restapis/abc", credentials=theirs)) == 1
    assert asked("apigatewayv2", "GetApis", "GET", "/v2/apis") == [
        ("apigateway:GET", "arn:aws:apigateway:eu-west-1::/apis")
    ]


def test_roles_are_passed_to_the_service_that_gets_them() -> None:
    assert actions.passed_to("sagemaker") == "sagemaker.amazonaws.com"
    assert actions.passed_to("lambda") == "lambda.amazonaws.com"
    assert actions.passed_to("apigateway") == "apigateway.amazonaws.com"


@pytest.mark.parametrize("service", sorted(actions._table()))
def test_the_table_names_operations_and_members_that_exist(service: str) -> None:
    model = models.service(service)
    source = actions._table()[service]
    named = [*source.get("unchecked", ()), *source.get("actions", ())]
    for entry in (*source.get("on", ()), *source.get("also", ())):
        named += entry["operations"]
    for entry in source.get("when", ()):
        named += entry["actions"]
    assert set(named) <= model.operation_names
    for entry in source.get("on", ()):
        for operation in entry["operations"]:
            members = model.operation(operation).input_shape.members
            for place in actions._PLACE.findall(entry["resource"]):
                member = place.partition(":")[0]
                optional = {"PathPrefix", "Path", "logStreamName", "UserName"}
                assert member in {"region", "account"} or member in members or member in optional, (
                    operation,
                    place,
                )


@pytest.mark.parametrize("service", ["s3", "sagemaker-runtime"])
def test_every_operation_on_an_object_bucket_or_endpoint_has_its_resource(service: str) -> None:
    model = models.service(service)
    for name in model.operations:
        shape = model.operation(name).input_shape
        if shape is None or not {"Bucket", "EndpointName"} & set(shape.required_members):
            continue
        table = actions._service(service)
        listed = table.operations.get(name)
        # What is not listed needs its action on everything, which no narrow policy gives.
        if listed is None and name not in table.unchecked:
            needed = asked(service, name, Bucket="b", Key="k", EndpointName="e")
            assert needed == [(f"{table.prefix}:{name}", "*")]
