"""A training job's inputs as files, and the configuration that an algorithm finds beside them.

Place in the flow: ``act`` calls ``stage`` in a thread while the job is Downloading; the engine links the files into the hosts'
directories. The layout is that of SageMaker's training containers: ``input/data/CHANNEL/NAME``.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stagedoor.reconcile.jobs.cluster import resource_config
from stagedoor.reconcile.jobs.downloads import DownloadError, fetch
from stagedoor.reconcile.training.channel_data import Channel, channels
from stagedoor.store.contents import Contents
from stagedoor.store.job_inputs import InputError
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.records import Document

ROOT = "opt/ml"


def stage(
    document: Document,
    directory: Path,
    host_count: int,
    objects: ObjectRows,
    contents: Contents,
    check_stop: Callable[[], None],
) -> list[dict[str, Path]]:
    """Copy the objects of all channels but those in Pipe mode below ``directory``; for each host: name in its directory -> file.

    What several hosts get lies there once. DownloadError says which object cannot be used. ``check_stop`` is called between
    objects and may raise. What the job's role may read is to be checked here as well, object by object.
    """
    files: list[dict[str, Path]] = [{} for _ in range(host_count)]
    for channel in channels(document):
        if channel.mode == "Pipe":
            continue
        folder = directory / channel.name
        staged: list[Path] = []
        try:
            for one in channel.objects(objects, contents):
                check_stop()
                staged.append(fetch(one, folder, objects, contents, is_zipped=channel.is_zipped))
        except InputError as error:
            raise DownloadError(f"Data download failed:{error}") from error
        if not staged:
            raise DownloadError(f'Data download failed:No S3 objects found under S3 URL "{channel.uri}"')
        for number, mine in enumerate(files):
            for path in channel.share(staged, number, host_count):
                mine[f"{ROOT}/input/data/{channel.name}/{path.relative_to(folder)}"] = path
    return files


def configuration(document: Document, names: Sequence[str], current: str) -> dict[str, Any]:
    """The files of one host's ``input/config``, by name."""
    files = {
        "hyperparameters": document.get("HyperParameters", {}),
        "inputdataconfig": {channel.name: _described(channel) for channel in channels(document)},
        "resourceconfig": resource_config(current, names, document["ResourceConfig"]["InstanceType"]),
    }
    if "DebugHookConfig" in document:
        files["debughookconfig"] = document[
            "DebugHookConfig"
        ]  # where the debugger's library looks what to save
    return files


def _described(channel: Channel) -> dict[str, str]:
    config = {
        "TrainingInputMode": channel.mode,
        "S3DistributionType": "ShardedByS3Key" if channel.is_sharded else "FullyReplicated",
        "RecordWrapperType": channel.record_wrapper,
    }
    if channel.content_type:
        config["ContentType"] = channel.content_type
    return config
