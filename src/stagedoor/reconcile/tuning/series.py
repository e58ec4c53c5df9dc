"""What trials report of their objective while they run, for early stopping: read from their logs, line by line, once.

Place in the flow: ``tuning.act`` asks in a thread at every look. A trial that began anew has a new log stream, and so a new series.
"""

from dataclasses import dataclass, field

from stagedoor.domain.metric_patterns import MetricPattern
from stagedoor.reconcile.training.act import LOG_GROUP
from stagedoor.store.log_events import BEGINNING, Boundary, LogEvents


@dataclass(slots=True)
class _Read:
    stream: str
    pattern: MetricPattern
    after: Boundary = BEGINNING
    values: list[float] = field(default_factory=list[float])


class ObjectiveSeries:
    """The objectives of training jobs, one value an epoch. Used by one thread at a time."""

    def __init__(self, log_events: LogEvents) -> None:
        self._log_events = log_events
        self._read: dict[str, _Read] = {}

    def of(self, account_id: str, region: str, job_name: str, regex: str) -> tuple[float, ...]:
        """What the first host of a job has printed so far."""
        events = self._log_events
        group = events.group(account_id, region, LOG_GROUP)
        found = events.streams(group.id, prefix=f"{job_name}/algo-1-") if group is not None else []
        if group is None or not found:
            return ()
        stream = found[-1]
        key = f"{account_id}/{region}/{job_name}"
        read = self._read.get(key)
        if read is None or read.stream != stream.name:
            read = self._read[key] = _Read(stream.name, MetricPattern(regex))
        while page := events.read(group, streams=[stream], after=read.after):
            read.after = page[-1].after
            for event in page:
                if (value := read.pattern.value(event.message)) is not None:
                    read.values.append(value)
        return tuple(read.values)

    def forget(self, account_id: str, region: str, job_name: str) -> None:
        """Nobody will ask about this job again."""
        self._read.pop(f"{account_id}/{region}/{job_name}", None)
