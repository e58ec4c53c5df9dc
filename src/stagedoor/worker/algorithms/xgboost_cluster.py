"""The hosts of a distributed XGBoost job as one cluster, by the library's own collective.

Place in the flow: ``xgboost_training`` trains within ``joined``. The job's options name the hosts that have data and two free ports:
the first of them runs the tracker on one, and listens on the other one when the tracker is there.
"""

import socket
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
from xgboost import collective
from xgboost.tracker import RabitTracker

from stagedoor.worker.algorithms.failures import AlgorithmError
from stagedoor.worker.job import Job

_ADDRESS = "127.0.0.1"
_MEET_S = 120.0
_PAUSE_S = 0.02
_SILENCE_S = 7 * 86_400
"""How long one host may wait for what another one computes: as long as a job may run."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Our place among those that train together; ``names`` in the order of their ranks."""

    names: tuple[str, ...]
    rank: int

    @property
    def is_distributed(self) -> bool:
        return len(self.names) > 1

    @property
    def is_first(self) -> bool:
        """The first host alone writes the model, which is the same on all."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any host. All hosts must ask."""
        if not self.is_distributed:
            return flag
        return bool(collective.allreduce(np.array([int(flag)], dtype=np.int32), collective.Op.MAX)[0])


@contextmanager
def joined(job: Job) -> Generator[Cluster | None]:
    """The cluster; None on a host that has no data to train on.

    When something goes wrong, the cluster is left without a word: the others are ended with this host.
    """
    options = job.options.get("collective")
    if options is None:
        yield Cluster(("algo-1",), 0)
        return
    names, me = tuple(options["hosts"]), job.config("resourceconfig")["current_host"]
    if me not in names:
        yield None
        return
    if len(names) == 1:
        yield Cluster(names, 0)
        return
    port, ready_port = options["ports"]
    tracker: RabitTracker | None = None
    if me == names[0]:
        tracker = RabitTracker(n_workers=len(names), host_ip=_ADDRESS, port=port, sortby="task")
        tracker.start()
        ready = socket.create_server((_ADDRESS, ready_port), backlog=len(names))
    else:
        ready = _met(ready_port, names[0])
    with closing(ready):
        collective.init(
            dmlc_communicator="rabit",
            dmlc_tracker_uri=_ADDRESS,
            dmlc_tracker_port=port,
            # Ranks follow the order of these texts.
            dmlc_task_id=f"{names.index(me):06d}",
            dmlc_timeout=_SILENCE_S,
        )
    yield Cluster(names, collective.get_rank())
    collective.finalize()
    if tracker is not None:
        tracker.wait_for()


def _met(port: int, first: str) -> socket.socket:
    """Wait until the first host's tracker is there."""
    deadline = time.monotonic() + _MEET_S
    while True:
        try:
            return socket.create_connection((_ADDRESS, port), timeout=_MEET_S)
        except OSError as error:
            if time.monotonic() > deadline:
                raise AlgorithmError(f"The host {first} cannot be reached: {error}") from error
            time.sleep(_PAUSE_S)
