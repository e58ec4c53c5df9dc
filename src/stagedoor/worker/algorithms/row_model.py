"""Serves rows of numbers as SageMaker's own algorithms do: CSV, JSON, JSON lines or RecordIO in and out.

Place in the flow: ``NAME_serving.load`` wraps what it loaded in a ``RowModel``; ``worker.model_server`` calls ``predict`` with all
requests that had arrived. The algorithm itself only sees matrices: it gives one array for each member of the answer (``RowPredictor``).
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import orjson

from stagedoor.worker.algorithms import predictions, request_rows, sparse_rows
from stagedoor.worker.algorithms.csv_rows import RowsError
from stagedoor.worker.algorithms.predictions import CSV, JSON, JSON_LINES, AcceptError
from stagedoor.worker.algorithms.recordio import write_record
from stagedoor.worker.algorithms.request_rows import (
    ContentTypeError,
    DenseRows,
    FeatureCountError,
    SparseRows,
)
from stagedoor.worker.algorithms.specification import specification
from stagedoor.worker.model import Fault, Request, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

RECORDIO = request_rows.RECORDIO
_CELLS_TOGETHER = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RowAnswers:
    """One array for each member of the answer, one entry (a number, or a row of numbers) for each row asked about.

    ``verbose`` are members that only ``Accept: …; verbose=true`` shows.
    """

    members: "Mapping[str, NDArray[Any]]"
    verbose: "Mapping[str, NDArray[Any]]" = field(default_factory=dict[str, Any])


class RowPredictor(Protocol):
    """A loaded model. ``takes_sparse``: ``answer`` may also be given a CSR matrix of ``features`` columns.

    ``asks_together``: a row has the same answer whatever rows it comes with, so those of the requests that wait are put together.
    """

    features: int
    takes_sparse: bool
    asks_together: bool

    def answer(self, rows: Any) -> RowAnswers:
        """The answers for a float32 matrix without missing values."""
        ...


class RowModel:
    """A predictor with the formats of AWS's containers around it. ``envelope`` is the one key of a JSON answer."""

    def __init__(self, name: str, predictor: RowPredictor, envelope: str = "predictions") -> None:
        algorithm = specification(name)
        self._requests = algorithm.requests
        self._answers = algorithm.answers
        self._predictor = predictor
        self._envelope = envelope
        self._default_accept = predictions.accepted(
            os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT"), algorithm.answers[0], algorithm.answers
        )
        self.details: dict[str, Any] = {"algorithm": name, "features": predictor.features}

    def predict(self, requests: Sequence[Request]) -> Sequence[Result | Fault]:
        """One result or fault per request, in order."""
        questions = [self._question(request) for request in requests]
        together = self._together(questions) if len(questions) > 1 and self._predictor.asks_together else None
        if together is None:
            return [self._answered_alone(question) for question in questions]
        return [
            each if isinstance(each, Fault) else _result(each, [next(together)], self._envelope)
            for each in questions
        ]

    def _question(self, request: Request) -> "_Question | Fault":
        accept = request.meta.get("accept")
        try:
            media = request_rows.media_type(
                request.meta.get("content_type") or self._requests[0], self._requests
            )
            content_type = predictions.accepted(accept, self._default_accept, self._answers)
        except ContentTypeError as error:
            return Fault(415, str(error))
        except AcceptError as error:
            return Fault(406, str(error))
        try:
            rows = request_rows.read_rows(
                media.name, request.body, self._predictor.features, media.label_size or 0
            )
            _check_finite(rows.matrix if isinstance(rows, DenseRows) else rows.values)
        except (RowsError, FeatureCountError) as error:
            return _refused(error)
        return _Question(rows, content_type, _is_verbose(accept), request.meta.get("custom_attributes"))

    def _together(self, questions: "Sequence[_Question | Fault]") -> Iterator[RowAnswers] | None:
        """The answers to all of them, evaluated at once; None when they are of different kinds, or many rows anyway."""
        matrices: list[NDArray[np.float32]] = []
        for question in questions:
            if isinstance(question, _Question):
                if not isinstance(question.rows, DenseRows):
                    return None
                matrices.append(question.rows.matrix)
        if len(matrices) < 2 or sum(matrix.size for matrix in matrices) > _CELLS_TOGETHER:
            return None
        return _parts(self._predictor.answer(np.concatenate(matrices)), [len(matrix) for matrix in matrices])

    def _answered_alone(self, question: "_Question | Fault") -> Result | Fault:
        if isinstance(question, Fault):
            return question
        try:
            return _result(question, self._answers_for(question.rows), self._envelope)
        except (RowsError, FeatureCountError) as error:
            return _refused(error)

    def _answers_for(self, rows: request_rows.Rows) -> list[RowAnswers]:
        predictor = self._predictor
        if isinstance(rows, SparseRows) and predictor.takes_sparse:
            matrix = sparse_rows.sparse_rows(rows.values, rows.columns, rows.starts, predictor.features)
            return [predictor.answer(matrix)]
        return [predictor.answer(chunk) for chunk in rows.chunks(predictor.features, absent=0.0)]


@dataclass(frozen=True, slots=True)
class _Question:
    """A request that was understood."""

    rows: request_rows.Rows
    content_type: str
    verbose: bool
    custom_attributes: str | None


def _refused(error: Exception) -> Fault:
    return Fault(400, f"unable to evaluate payload provided: {error}")


def _parts(answers: RowAnswers, counts: Sequence[int]) -> Iterator[RowAnswers]:
    """The answers of ``counts`` rows after ``counts`` rows."""
    start = 0
    for count in counts:
        rows = slice(start, start + count)
        yield RowAnswers(
            {name: values[rows] for name, values in answers.members.items()},
            {name: values[rows] for name, values in answers.verbose.items()},
        )
        start += count


def _result(question: _Question, answers: Sequence[RowAnswers], envelope: str) -> Result:
    members = dict(answers[0].members)
    if question.verbose:
        members |= answers[0].verbose
    table = {
        name: np.concatenate([{**part.members, **part.verbose}[name] for part in answers]) for name in members
    }
    body = _encode(table, question.content_type, envelope)
    return Result(body, question.content_type, question.custom_attributes)


def _check_finite(values: "NDArray[np.float32]") -> None:
    if not np.isfinite(values).all():
        raise RowsError("the rows contain missing values, NaN or infinity")


def _is_verbose(accept: str | None) -> bool:
    parameters = (accept or "").lower().replace(" ", "").split(";")[1:]
    return "verbose=true" in parameters


def _encode(table: "Mapping[str, NDArray[Any]]", content_type: str, envelope: str) -> bytes:
    if content_type == RECORDIO:
        rows = zip(*(np.atleast_2d(values.T).T.astype(np.float32) for values in table.values()), strict=True)
        return b"".join(write_record(dict(zip(table, row, strict=True))) for row in rows)
    if content_type == CSV:
        columns = [np.atleast_2d(table[name].T).T.tolist() for name in sorted(table)]
        lines = [",".join(str(value) for part in row for value in part) for row in zip(*columns, strict=True)]
        return "\n".join(lines).encode() + b"\n"
    columns = [values.tolist() for values in table.values()]
    objects = [dict(zip(table, row, strict=True)) for row in zip(*columns, strict=True)]
    if content_type == JSON_LINES:
        return b"".join(orjson.dumps(one) + b"\n" for one in objects)
    assert content_type == JSON, content_type
    return orjson.dumps({envelope: objects})
