"""Programs of the user in jobs and models: what the engine is told of them, and the environments that they ask for.

Place in the flow: ``training``, ``processing``, ``transform`` and ``endpoints`` build their workloads with these. A record's ``program``
is what ``services.sagemaker.programs`` made of the request. A workload that finds a requirements.txt ends at once with its text;
the environment is made by the engine, and the same program is started again in it (``prepared``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stagedoor.domain import batch_limits
from stagedoor.engine.interface import Engine, EngineError, RuntimeUnavailableError, Workload
from stagedoor.reconcile.role_access import RoleAccess
from stagedoor.store import objects_io
from stagedoor.store.contents import ContentDamagedError, Contents
from stagedoor.store.job_inputs import InputError, Location
from stagedoor.store.object_rows import ObjectRows

SOURCE_FILE = "source.tar.gz"
_DISTRIBUTED_FILE = "opt/ml/input/data/sm_drivers/distributed.json"
_ENTRIES = {
    "script": "stagedoor.worker.script_training:train",
    "command": "stagedoor.worker.container_entry:run",
}
_ROUNDS_AT_MOST = 4
_SERVING = {
    "script": "stagedoor.worker.script_serving",
    "serve": "stagedoor.worker.serve_program",
}
_SERVE_PORT = 8080
# Where there is no network, pip shall say at once that a package is not there.
_NO_PACKAGES = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

Program = dict[str, Any]


class SourceError(Exception):
    """The source of a program cannot be had; the text is for a FailureReason."""


def of(document: Mapping[str, Any]) -> Program | None:
    """A record's program; None for what a built-in algorithm does."""
    return document.get("program")


async def prepared(program: Mapping[str, Any], engine: Engine, requirements: str) -> Program:
    """The same program, in an environment that is made for its requirements. EngineError.

    It may find then that it needs more: packages that are built say what they require.
    """
    rounds: int = program.get("rounds", 0) + 1
    if rounds > _ROUNDS_AT_MOST:
        raise RuntimeUnavailableError(
            f"InstallRequirementsError: an environment was made {_ROUNDS_AT_MOST} times, and each time more was required"
        )
    ready = await engine.prepare(program["runtime"], requirements)
    return {**program, "prepared": ready, "preparedFor": requirements, "rounds": rounds}


def runtime(program: Mapping[str, Any]) -> str:
    """The engine's name of where it runs."""
    return str(program.get("prepared") or program["runtime"])


def talks_to_itself(document: Mapping[str, Any], files: Mapping[str, Path]) -> bool:
    """Whether a training job on one host starts processes that talk to each other, as ``torchrun`` does. Blocks.

    SDK v3 says so in a file of its own, which is ``{}`` for all other jobs.
    """
    program = of(document)
    if program is None or not program["network"]:
        return False
    told = files.get(_DISTRIBUTED_FILE)
    return bool(program.get("is_distributed")) or (told is not None and told.stat().st_size > len("{}"))


@dataclass(frozen=True, slots=True)
class JobParts:
    """What of a job's workloads depends on its program: for a built-in algorithm, on that.

    ``environment`` gives the variables of the workload with an id.
    """

    runtime: str
    entry: str
    options: dict[str, Any]
    environment: Callable[[str], dict[str, str]]
    connect_ports: tuple[int, ...] | None


def job_parts(document: Mapping[str, Any], access: RoleAccess | None, name: str, region: str) -> JobParts:
    """For a training or processing job's record; ``name`` is the job's."""
    program = of(document)
    if program is None:
        algorithm = document["algorithm"]
        return JobParts(algorithm, f"{algorithm}_training:train", {}, lambda _: {"AWS_REGION": region}, ())
    options = {
        "framework": program["runtime"],
        "version": program["version"],
        "prepared_for": program.get("preparedFor"),
        "command": program.get("command", []),
    }
    entry = _ENTRIES[program["kind"]]
    if not program["network"] or access is None:
        alone = {"AWS_REGION": region, "AWS_DEFAULT_REGION": region, **_NO_PACKAGES}
        return JobParts(runtime(program), entry, options, lambda _: alone, ())
    ports = access.connect_ports(name)
    without = {} if ports is None else _NO_PACKAGES

    def variables(workload_id: str) -> dict[str, str]:
        return access.variables(workload_id, document["RoleArn"], region) | without

    return JobParts(runtime(program), entry, options, variables, ports)


def stage_source(
    program: Mapping[str, Any], directory: Path, objects: ObjectRows, contents: Contents
) -> dict[str, Path]:
    """Copy the source archive of a training script below ``directory``: name in the job's directory -> file. Blocks."""
    uri = program.get("source")
    if uri is None:
        return {}
    try:
        location = Location.parse(uri)
        row = objects.get(location.bucket, location.key) if objects.find_bucket(location.bucket) else None
        if row is None:
            raise SourceError(f"the source at sagemaker_submit_directory {uri} does not exist")
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / SOURCE_FILE
        objects_io.read_to(objects, contents, row, path)
    except (InputError, objects_io.ObjectChangedError, ContentDamagedError) as error:
        raise SourceError(
            f"the source at sagemaker_submit_directory {uri} cannot be read: {error}"
        ) from error
    return {SOURCE_FILE: path}


def model_workload(
    workload_id: str,
    name: str,
    model: Mapping[str, Any],
    files: Mapping[str, Path],
    environment: Mapping[str, str],
    *,
    access: RoleAccess | None,
    region: str,
    threads: int = 1,
) -> Workload:
    """A model's worker: its algorithm, or the user's script. ``model`` has ``algorithm`` and maybe ``program``.

    EngineError names a variable of the environment that no worker can be started with.

    ``files``: ``model.tar.gz`` and, where the program's source is elsewhere, ``source.tar.gz``.
    """
    program = of(model)
    try:
        limits = batch_limits.of(environment)
    except batch_limits.BatchLimitError as error:
        raise EngineError(str(error)) from error
    if program is None:
        return Workload(
            id=workload_id,
            kind="model",
            runtime=model["algorithm"],
            spec={
                "algorithm": f"{model['algorithm']}_serving",
                "name": name,
                "model_archive": "model.tar.gz",
                **limits,
            },
            environment=environment,
            files=files,
            threads=threads,
        )
    variables: dict[str, str] = {}
    ports: tuple[int, ...] | None = ()
    if access is not None and program["network"]:
        variables = access.variables(workload_id, program.get("role"), region)
        ports = access.connect_ports(name)
    return Workload(
        id=workload_id,
        kind="model",
        runtime=runtime(program),
        spec={
            "algorithm": _SERVING[program["kind"]],
            "name": name,
            "model_archive": "model.tar.gz",
            "options": {
                "framework": program["runtime"],
                "version": program["version"],
                "prepared_for": program.get("preparedFor"),
                "source": SOURCE_FILE if SOURCE_FILE in files else "",
            },
            "max_batch_count": 1,  # the user's functions take one request each
            **limits,
        },
        environment={**variables, **environment},
        files=files,
        threads=threads,
        connect_ports=ports,
        own_port=_SERVE_PORT if program["kind"] == "serve" else None,
        server_host=access.server_host if access is not None else "",
    )
