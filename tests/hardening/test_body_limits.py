"""Cases 33 and 37: bodies beyond their limit are refused without being read, however they are announced."""

import contextlib
import http.client
import socket
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hardening.raw_http import alive, connect, read_answer

from stagedoor.testing import Server

INVOKE_ENDPOINT = ("sagemaker", "/endpoints/any/invocations", 6_291_456, "413", b"exceeded 6291456 bytes")
INVOKE = (
    "lambda",
    "/2015-03-31/functions/any/invocations",
    6_291_456,
    "RequestTooLargeException",
    b"6291456",
)
CREATE_FUNCTION = (
    "lambda",
    "/2015-03-31/functions",
    70_167_210,
    "RequestEntityTooLargeException",
    b"Request must be smaller than 70167211 bytes for the CreateFunction operation",
)
SIGNED = {"InvokeEndpoint": INVOKE_ENDPOINT, "Invoke": INVOKE, "CreateFunction": CREATE_FUNCTION}


def signed_head(server: Server, service: str, path: str, *extra: str) -> bytes:
    """The head of a POST that a known key has signed; what its body would be does not matter, for nobody reads it."""
    request = AWSRequest("POST", server.api + path, data=b"{}")
    SigV4Auth(Credentials(server.access_key_id, server.secret_access_key), service, server.region).add_auth(
        request
    )
    host = urlsplit(server.api).netloc
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}"]
    lines += [
        f"{name}: {value}" for name, value in request.headers.items() if name.lower() != "content-length"
    ]
    return "\r\n".join([*lines, *extra, "", ""]).encode()


def send_until_told(connection: socket.socket, head: bytes, piece: bytes) -> int:
    """Send pieces until the server has had enough; how many bytes it took."""
    connection.sendall(head)
    sent = 0
    connection.settimeout(0.2)
    with contextlib.suppress(TimeoutError, ConnectionError):
        while sent < 200_000_000:
            connection.sendall(piece)
            sent += len(piece)
    connection.settimeout(20)
    return sent


@pytest.mark.parametrize("operation", SIGNED)
@pytest.mark.parametrize("expect", [(), ("Expect: 100-continue",)], ids=["", "expect"])
def test_case_37_a_length_beyond_the_limit_is_413_before_a_byte_of_it_is_sent(
    stagedoor: Server, operation: str, expect: tuple[str, ...]
) -> None:
    service, path, limit_bytes, code, message = SIGNED[operation]
    with connect(stagedoor.api) as connection:
        connection.sendall(
            signed_head(stagedoor, service, path, f"Content-Length: {limit_bytes + 1}", *expect)
        )
        status, headers, body = read_answer(connection)
    assert (status, headers["x-amzn-errortype"].partition(":")[0]) == (413, code)
    assert headers["connection"] == "close"
    assert message in body


@pytest.mark.parametrize("operation", SIGNED)
def test_case_37_chunks_beyond_the_limit_are_413_and_the_rest_is_not_read(
    stagedoor: Server, operation: str
) -> None:
    service, path, limit_bytes, code, message = SIGNED[operation]
    piece = b"%x\r\n%b\r\n" % (1_000_000, bytes(1_000_000))
    with connect(stagedoor.api) as connection:
        sent = send_until_told(
            connection, signed_head(stagedoor, service, path, "Transfer-Encoding: chunked"), piece
        )
        status, headers, body = read_answer(connection)
    assert (status, headers["x-amzn-errortype"].partition(":")[0]) == (413, code)
    assert message in body
    assert sent < limit_bytes + 60_000_000, "the server went on reading"
    assert alive(stagedoor.api)


def test_case_33_a_zip_over_the_request_limit_is_413_for_an_unmodified_client(stagedoor: Server) -> None:
    functions = stagedoor.client("lambda")
    with pytest.raises(functions.exceptions.ClientError) as refused:
        functions.create_function(
            FunctionName="too-large",
            Runtime="python3.12",
            Role=f"arn:aws:iam::{stagedoor.account_id}:role/any",
            Handler="app.handler",
            Code={"ZipFile": bytes(52_700_000)},
        )
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert refused.value.response["Error"]["Code"] == "RequestEntityTooLargeException"
    assert alive(stagedoor.api)


def test_case_37_the_limit_itself_is_allowed(stagedoor: Server) -> None:
    runtime = stagedoor.client("sagemaker-runtime")
    for size, code in ((6_291_456, "ValidationError"), (6_291_457, "413")):
        with pytest.raises(runtime.exceptions.ClientError) as refused:
            runtime.invoke_endpoint(EndpointName="nobody", Body=bytes(size))
        assert refused.value.response["Error"]["Code"] == code
    functions = stagedoor.client("lambda")
    for size, code in ((6_291_456, "ResourceNotFoundException"), (6_291_457, "RequestTooLargeException")):
        with pytest.raises(functions.exceptions.ClientError) as refused:
            functions.invoke(FunctionName="nobody", Payload=b"1" * size)
        assert refused.value.response["Error"]["Code"] == code


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"], ids=["", "expect"])
@pytest.mark.parametrize("listener", ["api", "public"])
def test_case_37_public_apis_take_ten_megabytes(stagedoor: Server, listener: str, expect: bytes) -> None:
    url = getattr(stagedoor, listener)
    head = b"POST /prod/x HTTP/1.1\r\nHost: abcdefghij.execute-api.localhost\r\n" + expect
    with connect(url) as connection:
        connection.sendall(head + b"Content-Length: 10485761\r\n\r\n")
        status, _, body = read_answer(connection)
        assert (status, body) == (413, b'{"message":"Request Too Long"}')
    if not expect:
        with connect(url) as connection:
            piece = b"%x\r\n%b\r\n" % (1_000_000, bytes(1_000_000))
            sent = send_until_told(connection, head + b"Transfer-Encoding: chunked\r\n\r\n", piece)
            assert read_answer(connection)[0] == 413
        assert sent < 70_000_000, "the server went on reading"


def test_case_37_who_is_not_known_is_refused_before_the_body(stagedoor: Server) -> None:
    host = urlsplit(stagedoor.api).netloc
    connection = http.client.HTTPConnection(host, timeout=20)
    connection.putrequest("POST", "/2015-03-31/functions/any/invocations")
    connection.putheader("Content-Length", "6000000")
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 403
    connection.close()
