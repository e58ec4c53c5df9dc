"""The reviews as bags of words: the three files that SageMaker reads, and the vocabulary they are made with."""

from __future__ import annotations

import json
from dataclasses import dataclass

import words
from plan import digest_of
from reviews import Division, Review
from steps import Step


@dataclass(frozen=True, slots=True)
class Bags:
    """Training data, ready to upload."""

    vocabulary: list[str]
    train: bytes
    validation: bytes
    held_out: bytes
    held_out_verdicts: list[bool]

    def digest(self) -> str:
        return digest_of(self.vocabulary_json(), self.train, self.validation, self.held_out)

    def vocabulary_json(self) -> bytes:
        return json.dumps(self.vocabulary).encode()


def make(division: Division, step: Step) -> Bags:
    """Tokenise all reviews, learn the vocabulary from the training part alone, and count.

    The rows of the held-out part carry no verdict (every label is 0): the model is asked, not told.
    """
    together = [*division.train, *division.validation, *division.held_out]
    tokenised = [words.tokenise(review.text) for review in step.each(together)]
    watched_from = len(division.train)
    held_out_from = watched_from + len(division.validation)
    vocabulary = words.learn_vocabulary(tokenised[:watched_from])
    columns = words.column_of(vocabulary)
    train = _libsvm(tokenised[:watched_from], columns, division.train)
    validation = _libsvm(tokenised[watched_from:held_out_from], columns, division.validation)
    held_out = _libsvm(tokenised[held_out_from:], columns, None)
    return Bags(vocabulary, train, validation, held_out, [review.positive for review in division.held_out])


def _libsvm(tokenised: list[list[str]], columns: dict[str, int], labelled: list[Review] | None) -> bytes:
    labels = [int(review.positive) for review in labelled] if labelled else [0] * len(tokenised)
    rows = (
        words.as_libsvm_row(words.bag_of_words(row, columns), label)
        for row, label in zip(tokenised, labels, strict=True)
    )
    return "".join(f"{row}\n" for row in rows).encode()
