"""The one frozen settings value: flags, then ``STAGEDOOR_*`` variables, then ``stagedoor.toml``, then the defaults here.

``docs/settings.md`` is generated from the fields below: each carries its own documentation.
"""

import dataclasses
import difflib
import ipaddress
import math
import os
import re
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE_NAME = "stagedoor.toml"
DESCRIBE_HOLD_MAX_S = 20.0
FRONTS_MAX = 64
FRONTS_AUTO_MAX = 16


class SettingError(Exception):
    """A setting has a wrong name or value; the text names it and where it came from."""


def _doc(text: str, default: Any) -> Any:
    return field(default=default, metadata={"doc": text})


def _default_data_dir() -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir("stagedoor"))


@dataclass(frozen=True, slots=True)
class Settings:
    """All that can be set. Sizes are in bytes, times in seconds."""

    data: Path = field(
        default_factory=_default_data_dir,
        metadata={"doc": "Directory that holds all state; mode 0700. Default: the user's data directory."},
    )
    api: str = _doc(
        "Address of the signed listener (all AWS APIs); port 0 picks a free one.", "127.0.0.1:4566"
    )
    public: str = _doc("Address of the public listener (API stages, websites).", "127.0.0.1:8080")
    local: str = _doc(
        "Loopback address without TLS that functions and `stagedoor env --proxy` use; opened only when the signed "
        "listener speaks TLS or is bound elsewhere.",
        "127.0.0.1:0",
    )
    tls: str = _doc(
        "`self-signed`: both listeners speak TLS, with certificates of a local authority kept in the data directory.",
        "",
    )
    tls_cert: str = _doc("File with a certificate and its chain (PEM): both listeners speak TLS with it.", "")
    tls_key: str = _doc("File with the certificate's key (PEM, unencrypted).", "")
    insecure: bool = _doc("Allow a listener without TLS on an address that other machines reach.", False)
    offline: bool = _doc(
        "The proxy of `stagedoor env --proxy` refuses every host but AWS's, which are served here.", False
    )
    connections_max: int = _doc("Connections at a time, per listener; further ones are answered 503.", 4096)
    fronts: str = _doc(
        "Front processes, which answer InvokeEndpoint beside the control process: a number, `auto` (half of the cores when there are "
        "more than two, else none), or 0 (the control process answers itself).",
        "0",
    )
    engine: str = _doc("Where workers and jobs run: `local` (processes on this machine).", "local")
    account: str = _doc("The account id of the root credentials: 12 digits.", "000000000000")
    region: str = _doc("The default region.", "us-east-1")
    accounts: str = _doc(
        "JSON file with further accounts: a list of `{account_id, access_key_id, secret_access_key, "
        "display_name}` (root key pairs).",
        "",
    )
    oidc_keys: str = _doc(
        "JSON file with the public keys of OpenID Connect issuers, `{issuer: JWKS document}`, for "
        "AssumeRoleWithWebIdentity. Nothing is fetched.",
        "",
    )
    isolation: str = _doc(
        "How far user code is kept apart: `auto` (all that this machine can give), `strict` (nothing starts when a "
        "rung of `docs/guarantees.md` is missing), `none` (resource limits alone; trust what you run).",
        "auto",
    )
    workload_memory_max_bytes: int = _doc(
        "Memory of a model or job, with all that it starts; who uses more is ended. 0: nine tenths of what this machine "
        "or its container has. (Functions have their `MemorySize`.)",
        0,
    )
    allow_network: str = _doc(
        "Functions, and jobs and models with code of one's own, that may open connections to anywhere: names separated by "
        "commas, `*` stands for any letters. All others reach this server's signed listener and nothing else.",
        "",
    )
    invoke_body_max_bytes: int = _doc("Largest InvokeEndpoint body.", 6_291_456)
    invoke_timeout_s: float = _doc("Time a model has to answer InvokeEndpoint.", 60.0)
    describe_hold_s: float = _doc(
        "How long the Describe answer about a job or endpoint in progress may be held for clients that otherwise sleep 30 s "
        "and more (SageMaker SDK v1, waiters of boto3 and the AWS CLI); at most 20, 0 holds none. A client sets "
        "`AWS_SDK_UA_APP_ID=stagedoor-no-hold` to be answered at once.",
        10.0,
    )
    clock_skew_s: float = _doc("How far a signature's date may be off.", 900.0)
    worker_start_timeout_s: float = _doc("Time a worker has from its start to its first answer.", 120.0)
    endpoint_idle_s: float = _doc(
        "An endpoint that nobody has invoked for this time gives its workers back. It stays InService, and the next request wakes it. "
        "0: never; then all endpoints are also brought up when the server starts.",
        300.0,
    )
    function_idle_s: float = _doc("An idle function worker is stopped after this time; 0: never.", 300.0)
    runtime_idle_s: float = _doc(
        "A runtime that is started only when it is needed (frameworks, most algorithms) is ended after this time without a workload, "
        "so that its memory is given back; 0: never.",
        900.0,
    )
    function_concurrency: int = _doc("Function workers at most, over all functions.", 32)
    function_retry_delays_s: str = _doc(
        "Pauses before the two retries of an asynchronous invocation that failed, separated by a comma.",
        "60,120",
    )
    runtime_pythons: str = _doc(
        "Pythons of other environments for runtimes of jobs and models: `sklearn=/PATH/bin/python,pytorch=…`. The names are "
        "`sklearn`, `pytorch`, `huggingface` and `xgboost`; a runtime that is not named is the server's own Python.",
        "",
    )
    environments_max_bytes: int = _doc(
        "How large the environments that were made for requirements.txt may be together; beyond it those that nobody uses are removed, "
        "the least recently used first. 0: without a limit.",
        20 * 1024**3,
    )
    job_cores: int = _doc(
        "Cores that jobs share; a job has as many as its instances have vCPUs. 0: all of the machine.", 0
    )
    root_access_key_id: str = _doc("Root access key id; made at the first start when empty.", "")
    root_secret_access_key: str = _doc("Root secret access key; made at the first start when empty.", "")
    log_level: str = _doc("Level of the server's own log: `debug`, `info`, `warning`, `error`.", "info")


# Variables that are no settings: Kubernetes and container links make them for a service of this name, the others are the
# tests' own.
_FOREIGN_VARIABLE = re.compile(
    r"STAGEDOOR_(SERVICE_HOST|SERVICE_PORT\w*|PORT|PORT_\d+_(TCP|UDP)\w*|CHROMIUM|TEST_\w+)"
)
RUNTIME_NAMES = ("sklearn", "pytorch", "huggingface", "xgboost")

_NUMBERS = [name for name, wanted in typing.get_type_hints(Settings).items() if wanted in (int, float)]
_SWITCHES = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


def _convert(name: str, value: Any, wanted: type, source: str) -> Any:
    try:
        if wanted is bool:
            return _SWITCHES[str(value).lower()]
        if wanted is Path:
            return Path(value).expanduser()
        if wanted is int and isinstance(value, float):
            raise ValueError
        return wanted(value)
    except (KeyError, TypeError, ValueError) as error:
        raise SettingError(f"{name} = {value!r} (from {source}) is not a valid {wanted.__name__}.") from error


def _check(settings: Settings) -> None:
    if not re.fullmatch(r"\d{12}", settings.account):
        raise SettingError(
            f"account = {settings.account!r} is not an account id: 12 digits, e.g. 000000000000."
        )
    if settings.engine not in ("local",):
        raise SettingError(f"engine = {settings.engine!r} is not available. This release has: local.")
    for name in _NUMBERS:
        value = getattr(settings, name)
        if not 0 <= value < math.inf:
            raise SettingError(f"{name} = {value} is out of range: it is a number from 0 up.")
    if settings.describe_hold_s > DESCRIBE_HOLD_MAX_S:
        raise SettingError(
            f"describe_hold_s = {settings.describe_hold_s} is too long: clients give up on an answer, so it is at most "
            f"{DESCRIBE_HOLD_MAX_S:g}."
        )
    _check_listeners(settings)
    if settings.isolation not in ("auto", "strict", "none"):
        raise SettingError(f"isolation = {settings.isolation!r} is none of auto, strict, none.")
    if settings.log_level not in ("debug", "info", "warning", "error"):
        raise SettingError(f"log_level = {settings.log_level!r} is none of debug, info, warning, error.")
    if bool(settings.root_access_key_id) != bool(settings.root_secret_access_key):
        raise SettingError("root_access_key_id and root_secret_access_key go together: set both or neither.")
    retry_delays_s(settings)
    runtime_pythons(settings)
    front_count(settings)


def _check_listeners(settings: Settings) -> None:
    if settings.tls not in ("", "self-signed"):
        raise SettingError(f"tls = {settings.tls!r} is not known: it is self-signed, or empty.")
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise SettingError("tls_cert and tls_key go together: set both or neither.")
    if settings.tls and settings.tls_cert:
        raise SettingError("tls = self-signed and tls_cert exclude each other: one certificate is served.")
    if settings.connections_max < 1:
        raise SettingError(f"connections_max = {settings.connections_max} must be at least 1.")
    for name in ("api", "public"):
        host, _ = address(getattr(settings, name), name)
        if not (has_tls(settings) or settings.insecure or is_loopback(host)):
            raise SettingError(
                f"{name} = {getattr(settings, name)} can be reached from other machines, and there is no TLS: whoever is on "
                "the way could read and repeat requests. Add --tls self-signed, or --tls-cert and --tls-key, or "
                "--insecure if something in front of the server speaks TLS."
            )
    if not is_loopback(address(settings.local, "local")[0]):
        raise SettingError(f"local = {settings.local!r} must be a loopback address, e.g. 127.0.0.1:4567.")


def has_tls(settings: Settings) -> bool:
    """Whether the listeners speak TLS."""
    return bool(settings.tls or settings.tls_cert)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a listener bound to ``host``, or a peer with that address is on it."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def address(text: str, name: str) -> tuple[str, int]:
    """``HOST:PORT`` in two parts; ``:0`` alone means loopback. SettingError otherwise."""
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise SettingError(f"{name} = {text!r} is not an address; write HOST:PORT, e.g. 127.0.0.1:4566.")
    return host.strip("[]") or "127.0.0.1", int(port)


def front_count(settings: Settings) -> int:
    """How many front processes ``fronts`` means on this machine."""
    if settings.fronts == "auto":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(cores // 2, FRONTS_AUTO_MAX) if cores > 2 else 0
    if not settings.fronts.isascii() or not settings.fronts.isdigit() or int(settings.fronts) > FRONTS_MAX:
        raise SettingError(f"fronts = {settings.fronts!r} is no number from 0 to {FRONTS_MAX}, and not auto.")
    return int(settings.fronts)


def retry_delays_s(settings: Settings) -> tuple[float, ...]:
    """``function_retry_delays_s`` as numbers."""
    text = settings.function_retry_delays_s
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise SettingError(f"function_retry_delays_s = {text!r} is not numbers with commas.") from error


def runtime_pythons(settings: Settings) -> dict[str, Path]:
    """``runtime_pythons`` by name of the runtime. SettingError for a name or a file that is not there."""
    found: dict[str, Path] = {}
    for part in filter(None, map(str.strip, settings.runtime_pythons.split(","))):
        name, separator, text = part.partition("=")
        path = Path(text).expanduser()
        if name not in RUNTIME_NAMES or not separator:
            raise SettingError(
                f"runtime_pythons = {part!r} is not NAME=PYTHON; the names are {', '.join(RUNTIME_NAMES)}."
            )
        if not path.is_absolute() or not path.is_file():
            raise SettingError(
                f"runtime_pythons = {part!r}: {text or 'nothing'} is not the path of a Python."
            )
        found[name] = path
    return found


def load(flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None = None) -> Settings:
    """Put the value together; ``flags`` that are None were not given. SettingError names what is wrong."""
    types = typing.get_type_hints(Settings)
    values: dict[str, Any] = {}
    if file is not None and file.exists():
        try:
            from_file = tomllib.loads(file.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingError(f"{file} cannot be read: {error}.") from error
        for name, value in from_file.items():
            if name not in types:
                raise SettingError(f"{file} sets {name!r}, which is no setting. See docs/settings.md.")
            values[name] = _convert(name, value, types[name], str(file))
    _refuse_unknown_variables(types, environment)
    for name, wanted in types.items():
        variable = _variable(name)
        if environment.get(variable):
            values[name] = _convert(name, environment[variable], wanted, variable)
    for name, value in flags.items():
        if value is not None:
            values[name] = _convert(name, value, types[name], f"--{name.replace('_', '-')}")
    settings = Settings(**values)
    _check(settings)
    return settings


def _variable(name: str) -> str:
    return f"STAGEDOOR_{name.upper()}"


def _refuse_unknown_variables(names: Iterable[str], environment: Mapping[str, str]) -> None:
    """A misspelt setting would leave its default in force, and nobody would know."""
    known = {_variable(name) for name in names}
    for variable in sorted(environment):
        if not variable.startswith("STAGEDOOR_") or not environment[variable] or variable in known:
            continue
        if _FOREIGN_VARIABLE.fullmatch(variable):
            continue
        near = difflib.get_close_matches(variable.upper(), known, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise SettingError(
            f"{variable} is set, which is no setting: {hint}docs/settings.md has them all. Unset it to go on."
        )


def documentation() -> list[tuple[str, str, str, str]]:
    """For ``docs/settings.md``: (name, variable, default, text) of every setting."""
    rows: list[tuple[str, str, str, str]] = []
    for item in dataclasses.fields(Settings):
        default = "" if item.default is dataclasses.MISSING else str(item.default)
        rows.append((item.name, _variable(item.name), default, item.metadata["doc"]))
    return rows
