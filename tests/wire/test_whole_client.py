"""Whole boto3 clients, their handlers included, against the wire layer: only the socket is left out."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from wire import clients
from wire.generated import FEW, Wire, values
from wire.protocol_vectors import same

from stagedoor.domain.errors import AwsError
from stagedoor.wire import answers, errors, models, parse, quirks, routes, services, validate

# A handler stands for an operation: it is given the parsed parameters and gives the result.
Handler = Callable[[str, dict[str, Any]], dict[str, Any]]


class _Raw(BytesIO):
    """As much of urllib3's response as botocore's streams need."""

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self.read()


class Server:
    """Answers a client's requests through the wire layer, in place of the connection."""

    def __init__(self, name: str, **config: Any) -> None:
        self.service = models.service(name)
        self.handler: Handler = lambda _operation, _params: {}
        self.seen: list[tuple[str, str, dict[str, Any]]] = []
        self.client: Any = boto3.client(
            name,
            region_name="us-east-1",
            endpoint_url="http://localhost:4566",
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="secret",
            config=Config(retries={"total_max_attempts": 1}, **config),
        )
        self.client.meta.events.register("before-send", self._answer)

    def _answer(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        wire_request = clients.wire_request(request)
        assert services.detect(wire_request, self.service.model.signing_name) == self.service.name
        operation, protocol = None, self.service.protocols[0]
        try:
            operation, protocol, labels = routes.operation_of(self.service, wire_request)
            params = parse.request(operation, protocol, wire_request, labels)
            validate.request(operation, params)
            self.seen.append((operation.name, protocol, params))
            answer = answers.serialise(operation, protocol, self.handler(operation.name, params), "request-1")
        except AwsError as error:
            answer = errors.serialise(
                self.service, operation, protocol, error, "request-1", wire_request.path
            )
        return AWSResponse(request.url, answer.status, dict(answer.headers), _Raw(answer.body))


@pytest.fixture(scope="module")
def s3() -> Server:
    when_required = {
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    return Server("s3", s3={"addressing_style": "path"}, **when_required)


S3 = models.service("s3")
# What the client's own rules for these names ask for: a bucket that is one, a key, an owner.
_GIVEN = {
    "Bucket": "a-bucket",
    "Key": "a key/with ümläuts+and//slashes?&=%2e",
    "CopySource": "b/k?versionId=1",
}
_MADE_BY_CLIENT = {
    "ContentLength",
    "ContentMD5",
    "ChecksumAlgorithm",
    "ChecksumCRC32",
    "EncodingType",
    "Expires",
    "ClientToken",
}


def _client_method(name: str) -> str:
    from botocore import xform_name

    return xform_name(name)


@pytest.mark.parametrize(
    "operation_name",
    # WriteGetObjectResponse and CreateSession talk to hosts of their own.
    [
        name
        for name in S3.operations
        if name not in (*quirks.of("s3").shared_routes, "WriteGetObjectResponse", "CreateSession")
    ],
)
@FEW
@given(data=st.data())
def test_every_s3_operation_goes_through_a_client(
    s3: Server, operation_name: str, data: st.DataObject
) -> None:
    operation = S3.operation(operation_name)
    params = data.draw(values(operation.input_shape, Wire("rest-xml")))
    # Keys and checksums of their own making would be checked by the client.
    params = {n: v for n, v in params.items() if "SSECustomer" not in n and n != "ChecksumMode"}
    for name in _MADE_BY_CLIENT:
        params.pop(name, None)
    params.update({name: value for name, value in _GIVEN.items() if name in params})
    payload = operation.input_shape.serialization.get("payload")
    if payload and not params.get(payload) and payload not in operation.input_shape.required_members:
        params.pop(payload, None)
    shape = operation.output_shape
    result: dict[str, Any] = {}
    if shape is not None and not operation.has_event_stream_output:
        result = data.draw(values(shape, Wire("rest-xml")))
        result.pop("EncodingType", None)
        result.pop("Expires", None)
        if operation.has_streaming_output:
            result = {name: value for name, value in result.items() if not name.startswith("Checksum")}
            result.pop("ContentLength", None)
    s3.handler = lambda _name, _params: result
    s3.seen.clear()

    read = getattr(s3.client, _client_method(operation_name))(**params)

    [(seen_name, _, seen)] = s3.seen
    assert seen_name == operation_name
    kept = {name: value for name, value in seen.items() if name not in _MADE_BY_CLIENT}
    assert same(kept, {name: value for name, value in params.items() if name in kept}), (kept, params)
    assert {name for name in params if name not in kept} <= {payload}
    if shape is None or operation.has_event_stream_output:
        return
    read = {n: v.read() if hasattr(v, "read") else v for n, v in read.items() if n != "ResponseMetadata"}
    for name, value in result.items():
        assert same(read[name], value), name


KEYS = [
    "plain",
    "a b+c",
    "ä/ö/日本",
    "back\\slash",
    "line\nend\r",
    "per%20cent",
    "<&>\"'",
    "\x01control",
    "..",
    "a//b",
]


@pytest.mark.parametrize(
    ("operation_name", "place"),
    [
        ("ListObjects", ("Contents", "Key")),
        ("ListObjectsV2", ("Contents", "Key")),
        ("ListObjectVersions", ("Versions", "Key")),
        ("ListObjectVersions", ("DeleteMarkers", "Key")),
        ("ListObjectsV2", ("CommonPrefixes", "Prefix")),
    ],
)
def test_any_key_survives_a_listing(s3: Server, operation_name: str, place: tuple[str, str]) -> None:
    # The client asks for encoding-type=url by itself; the operation echoes it and gives its keys plain.
    s3.handler = lambda _name, params: {
        "EncodingType": params["EncodingType"],
        "Prefix": "a b+c/",
        place[0]: [{place[1]: key} for key in KEYS],
    }
    read = getattr(s3.client, _client_method(operation_name))(Bucket="b", Prefix="a b+c/")
    assert [item[place[1]] for item in read[place[0]]] == KEYS
    assert s3.seen[-1][2]["Prefix"] == "a b+c/"


@pytest.mark.parametrize("region", ["eu-west-1", None])
def test_a_bucket_location_is_the_bare_text_of_its_root(s3: Server, region: str | None) -> None:
    s3.handler = lambda _name, _params: {"LocationConstraint": region}
    assert s3.client.get_bucket_location(Bucket="b")["LocationConstraint"] == region


def test_a_copy_source_given_as_a_dict_arrives_as_text(s3: Server) -> None:
    s3.handler = lambda _name, _params: {}
    source = {"Bucket": "from", "Key": "a b/ü+", "VersionId": "v1"}
    s3.client.copy_object(Bucket="b", Key="k", CopySource=source)
    assert s3.seen[-1][0] == "CopyObject"
    assert s3.seen[-1][2]["CopySource"] == "from/a%20b/%C3%BC%2B?versionId=v1"


def test_metadata_and_expires_arrive_as_they_were_sent(s3: Server) -> None:
    s3.handler = lambda _name, _params: {}
    s3.client.put_object(
        Bucket="b",
        Key="k",
        Body=b"x",
        Metadata={"Some-Name": 'Value, quoted "x"'},
        Expires="2030-01-01T00:00:00Z",
    )
    seen = s3.seen[-1][2]
    # Header names have no case; S3 keeps them in lower case.
    assert seen["Metadata"] == {"some-name": 'Value, quoted "x"'}
    assert seen["Expires"] == "Tue, 01 Jan 2030 00:00:00 GMT"


def test_keys_with_line_ends_are_deleted_under_their_own_names(s3: Server) -> None:
    s3.handler = lambda _name, _params: {}
    keys = ["a\rb", "a\nb", "a<b>&c"]
    s3.client.delete_objects(Bucket="b", Delete={"Objects": [{"Key": key} for key in keys]})
    assert [item["Key"] for item in s3.seen[-1][2]["Delete"]["Objects"]] == keys


def test_a_head_error_has_a_status_and_no_body(s3: Server) -> None:
    def missing(_name: str, _params: dict[str, Any]) -> dict[str, Any]:
        raise AwsError("NoSuchKey", "The specified key does not exist.")

    s3.handler = missing
    with pytest.raises(ClientError) as caught:
        s3.client.head_object(Bucket="b", Key="k")
    assert caught.value.response["Error"] == {"Code": "404", "Message": "Not Found"}
    with pytest.raises(s3.client.exceptions.NoSuchKey) as caught:
        s3.client.get_object(Bucket="b", Key="k")
    assert caught.value.response["ResponseMetadata"]["RequestId"] == "request-1"
    assert caught.value.response["Error"]["Resource"] == "/b/k"


def test_cloudwatch_errors_keep_the_codes_of_the_query_protocol() -> None:
    server = Server("cloudwatch")

    def missing(_name: str, _params: dict[str, Any]) -> dict[str, Any]:
        raise AwsError("ResourceNotFound", "There is no dashboard called d.")

    server.handler = missing
    with pytest.raises(server.client.exceptions.ResourceNotFound) as caught:
        server.client.get_dashboard(DashboardName="d")
    assert server.seen[-1][1] != "query"
    assert caught.value.response["Error"]["Code"] == "ResourceNotFound"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_a_large_metric_request_arrives_compressed_and_is_inflated() -> None:
    server = Server("cloudwatch")
    data = [{"MetricName": f"metric-{index}", "Value": index / 4} for index in range(1000)]
    server.client.put_metric_data(Namespace="n", MetricData=data)
    assert server.seen[-1][2] == {"Namespace": "n", "MetricData": data}


def test_iam_policy_documents_travel_encoded_and_arrive_as_documents() -> None:
    server = Server("iam")
    server.handler = lambda _name, _params: {
        "RoleName": "r",
        "PolicyName": "p",
        "PolicyDocument": '{"Version": "2012-10-17", "Statement": []}',
    }
    read = server.client.get_role_policy(RoleName="r", PolicyName="p")
    assert read["PolicyDocument"] == {"Version": "2012-10-17", "Statement": []}


def test_a_model_error_carries_what_the_model_said() -> None:
    server = Server("sagemaker-runtime")

    def failed(_name: str, _params: dict[str, Any]) -> dict[str, Any]:
        members = {"OriginalStatusCode": 500, "OriginalMessage": "boom", "LogStreamArn": "arn:aws:logs:::x"}
        raise AwsError("ModelError", "Received server error (500) from primary", members=members)

    server.handler = failed
    with pytest.raises(server.client.exceptions.ModelError) as caught:
        server.client.invoke_endpoint(EndpointName="e", Body=b"1,2")
    response = caught.value.response
    assert (response["OriginalStatusCode"], response["OriginalMessage"]) == (500, "boom")
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
