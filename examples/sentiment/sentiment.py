r"""From 25,000 film reviews to a public web app that judges new ones: the whole job, in plain boto3.

    reviews -> bags of words -> S3 -> training job -> model -> endpoint  <- function <- REST API <- web page
                                                        \-> transform job -> accuracy

Runs where ``AWS_ENDPOINT_URL`` says, and on AWS itself when that is not set::

    eval "$(stagedoor env)"; python sentiment.py          # on your own machine
    unset AWS_ENDPOINT_URL;  python sentiment.py --role arn:aws:iam::…:role/… --bucket my-bucket

What exists already is used again: a second run takes seconds. ``--delete`` removes all of it.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

import api
import bags
import function
import hosting
import jobs
import page
import place as places
import removal
import reviews
import roles
import scoring
import storage
import training
from place import Place, PlaceUnusable
from plan import RESOURCE, STAGE, Plan, digest_of_training
from steps import Step, Steps

GOOD_REVIEW = (
    "A wonderful film. The acting is superb, the story is moving and beautifully told, and I loved every minute of it. "
    "One of the best I have seen in years."
)
BAD_REVIEW = (
    "What a waste of time. The plot is boring, the acting is terrible and the dialogue is awful. I could not wait for "
    "it to end. One of the worst films ever made."
)


class AnswerWrong(Exception):
    """The web app works, and does not say what it should; or does not work."""


@dataclass(frozen=True, slots=True)
class App:
    """What the job ends with."""

    page_url: str
    page_url_by_path: str | None
    api_url: str
    accuracy: float


def run(
    review_count: int = 25_000,
    reviews_dir: Path | None = None,
    names_prefix: str = "sentiment",
    role: str | None = None,
    bucket: str | None = None,
    open_browser: bool = True,
    console: Console | None = None,
) -> App:
    """Do the whole job, and ask the app about a good and a bad review at its end.

    :param role: ARN of an existing role for SageMaker; without it one is made.
    :param bucket: an existing bucket for data and model; without it one is made.
    :raises AnswerWrong, PlaceUnusable, ReviewsMissing, JobFailed: with what went wrong, in words for a person.
    """
    console = console or Console()
    steps = Steps(console)
    place = places.find()
    with steps.step("Reading the reviews") as step:
        found = reviews.load(review_count, reviews_dir)
        division = reviews.divide(found)
        step.tell(
            f"{len(found):,}: {len(division.train):,} to learn from, {len(division.validation):,} to watch, "
            f"{len(division.held_out):,} held out"
        )
    with steps.step("Cleaning them, counting words") as step:
        made = bags.make(division, step)
        step.tell(f"a vocabulary of {len(made.vocabulary):,} words")
    plan = make_plan(place, names_prefix, role, bucket, made)
    with steps.step("Uploading to S3") as step:
        storage.ensure_bucket(place, plan.data_bucket)
        sent = storage.upload(place, plan, made, step)
        step.tell(
            f"{sent / 1e6:.1f} MB to s3://{plan.data_bucket}/{plan.data_prefix}" if sent else "already there"
        )
    with steps.step("Making the roles"):
        sagemaker_role = roles.ensure_sagemaker_role(place, plan)
        function_role = roles.ensure_function_role(place, plan)
    accuracy = _train_and_host(place, plan, sagemaker_role, made, steps)
    return _publish(place, plan, function_role, made, steps, accuracy, open_browser)


def make_plan(place: Place, names_prefix: str, role: str | None, bucket: str | None, made: bags.Bags) -> Plan:
    """Names for everything; the same input gives the same names, and so finds what an earlier run made."""
    data_digest = made.digest()
    return Plan(
        prefix=names_prefix,
        data_bucket=bucket or f"{names_prefix}-data-{place.account}-{place.region}",
        page_bucket=f"{names_prefix}-page-{place.account}-{place.region}",
        data_digest=data_digest,
        training_digest=digest_of_training(data_digest, place.xgboost_image()),
        given_role=role,
        keep_data_bucket=bucket is not None,
    )


def _train_and_host(place: Place, plan: Plan, role: str, made: bags.Bags, steps: Steps) -> float:
    """From training data to a running endpoint; the held-out reviews are scored while it starts."""
    image = place.xgboost_image()
    with steps.step("Training with XGBoost") as step:
        trained = training.train(place, plan, role, image, step)
        step.tell(trained.summary if trained.new else "already there")
    with steps.step("Starting the endpoint") as step:
        hosting.ensure_model(place, plan, role, image, trained.model_data)
        if not hosting.start_endpoint(place, plan):
            step.tell("already there")
    with steps.step("Scoring the held-out reviews") as step:
        score, new = scoring.score(place, plan, made.held_out_verdicts)
        step.tell(f"{score.right:,} of {score.of:,} right" + ("" if new else ", already there"))
    steps.console.print(
        f"\n          accuracy on {score.of:,} held-out reviews: [bold]{score.accuracy:.4f}[/bold]\n"
    )
    with steps.step("Waiting for the endpoint") as step:
        hosting.wait_for_endpoint(place, plan, step)
        step.tell(f"{plan.endpoint} is in service")
    return score.accuracy


def _publish(
    place: Place, plan: Plan, role: str, made: bags.Bags, steps: Steps, accuracy: float, open_browser: bool
) -> App:
    """Function, API and page around the endpoint; then the app is used as a person would use it."""
    with steps.step("Making the function") as step:
        arn, new = function.ensure(place, plan, role, function.archive(made.vocabulary_json()))
        step.tell(plan.function if new else "already there")
    with steps.step("Making the API") as step:
        api_id, new = api.ensure(place, plan, arn)
        step.tell(f"POST /{STAGE}/{RESOURCE}" if new else "already there")
    with steps.step("Publishing the page") as step:
        changed = page.ensure(place, plan, api_id)
        step.tell(f"{changed} files" if changed else "already there")
    app = App(
        page_url=place.website_url(plan.page_bucket),
        page_url_by_path=place.website_url_by_path(plan.page_bucket),
        api_url=place.api_url(api_id, STAGE, RESOURCE),
        accuracy=accuracy,
    )
    with steps.step("Asking it") as step:
        try_out(place, app, step)
    console = steps.console
    console.print(f"\nAll done in {steps.total_s():.0f} s. The web app:\n", highlight=False)
    console.print(f"    {app.page_url}", style="bold", highlight=False, soft_wrap=True)
    if app.page_url_by_path:
        console.print(f"    {app.page_url_by_path}  [dim](for browsers that do not know *.localhost)[/dim]",
                      highlight=False, soft_wrap=True)  # fmt: skip
    console.print()
    if open_browser:
        webbrowser.open(_best_address(app))
    return app


def try_out(place: Place, app: App, step: Step) -> None:
    """Load the page, then ask for a good and a bad review, all through the public addresses.

    :raises AnswerWrong: anything but the page and two right verdicts.
    """
    status, text = place.fetch(app.page_url)
    if status != 200 or "<html" not in text:
        raise AnswerWrong(f"the page {app.page_url} answered {status}: {text[:300]}")
    told: list[str] = []
    for review, verdict in ((GOOD_REVIEW, "positive"), (BAD_REVIEW, "negative")):
        body = json.dumps({"review": review}).encode()
        status, text = place.fetch(app.api_url, "POST", body, {"Content-Type": "application/json"})
        if status != 200:
            raise AnswerWrong(f"the API {app.api_url} answered {status}: {text[:300]}")
        answer = json.loads(text)
        if answer["verdict"] != verdict:
            raise AnswerWrong(f"a {verdict} review was judged {answer['verdict']}: {review}")
        certainty = answer["probability"] if verdict == "positive" else 1 - answer["probability"]
        told.append(
            f"a {'good' if verdict == 'positive' else 'bad'} review is {verdict}, {certainty:.1%} sure"
        )
    step.tell("; ".join(told))


def _best_address(app: App) -> str:
    """The address that this machine's own browser most likely knows."""
    if app.page_url_by_path and sys.platform == "darwin":
        # Safari asks the system, which may not know names under localhost; other browsers know them by themselves.
        try:
            socket.getaddrinfo(urlsplit(app.page_url).hostname, None)
        except OSError:
            return app.page_url_by_path
    return app.page_url


def delete(names_prefix: str, role: str | None, bucket: str | None, console: Console) -> None:
    """Remove what :func:`run` made with the same names."""
    place = places.find()
    plan = Plan(
        prefix=names_prefix,
        data_bucket=bucket or f"{names_prefix}-data-{place.account}-{place.region}",
        page_bucket=f"{names_prefix}-page-{place.account}-{place.region}",
        data_digest="",
        training_digest="",
        given_role=role,
        keep_data_bucket=bucket is not None,
    )
    deleted = 0
    for thing in removal.delete(place, plan):
        deleted += 1
        console.print(f"deleted  {thing}", highlight=False)
    if not deleted:
        console.print("there was nothing to delete")


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code is 0 only if all of it worked."""
    given = _parser().parse_args(arguments)
    console = Console()
    try:
        if given.delete:
            delete(given.name, given.role, given.bucket, console)
        else:
            run(
                review_count=given.reviews,
                reviews_dir=given.reviews_dir,
                names_prefix=given.name,
                role=given.role,
                bucket=given.bucket,
                open_browser=not given.no_browser and not given.exit,
                console=console,
            )
    except KeyboardInterrupt:
        console.print("\nstopped. What has been made stays, and the next run goes on from there.")
        return 130
    except (AnswerWrong, PlaceUnusable, reviews.ReviewsMissing, jobs.JobFailed) as error:
        console.print(f"\n[red]It did not work:[/red] {error}", highlight=False, soft_wrap=True)
        return 1
    except (ClientError, BotoCoreError, OSError) as error:
        console.print(
            f"\n[red]It did not work:[/red] {type(error).__name__}: {error}", highlight=False, soft_wrap=True
        )
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="From film reviews to a public web app, in plain boto3.")
    parser.add_argument("--reviews", type=_review_count, default=25_000, metavar="N", help="how many (25000)")
    parser.add_argument(
        "--reviews-dir", type=Path, metavar="DIR", help="an unpacked aclImdb folder to read instead"
    )
    parser.add_argument("--name", default="sentiment", help="what everything made is called (sentiment)")
    parser.add_argument(
        "--role", metavar="ARN", help="an existing role for SageMaker; without it one is made"
    )
    parser.add_argument("--bucket", help="an existing bucket for the data; without it one is made")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    parser.add_argument("--exit", action="store_true", help="for scripts: the same, with no browser")
    parser.add_argument("--delete", action="store_true", help="delete what an earlier run made")
    return parser


def _review_count(text: str) -> int:
    count = int(text)
    if not 100 <= count <= 50_000:
        raise argparse.ArgumentTypeError("a number of reviews from 100 to 50000")
    return count


if __name__ == "__main__":
    sys.exit(main())
