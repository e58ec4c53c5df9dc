"""Search through an unmodified boto3 client: every operator, nested filters, expressions in expressions, sorting, pages."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from services.job_clients import Desk, as_csv, rows

from stagedoor.testing import Server

RATES = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}


@pytest.fixture(scope="module")
def desk(stagedoor: Server) -> Desk:
    return Desk(stagedoor)


@pytest.fixture(scope="module")
def components(desk: Desk) -> Iterator[dict[str, str]]:
    """Four components of one trial, made in the order of their names."""
    client = desk.sagemaker
    client.create_experiment(ExperimentName=desk.name("e"))
    client.create_trial(ExperimentName=desk.name("e"), TrialName=desk.name("t"))
    for stem, rate in RATES.items():
        parameters = {"rate": {"NumberValue": rate}, "kind": {"StringValue": f"kind-{stem}"}}
        if stem == "d":
            parameters["extra"] = {"StringValue": "yes"}
        client.create_trial_component(
            TrialComponentName=desk.name(stem),
            Parameters=parameters,
            Tags=[{"Key": "colour", "Value": "red" if stem in "ab" else "blue"}],
        )
        client.associate_trial_component(TrialName=desk.name("t"), TrialComponentName=desk.name(stem))
    yield {desk.name(stem): stem for stem in RATES}


def found(desk: Desk, names: dict[str, str], *filters: dict[str, Any], **members: Any) -> str:
    """The stems of the components that a search finds, in its order."""
    ours = {"Name": "Parents.TrialName", "Operator": "Equals", "Value": desk.name("t")}
    expression = {"Filters": [ours, *filters], **members.pop("Expression", {})}
    answer = desk.sagemaker.search(
        Resource="ExperimentTrialComponent", SearchExpression=expression, MaxResults=100, **members
    )
    return "".join(names[one["TrialComponent"]["TrialComponentName"]] for one in answer["Results"])


def where(name: str, operator: str, value: str | None = None) -> dict[str, Any]:
    return {"Name": name, "Operator": operator} | ({"Value": value} if value is not None else {})


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (where("Parameters.rate", "Equals", "0.2"), "b"),
        (where("Parameters.rate", "NotEquals", "0.2"), "acd"),
        (where("Parameters.rate", "GreaterThan", "0.2"), "cd"),
        (where("Parameters.rate", "GreaterThanOrEqualTo", "0.2"), "bcd"),
        (where("Parameters.rate", "LessThan", "0.2"), "a"),
        (where("Parameters.rate", "LessThanOrEqualTo", "0.2"), "ab"),
        (where("Parameters.rate.NumberValue", "LessThan", "0.15"), "a"),
        (where("Parameters.kind", "Equals", "kind-c"), "c"),
        (where("Parameters.kind", "Contains", "nd-"), "abcd"),
        (where("Parameters.kind", "In", "kind-a, kind-d"), "ad"),
        (where("Parameters.extra", "Exists"), "d"),
        (where("Parameters.extra", "NotExists"), "abc"),
        (where("Tags.colour", "Equals", "red"), "ab"),
        (where("tags.colour", "NotEquals", "red"), "cd"),
        (where("CreationTime", "GreaterThan", "2020-01-01T00:00:00Z"), "abcd"),
        (where("CreationTime", "LessThan", "2020-01-01T00:00:00"), ""),
        (where("Parents.ExperimentName", "Contains", "e-"), "abcd"),
    ],
)
def test_each_operator(
    desk: Desk, components: dict[str, str], condition: dict[str, Any], expected: str
) -> None:
    assert found(desk, components, condition, SortBy="CreationTime", SortOrder="Ascending") == expected


def test_expressions_are_joined_by_and_or_or_at_each_level(desk: Desk, components: dict[str, str]) -> None:
    either = {
        "Operator": "Or",
        "Filters": [where("Parameters.rate", "LessThan", "0.15")],
        "SubExpressions": [
            {
                "Operator": "And",
                "Filters": [
                    where("Tags.colour", "Equals", "blue"),
                    where("Parameters.rate", "GreaterThan", "0.35"),
                ],
            }
        ],
    }
    assert found(desk, components, Expression={"SubExpressions": [either]}, SortOrder="Ascending") == "ad"
    nested = {
        "NestedFilters": [
            {
                "NestedPropertyName": "Parents",
                "Filters": [
                    where("Parents.TrialName", "Equals", desk.name("t")),
                    where("Parents.ExperimentName", "Equals", desk.name("nothing")),
                ],
            }
        ]
    }
    assert found(desk, components, Expression=nested) == ""
    nested["NestedFilters"][0]["Filters"][1]["Value"] = desk.name("e")
    assert found(desk, components, Expression=nested) == "dcba", "last changed first unless told otherwise"


def test_results_are_sorted_by_any_property_and_come_in_pages(desk: Desk, components: dict[str, str]) -> None:
    assert found(desk, components, SortBy="parameters.rate", SortOrder="Descending") == "dcba"
    assert found(desk, components, SortBy="Parameters.kind", SortOrder="Ascending") == "abcd"
    assert found(desk, components, SortBy="Parameters.extra", SortOrder="Ascending").startswith("d")
    assert found(desk, components, SortBy="Parameters.extra", SortOrder="Descending").startswith("d")
    pages = desk.sagemaker.get_paginator("search").paginate(
        Resource="ExperimentTrialComponent",
        SearchExpression={"Filters": [where("Parents.TrialName", "Equals", desk.name("t"))]},
        SortBy="Parameters.rate",
        SortOrder="Ascending",
        PaginationConfig={"PageSize": 3},
    )
    sizes, names = [], []
    for page in pages:
        sizes.append(len(page["Results"]))
        assert page["TotalHits"] == {"Value": 4, "Relation": "EqualTo"}
        names += [components[one["TrialComponent"]["TrialComponentName"]] for one in page["Results"]]
    assert (sizes, "".join(names)) == ([3, 1], "abcd")


def test_a_component_has_its_maps_also_when_they_are_empty(desk: Desk, components: dict[str, str]) -> None:
    ours = where("TrialComponentName", "Equals", desk.name("a"))
    answer = desk.sagemaker.search(Resource="ExperimentTrialComponent", SearchExpression={"Filters": [ours]})
    [component] = [one["TrialComponent"] for one in answer["Results"]]
    assert (component["InputArtifacts"], component["OutputArtifacts"]) == ({}, {})
    assert set(component["Parameters"]) == {"rate", "kind"}


def test_what_cannot_be_searched_is_refused_by_name(desk: Desk) -> None:
    client = desk.sagemaker
    for expression, text in [
        ({"Filters": [where("Nonsense", "Equals", "1")]}, "Unknown property name: Nonsense"),
        ({"Filters": [where("DisplayName", "Equals")]}, "needs a Value"),
        ({"Filters": [where("DisplayName", "Exists", "x")]}, "takes no Value"),
        (
            {"SubExpressions": [{"Filters": [where("Parameters.x", "Equals", "1")] * 20}] * 3},
            "at most 50 filters",
        ),
    ]:
        with pytest.raises(ClientError, match=text):
            client.search(Resource="ExperimentTrialComponent", SearchExpression=expression)
    with pytest.raises(ClientError, match="Unknown property name: Colour"):
        client.search(Resource="TrainingJob", SortBy="Colour")
    with pytest.raises(ClientError, match="Resource FeatureGroup is not supported"):
        client.search(Resource="FeatureGroup")
    with pytest.raises(ClientError, match="Invalid NextToken"):
        client.search(Resource="TrainingJob", NextToken="nonsense")


def test_every_kind_of_resource_is_found(desk: Desk) -> None:
    client = desk.sagemaker
    features, labels = rows()
    desk.put("train/rows.csv", as_csv(features, labels))
    desk.put("empty.tar.gz", b"")
    job = desk.trained(
        "job",
        Tags=[{"Key": "team", "Value": desk.unique}],
        HyperParameters={"num_round": "3", "max_depth": "7", "objective": "binary:logistic"},
    )
    container = {
        "Image": job["AlgorithmSpecification"]["TrainingImage"],
        "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"],
    }
    client.create_model(ModelName=desk.name("m"), ExecutionRoleArn=desk.role_arn, PrimaryContainer=container)
    variant = {
        "VariantName": "v",
        "ModelName": desk.name("m"),
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    client.create_endpoint_config(EndpointConfigName=desk.name("c"), ProductionVariants=[variant])
    client.create_endpoint(EndpointName=desk.name("p"), EndpointConfigName=desk.name("c"))
    client.create_model_package_group(ModelPackageGroupName=desk.name("g"))
    client.create_model_package(
        ModelPackageGroupName=desk.name("g"), InferenceSpecification={"Containers": [container]}
    )
    client.create_experiment(ExperimentName=desk.name("x"))
    client.create_trial(ExperimentName=desk.name("x"), TrialName=desk.name("y"))

    def one(resource: str, *filters: dict[str, Any]) -> dict[str, Any]:
        answer = client.search(Resource=resource, SearchExpression={"Filters": list(filters)})
        [result] = answer["Results"]
        return next(iter(result.values()))

    team = where("Tags.team", "Equals", desk.unique)
    shown = one(
        "TrainingJob",
        team,
        where("HyperParameters.max_depth", "GreaterThan", "6"),
        where("Metrics.train:logloss", "LessThan", "1"),
        where("TrainingJobStatus", "Equals", "Completed"),
        where("InputDataConfig.ChannelName", "Equals", "train"),
    )
    assert shown["TrainingJobName"] == desk.name("job")
    assert shown["Tags"] == [{"Key": "team", "Value": desk.unique}]
    assert shown["FinalMetricDataList"]
    endpoint = one("Endpoint", where("EndpointName", "Equals", desk.name("p")))
    assert endpoint["EndpointConfigName"] == desk.name("c")
    model = one("Model", where("ModelName", "Equals", desk.name("m")))
    assert model["Model"]["PrimaryContainer"]["Image"] == container["Image"]
    assert [each["EndpointName"] for each in model["Endpoints"]] == [desk.name("p")]
    package = one("ModelPackage", where("ModelPackageGroupName", "Equals", desk.name("g")))
    assert package["ModelPackageVersion"] == 1
    assert one("ModelPackageGroup", where("ModelPackageGroupName", "Contains", desk.unique))
    assert one("Experiment", where("ExperimentName", "Equals", desk.name("x")))
    assert one("ExperimentTrial", where("ExperimentName", "Equals", desk.name("x")))
    component = one("ExperimentTrialComponent", where("Source.SourceArn", "Equals", job["TrainingJobArn"]))
    assert component["SourceDetail"]["TrainingJob"]["TrainingJobName"] == desk.name("job")
    hint = {"PropertyNameQuery": {"PropertyNameHint": "HyperParameters.max"}}
    suggested = client.get_search_suggestions(Resource="TrainingJob", SuggestionQuery=hint)
    assert {"PropertyName": "HyperParameters.max_depth"} in suggested["PropertyNameSuggestions"]
    client.delete_endpoint(EndpointName=desk.name("p"))
