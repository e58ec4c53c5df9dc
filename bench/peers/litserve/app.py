"""LitServe: one LitAPI in two worker processes, which read JSON: a review is a list of numbers in it."""

import sys
from typing import Any

import litserve
import numpy as np
from bench.peers.boosters import Boosters, features_of


class Scorer(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self._boosters = Boosters()

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def predict(self, x: dict[str, Any]) -> list[float]:
        if "review" in x:
            return self._boosters.review(np.array([x["review"]], np.float32))
        return self._boosters.rows(features_of(x))

    def encode_response(self, output: list[float]) -> dict[str, Any]:
        return {"predictions": output}


if __name__ == "__main__":
    server = litserve.LitServer(Scorer(), accelerator="cpu", workers_per_device=2, timeout=60)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False)
