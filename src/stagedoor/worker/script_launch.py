"""How a training script is started: by Python, by the shell, or on each host by ``torchrun``; and what its hosts need to meet.

Place in the flow: ``script_training`` asks for the command; it and ``container_entry`` give their programs ``meeting``'s variables. Which
hyperparameters ask for ``torchrun`` is AWS's choice: SDK v2 sends them for ``distribution``.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from stagedoor.worker.job import CONTAINER_ROOT, Job, JobFailed

PORTS_VARIABLE = "STAGEDOOR_PORTS"
"""Two ports of the job's own, the same on all its hosts: on one machine, AWS's fixed ones would be another job's as well."""

_TORCHRUN = (
    "sagemaker_torch_distributed_enabled",
    "sagemaker_pytorch_ddp_enabled",
    "sagemaker_distributed_dataparallel_enabled",  # what SDK v2 makes of pytorchddp
)
_PROCESSES = "sagemaker_mpi_num_of_processes_per_host"
_TORCH_PORT = 7777
_TORCH_RUNTIMES = ("pytorch", "huggingface")


def command(
    job: Job, program: str, given: Sequence[str], container: Mapping[str, Any], *, is_package: bool
) -> list[str]:
    """The script as a command. ``container``: the hyperparameters that are the container's; ``given``: the script's arguments."""
    if any(container.get(name) is True for name in _TORCHRUN):
        if is_package or not program.endswith(".py"):
            raise JobFailed(
                f"ClientError: {program} cannot be started by torch_distributed, which runs a Python script (and no package "
                "with a setup.py)"
            )
        print("stagedoor: torchrun starts the script; the libraries smdistributed and smddp are not here.")
        return [*_torchrun(job, container), program, *given]
    if not program.endswith(".py"):
        return ["/bin/sh", "-c", shlex.join([f"./{program}", *given])]
    if is_package:
        return [sys.executable, "-m", program.removesuffix(".py").replace("/", "."), *given]
    return [sys.executable, program, *given]


def _torchrun(job: Job, container: Mapping[str, Any]) -> list[str]:
    hosts, me = _hosts(job)
    options = {
        "nnodes": len(hosts),
        "nproc_per_node": container.get(_PROCESSES) or 1,
        "master_addr": _address(job, hosts[0]),
        "master_port": _port(job),
        "node_rank": hosts.index(me),
    }
    launcher = [sys.executable, "-m", "stagedoor.worker.torchrun"]
    return [*launcher, *(f"--{name}={value}" for name, value in options.items())]


def meeting(job: Job) -> dict[str, str]:
    """Variables by which the hosts of a job find each other."""
    hosts, _ = _hosts(job)
    resources: dict[str, Any] = job.config("resourceconfig") or {}
    interface = str(resources.get("network_interface_name", "lo"))
    # Without these PyTorch listens where the machine's own name leads to, which may be open to the network.
    found = {"GLOO_SOCKET_IFNAME": interface, "TP_SOCKET_IFNAME": interface}
    if ports := _ports(job):
        found[PORTS_VARIABLE] = ",".join(map(str, ports))
    if job.options.get("framework") in _TORCH_RUNTIMES:
        found |= {
            "MASTER_ADDR": _address(job, hosts[0]),
            "MASTER_PORT": str(_port(job)),
            "NCCL_SOCKET_IFNAME": interface,
            "NCCL_IB_DISABLE": "1",
            "NCCL_DEBUG": "WARN",
        }
    return found


def _hosts(job: Job) -> tuple[list[str], str]:
    resources: dict[str, Any] = job.config("resourceconfig") or {}
    me = str(resources.get("current_host", "algo-1"))
    return list(resources.get("hosts", [me])), me


def _address(job: Job, host: str) -> str:
    """The host's name where the job has a file of hosts of its own."""
    return host if job.place == CONTAINER_ROOT else "127.0.0.1"


def _ports(job: Job) -> list[int]:
    collective: dict[str, Any] = job.options.get("collective", {})
    return list(collective.get("ports", []))


def _port(job: Job) -> int:
    return next(iter(_ports(job)), _TORCH_PORT)
