"""The model registry through an unmodified boto3 client: groups, versions, approval, and endpoints made from them."""

import io
import json
import tarfile
from typing import Any

import pytest
import xgboost
from botocore.exceptions import ClientError
from services.job_clients import IMAGE, Desk, rows, waited

from stagedoor.testing import Server

ARNS = "arn:aws:sagemaker:us-east-1:000000000000"


@pytest.fixture
def desk(stagedoor: Server) -> Desk:
    desk = Desk(stagedoor)
    features, labels = rows()
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(features, label=labels), 5)
    packed = io.BytesIO()
    content = bytes(booster.save_raw("ubj"))
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("xgboost-model")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    desk.put("model.tar.gz", packed.getvalue())
    return desk


def specification(desk: Desk, **members: Any) -> dict[str, Any]:
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{desk.bucket}/model.tar.gz"} | members
    return {
        "Containers": [container],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
        "SupportedRealtimeInferenceInstanceTypes": ["ml.m5.large"],
        "SupportedTransformInstanceTypes": ["ml.m5.large"],
    }


def grouped(desk: Desk, stem: str = "group") -> str:
    name = desk.name(stem)
    desk.sagemaker.create_model_package_group(
        ModelPackageGroupName=name, ModelPackageGroupDescription="reviews"
    )
    return name


def registered(desk: Desk, group: str, **members: Any) -> str:
    request = {"ModelPackageGroupName": group, "InferenceSpecification": specification(desk)} | members
    return desk.sagemaker.create_model_package(**request)["ModelPackageArn"]


def test_versions_are_counted_described_and_listed(desk: Desk) -> None:
    group = grouped(desk, "Reviews")
    first = registered(
        desk,
        group,
        ModelPackageDescription="the first",
        CustomerMetadataProperties={"team": "a"},
        ModelMetrics={
            "ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://b/q.json"}}
        },
    )
    second = registered(desk, f"{ARNS}:model-package-group/{group}", ModelApprovalStatus="Approved")
    assert first == f"{ARNS}:model-package/{group.lower()}/1"
    assert second == f"{ARNS}:model-package/{group.lower()}/2"
    shown = desk.sagemaker.describe_model_package(ModelPackageName=first)
    assert "ModelPackageName" not in shown
    assert (shown["ModelPackageGroupName"], shown["ModelPackageVersion"]) == (group, 1)
    assert (shown["ModelPackageStatus"], shown["ModelApprovalStatus"]) == (
        "Completed",
        "PendingManualApproval",
    )
    assert shown["ModelPackageStatusDetails"] == {"ValidationStatuses": [], "ImageScanStatuses": []}
    assert shown["CreatedBy"]["IamIdentity"]["Arn"] == "arn:aws:iam::000000000000:root"
    [container] = shown["InferenceSpecification"]["Containers"]
    assert set(container) == {"Image", "ModelDataUrl", "ModelDataETag"}
    assert shown["CustomerMetadataProperties"] == {"team": "a"}
    listed = desk.sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
    assert [one["ModelPackageVersion"] for one in listed] == [1, 2]
    assert "place" not in listed[0]
    assert listed[0]["ModelPackageDescription"] == "the first"
    newest = desk.sagemaker.list_model_packages(
        ModelPackageGroupName=group, SortOrder="Descending", MaxResults=1, ModelApprovalStatus="Approved"
    )
    assert [one["ModelPackageArn"] for one in newest["ModelPackageSummaryList"]] == [second]
    by_name = f"{group}/2"
    assert desk.sagemaker.describe_model_package(ModelPackageName=by_name)["ModelPackageArn"] == second


def test_more_versions_than_a_page_come_in_order(desk: Desk) -> None:
    group = grouped(desk)
    for _ in range(12):
        registered(desk, group)
    for order, expected in (("Ascending", list(range(1, 13))), ("Descending", list(range(12, 0, -1)))):
        pages = desk.sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=group, SortBy="Name", SortOrder=order, PaginationConfig={"PageSize": 5}
        )
        found = [one["ModelPackageVersion"] for page in pages for one in page["ModelPackageSummaryList"]]
        assert found == expected


def test_a_package_without_a_group_has_a_name_of_its_own(desk: Desk) -> None:
    name = desk.name("Alone")
    request = {"ModelPackageName": name, "InferenceSpecification": specification(desk)}
    arn = desk.sagemaker.create_model_package(**request, ModelApprovalStatus="Approved")["ModelPackageArn"]
    assert arn == f"{ARNS}:model-package/{name.lower()}"
    shown = desk.sagemaker.describe_model_package(ModelPackageName=name)
    assert shown["ModelPackageName"] == name
    assert not {"ModelPackageVersion", "ModelPackageGroupName", "ModelApprovalStatus"} & set(shown)
    with pytest.raises(ClientError, match="already exists"):
        desk.sagemaker.create_model_package(**request)
    listed = desk.sagemaker.list_model_packages(NameContains=desk.unique)["ModelPackageSummaryList"]
    assert [one["ModelPackageArn"] for one in listed] == [arn]
    registered(desk, grouped(desk))
    both = desk.sagemaker.list_model_packages(NameContains=desk.unique, ModelPackageType="Both")
    assert len(both["ModelPackageSummaryList"]) == 2
    desk.sagemaker.create_model(
        ModelName=desk.name("model"),
        ExecutionRoleArn=desk.role_arn,
        PrimaryContainer={"ModelPackageName": name},
    )


def test_only_an_approved_version_is_deployed_and_answers(desk: Desk) -> None:
    group = grouped(desk)
    arn = registered(desk, group)
    model = {
        "ModelName": desk.name("model"),
        "ExecutionRoleArn": desk.role_arn,
        "Containers": [{"ModelPackageName": arn, "Environment": {"COLOUR": "green"}}],
    }
    for status in ("PendingManualApproval", "Rejected"):
        desk.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus=status)
        with pytest.raises(ClientError, match=f"its ModelApprovalStatus is {status}"):
            desk.sagemaker.create_model(**model)
    desk.sagemaker.update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="looks right"
    )
    shown = desk.sagemaker.describe_model_package(ModelPackageName=arn)
    assert (shown["ModelApprovalStatus"], shown["ApprovalDescription"]) == ("Approved", "looks right")
    assert shown["LastModifiedTime"] >= shown["CreationTime"]
    desk.sagemaker.create_model(**model)
    assert desk.sagemaker.describe_model(ModelName=model["ModelName"])["Containers"] == model["Containers"]
    name = desk.name("endpoint")
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": model["ModelName"],
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    desk.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    desk.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    done = waited(
        lambda: desk.sagemaker.describe_endpoint(EndpointName=name),
        lambda answer: answer["EndpointStatus"] != "Creating",
    )
    assert done["EndpointStatus"] == "InService", done
    features, _ = rows()
    answer = desk.server.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=name, ContentType="text/csv", Body=",".join(map(str, features[0]))
    )
    assert 0 <= float(answer["Body"].read()) <= 1
    desk.sagemaker.delete_endpoint(EndpointName=name)


def test_changed_model_data_is_not_deployed(desk: Desk) -> None:
    arn = registered(desk, grouped(desk), ModelApprovalStatus="Approved")
    desk.put("model.tar.gz", b"something else")
    with pytest.raises(ClientError, match="is not what the model package"):
        desk.sagemaker.create_model(
            ModelName=desk.name("model"),
            ExecutionRoleArn=desk.role_arn,
            PrimaryContainer={"ModelPackageName": arn},
        )


def test_a_further_specification_is_deployed_by_name(desk: Desk) -> None:
    arn = registered(desk, grouped(desk), ModelApprovalStatus="Approved")
    more = {"Name": "small", **specification(desk, Environment={"SIZE": "small"})}
    desk.sagemaker.update_model_package(
        ModelPackageArn=arn,
        AdditionalInferenceSpecificationsToAdd=[more],
        CustomerMetadataProperties={"a": "1", "b": "2"},
    )
    desk.sagemaker.update_model_package(ModelPackageArn=arn, CustomerMetadataPropertiesToRemove=["a"])
    shown = desk.sagemaker.describe_model_package(ModelPackageName=arn)
    assert shown["CustomerMetadataProperties"] == {"b": "2"}
    assert [one["Name"] for one in shown["AdditionalInferenceSpecifications"]] == ["small"]
    with pytest.raises(ClientError, match="must be unique"):
        desk.sagemaker.update_model_package(
            ModelPackageArn=arn, AdditionalInferenceSpecificationsToAdd=[more]
        )
    container = {"ModelPackageName": arn, "InferenceSpecificationName": "large"}
    request = {"ModelName": desk.name("model"), "ExecutionRoleArn": desk.role_arn}
    with pytest.raises(ClientError, match="has no specification large"):
        desk.sagemaker.create_model(**request, PrimaryContainer=container)
    container["InferenceSpecificationName"] = "small"
    desk.sagemaker.create_model(**request, PrimaryContainer=container)


def test_requests_that_are_refused_name_what_is_wrong(desk: Desk) -> None:
    group = grouped(desk)
    good = {"ModelPackageGroupName": group, "InferenceSpecification": specification(desk)}
    wrong: list[tuple[dict[str, Any], str]] = [
        (good | {"ModelPackageName": "both"}, "Exactly one of ModelPackageName and ModelPackageGroupName"),
        ({"InferenceSpecification": specification(desk)}, "Exactly one of"),
        ({"ModelPackageGroupName": group}, "InferenceSpecification is required"),
        (good | {"ModelPackageGroupName": desk.name("nothing")}, "Model Package Group does not exist"),
        (
            good | {"InferenceSpecification": specification(desk, ModelDataUrl="s3://nobody/x.tar.gz")},
            "Could not find model data at s3://nobody/x.tar.gz",
        ),
        (
            good | {"InferenceSpecification": specification(desk, ProductId="p")},
            "InferenceSpecification.Containers.1.ProductId is not supported",
        ),
        (good | {"CertifyForMarketplace": True}, "CertifyForMarketplace is not supported"),
    ]
    for request, text in wrong:
        with pytest.raises(ClientError, match=text) as error:
            desk.sagemaker.create_model_package(**request)
        assert error.value.response["Error"]["Code"] == "ValidationException"
    assert desk.sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"] == []
    with pytest.raises(ClientError, match="Could not find"):
        desk.sagemaker.describe_model_package(ModelPackageName=f"{group}/7")
    with pytest.raises(ClientError, match="does not exist"):
        desk.sagemaker.describe_model_package_group(ModelPackageGroupName=desk.name("nothing"))
    with pytest.raises(ClientError, match="does not name a model package group"):
        desk.sagemaker.describe_model_package_group(ModelPackageGroupName=f"{ARNS}:model/m")
    with pytest.raises(ClientError, match="already exists"):
        desk.sagemaker.create_model_package_group(ModelPackageGroupName=group)
    with pytest.raises(ClientError, match="Image is not supported"):
        desk.sagemaker.create_model(
            ModelName=desk.name("m"),
            ExecutionRoleArn=desk.role_arn,
            PrimaryContainer={"ModelPackageName": f"{group}/1", "Image": IMAGE},
        )


def test_the_same_client_token_makes_one_version(desk: Desk) -> None:
    group = grouped(desk)
    first = registered(desk, group, ClientToken="again")
    assert registered(desk, group, ClientToken="again") == first
    assert registered(desk, group, ClientToken="other") != first


def test_a_group_is_deleted_when_it_is_empty_and_numbers_are_not_used_again(desk: Desk) -> None:
    group = grouped(desk)
    arn = registered(desk, group)
    with pytest.raises(desk.sagemaker.exceptions.ConflictException, match="still contains Model Packages"):
        desk.sagemaker.delete_model_package_group(ModelPackageGroupName=group)
    desk.sagemaker.delete_model_package(ModelPackageName=arn)
    assert registered(desk, group).endswith("/2")
    desk.sagemaker.delete_model_package(ModelPackageName=f"{group}/2")
    desk.sagemaker.delete_model_package_group(ModelPackageGroupName=group)
    listed = desk.sagemaker.list_model_package_groups(NameContains=desk.unique)
    assert listed["ModelPackageGroupSummaryList"] == []


def test_groups_are_listed_and_tagged(desk: Desk) -> None:
    for stem in ("b", "a"):
        grouped(desk, stem)
    listed = desk.sagemaker.list_model_package_groups(NameContains=desk.unique, SortBy="Name")
    names = [one["ModelPackageGroupName"] for one in listed["ModelPackageGroupSummaryList"]]
    assert names == [desk.name("a"), desk.name("b")]
    arn = registered(desk, desk.name("a"))
    for tagged in (listed["ModelPackageGroupSummaryList"][0]["ModelPackageGroupArn"], arn):
        desk.sagemaker.add_tags(ResourceArn=tagged, Tags=[{"Key": "k", "Value": "v"}])
        assert desk.sagemaker.list_tags(ResourceArn=tagged)["Tags"] == [{"Key": "k", "Value": "v"}]
    shown = desk.sagemaker.describe_model_package_group(ModelPackageGroupName=desk.name("a"))
    assert (shown["ModelPackageGroupStatus"], shown["ModelPackageGroupDescription"]) == (
        "Completed",
        "reviews",
    )


def test_many_packages_are_described_at_once(desk: Desk) -> None:
    arn = registered(desk, grouped(desk))
    missing = f"{ARNS}:model-package/nothing/1"
    answer = desk.sagemaker.batch_describe_model_package(ModelPackageArnList=[arn, missing])
    assert answer["ModelPackageSummaries"][arn]["ModelPackageVersion"] == 1
    assert answer["BatchDescribeModelPackageErrorMap"][missing]["ErrorCode"] == "ValidationException"


def test_the_policy_of_a_group_lets_other_accounts_in(
    desk: Desk, stagedoor_server: Any, tmp_path: Any
) -> None:
    other = {
        "account_id": "111111111111",
        "access_key_id": "AKIAOTHEROTHEROTHER1",
        "secret_access_key": "other-secret",
        "display_name": "other",
    }
    file = tmp_path / "accounts.json"
    file.write_text(json.dumps([other]))
    server = stagedoor_server(None, "--accounts", str(file))
    ours = Desk(server)
    ours.put("model.tar.gz", desk.read("model.tar.gz"))
    group = grouped(ours)
    arn = registered(ours, group)
    theirs = server.client(
        "sagemaker",
        credentials={
            "AccessKeyId": other["access_key_id"],
            "SecretAccessKey": other["secret_access_key"],
            "SessionToken": None,
        },
    )
    with pytest.raises(ClientError) as error:
        theirs.describe_model_package(ModelPackageName=arn)
    assert error.value.response["Error"]["Code"] == "AccessDeniedException"
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
        "Action": "sagemaker:DescribeModelPackage",
        "Resource": f"{ARNS}:model-package/{group}/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    with pytest.raises(ClientError, match="is not a policy document"):
        ours.sagemaker.put_model_package_group_policy(ModelPackageGroupName=group, ResourcePolicy="{}")
    ours.sagemaker.put_model_package_group_policy(ModelPackageGroupName=group, ResourcePolicy=policy)
    stored = ours.sagemaker.get_model_package_group_policy(ModelPackageGroupName=group)["ResourcePolicy"]
    assert stored == policy
    assert theirs.describe_model_package(ModelPackageName=arn)["ModelPackageVersion"] == 1
    with pytest.raises(ClientError, match="AccessDenied"):
        theirs.delete_model_package(ModelPackageName=arn)
    ours.sagemaker.delete_model_package_group_policy(ModelPackageGroupName=group)
    with pytest.raises(ClientError, match="AccessDenied"):
        theirs.describe_model_package(ModelPackageName=arn)
    with pytest.raises(ClientError, match="Could not find a resource policy"):
        ours.sagemaker.get_model_package_group_policy(ModelPackageGroupName=group)


def test_a_policy_may_keep_approval_from_somebody(desk: Desk) -> None:
    arn = registered(desk, grouped(desk))
    iam, name = desk.server.client("iam"), desk.name("registrar")
    iam.create_user(UserName=name)
    statements = [
        {"Effect": "Allow", "Action": "sagemaker:*", "Resource": "*"},
        {
            "Effect": "Deny",
            "Action": "sagemaker:UpdateModelPackage",
            "Resource": f"{ARNS}:model-package/*",
            "Condition": {"StringEquals": {"sagemaker:ModelApprovalStatus": "Approved"}},
        },
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    theirs = desk.server.client("sagemaker", credentials=key | {"SessionToken": None})
    theirs.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Rejected")
    with pytest.raises(ClientError, match="explicit deny"):
        theirs.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
