"""`stagedoor demo` as a person runs it: it stays up, the page works in a browser, Ctrl-C ends all of it, again is quick."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from journeys.deployed import all_end, descendants
from playwright.sync_api import Page, expect

import sentiment
from stagedoor.testing import Server

pytestmark = pytest.mark.journey
COMMAND = [sys.executable, "-m", "stagedoor"]
FREE_PORTS = ("--api", "127.0.0.1:0", "--public", "127.0.0.1:0")


class Demo:
    """The command in a terminal's process group of its own, and what it has printed so far."""

    def __init__(self, data: Path, *flags: str) -> None:
        self.data = data
        self.printed = ""
        self._process = subprocess.Popen(
            [*COMMAND, "demo", "--data", str(data), *FREE_PORTS, *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.printed += line

    def until(self, pattern: str) -> re.Match[str]:
        deadline_s = time.monotonic() + 120
        while (found := re.search(pattern, self.printed)) is None:
            assert self._process.poll() is None, self.printed
            assert time.monotonic() < deadline_s, self.printed
            time.sleep(0.02)
        return found

    @property
    def processes(self) -> set[int]:
        return descendants(self._process.pid)

    def control_c(self) -> int:
        """What a terminal does: SIGINT to the whole group."""
        os.killpg(self._process.pid, signal.SIGINT)
        return self.wait()

    def end(self) -> None:
        if self._process.poll() is None:
            self.control_c()

    def wait(self) -> int:
        code = self._process.wait(60)
        self._reader.join()
        return code


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "data"


@pytest.fixture(scope="module")
def demo(data: Path) -> Iterator[Demo]:
    """A demo that has done its work and waits for Ctrl-C."""
    made = Demo(data, "--reviews", "2000", "--no-browser")
    made.until("Ctrl-C shuts everything down")
    yield made
    made.end()


def variables(data: Path) -> dict[str, str]:
    printed = subprocess.run(
        [*COMMAND, "env", "--data", str(data)], capture_output=True, text=True, check=True
    )
    return dict(re.findall(r"export (\w+)=(\S+)", printed.stdout))


@pytest.mark.browser
def test_the_page_judges_reviews_and_says_when_the_endpoint_is_gone(demo: Demo, page: Page) -> None:
    page.goto(demo.until(r"http://\S+\.s3-website\.localhost:\d+/")[0])
    for review, verdict in ((sentiment.GOOD_REVIEW, "Positive"), (sentiment.BAD_REVIEW, "Negative")):
        page.get_by_label("Your review").fill(review)
        page.get_by_role("button", name="Judge it").click()
        answer = page.get_by_role("heading", level=2, name=verdict)
        expect(answer).to_have_text(re.compile(rf"^{verdict} \d\d\.\d% sure$"))
        expect(page.get_by_role("region", name="Spoke for").get_by_role("listitem").first).to_contain_text(
            re.compile(r"without it \d+\.\d%")
        )
    sagemaker = client(demo.data, "sagemaker")
    sagemaker.delete_endpoint(EndpointName="sentiment")
    waiter = sagemaker.get_waiter("endpoint_deleted")
    waiter.wait(EndpointName="sentiment", WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})
    page.get_by_role("button", name="Judge it").click()
    expect(page.get_by_role("alert")).to_contain_text("The model's endpoint is not running")
    expect(page.locator("#answer")).to_be_hidden()


@pytest.mark.browser
def test_the_page_works_by_path_too(demo: Demo, page: Page) -> None:
    """For browsers that do not know names under localhost; the endpoint may be gone, and then it says so."""
    page.goto(demo.until(r"http://127\.0\.0\.1:\d+/_aws/s3-website/\S+/")[0])
    page.get_by_label("Your review").fill(sentiment.GOOD_REVIEW)
    page.get_by_role("button", name="Judge it").click()
    expect(page.locator("#verdict-word, #problem-title").locator("visible=true")).to_have_text(
        re.compile("^(Positive|The model's endpoint is not running)$")
    )


def client(data: Path, service: str) -> Any:
    given = variables(data)
    make: Any = boto3.client
    return make(
        service,
        endpoint_url=given["AWS_ENDPOINT_URL"],
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
        region_name=given["AWS_DEFAULT_REGION"],
    )


def test_a_second_demo_uses_the_server_and_control_c_of_the_first_ends_everything(demo: Demo) -> None:
    second = Demo(demo.data, "--reviews", "2000", "--exit")
    assert second.wait() == 0, second.printed
    assert "using the stagedoor that runs already" in second.printed

    processes = demo.processes
    assert processes
    code = demo.control_c()
    assert (code, "shutting down" in demo.printed) == (0, True), demo.printed
    assert "stagedoor and all its workers have stopped; what was made is kept" in demo.printed
    assert all_end(processes, within_s=1)
    assert not (demo.data / "stagedoor.json").exists()

    again = Demo(demo.data, "--reviews", "2000", "--exit")
    assert again.wait() == 0, again.printed
    for step in ("Uploading to S3", "Training with XGBoost", "Making the function", "Making the API"):
        assert re.search(rf"done\s+{step}\s+already there", again.printed), again.printed
    assert "a bad review is negative" in again.printed


def test_control_c_in_the_middle_leaves_nothing_running(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "data", "--reviews", "5000", "--exit")
    demo.until("Uploading to S3")
    processes = demo.processes
    code = demo.control_c()
    assert code == 130, demo.printed
    assert "stopped. What has been made stays" in demo.printed
    assert "Traceback" not in demo.printed
    assert all_end(processes, within_s=1)


def test_a_taken_port_is_told(tmp_path: Path, stagedoor: Server) -> None:
    port = int(stagedoor.api.rpartition(":")[2])
    done = subprocess.run(
        [*COMMAND, "demo", "--data", str(tmp_path / "data"), "--api", f"127.0.0.1:{port}", "--exit"],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert f"Port {port} on 127.0.0.1 (api listener) cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
