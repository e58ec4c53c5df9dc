"""Which service and which operation a request means, and what is answered when it means none."""

import pytest

from stagedoor.domain.errors import AwsError
from stagedoor.wire import models, routes, services
from stagedoor.wire.requests import WireRequest


def _request(
    method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> WireRequest:
    path, _, query = target.partition("?")
    return WireRequest(method, path, query, headers or {}, body)


COPY = {"x-amz-copy-source": "from/key"}


@pytest.mark.parametrize(
    ("method", "target", "headers", "operation", "labels"),
    [
        ("GET", "/", {}, "ListBuckets", {}),
        ("GET", "/b", {}, "ListObjects", {"Bucket": "b"}),
        ("GET", "/b/", {}, "ListObjects", {"Bucket": "b"}),
        ("GET", "/b?list-type=2&prefix=x", {}, "ListObjectsV2", {"Bucket": "b"}),
        ("GET", "/b?list-type=1", {}, "ListObjects", {"Bucket": "b"}),
        ("GET", "/b?versions", {}, "ListObjectVersions", {"Bucket": "b"}),
        ("GET", "/b?uploads", {}, "ListMultipartUploads", {"Bucket": "b"}),
        ("GET", "/b?location=", {}, "GetBucketLocation", {"Bucket": "b"}),
        ("GET", "/b?lifecycle", {}, "GetBucketLifecycleConfiguration", {"Bucket": "b"}),
        ("GET", "/b?metrics", {}, "ListBucketMetricsConfigurations", {"Bucket": "b"}),
        ("GET", "/b?metrics&id=m", {}, "GetBucketMetricsConfiguration", {"Bucket": "b"}),
        ("POST", "/b?delete", {}, "DeleteObjects", {"Bucket": "b"}),
        ("GET", "/b/k?x-id=GetObject", {}, "GetObject", {"Bucket": "b", "Key": "k"}),
        ("GET", "/b/a%20b%2Fc", {}, "GetObject", {"Bucket": "b", "Key": "a b/c"}),
        ("GET", "/b//a", {}, "GetObject", {"Bucket": "b", "Key": "/a"}),
        ("GET", "/b/a/", {}, "GetObject", {"Bucket": "b", "Key": "a/"}),
        ("GET", "/b/../x", {}, "GetObject", {"Bucket": "b", "Key": "../x"}),
        ("GET", "/b/%2e%2e/%252e", {}, "GetObject", {"Bucket": "b", "Key": "../%2e"}),
        ("GET", "/b/a+b", {}, "GetObject", {"Bucket": "b", "Key": "a+b"}),
        ("GET", "/b/k?uploadId=u", {}, "ListParts", {"Bucket": "b", "Key": "k"}),
        ("GET", "/b/k?attributes", {}, "GetObjectAttributes", {"Bucket": "b", "Key": "k"}),
        ("PUT", "/b/k", {}, "PutObject", {"Bucket": "b", "Key": "k"}),
        ("PUT", "/b/k", COPY, "CopyObject", {"Bucket": "b", "Key": "k"}),
        ("PUT", "/b/k?partNumber=1&uploadId=u", {}, "UploadPart", {"Bucket": "b", "Key": "k"}),
        ("PUT", "/b/k?partNumber=1&uploadId=u", COPY, "UploadPartCopy", {"Bucket": "b", "Key": "k"}),
        # A forgotten part number must not overwrite the object.
        ("PUT", "/b/k?uploadId=u", {}, "UploadPart", {"Bucket": "b", "Key": "k"}),
        ("PUT", "/b/k?uploadId=u", COPY, "UploadPartCopy", {"Bucket": "b", "Key": "k"}),
        ("PUT", "/b/k?tagging", {}, "PutObjectTagging", {"Bucket": "b", "Key": "k"}),
        ("POST", "/b/k?uploads", {}, "CreateMultipartUpload", {"Bucket": "b", "Key": "k"}),
        ("POST", "/b/k?uploadId=u", {}, "CompleteMultipartUpload", {"Bucket": "b", "Key": "k"}),
        ("DELETE", "/b/k?uploadId=u", {}, "AbortMultipartUpload", {"Bucket": "b", "Key": "k"}),
        ("DELETE", "/b/k?versionId=v", {}, "DeleteObject", {"Bucket": "b", "Key": "k"}),
        ("HEAD", "/b", {}, "HeadBucket", {"Bucket": "b"}),
        ("HEAD", "/b/k", {}, "HeadObject", {"Bucket": "b", "Key": "k"}),
    ],
)
def test_s3_routes(
    method: str, target: str, headers: dict[str, str], operation: str, labels: dict[str, str]
) -> None:
    found, protocol, found_labels = routes.operation_of(
        models.service("s3"), _request(method, target, headers)
    )
    assert (found.name, protocol, found_labels) == (operation, "rest-xml", labels)


@pytest.mark.parametrize(
    ("service", "method", "target", "operation", "labels"),
    [
        ("lambda", "POST", "/2015-03-31/functions", "CreateFunction", {}),
        ("lambda", "GET", "/2015-03-31/functions/", "ListFunctions", {}),
        (
            "lambda",
            "POST",
            "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af/invocations",
            "Invoke",
            {"FunctionName": "arn:aws:lambda:us-east-1:000000000000:function:f"},
        ),
        ("lambda", "GET", "/2018-10-31/layers?find=LayerVersion&Arn=a", "GetLayerVersionByArn", {}),
        ("lambda", "GET", "/2018-10-31/layers", "ListLayers", {}),
        ("apigateway", "POST", "/restapis", "CreateRestApi", {}),
        ("apigateway", "POST", "/restapis?mode=import", "ImportRestApi", {}),
        (
            "apigateway",
            "GET",
            "/restapis/a/resources/r",
            "GetResource",
            {"restapi_id": "a", "resource_id": "r"},
        ),
        (
            "apigateway",
            "PUT",
            "/restapis/a/resources/r/methods/POST/responses/200",
            "PutMethodResponse",
            {"restapi_id": "a", "resource_id": "r", "http_method": "POST", "status_code": "200"},
        ),
        (
            "apigateway",
            "GET",
            "/tags/arn%3Aaws%3Aapigateway%3A%2Frestapis%2Fa",
            "GetTags",
            {"resource_arn": "arn:aws:apigateway:/restapis/a"},
        ),
        ("sagemaker-runtime", "POST", "/endpoints/e/invocations", "InvokeEndpoint", {"EndpointName": "e"}),
        (
            "sagemaker-runtime",
            "POST",
            "/endpoints/e/async-invocations",
            "InvokeEndpointAsync",
            {"EndpointName": "e"},
        ),
    ],
)
def test_rest_routes(service: str, method: str, target: str, operation: str, labels: dict[str, str]) -> None:
    found, _, found_labels = routes.operation_of(models.service(service), _request(method, target))
    assert found.name == operation
    assert {name: value for name, value in found_labels.items() if name in labels} == labels


JSON_TARGET = {"x-amz-target": "SageMaker.CreateEverything"}


@pytest.mark.parametrize(
    ("service", "request_", "code", "status"),
    [
        ("sagemaker", _request("POST", "/", JSON_TARGET), "UnknownOperationException", 404),
        ("sagemaker", _request("POST", "/"), "UnknownOperationException", 404),
        (
            "sagemaker",
            _request("POST", "/", {"x-amz-target": "Logs_20140328.PutLogEvents"}),
            "UnknownOperationException",
            404,
        ),
        (
            "sagemaker",
            _request("GET", "/", {"x-amz-target": "SageMaker.ListModels"}),
            "UnknownOperationException",
            404,
        ),
        ("logs", _request("POST", "/", {"x-amz-target": "Logs_20140328."}), "UnknownOperationException", 404),
        (
            "cloudwatch",
            _request("POST", "/service/GraniteServiceVersion20100801/operation/Nothing"),
            "UnknownOperationException",
            404,
        ),
        ("iam", _request("POST", "/", {}, b"Version=2010-05-08"), "MissingAction", 400),
        (
            "iam",
            _request("POST", "/", {}, b"Action=CreateEverything&Version=2010-05-08"),
            "InvalidAction",
            400,
        ),
        ("iam", _request("POST", "/", {}, b"Action=ListRoles&Version=2011-06-15"), "InvalidAction", 400),
        ("iam", _request("POST", "/", {}, b"Action=ListRoles&Version=%zz"), "MalformedQueryString", 400),
        ("sts", _request("GET", "/?Action=%ff"), "MalformedQueryString", 400),
        ("lambda", _request("POST", "/2015-03-31/nothing"), "UnknownOperationException", 404),
        ("lambda", _request("PATCH", "/2015-03-31/functions"), "UnknownOperationException", 404),
        ("lambda", _request("POST", "/2015-03-31/functions//invocations"), "UnknownOperationException", 404),
        ("lambda", _request("GET", "/2015-03-31/functions/%zz"), "InvalidURI", 400),
        ("apigateway", _request("GET", "/restapis/%ff"), "InvalidURI", 400),
        ("s3", _request("PATCH", "/b/k"), "MethodNotAllowed", 405),
        ("s3", _request("POST", "/b/k"), "MethodNotAllowed", 405),
        ("s3", _request("DELETE", "/"), "MethodNotAllowed", 405),
        ("s3", _request("GET", "/b/%ff"), "InvalidURI", 400),
        ("s3", _request("GET", "/b/k%2"), "InvalidURI", 400),
    ],
)
def test_a_request_for_no_operation_is_refused(
    service: str, request_: WireRequest, code: str, status: int
) -> None:
    with pytest.raises(AwsError) as caught:
        routes.operation_of(models.service(service), request_)
    assert (caught.value.code, caught.value.status) == (code, status)


def test_s3_tells_which_methods_a_resource_has() -> None:
    with pytest.raises(AwsError) as caught:
        routes.operation_of(models.service("s3"), _request("PATCH", "/b/k"))
    assert caught.value.headers == {"Allow": "DELETE, GET, HEAD, POST, PUT"}
    assert caught.value.members == {"Method": "PATCH", "ResourceType": "OBJECT"}


def test_the_version_may_be_left_out_and_the_action_given_in_the_url() -> None:
    request = _request("GET", "/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60")
    assert routes.operation_of(models.service("sts"), request)[0].name == "GetCallerIdentity"
    request = _request("POST", "/", {}, b"Action=GetCallerIdentity")
    assert routes.operation_of(models.service("sts"), request)[0].name == "GetCallerIdentity"


FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


@pytest.mark.parametrize(
    ("headers", "path", "body", "protocol"),
    [
        (
            {"smithy-protocol": "rpc-v2-cbor"},
            "/service/GraniteServiceVersion20100801/operation/ListMetrics",
            b"\xa0",
            "smithy-rpc-v2-cbor",
        ),
        ({"x-amz-target": "GraniteServiceVersion20100801.ListMetrics"}, "/", b"{}", "json"),
        (FORM, "/", b"Action=ListMetrics&Version=2010-08-01", "query"),
    ],
)
def test_cloudwatch_is_spoken_in_the_protocol_of_the_request(
    headers: dict[str, str], path: str, body: bytes, protocol: str
) -> None:
    request = _request("POST", path, headers, body)
    operation, spoken, _ = routes.operation_of(models.service("cloudwatch"), request)
    assert (operation.name, spoken) == ("ListMetrics", protocol)


@pytest.mark.parametrize(
    ("signing_name", "request_", "service"),
    [
        ("sagemaker", _request("POST", "/", {"x-amz-target": "SageMaker.ListModels"}), "sagemaker"),
        ("sagemaker", _request("POST", "/endpoints/e/invocations"), "sagemaker-runtime"),
        ("sagemaker", _request("POST", "/endpoints/e/invocations-response-stream"), "sagemaker-runtime"),
        ("monitoring", _request("POST", "/"), "cloudwatch"),
        ("apigateway", _request("GET", "/restapis"), "apigateway"),
        ("apigateway", _request("GET", "/v2/apis"), "apigatewayv2"),
        ("s3", _request("GET", "/restapis"), "s3"),
        ("lambda", _request("GET", "/x"), "lambda"),
        (None, _request("POST", "/", {"x-amz-target": "Logs_20140328.GetLogEvents"}), "logs"),
        (
            None,
            _request("POST", "/service/GraniteServiceVersion20100801/operation/ListMetrics"),
            "cloudwatch",
        ),
        (None, _request("POST", "/", FORM, b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15"), "sts"),
        (None, _request("POST", "/", FORM, b"Action=ListRoles&Version=2010-05-08"), "iam"),
        (None, _request("POST", "/", FORM, b"Action=ListRoles"), "iam"),
        (None, _request("GET", "/2015-03-31/functions"), "lambda"),
        (None, _request("GET", "/restapis/abc/stages"), "apigateway"),
        (None, _request("POST", "/endpoints/e/async-invocations"), "sagemaker-runtime"),
        (None, _request("GET", "/bucket/key"), "s3"),
        (None, _request("GET", "/"), "s3"),
        (None, _request("POST", "/", {}, b"\xff\xfe"), "s3"),
    ],
)
def test_the_service_of_a_request(signing_name: str | None, request_: WireRequest, service: str) -> None:
    assert services.detect(request_, signing_name) == service


def test_a_signed_request_for_no_deployed_api_is_refused_as_api_gateway_does() -> None:
    with pytest.raises(AwsError) as caught:
        services.detect(_request("GET", "/prod/x"), "execute-api")
    assert (caught.value.status, caught.value.message) == (403, "Missing Authentication Token")


def test_a_service_that_is_not_offered_is_named() -> None:
    with pytest.raises(AwsError) as caught:
        services.detect(_request("POST", "/"), "dynamodb")
    assert caught.value.status == 501
    assert "dynamodb" in caught.value.message


@pytest.mark.parametrize("name", ["../s3", "", "S3", "no-such-service"])
def test_a_name_that_is_no_service_finds_no_file(name: str) -> None:
    with pytest.raises(LookupError):
        models.service(name)
