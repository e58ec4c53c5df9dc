"""Violated constraints in the words and codes of each service."""

from typing import Any

import pytest

from stagedoor.domain.errors import AwsError
from stagedoor.wire import models, patterns, services, validate

NAME = "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
LONG = "a" * 64
ARN = "arn:aws:sagemaker:us-east-1:000000000000:endpoint/e"


def _refused(service: str, operation: str, params: dict[str, Any]) -> AwsError:
    with pytest.raises(AwsError) as caught:
        validate.request(models.service(service).operation(operation), params)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize(
    ("service", "operation", "params", "code", "text"),
    [
        (
            "sagemaker",
            "DescribeEndpoint",
            {"EndpointName": "-x"},
            "ValidationException",
            (
                "1 validation error detected: Value '-x' at 'endpointName' failed to satisfy constraint: "
                f"Member must satisfy regular expression pattern: {NAME}"
            ),
        ),
        (
            "sagemaker",
            "DescribeEndpoint",
            {},
            "ValidationException",
            (
                "1 validation error detected: Value null at 'endpointName' failed to satisfy constraint: "
                "Member must not be null"
            ),
        ),
        (
            "sagemaker",
            "DescribeEndpoint",
            {"EndpointName": LONG},
            "ValidationException",
            (
                f"2 validation errors detected: Value '{LONG}' at 'endpointName' failed to satisfy constraint: "
                f"Member must have length less than or equal to 63; Value '{LONG}' at 'endpointName' failed to satisfy "
                f"constraint: Member must satisfy regular expression pattern: {NAME}"
            ),
        ),
        (
            "sagemaker",
            "ListModels",
            {"MaxResults": 0, "SortOrder": "Up"},
            "ValidationException",
            (
                "2 validation errors detected: Value 'Up' at 'sortOrder' failed to satisfy constraint: Member must "
                "satisfy enum value set: [Ascending, Descending]; Value '0' at 'maxResults' failed to satisfy constraint: "
                "Member must have value greater than or equal to 1"
            ),
        ),
        (
            "sagemaker",
            "AddTags",
            {"ResourceArn": ARN, "Tags": [{"Key": "a", "Value": "b"}, {"Key": "a"}]},
            "ValidationException",
            (
                "1 validation error detected: Value null at 'tags.2.member.value' failed to satisfy constraint: "
                "Member must not be null"
            ),
        ),
        (
            "sagemaker",
            "DeleteTags",
            {"ResourceArn": ARN, "TagKeys": []},
            "ValidationException",
            (
                "1 validation error detected: Value '[]' at 'tagKeys' failed to satisfy constraint: "
                "Member must have length greater than or equal to 1"
            ),
        ),
        (
            "sagemaker",
            "DeleteTags",
            {"ResourceArn": ARN, "TagKeys": ["ok", "b*d"]},
            "ValidationException",
            (
                "1 validation error detected: Value '[ok, b*d]' at 'tagKeys' failed to satisfy constraint: Member must "
                "satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater "
                "than or equal to 1, Member must satisfy regular expression pattern: ([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)]"
            ),
        ),
        (
            "sagemaker-runtime",
            "InvokeEndpoint",
            {"EndpointName": "e", "Body": b"x" * 6_291_457},
            "ValidationError",
            (
                "1 validation error detected: Value at 'body' failed to satisfy constraint: "
                "Member must have length less than or equal to 6291456"
            ),
        ),
        (
            "lambda",
            "GetFunction",
            {"FunctionName": "a b"},
            "ValidationException",
            None,
        ),
        (
            "lambda",
            "UpdateFunctionConfiguration",
            {"FunctionName": "f", "MemorySize": 64, "Environment": {"Variables": {"1a": "x"}}},
            "ValidationException",
            None,
        ),
        (
            "lambda",
            "UpdateFunctionConfiguration",
            {"FunctionName": "f", "Runtime": "python1.0"},
            "InvalidParameterValueException",
            None,
        ),
        (
            "logs",
            "CreateLogGroup",
            {"logGroupName": "a b"},
            "InvalidParameterException",
            (
                "1 validation error detected: Value 'a b' at 'logGroupName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+"
            ),
        ),
        (
            "iam",
            "GetRole",
            {"RoleName": "a b"},
            "ValidationError",
            (
                "The specified value for roleName is invalid. It must contain only alphanumeric characters and/or the "
                "following: +=,.@_-"
            ),
        ),
        (
            "iam",
            "GetRole",
            {},
            "ValidationError",
            (
                "1 validation error detected: Value null at 'roleName' failed to satisfy constraint: "
                "Member must not be null"
            ),
        ),
        (
            "sts",
            "AssumeRole",
            {
                "RoleArn": "arn:aws:iam::000000000000:role/r",
                "RoleSessionName": "session",
                "DurationSeconds": 5,
            },
            "ValidationError",
            (
                "1 validation error detected: Value '5' at 'durationSeconds' failed to satisfy constraint: "
                "Member must have value greater than or equal to 900"
            ),
        ),
        (
            "cloudwatch",
            "GetMetricStatistics",
            {"Namespace": ":n"},
            "ValidationError",
            None,
        ),
        (
            "apigateway",
            "PutIntegration",
            {"restApiId": "a", "resourceId": "b", "httpMethod": "POST", "type": "LAMBDA"},
            "ValidationException",
            (
                "1 validation error detected: Value 'LAMBDA' at 'putIntegrationInput.type' failed to satisfy constraint: "
                "Member must satisfy enum value set: [HTTP, AWS, MOCK, HTTP_PROXY, AWS_PROXY]"
            ),
        ),
    ],
)
def test_texts(service: str, operation: str, params: dict[str, Any], code: str, text: str | None) -> None:
    error = _refused(service, operation, params)
    assert error.code == code
    if text is not None:
        assert error.message == text


@pytest.mark.parametrize(
    ("operation", "params", "code", "message"),
    [
        (
            "PutObject",
            {"StorageClass": "SLOW"},
            "InvalidStorageClass",
            "The storage class you specified is not valid",
        ),
        ("PutObject", {"ACL": "mine"}, "InvalidArgument", None),
        (
            "ListObjectsV2",
            {"EncodingType": "x"},
            "InvalidArgument",
            "Invalid Encoding Method specified in Request",
        ),
        ("CopyObject", {}, "InvalidRequest", "Missing required header for this request: x-amz-copy-source"),
        (
            "UploadPart",
            {"PartNumber": 1},
            "InvalidArgument",
            "This operation does not accept partNumber without uploadId",
        ),
        (
            "GetBucketMetricsConfiguration",
            {},
            "InvalidRequest",
            "Missing required parameter for this request: id",
        ),
        (
            "CreateBucket",
            {"CreateBucketConfiguration": {"LocationConstraint": "mars"}},
            "InvalidLocationConstraint",
            "The specified location-constraint is not valid",
        ),
        ("PutBucketTagging", {}, "MissingRequestBodyError", "Request Body is empty"),
        ("PutBucketTagging", {"Tagging": {"TagSet": [{"Key": "a"}]}}, "MalformedXML", None),
        ("PutBucketVersioning", {"VersioningConfiguration": {"Status": "Maybe"}}, "MalformedXML", None),
    ],
)
def test_s3_refuses_headers_one_by_one_and_bodies_by_their_schema(
    operation: str, params: dict[str, Any], code: str, message: str | None
) -> None:
    error = _refused("s3", operation, {"Bucket": "b", "Key": "k", **params})
    assert error.code == code
    if message is not None:
        assert error.message == message


def test_s3_names_the_argument_it_refuses() -> None:
    error = _refused("s3", "PutObject", {"Bucket": "b", "Key": "k", "ACL": "mine"})
    assert error.members == {"ArgumentName": "x-amz-acl", "ArgumentValue": "mine"}


def test_s3_has_no_put_for_an_upload_without_a_part() -> None:
    with pytest.raises(AwsError) as caught:
        validate.request(
            models.service("s3").operation("UploadPart"), {"Bucket": "b", "Key": "k", "UploadId": "u"}
        )
    assert (caught.value.code, caught.value.status) == ("MethodNotAllowed", 405)
    assert caught.value.members == {"Method": "PUT", "ResourceType": "UPLOAD"}
    assert caught.value.headers == {"Allow": "DELETE, POST, GET"}


def test_a_union_has_exactly_one_member() -> None:
    shape = models.service("sagemaker").model.shape_for("CollectionConfig")
    assert [v.kind for v in validate.violations(shape, {})] == ["union"]


def test_sensitive_values_are_not_shown() -> None:
    function = models.service("lambda").operation("UpdateFunctionConfiguration")
    with pytest.raises(AwsError) as caught:
        validate.request(function, {"FunctionName": "f", "Environment": {"Variables": {"1": "the-secret"}}})
    assert "the-secret" not in caught.value.message
    assert "Map keys must satisfy constraint" in caught.value.message


def test_a_null_among_elements_is_named() -> None:
    error = _refused("sagemaker", "DeleteTags", {"ResourceArn": "a", "TagKeys": ["a", None]})
    assert (
        "Value null at 'tagKeys.2.member' failed to satisfy constraint: Member must not be null"
        in error.message
    )


def test_a_stream_is_not_measured() -> None:
    operation = models.service("sagemaker-runtime").operation("InvokeEndpoint")
    validate.request(operation, {"EndpointName": "e", "Body": object()})


@pytest.mark.parametrize("name", services.NAMES)
def test_every_pattern_of_a_service_compiles(name: str) -> None:
    model = models.service(name).model
    found = {
        shape.metadata["pattern"]
        for shape in map(model.shape_for, model.shape_names)
        if "pattern" in shape.metadata
    }
    for pattern in found:
        assert patterns.compiled(pattern) is not None


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*", "Größe 1", True),
        (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*", "a*", False),
        (r"[\w-_]*", "a-_", True),
        (r"[\w]+", "é", False),
        (r"\d+", "٣", False),
        (r"\A\S[\p{Print}]*\z", "a b", True),
        (r"\A\S[\p{Print}]*\z", "aé", False),
        (r"\p{ASCII}*", "a\x7f", True),
        (r"\p{ASCII}*", "ä", False),
        (r"([\p{L}]*)${1,128}", "abc", True),
        (r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*", "a😀", True),
        (r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*", "a\x01", False),
        ("abc", "abcd", False),
        ("^[a-z]+$", "abc\n", False),
    ],
)
def test_patterns_mean_what_they_mean_in_java(pattern: str, value: str, expected: bool) -> None:
    assert patterns.matches(pattern, value) is expected


def test_a_pattern_that_backtracks_for_ever_is_given_up() -> None:
    assert patterns.matches(r"(a|aa|b?)+c?d", "a" * 60 + "!") is False


@pytest.mark.parametrize("name", services.NAMES)
def test_no_pattern_of_a_service_can_be_made_to_take_long(name: str) -> None:
    """Long values made of what the patterns repeat: each is judged, or given up within the limit."""
    model = models.service(name).model
    values = [
        "a" * 5_000,
        "a-" * 2_500 + "!",
        "-" * 5_000,
        "/" * 5_000,
        "a." * 2_500 + " ",
        "1" * 5_000 + ":",
    ]
    for shape in map(model.shape_for, model.shape_names):
        if "pattern" in shape.metadata:
            for value in values:
                assert patterns.matches(shape.metadata["pattern"], value) in (True, False)
