"""A job's instances, all on this machine: their names, and what each is told of the others. Pure functions.

Place in the flow: training and processing jobs start one process for each host and give it the ``resourceconfig.json``.
"""

from collections.abc import Sequence
from typing import Any

from stagedoor.reconcile.jobs.demand import host_count
from stagedoor.store.records import Document

_GROUP = "homogeneousCluster"


def hosts(document: Document) -> list[str]:
    """The names of a job's hosts."""
    return [f"algo-{number}" for number in range(1, host_count(document) + 1)]


def resource_config(current: str, names: Sequence[str], instance_type: str) -> dict[str, Any]:
    """What the host ``current`` finds in its ``resourceconfig.json``."""
    return {
        "current_host": current,
        "current_instance_type": instance_type,
        "current_group_name": _GROUP,
        "hosts": list(names),
        "instance_groups": [
            {"instance_group_name": _GROUP, "instance_type": instance_type, "hosts": list(names)}
        ],
        "network_interface_name": "lo",
    }
