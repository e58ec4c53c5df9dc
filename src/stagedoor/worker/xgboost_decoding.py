"""Data as XGBoost's own matrix, for scripts that use XGBoost as a framework.

Place in the flow: ``script_handlers`` reads requests with it; scripts get it as ``sagemaker_xgboost_container``. The formats are those of
the built-in algorithm.
"""

from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from stagedoor.worker.algorithms import request_rows, sparse_rows
from stagedoor.worker.algorithms.channels import Channel, content_format
from stagedoor.worker.algorithms.examples import read_examples
from stagedoor.worker.algorithms.specification import specification
from stagedoor.worker.script_codecs import UnsupportedFormatError


def decode(body: Any, content_type: str) -> xgboost.DMatrix:
    """A request's rows, which have no label. UnsupportedFormatError; ValueError when they cannot be read."""
    try:
        media = request_rows.media_type(content_type, specification("xgboost").requests)
    except request_rows.ContentTypeError as error:
        raise UnsupportedFormatError(content_type) from error
    data = body.encode() if isinstance(body, str) else bytes(body)
    rows = request_rows.rows_of_any_width(media.name, data)
    if isinstance(rows, request_rows.DenseRows):
        return xgboost.DMatrix(rows.matrix)
    width = int(rows.columns.max()) + 1 if len(rows.columns) else 1
    return xgboost.DMatrix(sparse_rows.sparse_rows(rows.values, rows.columns, rows.starts, width))


def get_dmatrix(
    data_path: Any, content_type: str, csv_weights: int = 0, is_pipe: bool = False
) -> xgboost.DMatrix | None:
    """All files below ``data_path`` (or several such paths); None when there are none. The label is the first column."""
    if is_pipe:
        raise ValueError("Pipe mode is not supported by this release of stagedoor: use File")
    given: list[Any] = list(data_path) if isinstance(data_path, (list, tuple)) else [data_path]  # pyright: ignore[reportUnknownArgumentType]
    paths = [Path(each) for each in given]
    files = tuple(
        file
        for path in paths
        for file in ([path] if path.is_file() else sorted(path.rglob("*")))
        if file.is_file() and file.stat().st_size > 0 and not file.name.startswith((".", "_"))
    )
    if not files:
        return None
    kind, label_size = content_format(content_type, specification("xgboost").channels)
    pieces = read_examples(Channel("train", kind, files, label_size), weight_column=bool(csv_weights))
    features = [piece.features for piece in pieces]
    is_dense = all(isinstance(each, np.ndarray) for each in features)
    matrix = np.concatenate(features) if is_dense else sparse_rows.stacked(features)
    weights = [piece.weights for piece in pieces if piece.weights is not None]
    return xgboost.DMatrix(
        matrix,
        label=np.concatenate([piece.labels for piece in pieces]),
        weight=np.concatenate(weights) if weights else None,
    )


def get_size(path: str, is_pipe: bool = False) -> int:
    """The bytes of all files below ``path``."""
    del is_pipe
    return sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())
