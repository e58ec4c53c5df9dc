"""Serves XGBoost models as AWS's built-in algorithm does: CSV, LIBSVM, JSON or RecordIO rows in, CSV or JSON out.

Place in the flow: ``worker.model_server`` calls ``load`` once and then ``predict`` with every batch of requests that had
arrived. All small requests of a batch are scored as one matrix; those of CSV counts are read together, too. A few rows are scored by
``tree_ensemble`` (checked against the booster soon after loading), many by the booster itself.

Environment variables of the model, as AWS's container knows them: ``SAGEMAKER_BATCH`` (one prediction per line),
``SAGEMAKER_INFERENCE_OUTPUT`` (selected members), ``SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT``,
``SAGEMAKER_INFERENCE_ENSEMBLE`` (``false``: only the first of several model files).
"""

import os
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import xgboost

from stagedoor.worker.algorithms import predictions, request_rows
from stagedoor.worker.algorithms.booster_scorer import BoosterScorer
from stagedoor.worker.algorithms.csv_rows import RowsError, read_lines
from stagedoor.worker.algorithms.failures import ModelFileError
from stagedoor.worker.algorithms.predictions import AcceptError
from stagedoor.worker.algorithms.request_rows import (
    ContentTypeError,
    DenseRows,
    FeatureCountError,
    Rows,
    SparseRows,
)
from stagedoor.worker.model import Fault, Request, Result
from stagedoor.worker.specs import ModelSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SUFFIXES = {".json", ".ubj", ".model", ".bin", ".pkl", ".pickle", ".xgb"}
_PICKLE_START = b"\x80"
_SMALL_BODY_BYTES = 256 * 1024
_SMALL_CELLS = 64 * 1024
_OPERATOR_NAMES = {
    request_rows.CSV: "csv",
    request_rows.LIBSVM: "libsvm",
    request_rows.JSON: "json",
    request_rows.RECORDIO: "recordio-protobuf",
}


def load(spec: ModelSpec, model_dir: Path) -> "XgboostModel":
    """Load all boosters of ``model_dir`` (usually one, ``xgboost-model``). ModelFileError when there is none."""
    paths = _model_files(model_dir)
    if os.environ.get("SAGEMAKER_INFERENCE_ENSEMBLE", "true").lower() == "false":
        paths = paths[:1]
    scorers = [BoosterScorer(_load_booster(path), settled=False) for path in paths]
    if len({scorer.features for scorer in scorers}) > 1:
        raise ModelFileError("the model files differ in their number of features: " + _names(paths))
    print(f"Model loaded from {_names(paths)}: {scorers[0].description}", flush=True)
    return XgboostModel(scorers)


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths)


def _model_files(model_dir: Path) -> list[Path]:
    files = sorted(path for path in model_dir.iterdir() if path.is_file() and not path.name.startswith("."))
    named = [path for path in files if path.name.startswith("xgboost-model")]
    found = named or [path for path in files if path.suffix in _SUFFIXES] or files[:1]
    if not found:
        raise ModelFileError(
            "model.tar.gz holds no file: expected xgboost-model (or *.json, *.ubj, *.model, *.bin)"
        )
    return found


def _load_booster(path: Path) -> xgboost.Booster:
    content = path.read_bytes()
    if content.startswith(_PICKLE_START):
        booster = _unpickle(path.name, content)
    else:
        booster = xgboost.Booster()
        try:
            booster.load_model(bytearray(content))  # pyright: ignore[reportUnknownMemberType]
        except xgboost.core.XGBoostError as error:
            first_line = str(error).partition("\n")[0]
            raise ModelFileError(
                f"Model at {path.name} cannot be loaded by XGBoost {xgboost.__version__}: {first_line}. "
                "It must be saved as JSON or UBJSON (Booster.save_model); the binary format of XGBoost before 1.0 "
                "can be converted with any XGBoost from 1.0 to 3.0."
            ) from error
    booster.set_param([("nthread", 1)])  # pyright: ignore[reportUnknownMemberType]
    return booster


def _unpickle(name: str, content: bytes) -> xgboost.Booster:
    """Containers of XGBoost before 1.3 saved pickles. Loading one runs code, so it happens here, in the worker, only."""
    try:
        loaded: Any = pickle.loads(content)  # noqa: S301 - see above
    except Exception as error:
        raise ModelFileError(
            f"Model at {name} is a pickle that XGBoost {xgboost.__version__} cannot load: {error}"
        ) from error
    booster = loaded.get_booster() if hasattr(loaded, "get_booster") else loaded
    if not isinstance(booster, xgboost.Booster):
        raise ModelFileError(f"Model at {name} is a pickled {type(loaded).__name__}, not an XGBoost booster")
    return booster


def _media_type(content_type: str) -> str:
    media = request_rows.media_type(content_type, tuple(_OPERATOR_NAMES))
    if media.label_size not in (None, 1):
        raise ContentTypeError(f"{content_type} is not an accepted csv ContentType: label_size must be 1")
    return media.name


def _is_small(rows: "Rows | Result | Fault") -> TypeGuard[DenseRows]:
    """Whether these are few enough to be scored together with others."""
    return isinstance(rows, DenseRows) and rows.matrix.size <= _SMALL_CELLS


class XgboostModel:
    """One or several boosters (their answers are averaged) with the formats of AWS's container around them."""

    def __init__(self, scorers: Sequence[BoosterScorer]) -> None:
        self._scorers = scorers
        self._features = scorers[0].features
        self._batch = os.environ.get("SAGEMAKER_BATCH", "").lower() in ("true", "1")
        self._default_accept = predictions.accepted(os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT"))
        selected = os.environ.get("SAGEMAKER_INFERENCE_OUTPUT", "")
        self._selected = selected.replace(" ", "").lower().split(",") if selected else []
        self.details: dict[str, Any] = {
            "features": self._features,
            "boosters": [s.description for s in scorers],
        }

    def settle(self) -> None:
        """From now on the fastest way to the same answers."""
        for scorer in self._scorers:
            scorer.settle()
            print(f"Scores: {scorer.description}", flush=True)

    def predict(self, requests: Sequence[Request]) -> Sequence[Result | Fault]:
        """One result or fault per request, in order."""
        if len(requests) == 1:
            return [self._answer(requests[0], self._read(requests[0]))]
        counts = self._read_counts(requests)
        if counts is not None:
            matrix, lengths = counts
            scores = self._parts(matrix, lengths)
            return [self._encode(request, next(scores)) for request in requests]
        read = [self._read(request) for request in requests]
        small = [rows.matrix for rows in read if _is_small(rows)]
        scores = self._parts(np.concatenate(small), [len(rows) for rows in small]) if small else iter(())
        return [
            self._encode(request, next(scores)) if _is_small(rows) else self._answer(request, rows)
            for request, rows in zip(requests, read, strict=True)
        ]

    def _parts(
        self, matrix: "NDArray[np.float32]", lengths: Sequence[int]
    ) -> "Iterator[NDArray[np.float32]]":
        """The scores of requests that have ``lengths`` rows each in ``matrix``."""
        scores = self._score(matrix)
        start = 0
        for length in lengths:
            yield scores[start : start + length]
            start += length

    def _read_counts(self, requests: Sequence[Request]) -> "tuple[NDArray[np.float32], list[int]] | None":
        """All requests as one matrix, when all are small CSV bodies of integers of the right width; else None."""
        lines: list[bytes] = []
        counts: list[int] = []
        for request in requests:
            body = request.body.strip()
            if (
                not body
                or len(body) > _SMALL_BODY_BYTES
                or request.meta.get("content_type", "text/csv") != "text/csv"
            ):
                return None
            rows = body.split(b"\n") if b"\n" in body else [body]
            lines += rows
            counts.append(len(rows))
        matrix = read_lines(lines)
        if matrix is None or matrix.shape[1] != self._features:
            return None
        return matrix, counts

    def _read(self, request: Request) -> "Rows | Result | Fault":
        """The rows of a request, or its answer when it has none."""
        if not request.body:
            # AWS's container answers an empty body with an empty answer (204).
            return Result(b"", "text/csv; charset=utf-8")
        try:
            media = _media_type(request.meta.get("content_type") or request_rows.CSV)
        except ContentTypeError as error:
            return Fault(415, str(error))
        name = _OPERATOR_NAMES[media]
        try:
            return request_rows.read_rows(media, request.body, self._features)
        except RowsError as error:
            return Fault(
                415,
                f"Loading {name} data failed with Exception, please ensure data is in {name} format: {error}",
            )
        except FeatureCountError as error:
            return Fault(400, f"Unable to evaluate payload provided: {error}")

    def _answer(self, request: Request, rows: "Rows | Result | Fault") -> Result | Fault:
        if isinstance(rows, DenseRows):
            return self._encode(request, self._score(rows.matrix))
        if isinstance(rows, SparseRows):
            chunks = rows.chunks(self._features)
            return self._encode(request, np.concatenate([self._score(chunk) for chunk in chunks]))
        return rows

    def _score(self, matrix: "NDArray[np.float32]") -> "NDArray[np.float32]":
        if len(self._scorers) == 1:
            return self._scorers[0].score(matrix)
        return np.mean([scorer.score(matrix) for scorer in self._scorers], axis=0)

    def _encode(self, request: Request, scores: "NDArray[np.float32]") -> Result | Fault:
        try:
            content_type = predictions.accepted(request.meta.get("accept"), self._default_accept)
        except AcceptError as error:
            return Fault(406, str(error))
        if self._selected:
            first = self._scorers[0]
            try:
                body = predictions.encode_selected(
                    scores, self._selected, first.objective, first.classes, content_type
                )
            except ValueError as error:
                return Fault(500, str(error))
        else:
            one_per_line = bool(request.meta.get("batch", self._batch))
            body = predictions.encode(scores, content_type, one_per_line=one_per_line)
        if content_type == predictions.CSV:
            content_type = "text/csv; charset=utf-8"
        # The model may say something with its answer; what this one says is what it was told (a trace id, usually).
        return Result(body, content_type, request.meta.get("custom_attributes"))
