"""A BentoML service with two workers: an array of numpy for the review, JSON for the row. No batching: it is off by default."""

from typing import Annotated, Any

import bentoml
import numpy as np
from bench.peers.boosters import Boosters, features_of
from bentoml.validators import DType


@bentoml.service(workers=2, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Scorer:
    def __init__(self) -> None:
        self._boosters = Boosters()

    @bentoml.api(route="/review")
    async def review(self, counts: Annotated[np.ndarray, DType("float32")]) -> list[float]:
        return self._boosters.review(counts)

    @bentoml.api(route="/row")
    async def row(self, instances: list[dict[str, Any]]) -> list[float]:
        return self._boosters.rows(features_of({"instances": instances}))
