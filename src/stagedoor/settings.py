"""The one frozen settings value: flags, then ``STAGEDOOR_*`` variables, then ``stagedoor.toml``, then the defaults here.

``docs/settings.md`` is generated from the fields below: each carries its own documentation.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def _doc(text: str, default: Any) -> Any:
    return field(default=default, metadata={"doc": text})


def _default_data_dir() -> Path:
    import platformdirs  # noqa: PLC0415 - only when no directory was given

    return Path(platformdirs.user_data_dir("stagedoor"))


@dataclass(frozen=True, slots=True)
class Settings:
    """All that can be set. Sizes are in bytes, times in seconds."""

    data: Path = field(
        default_factory=_default_data_dir, metadata={"doc": "Directory that holds all state; mode 0700."}
    )
    api: str = _doc("Address of the signed listener (all AWS APIs); port 0 picks a free one.", "127.0.0.1:4566")
    public: str = _doc("Address of the public listener (API stages, websites).", "127.0.0.1:8080")
    engine: str = _doc("Where workers and jobs run: `local` (processes on this machine).", "local")
    account: str = _doc("The account id of the root credentials: 12 digits.", "000000000000")
    region: str = _doc("The default region.", "us-east-1")
    accounts: str = _doc("JSON file with further accounts: a list of {account_id, access_key_id, secret_access_key, "
                         "display_name} (root key pairs).", "")
    invoke_body_max_bytes: int = _doc("Largest InvokeEndpoint body.", 6_291_456)
    invoke_timeout_s: float = _doc("Time a model has to answer InvokeEndpoint.", 60.0)
    clock_skew_s: float = _doc("How far a signature's date may be off.", 900.0)
    worker_start_timeout_s: float = _doc("Time a worker has from its start to its first answer.", 120.0)
    function_idle_s: float = _doc("An idle function worker is stopped after this time.", 300.0)
    function_concurrency: int = _doc("Workers at most over all functions of the account.", 32)
    job_slots: int = _doc("Training and transform jobs that run at the same time; 0 means one per two cores.", 0)
    root_access_key_id: str = _doc("Root access key id; made at the first start when empty.", "")
    root_secret_access_key: str = _doc("Root secret access key; made at the first start when empty.", "")
    log_level: str = _doc("Level of the server's own log: debug, info, warning, error.", "info")
