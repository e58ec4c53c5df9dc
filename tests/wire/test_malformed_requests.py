"""Requests that cannot be read: refused with the service's code, whatever the bytes; never another exception."""

import gzip
import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wire.generated import FEW

from stagedoor.domain.errors import AwsError
from stagedoor.wire import cbor, models, parse, routes, services, validate
from stagedoor.wire.requests import WireRequest

DEPTH = 100_000
FUZZ = settings(FEW, max_examples=150)


def _json(
    body: bytes, operation: str = "CreateEndpoint", headers: dict[str, str] | None = None
) -> dict[str, Any]:
    service = models.service("sagemaker")
    request = WireRequest(
        "POST", "/", "", {"x-amz-target": f"SageMaker.{operation}", **(headers or {})}, body
    )
    found, protocol, labels = routes.operation_of(service, request)
    return parse.request(found, protocol, request, labels)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * DEPTH,
        b'{"Tags":' + b"[" * DEPTH + b"]" * DEPTH + b"}",
        b'{"a":' * DEPTH + b"1" + b"}" * DEPTH,
        b'{"EndpointName": ' + b"1" * 1_000_000 + b"}",
        b'{"EndpointName": 1.' + b"1" * 1_000_000 + b"}",
        b'{"EndpointName": 1e999}',
        b'{"EndpointName": NaN}',
        b'{"EndpointName": Infinity}',
        b'{"EndpointName": "a", "EndpointName": "b"}',
        b'{"Unknown": {"a": 1, "a": 2}}',
        b'{"EndpointName": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"EndpointName": "\xff"}',
        b'\xef\xbb\xbf{"EndpointName": "a"}',
        b'{"EndpointName": "a"',
        b'{"EndpointName": "a"} trailing',
        b"{'EndpointName': 'a'}",
        b'{"EndpointName": "a\nb"}',
        b"null",
        b"[]",
        b'"text"',
        b"\x00",
        b"<xml/>",
        b'{"EndpointName": 1}',
        b'{"EndpointName": true}',
        b'{"EndpointName": {}}',
        b'{"EndpointName": []}',
        b'{"Tags": {}}',
        b'{"Tags": ["a"]}',
        b'{"DeploymentConfig": []}',
        b'{"DeploymentConfig": "x"}',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_json_body_that_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(AwsError) as caught:
        _json(body)
    assert (caught.value.code, caught.value.status) == ("SerializationException", 400)
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    ("member", "value", "text"),
    [
        ("EndpointName", 1, "NUMBER_VALUE can not be converted to a String (at 'EndpointName')"),
        ("EndpointName", False, "FALSE_VALUE can not be converted to a String (at 'EndpointName')"),
        ("EndpointName", {}, "Start of structure or map found where not expected (at 'EndpointName')"),
        ("Tags", [{"Key": ["a"]}], "Start of list found where not expected (at 'Tags.1.Key')"),
        ("Tags", "a", "STRING_VALUE can not be converted to a list (at 'Tags')"),
    ],
)
def test_the_text_says_what_was_found_and_where(member: str, value: Any, text: str) -> None:
    with pytest.raises(AwsError) as caught:
        _json(json.dumps({member: value}).encode())
    assert caught.value.message == text


@pytest.mark.parametrize(
    "value", ["2147483648", "1.5", '"1"', "true", "-2147483649", "1" + "0" * 100], ids=lambda v: v[:12]
)
def test_a_whole_number_has_32_bits(value: str) -> None:
    with pytest.raises(AwsError) as caught:
        _json(f'{{"MaxResults": {value}}}'.encode(), "ListModels")
    assert caught.value.code == "SerializationException"
    assert _json(b'{"MaxResults": 5.0}', "ListModels") == {"MaxResults": 5}


def test_nulls_and_unknown_members_are_left_out_and_an_empty_body_is_no_parameters() -> None:
    assert _json(b'{"EndpointName": null, "Unknown": [1], "Tags": [{"Key": null}]}') == {"Tags": [{}]}
    assert _json(b"") == {}


def test_a_compressed_body_is_refused_where_the_model_does_not_allow_it() -> None:
    body = gzip.compress(b'{"EndpointName": "a"}')
    for headers in ({}, {"content-encoding": "gzip"}):
        with pytest.raises(AwsError) as caught:
            _json(body, headers=headers)
        assert caught.value.code == "SerializationException"


@pytest.mark.parametrize(
    "body",
    [b"", b"not gzip", gzip.compress(b"{}")[:-6], gzip.compress(b" " * (parse.MAX_INFLATED_BYTES + 10))],
    ids=["nothing", "no gzip", "cut off", "bomb"],
)
def test_a_compressed_body_that_cannot_be_inflated_is_refused(body: bytes) -> None:
    service = models.service("cloudwatch")
    headers = {"x-amz-target": "GraniteServiceVersion20100801.PutMetricData", "content-encoding": "gzip"}
    request = WireRequest("POST", "/", "", headers, body)
    operation, protocol, labels = routes.operation_of(service, request)
    if not body:
        assert parse.request(operation, protocol, request, labels) == {}
        return
    with pytest.raises(AwsError) as caught:
        parse.request(operation, protocol, request, labels)
    assert caught.value.code == "SerializationException"


def _s3(body: bytes, target: str = "/b?tagging", headers: dict[str, str] | None = None) -> dict[str, Any]:
    path, _, query = target.partition("?")
    request = WireRequest("PUT", path, query, headers or {}, body)
    operation, protocol, labels = routes.operation_of(models.service("s3"), request)
    params = parse.request(operation, protocol, request, labels)
    validate.request(operation, params)
    return params


LAUGHS = b"""<!DOCTYPE t [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><Tagging><TagSet>&b;</TagSet></Tagging>"""
EXTERNAL = b'<!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/passwd">]><Tagging><TagSet>&x;</TagSet></Tagging>'


@pytest.mark.parametrize(
    "body",
    [
        LAUGHS,
        EXTERNAL,
        b'<!DOCTYPE t SYSTEM "http://localhost/x.dtd"><Tagging/>',
        b"<!DOCTYPE Tagging><Tagging><TagSet/></Tagging>",
        b"<Tagging a='" + b"x" * 10_000_000 + b"'><TagSet/></Tagging>",
        b"<Tagging " + b" ".join(b"a%d='1'" % n for n in range(100_000)) + b"/>",
        b"<Tagging><TagSet>" + b"<Tag>" * DEPTH + b"</Tag>" * DEPTH + b"</TagSet></Tagging>",
        b"<Tagging>",
        b"<Tagging></Other>",
        b"<Other><TagSet/></Other>",
        b"<Tagging><TagSet/></Tagging>x",
        b"<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>",
        b"<Tagging><TagSet/><TagSet/></Tagging>",
        b"<Tagging><TagSet/><Unknown/></Tagging>",
        b"<Tagging><TagSet><Label/></TagSet></Tagging>",
        b"<Tagging><TagSet><Tag><Key><b/></Key><Value/></Tag></TagSet></Tagging>",
        b"<Tagging><TagSet><Tag><Key>&nbsp;</Key><Value/></Tag></TagSet></Tagging>",
        b"\xff\xfe<\x00",
        b"<?xml version='1.0' encoding='no-such'?><Tagging/>",
        b"{}",
        b"\x00",
        gzip.compress(b"<Tagging><TagSet/></Tagging>", mtime=0),
    ],
    ids=lambda body: repr(body[:50]),
)
def test_an_xml_body_that_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(AwsError) as caught:
        _s3(body)
    assert (caught.value.code, caught.value.status) == ("MalformedXML", 400)


def test_an_xml_body_may_have_any_prefix_and_encoding() -> None:
    tags = {"TagSet": [{"Key": "ä", "Value": ""}]}
    plain = "<Tagging><TagSet><Tag><Key>ä</Key><Value/></Tag></TagSet></Tagging>"
    prefixed = (
        plain.replace("<", "<s:").replace("<s:/", "</s:").replace("<s:Tagging>", "<s:Tagging xmlns:s='x'>", 1)
    )
    declared = "<?xml version='1.0' encoding='ISO-8859-1'?>" + plain
    for body in (plain.encode(), prefixed.encode(), declared.encode("latin-1")):
        assert _s3(body)["Tagging"] == tags


@pytest.mark.parametrize(
    ("target", "headers", "name", "value"),
    [
        ("/b/k?partNumber=one&uploadId=u", {}, "partNumber", "one"),
        ("/b/k?partNumber=99999999999&uploadId=u", {}, "partNumber", "99999999999"),
        (
            "/b/k",
            {"x-amz-server-side-encryption-bucket-key-enabled": "yes"},
            "x-amz-server-side-encryption-bucket-key-enabled",
            "yes",
        ),
        (
            "/b/k",
            {"x-amz-object-lock-retain-until-date": "soon"},
            "x-amz-object-lock-retain-until-date",
            "soon",
        ),
    ],
)
def test_s3_names_the_argument_it_cannot_read(
    target: str, headers: dict[str, str], name: str, value: str
) -> None:
    with pytest.raises(AwsError) as caught:
        _s3(b"", target, headers)
    assert caught.value.code == "InvalidArgument"
    assert caught.value.members == {"ArgumentName": name, "ArgumentValue": value}


def test_a_streaming_body_is_passed_through_untouched() -> None:
    stream = object()
    for method, target in (("PUT", "/b/k"), ("PUT", "/b/k?partNumber=1&uploadId=u")):
        path, _, query = target.partition("?")
        request = WireRequest(method, path, query, {}, stream)
        operation, protocol, labels = routes.operation_of(models.service("s3"), request)
        assert parse.request(operation, protocol, request, labels)["Body"] is stream


def _iam(body: str) -> dict[str, Any]:
    service = models.service("iam")
    request = WireRequest(
        "POST", "/", "", {"content-type": "application/x-www-form-urlencoded"}, body.encode()
    )
    operation, protocol, labels = routes.operation_of(service, request)
    return parse.request(operation, protocol, request, labels)


ROLE = "Action=CreateRole&Version=2010-05-08&"


@pytest.mark.parametrize(
    "form",
    [
        "RoleName=a&RoleName=b",
        "RoleName.x=a",
        "RoleName=a&RoleName.x=b",
        "Tags=a",
        "Tags.member=a",
        "Tags.member.x.Key=a",
        "Tags.Key=a",
        "Tags.member.1=a",
        "Tags.member.99999999999.Key=a",
        "MaxSessionDuration=long",
        "MaxSessionDuration=99999999999",
        "MaxSessionDuration=",
        "." * 100_000 + "=a",
    ],
    ids=lambda form: form[:40],
)
def test_a_form_that_cannot_be_read_is_refused(form: str) -> None:
    with pytest.raises(AwsError) as caught:
        _iam(ROLE + form)
    assert (caught.value.code, caught.value.status) == ("SerializationException", 400)


@pytest.mark.parametrize(
    "form", ["RoleName=%f", "RoleName=%ff", "&".join(["a=1"] * 30_000)], ids=lambda f: f[:20]
)
def test_a_form_that_cannot_be_decoded_is_refused(form: str) -> None:
    with pytest.raises(AwsError) as caught:
        _iam(ROLE + form)
    assert (caught.value.code, caught.value.status) == ("MalformedQueryString", 400)


def test_elements_of_a_form_are_ordered_by_their_numbers() -> None:
    read = _iam(ROLE + "Tags.member.10.Key=c&Tags.member.2.Key=b&Tags.member.1.Key=a&Unknown.member.1=x")
    assert read == {"Tags": [{"Key": "a"}, {"Key": "b"}, {"Key": "c"}]}


def _cbor(body: bytes) -> dict[str, Any]:
    service = models.service("cloudwatch")
    path = "/service/GraniteServiceVersion20100801/operation/GetMetricStatistics"
    request = WireRequest("POST", path, "", {"smithy-protocol": "rpc-v2-cbor"}, body)
    operation, protocol, labels = routes.operation_of(service, request)
    return parse.request(operation, protocol, request, labels)


def _entry(value: bytes, name: str = "Namespace") -> bytes:
    return cbor.head(5, 1) + cbor.text(name) + value


@pytest.mark.parametrize(
    "body",
    [
        b"\x9f" * DEPTH,
        b"\x81" * DEPTH,
        b"\xc1" * DEPTH,
        b"\xa1",
        b"\xbf",
        b"\xff",
        b"\x80",
        b"\xf6",
        b"\x1c",
        b"\xf8\x20",
        b"\xa0\x00",
        b"\xa1\x01\x02",
        b"\xa2\x61a\x01\x61a\x02",
        b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
        _entry(b"\x61\xff"),
        _entry(b"\x7f\x41a\xff"),
        _entry(b"\x7f\x7f\x61a\xff\xff"),
        _entry(b"\xd8\x1c\x61a"),
        _entry(b"\x01"),
        _entry(b"\xf5"),
        _entry(b"\x41a"),
        _entry(b"\xc1\x61a", "StartTime"),
        _entry(b"\xc1\xf9\x7e\x00", "StartTime"),
        _entry(b"\xc1\x1b\xff\xff\xff\xff\xff\xff\xff\xff", "StartTime"),
        _entry(b"\x61a", "StartTime"),
        _entry(b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff", "Period"),
        _entry(b"\xfb" + b"\x3f\xf8" + b"\0" * 6, "Period"),
        _entry(b"\xa0", "Statistics"),
        b"{}",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_a_cbor_body_that_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(AwsError) as caught:
        _cbor(body)
    assert (caught.value.code, caught.value.status) == ("SerializationException", 400)


def _everything(service_name: str, request: WireRequest) -> None:
    """The way of a request up to its operation: only AwsError may come out."""
    service = models.service(service_name)
    try:
        services.detect(request, None)
        operation, protocol, labels = routes.operation_of(service, request)
        validate.request(operation, parse.request(operation, protocol, request, labels))
    except AwsError as error:
        assert error.code
        assert error.message


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["Tags", "Key", "EndpointName", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@FUZZ
@given(body=st.binary(max_size=300) | JSON_LIKE.map(lambda document: json.dumps(document).encode()))
@example(b'{"Tags": [null]}')
@example(b"1e400")
def test_no_json_body_does_harm(body: bytes) -> None:
    for target in ("SageMaker.CreateEndpoint", "SageMaker.CreateTrainingJob", "SageMaker.Search"):
        _everything("sagemaker", WireRequest("POST", "/", "", {"x-amz-target": target}, body))


@FUZZ
@given(body=st.binary(max_size=300) | st.text("<>/&;!?[]'\" =TagSetKeyValu", max_size=120).map(str.encode))
def test_no_xml_body_does_harm(body: bytes) -> None:
    for query in ("tagging", "cors", "lifecycle", "website", "acl", "policy"):
        _everything("s3", WireRequest("PUT", "/b", query, {}, body))


@FUZZ
@given(body=st.binary(max_size=300))
def test_no_cbor_body_does_harm(body: bytes) -> None:
    for name in ("PutMetricData", "GetMetricStatistics", "ListMetrics"):
        path = f"/service/GraniteServiceVersion20100801/operation/{name}"
        _everything("cloudwatch", WireRequest("POST", path, "", {"smithy-protocol": "rpc-v2-cbor"}, body))


@FUZZ
@given(form=st.binary(max_size=200) | st.text("Tagsmember.12=&%KeyRoleNm+", max_size=120).map(str.encode))
def test_no_form_does_harm(form: bytes) -> None:
    for service, start in (
        ("iam", b"Action=CreateRole&"),
        ("cloudwatch", b"Action=PutMetricData&"),
        ("sts", b""),
    ):
        _everything(service, WireRequest("POST", "/", "", {}, start + form))


@FUZZ
@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "X"]),
    path=st.text("/ab%2Ff.~é\x00", max_size=30),
    query=st.text("uploadIdlist-tp=&%2;+", max_size=40),
    header=st.text(max_size=30),
)
def test_no_target_or_header_does_harm(method: str, path: str, query: str, header: str) -> None:
    names = (
        "x-amz-copy-source",
        "x-amz-object-attributes",
        "if-modified-since",
        "x-amz-tagging",
        "range",
        "content-length",
    )
    headers = dict.fromkeys(names, header)
    for service in ("s3", "lambda", "apigateway", "sagemaker-runtime"):
        for start in ("/", "/b/", "/2015-03-31/functions/", "/restapis/"):
            _everything(service, WireRequest(method, start + path, query, headers, b""))


def test_numbers_that_json_does_not_have_are_text() -> None:
    service = models.service("cloudwatch")
    body = b'{"Namespace": "n", "MetricData": [{"MetricName": "m", "Value": "NaN"}, {"MetricName": "m", "Value": "-Infinity"}]}'
    headers = {"x-amz-target": "GraniteServiceVersion20100801.PutMetricData"}
    request = WireRequest("POST", "/", "", headers, body)
    operation, protocol, labels = routes.operation_of(service, request)
    values = [datum["Value"] for datum in parse.request(operation, protocol, request, labels)["MetricData"]]
    assert math.isnan(values[0])
    assert values[1] == -math.inf
