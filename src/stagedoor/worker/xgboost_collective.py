"""The library's own collective: how the hosts of a job become one cluster, all on this machine.

Place in the flow: the XGBoost algorithm trains within ``joined`` (``algorithms.xgboost_cluster``), and so do scripts through ``rabit_run``
of ``sagemaker_xgboost_container``. The first host runs the tracker on one port, and listens on another one when the tracker is there.
"""

import socket
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager

from xgboost import collective
from xgboost.tracker import RabitTracker

_ADDRESS = "127.0.0.1"
_MEET_S = 120.0
_PAUSE_S = 0.02
_SILENCE_S = 7 * 86_400
"""How long one host may wait for what another one computes: as long as a job may run."""


class HostUnreachableError(Exception):
    """The first host did not come."""


@contextmanager
def joined(names: Sequence[str], me: str, *, port: int, ready_port: int) -> Generator[None]:
    """Within it the library trains on all hosts; ranks follow the order of ``names``, which all hosts give alike.

    When something goes wrong, the cluster is left without a word: the others are ended with this host.
    """
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
            dmlc_task_id=f"{list(names).index(me):06d}",
            dmlc_timeout=_SILENCE_S,
        )
    yield
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
                raise HostUnreachableError(f"The host {first} cannot be reached: {error}") from error
            time.sleep(_PAUSE_S)
