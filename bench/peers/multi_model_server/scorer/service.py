"""The custom service of AWS's multi-model-server: raw bodies in, texts out."""

from typing import Any

from bench.peers.boosters import Boosters, csv_of, features_of

boosters = Boosters()


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[str]:
    """One answer per request of the batch; None asks whether the model is loaded."""
    if data is None:
        return []
    return [csv_of(_scores(one["body"])) for one in data]


def _scores(body: Any) -> list[float]:
    if isinstance(body, dict):  # the server has read the JSON
        return boosters.rows(features_of(body))
    return boosters.review(body.encode() if isinstance(body, str) else bytes(body))
