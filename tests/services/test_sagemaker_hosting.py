"""Models, endpoint configurations, endpoints and tags as records: answers, refusals, lists."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services.hosting_house import ACCOUNT, BUCKET, IMAGE, MODEL_URL, ROLE_ARN, HostingHouse, variant

from stagedoor.domain.clock import ManualClock
from stagedoor.domain.errors import AwsError
from stagedoor.store.object_rows import Bucket
from stagedoor.store.records import Key

ARN = "arn:aws:sagemaker:us-east-1:000000000000:"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def house(tmp_path: Path, clock: ManualClock) -> Iterator[HostingHouse]:
    """Records only: no reconciler runs."""
    house = HostingHouse(tmp_path, clock)
    house.upload(b"archive")
    yield house
    house.objects.close()
    house.records.close()
    house.log_events.close()


def settle(house: HostingHouse, name: str, status: str = "InService") -> None:
    """What the reconciler writes when a fleet has taken over (or failed)."""
    key = Key("sagemaker.endpoint", ACCOUNT, "us-east-1", name.lower())
    with house.records.transaction() as transaction:
        record = transaction.get(key)
        assert record is not None
        document = dict(record.document)
        coming = document.pop("coming")
        if status == "InService":
            document["serving"] = coming
            document["EndpointConfigName"] = coming["configName"]
        transaction.put(key, document | {"EndpointStatus": status})


# Models ---------------------------------------------------------------------------------------------------------------


def test_a_model_is_described_as_it_was_made(house: HostingHouse) -> None:
    arn = f"{ARN}model/word-model"
    assert house.make_model("Word-Model", Environment={"A": "1"}) == {"ModelArn": arn}
    described = house.ask("describe_model", ModelName="Word-Model")
    assert described == {
        "ModelName": "Word-Model",
        "ModelArn": arn,
        "PrimaryContainer": {
            "Mode": "SingleModel",
            "Image": IMAGE,
            "ModelDataUrl": MODEL_URL,
            "Environment": {"A": "1"},
        },
        "ExecutionRoleArn": ROLE_ARN,
        "EnableNetworkIsolation": False,
        "CreationTime": 1000.0,
    }


def test_one_container_in_a_list_and_a_data_source_say_the_same(house: HostingHouse) -> None:
    source = {"S3DataSource": {"S3Uri": MODEL_URL, "S3DataType": "S3Object", "CompressionType": "Gzip"}}
    container = {"Image": IMAGE, "ModelDataSource": source}
    house.ask("create_model", ModelName="m", Containers=[container], ExecutionRoleArn=ROLE_ARN)
    described = house.ask("describe_model", ModelName="m")
    assert described["Containers"] == [container]
    assert "PrimaryContainer" not in described


@pytest.mark.parametrize(
    ("container", "text"),
    [
        (
            {"ModelDataUrl": "s3://models/none.tar.gz"},
            "Could not find model data at s3://models/none.tar.gz.",
        ),
        (
            {"ModelDataUrl": "s3://nobody/model.tar.gz"},
            "Could not find model data at s3://nobody/model.tar.gz.",
        ),
        ({"ModelDataUrl": "file:///etc/passwd"}, "not an Amazon S3 location"),
        ({"ModelDataUrl": "http://169.254.169.254/latest"}, "not an Amazon S3 location"),
        ({"ModelDataUrl": "s3://models"}, "does not name an object"),
        ({"ModelDataUrl": None}, "PrimaryContainer.ModelDataUrl is required"),
        (
            {"Image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/tensorflow-inference:2.12.1-cpu"},
            "TensorFlow",
        ),
        ({"Image": "python:3.11"}, "Supported images"),
        ({"Image": None}, "PrimaryContainer.Image is required"),
        ({"Mode": "MultiModel"}, "PrimaryContainer.Mode MultiModel"),
        ({"ModelPackageName": "p"}, "PrimaryContainer.Image is not supported"),
        ({"MultiModelConfig": {"ModelCacheSetting": "Enabled"}}, "PrimaryContainer.MultiModelConfig"),
        ({"ImageConfig": {"RepositoryAccessMode": "Vpc"}}, "RepositoryAccessMode"),
        (
            {
                "Environment": {
                    "SAGEMAKER_PROGRAM": "inference.py",
                    "SAGEMAKER_SUBMIT_DIRECTORY": "s3://models/no-source.tar.gz",
                }
            },
            "Could not find model data at s3://models/no-source.tar.gz.",
        ),
    ],
)
def test_models_that_cannot_be_hosted_are_refused(
    house: HostingHouse, container: dict[str, Any], text: str
) -> None:
    whole = {"Image": IMAGE, "ModelDataUrl": MODEL_URL} | container
    whole = {member: value for member, value in whole.items() if value is not None}
    message = house.refusal("create_model", ModelName="m", PrimaryContainer=whole, ExecutionRoleArn=ROLE_ARN)
    assert text in message


def test_a_pipeline_of_containers_is_refused(house: HostingHouse) -> None:
    containers = [{"Image": IMAGE, "ModelDataUrl": MODEL_URL}] * 2
    assert "Containers with 2" in house.refusal("create_model", ModelName="m", Containers=containers)
    assert "PrimaryContainer is required" in house.refusal("create_model", ModelName="m")


def test_the_role_must_exist_trust_sagemaker_and_be_able_to_read_the_model(house: HostingHouse) -> None:
    house.add_role(f"arn:aws:iam::{ACCOUNT}:role/lambda-only", "lambda.amazonaws.com", "s3:*")
    house.add_role(f"arn:aws:iam::{ACCOUNT}:role/blind", "sagemaker.amazonaws.com", "logs:*")
    container = {"Image": IMAGE, "ModelDataUrl": MODEL_URL}

    def refusal(role: str) -> str:
        return house.refusal("create_model", ModelName="m", PrimaryContainer=container, ExecutionRoleArn=role)

    assert "Could not assume role" in refusal(f"arn:aws:iam::{ACCOUNT}:role/nobody")
    assert "Could not assume role" in refusal(f"arn:aws:iam::{ACCOUNT}:role/lambda-only")
    assert "Cross-account pass role is not allowed" in refusal("arn:aws:iam::111111111111:role/theirs")
    assert "s3:GetObject" in refusal(f"arn:aws:iam::{ACCOUNT}:role/blind")


def test_model_data_of_another_account_is_out_of_reach(house: HostingHouse) -> None:
    house.objects.create_bucket(Bucket("theirs", "111111111111", "us-east-1", 1.0))
    from stagedoor.store import objects_io

    objects_io.put_bytes(house.objects, house.contents, "theirs", "m.tar.gz", b"secret", now=1.0)
    container = {"Image": IMAGE, "ModelDataUrl": "s3://theirs/m.tar.gz"}
    message = house.refusal(
        "create_model", ModelName="m", PrimaryContainer=container, ExecutionRoleArn=ROLE_ARN
    )
    assert "Could not access model data" in message


# Names ----------------------------------------------------------------------------------------------------------------


def test_what_is_not_there_could_not_be_found(house: HostingHouse) -> None:
    for operation, member, text in (
        ("describe_model", "ModelName", f'Could not find model "{ARN}model/none".'),
        ("delete_model", "ModelName", f'Could not find model "{ARN}model/none".'),
        (
            "describe_endpoint_config",
            "EndpointConfigName",
            f'Could not find endpoint configuration "{ARN}endpoint-config/none".',
        ),
        (
            "delete_endpoint_config",
            "EndpointConfigName",
            f'Could not find endpoint configuration "{ARN}endpoint-config/none".',
        ),
        ("describe_endpoint", "EndpointName", f'Could not find endpoint "{ARN}endpoint/none".'),
        ("delete_endpoint", "EndpointName", f'Could not find endpoint "{ARN}endpoint/none".'),
    ):
        assert house.refusal(operation, **{member: "None"}) == text


def test_names_are_taken_regardless_of_their_case(house: HostingHouse) -> None:
    house.make_model("Word")
    with pytest.raises(AwsError, match=f'Cannot create already existing model "{ARN}model/word"'):
        house.make_model("wORD")
    house.make_config("C", "Word")
    with pytest.raises(AwsError, match="Cannot create already existing endpoint configuration"):
        house.make_config("C", "Word")
    house.ask("create_endpoint", EndpointName="E", EndpointConfigName="C")
    message = house.refusal("create_endpoint", EndpointName="e", EndpointConfigName="C")
    assert message == f'Cannot create already existing endpoint "{ARN}endpoint/e".'
    assert house.ask("describe_endpoint", EndpointName="E")["EndpointName"] == "E"


def test_accounts_do_not_see_each_other(house: HostingHouse) -> None:
    house.make_model()
    with pytest.raises(AwsError, match="Could not find model"):
        house.ask("describe_model", "111111111111", ModelName="word")
    assert house.ask("list_models", "111111111111") == {"Models": []}


# Endpoint configurations ----------------------------------------------------------------------------------------------


def test_a_configuration_is_described_as_it_was_made(house: HostingHouse) -> None:
    house.make_model()
    arn = f"{ARN}endpoint-config/c"
    assert house.make_config("c") == {"EndpointConfigArn": arn}
    assert house.ask("describe_endpoint_config", EndpointConfigName="c") == {
        "EndpointConfigName": "c",
        "EndpointConfigArn": arn,
        "ProductionVariants": [variant() | {"InitialVariantWeight": 1.0}],
        "CreationTime": 1000.0,
    }


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"ModelName": "none"}, f'Could not find model "{ARN}model/none".'),
        ({"ModelName": None}, "inference components"),
        ({"InstanceType": None}, "ProductionVariants.1.InstanceType is required"),
        ({"InitialInstanceCount": None}, "ProductionVariants.1.InitialInstanceCount is required"),
        (
            {"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 1}},
            "ProductionVariants.1.ServerlessConfig",
        ),
        ({"ManagedInstanceScaling": {"Status": "ENABLED"}}, "ManagedInstanceScaling"),
        ({"RoutingConfig": {"RoutingStrategy": "RANDOM"}}, "RoutingStrategy RANDOM"),
    ],
)
def test_variants_that_cannot_be_honoured_are_refused(
    house: HostingHouse, changes: dict[str, Any], text: str
) -> None:
    house.make_model()
    changed = {member: value for member, value in (variant() | changes).items() if value is not None}
    message = house.refusal("create_endpoint_config", EndpointConfigName="c", ProductionVariants=[changed])
    assert text in message


@pytest.mark.parametrize(
    "member",
    [
        {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://b/o"}}},
        {"ExplainerConfig": {"ClarifyExplainerConfig": {"ShapConfig": {"ShapBaselineConfig": {}}}}},
        {"ShadowProductionVariants": [variant(name="Shadow")]},
        {"DataCaptureConfig": {"EnableCapture": True, "InitialSamplingPercentage": 1}},
    ],
)
def test_what_is_not_built_yet_is_named(house: HostingHouse, member: dict[str, Any]) -> None:
    house.make_model()
    message = house.refusal(
        "create_endpoint_config", EndpointConfigName="c", ProductionVariants=[variant()], **member
    )
    assert next(iter(member)) in message


def test_variant_names_are_unique(house: HostingHouse) -> None:
    house.make_model()
    message = house.refusal(
        "create_endpoint_config", EndpointConfigName="c", ProductionVariants=[variant(), variant()]
    )
    assert "unique" in message


# Endpoints ------------------------------------------------------------------------------------------------------------


def make_endpoint(house: HostingHouse, name: str = "e", count: int = 1) -> None:
    house.make_model(f"{name}-model")
    house.make_config(f"{name}-config", f"{name}-model", count)
    house.ask("create_endpoint", EndpointName=name, EndpointConfigName=f"{name}-config")


def test_a_new_endpoint_is_creating_and_has_no_variants_yet(house: HostingHouse) -> None:
    make_endpoint(house)
    assert house.ask("describe_endpoint", EndpointName="e") == {
        "EndpointName": "e",
        "EndpointArn": f"{ARN}endpoint/e",
        "EndpointConfigName": "e-config",
        "EndpointStatus": "Creating",
        "CreationTime": 1000.0,
        "LastModifiedTime": 1000.0,
    }


def test_an_endpoint_in_service_shows_its_variants(house: HostingHouse) -> None:
    make_endpoint(house, count=2)
    settle(house, "e")
    assert house.ask("describe_endpoint", EndpointName="e")["ProductionVariants"] == [
        {
            "VariantName": "AllTraffic",
            "DeployedImages": [{"SpecifiedImage": IMAGE, "ResolvedImage": IMAGE, "ResolutionTime": 1000.0}],
            "CurrentWeight": 1.0,
            "DesiredWeight": 1.0,
            "CurrentInstanceCount": 2,
            "DesiredInstanceCount": 2,
        }
    ]


def test_an_endpoint_needs_its_configuration_and_its_models(house: HostingHouse) -> None:
    message = house.refusal("create_endpoint", EndpointName="e", EndpointConfigName="none")
    assert message == f'Could not find endpoint configuration "{ARN}endpoint-config/none".'
    house.make_model()
    house.make_config("c")
    house.ask("delete_model", ModelName="word")
    assert "Could not find model" in house.refusal(
        "create_endpoint", EndpointName="e", EndpointConfigName="c"
    )


def test_an_endpoint_keeps_what_it_was_made_of(house: HostingHouse) -> None:
    make_endpoint(house)
    house.ask("delete_endpoint_config", EndpointConfigName="e-config")
    house.ask("delete_model", ModelName="e-model")
    settle(house, "e")
    assert house.ask("describe_endpoint", EndpointName="e")["EndpointConfigName"] == "e-config"


def test_an_update_shows_what_is_coming_and_what_still_serves(
    house: HostingHouse, clock: ManualClock
) -> None:
    make_endpoint(house)
    settle(house, "e")
    house.make_config("next", "e-model", 3)
    clock.advance(5)
    answer = house.ask("update_endpoint", EndpointName="e", EndpointConfigName="next")
    assert answer == {"EndpointArn": f"{ARN}endpoint/e"}
    described = house.ask("describe_endpoint", EndpointName="e")
    assert described["EndpointStatus"] == "Updating"
    assert described["EndpointConfigName"] == "e-config"
    assert described["LastModifiedTime"] == 1005.0
    assert described["ProductionVariants"][0]["DesiredInstanceCount"] == 1
    pending = described["PendingDeploymentSummary"]
    assert (pending["EndpointConfigName"], pending["StartTime"]) == ("next", 1005.0)
    assert pending["ProductionVariants"][0]["DesiredInstanceCount"] == 3


def test_weights_and_counts_are_desired_before_they_are_current(house: HostingHouse) -> None:
    make_endpoint(house)
    settle(house, "e")
    house.ask(
        "update_endpoint_weights_and_capacities",
        EndpointName="e",
        DesiredWeightsAndCapacities=[
            {"VariantName": "AllTraffic", "DesiredWeight": 0.5, "DesiredInstanceCount": 4}
        ],
    )
    described = house.ask("describe_endpoint", EndpointName="e")
    assert described["EndpointStatus"] == "Updating"
    assert "PendingDeploymentSummary" not in described
    summary = described["ProductionVariants"][0]
    assert (summary["CurrentWeight"], summary["DesiredWeight"]) == (1.0, 0.5)
    assert (summary["CurrentInstanceCount"], summary["DesiredInstanceCount"]) == (1, 4)


def test_an_update_can_keep_the_weights_and_counts_that_variants_have(house: HostingHouse) -> None:
    make_endpoint(house, count=3)
    settle(house, "e")
    house.make_config("next", "e-model", 1)
    house.ask(
        "update_endpoint",
        EndpointName="e",
        EndpointConfigName="next",
        RetainAllVariantProperties=True,
        ExcludeRetainedVariantProperties=[{"VariantPropertyType": "DesiredWeight"}],
    )
    described = house.ask("describe_endpoint", EndpointName="e")
    assert described["PendingDeploymentSummary"]["ProductionVariants"][0]["DesiredInstanceCount"] == 3


@pytest.mark.parametrize("status", ["Creating", "Updating", "Deleting"])
def test_nothing_else_is_begun_while_something_is_under_way(house: HostingHouse, status: str) -> None:
    make_endpoint(house)
    if status != "Creating":
        settle(house, "e")
        if status == "Updating":
            house.ask("update_endpoint", EndpointName="e", EndpointConfigName="e-config")
        else:
            house.ask("delete_endpoint", EndpointName="e")
    text = f'Cannot update in-progress endpoint "{ARN}endpoint/e".'
    wishes = [{"VariantName": "AllTraffic", "DesiredWeight": 1.0}]
    assert house.refusal("update_endpoint", EndpointName="e", EndpointConfigName="e-config") == text
    operation = "update_endpoint_weights_and_capacities"
    assert house.refusal(operation, EndpointName="e", DesiredWeightsAndCapacities=wishes) == text
    if status == "Deleting":
        assert house.refusal("delete_endpoint", EndpointName="e") == text
    else:
        assert house.ask("delete_endpoint", EndpointName="e") == {}


def test_a_failed_endpoint_can_only_be_deleted(house: HostingHouse) -> None:
    make_endpoint(house)
    settle(house, "e", "Failed")
    assert "failed endpoint" in house.refusal(
        "update_endpoint", EndpointName="e", EndpointConfigName="e-config"
    )
    assert house.ask("delete_endpoint", EndpointName="e") == {}
    assert house.ask("describe_endpoint", EndpointName="e")["EndpointStatus"] == "Deleting"


def test_an_update_of_an_unknown_variant_or_to_nothing_is_refused(house: HostingHouse) -> None:
    make_endpoint(house)
    settle(house, "e")
    operation = "update_endpoint_weights_and_capacities"
    unknown = [{"VariantName": "Other", "DesiredWeight": 1.0}]
    assert '"Other"' in house.refusal(operation, EndpointName="e", DesiredWeightsAndCapacities=unknown)
    none = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 0}]
    assert "at least 1" in house.refusal(operation, EndpointName="e", DesiredWeightsAndCapacities=none)
    assert "DeploymentConfig" in house.refusal(
        "update_endpoint",
        EndpointName="e",
        EndpointConfigName="e-config",
        DeploymentConfig={"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}]}},
    )


def test_more_workers_than_a_machine_takes_are_refused(house: HostingHouse) -> None:
    house.make_model()
    house.make_config("many", count=65)
    with pytest.raises(AwsError) as caught:
        house.ask("create_endpoint", EndpointName="e", EndpointConfigName="many")
    assert caught.value.code == "ResourceLimitExceeded"


# Lists ----------------------------------------------------------------------------------------------------------------


def test_lists_are_newest_first_and_can_be_sorted_and_filtered(
    house: HostingHouse, clock: ManualClock
) -> None:
    for name in ("beta", "Alpha", "gamma"):
        house.make_model(name)
        clock.advance(10)

    def listed(**request: Any) -> list[str]:
        return [model["ModelName"] for model in house.ask("list_models", **request)["Models"]]

    assert listed() == ["gamma", "Alpha", "beta"]
    assert listed(SortOrder="Ascending") == ["beta", "Alpha", "gamma"]
    assert listed(SortBy="Name", SortOrder="Ascending") == ["Alpha", "beta", "gamma"]
    assert listed(NameContains="ALPH") == ["Alpha"]
    assert listed(CreationTimeAfter=1000.0) == ["gamma", "Alpha"]
    assert listed(CreationTimeBefore=1010.0) == ["beta"]
    assert house.ask("list_models", MaxResults=1)["Models"][0] == {
        "ModelName": "gamma",
        "ModelArn": f"{ARN}model/gamma",
        "CreationTime": 1020.0,
    }


def test_endpoints_are_listed_by_status_and_time(house: HostingHouse, clock: ManualClock) -> None:
    for name in ("a", "b"):
        make_endpoint(house, name)
        clock.advance(10)
    settle(house, "a")

    def listed(**request: Any) -> list[str]:
        return [endpoint["EndpointName"] for endpoint in house.ask("list_endpoints", **request)["Endpoints"]]

    assert listed(StatusEquals="InService") == ["a"]
    assert listed(StatusEquals="Failed") == []
    assert listed(SortBy="Status", SortOrder="Ascending") == ["b", "a"]
    assert listed(LastModifiedTimeAfter=1005.0) == ["b"]
    assert (
        house.ask("list_endpoint_configs", MaxResults=1)["EndpointConfigs"][0]["EndpointConfigName"]
        == "b-config"
    )


def test_pages_neither_repeat_nor_skip_what_stays(house: HostingHouse, clock: ManualClock) -> None:
    for number in range(25):
        house.make_model(f"m{number:02}")
    found: list[str] = []
    request: dict[str, Any] = {}
    while True:
        answer = house.ask("list_models", **request)
        found += [model["ModelName"] for model in answer["Models"]]
        if "NextToken" not in answer:
            break
        assert len(answer["Models"]) == 10
        request = {"NextToken": answer["NextToken"]}
        clock.advance(1)
        house.make_model(f"new{len(found)}")
        house.ask("delete_model", ModelName=answer["Models"][-1]["ModelName"])
    assert found == [f"m{number:02}" for number in range(24, -1, -1)]


@pytest.mark.parametrize("token", ["garbage", "e30=", "WyJhIiwxLCJiIl0=", "\N{SNOWMAN}"])
def test_a_token_that_nobody_gave_is_refused(house: HostingHouse, token: str) -> None:
    assert "NextToken" in house.refusal("list_models", NextToken=token)


def test_a_token_belongs_to_its_question(house: HostingHouse) -> None:
    for number in range(3):
        house.make_model(f"m{number}")
    token = house.ask("list_models", MaxResults=1)["NextToken"]
    assert "NextToken" in house.refusal("list_models", NextToken=token, NameContains="m")
    assert "NextToken" in house.refusal("list_endpoints", NextToken=token)


# Tags -----------------------------------------------------------------------------------------------------------------


def test_tags_come_with_a_resource_and_go_with_it(house: HostingHouse) -> None:
    container = {"Image": IMAGE, "ModelDataUrl": MODEL_URL}
    tags = [{"Key": "team", "Value": "a"}]
    arn = house.ask("create_model", ModelName="M", PrimaryContainer=container, Tags=tags)["ModelArn"]
    assert house.ask("list_tags", ResourceArn=arn) == {"Tags": tags}
    assert "Tags" not in house.ask("describe_model", ModelName="M")
    added = house.ask(
        "add_tags", ResourceArn=arn, Tags=[{"Key": "team", "Value": "b"}, {"Key": "stage", "Value": "test"}]
    )
    assert added == {"Tags": [{"Key": "team", "Value": "b"}, {"Key": "stage", "Value": "test"}]}
    house.ask("delete_tags", ResourceArn=arn, TagKeys=["team", "none"])
    assert house.ask("list_tags", ResourceArn=arn) == {"Tags": [{"Key": "stage", "Value": "test"}]}
    house.ask("delete_model", ModelName="M")
    house.make_model("M")
    assert house.ask("list_tags", ResourceArn=arn) == {"Tags": []}


@pytest.mark.parametrize(
    ("arn", "text"),
    [
        (f"{ARN}model/none", "Could not find model"),
        (f"{ARN}cluster/c", "cluster resources are not supported"),
        ("arn:aws:sagemaker:us-east-1:111111111111:model/word", "this account and region"),
        ("arn:aws:s3:::models", "this account and region"),
    ],
)
def test_tags_need_a_resource_of_this_account(house: HostingHouse, arn: str, text: str) -> None:
    house.make_model()
    for operation, more in (
        ("add_tags", {"Tags": [{"Key": "a", "Value": "b"}]}),
        ("list_tags", {}),
        ("delete_tags", {"TagKeys": ["a"]}),
    ):
        assert text in house.refusal(operation, ResourceArn=arn, **more)


def test_tags_that_aws_refuses_are_refused_and_nothing_is_made(house: HostingHouse) -> None:
    container = {"Image": IMAGE, "ModelDataUrl": MODEL_URL}

    def refusal(*tags: tuple[str, str]) -> str:
        given = [{"Key": key, "Value": value} for key, value in tags]
        return house.refusal("create_model", ModelName="m", PrimaryContainer=container, Tags=given)

    assert "aws:" in refusal(("aws:x", "1"))
    assert "Duplicate" in refusal(("a", "1"), ("a", "2"))
    assert "at most 50" in refusal(*((f"k{number}", "") for number in range(51)))


def test_tags_are_listed_by_pages(house: HostingHouse) -> None:
    arn = house.make_model()["ModelArn"]
    tags = [{"Key": f"k{number}", "Value": "v"} for number in range(50)]
    house.ask("add_tags", ResourceArn=arn, Tags=tags)
    first = house.ask("list_tags", ResourceArn=arn, MaxResults=30)
    second = house.ask("list_tags", ResourceArn=arn, MaxResults=30, NextToken=first["NextToken"])
    assert first["Tags"] + second["Tags"] == tags
    assert "NextToken" not in second
    assert "NextToken" in house.refusal("list_tags", ResourceArn=arn, NextToken="bm9uZQ==")


def test_model_data_is_looked_up_when_the_model_is_made(house: HostingHouse) -> None:
    house.make_model()
    record = house.records.get(Key("sagemaker.model", ACCOUNT, "us-east-1", "word"))
    assert record is not None
    assert record.document["artifact"]["bucket"] == BUCKET
    assert record.document["artifact"]["sizeBytes"] == len(b"archive")
