"""What every algorithm's training begins with: checked hyperparameters, channels, and a log in AWS's format.

Place in the flow: ``NAME_training.train(job)`` opens a ``TrainingRun`` within ``explained_failures``; what it writes to
``run.job.model_dir`` becomes ``model.tar.gz``.
"""

import contextlib
import os
from collections.abc import Generator
from dataclasses import dataclass
from time import gmtime, strftime

from stagedoor.worker.algorithms.channels import Channel, read_channels
from stagedoor.worker.algorithms.data_set import DataSet, read_data_set
from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.algorithms.hyperparameters import Values
from stagedoor.worker.algorithms.specification import Specification, specification
from stagedoor.worker.job import Job, JobFailed


@contextlib.contextmanager
def explained_failures() -> Generator[None]:
    """A ClientError becomes the JobFailed whose text is the job's FailureReason."""
    try:
        yield
    except ClientError as error:
        raise JobFailed(f"ClientError: {error}") from error


def job_channels(job: Job, algorithm: Specification) -> dict[str, Channel]:
    """The job's channels; ClientError for what the algorithm does not take."""
    return read_channels(job.config("inputdataconfig") or {}, job.root / "input" / "data", algorithm.channels)


class QualityLog:
    """Lines as SageMaker's own algorithms print them; its metrics are found again in ``#quality_metric`` lines."""

    def say(self, text: str, level: str = "INFO") -> None:
        """A line with the time, as people read them."""
        print(f"[{strftime('%m/%d/%Y %H:%M:%S', gmtime())} {level} {os.getpid()}] {text}", flush=True)

    def loss(self, channel: str, name: str, value: float, epoch: int | None = None) -> None:
        """A metric that is better when smaller; of one epoch, or of the finished model."""
        self._quality(channel, name, "loss", value, epoch)

    def score(self, channel: str, name: str, value: float, epoch: int | None = None) -> None:
        """A metric that is better when larger."""
        self._quality(channel, name, "score", value, epoch)

    def _quality(self, channel: str, name: str, kind: str, value: float, epoch: int | None) -> None:
        when = "" if epoch is None else f"epoch={epoch}, "
        self.say(f"#quality_metric: host=algo-1, {when}{channel} {name} <{kind}>={value!r}")

    def progress(self, done: int, epochs: int) -> None:
        """How many of the epochs are over."""
        self.say(f"#progress_metric: host=algo-1, completed {100 * done // epochs} % of epochs")

    def throughput(self, records: int, seconds: float) -> None:
        """How fast an epoch was."""
        self.say(
            f"#throughput_metric: host=algo-1, train throughput={records / max(seconds, 1e-9)} records/second"
        )


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One job of one algorithm."""

    job: Job
    algorithm: Specification
    values: Values
    channels: dict[str, Channel]
    log: QualityLog

    def check_stop(self) -> None:
        """JobFailed when the job was asked to stop: these algorithms leave no half-trained model."""
        if self.job.is_stopping():
            raise JobFailed("The training job was stopped before its end.")

    def data(self, channel: str) -> DataSet | None:
        """All rows of a channel as one matrix; None when the job does not have it. ClientError for bad rows."""
        if channel not in self.channels:
            return None
        rows = read_data_set(
            self.channels[channel], self.values.integer_or_none("feature_dim"), self.job.threads
        )
        self.log.say(f"{channel}: {len(rows)} records, {rows.columns} features")
        return rows

    def train_data(self) -> DataSet:
        """All rows of the train channel, which every algorithm has."""
        rows = self.data("train")
        assert rows is not None
        return rows


def begin(job: Job, name: str) -> TrainingRun:
    """Check all that can be checked before any data is read. ClientError names what is wrong."""
    algorithm = specification(name)
    values = algorithm.hyperparameters.complete(job.config("hyperparameters") or {})
    run = TrainingRun(job, algorithm, values, job_channels(job, algorithm), QualityLog())
    for note in algorithm.hyperparameters.without_effect(values.given):
        run.log.say(note, "WARNING")
    return run
