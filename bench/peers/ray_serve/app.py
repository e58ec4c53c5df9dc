"""Ray Serve on a Ray of its own: one deployment with two replicas that read the request themselves."""

import signal
import sys
import threading

import ray
from bench.peers.boosters import Boosters, csv_of, json_of
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

QUIET = {"enable_access_log": False}


@serve.deployment(num_replicas=2, max_ongoing_requests=64, logging_config=QUIET)
class Scorer:
    def __init__(self) -> None:
        self._boosters = Boosters()

    async def __call__(self, request: Request) -> Response:
        body = await request.body()
        if request.url.path == "/review":
            return Response(csv_of(self._boosters.review_csv(body)), media_type="text/csv")
        return Response(json_of(self._boosters.row_json(body)), media_type="application/json")


def main() -> None:
    port, folder = int(sys.argv[1]), sys.argv[2]
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=folder,
        _node_ip_address="127.0.0.1",
        object_store_memory=128 * 1024 * 1024,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config=QUIET)
    serve.run(Scorer.bind())
    ended.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
