"""``rabit_run``: calls the training function, as scripts for the XGBoost container do on each host."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any


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
    """Call ``exec_fun(**args)``; with ``update_rabit_args`` it is told that it is the master. One host has nobody to talk to."""
    if len(hosts) > 1:
        raise NotImplementedError(
            "rabit_run over several hosts is not supported by this release of stagedoor: use one instance, or xgboost's own "
            "collective"
        )
    if include_in_training:
        exec_fun(**{**args, **({"is_master": True} if update_rabit_args else {})})
