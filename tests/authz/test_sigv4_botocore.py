"""Whatever botocore's own signers sign is accepted as it stands, and refused after any single change."""

import datetime as dt
import hashlib
from collections.abc import Iterator
from unittest import mock
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import assume, given
from hypothesis import strategies as st

from stagedoor.authz import sigv2, sigv4
from stagedoor.authz.sigv4 import Reason

NOW = 1_700_000_000.0
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
HOST = "127.0.0.1:4566"

segments = st.text(max_size=12).map(lambda text: quote(text, safe="-_.~"))
dots = st.sampled_from([".", "..", "", "%2e%2e", "%252e", "a%2Fb", "a+b", "a(b)", "a;b", "a%20b"])
paths = st.lists(segments | dots, max_size=5).map(lambda parts: "/" + "/".join(parts))
names = st.text("abcXYZ-_.~%+é ", max_size=6)
pairs = st.tuples(names, names).map(lambda pair: f"{quote(pair[0], safe='+')}={quote(pair[1], safe='+')}")
queries = st.lists(pairs | st.sampled_from(["flag", "a=", "a=1", "a=1", "a=b=c"]), max_size=4).map("&".join)
values = st.text("abc ,;=\t", min_size=1, max_size=12).map(str.strip).filter(bool)
header_names = st.sampled_from(["X-Amz-Meta-One", "X-Amz-Target", "Content-Type", "X-Amz-Acl", "Range"])


class Wire:
    """A signed request as a server gets it."""

    def __init__(self, request: AWSRequest) -> None:
        parts = urlsplit(request.url)
        self.method = request.method
        self.path = parts.path or "/"
        self.query = parts.query
        self.headers: dict[str, str] = {}
        for name, value in request.headers.items():
            text = value.decode() if isinstance(value, bytes) else str(value)
            lower = name.lower()
            self.headers[lower] = f"{self.headers[lower]},{text}" if lower in self.headers else text
        self.headers.setdefault("host", HOST)
        self.body = request.data or b""

    def verify(self, *, s3: bool, now: float = NOW, secret: str = SECRET) -> sigv4.Signature:
        signature = sigv4.parse(self.headers, self.query)
        payload_hash = hashlib.sha256(self.body).hexdigest()
        if s3:
            payload_hash = signature.payload_hash or sigv4.UNSIGNED_PAYLOAD
        sigv4.check_time(signature, now, 900)
        sigv4.verify(
            signature,
            secret,
            method=self.method,
            path=self.path,
            query=self.query,
            headers=self.headers,
            payload_hash=payload_hash,
            literal_path=s3,
        )
        return signature


@pytest.fixture(autouse=True, scope="module")
def clock() -> Iterator[None]:
    moment = dt.datetime.fromtimestamp(NOW, dt.UTC)
    with mock.patch(
        "botocore.auth.get_current_datetime", lambda remove_tzinfo=True: moment.replace(tzinfo=None)
    ):
        yield


def signed(
    signer: type,
    *,
    method: str = "GET",
    path: str = "/",
    query: str = "",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    token: str | None = None,
    service: str = "sagemaker",
    **options: object,
) -> Wire:
    url = f"http://{HOST}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method, url, headers=dict(headers or {}), data=body)
    request.context["client_config"] = None
    signer(Credentials("AKIDEXAMPLE", SECRET, token), service, "us-east-1", **options).add_auth(request)
    return Wire(request)


def reason(wire: Wire, *, s3: bool = False, **options: object) -> Reason:
    with pytest.raises(sigv4.SignatureError) as caught:
        wire.verify(s3=s3, **options)
    return caught.value.reason


requests = {
    "method": st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"]),
    "path": paths,
    "query": queries,
    "headers": st.dictionaries(header_names, values, max_size=3),
    "token": st.none() | st.text("abcDEF+/=", min_size=4, max_size=20),
}


@given(**requests, body=st.binary(max_size=64))
def test_header_signatures_of_other_services(body: bytes, **parts: object) -> None:
    wire = signed(SigV4Auth, body=body, **parts)
    signature = wire.verify(s3=False)
    assert signature.session_token == parts["token"]
    wire.body += b"x"
    assert reason(wire) is Reason.MISMATCH


@given(**requests, body=st.binary(max_size=64))
def test_header_signatures_of_s3(body: bytes, **parts: object) -> None:
    wire = signed(S3SigV4Auth, body=body, service="s3", **parts)
    signature = wire.verify(s3=True)
    assert signature.payload_hash == hashlib.sha256(body).hexdigest()
    for change in ("x-amz-content-sha256", "host", "x-amz-date"):
        kept = wire.headers[change]
        wire.headers[change] = kept[:-1] + ("0" if kept[-1] != "0" else "1")
        with pytest.raises(sigv4.SignatureError):
            wire.verify(s3=True)
        wire.headers[change] = kept
    wire.headers["x-amz-added"] = "1"
    assert reason(wire, s3=True) is Reason.UNSIGNED_HEADER


@given(**requests)
def test_query_signatures_of_s3(**parts: object) -> None:
    assume("%25" not in str(parts["query"]))  # the signer itself decodes and encodes a query it is given
    headers = parts.pop("headers")
    wire = signed(S3SigV4QueryAuth, service="s3", **parts, headers=headers, expires=60)
    signature = wire.verify(s3=True)
    assert (signature.presigned, signature.expires_s) == (True, 60)
    assert wire.verify(s3=True, now=NOW + 60)
    assert reason(wire, s3=True, now=NOW + 61) is Reason.EXPIRED
    wire.query = wire.query.replace("X-Amz-Expires=60", "X-Amz-Expires=600")
    assert reason(wire, s3=True) is Reason.MISMATCH


@given(**requests)
def test_query_signatures_of_other_services(**parts: object) -> None:
    parts["method"] = "GET"
    wire = signed(SigV4QueryAuth, service="sts", **parts, expires=60)
    wire.verify(s3=False)
    wire.method = "POST"
    assert reason(wire) is Reason.MISMATCH


@given(path=paths, other=paths)
def test_a_path_is_accepted_only_with_the_signature_of_its_literal_form(path: str, other: str) -> None:
    wire = signed(S3SigV4Auth, path=path, service="s3")
    assume(quote(path, safe="/%-_.~") != quote(other, safe="/%-_.~"))
    wire.path = other
    assert reason(wire, s3=True) is Reason.MISMATCH


@pytest.mark.parametrize(
    ("signed_query", "sent_query"),
    [
        ("a=b+c", "a=b%20c"),
        ("a=b%20c", "a=b+c"),
        ("a=1&a=2", "a=1"),
        ("a=1&a=2", "a=1&a=2&a=2"),
        ("a=%2525", "a=%25"),
        ("a=b%26c=d", "a=b&c=d"),
        ("a=", "a=%00"),
        ("A=1", "a=1"),
    ],
)
def test_a_query_is_accepted_only_with_the_signature_of_its_literal_form(
    signed_query: str, sent_query: str
) -> None:
    for signer, s3 in ((S3SigV4Auth, True), (SigV4Auth, False)):
        wire = signed(signer, query=signed_query)
        wire.verify(s3=s3)
        wire.query = sent_query
        assert reason(wire, s3=s3) is Reason.MISMATCH


@pytest.mark.parametrize(
    ("signed_path", "sent_path"),
    [
        ("/a/../b", "/b"),
        ("/a//b", "/a/b"),
        ("/a/%2e%2e/b", "/a/../b"),
        ("/a%2Fb", "/a/b"),
        ("/a+b", "/a%20b"),
    ],
)
def test_s3_does_not_normalise_paths(signed_path: str, sent_path: str) -> None:
    wire = signed(S3SigV4Auth, path=signed_path, service="s3")
    wire.verify(s3=True)
    wire.path = sent_path
    assert reason(wire, s3=True) is Reason.MISMATCH


def test_a_path_that_a_strict_client_escapes_before_signing_is_accepted_unescaped() -> None:
    wire = signed(S3SigV4Auth, path="/a%28b%29", service="s3")
    wire.path = "/a(b)"
    wire.verify(s3=True)


class TestTime:
    def test_a_signature_holds_for_the_skew_in_both_directions(self) -> None:
        wire = signed(SigV4Auth)
        for off in (-900, 0, 900):
            wire.verify(s3=False, now=NOW + off)
        assert reason(wire, now=NOW + 901) is Reason.EXPIRED
        assert reason(wire, now=NOW - 901) is Reason.NOT_YET_CURRENT

    def test_a_date_header_stands_in_for_x_amz_date(self) -> None:
        wire = signed(SigV4Auth, headers={"Date": "now"})
        assert "x-amz-date" not in wire.headers
        wire.verify(s3=False)

    def test_a_scope_of_another_day_is_refused(self) -> None:
        wire = signed(SigV4Auth)
        wire.headers["authorization"] = wire.headers["authorization"].replace("/20231114/", "/20231113/")
        assert reason(wire) is Reason.SCOPE_DATE

    def test_the_text_names_both_moments(self) -> None:
        wire = signed(SigV4Auth)
        with pytest.raises(
            sigv4.SignatureError, match=r"20231114T221320Z is now earlier than 20231114T223320Z"
        ):
            wire.verify(s3=False, now=NOW + 2100)


class TestStatedBadly:
    @pytest.mark.parametrize(
        ("authorization", "expected"),
        [
            ("", Reason.UNSUPPORTED_ALGORITHM),
            ("AWS key:signature", Reason.UNSUPPORTED_ALGORITHM),
            ("Bearer abc", Reason.UNSUPPORTED_ALGORITHM),
            ("AWS4-HMAC-SHA256", Reason.MALFORMED),
            ("AWS4-HMAC-SHA256 Credential=a/20231114/r/s/aws4_request", Reason.MALFORMED),
            ("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=" + "0" * 64, Reason.MALFORMED),
            ("AWS4-HMAC-SHA256 Credential=a/20231114/r/s/x, SignedHeaders=host, Signature=" + "0" * 64, Reason.SCOPE_TERMINATOR),
            ("AWS4-HMAC-SHA256 Credential, SignedHeaders=host, Signature=" + "0" * 64, Reason.MALFORMED),
            ("AWS4-HMAC-SHA256 Credential=a/1/r/s/aws4_request, Credential=a/1/r/s/aws4_request, Signature=0", Reason.MALFORMED),
        ],
    )  # fmt: skip
    def test_header(self, authorization: str, expected: Reason) -> None:
        headers = {"authorization": authorization, "x-amz-date": "20231114T221320Z", "host": HOST}
        with pytest.raises(sigv4.SignatureError) as caught:
            sigv4.parse(headers, "")
        assert caught.value.reason is expected

    @pytest.mark.parametrize("stated", ["", "20231314T221320Z", "20231114", "tomorrow", "20231114T221320Zx"])
    def test_date(self, stated: str) -> None:
        wire = signed(SigV4Auth)
        wire.headers["x-amz-date"] = stated
        assert reason(wire) in {Reason.MALFORMED, Reason.SCOPE_DATE}

    @pytest.mark.parametrize(
        ("expires", "text"),
        [("0", "at least"), ("-1", "non-negative"), ("604801", "less than a week"), ("abc", "a number")],
    )
    def test_expires(self, expires: str, text: str) -> None:
        wire = signed(S3SigV4QueryAuth, service="s3", expires=expires)
        with pytest.raises(sigv4.SignatureError, match=text) as caught:
            wire.verify(s3=True)
        assert caught.value.reason is Reason.EXPIRES_INVALID

    def test_a_week_is_the_longest_time(self) -> None:
        signed(S3SigV4QueryAuth, service="s3", expires=604_800).verify(s3=True, now=NOW + 604_800)

    def test_header_and_query_together(self) -> None:
        wire = signed(S3SigV4QueryAuth, service="s3")
        wire.headers["authorization"] = signed(S3SigV4Auth, service="s3").headers["authorization"]
        assert reason(wire, s3=True) is Reason.TWO_FORMS

    def test_nothing(self) -> None:
        with pytest.raises(sigv4.SignatureError) as caught:
            sigv4.parse({"host": HOST}, "a=b")
        assert caught.value.reason is Reason.MISSING

    def test_a_repeated_query_parameter(self) -> None:
        wire = signed(S3SigV4QueryAuth, service="s3")
        wire.query += "&X-Amz-Expires=5"
        assert reason(wire, s3=True) is Reason.MALFORMED

    def test_host_must_be_signed(self) -> None:
        wire = signed(SigV4Auth)
        wire.headers["authorization"] = wire.headers["authorization"].replace("host;", "")
        assert reason(wire) is Reason.UNSIGNED_HEADER

    def test_an_unsigned_token_is_refused_by_s3_only(self) -> None:
        wire = signed(SigV4QueryAuth, service="sts", token=None)
        wire.query += "&X-Amz-Security-Token=abc"
        wire.verify(s3=False)
        wire = signed(S3SigV4QueryAuth, service="s3", token=None)
        wire.query += "&X-Amz-Security-Token=abc"
        assert reason(wire, s3=True) is Reason.MISMATCH


def test_parameters_in_another_order_are_read() -> None:
    wire = signed(SigV4Auth)
    algorithm, _, rest = wire.headers["authorization"].partition(" ")
    wire.headers["authorization"] = f"{algorithm} {','.join(reversed(rest.split(', ')))}"
    wire.verify(s3=False)


class TestOlderPresignedUrls:
    def presigned(self, **options: object) -> Wire:
        with mock.patch("time.time", lambda: NOW):
            request = AWSRequest(
                options.get("method", "GET"),
                f"http://{HOST}{options.get('path', '/bucket/key')}?{options.get('query', '')}".rstrip("?"),
                headers=options.get("headers", {}),
            )
            HmacV1QueryAuth(Credentials("AKID", SECRET, options.get("token")), expires=60).add_auth(request)
        return Wire(request)

    def verify(self, wire: Wire, now: float = NOW, bucket: str = "") -> sigv2.QuerySignature:
        signature = sigv2.parse(wire.query)
        headers = {name: value for name, value in wire.headers.items() if name != "date"}
        sigv2.verify(
            signature,
            SECRET,
            method=wire.method,
            path=wire.path,
            query=wire.query,
            headers=headers,
            now=now,
            host_bucket=bucket,
        )
        return signature

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"query": "versionId=a%2Fb&response-content-type=text%2Fplain"},
            {"method": "PUT", "headers": {"x-amz-meta-one": "1"}},
            {"token": "abc+/="},
            {"path": "/bucket/a%20b/%C3%A9"},
            {"query": "uploads"},
        ],
    )
    def test_accepted(self, options: dict[str, object]) -> None:
        signature = self.verify(self.presigned(**options))
        assert signature.session_token == options.get("token")

    def test_the_bucket_may_stand_in_the_host(self) -> None:
        wire = self.presigned()
        wire.path = "/key"
        self.verify(wire, bucket="bucket")

    @pytest.mark.parametrize(
        "change",
        [
            {"method": "PUT"},
            {"path": "/bucket/other"},
            {"query": "versionId=1"},
            {"query": "publicAccessBlock"},
            {"query": "x-amz-meta-two=1"},
        ],
    )
    def test_refused_after_a_change(self, change: dict[str, str]) -> None:
        wire = self.presigned()
        for name, value in change.items():
            setattr(wire, name, f"{wire.query}&{value}" if name == "query" else value)
        with pytest.raises(sigv4.SignatureError):
            self.verify(wire)

    def test_refused_after_its_time(self) -> None:
        wire = self.presigned()
        self.verify(wire, now=NOW + 60)
        with pytest.raises(sigv4.SignatureError, match="expired"):
            self.verify(wire, now=NOW + 61)
