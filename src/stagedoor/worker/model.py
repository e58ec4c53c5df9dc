"""What a serving algorithm is: a module with ``load``, giving an object with ``predict``.

Place in the flow: ``worker.model_server`` loads ``stagedoor.worker.algorithms.<ModelSpec.algorithm>`` and hands it all
requests that had arrived, as one batch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from stagedoor.worker.specs import ModelSpec


class Request(NamedTuple):
    """One invocation: ``meta`` is an ``InvocationMeta``, ``body`` is what the client sent."""

    meta: Mapping[str, Any]
    body: bytes


class Result(NamedTuple):
    """One answer: the body and its content type."""

    body: bytes
    content_type: str = "text/csv; charset=utf-8"
    custom_attributes: str | None = None


class Fault(NamedTuple):
    """One request that cannot be answered, with the HTTP status a container would give (415, 400, 406, 500)."""

    status: int
    reason: str
    traceback: str = ""


class Model(Protocol):
    """A loaded model. ``predict`` answers each request of the batch, in order, with a Result or a Fault.

    It is called from one thread only. An exception fails the whole batch with status 500, so what is wrong with one
    request must become its Fault. A model may also have ``details`` (JSON), which the HELLO carries to the server, and ``settle()``, called
    once: soon after it was loaded, or when the first batch has been answered if that comes before. It is for what only makes answers
    faster. One with ``concurrency`` gets that many requests at once instead, each as a batch of its own in a thread of its own.
    """

    def predict(self, requests: Sequence[Request]) -> Sequence[Result | Fault]: ...


class Algorithm(Protocol):
    """The module: ``load`` is called once, in the worker, and may raise; the text becomes the endpoint's FailureReason."""

    def load(self, spec: ModelSpec, model_dir: Path) -> Model: ...
