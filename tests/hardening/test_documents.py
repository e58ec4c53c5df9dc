"""Case 38: documents made to break their reader are refused in the words of the service, and nothing is fetched."""

import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from front.wire_requests import Signed
from services.identities import unique

from stagedoor.testing import Server

DEEP = b"[" * 100_000 + b"]" * 100_000
JSON = {
    "100,000 levels": b'{"ModelName": ' + DEEP + b"}",
    "100,000 levels where nobody looks": b'{"Nobody": ' + DEEP + b"}",
    "100,000 levels of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a number of a million digits": b'{"MaxResults": ' + b"9" * 1_000_000 + b"}",
    "NaN": b'{"MaxResults": NaN}',
    "Infinity": b'{"MaxResults": -Infinity}',
    "an exponent beyond measure": b'{"MaxResults": 1e99999}',
    "a lone surrogate": b'{"NameContains": "\\ud800"}',
    "a lone surrogate as UTF-8": b'{"NameContains": "\xed\xa0\x80"}',
    "the same member twice": b'{"NameContains": "a", "NameContains": "b"}',
    "not UTF-8": b'{"NameContains": "\xff"}',
    "not JSON": b"hello",
    "half": b'{"NameContains": "a',
    "a list": b"[1, 2]",
}
XML_HEAD = b'<?xml version="1.0"?>'
ENTITIES = b"".join(b'<!ENTITY e%d "%b">' % (n, b"&e%d;" % (n - 1) * 10 if n else b"lol") for n in range(12))


@pytest.mark.parametrize("name", JSON)
def test_case_38_json_that_cannot_be_read_is_a_serialization_exception(stagedoor: Server, name: str) -> None:
    begun_s = time.monotonic()
    answer = Signed(stagedoor, "sagemaker", body=JSON[name]).send()
    assert (answer.status, answer.code) == (400, "SerializationException"), answer
    assert time.monotonic() - begun_s < 5


@pytest.mark.parametrize(
    "name", ["100,000 levels", "NaN", "a lone surrogate", "the same member twice", "half"]
)
def test_case_38_json_of_rest_services_as_well(stagedoor: Server, name: str) -> None:
    target = "/2015-03-31/functions/any/configuration"
    body = JSON[name].replace(b"MaxResults", b"Timeout")
    answer = Signed(stagedoor, "lambda", method="PUT", target=target, body=body).send()
    assert (answer.status, answer.code) == (400, "SerializationException"), answer


def test_case_38_a_zipped_body_is_not_unzipped(stagedoor: Server) -> None:
    bomb = zlib.compress(b'{"NameContains": "' + b"a" * 50_000_000 + b'"}', wbits=31)
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": "SageMaker.ListModels",
        "Content-Encoding": "gzip",
    }
    answer = Signed(stagedoor, "sagemaker", headers=headers, body=bomb).send()
    assert (answer.status, answer.code) == (400, "SerializationException")


class TestXml:
    def said(self, server: Server, body: bytes) -> tuple[int, str]:
        bucket = unique("xml")
        server.client("s3").create_bucket(Bucket=bucket)
        answer = Signed(
            server,
            "s3",
            method="PUT",
            target=f"/{bucket}?tagging",
            headers={"Content-Type": "application/xml"},
            body=body,
        ).send()
        assert server.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 0
        return answer.status, answer.code

    @pytest.mark.parametrize(
        "body",
        [
            XML_HEAD + b"<!DOCTYPE x [" + ENTITIES + b"]><Tagging><TagSet>&e11;</TagSet></Tagging>",
            XML_HEAD + b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><Tagging>&e;</Tagging>',
            XML_HEAD + b"<Tagging " + b" ".join(b'a%d="x"' % n for n in range(700_000)) + b"/>",
            XML_HEAD + b'<Tagging a="' + b"x" * 10_000_000 + b'"/>',
            b"<a>" * 100_000 + b"</a>" * 100_000,
            b"<Tagging><TagSet>",
            b"\xff\xfe<",
            b"hello",
        ],
        ids=["entity bomb", "file entity", "attributes", "a long one", "depth", "half", "encoding", "no XML"],
    )
    def test_case_38_xml_that_cannot_be_read_is_malformed(self, stagedoor: Server, body: bytes) -> None:
        begun_s = time.monotonic()
        assert self.said(stagedoor, body) == (400, "MalformedXML")
        assert time.monotonic() - begun_s < 5

    def test_case_38_external_entities_are_not_fetched(self, stagedoor: Server) -> None:
        asked: list[str] = []

        class Listener(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_error(404)

        server = HTTPServer(("127.0.0.1", 0), Listener)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}".encode()
        for kind in (
            b'<!ENTITY e SYSTEM "%b/entity">' % url,
            b'<!ENTITY %% e SYSTEM "%b/parameter"> %%e;' % url,
        ):
            body = XML_HEAD + b"<!DOCTYPE x [" + kind + b"]><Tagging>&e;</Tagging>"
            assert self.said(stagedoor, body) == (400, "MalformedXML")
        dtd = XML_HEAD + b'<!DOCTYPE x SYSTEM "%b/dtd"><Tagging/>' % url
        assert self.said(stagedoor, dtd) == (400, "MalformedXML")
        server.shutdown()
        assert asked == []


@pytest.mark.parametrize("name", ["100,000 levels", "a number of a million digits", "a lone surrogate"])
def test_case_38_payloads_of_functions_are_checked_too(stagedoor: Server, name: str) -> None:
    target = "/2015-03-31/functions/nobody/invocations"
    answer = Signed(stagedoor, "lambda", method="POST", target=target, body=JSON[name]).send()
    assert answer.status in (400, 404)
    assert answer.code in ("InvalidRequestContentException", "ResourceNotFoundException")


@pytest.mark.parametrize("name", ["NaN", "the same member twice", "half", "60,000 levels"])
def test_case_38_policies_are_malformed(stagedoor: Server, name: str) -> None:
    iam = stagedoor.client("iam")
    deep = '{"Version": "2012-10-17", "Statement": ' + "[" * 60_000 + "]" * 60_000 + "}"
    with pytest.raises(iam.exceptions.MalformedPolicyDocumentException):
        iam.create_policy(
            PolicyName=unique("policy"), PolicyDocument=JSON[name].decode() if name in JSON else deep
        )
