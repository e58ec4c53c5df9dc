"""The custom service of AWS's multi-model-server: raw bodies in, texts out. CSV is decoded by the toolkit that AWS's containers have."""

from typing import Any

import numpy as np
from bench.peers.boosters import Boosters, csv_of, features_of
from sagemaker_inference import content_types, decoder


def read_counts(body: bytes) -> np.ndarray:
    """One row of counts, by the decoder of the SageMaker inference toolkit."""
    return decoder.decode(body.decode(), content_types.CSV).astype(np.float32).reshape(1, -1)


boosters = Boosters(read_counts)


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[str]:
    """One answer per request of the batch; None asks whether the model is loaded."""
    if data is None:
        return []
    return [csv_of(_scores(one["body"])) for one in data]


def _scores(body: Any) -> list[float]:
    if isinstance(body, dict):  # the server has read the JSON
        return boosters.rows(features_of(body))
    return boosters.review_csv(body.encode() if isinstance(body, str) else bytes(body))
