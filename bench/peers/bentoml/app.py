"""A BentoML service with two workers and root inputs: a text for the review, JSON for the row. No batching: it is off by default."""

from typing import Any

import bentoml
from bench.peers.boosters import Boosters, features_of


@bentoml.service(workers=2, traffic={"timeout": 60})
class Scorer:
    def __init__(self) -> None:
        self._boosters = Boosters()

    @bentoml.api(route="/review")
    async def review(self, text: str, /) -> list[float]:
        return self._boosters.review(text.encode())

    @bentoml.api(route="/row")
    async def row(self, instances: list[dict[str, Any]]) -> list[float]:
        return self._boosters.rows(features_of({"instances": instances}))
