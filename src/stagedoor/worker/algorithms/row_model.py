"""Serves rows of numbers as SageMaker's own algorithms do: CSV, JSON, JSON lines or RecordIO in and out.

Place in the flow: ``NAME_serving.load`` wraps what it loaded in a ``RowModel``; ``worker.model_server`` calls ``predict``. The
algorithm itself only sees matrices: it gives one array for each member of the answer (``RowPredictor``).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import orjson

from stagedoor.worker.algorithms import predictions, request_rows, sparse_rows
from stagedoor.worker.algorithms.csv_rows import RowsError
from stagedoor.worker.algorithms.predictions import CSV, JSON, JSON_LINES, AcceptError
from stagedoor.worker.algorithms.recordio import write_record
from stagedoor.worker.algorithms.request_rows import ContentTypeError, FeatureCountError, SparseRows
from stagedoor.worker.algorithms.specification import specification
from stagedoor.worker.model import Fault, Request, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

RECORDIO = request_rows.RECORDIO


@dataclass(frozen=True, slots=True)
class RowAnswers:
    """One array for each member of the answer, one entry (a number, or a row of numbers) for each row asked about.

    ``verbose`` are members that only ``Accept: …; verbose=true`` shows.
    """

    members: "Mapping[str, NDArray[Any]]"
    verbose: "Mapping[str, NDArray[Any]]" = field(default_factory=dict[str, Any])


class RowPredictor(Protocol):
    """A loaded model. ``takes_sparse``: ``answer`` may also be given a CSR matrix of ``features`` columns."""

    features: int
    takes_sparse: bool

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
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Result | Fault:
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
            answers = self._answers_for(rows)
        except (RowsError, FeatureCountError) as error:
            return Fault(400, f"unable to evaluate payload provided: {error}")
        members = dict(answers[0].members)
        if _is_verbose(accept):
            members |= answers[0].verbose
        table = {
            name: np.concatenate([{**part.members, **part.verbose}[name] for part in answers])
            for name in members
        }
        return Result(
            _encode(table, content_type, self._envelope), content_type, request.meta.get("custom_attributes")
        )

    def _answers_for(self, rows: request_rows.Rows) -> list[RowAnswers]:
        predictor = self._predictor
        if isinstance(rows, SparseRows) and predictor.takes_sparse:
            matrix = sparse_rows.sparse_rows(rows.values, rows.columns, rows.starts, predictor.features)
            _check_finite(rows.values)
            return [predictor.answer(matrix)]
        answers: list[RowAnswers] = []
        for chunk in rows.chunks(predictor.features, absent=0.0):
            _check_finite(chunk)
            answers.append(predictor.answer(chunk))
        return answers


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
