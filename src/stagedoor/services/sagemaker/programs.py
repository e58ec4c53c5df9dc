"""What of the user's own runs in a job or model: a script for a framework, or a container's command.

Place in the flow: CreateTrainingJob, CreateModel and CreateProcessingJob put what this gives into the record under ``program``;
reconcilers start it. ``is_distributed``: the processes of even one host talk to each other. ``kind`` is ``script`` (the contract of AWS's framework containers), ``command``, or ``serve`` (an HTTP
server, the contract of all containers); ``runtime`` and ``version`` are
what the image stands for and asks for; ``network`` says whether it gets to AWS's services with its role. A record without a
program is a built-in algorithm.
"""

import json
from collections.abc import Mapping
from typing import Any

from stagedoor.domain import batch_limits, images
from stagedoor.services.call import Call
from stagedoor.services.sagemaker import artifacts
from stagedoor.services.sagemaker.names import validation
from stagedoor.services.sagemaker.refusals import unsupported

Program = dict[str, Any]
_TRAIN = "train"
"""What AWS's images run when nothing else is asked for: the algorithm, or the framework's script."""

# SDK v2 writes pytorchddp as the third, like smdistributed's dataparallel.
_TORCHRUN = (
    "sagemaker_torch_distributed_enabled",
    "sagemaker_pytorch_ddp_enabled",
    "sagemaker_distributed_dataparallel_enabled",
)
_LAUNCHERS = {
    "sagemaker_mpi_enabled": "mpi",
    "mp_parameters": "smdistributed.modelparallel",
    "sagemaker_parameter_server_enabled": "parameter_server",
    "sagemaker_multi_worker_mirrored_strategy_enabled": "multi_worker_mirrored_strategy",
    "sagemaker_pytorch_xla_multi_worker_enabled": "pytorchxla",
}


def of_training(request: Mapping[str, Any], algorithm: images.Algorithm) -> Program | None:
    """A training job's program; None for a built-in algorithm."""
    specification = request["AlgorithmSpecification"]
    hyperparameters: Mapping[str, str] = request.get("HyperParameters", {})
    command = [*specification.get("ContainerEntrypoint", []), *specification.get("ContainerArguments", [])]
    found = {
        "runtime": algorithm.framework or algorithm.name,
        "version": algorithm.version,
        "network": not request.get("EnableNetworkIsolation", False),
    }
    if specification.get("ContainerEntrypoint") and command != [_TRAIN]:
        return found | {"kind": "command", "command": command}
    if command and command != [_TRAIN]:
        raise validation(
            "AlgorithmSpecification.ContainerArguments are arguments of AlgorithmSpecification.ContainerEntrypoint, which is not "
            "given. Images are names of local runtimes here and bring no entry point of their own."
        )
    if algorithm.is_builtin and "sagemaker_program" not in hyperparameters:
        return None
    _refuse_launchers(hyperparameters)
    if any(_is_on(hyperparameters, name) for name in _TORCHRUN):
        found["is_distributed"] = True
    source = _text(hyperparameters.get("sagemaker_submit_directory", ""))
    return found | {"kind": "script"} | ({"source": source} if source.startswith("s3://") else {})


def _refuse_launchers(hyperparameters: Mapping[str, str]) -> None:
    """What the SDK's ``distribution`` asks for and only AWS's containers can do."""
    for name, distribution in _LAUNCHERS.items():
        if _is_on(hyperparameters, name):
            raise unsupported(
                f"HyperParameters.{name} (distribution {distribution})",
                "Use torch_distributed, or leave distribution out and have the script call torch.distributed.init_process_group with "
                "the backend gloo and SM_HOSTS, SM_CURRENT_HOST, MASTER_ADDR and MASTER_PORT.",
            )


def _is_on(hyperparameters: Mapping[str, str], name: str) -> bool:
    return hyperparameters.get(name, "").strip('"').lower() not in ("", "false", "null", "{}")


def _text(value: str) -> str:
    """A hyperparameter of the container's: the SDKs write it as JSON."""
    try:
        decoded: Any = json.loads(value)
    except ValueError:
        return value
    return decoded if isinstance(decoded, str) else value


def of_processing(request: Mapping[str, Any], algorithm: images.Algorithm) -> Program:
    """A processing job's program: its container's command. ValidationException without one."""
    application = request["AppSpecification"]
    if not application.get("ContainerEntrypoint"):
        raise validation(
            "AppSpecification.ContainerEntrypoint is required: images are names of local runtimes here and bring no entry point "
            "of their own."
        )
    network: Mapping[str, Any] = request.get("NetworkConfig", {})
    return {
        "kind": "command",
        "runtime": algorithm.framework or algorithm.name,
        "version": algorithm.version,
        "network": not network.get("EnableNetworkIsolation", False),
        "command": [*application["ContainerEntrypoint"], *application.get("ContainerArguments", [])],
    }


def of_model(
    call: Call, request: Mapping[str, Any], container: Mapping[str, Any], algorithm: images.Algorithm
) -> Program | None:
    """A model's program; None for a model that a built-in algorithm serves.

    Its source is looked up now, like model data; ValidationException when it is not there.
    """
    role_arn: str | None = request.get("ExecutionRoleArn")
    environment: Mapping[str, str] = container.get("Environment", {})
    if algorithm.is_builtin and not (algorithm.framework and environment.get("SAGEMAKER_PROGRAM")):
        return None
    named = environment.get("SAGEMAKER_PROGRAM", "")
    program: Program = {
        # As with sagemaker_program: what is no Python script is a program, here the container's server.
        "kind": "serve" if named and not named.endswith(".py") else "script",
        "runtime": algorithm.framework,
        "version": algorithm.version,
        "network": not request.get("EnableNetworkIsolation", False),
        "role": role_arn,
    }
    submitted = environment.get("SAGEMAKER_SUBMIT_DIRECTORY", "")
    if submitted.startswith("s3://"):
        program["source"] = artifacts.find(call, submitted, role_arn)
    return program


def refuse_hub(container: Mapping[str, Any], path: str) -> None:
    """Nothing is downloaded here: ValidationException for a model that a hub is to give."""
    if container.get("Environment", {}).get("HF_MODEL_ID"):
        raise unsupported(
            f"{path}Environment.HF_MODEL_ID",
            "Models are not downloaded from a hub: put the model's files (save_pretrained) into a model.tar.gz and give it as "
            "ModelDataUrl.",
        )


def check_batching(environment: Mapping[str, str], path: str) -> None:
    """ValidationException naming the variable for a batch size or delay that is none."""
    try:
        batch_limits.of(environment)
    except batch_limits.BatchLimitError as error:
        raise validation(f"{path}Environment: {error}") from error


def carried(model: Mapping[str, Any]) -> dict[str, Any]:
    """A model's program, for the record of what runs the model."""
    return {"program": model["program"]} if "program" in model else {}
