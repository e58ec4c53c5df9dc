"""``rabit_run`` and ``Rabit``: scripts for the XGBoost container train on all hosts with them.

They stand on the collective of the library that is installed. Within them ``xgboost.train`` is distributed.
"""

import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from types import TracebackType
from typing import Any

from xgboost import collective

from stagedoor.worker import xgboost_collective
from stagedoor.worker.script_launch import PORTS_VARIABLE

LOCAL_HOSTNAME = "127.0.0.1"
_PORT, _READY_PORT = 9099, 9599


def wait_hostname_resolution(sm_hosts: Sequence[str]) -> None:
    """Every host's name leads to it from the beginning: all are on this machine."""
    for host in sm_hosts:
        socket.gethostbyname(host)


def rabit_run(
    exec_fun: Callable[..., Any],
    args: Mapping[str, Any],
    include_in_training: bool,
    hosts: Sequence[str],
    current_host: str,
    first_port: int | None = None,
    second_port: int | None = None,
    max_connect_attempts: int | None = None,
    connect_retry_timeout: int = 3,
    update_rabit_args: bool = False,
) -> None:
    """Call ``exec_fun(**args)`` on every host that has data (``include_in_training``), as one cluster; the others end here.

    With ``update_rabit_args`` it is told whether it is the master (``is_master``).
    """
    with Rabit(hosts, current_host, port=first_port) as meeting:
        mine = {
            "host": current_host,
            "include_in_training": bool(include_in_training),
            "ports": _free_ports(second_port) if meeting.world_size > 1 else [None, None],
        }
        records = [each for each in meeting.synchronize(mine) if each["include_in_training"]]
    if not records:
        raise RuntimeError("No hosts received training data.")
    if not include_in_training:
        logging.warning("Host %s not being used for distributed training.", current_host)
        sys.exit(0)
    names = [str(each["host"]) for each in records]
    first = next(each for each in records if each["host"] == sorted(names)[0])
    port, ready_port = first["ports"]
    with Rabit(names, current_host, port=port, ready_port=ready_port) as cluster:
        told = {"is_master": cluster.is_master} if update_rabit_args else {}
        exec_fun(**{**args, **told})


def _free_ports(wanted: int | None) -> list[int]:
    with (
        closing(socket.create_server((LOCAL_HOSTNAME, 0))) as one,
        closing(socket.create_server((LOCAL_HOSTNAME, 0))) as other,
    ):
        return [wanted or one.getsockname()[1], other.getsockname()[1]]


class RabitHelper:
    """One host among those that have met."""

    def __init__(self, is_master: bool, current_host: str, master_port: int) -> None:
        self.is_master = is_master
        self.current_host = current_host
        self.master_port = master_port
        self.rank: int = collective.get_rank()
        self.world_size: int = collective.get_world_size()

    def synchronize(self, data: Any) -> list[Any]:
        """What each host gave, by rank. All hosts must call it."""
        if self.world_size == 1:
            return [data]
        text = json.dumps(data)
        given = [
            collective.broadcast(text if rank == self.rank else "", rank) for rank in range(self.world_size)
        ]
        return [json.loads(str(each)) for each in given]


class Rabit:
    """All ``hosts`` as one cluster, while the context is open. Without ``port`` it is the job's own."""

    def __init__(
        self,
        hosts: Sequence[str],
        current_host: str | None = None,
        master_host: str | None = None,
        port: int | None = None,
        max_connect_attempts: int | None = None,
        connect_retry_timeout: int = 3,
        *,
        ready_port: int | None = None,
    ) -> None:
        if max_connect_attempts is not None and max_connect_attempts <= 0:
            raise ValueError("max_connect_attempts must be None or an integer greater than 0.")
        self.hosts = sorted(hosts)
        self.n_workers = len(self.hosts)
        self.current_host = current_host or LOCAL_HOSTNAME
        self.master_host = master_host or self.hosts[0]
        self.is_master_host = self.current_host == self.master_host
        own = [int(each) for each in os.environ.get(PORTS_VARIABLE, "").split(",") if each]
        default, default_ready = own if len(own) == 2 else (_PORT, _READY_PORT)
        self.port = port or default
        self._ready_port = ready_port or default_ready
        self._joined: AbstractContextManager[None] | None = None

    def start(self) -> RabitHelper:
        """Wait for the other hosts."""
        if self.n_workers == 1:
            return RabitHelper(True, self.current_host, self.port)
        # The tracker is the first one's: ranks follow this order.
        order = [self.master_host, *(host for host in self.hosts if host != self.master_host)]
        self._joined = xgboost_collective.joined(
            order, self.current_host, port=self.port, ready_port=self._ready_port
        )
        self._joined.__enter__()
        return RabitHelper(self.is_master_host, self.current_host, self.port)

    def stop(self) -> None:
        """Leave the cluster. All hosts do."""
        self.__exit__(None, None, None)

    def __enter__(self) -> RabitHelper:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        joined, self._joined = self._joined, None
        if joined is not None:
            joined.__exit__(kind, error, trace)
