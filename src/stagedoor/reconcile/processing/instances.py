"""What each instance of a processing job is given: its files, its configuration, its spec. Pure functions, but for ``stage``.

Place in the flow: ``act`` plans a run with these and starts one workload for each host (``algo-1``, ``algo-2``, …). The files that a
processing container reads are ``/opt/ml/config/processingjobconfig.json`` and ``/opt/ml/config/resourceconfig.json``.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from stagedoor.domain.clock import iso8601_ms
from stagedoor.reconcile.jobs.cluster import resource_config
from stagedoor.reconcile.jobs.demand import host_count
from stagedoor.reconcile.jobs.downloads import DownloadError, fetch
from stagedoor.reconcile.programs import JobParts
from stagedoor.store import job_inputs
from stagedoor.store.contents import Contents
from stagedoor.store.job_inputs import InputError
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.records import Document
from stagedoor.worker.specs import JobSpec

_CONTAINER_ROOT = "/opt/ml"
_SCRATCH_ROOT = "opt/ml"


def inside(local_path: str) -> str:
    """A container's path relative to the container's root: ``/opt/ml/processing/in`` is ``processing/in``."""
    return PurePosixPath(local_path).relative_to(_CONTAINER_ROOT).as_posix()


def stage(
    document: Document,
    directory: Path,
    objects: ObjectRows,
    contents: Contents,
    check_stop: Callable[[], None],
) -> list[dict[str, Path]]:
    """Copy all inputs below ``directory``: for each instance, name in its directory -> file. Blocks. DownloadError.

    ``ShardedByS3Key`` gives each instance its share of the objects, in turn.
    """
    count = host_count(document)
    files: list[dict[str, Path]] = [{} for _ in range(count)]
    for number, given in enumerate(document.get("ProcessingInputs", [])):
        source = given["S3Input"]
        target = f"{_SCRATCH_ROOT}/{inside(source['LocalPath'])}"
        sharded = source["S3DataDistributionType"] == "ShardedByS3Key"
        found = 0
        try:
            for one in job_inputs.inputs(objects, contents, source["S3DataType"], source["S3Uri"]):
                check_stop()
                path = fetch(one, directory / str(number), objects, contents)
                takers = [found % count] if sharded else range(count)
                for taker in takers:
                    files[taker][f"{target}/{one.name}"] = path
                found += 1
        except InputError as error:
            raise DownloadError(f"Data download failed:{source['S3Uri']}: {error}") from error
        if not found:
            raise DownloadError(f'Data download failed:No S3 objects found under S3 URL "{source["S3Uri"]}"')
    return files


def spec(document: Document, parts: JobParts, host: str, names: Sequence[str]) -> JobSpec:
    """What the worker of one instance is told."""
    cluster = document["ProcessingResources"]["ClusterConfig"]
    resources = resource_config(host, names, cluster["InstanceType"])
    documents = {
        "config/processingjobconfig.json": json.dumps(_described(document)),
        "config/resourceconfig.json": json.dumps(resources),
    }
    folders = [inside(each["S3Input"]["LocalPath"]) for each in document.get("ProcessingInputs", [])]
    folders += [inside(each["LocalPath"]) for each in outputs(document)]
    return {
        "entry": parts.entry,
        "name": document["ProcessingJobName"],
        "config": {"resourceconfig": resources},
        "options": {**parts.options, "documents": documents, "folders": folders},
    }


def outputs(document: Document) -> list[dict[str, Any]]:
    """The ``S3Output`` members of a job's record."""
    return [each["S3Output"] for each in document.get("ProcessingOutputConfig", {}).get("Outputs", [])]


def _described(document: Document) -> dict[str, Any]:
    """The job as its container sees it: what the request said."""
    members = (
        "ProcessingJobArn",
        "ProcessingJobName",
        "AppSpecification",
        "Environment",
        "ProcessingInputs",
        "ProcessingOutputConfig",
        "ProcessingResources",
        "RoleArn",
        "StoppingCondition",
        "NetworkConfig",
    )
    shown = {member: document[member] for member in members if member in document}
    return shown | {"CreationTime": iso8601_ms(document["CreationTime"])}
