"""SIGTERM: what is being answered is finished, nothing new is taken, nothing stays behind."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from journeys import made

from stagedoor.testing import Server

SLOW = """
import time

def handler(event, context):
    time.sleep(1.0)
    return "done"
"""


@pytest.mark.journey
def test_an_invocation_under_way_is_answered(stagedoor_server: Callable[..., Server]) -> None:
    server = stagedoor_server()
    made.function(server, "slow", SLOW)
    begun = threading.Event()

    def invoke() -> bytes:
        begun.set()
        return server.client("lambda").invoke(FunctionName="slow")["Payload"].read()

    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(invoke)
        begun.wait()
        time.sleep(0.5)
        assert server.stop() == 0
        assert answer.result() == b'"done"'
    assert not (server.data / "stagedoor.json").exists()
