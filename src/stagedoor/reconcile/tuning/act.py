"""The reconciler of hyperparameter tuning jobs: looks at their trials, plans, and records further training jobs.

Place in the flow: run by ``reconcile.loop``, woken by every change of a tuning or training job. A trial is recorded together with its
training job in one commit, and ``reconcile.training`` runs it like any other; so nothing is lost or begun twice when the server is
killed. All that is in memory are the objectives read from logs, which can be read again.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from stagedoor.domain import training_states
from stagedoor.domain.arns import Arn
from stagedoor.domain.clock import Clock
from stagedoor.domain.tuning_trials import Summary, is_over, summary
from stagedoor.reconcile.loop import Underway
from stagedoor.reconcile.tuning import documents
from stagedoor.reconcile.tuning.documents import KIND, TRAINING_KIND
from stagedoor.reconcile.tuning.plan import Plan, View, plan
from stagedoor.reconcile.tuning.proposer import ProposalError, Proposer
from stagedoor.reconcile.tuning.series import ObjectiveSeries
from stagedoor.store.log_events import LogEvents
from stagedoor.store.record_mirror import RecordMirror
from stagedoor.store.records import Document, Key, Reader, Record, Records

log = logging.getLogger(__name__)

_IDLE_TICK_S = 30.0
_SERIES_TICK_S = 1.0
_TAGS_KIND = "sagemaker.tags"


@dataclass(frozen=True, slots=True)
class _Seen:
    """One tuning job at one look. ``series``: its trials' objectives matter while they run."""

    key: Key
    found: Plan
    series: bool


class TuningReconciler:
    """Makes all tuning jobs run to their end. ``wake`` must be set to the loop's before it starts."""

    name = "tuning jobs"
    watches = (KIND, TRAINING_KIND)

    def __init__(
        self, records: Records, log_events: LogEvents, clock: Clock, proposer: Proposer | None = None
    ) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._records = records
        self._unended = RecordMirror(records, KIND, _unended)
        self._clock = clock
        self._series = ObjectiveSeries(log_events)
        self._proposer = proposer or Proposer()
        self._tick_s = _IDLE_TICK_S

    @property
    def tick_s(self) -> float:
        """Until the next limit; short while trials may be stopped early."""
        return self._tick_s

    def worker_exited(self, workload_id: str, exit_code: int) -> None:
        """An ``engine.interface.ExitListener``; trials are training jobs, and those are somebody else's."""

    async def reconcile(self, underway: Underway) -> None:
        """One step for all tuning jobs."""
        # What an action did while the records were looked at may be missing in what is seen: it is not done twice.
        acted_before = underway.resources
        seen = await asyncio.to_thread(self._look)
        self._tick_s = min(
            (_SERIES_TICK_S if each.series else each.found.due_s or _IDLE_TICK_S for each in seen),
            default=_IDLE_TICK_S,
        )
        for each in seen:
            for name in each.found.stop:
                await asyncio.to_thread(self._stop, each.key, name)
            if each.key in underway or each.key in acted_before:
                continue
            if each.found.start or each.found.ending:
                underway.start(each.key, self._act(each.key, each.found))

    async def close(self) -> None:
        """End the process that proposes."""
        await self._proposer.close()

    # Looking; blocks ------------------------------------------------------------------------------------------------

    def _look(self) -> list[_Seen]:
        self._unended.catch_up()
        return [self._look_at(record) for _, record in sorted(self._unended.found.items())]

    def _look_at(self, record: Record) -> _Seen:
        document, now = record.document, self._clock.now()
        summaries = _summaries(self._records, record)
        watching = documents.watches_series(document)
        trials = [
            documents.trial(each, self._reported(record.key, document, each) if watching else ())
            for each in summaries
        ]
        view = View(
            documents.limits(document),
            trials,
            max(0.0, now - document["CreationTime"]),
            document["HyperParameterTuningJobStatus"] == "Stopping",
        )
        found = plan(view)
        if documents.noted(document, summaries, found, now) is not document:
            self._change(record.key, lambda current: documents.noted(current, summaries, found, now))
        return _Seen(record.key, found, watching and any(trial.is_live for trial in trials))

    def _reported(self, key: Key, document: Document, trial: Summary) -> tuple[float, ...]:
        definition = document["definitions"][trial["definition"]]
        metrics = definition["template"]["AlgorithmSpecification"].get("MetricDefinitions", [])
        wanted = definition["objective"]["MetricName"]
        regex = next((metric["Regex"] for metric in metrics if metric["Name"] == wanted), None)
        if regex is None:
            return ()
        return self._series.of(key.account_id, key.region, trial["TrainingJobName"], regex)

    # Acting ---------------------------------------------------------------------------------------------------------

    def _stop(self, key: Key, name: str) -> None:
        log.info("stopping a trial", extra={"tuning_job": key.name, "job": name})
        with self._records.transaction() as transaction:
            job = Key(TRAINING_KIND, key.account_id, key.region, name.lower())
            record = transaction.get(job)
            if record is not None and record.document["TrainingJobStatus"] == "InProgress":
                transaction.put(job, training_states.stopping(record.document, self._clock.now()))

    async def _act(self, key: Key, found: Plan) -> None:
        if found.ending is not None:
            await asyncio.to_thread(self._end, key, found)
            return
        for _ in range(found.start):
            if not await self._start(key):
                return

    def _end(self, key: Key, found: Plan) -> None:
        assert found.ending is not None
        status, reason = found.ending, found.reason
        document = self._change(
            key, lambda current: documents.ended(current, self._clock.now(), status, reason)
        )
        trials: list[Summary] = document["trials"] if document else []
        for trial in trials:
            self._series.forget(key.account_id, key.region, trial["TrainingJobName"])

    async def _start(self, key: Key) -> bool:
        """Record one more trial; False when the tuning job wants none any more."""
        record = await asyncio.to_thread(self._records.get, key)
        if record is None or record.document["HyperParameterTuningJobStatus"] != "InProgress":
            return False
        summaries = await asyncio.to_thread(_summaries, self._records, record)
        try:
            tuned = await self._proposer.propose(documents.question(record.document, summaries))
        except ProposalError as error:
            log.exception("no proposal", extra={"tuning_job": key.name})
            reason = f"InternalServerError: {error}"
            await asyncio.to_thread(self._fail, key, reason)
            return False
        return await asyncio.to_thread(self._record_trial, key, len(summaries), tuned)

    def _record_trial(self, key: Key, number: int, tuned: dict[str, str]) -> bool:
        with self._records.transaction() as transaction:
            record = transaction.get(key)
            if record is None or record.document["HyperParameterTuningJobStatus"] != "InProgress":
                return False
            if len(record.document["trials"]) != number:
                return False
            document, job_key, job = documents.new_trial(
                record.document, key, tuned, secrets.token_hex(4), self._clock.now()
            )
            transaction.insert(job_key, job)
            transaction.put(*documents.new_component(document, job_key, job))
            if tags := document.get("tags"):
                resource = Arn.parse(job["TrainingJobArn"]).resource
                transaction.put(Key(_TAGS_KIND, key.account_id, key.region, resource), {"Tags": tags})
            transaction.put(key, document)
        log.info("trial", extra={"tuning_job": key.name, "job": job["TrainingJobName"]})
        return True

    def _fail(self, key: Key, reason: str) -> None:
        """What runs is stopped first, as with every other end."""
        record = self._records.get(key)
        if record is None:
            return
        for trial in record.document["trials"]:
            if not is_over(trial):
                self._stop(key, trial["TrainingJobName"])
        self._change(key, lambda current: documents.ended(current, self._clock.now(), "Failed", reason))

    def _change(self, key: Key, change: Callable[[Document], Document]) -> Document | None:
        with self._records.transaction() as transaction:
            record = transaction.get(key)
            if record is None:
                return None
            changed = change(record.document)
            if changed is not record.document:
                transaction.put(key, changed)
            return changed


def _unended(record: Record) -> Record | None:
    return record if record.document["HyperParameterTuningJobStatus"] in ("InProgress", "Stopping") else None


def _summaries(reader: Reader, record: Record) -> list[Summary]:
    document, key = record.document, record.key
    found: list[Summary] = []
    for trial in document["trials"]:
        job_key = Key(TRAINING_KIND, key.account_id, key.region, trial["TrainingJobName"].lower())
        job = None if is_over(trial) else reader.get(job_key)
        objective = document["definitions"][trial["definition"]]["objective"]
        found.append(summary(trial, job.document if job else None, objective))
    return found
