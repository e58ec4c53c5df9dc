"""The page in a real browser, asking an API of the test's own."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from playwright.sync_api import Locator, Page, expect

import page as published

pytestmark = pytest.mark.browser

WEB = Path(published.__file__).parent / "web"
JUDGED = {
    "verdict": "negative",
    "probability": 0.099,
    "words": [
        {"word": "mess", "count": 2, "without": 0.424, "effect": -0.325},
        {"word": "funny", "count": 1, "without": 0.082, "effect": 0.017},
    ],
    "known_words": 9,
}


class Api(ThreadingHTTPServer):
    """Serves the page's files, and answers POST with what the test says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Answer, directory=str(WEB)))
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.status = 200
        self.answer: object = JUDGED
        self.asked: list[object] = []
        self.config: dict[str, str] = {"api": f"{self.url}/prod/verdict"}


class _Answer(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        self.path = self.path.removeprefix("/_aws/s3-website/page")
        if self.path == "/config.js":
            config = cast("Api", self.server).config
            self._send(200, "text/javascript", f"window.sentiment = {json.dumps(config)};")
        else:
            super().do_GET()

    def do_POST(self) -> None:
        api = cast("Api", self.server)
        api.asked.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        text = api.answer if isinstance(api.answer, str) else json.dumps(api.answer)
        self._send(api.status, "application/json", text)

    def _send(self, status: int, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def verdict(page: Page) -> Locator:
    return page.get_by_role("heading", level=2, name="Negative")


def ask(page: Page, api: Api, review: str) -> None:
    page.goto(f"{api.url}/index.html")
    page.get_by_label("Your review").fill(review)
    page.get_by_role("button", name="Judge it").click()


def test_the_verdict_and_the_words_for_and_against_it_are_shown(page: Page, api: Api) -> None:
    ask(page, api, "Funny, but a mess. A mess!")
    expect(page.get_by_role("heading", name="Negative 90.1% sure")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Negative, 90.1% sure.")
    expect(page.get_by_role("region", name="Spoke for")).to_contain_text("mess\u00d7 2without it 57.6%")
    expect(page.get_by_role("region", name="Spoke against")).to_contain_text("funnywithout it 91.8%")
    assert api.asked == [("/prod/verdict", {"review": "Funny, but a mess. A mess!"})]


def test_the_keyboard_alone_is_enough(page: Page, api: Api) -> None:
    page.goto(f"{api.url}/index.html")
    page.keyboard.press("Tab")
    page.keyboard.type("A mess")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(verdict(page)).to_be_visible()


def test_an_endpoint_that_is_not_running_is_said_clearly(page: Page, api: Api) -> None:
    api.status, api.answer = (
        503,
        {"code": "EndpointNotRunning", "message": "There is no endpoint named x in service."},
    )
    ask(page, api, "good")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The model's endpoint is not running")
    expect(alert).to_contain_text("There is no endpoint named x in service.")
    expect(page.locator("#answer")).to_be_hidden()
    api.status, api.answer = 200, JUDGED
    page.get_by_role("button", name="Judge it").click()
    expect(verdict(page)).to_be_visible()
    expect(alert).to_be_hidden()


def test_an_api_that_cannot_be_reached_is_said_clearly(page: Page, api: Api) -> None:
    api.config = {"api": "http://127.0.0.1:9/prod/verdict"}
    ask(page, api, "good")
    expect(page.get_by_role("alert")).to_contain_text("The API cannot be reached")
    expect(page.get_by_role("alert")).to_contain_text("127.0.0.1:9")


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (400, {"code": "NoKnownWords", "message": "Write a few English words."}, "No word it knows"),
        (400, {"code": "ReviewTooLong", "message": "Too long."}, "That cannot be judged"),
        (504, {"message": "Endpoint request timed out"}, "No answer in time"),
        (502, {"message": "Internal server error"}, "Internal server error"),
        (500, "not json", "status 500"),
        (200, "[]", "status 200"),
    ],
)
def test_every_other_failure_has_words_of_its_own(
    page: Page,
    api: Api,
    status: int,
    answer: object,
    said: str,
) -> None:
    api.status, api.answer = status, answer
    ask(page, api, "good")
    expect(page.get_by_role("alert")).to_contain_text(said)


def test_an_empty_review_is_not_sent(page: Page, api: Api) -> None:
    ask(page, api, "   ")
    expect(page.get_by_role("alert")).to_contain_text("There is no review yet")
    expect(page.get_by_label("Your review")).to_be_focused()
    assert api.asked == []


def test_markup_in_words_and_messages_is_shown_as_text(page: Page, api: Api) -> None:
    markup = '<img src=x onerror="document.title=1">'
    api.answer = JUDGED | {"words": [{"word": markup, "count": 1, "without": 0.5, "effect": -0.4}]}
    ask(page, api, markup)
    expect(page.get_by_role("region", name="Spoke for")).to_contain_text(markup)
    api.status, api.answer = 503, {"message": markup}
    page.get_by_role("button", name="Judge it").click()
    expect(page.get_by_role("alert")).to_contain_text(markup)
    assert page.locator("img").count() == 0
    assert page.title() == "How does this review sound?"


def test_a_page_opened_by_path_asks_the_api_by_path(page: Page, api: Api) -> None:
    api.config = {"api": "http://abc.execute-api.localhost:9/prod/verdict", "apiByPath": f"{api.url}/by/path"}
    page.goto(f"{api.url}/_aws/s3-website/page/index.html")
    page.get_by_role("button", name="a fan").click()
    expect(verdict(page)).to_be_visible()
    assert [path for path, _ in cast("list[tuple[str, object]]", api.asked)] == ["/by/path"]


def test_nothing_is_cut_off_on_a_narrow_phone(page: Page, api: Api) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    api.answer = JUDGED | {"words": [{"word": "w" * 60, "count": 3, "without": 0.5, "effect": -0.4}]}
    ask(page, api, "good")
    expect(verdict(page)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_the_page_asks_for_nothing_from_elsewhere(page: Page, api: Api) -> None:
    asked_for: list[str] = []
    page.on("request", lambda request: asked_for.append(request.url))
    ask(page, api, "good")
    expect(verdict(page)).to_be_visible()
    assert asked_for
    assert all(url.startswith(api.url) for url in asked_for)
