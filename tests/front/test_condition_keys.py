"""Every condition key that a policy may hold a caller by, on the real server: what it lets through, and what it stops."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from front.test_conditions_of_requests import allowed, user, variants
from services.identities import document, make_role, make_user, unique
from services.lambda_house import zipped

from stagedoor.testing import Server

CODE = "def handler(event, context):\n    return {'statusCode': 200, 'body': 'here'}\n"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
ROLE = "arn:aws:iam::000000000000:role/no-such-role"
LIMIT: dict[str, Any] = {"StoppingCondition": {"MaxRuntimeInSeconds": 60}}


def cluster(instance_type: str) -> dict[str, Any]:
    return {"InstanceType": instance_type, "InstanceCount": 1, "VolumeSizeInGB": 1}


def training(instance_type: str) -> dict[str, Any]:
    return {
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": "s3://nowhere/x"},
        "ResourceConfig": cluster(instance_type),
        **LIMIT,
    }


def tuning(instance_type: str) -> dict[str, Any]:
    return {
        "HyperParameterTuningJobName": "conditional",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1},
        },
        "TrainingJobDefinition": training(instance_type),
    }


INSTANCE_TYPES: list[tuple[str, Any]] = [
    (
        "create_endpoint_config",
        lambda kind: {"EndpointConfigName": "conditional", "ProductionVariants": variants(kind)},
    ),
    ("create_training_job", lambda kind: {"TrainingJobName": "conditional", **training(kind)}),
    (
        "create_transform_job",
        lambda kind: {
            "TransformJobName": "conditional",
            "ModelName": "no-such-model",
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://nowhere/x"}}
            },
            "TransformOutput": {"S3OutputPath": "s3://nowhere/x"},
            "TransformResources": {"InstanceType": kind, "InstanceCount": 1},
        },
    ),
    (
        "create_processing_job",
        lambda kind: {
            "ProcessingJobName": "conditional",
            "ProcessingResources": {"ClusterConfig": cluster(kind)},
            "AppSpecification": {"ImageUri": IMAGE},
            "RoleArn": ROLE,
        },
    ),
    ("create_hyper_parameter_tuning_job", tuning),
]


@pytest.mark.parametrize(
    ("operation", "request_of"), INSTANCE_TYPES, ids=[name for name, _ in INSTANCE_TYPES]
)
def test_instance_types(stagedoor: Server, operation: str, request_of: Any) -> None:
    """Both as the Allow that people write, and as a Deny that must find the key in the request."""
    permitted = {
        "Action": ["sagemaker:*", "iam:PassRole"],
        "Condition": {"ForAllValues:StringLike": {"sagemaker:InstanceTypes": "ml.m5.*"}},
    }
    passing = {"Action": "iam:PassRole"}
    denied = {
        "Effect": "Deny",
        "Action": "sagemaker:*",
        "Condition": {"ForAnyValue:StringNotLike": {"sagemaker:InstanceTypes": "ml.m5.*"}},
    }
    for client in (
        user(stagedoor, "sagemaker", permitted, passing),
        user(stagedoor, "sagemaker", {"Action": "*"}, denied),
    ):
        call = getattr(client, operation)
        assert allowed(call, **request_of("ml.m5.large"))
        assert not allowed(call, **request_of("ml.p3.2xlarge"))


def test_source_ip_on_an_identity_and_on_a_bucket(stagedoor: Server) -> None:
    def by(address: str) -> dict[str, Any]:
        return {"IpAddress": {"aws:SourceIp": address}}

    inside = user(stagedoor, "s3", {"Action": "s3:ListAllMyBuckets", "Condition": by("127.0.0.0/8")})
    outside = user(stagedoor, "s3", {"Action": "s3:ListAllMyBuckets", "Condition": by("203.0.113.0/24")})
    assert allowed(inside.list_buckets)
    assert not allowed(outside.list_buckets)
    own, bucket = stagedoor.client("s3"), unique("addressed")
    own.create_bucket(Bucket=bucket)
    reader = user(stagedoor, "s3", {"Action": "s3:GetBucketLocation"})
    for address, expected in (("127.0.0.1/32", False), ("203.0.113.7/32", True)):
        deny = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:GetBucketLocation",
            "Resource": f"arn:aws:s3:::{bucket}",
        }
        text = json.dumps({"Version": "2012-10-17", "Statement": [{**deny, "Condition": by(address)}]})
        own.put_bucket_policy(Bucket=bucket, Policy=text)
        assert allowed(reader.get_bucket_location, Bucket=bucket) is expected


def test_tags_of_principal_session_request_and_resource(stagedoor: Server) -> None:
    """Who has a team works on what has the same team, and gives nothing another one."""
    iam, sagemaker = stagedoor.client("iam"), stagedoor.client("sagemaker")
    own_team = {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}
    same_team = {"StringEquals": {"aws:RequestTag/team": "${aws:PrincipalTag/team}"}}
    statements = (
        {"Action": ["sagemaker:DescribeModelPackageGroup", "lambda:GetFunction"], "Condition": own_team},
        {"Action": ["sagemaker:CreateModelPackageGroup", "sagemaker:AddTags"], "Condition": same_team},
    )
    groups: dict[str, str] = {}
    runs = make_role(stagedoor, principal={"Service": "lambda.amazonaws.com"})["Arn"]
    for team in ("blue", "red"):
        groups[team] = unique(team)
        tags = [{"Key": "team", "Value": team}]
        sagemaker.create_model_package_group(ModelPackageGroupName=groups[team], Tags=tags)
        stagedoor.client("lambda").create_function(
            FunctionName=groups[team],
            Runtime="python3.12",
            Role=runs,
            Handler="app.handler",
            Code={"ZipFile": zipped({"app.py": CODE})},
            Tags={"team": team},
        )
    name, keys = make_user(stagedoor, *statements)
    role = make_role(stagedoor, *statements)
    iam.tag_user(UserName=name, Tags=[{"Key": "team", "Value": "blue"}])
    text = json.loads(json.dumps(role["AssumeRolePolicyDocument"]))
    text["Statement"][0]["Action"] = ["sts:AssumeRole", "sts:TagSession"]
    iam.update_assume_role_policy(RoleName=role["RoleName"], PolicyDocument=json.dumps(text))
    _, assuming = make_user(stagedoor, {"Action": ["sts:AssumeRole", "sts:TagSession"]})
    session = stagedoor.client("sts", credentials=assuming).assume_role(
        RoleArn=role["Arn"], RoleSessionName="teamed", Tags=[{"Key": "team", "Value": "blue"}]
    )["Credentials"]
    for credentials in (keys, session):
        client = stagedoor.client("sagemaker", credentials=credentials)
        functions = stagedoor.client("lambda", credentials=credentials)
        for team, expected in (("blue", True), ("red", False)):
            assert (
                allowed(client.describe_model_package_group, ModelPackageGroupName=groups[team]) is expected
            )
            assert allowed(functions.get_function, FunctionName=groups[team]) is expected
            made = {
                "ModelPackageGroupName": unique("made"),
                "Tags": [{"Key": "team", "Value": team}],
            }
            assert allowed(client.create_model_package_group, **made) is expected
    iam.untag_user(UserName=name, TagKeys=["team"])
    client = stagedoor.client("sagemaker", credentials=keys)
    assert not allowed(client.describe_model_package_group, ModelPackageGroupName=groups["blue"])


def test_what_is_listed_of_a_bucket_and_how_much(stagedoor: Server) -> None:
    bucket = unique("listed")
    stagedoor.client("s3").create_bucket(Bucket=bucket)
    condition = {
        "StringLike": {"s3:prefix": ["", "home/*"]},
        "StringEquals": {"s3:delimiter": "/"},
        "NumericLessThanEquals": {"s3:max-keys": "10"},
    }
    listing = user(stagedoor, "s3", {"Action": "s3:ListBucket", "Condition": condition}).list_objects_v2
    good = {"Bucket": bucket, "Prefix": "home/ann", "Delimiter": "/", "MaxKeys": 10}
    assert allowed(listing, **good)
    assert not allowed(listing, **{**good, "Prefix": "private/"})
    assert not allowed(listing, **{**good, "Delimiter": "-"})
    assert not allowed(listing, **{**good, "MaxKeys": 11})
    assert not allowed(listing, Bucket=bucket, Prefix="home/ann", Delimiter="/")


def test_the_source_of_a_call_by_a_service(stagedoor: Server) -> None:
    """``aws:SourceArn`` and ``aws:SourceAccount``: which API may call a function."""
    role = make_role(stagedoor, principal={"Service": "lambda.amazonaws.com"})
    functions, apis, name = stagedoor.client("lambda"), stagedoor.client("apigateway"), unique("called")
    arn = functions.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role=role["Arn"],
        Handler="app.handler",
        Code={"ZipFile": zipped({"app.py": CODE})},
    )["FunctionArn"]
    functions.get_waiter("function_active_v2").wait(FunctionName=name)
    api = apis.create_rest_api(name=name)
    place = {"restApiId": api["id"], "resourceId": api["rootResourceId"], "httpMethod": "GET"}
    apis.put_method(**place, authorizationType="NONE")
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations"
    apis.put_integration(**place, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
    apis.create_deployment(restApiId=api["id"], stageName="prod")

    def status() -> int:
        try:
            with urllib.request.urlopen(
                f"{stagedoor.public}/_aws/execute-api/{api['id']}/prod/", timeout=30
            ) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    own = f"arn:aws:execute-api:us-east-1:{stagedoor.account_id}:{api['id']}/*"
    other = own.replace(api["id"], "another0id")
    for source, account, expected in (
        (own, stagedoor.account_id, 200),
        (other, stagedoor.account_id, 500),
        (own, "999988887777", 500),
        ("", stagedoor.account_id, 200),
        ("", "999988887777", 500),
        (own, "", 200),
    ):
        named = {"SourceArn": source, "SourceAccount": account}
        functions.add_permission(
            FunctionName=name,
            StatementId="only",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            **{key: value for key, value in named.items() if value},
        )
        assert status() == expected, (source, account)
        functions.remove_permission(FunctionName=name, StatementId="only")
    apis.delete_rest_api(restApiId=api["id"])


def test_a_functions_arn_belongs_to_event_source_mappings(stagedoor: Server) -> None:
    """``lambda:FunctionArn`` is AWS's key for them alone: other calls of Lambda have none, whatever function they are about."""
    arn = f"arn:aws:lambda:us-east-1:{stagedoor.account_id}:function:wanted"
    condition = {"ArnEquals": {"lambda:FunctionArn": arn}}
    client = user(stagedoor, "lambda", {"Action": "lambda:*", "Condition": condition})
    assert not allowed(client.get_function, FunctionName="wanted")
    assert allowed(
        user(
            stagedoor,
            "lambda",
            {"Action": "lambda:*", "Condition": {"Null": {"lambda:FunctionArn": "true"}}},
        ).get_function,
        FunctionName="wanted",
    )
    iam = stagedoor.client("iam")
    for value, expected in ((arn, "allowed"), (f"{arn}-not", "implicitDeny"), (None, "implicitDeny")):
        entries = [{"ContextKeyName": "lambda:FunctionArn", "ContextKeyType": "string"}]
        given = [{**entries[0], "ContextKeyValues": [value]}] if value else []
        (result,) = iam.simulate_custom_policy(
            PolicyInputList=[document({"Action": "lambda:*", "Condition": condition})],
            ActionNames=["lambda:CreateEventSourceMapping"],
            ContextEntries=given,
        )["EvaluationResults"]
        assert result["EvalDecision"] == expected, value


def test_who_is_given_permission_for_a_function(stagedoor: Server) -> None:
    role = make_role(stagedoor, principal={"Service": "lambda.amazonaws.com"})
    name = unique("shared")
    stagedoor.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role=role["Arn"],
        Handler="app.handler",
        Code={"ZipFile": zipped({"app.py": CODE})},
    )
    condition = {"StringEquals": {"lambda:Principal": "apigateway.amazonaws.com"}}
    client = user(stagedoor, "lambda", {"Action": "lambda:AddPermission", "Condition": condition})
    grant = {"FunctionName": name, "Action": "lambda:InvokeFunction"}
    assert allowed(client.add_permission, **grant, StatementId="one", Principal="apigateway.amazonaws.com")
    assert not allowed(client.add_permission, **grant, StatementId="two", Principal="s3.amazonaws.com")
    assert not allowed(client.add_permission, **grant, StatementId="three", Principal="*")


def test_which_service_a_role_is_passed_to_and_which_policy_is_attached(stagedoor: Server) -> None:
    role = make_role(stagedoor, principal={"Service": ["sagemaker.amazonaws.com", "lambda.amazonaws.com"]})
    condition = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    statements = (
        {"Action": ["sagemaker:*", "lambda:*"]},
        {"Action": "iam:PassRole", "Condition": condition},
    )
    container = {"Image": IMAGE}
    assert allowed(
        user(stagedoor, "sagemaker", *statements).create_model,
        ModelName=unique("passed"),
        ExecutionRoleArn=role["Arn"],
        PrimaryContainer=container,
    )
    assert not allowed(
        user(stagedoor, "lambda", *statements).create_function,
        FunctionName=unique("passed"),
        Runtime="python3.12",
        Role=role["Arn"],
        Handler="app.handler",
        Code={"ZipFile": zipped({"app.py": CODE})},
    )
    reading = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    attach = user(
        stagedoor,
        "iam",
        {"Action": "iam:AttachRolePolicy", "Condition": {"ArnEquals": {"iam:PolicyARN": reading}}},
    ).attach_role_policy
    assert allowed(attach, RoleName=role["RoleName"], PolicyArn=reading)
    assert not allowed(
        attach, RoleName=role["RoleName"], PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
    )


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, False),
        ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, True),
        ({"NumericGreaterThan": {"aws:EpochTime": "1577836800"}}, True),
        ({"StringLike": {"aws:UserAgent": "Boto3/*"}}, True),
        ({"StringLike": {"aws:UserAgent": "curl/*"}}, False),
        ({"StringEquals": {"aws:PrincipalType": "User"}}, True),
        ({"StringEquals": {"aws:PrincipalType": "AssumedRole"}}, False),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/user-*"}}, True),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}}, False),
        ({"StringEquals": {"aws:PrincipalAccount": "000000000000"}}, True),
        ({"StringEquals": {"aws:PrincipalAccount": "111111111111"}}, False),
        ({"StringLike": {"aws:username": "user-*"}}, True),
        ({"StringEquals": {"aws:RequestedRegion": "us-east-1"}}, True),
        ({"Bool": {"aws:ViaAWSService": "false"}}, True),
        ({"Null": {"aws:MultiFactorAuthAge": "true"}}, True),
        ({"Null": {"aws:PrincipalOrgID": "true"}}, True),
        ({"StringEquals": {"aws:PrincipalOrgID": "o-1"}}, False),
        ({"StringEquals": {"aws:Unheard": "x"}}, False),
        ({"StringNotEquals": {"aws:Unheard": "x"}}, False),
        ({"StringEqualsSometimes": {"aws:username": "x"}}, None),
    ],
)
def test_who_when_and_from_where(stagedoor: Server, condition: dict[str, Any], expected: bool | None) -> None:
    statement = {"Action": "sagemaker:ListModels", "Condition": condition}
    if expected is None:  # an unknown operator does not even get into a policy
        with pytest.raises(Exception, match="MalformedPolicyDocument"):
            make_user(stagedoor, statement)
        return
    assert allowed(user(stagedoor, "sagemaker", statement).list_models) is expected
