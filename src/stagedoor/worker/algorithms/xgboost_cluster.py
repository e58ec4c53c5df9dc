"""The hosts of a distributed XGBoost job as one cluster.

Place in the flow: ``xgboost_training`` trains within ``joined``. The job's options name the hosts that have data and two free ports.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from xgboost import collective

from stagedoor.worker import xgboost_collective
from stagedoor.worker.algorithms.failures import AlgorithmError
from stagedoor.worker.job import Job


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
    """The cluster; None on a host that has no data to train on."""
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
    try:
        with xgboost_collective.joined(names, me, port=port, ready_port=ready_port):
            yield Cluster(names, collective.get_rank())
    except xgboost_collective.HostUnreachableError as error:
        raise AlgorithmError(str(error)) from error
