"""How much of the machine a job asks for, and how long it may wait for it: what its record says, whatever kind of job it is.

Place in the flow: ``jobs.act`` asks for ``plan``; the kinds of jobs ask how many hosts they have.
"""

from collections.abc import Mapping
from typing import Any

from stagedoor.domain.instance_types import vcpus
from stagedoor.store.records import Document


def _instances(document: Document) -> list[Mapping[str, Any]]:
    """Its groups of instances: ``InstanceType`` and ``InstanceCount``."""
    resources: Mapping[str, Any] = (
        document.get("ResourceConfig")
        or document.get("TransformResources")
        or document.get("ProcessingResources", {}).get("ClusterConfig", {})
    )
    return resources.get("InstanceGroups") or [resources]


def host_count(document: Document) -> int:
    """How many instances it asks for; at least one."""
    return max(1, sum(each.get("InstanceCount", 1) for each in _instances(document)))


def cores(document: Document, machine: int) -> int:
    """Its share of the ``machine``: the vCPUs of all its instances, and never more than there are."""
    wanted = sum(
        vcpus(each.get("InstanceType", "")) * each.get("InstanceCount", 1) for each in _instances(document)
    )
    return min(machine, max(1, wanted))


def max_wait_s(document: Document) -> float | None:
    """From its creation to its end, with the waiting (spot training); None without a limit."""
    wait = document.get("StoppingCondition", {}).get("MaxWaitTimeInSeconds")
    return None if wait is None else float(wait)
