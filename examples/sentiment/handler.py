"""The function behind the public API: a review comes in, the verdict and the words that led to it go out.

    page -> API Gateway -> this function -> SageMaker endpoint -> back the same way

It turns the text into a bag of words, as the training data was made, and asks the endpoint for the whole review and
for the review without each of its words: all in one request. How far the probability moves without a word is what
that word said.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from pathlib import Path
from typing import Any, cast

import boto3
from botocore.exceptions import BotoCoreError, ClientError

import words

MAX_CHARACTERS = 50_000
MAX_WORDS_LEFT_OUT = 300
"""Rows in one request at most; 300 rows of 300 words are 0.7 MB, and InvokeEndpoint takes 6 MB."""

WORDS_SHOWN = 12
LEAST_EFFECT = 0.0005
"""Words that move the probability by less than this said nothing."""

HEADERS = {
    "Content-Type": "application/json; charset=utf-8",
    "Access-Control-Allow-Origin": "*",
    "Cache-Control": "no-store",
}

# Codes of InvokeEndpoint that say: this endpoint is not there, or not ready. (A name that does not exist is a
# ValidationError.)
NOT_RUNNING = {
    "ValidationError",
    "ModelNotReadyException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "InternalDependencyException",
}

# Made once per worker, before the first event, as AWS advises: vocabulary and client are kept between events.
COLUMNS = words.column_of(json.loads((Path(__file__).parent / "vocabulary.json").read_text(encoding="utf-8")))
runtime = boto3.client("sagemaker-runtime")


class Refusal(Exception):
    """An answer other than a verdict."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Lambda's entry: a proxy event of API Gateway in, its answer out."""
    try:
        return _answer(200, judge(_review_in(event)))
    except Refusal as refusal:
        return _answer(refusal.status, {"code": refusal.code, "message": str(refusal)})


def judge(review: str) -> dict[str, Any]:
    """The verdict on one review, with the words that spoke for and against it."""
    seen = words.tokenise(review)
    bag = words.bag_of_words(seen, COLUMNS)
    if not bag:
        raise Refusal(
            400,
            "NoKnownWords",
            "The model knows none of these words. Write a few English words about a film.",
        )
    word_of = {column: word for word in set(seen) if (column := COLUMNS.get(word)) is not None}
    left_out = sorted(bag, key=lambda column: (-bag[column], column))[:MAX_WORDS_LEFT_OUT]
    bags = [bag] + [{other: count for other, count in bag.items() if other != column} for column in left_out]
    probability, *without = ask_endpoint(bags)
    effects: list[dict[str, Any]] = [
        {"word": word_of[column], "count": bag[column], "without": rest, "effect": probability - rest}
        for column, rest in zip(left_out, without, strict=True)
        if abs(probability - rest) >= LEAST_EFFECT
    ]
    effects.sort(key=lambda effect: -abs(effect["effect"]))
    return {
        "verdict": "positive" if probability >= 0.5 else "negative",
        "probability": probability,
        "words": effects[:WORDS_SHOWN],
        "known_words": len(bag),
    }


def ask_endpoint(bags: list[dict[int, int]]) -> list[float]:
    """The probability that a review is positive, for each bag, in one request.

    The rows are ``text/libsvm``, as the training data: there a word that does not occur is missing, not zero, and
    XGBoost sends the two different ways through its trees.
    """
    try:
        answer = runtime.invoke_endpoint(
            EndpointName=os.environ["ENDPOINT_NAME"],
            ContentType="text/libsvm",
            Accept="text/csv",
            Body="\n".join(words.as_libsvm_row(bag) for bag in bags).encode(),
        )
        probabilities = [
            float(number) for number in re.split(r"[,\s]+", answer["Body"].read().decode().strip())
        ]
    except ClientError as error:
        raise _refusal_for(error) from error
    except BotoCoreError as error:
        print(f"InvokeEndpoint: {error}")
        raise Refusal(503, "EndpointNotReachable", "The function cannot reach SageMaker just now.") from error
    if len(probabilities) != len(bags):
        raise Refusal(
            502, "ModelError", f"Asked the model {len(bags)} questions, got {len(probabilities)} answers."
        )
    return probabilities


def _refusal_for(error: ClientError) -> Refusal:
    """What the public is told. The service's own message names account and role, so it goes into the log alone."""
    print(f"InvokeEndpoint: {error}")
    code = error.response.get("Error", {}).get("Code", "Unknown")
    endpoint = os.environ["ENDPOINT_NAME"]
    if code in NOT_RUNNING:
        return Refusal(
            503, "EndpointNotRunning", f"There is no endpoint named {endpoint} in service just now."
        )
    if code in {"AccessDeniedException", "AccessDenied"}:
        return Refusal(500, "NotAllowed", f"The function's role may not invoke the endpoint {endpoint}.")
    if code in {"ThrottlingException", "TooManyRequestsException"}:
        return Refusal(503, "TooBusy", f"The endpoint {endpoint} is busy. Try again in a moment.")
    return Refusal(502, code, f"The endpoint {endpoint} gave no answer. The function's log says why.")


def _review_in(event: dict[str, Any]) -> str:
    """The review in the request's body, which is ``{"review": "text"}``."""
    body: str = event.get("body") or ""
    try:
        if event.get("isBase64Encoded"):
            body = base64.b64decode(body, validate=True).decode()
        request = json.loads(body)
    except (ValueError, binascii.Error, RecursionError) as error:
        raise Refusal(400, "BadRequest", 'Send JSON: {"review": "the text"}') from error
    review = cast("dict[str, object]", request).get("review") if isinstance(request, dict) else None
    if not isinstance(review, str) or not review.strip():
        raise Refusal(
            400, "EmptyReview", "There is no review in the request. Write a sentence or two about a film."
        )
    if len(review) > MAX_CHARACTERS:
        raise Refusal(400, "ReviewTooLong", f"The review is longer than {MAX_CHARACTERS:,} characters.")
    return review


def _answer(status: int, body: dict[str, Any]) -> dict[str, Any]:
    return {"statusCode": status, "headers": HEADERS, "body": json.dumps(body, ensure_ascii=False)}
