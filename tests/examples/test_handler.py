"""The function as it is deployed: its archive unpacked, its client speaking HTTP to an endpoint of the test's own."""

import importlib.util
import io
import json
import re
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

import function

VOCABULARY = ["good", "bad", "film"]


class Endpoint(ThreadingHTTPServer):
    """Answers InvokeEndpoint: each "good" adds 0.2 to a half, each "bad" takes 0.2 away."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.asked: list[tuple[str, dict[str, str], str]] = []
        self.refusal: tuple[int, str] | None = None


class _Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        endpoint = cast("Endpoint", self.server)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        endpoint.asked.append((self.path, dict(self.headers), body))
        if endpoint.refusal:
            status, code = endpoint.refusal
            self._send(
                status, {"x-amzn-ErrorType": code}, json.dumps({"Message": "account 123456789012: no"})
            )
            return
        answers: list[str] = []
        for row in body.split("\n"):
            counts = {int(cell.split(":")[0]): int(cell.split(":")[1]) for cell in row.split()[1:]}
            answers.append(str(0.5 + 0.2 * counts.get(0, 0) - 0.2 * counts.get(1, 0)))
        self._send(200, {"Content-Type": "text/csv"}, ",".join(answers))

    def _send(self, status: int, headers: dict[str, str], body: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def handler(endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{endpoint.server_port}",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "ENDPOINT_NAME": "reviews",
    }.items():
        monkeypatch.setenv(name, value)
    with zipfile.ZipFile(io.BytesIO(function.archive(json.dumps(VOCABULARY).encode()))) as archive:
        archive.extractall(tmp_path)
    spec = importlib.util.spec_from_file_location("deployed_handler", tmp_path / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "deployed_handler", module)
    spec.loader.exec_module(module)
    return module


def post(handler: ModuleType, body: object, **event: Any) -> tuple[int, dict[str, Any]]:
    text = body if isinstance(body, str) else json.dumps(body)
    answer = handler.handle({"body": text, "isBase64Encoded": False, **event}, None)
    assert answer["headers"]["Access-Control-Allow-Origin"] == "*"
    return answer["statusCode"], json.loads(answer["body"])


def test_a_review_is_judged_with_and_without_each_word_in_one_request(
    handler: ModuleType, endpoint: Endpoint
) -> None:
    status, answer = post(handler, {"review": "Good, good film. But a bad film."})
    assert status == 200
    assert answer["verdict"] == "positive"
    assert answer["probability"] == pytest.approx(0.7)
    assert [(word["word"], word["count"], round(word["without"], 6)) for word in answer["words"]] == [
        ("good", 2, 0.3),
        ("bad", 1, 0.9),
    ]
    assert answer["known_words"] == 3
    [(path, headers, body)] = endpoint.asked
    assert path == "/endpoints/reviews/invocations"
    assert headers["Content-Type"] == "text/libsvm"
    assert sorted(body.split("\n")) == ["0 0:2 1:1", "0 0:2 1:1 2:2", "0 0:2 2:2", "0 1:1 2:2"]
    assert body.startswith("0 0:2 1:1 2:2\n")


def test_a_long_review_stays_under_the_body_limit(
    handler: ModuleType, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary = [f"q{a}{b}{c}" for a in "bcdfghjk" for b in "aeiou" for c in "lmnprtvxz"]
    columns = {word: 4_000 + column for column, word in enumerate(vocabulary)}
    monkeypatch.setattr(handler, "COLUMNS", columns)
    status, answer = post(handler, {"review": " ".join(vocabulary)})
    assert (status, answer["known_words"]) == (200, len(vocabulary))
    [(_, _, body)] = endpoint.asked
    assert len(body.split("\n")) == 1 + handler.MAX_WORDS_LEFT_OUT
    assert len(body) < 6_291_456


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"review": "  "}, "EmptyReview"),
        ({"review": 7}, "EmptyReview"),
        ({}, "EmptyReview"),
        ([1], "EmptyReview"),
        ("good film", "BadRequest"),
        ("", "BadRequest"),
        ("[" * 100_000, "BadRequest"),
        ({"review": "xyzzy 12"}, "NoKnownWords"),
        ({"review": "x" * 50_001}, "ReviewTooLong"),
    ],
)
def test_what_cannot_be_judged_is_refused_and_never_reaches_the_endpoint(
    handler: ModuleType, endpoint: Endpoint, body: object, code: str
) -> None:
    status, answer = post(handler, body)
    assert (status, answer["code"]) == (400, code)
    assert answer["message"]
    assert endpoint.asked == []


def test_a_base64_body_is_decoded(handler: ModuleType) -> None:
    status, answer = post(handler, "eyJyZXZpZXciOiAiYmFkIGZpbG0ifQ==", isBase64Encoded=True)
    assert (status, answer["verdict"]) == (200, "negative")


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        ((400, "ValidationError"), (503, "EndpointNotRunning")),
        ((503, "ServiceUnavailable"), (503, "EndpointNotRunning")),
        ((403, "AccessDeniedException"), (500, "NotAllowed")),
        ((400, "ThrottlingException"), (503, "TooBusy")),
        ((424, "ModelError"), (502, "ModelError")),
    ],
)
def test_an_endpoint_that_does_not_answer_is_named_and_nothing_else_is_told(
    handler: ModuleType,
    endpoint: Endpoint,
    capsys: pytest.CaptureFixture[str],
    refusal: tuple[int, str],
    expected: tuple[int, str],
) -> None:
    endpoint.refusal = refusal
    status, answer = post(handler, {"review": "good"})
    assert (status, answer["code"]) == expected
    assert "reviews" in answer["message"]
    assert not re.search(r"\d{12}", answer["message"])
    assert "123456789012" in capsys.readouterr().out


def test_a_server_that_is_gone_is_not_running(handler: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    monkeypatch.setattr(
        handler, "runtime", boto3.client("sagemaker-runtime", endpoint_url="http://127.0.0.1:9")
    )
    status, answer = post(handler, {"review": "good"})
    assert (status, answer["code"]) == (503, "EndpointNotReachable")


def test_the_archive_is_the_same_bytes_each_time() -> None:
    assert function.archive(b'["a"]') == function.archive(b'["a"]')
