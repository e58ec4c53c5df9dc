"""What a function may be configured to: every member is checked, recorded when it is true here, or refused by name."""

import platform
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from stagedoor.services.lambda_.naming import invalid

RUNTIMES = tuple(f"python3.{minor}" for minor in range(8, 15))
"""All of them run on the server's own Python."""

_UNSUPPORTED = (
    "FileSystemConfigs",
    "Layers",
    "ImageConfig",
    "KMSKeyArn",
    "CodeSigningConfigArn",
    "TenancyConfig",
    "CapacityProviderConfig",
    "DurableConfig",
    "RuntimeConfig",
    "AcceleratorConfig",
    "PublishTo",
)
_MAX_TIMEOUT_S = 900
_MAX_MEMORY_MB = 10_240
_MAX_ENVIRONMENT_BYTES = 4096
_EPHEMERAL_MB = 512

_RESERVED_VARIABLES = frozenset(
    (
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    )
)


class _Limit(NamedTuple):
    name: str
    lowest: int
    highest: int


_LIMITS = {
    "Timeout": _Limit("timeout", 1, _MAX_TIMEOUT_S),
    "MemorySize": _Limit("memorySize", 128, _MAX_MEMORY_MB),
}


def machine_architecture() -> str:
    """Lambda's word for what this machine is."""
    return "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64"


def _empty(value: Any) -> bool:
    """Whether a member only says that there is nothing: absent, ``""``, ``[]`` or a structure of such."""
    if isinstance(value, Mapping):
        return all(_empty(inner) for inner in value.values())  # pyright: ignore[reportUnknownVariableType]
    return value in (None, "", [], False)


def _refuse(member: str, why: str = "") -> Exception:
    return invalid(f"stagedoor does not support {member} for functions{why}.")


def settled(request: Mapping[str, Any]) -> dict[str, Any]:
    """The members of the configuration that a create or update request gives, checked; nothing else.

    InvalidParameterValueException naming the member that is wrong or not supported.
    """
    for member in _UNSUPPORTED:
        if not _empty(request.get(member)):
            raise _refuse(member)
    for member in ("VpcConfig", "DeadLetterConfig"):
        if not _empty(request.get(member)):
            raise _refuse(member)
    given: dict[str, Any] = {}
    for member, limit in _LIMITS.items():
        if (number := request.get(member)) is not None:
            given[member] = _within(number, limit)
    for member in ("Description", "Handler", "Role"):
        if request.get(member) is not None:
            given[member] = request[member]
    if (runtime := request.get("Runtime")) is not None:
        given["Runtime"] = _runtime(runtime)
    if (environment := request.get("Environment")) is not None:
        given["Environment"] = {"Variables": _variables(environment.get("Variables", {}))}
    _settle_fixed(request)
    if (logging_config := request.get("LoggingConfig")) is not None:
        given["LoggingConfig"] = _logging(logging_config)
    return given


def _within(number: int, limit: _Limit) -> int:
    if number > limit.highest:
        bound = f"less than or equal to {limit.highest}"
    elif number < limit.lowest:
        bound = f"greater than or equal to {limit.lowest}"
    else:
        return number
    raise invalid(
        f"1 validation error detected: Value '{number}' at '{limit.name}' failed to satisfy constraint: "
        f"Member must have value {bound}"
    )


def _runtime(runtime: str) -> str:
    if runtime not in RUNTIMES:
        raise invalid(
            f"The runtime parameter of {runtime} is not supported by stagedoor, which runs functions on its own Python. "
            f"Supported: {', '.join(RUNTIMES)}."
        )
    return runtime


def _variables(variables: Mapping[str, str]) -> dict[str, str]:
    reserved = sorted(_RESERVED_VARIABLES.intersection(variables))
    if reserved:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    for name, value in variables.items():
        if "\0" in value:
            raise invalid(f"The environment variable {name} contains a NUL, which no process can be given.")
    measured = orjson.dumps(dict(variables))
    if len(measured) > _MAX_ENVIRONMENT_BYTES:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {measured.decode()}"
        )
    return dict(variables)


def _settle_fixed(request: Mapping[str, Any]) -> None:
    """Members that have one true value here."""
    if request.get("PackageType", "Zip") != "Zip":
        raise _refuse("PackageType Image", "; upload a .zip package")
    if _member(request, "TracingConfig", "Mode", "PassThrough") != "PassThrough":
        raise _refuse("TracingConfig Mode Active")
    if _member(request, "SnapStart", "ApplyOn", "None") != "None":
        raise _refuse("SnapStart")
    size_mb = _member(request, "EphemeralStorage", "Size", _EPHEMERAL_MB)
    if size_mb != _EPHEMERAL_MB:
        raise _refuse(f"EphemeralStorage Size {size_mb}", f"; leave it out or give {_EPHEMERAL_MB}")
    check_architectures(request)


def _member(request: Mapping[str, Any], structure: str, member: str, default: Any) -> Any:
    given: Mapping[str, Any] = request.get(structure) or {}
    return given.get(member, default)


def check_architectures(request: Mapping[str, Any]) -> None:
    """InvalidParameterValueException when the request asks for another machine than this one."""
    architectures = request.get("Architectures") or [machine_architecture()]
    if architectures != [machine_architecture()]:
        raise _refuse(
            f"Architectures {architectures}",
            f": this server runs on {machine_architecture()}; leave it out or give that",
        )


def _logging(config: Mapping[str, Any]) -> dict[str, Any]:
    if config.get("LogFormat", "Text") != "Text":
        raise _refuse("LoggingConfig LogFormat JSON", "; use Text")
    for member in ("ApplicationLogLevel", "SystemLogLevel"):
        if config.get(member):
            raise _refuse(f"LoggingConfig {member}")
    settled_config = {"LogFormat": "Text"}
    if config.get("LogGroup"):
        settled_config["LogGroup"] = config["LogGroup"]
    return settled_config


def defaults(name: str) -> dict[str, Any]:
    """The configuration of a function of which nothing but the name is known."""
    return {
        "FunctionName": name,
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "TracingConfig": {"Mode": "PassThrough"},
        "PackageType": "Zip",
        "Architectures": [machine_architecture()],
        "EphemeralStorage": {"Size": _EPHEMERAL_MB},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
        "State": "Active",
        "LastUpdateStatus": "Successful",
    }
