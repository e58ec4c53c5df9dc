"""What a function worker is started with: its spec, its environment, its log stream."""

import secrets
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from stagedoor.authz.session_tokens import Credentials
from stagedoor.domain.clock import as_datetime
from stagedoor.engine.interface import Workload
from stagedoor.store.function_packages import FunctionPackages
from stagedoor.traffic.function_routes import VersionKey
from stagedoor.traffic.log_writer import LogPlace
from stagedoor.worker.specs import FunctionSpec

_MEGABYTE = 1024 * 1024
_PACKAGE_FILE = "package.zip"


def log_place(key: VersionKey, configuration: Mapping[str, Any], now: float) -> LogPlace:
    """A new stream in the function's group: ``YYYY/MM/DD/[VERSION]`` and 32 hex digits.

    AWS writes a function's log with its role, and not at all when the role may not; here it is always written.
    """
    stream = f"{as_datetime(now):%Y/%m/%d}/[{key.version}]{secrets.token_hex(16)}"
    return LogPlace(key.account_id, key.region, configuration["LoggingConfig"]["LogGroup"], stream)


def function_workload(
    worker_id: str,
    key: VersionKey,
    configuration: Mapping[str, Any],
    place: LogPlace,
    packages: FunctionPackages,
    credentials: Credentials,
    endpoint_url: str,
    allow_network: str,
) -> Workload:
    """A worker for a version with this configuration. The user's variables win, except over what AWS reserves.

    It can connect to the server's signed listener alone, unless ``allow_network`` (names with commas and ``*``) has it.
    """
    spec: FunctionSpec = {
        "function_name": key.name,
        "function_version": key.version,
        "function_arn": configuration["FunctionArn"],
        "handler": configuration["Handler"],
        "package": _PACKAGE_FILE,
        "memory_limit_mb": configuration["MemorySize"],
        "log_group_name": place.group,
        "log_stream_name": place.stream,
    }
    environment = {
        "AWS_ENDPOINT_URL": endpoint_url,
        **configuration.get("Environment", {}).get("Variables", {}),
        "AWS_REGION": key.region,
        "AWS_DEFAULT_REGION": key.region,
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
        "AWS_SESSION_TOKEN": credentials.session_token,
    }
    return Workload(
        id=worker_id,
        kind="function",
        runtime="python",
        spec=spec,
        environment=environment,
        files={_PACKAGE_FILE: packages.path(configuration["CodeSha256"])},
        memory_limit_bytes=configuration["MemorySize"] * _MEGABYTE,
        connect_ports=None if _is_named(key.name, allow_network) else (_port(endpoint_url),),
    )


def _is_named(name: str, patterns: str) -> bool:
    return any(fnmatchcase(name, pattern.strip()) for pattern in patterns.split(",") if pattern.strip())


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)
