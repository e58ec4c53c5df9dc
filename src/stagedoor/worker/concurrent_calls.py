"""The serving loop for a model that waits for others: each call is answered as soon as it can be, whatever came before it.

Place in the flow: ``model_server`` goes on here for a model with ``concurrency``, instead of answering batch by batch.
"""

import socket
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import NoReturn

from stagedoor.worker import frames, model_server
from stagedoor.worker.connections import Connection, Connections
from stagedoor.worker.model import Model, Request

_ARRIVING_BYTES = 32 * 1024 * 1024


def answer(model: Model, server: Connections, concurrency: int) -> NoReturn:
    """Answer until killed, so many calls at once."""
    answered: SimpleQueue[tuple[Connection, bytes]] = SimpleQueue()
    woken, waking = socket.socketpair()
    server.wake_by(woken)
    server.counters["batches"] = 0

    def work(connection: Connection, frame: frames.Frame) -> None:
        [found] = model_server.predict(model, [Request(frame.meta, frame.body)])
        answered.put((connection, model_server.encoded(frame.id, found)))
        waking.send(b".")

    threads = ThreadPoolExecutor(concurrency)
    while True:
        for call in server.wait(_ARRIVING_BYTES, block=True):
            server.counters["batches"] += 1
            threads.submit(work, *call)
        while not answered.empty():
            server.answer(*answered.get())
        server.flush()
