"""The main job, as a person does it: the example's own script, then the web app in a real browser."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xgboost
from playwright.sync_api import Page, expect
from scipy.sparse import csr_matrix

import place
import sentiment
from stagedoor.testing import Server

pytestmark = pytest.mark.journey

SCRIPT = Path(sentiment.__file__)
PAGE_BUCKET = "sentiment-page-000000000000-us-east-1"
DATA_BUCKET = "sentiment-data-000000000000-us-east-1"


def run(server: Server, *flags: str) -> str:
    """Run the script against the server; gives what it printed."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *flags],
        env=server.environment | {"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def website(server: Server) -> str:
    port = server.public.rpartition(":")[2]
    return f"http://{PAGE_BUCKET}.s3-website.localhost:{port}/"


def judge(page: Page, review: str, verdict: str) -> None:
    page.get_by_label("Your review").fill(review)
    page.get_by_role("button", name="Judge it").click()
    expect(page.get_by_role("heading", level=2, name=verdict)).to_be_visible()
    expect(page.get_by_role("region", name="Spoke for").get_by_role("listitem").first).to_be_visible()


def ask(server: Server) -> dict[str, Any]:
    """The app's answer to a good review, through the public API."""
    [api] = server.client("apigateway").get_rest_apis()["items"]
    here = place.Place(session=None, local_public_url=server.public)  # pyright: ignore[reportArgumentType]
    body = json.dumps({"review": sentiment.GOOD_REVIEW}).encode()
    status, text = here.fetch(
        here.api_url(api["id"], "prod", "verdict"), "POST", body, {"Content-Type": "application/json"}
    )
    assert status == 200, text
    return json.loads(text)


@pytest.mark.browser
def test_from_25000_reviews_to_a_web_app(stagedoor_server: Callable[..., Server], page: Page) -> None:
    server = stagedoor_server()

    printed = run(server, "--exit")
    accuracy = re.search(r"accuracy on 5,000 held-out reviews: (0\.\d+)", printed)
    assert accuracy is not None
    assert float(accuracy[1]) >= 0.85
    check_that_answers_are_the_boosters_own(server)

    page.goto(website(server))
    judge(page, sentiment.GOOD_REVIEW, "Positive")
    judge(page, sentiment.BAD_REVIEW, "Negative")

    again = run(server, "--exit")
    assert again.count("already there") == 7
    assert len(server.client("sagemaker").list_training_jobs()["TrainingJobSummaries"]) == 1

    server.client("sagemaker").delete_endpoint(EndpointName="sentiment")
    server.client("sagemaker").get_waiter("endpoint_deleted").wait(
        EndpointName="sentiment", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    page.get_by_role("button", name="Judge it").click()
    expect(page.get_by_role("alert")).to_contain_text("The model's endpoint is not running")


def check_that_answers_are_the_boosters_own(server: Server) -> None:
    """Endpoint and batch transform against the same model file, loaded here."""
    sagemaker, s3 = server.client("sagemaker"), server.client("s3")
    [job] = sagemaker.list_training_jobs()["TrainingJobSummaries"]
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=DATA_BUCKET)["Contents"]]
    [held_out] = [key for key in keys if key.endswith("held-out/reviews.libsvm")]
    [scores] = [key for key in keys if key.endswith(".out")]
    [model] = [key for key in keys if key.endswith("model.tar.gz") and job["TrainingJobName"] in key]

    def get(key: str) -> bytes:
        return s3.get_object(Bucket=DATA_BUCKET, Key=key)["Body"].read()

    rows = get(held_out).decode().splitlines()
    expected = booster_in(get(model)).predict(matrix(rows)).tolist()
    transformed = [float(line) for line in get(scores).decode().split()]
    assert transformed == pytest.approx(expected, abs=1e-6)
    answer = server.client("sagemaker-runtime").invoke_endpoint(
        EndpointName="sentiment", ContentType="text/libsvm", Body="\n".join(rows[:200]).encode()
    )
    answered = [float(number) for number in answer["Body"].read().decode().split(",")]
    assert answered == pytest.approx(expected[:200], abs=1e-6)


def booster_in(archive: bytes) -> xgboost.Booster:
    import io
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        [member] = [member for member in opened.getmembers() if member.isfile()]
        file = opened.extractfile(member)
        assert file is not None
        booster = xgboost.Booster()
        booster.load_model(bytearray(file.read()))
        return booster


def matrix(rows: list[str]) -> xgboost.DMatrix:
    columns: list[int] = []
    counts: list[float] = []
    starts = [0]
    for row in rows:
        for cell in row.split()[1:]:
            column, count = cell.split(":")
            columns.append(int(column))
            counts.append(float(count))
        starts.append(len(columns))
    return xgboost.DMatrix(csr_matrix((counts, columns, starts), shape=(len(rows), 5_000)))


def test_the_app_answers_after_the_server_was_killed(stagedoor_server: Callable[..., Server]) -> None:
    server = stagedoor_server()
    run(server, "--exit", "--reviews", "500")
    before = ask(server)
    server.kill()
    server.start()
    server.client("sagemaker").get_waiter("endpoint_in_service").wait(
        EndpointName="sentiment", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    # A new worker's first answers are the booster's own, which later ones equal to six digits.
    assert rounded(ask(server)) == rounded(before)


def rounded(answer: Any) -> Any:
    """The same answer with four digits of each number."""
    if isinstance(answer, dict):
        return {name: rounded(value) for name, value in answer.items()}
    if isinstance(answer, list):
        return [rounded(value) for value in answer]
    return round(answer, 4) if isinstance(answer, float) else answer


def test_what_was_made_is_deleted_and_can_be_made_again(stagedoor_server: Callable[..., Server]) -> None:
    server = stagedoor_server()
    run(server, "--exit", "--reviews", "500")
    assert "deleted  bucket" in run(server, "--delete")
    assert server.client("s3").list_buckets()["Buckets"] == []
    assert server.client("lambda").list_functions()["Functions"] == []
    assert server.client("sagemaker").list_endpoints()["Endpoints"] == []
    assert server.client("iam").list_roles()["Roles"] == []
    assert run(server, "--delete") == "there was nothing to delete\n"
    run(server, "--exit", "--reviews", "500")
    assert ask(server)["verdict"] == "positive"


def test_the_demo_command_starts_a_server_does_the_job_and_stops_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stagedoor", "demo", "--data", str(tmp_path / "data"), "--exit"]
    command += ["--reviews", "500", "--api", "127.0.0.1:0", "--public", "127.0.0.1:0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a good review is positive" in done.stdout
    assert "have stopped" in done.stdout
    status = subprocess.run(
        [sys.executable, "-m", "stagedoor", "status", "--data", str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert status.returncode != 0
    assert "No stagedoor is running" in status.stdout + status.stderr
