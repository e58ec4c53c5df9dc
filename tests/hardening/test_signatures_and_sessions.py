"""Attack cases 1 to 15: signatures and sessions. Each is refused with the code of the called service, and has no effect.

Every service's answers to every part that can be wrong are in ``front.test_signatures``; the data path's in
``journeys.test_closed_door``.
"""

import ast
import hashlib
import inspect
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from authz.test_chunked import signed_body
from botocore.exceptions import ClientError
from front.test_signatures import INVALID_SIGNATURE, MISSING, SERVICES, UNKNOWN_KEY
from front.wire_requests import CALLS, Signed, clock_off_by
from services.identities import make_role, make_user, unique

from stagedoor.authz import chunked, session_tokens, sigv4
from stagedoor.services import principals, signers
from stagedoor.testing import Server


def said(signed: Signed) -> tuple[int, str]:
    answer = signed.send()
    return answer.status, answer.code


def refused(call: Callable[..., Any], **arguments: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


@pytest.fixture
def bucket(stagedoor: Server) -> str:
    name = unique("attacked")
    stagedoor.client("s3").create_bucket(Bucket=name)
    return name


def put(stagedoor: Server, bucket: str, key: str = "key", **more: Any) -> Signed:
    call = {"method": "PUT", "target": f"/{bucket}/{quote(key)}", "body": b"content"}
    return Signed(stagedoor, "s3", **{**call, **more})


def keys_of(stagedoor: Server, bucket: str) -> list[str]:
    return [one["Key"] for one in stagedoor.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.mark.parametrize("service", SERVICES)
def test_case_01_a_wrong_secret(stagedoor: Server, service: str) -> None:
    keys = {"AccessKeyId": stagedoor.access_key_id, "SecretAccessKey": stagedoor.secret_access_key[:-1] + "!"}
    assert said(Signed(stagedoor, service, keys=keys)) == INVALID_SIGNATURE[service]
    assert Signed(stagedoor, service).send().status == 200


@pytest.mark.parametrize("service", SERVICES)
def test_case_02_an_unknown_key(stagedoor: Server, service: str) -> None:
    keys = {"AccessKeyId": "AKIANOBODYNOBODY0000", "SecretAccessKey": stagedoor.secret_access_key}
    assert said(Signed(stagedoor, service, keys=keys)) == UNKNOWN_KEY[service]


@pytest.mark.parametrize("service", SERVICES)
def test_case_03_no_signature(stagedoor: Server, service: str) -> None:
    signed = Signed(stagedoor, service)
    for name in ("Authorization", "X-Amz-Date", "X-Amz-Content-SHA256"):
        signed.headers.pop(name, None)
    assert said(signed) == MISSING[service]


def test_case_03_a_private_object_without_a_signature(stagedoor: Server, bucket: str) -> None:
    stagedoor.client("s3").put_object(Bucket=bucket, Key="key", Body=b"content")
    signed = Signed(stagedoor, "s3", target=f"/{bucket}/key")
    signed.headers = {"Host": signed.headers.get("Host", "localhost")}
    assert said(signed) == (403, "AccessDenied")


@pytest.mark.parametrize("minutes", [16, -16])
@pytest.mark.parametrize("service", SERVICES)
def test_case_04_a_clock_sixteen_minutes_off(stagedoor: Server, service: str, minutes: int) -> None:
    with clock_off_by(minutes * 60):
        answer = Signed(stagedoor, service).send()
    if service == "s3":
        assert (answer.status, answer.code) == (403, "RequestTimeTooSkewed")
    else:
        assert (answer.status, answer.code) == INVALID_SIGNATURE[service]
        assert ("Signature expired" if minutes < 0 else "not yet current") in answer.message


@pytest.mark.parametrize("service", [name for name in SERVICES if CALLS[name]["body"]])
def test_case_05_a_body_changed_after_signing(stagedoor: Server, service: str) -> None:
    signed = Signed(stagedoor, service)
    signed.body = signed.body[:-1] + b" "
    assert said(signed) == INVALID_SIGNATURE[service]


def test_case_05_a_streamed_body_changed_after_signing_stores_nothing(stagedoor: Server, bucket: str) -> None:
    body = b"x" * 3_000_000
    signed = put(stagedoor, bucket, body=body)
    signed.body = body[:-1] + b"y"
    assert said(signed) == (400, "XAmzContentSHA256Mismatch")
    signed.headers["X-Amz-Content-SHA256"] = hashlib.sha256(signed.body).hexdigest()
    assert said(signed) == (403, "SignatureDoesNotMatch")
    assert keys_of(stagedoor, bucket) == []


@pytest.mark.parametrize("part", ["method", "path", "query", "header", "host"])
@pytest.mark.parametrize("service", SERVICES)
def test_case_06_each_part_changed_alone(stagedoor: Server, service: str, part: str) -> None:
    signed = Signed(stagedoor, service, headers=CALLS[service]["headers"] | {"X-Amz-Meta-Extra": "one"})
    if part == "method":
        signed.method = "PUT" if signed.method == "POST" else "DELETE"
    elif part == "path":
        signed.path += "x"
    elif part == "query":
        signed.query = "a=1"
    elif part == "header":
        signed.headers["X-Amz-Meta-Extra"] = "onf"
    else:
        signed.headers["Host"] = "example.com"
    assert said(signed) == INVALID_SIGNATURE[service]


@pytest.mark.parametrize(
    "key", ["a/../b", "a//b", "%2e%2e", "%252e", "a%2Fb", "a+b", "a b", "./a", "..", "?a=&a=1", "ü"]
)
def test_case_07_paths_that_look_alike_are_different_objects(
    stagedoor: Server, bucket: str, key: str
) -> None:
    assert put(stagedoor, bucket, key).send().status == 200
    assert keys_of(stagedoor, bucket) == [key]


def test_case_07_another_spelling_needs_a_signature_of_its_own(stagedoor: Server, bucket: str) -> None:
    for signed_key, sent in (("a/../key", "key"), ("key", "a/../key"), ("a%2Fb", "a/b"), ("a b", "a+b")):
        signed = put(stagedoor, bucket, signed_key)
        signed.path = f"/{bucket}/{sent}"
        assert said(signed)[0] == 403
    assert keys_of(stagedoor, bucket) == []


@pytest.mark.parametrize("query", ["a", "a=", "a=&a=", "a=1&a=2", "b=1&a=2", "a=%20", "a=+", "a=%2B"])
def test_case_07_queries_are_accepted_in_the_form_that_was_signed(stagedoor: Server, query: str) -> None:
    signed = Signed(stagedoor, "lambda", target=f"/2015-03-31/functions/?{query}")
    assert signed.send().status == 200
    signed.query += "&c=3"
    assert said(signed) == INVALID_SIGNATURE["lambda"]


def test_case_08_an_unsigned_amz_header(stagedoor: Server, bucket: str) -> None:
    signed = put(stagedoor, bucket)
    signed.headers["X-Amz-Acl"] = "public-read"
    answer = signed.send()
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert answer.message == "There were headers present in the request which were not signed"
    assert keys_of(stagedoor, bucket) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"/\d{8}/", "/20200101/"),
        (r"/us-east-1/", "/middle-earth/"),
        (r"/aws4_request", "/aws5_request"),
    ],
)
@pytest.mark.parametrize("service", SERVICES)
def test_case_09_a_scope_of_another_date_region_or_end(
    stagedoor: Server, service: str, old: str, new: str
) -> None:
    signed = Signed(stagedoor, service)
    signed.headers["Authorization"] = re.sub(old, new, signed.headers["Authorization"])
    expected = (400, "AuthorizationHeaderMalformed") if service == "s3" else INVALID_SIGNATURE[service]
    assert said(signed) == expected


def test_case_09_a_signature_for_one_service_is_none_for_another(stagedoor: Server) -> None:
    answer = Signed(stagedoor, "iam", scope_service="sts").send()
    assert answer.status >= 400
    assert b"ListUsersResult" not in answer.body


class TestCase10PresignedUrls:
    def presigned(self, stagedoor: Server, **changes: Any) -> Signed:
        return Signed(stagedoor, "s3", query_form=True, **changes)

    def test_case_10_expired_and_extended(self, stagedoor: Server) -> None:
        with clock_off_by(-120):
            signed = self.presigned(stagedoor, expires_s=60)
        assert said(signed) == (403, "AccessDenied")
        signed.query = signed.query.replace("X-Amz-Expires=60", "X-Amz-Expires=6000")
        assert said(signed) == (403, "SignatureDoesNotMatch")

    def test_case_10_longer_than_a_week(self, stagedoor: Server) -> None:
        signed = self.presigned(stagedoor, expires_s=604_801)
        assert said(signed) == (400, "AuthorizationQueryParametersError")

    def test_case_10_a_get_used_to_put(self, stagedoor: Server, bucket: str) -> None:
        signed = self.presigned(stagedoor, target=f"/{bucket}/key")
        signed.method, signed.body = "PUT", b"content"
        assert said(signed) == (403, "SignatureDoesNotMatch")
        assert keys_of(stagedoor, bucket) == []

    def test_case_10_a_signature_in_the_query_and_in_a_header(self, stagedoor: Server) -> None:
        signed = self.presigned(stagedoor)
        signed.headers["Authorization"] = Signed(stagedoor, "s3").headers["Authorization"]
        assert said(signed) == (400, "InvalidArgument")


class TestCase11ChunkedUploads:
    def upload(self, stagedoor: Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Signed, bytes]:
        word = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
        monkeypatch.setattr("botocore.auth.S3SigV4Auth.payload", lambda *_: word)
        stated = {"Content-Encoding": "aws-chunked", "X-Amz-Decoded-Content-Length": "7"}
        signed = put(stagedoor, bucket, headers=stated, body=b"")
        parsed = sigv4.parse({name.lower(): value for name, value in signed.headers.items()}, "")
        key = sigv4.signing_key(stagedoor.secret_access_key, parsed.scope)
        seed = chunked.Seed(parsed.signature, key, parsed.amz_date, parsed.scope)
        return signed, signed_body([b"con", b"tent"], None, seed)

    def test_case_11_one_chunk_changed_or_its_length(
        self, stagedoor: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stagedoor.client("s3").put_object(Bucket=bucket, Key="key", Body=b"before")
        signed, good = self.upload(stagedoor, bucket, monkeypatch)
        signed.body = good.replace(b"tent", b"TENT")
        assert said(signed) == (403, "SignatureDoesNotMatch")
        signed.body = good.replace(b"4;", b"3;").replace(b"tent", b"ten")
        assert signed.send().status in {400, 403}
        assert stagedoor.client("s3").get_object(Bucket=bucket, Key="key")["Body"].read() == b"before"
        signed.body = good
        assert signed.send().status == 200

    def test_case_11_a_wrong_trailing_checksum(
        self, stagedoor: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        word = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
        monkeypatch.setattr("botocore.auth.S3SigV4Auth.payload", lambda *_: word)
        stated = {
            "Content-Encoding": "aws-chunked",
            "X-Amz-Decoded-Content-Length": "7",
            "X-Amz-Trailer": "x-amz-checksum-crc32",
        }
        signed = put(stagedoor, bucket, headers=stated, body=b"")
        signed.body = b"7\r\ncontent\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
        assert said(signed) == (400, "BadDigest")
        signed.body = b"6\r\nconten\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
        assert said(signed)[0] == 400
        assert keys_of(stagedoor, bucket) == []


@pytest.mark.parametrize("service", SERVICES)
def test_case_12_a_session_token_missing_or_of_another_session(stagedoor: Server, service: str) -> None:
    _, keys = make_user(stagedoor, {"Action": "sts:AssumeRole"})
    role = make_role(stagedoor, {"Action": "*"})
    sts = stagedoor.client("sts", credentials=keys)
    one, two = (
        sts.assume_role(RoleArn=role["Arn"], RoleSessionName=name)["Credentials"] for name in ("one", "two")
    )
    assert Signed(stagedoor, service, keys=one).send().status == 200
    without = {name: value for name, value in one.items() if name != "SessionToken"}
    assert said(Signed(stagedoor, service, keys=without)) == UNKNOWN_KEY[service]
    invalid = (400, "InvalidToken") if service == "s3" else UNKNOWN_KEY[service]
    for token in (two["SessionToken"], one["SessionToken"][:-4] + "AAAA", "x" * 20_000):
        assert said(Signed(stagedoor, service, keys={**one, "SessionToken": token})) == invalid


def test_case_12_a_session_that_expired(stagedoor: Server) -> None:
    claims = session_tokens.SessionClaims(
        "root", "0" * 12, "arn", "0" * 12, "0" * 12, int(time.time()) - 20, int(time.time()) - 10
    )
    tokens = session_tokens.SessionTokens(bytes(32))
    issued = tokens.issue(claims)
    with pytest.raises(sigv4.SignatureError) as caught:
        tokens.open(issued.session_token, issued.access_key_id, time.time())
    assert caught.value.reason is sigv4.Reason.TOKEN_EXPIRED


@pytest.mark.parametrize("service", SERVICES)
def test_case_13_a_replay_within_the_window_is_accepted_as_on_aws(stagedoor: Server, service: str) -> None:
    """AWS accepts it too: what protects against it is TLS."""
    signed = Signed(stagedoor, service)
    assert [signed.send().status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("end", ["inactive", "deleted", "user deleted"])
@pytest.mark.parametrize("service", SERVICES)
def test_case_14_a_key_is_refused_on_the_very_next_request(stagedoor: Server, service: str, end: str) -> None:
    iam = stagedoor.client("iam")
    name, keys = make_user(stagedoor, {"Action": "*"})
    signed = Signed(stagedoor, service, keys=keys)
    assert signed.send().status == 200
    if end == "inactive":
        iam.update_access_key(UserName=name, AccessKeyId=keys["AccessKeyId"], Status="Inactive")
    else:
        iam.delete_access_key(UserName=name, AccessKeyId=keys["AccessKeyId"])
    if end == "user deleted":
        iam.delete_user_policy(UserName=name, PolicyName="own")
        iam.delete_user(UserName=name)
    assert said(signed) == UNKNOWN_KEY[service]
    if end == "inactive":
        iam.update_access_key(UserName=name, AccessKeyId=keys["AccessKeyId"], Status="Active")
        assert signed.send().status == 200


def whole_names(node: ast.AST) -> list[str]:
    """What an expression names: of ``signature.scope.date`` only ``date``."""
    if isinstance(node, ast.Attribute):
        return [node.attr]
    if isinstance(node, ast.Name):
        return [node.id]
    return [name for child in ast.iter_child_nodes(node) for name in whole_names(child)]


def test_case_15_signatures_are_compared_in_constant_time() -> None:
    """Nothing that is secret or made of a secret is compared with ``==``; an unknown key is refused after the comparison."""
    suspicious = {"signature", "expected", "secret", "tag", "digest"}
    for module in (sigv4, session_tokens, chunked):
        tree = ast.parse(inspect.getsource(module))
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                named = {name for side in (node.left, *node.comparators) for name in whole_names(side)}
                assert not named & suspicious, f"{module.__name__}:{node.lineno}"
    assert "compare_digest" in inspect.getsource(sigv4)
    assert "UNKNOWN_SECRET" in inspect.getsource(signers)
    assert len(principals.UNKNOWN_SECRET) >= 40
