"""What a script of the user is told in script mode: SM_* variables and arguments, worked out of the job's configuration.

Place in the flow: ``script_training`` and ``script_serving`` build the environment of the user's code with this. Names, formats and the
order of arguments are those of AWS's framework containers, so that a script written for them finds what it expects.
"""

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from stagedoor.worker.job import Job

RESERVED_PREFIX = "sagemaker_"
_FRAMEWORK_PARAMETERS = frozenset(
    (
        "sagemaker_program",
        "sagemaker_submit_directory",
        "sagemaker_container_log_level",
        "sagemaker_job_name",
        "sagemaker_region",
        "sagemaker_tuning_objective_metric",
        "sagemaker_s3_output",
        "sagemaker_default_invocations_accept",
        "sagemaker_model_server_workers",
        "sagemaker_model_server_timeout",
        "sagemaker_estimator_class_name",
        "sagemaker_estimator_module",
        "_tuning_objective_metric",
    )
)
_DEFAULT_LOG_LEVEL = 20


def decoded(hyperparameters: Mapping[str, str]) -> dict[str, Any]:
    """Hyperparameters as the SDKs meant them: each value is JSON, or the text itself where it is not."""
    values: dict[str, Any] = {}
    for name, text in hyperparameters.items():
        try:
            values[name] = json.loads(text)
        except (ValueError, RecursionError):
            values[name] = text
    return values


def split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The user's own hyperparameters, and those for the container (``sagemaker_program`` and the like)."""
    own = {
        name: value
        for name, value in values.items()
        if not name.startswith(RESERVED_PREFIX) and name not in _FRAMEWORK_PARAMETERS
    }
    return own, {name: value for name, value in values.items() if name not in own}


def arguments(own: Mapping[str, Any]) -> list[str]:
    """``--name value`` for each hyperparameter, by name; names of one letter have one dash."""
    found: list[str] = []
    for name in sorted(own):
        found += [f"--{name}" if len(name) > 1 else f"-{name}", _argument(own[name])]
    return found


def _argument(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, Any]", value)
        return ",".join(f"{name}={pairs[name]}" for name in sorted(pairs))
    return str(value)


def variables(values: Mapping[str, Any]) -> dict[str, str]:
    """``{"model_dir": …}`` as ``{"SM_MODEL_DIR": …}``: text as it is, everything else as compact JSON."""
    return {f"SM_{name.upper()}": _variable(value) for name, value in values.items()}


def _variable(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def of_training(job: Job, program: str, module_dir: str) -> tuple[dict[str, str], list[str]]:
    """Variables and arguments of a training script. ``module_dir`` is where the source came from (``SM_MODULE_DIR``)."""
    own, container = split(decoded(job.config("hyperparameters") or {}))
    resources: dict[str, Any] = job.config("resourceconfig") or {}
    place = job.place
    channels = {name: str(place / "input" / "data" / name) for name in sorted(job.channels)}
    host = resources.get("current_host", "algo-1")
    hosts = resources.get("hosts", [host])
    facts: dict[str, Any] = {
        "channels": sorted(job.channels),
        "current_host": host,
        "current_instance_group": resources.get("current_group_name", "homogeneousCluster"),
        "current_instance_group_hosts": _group_hosts(resources, hosts),
        "current_instance_type": resources.get("current_instance_type", "local"),
        "distribution_instance_groups": [],
        "framework_module": str(job.options.get("framework_module", "")),
        "hosts": hosts,
        "hps": own,
        "input_config_dir": str(place / "input" / "config"),
        "input_data_config": job.config("inputdataconfig") or {},
        "input_dir": str(place / "input"),
        "instance_groups": [group["instance_group_name"] for group in _groups(resources)],
        "instance_groups_dict": {group["instance_group_name"]: group for group in _groups(resources)},
        "is_hetero": len(_groups(resources)) > 1,
        "is_master": host == hosts[0],
        "is_modelparallel_enabled": None,
        "log_level": container.get("sagemaker_container_log_level", _DEFAULT_LOG_LEVEL),
        "master_hostname": hosts[0],
        "model_dir": str(place / "model"),
        "module_dir": module_dir,
        "module_name": Path(program).stem,
        "network_interface_name": resources.get("network_interface_name", "lo"),
        "num_cpus": job.threads,
        "num_gpus": 0,
        "num_neurons": 0,
        "output_data_dir": str(place / "output" / "data"),
        "output_dir": str(place / "output"),
        "output_intermediate_dir": str(place / "output" / "intermediate"),
        "resource_config": resources,
        "topology": None,
        "user_entry_point": program,
    }
    job_name = container.get("sagemaker_job_name") or job.spec.get("name", "")
    given = arguments(own)
    whole = {name: value for name, value in facts.items() if name not in ("hps", "channels", "user_args")} | {
        "additional_framework_parameters": {},
        "channel_input_dirs": channels,
        "hyperparameters": own,
        "job_name": job_name,
    }
    found = variables(
        facts
        | {f"channel_{name}": folder for name, folder in channels.items()}
        | {f"hp_{name}": value for name, value in own.items()}
        | {
            "framework_params": {
                name: value for name, value in container.items() if name in _FRAMEWORK_PARAMETERS
            },
            "job_name": job_name,
            "training_env": whole,
            "user_args": given,
        }
    )
    return found, given


def _groups(resources: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(resources.get("instance_groups", []))


def _group_hosts(resources: Mapping[str, Any], hosts: list[str]) -> list[str]:
    wanted = resources.get("current_group_name")
    return next(
        (group["hosts"] for group in _groups(resources) if group["instance_group_name"] == wanted), hosts
    )


_PACKAGES = Path(__file__).resolve().parent / "container_packages"
_BRIDGE = "bridge"


def container_packages() -> list[str]:
    """Folders with packages that AWS's containers have and scripts import, unless this environment has the real ones."""
    return [
        str(folder)
        for folder in sorted(_PACKAGES.iterdir())
        if folder.is_dir() and folder.name != _BRIDGE and importlib.util.find_spec(folder.name) is None
    ]


def python_path(*folders: Path | str) -> str:
    """PYTHONPATH of a program of the user: these, what the user set, and the containers' packages."""
    given = os.environ.get("PYTHONPATH", "")
    ours = [*container_packages(), str(_PACKAGES / _BRIDGE)]
    return os.pathsep.join([*map(str, folders), *([given] if given else []), *ours])
