"""The facts of a job or an endpoint as objects: what ``sagemaker_containers`` and ``sagemaker_training`` give a script.

Place in the flow: imported in the user's process by the packages of ``container_packages``; read from its SM_* variables.
"""

import json
import os
from typing import Any


def _json(name: str, default: Any) -> Any:
    text = os.environ.get(f"SM_{name}", "")
    try:
        return json.loads(text) if text else default
    except ValueError:
        return default


def _text(name: str, default: str = "") -> str:
    return os.environ.get(f"SM_{name}", default)


class TrainingEnv:
    """A training job's facts, as attributes and by name."""

    def __init__(self) -> None:
        whole: dict[str, Any] = _json("TRAINING_ENV", {})
        self.additional_framework_parameters: dict[str, Any] = whole.get(
            "additional_framework_parameters", {}
        )
        self.channel_input_dirs: dict[str, str] = whole.get("channel_input_dirs", {})
        self.current_host: str = _text("CURRENT_HOST")
        self.current_instance_type: str = _text("CURRENT_INSTANCE_TYPE")
        self.framework_module: str = _text("FRAMEWORK_MODULE")
        self.hosts: list[str] = _json("HOSTS", [])
        self.hyperparameters: dict[str, Any] = _json("HPS", {})
        self.input_config_dir: str = _text("INPUT_CONFIG_DIR")
        self.input_data_config: dict[str, Any] = _json("INPUT_DATA_CONFIG", {})
        self.input_dir: str = _text("INPUT_DIR")
        self.is_master: bool = _json("IS_MASTER", True)
        self.job_name: str = _text("JOB_NAME")
        self.log_level: int = _json("LOG_LEVEL", 20)
        self.master_hostname: str = _text("MASTER_HOSTNAME")
        self.model_dir: str = _text("MODEL_DIR")
        self.module_dir: str = _text("MODULE_DIR")
        self.module_name: str = _text("MODULE_NAME")
        self.network_interface_name: str = _text("NETWORK_INTERFACE_NAME")
        self.num_cpus: int = _json("NUM_CPUS", 1)
        self.num_gpus: int = _json("NUM_GPUS", 0)
        self.output_data_dir: str = _text("OUTPUT_DATA_DIR")
        self.output_dir: str = _text("OUTPUT_DIR")
        self.output_intermediate_dir: str = _text("OUTPUT_INTERMEDIATE_DIR")
        self.resource_config: dict[str, Any] = _json("RESOURCE_CONFIG", {})
        self.user_entry_point: str = _text("USER_ENTRY_POINT")

    def __getitem__(self, name: str) -> Any:
        """The fact of that name."""
        try:
            return getattr(self, name)
        except AttributeError:
            raise KeyError(name) from None

    def get(self, name: str, default: Any = None) -> Any:
        """The fact of that name, or ``default``."""
        return getattr(self, name, default)

    def to_env_vars(self) -> dict[str, str]:
        """The variables that say the same."""
        return {name: value for name, value in os.environ.items() if name.startswith("SM_")}

    def to_cmd_args(self) -> list[str]:
        """The arguments that the script was started with."""
        given: list[str] = _json("USER_ARGS", [])
        return given


class ServingEnv:
    """An endpoint's facts."""

    def __init__(self) -> None:
        self.default_accept: str = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "application/json")
        self.model_dir: str = _text("MODEL_DIR", "/opt/ml/model")
        self.module_name: str = os.environ.get("SAGEMAKER_PROGRAM", "").removesuffix(".py")
        self.num_cpus: int = os.cpu_count() or 1
        self.num_gpus = 0
