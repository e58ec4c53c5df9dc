"""Answers in what the generated ones do not reach: headers, ids, statuses, times, mistakes of a handler."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from stagedoor.domain.errors import AwsError
from stagedoor.wire import answers, errors, models, timestamps

MOMENT = datetime(2024, 2, 29, 12, 0, 0, 120_000, tzinfo=UTC)


def _answer(service: str, operation: str, protocol: str, result: dict[str, Any]) -> answers.Answer:
    return answers.serialise(models.service(service).operation(operation), protocol, result, "id-1")


def _text(answer: answers.Answer) -> str:
    assert isinstance(answer.body, bytes)
    return answer.body.decode()


@pytest.mark.parametrize(
    "given",
    [
        MOMENT,
        MOMENT.astimezone(timezone(timedelta(hours=5))),
        MOMENT.replace(tzinfo=None),
        MOMENT.timestamp(),
    ],
)
def test_a_time_may_be_given_as_datetime_or_seconds(given: Any) -> None:
    answer = _answer("sagemaker", "DescribeEndpoint", "json", {"CreationTime": given})
    assert json.loads(_text(answer)) == {"CreationTime": 1709208000.12}
    answer = _answer("s3", "ListBuckets", "rest-xml", {"Buckets": [{"CreationDate": given}]})
    assert "<CreationDate>2024-02-29T12:00:00.120Z</CreationDate>" in _text(answer)
    answer = _answer("s3", "HeadObject", "rest-xml", {"LastModified": given})
    assert ("Last-Modified", "Thu, 29 Feb 2024 12:00:00 GMT") in answer.headers
    answer = _answer("iam", "GetRole", "query", {"Role": {"CreateDate": given}})
    assert "<CreateDate>2024-02-29T12:00:00Z</CreateDate>" in _text(answer)


def test_whole_seconds_have_no_fraction() -> None:
    answer = _answer("sagemaker", "DescribeEndpoint", "json", {"CreationTime": 1709208000})
    assert _text(answer) == '{"CreationTime":1709208000}'


@pytest.mark.parametrize("value", ["2024-01-01", True, None])
def test_a_time_of_another_type_is_a_mistake(value: Any) -> None:
    with pytest.raises(TypeError):
        timestamps.to_datetime(value)


def test_request_ids_are_in_the_header_of_the_service() -> None:
    assert ("x-amzn-RequestId", "id-1") in _answer("lambda", "ListFunctions", "rest-json", {}).headers
    headers = dict(_answer("s3", "PutObject", "rest-xml", {"ETag": '"e"'}).headers)
    assert headers["x-amz-request-id"] == "id-1"
    assert len(headers["x-amz-id-2"]) >= 56
    assert "<ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata>" in _text(
        _answer("sts", "GetCallerIdentity", "query", {"Account": "000000000000"})
    )


def test_answers_look_as_aws_writes_them() -> None:
    assert _text(
        _answer("sts", "GetCallerIdentity", "query", {"UserId": "u", "Account": "1", "Arn": "a"})
    ) == (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
        "<UserId>u</UserId><Account>1</Account><Arn>a</Arn></GetCallerIdentityResult>"
        "<ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    )
    assert _text(
        _answer("s3", "ListBuckets", "rest-xml", {"Buckets": [{"Name": "b"}], "Owner": {"ID": "o"}})
    ) == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Buckets><Bucket><Name>b</Name>'
        "</Bucket></Buckets><Owner><ID>o</ID></Owner></ListAllMyBucketsResult>"
    )
    grant = {"Grantee": {"Type": "CanonicalUser", "ID": "o"}, "Permission": "READ"}
    assert (
        '<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser">'
        "<ID>o</ID></Grantee><Permission>READ</Permission></Grant>"
    ) in _text(_answer("s3", "GetBucketAcl", "rest-xml", {"Grants": [grant]}))
    copied = _answer("s3", "CopyObject", "rest-xml", {"CopyObjectResult": {"ETag": '"e"'}})
    assert '<CopyObjectResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ETag>"e"</ETag>' in _text(
        copied
    )


@pytest.mark.parametrize(
    ("service", "operation", "protocol", "status"),
    [
        ("lambda", "CreateFunction", "rest-json", 201),
        ("lambda", "DeleteFunction", "rest-json", 204),
        ("apigateway", "CreateRestApi", "rest-json", 201),
        ("apigateway", "DeleteRestApi", "rest-json", 202),
        ("s3", "DeleteObject", "rest-xml", 204),
        ("sagemaker", "DeleteModel", "json", 200),
        ("sagemaker-runtime", "InvokeEndpointAsync", "rest-json", 202),
    ],
)
def test_the_status_is_the_models(service: str, operation: str, protocol: str, status: int) -> None:
    result = {"StatusCode": status} if operation == "DeleteFunction" else {}
    assert _answer(service, operation, protocol, result).status == status


def test_none_and_absent_members_are_left_out() -> None:
    result = {"Role": None, "Code": None, "Configuration": {"Role": None, "FunctionName": "f", "Layers": []}}
    result.pop("Role")
    assert json.loads(_text(_answer("lambda", "GetFunction", "rest-json", result))) == {
        "Configuration": {"FunctionName": "f", "Layers": []}
    }


def test_a_member_the_model_does_not_have_is_a_mistake() -> None:
    with pytest.raises(KeyError, match="EndpointArm"):
        _answer("sagemaker", "CreateEndpoint", "json", {"EndpointArm": "a"})


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\0b"])
def test_a_header_never_becomes_two(value: str) -> None:
    with pytest.raises(ValueError, match="line end"):
        _answer("sagemaker-runtime", "InvokeEndpoint", "rest-json", {"Body": b"", "CustomAttributes": value})
    with pytest.raises(ValueError, match="line end"):
        _answer("s3", "GetObject", "rest-xml", {"Body": b"", "Metadata": {"x": value}})
    with pytest.raises(ValueError, match="line end"):
        _answer("s3", "GetObject", "rest-xml", {"Body": b"", "Metadata": {value: "x"}})


def test_a_streaming_body_goes_out_untouched() -> None:
    stream = object()
    answer = _answer(
        "s3", "GetObject", "rest-xml", {"Body": stream, "ContentLength": 5, "ContentType": "text/html"}
    )
    assert answer.body is stream
    assert ("Content-Type", "text/html") in answer.headers
    assert ("Content-Length", "5") in answer.headers


def _error(
    service: str, code: str, protocol: str, operation: str | None = None, **options: Any
) -> answers.Answer:
    model = models.service(service)
    found = model.operation(operation) if operation else None
    return errors.serialise(model, found, protocol, AwsError(code, "text", **options), "id-1", "/b/k")


@pytest.mark.parametrize(
    ("service", "protocol", "code", "status"),
    [
        ("sagemaker", "json", "ValidationException", 400),
        ("sagemaker", "json", "AccessDeniedException", 400),
        ("sagemaker", "json", "ResourceNotFound", 400),
        ("logs", "json", "InternalServerException", 500),
        ("logs", "json", "ServiceUnavailableException", 500),
        ("lambda", "rest-json", "ResourceNotFoundException", 404),
        ("lambda", "rest-json", "AccessDeniedException", 403),
        ("lambda", "rest-json", "TooManyRequestsException", 429),
        ("sagemaker-runtime", "rest-json", "ModelError", 424),
        ("sagemaker-runtime", "rest-json", "AccessDeniedException", 403),
        ("apigateway", "rest-json", "NotFoundException", 404),
        ("iam", "query", "NoSuchEntity", 404),
        ("iam", "query", "NoSuchEntityException", 404),
        ("iam", "query", "AccessDenied", 403),
        ("sts", "query", "ExpiredToken", 403),
        ("s3", "rest-xml", "ExpiredToken", 400),
        ("s3", "rest-xml", "NoSuchBucket", 404),
        ("s3", "rest-xml", "PreconditionFailed", 412),
        ("s3", "rest-xml", "NoSuchUpload", 404),
        ("s3", "rest-xml", "Unheard", 400),
        ("cloudwatch", "smithy-rpc-v2-cbor", "ResourceNotFound", 404),
    ],
)
def test_the_status_of_an_error(service: str, protocol: str, code: str, status: int) -> None:
    assert _error(service, code, protocol).status == status
    assert _error(service, code, protocol, status=418).status == 418


def test_errors_look_as_aws_writes_them() -> None:
    assert _text(_error("sagemaker", "ValidationException", "json")) == (
        '{"__type":"ValidationException","message":"text"}'
    )
    answer = _error("lambda", "ResourceNotFoundException", "rest-json", "GetFunction")
    assert ("x-amzn-ErrorType", "ResourceNotFoundException") in answer.headers
    assert json.loads(_text(answer)) == {"Type": "User", "Message": "text"}
    answer = _error(
        "lambda",
        "TooManyRequestsException",
        "rest-json",
        members={"retryAfterSeconds": "1", "Reason": "CallerRateLimitExceeded"},
    )
    assert ("Retry-After", "1") in answer.headers
    assert "retryAfterSeconds" not in _text(answer)
    assert _text(_error("iam", "NoSuchEntityException", "query", "GetRole")) == (
        '<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type>'
        "<Code>NoSuchEntity</Code><Message>text</Message></Error><RequestId>id-1</RequestId></ErrorResponse>"
    )
    text = _text(_error("s3", "NoSuchBucket", "rest-xml", members={"BucketName": "b&<"}))
    assert text.startswith(
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchBucket</Code><Message>text</Message>'
        "<BucketName>b&amp;&lt;</BucketName><Resource>/b/k</Resource><RequestId>id-1</RequestId><HostId>"
    )


def test_query_compatible_services_tell_both_codes() -> None:
    for code in ("ResourceNotFound", "DashboardNotFoundError"):
        answer = _error("cloudwatch", code, "json", "GetDashboard")
        assert json.loads(_text(answer))["__type"] == "DashboardNotFoundError"
        assert ("x-amzn-query-error", "ResourceNotFound;Sender") in answer.headers


def test_a_head_or_304_error_has_no_body() -> None:
    for answer in (
        _error("s3", "NoSuchKey", "rest-xml", "HeadObject"),
        _error("s3", "NotModified", "rest-xml", "GetObject"),
    ):
        assert answer.body == b""
        assert "Content-Type" not in dict(answer.headers)


def test_an_error_with_line_ends_in_a_header_member_stays_one_header() -> None:
    answer = _error(
        "lambda", "TooManyRequestsException", "rest-json", members={"retryAfterSeconds": "1\r\nX: y\nz"}
    )
    [value] = [text for name, text in answer.headers if name == "Retry-After"]
    assert "\r" not in value
    assert "\n" not in value
