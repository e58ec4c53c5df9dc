"""Attacks on signatures and sessions: each is refused with the code of the called service, and has no effect."""

import base64
import hashlib
import re
import zlib
from typing import Any
from unittest import mock
from urllib.parse import quote

import pytest
import urllib3
from authz.test_chunked import signed_body
from botocore.config import Config
from front.wire_requests import CALLS, Signed, clock_off_by
from services.identities import make_role, make_user, unique

from stagedoor.authz import sigv4
from stagedoor.authz.chunked import Seed
from stagedoor.testing import Server

QUERY = ("sts", "iam")
JSON = ("sagemaker", "logs")
REST = ("lambda", "apigateway")
SERVICES = sorted(CALLS)
INVALID_SIGNATURE = (
    dict.fromkeys((*QUERY, "s3"), (403, "SignatureDoesNotMatch"))
    | dict.fromkeys(JSON, (400, "InvalidSignatureException"))
    | dict.fromkeys(REST, (403, "InvalidSignatureException"))
)
UNKNOWN_KEY = (
    dict.fromkeys(QUERY, (403, "InvalidClientTokenId"))
    | dict.fromkeys(JSON, (400, "UnrecognizedClientException"))
    | dict.fromkeys(REST, (403, "UnrecognizedClientException"))
    | {"s3": (403, "InvalidAccessKeyId")}
)
MISSING = (
    dict.fromkeys(QUERY, (403, "MissingAuthenticationToken"))
    | dict.fromkeys(JSON, (400, "MissingAuthenticationTokenException"))
    | dict.fromkeys(REST, (403, "MissingAuthenticationTokenException"))
    | {"s3": (403, "AccessDenied")}
)


def said(signed: Signed) -> tuple[int, str]:
    answer = signed.send()
    return answer.status, answer.code


@pytest.mark.parametrize("service", SERVICES)
class TestEveryService:
    def test_a_right_signature_is_accepted(self, stagedoor: Server, service: str) -> None:
        assert Signed(stagedoor, service).send().status == 200

    def test_a_wrong_secret(self, stagedoor: Server, service: str) -> None:
        keys = {"AccessKeyId": stagedoor.access_key_id, "SecretAccessKey": "wrong"}
        assert said(Signed(stagedoor, service, keys=keys)) == INVALID_SIGNATURE[service]

    def test_an_unknown_key(self, stagedoor: Server, service: str) -> None:
        keys = {"AccessKeyId": "AKIAUNKNOWNUNKNOWN00", "SecretAccessKey": "secret"}
        assert said(Signed(stagedoor, service, keys=keys)) == UNKNOWN_KEY[service]

    def test_no_signature(self, stagedoor: Server, service: str) -> None:
        signed = Signed(stagedoor, service)
        signed.headers = {
            name: value
            for name, value in signed.headers.items()
            if name not in {"Authorization", "X-Amz-Date", "X-Amz-Content-SHA256"}
        }
        assert said(signed) == MISSING[service]

    @pytest.mark.parametrize("minutes", [16, -16])
    def test_a_wrong_clock(self, stagedoor: Server, service: str, minutes: int) -> None:
        with clock_off_by(minutes * 60):
            answer = Signed(stagedoor, service).send()
        if service == "s3":
            assert (answer.status, answer.code) == (403, "RequestTimeTooSkewed")
            return
        assert (answer.status, answer.code) == INVALID_SIGNATURE[service]
        assert ("Signature expired" if minutes < 0 else "Signature not yet current") in answer.message

    @pytest.mark.parametrize("minutes", [14, -14])
    def test_a_clock_within_the_allowance(self, stagedoor: Server, service: str, minutes: int) -> None:
        with clock_off_by(minutes * 60):
            assert Signed(stagedoor, service).send().status == 200

    @pytest.mark.parametrize("part", ["method", "path", "query", "host", "header", "date", "signature"])
    def test_a_part_changed_after_signing(self, stagedoor: Server, service: str, part: str) -> None:
        signed = Signed(stagedoor, service, headers=CALLS[service]["headers"] | {"X-Amz-Meta-Extra": "one"})
        if part == "method":
            signed.method = "PUT" if signed.method == "POST" else "DELETE"
        elif part == "path":
            signed.path += "x"
        elif part == "query":
            signed.query = "added=1"
        elif part == "host":
            signed.headers["Host"] = "localhost"
        elif part == "header":
            signed.headers["X-Amz-Meta-Extra"] = "two"
        elif part == "date":
            date = signed.headers["X-Amz-Date"]
            signed.headers["X-Amz-Date"] = date[:-2] + ("1" if date[-2] != "1" else "2") + "Z"
        else:
            text = signed.headers["Authorization"]
            signed.headers["Authorization"] = text[:-1] + ("0" if text[-1] != "0" else "1")
        assert said(signed) == INVALID_SIGNATURE[service]

    def test_a_scope_of_another_service_date_or_terminator(self, stagedoor: Server, service: str) -> None:
        for old, new in ((r"/\d{8}/", "/20200101/"), ("/aws4_request", "/aws5_request")):
            signed = Signed(stagedoor, service)
            signed.headers["Authorization"] = re.sub(old, new, signed.headers["Authorization"])
            expected = (
                (400, "AuthorizationHeaderMalformed") if service == "s3" else INVALID_SIGNATURE[service]
            )
            assert said(signed) == expected

    def test_a_region_that_is_none(self, stagedoor: Server, service: str) -> None:
        expected = (400, "AuthorizationHeaderMalformed") if service == "s3" else INVALID_SIGNATURE[service]
        assert said(Signed(stagedoor, service, region="middle-earth")) == expected

    def test_every_region_of_aws_is_accepted(self, stagedoor: Server, service: str) -> None:
        for region in ("eu-central-1", "ap-southeast-4", "us-gov-west-1", "cn-north-1"):
            assert Signed(stagedoor, service, region=region).send().status == 200

    def test_replay_within_the_window_is_accepted_as_on_aws(self, stagedoor: Server, service: str) -> None:
        signed = Signed(stagedoor, service)
        assert [signed.send().status for _ in range(2)] == [200, 200]

    def test_a_session(self, stagedoor: Server, service: str) -> None:
        _, keys = make_user(stagedoor, {"Action": "sts:AssumeRole"})
        role = make_role(stagedoor, {"Action": "*"})
        sts = stagedoor.client("sts", credentials=keys)
        one, two = (
            sts.assume_role(RoleArn=role["Arn"], RoleSessionName=name)["Credentials"]
            for name in ("one", "two")
        )
        assert Signed(stagedoor, service, keys=one).send().status == 200
        invalid = (400, "InvalidToken") if service == "s3" else UNKNOWN_KEY[service]
        without = {name: value for name, value in one.items() if name != "SessionToken"}
        assert said(Signed(stagedoor, service, keys=without)) == UNKNOWN_KEY[service]
        assert said(Signed(stagedoor, service, keys={**one, "SessionToken": two["SessionToken"]})) == invalid
        assert said(Signed(stagedoor, service, keys={**one, "SessionToken": "forged"})) == invalid
        root = {"AccessKeyId": stagedoor.access_key_id, "SecretAccessKey": stagedoor.secret_access_key}
        assert said(Signed(stagedoor, service, keys={**root, "SessionToken": one["SessionToken"]})) == invalid

    @pytest.mark.parametrize(
        "authorization",
        ["", "Basic abc", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a", "AWS key:signature"],
    )
    def test_nonsense_is_refused(self, stagedoor: Server, service: str, authorization: str) -> None:
        signed = Signed(stagedoor, service)
        signed.headers["Authorization"] = authorization
        assert signed.send().status in {400, 403}

    def test_errors_show_no_secrets(self, stagedoor: Server, service: str) -> None:
        _, keys = make_user(stagedoor)
        signed = Signed(stagedoor, service, keys={**keys, "SessionToken": "token-of-mine"})
        signed.query = "added=1"
        body = signed.send().body.decode()
        signature = signed.headers["Authorization"].rpartition("=")[2]
        for secret in (keys["SecretAccessKey"], "token-of-mine", signature):
            assert secret not in body


@pytest.mark.parametrize("service", [name for name in SERVICES if CALLS[name]["body"]])
def test_a_body_changed_after_signing(stagedoor: Server, service: str) -> None:
    signed = Signed(stagedoor, service)
    signed.body = signed.body + b" "
    assert said(signed) == INVALID_SIGNATURE[service]


def test_a_scope_of_another_service_is_not_taken_for_this_one(stagedoor: Server) -> None:
    # The scope names the service that is called: a signature for one is never good for another.
    signed = Signed(stagedoor, "iam", scope_service="sts")
    answer = signed.send()
    assert answer.status >= 400
    assert "ListUsersResult" not in answer.body.decode()


class TestS3:
    @pytest.fixture
    def bucket(self, stagedoor: Server) -> str:
        name = unique("signed")
        stagedoor.client("s3").create_bucket(Bucket=name)
        return name

    def keys_of(self, stagedoor: Server, bucket: str) -> list[str]:
        found = stagedoor.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
        return [entry["Key"] for entry in found]

    def put(self, stagedoor: Server, bucket: str, key: str = "key", **more: Any) -> Signed:
        call = {"method": "PUT", "target": f"/{bucket}/{quote(key)}", "body": b"content"}
        return Signed(stagedoor, "s3", **{**call, **more})

    def test_a_changed_body_stores_nothing(self, stagedoor: Server, bucket: str) -> None:
        signed = self.put(stagedoor, bucket)
        signed.body = b"CONTENT"
        assert said(signed) == (400, "XAmzContentSHA256Mismatch")
        assert self.keys_of(stagedoor, bucket) == []

    def test_a_digest_changed_too(self, stagedoor: Server, bucket: str) -> None:
        signed = self.put(stagedoor, bucket)
        signed.body = b"CONTENT"
        signed.headers["X-Amz-Content-SHA256"] = hashlib.sha256(signed.body).hexdigest()
        assert said(signed) == (403, "SignatureDoesNotMatch")
        assert self.keys_of(stagedoor, bucket) == []

    def test_a_digest_that_is_none(self, stagedoor: Server, bucket: str) -> None:
        signed = self.put(stagedoor, bucket)
        signed.headers["X-Amz-Content-SHA256"] = "abc"
        assert said(signed) == (400, "InvalidArgument")
        del signed.headers["X-Amz-Content-SHA256"]
        assert said(signed) == (400, "InvalidRequest")

    def test_an_unsigned_amz_header(self, stagedoor: Server, bucket: str) -> None:
        signed = self.put(stagedoor, bucket)
        signed.headers["X-Amz-Acl"] = "public-read"
        answer = signed.send()
        assert (answer.status, answer.code) == (403, "AccessDenied")
        assert answer.message == "There were headers present in the request which were not signed"
        assert b"<HeadersNotSigned>x-amz-acl</HeadersNotSigned>" in answer.body
        assert self.keys_of(stagedoor, bucket) == []

    @pytest.mark.parametrize(
        "key", ["a//b", "a/../b", "a/./b", "%2e%2e", "a%2Fb", "+ ~*'()", "ü", " ", "a b+c"]
    )
    def test_literal_paths(self, stagedoor: Server, bucket: str, key: str) -> None:
        assert self.put(stagedoor, bucket, key).send().status == 200
        assert self.keys_of(stagedoor, bucket) == [key]

    def test_another_path_that_normalises_to_the_same(self, stagedoor: Server, bucket: str) -> None:
        signed = self.put(stagedoor, bucket, "a/../key")
        signed.path = f"/{bucket}/key"
        assert said(signed) == (403, "SignatureDoesNotMatch")

    class TestPresigned:
        def test_every_form_that_boto3_makes_works(self, stagedoor: Server) -> None:
            bucket = unique("presigned")
            stagedoor.client("s3").create_bucket(Bucket=bucket)
            _, keys = make_user(stagedoor, {"Action": "sts:AssumeRole"})
            role = make_role(stagedoor, {"Action": "s3:*"})
            session = stagedoor.client("sts", credentials=keys).assume_role(
                RoleArn=role["Arn"], RoleSessionName="session"
            )["Credentials"]
            for number, (version, credentials) in enumerate(
                (v, k) for v in (None, "s3v4") for k in (None, session)
            ):
                config = Config(signature_version=version) if version else Config()
                s3 = stagedoor.client("s3", credentials=credentials, config=config)
                place = {"Bucket": bucket, "Key": f"a b/{number}"}
                url = s3.generate_presigned_url("put_object", Params=place)
                assert ("X-Amz-Signature" in url) == (version is not None)
                assert urllib3.request("PUT", url, body=b"content").status == 200
                url = s3.generate_presigned_url("get_object", Params=place)
                assert urllib3.request("GET", url).data == b"content"
                listing = s3.generate_presigned_url(
                    "list_objects_v2", Params={"Bucket": bucket, "Prefix": "a b/"}
                )
                assert f"a%20b/{number}" in urllib3.request("GET", listing).data.decode()

        def presigned(self, stagedoor: Server, **changes: Any) -> Signed:
            return Signed(stagedoor, "s3", query_form=True, **changes)

        def test_expired(self, stagedoor: Server) -> None:
            with clock_off_by(-120):
                signed = self.presigned(stagedoor, expires_s=60)
            answer = signed.send()
            assert (answer.status, answer.code, answer.message) == (
                403,
                "AccessDenied",
                "Request has expired",
            )
            signed.query = signed.query.replace("X-Amz-Expires=60", "X-Amz-Expires=600")
            assert said(signed) == (403, "SignatureDoesNotMatch")

        def test_an_old_one_that_has_not_expired(self, stagedoor: Server) -> None:
            with clock_off_by(-86_000):
                assert self.presigned(stagedoor, expires_s=86_400).send().status == 200

        @pytest.mark.parametrize("expires_s", [604_801, -1, 0])
        def test_times_out_of_bounds(self, stagedoor: Server, expires_s: int) -> None:
            signed = self.presigned(stagedoor, expires_s=expires_s)
            assert said(signed) == (400, "AuthorizationQueryParametersError")

        def test_used_for_another_method(self, stagedoor: Server) -> None:
            signed = self.presigned(stagedoor, target="/bucket/key")
            signed.method = "PUT"
            assert said(signed) == (403, "SignatureDoesNotMatch")

        def test_signed_in_both_forms(self, stagedoor: Server) -> None:
            signed = self.presigned(stagedoor)
            signed.headers["Authorization"] = Signed(stagedoor, "s3").headers["Authorization"]
            assert said(signed) == (400, "InvalidArgument")

        def test_a_part_is_missing(self, stagedoor: Server) -> None:
            for name in (
                "X-Amz-Credential",
                "X-Amz-Date",
                "X-Amz-SignedHeaders",
                "X-Amz-Expires",
                "X-Amz-Signature",
            ):
                signed = self.presigned(stagedoor)
                signed.query = "&".join(pair for pair in signed.query.split("&") if not pair.startswith(name))
                assert said(signed) == (400, "AuthorizationQueryParametersError")

        def test_an_unknown_key_and_a_wrong_secret(self, stagedoor: Server) -> None:
            keys = {"AccessKeyId": "AKIAUNKNOWNUNKNOWN00", "SecretAccessKey": "secret"}
            assert said(self.presigned(stagedoor, keys=keys)) == (403, "InvalidAccessKeyId")
            keys["AccessKeyId"] = stagedoor.access_key_id
            assert said(self.presigned(stagedoor, keys=keys)) == (403, "SignatureDoesNotMatch")

    class TestChunked:
        def upload(self, stagedoor: Server, bucket: str, body: bytes, **headers: str) -> Signed:
            stated = {
                "Content-Encoding": "aws-chunked",
                "X-Amz-Decoded-Content-Length": "7",
                "X-Amz-Trailer": "x-amz-checksum-crc32",
                **headers,
            }
            # The signer would hash the body; the declared word is signed in its place, as clients do over https.
            with mock.patch(
                "botocore.auth.S3SigV4Auth.payload", lambda *_: "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
            ):
                signed = Signed(
                    stagedoor, "s3", method="PUT", target=f"/{bucket}/key", headers=stated, body=b""
                )
            signed.body = body
            return signed

        @pytest.fixture
        def bucket(self, stagedoor: Server) -> str:
            name = unique("chunked")
            stagedoor.client("s3").create_bucket(Bucket=name)
            return name

        def crc(self) -> bytes:
            value = base64.b64encode(zlib.crc32(b"content").to_bytes(4, "big"))
            return b"x-amz-checksum-crc32:" + value + b"\r\n\r\n"

        def test_an_unsigned_body_with_a_trailing_checksum(self, stagedoor: Server, bucket: str) -> None:
            body = b"3\r\ncon\r\n4\r\ntent\r\n0\r\n" + self.crc()
            assert self.upload(stagedoor, bucket, body).send().status == 200
            s3 = stagedoor.client("s3")
            found = s3.get_object(Bucket=bucket, Key="key")
            assert found["Body"].read() == b"content"
            assert found.get("ContentEncoding", "") == ""

        @pytest.mark.parametrize(
            ("body", "expected"),
            [
                (b"7\r\ncontent\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", (400, "BadDigest")),
                (b"7\r\ncontent\r\n0\r\n\r\n", (400, "MalformedTrailerError")),
                (b"6\r\nconten\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", (400, "IncompleteBody")),
                (b"7\r\ncontent\r\n", (400, "IncompleteBody")),
                (b"8\r\ncontent!\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", (400, "IncompleteBody")),
            ],
        )
        def test_a_wrong_one_stores_nothing(
            self, stagedoor: Server, bucket: str, body: bytes, expected: tuple[int, str]
        ) -> None:
            assert said(self.upload(stagedoor, bucket, body)) == expected
            assert stagedoor.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 0

        @pytest.mark.parametrize("with_trailer", [False, True])
        def test_signed_chunks(self, stagedoor: Server, bucket: str, with_trailer: bool) -> None:
            word = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if with_trailer else "")
            stated = {"Content-Encoding": "aws-chunked", "X-Amz-Decoded-Content-Length": "7"}
            trailers = None
            if with_trailer:
                stated["X-Amz-Trailer"] = "x-amz-checksum-crc32"
                value = base64.b64encode(zlib.crc32(b"content").to_bytes(4, "big")).decode()
                trailers = {"x-amz-checksum-crc32": value}
            with mock.patch("botocore.auth.S3SigV4Auth.payload", lambda *_: word):
                signed = Signed(
                    stagedoor, "s3", method="PUT", target=f"/{bucket}/key", headers=stated, body=b""
                )
            parsed = sigv4.parse({name.lower(): value for name, value in signed.headers.items()}, "")
            key = sigv4.signing_key(stagedoor.secret_access_key, parsed.scope)
            seed = Seed(parsed.signature, key, parsed.amz_date, parsed.scope)
            good = signed_body([b"con", b"tent"], trailers, seed)
            signed.body = good.replace(b"tent", b"TENT")
            assert said(signed) == (403, "SignatureDoesNotMatch")
            assert stagedoor.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 0
            signed.body = good
            assert signed.send().status == 200
            assert stagedoor.client("s3").get_object(Bucket=bucket, Key="key")["Body"].read() == b"content"
