"""The records of jobs as operations see them, the same for all kinds: a name is taken once, an end is asked for, what has ended is forgotten.

Place in the flow: Create, Describe, Stop and Delete operations of jobs; in between, records are ``reconcile.jobs``'.
"""

from collections.abc import Callable
from dataclasses import dataclass

from stagedoor.domain.errors import AwsError
from stagedoor.domain.job_components import JobType
from stagedoor.services.call import Answer, Call
from stagedoor.services.sagemaker import job_components, names, tag_sets
from stagedoor.services.sagemaker.names import ResourceType, validation
from stagedoor.store.records import AlreadyExistsError, Document, Reader, Record

_TERMINAL = ("Completed", "Failed", "Stopped")


@dataclass(frozen=True, slots=True)
class JobRecords:
    """Those of one kind of job. ``component`` is what experiments call it; ``not_found`` says that no job has a name."""

    resource: ResourceType
    component: JobType
    names_must_be_unique: str
    not_found: Callable[[str], AwsError]
    stopping: Callable[[Document, float], Document]

    @property
    def _status_member(self) -> str:
        return f"{self.component.prefix}JobStatus"

    def insert(self, call: Call, name: str, document: Document) -> None:
        """Record a new job with its component and tags. ``document`` is the request with what is known besides."""
        arn = names.arn(call, self.resource, name)
        own = {member: value for member, value in document.items() if member != "Tags"}
        try:
            with call.house.records.transaction() as transaction:
                transaction.insert(names.key(call, self.resource, name), own)
                config = document.get("ExperimentConfig")
                job_components.begin(call, transaction, self.component, name, arn, config)
                tag_sets.add(transaction, arn, document.get("Tags"))
        except AlreadyExistsError:
            raise AwsError("ResourceInUse", f"{self.names_must_be_unique} ({arn})", status=400) from None

    def existing(self, call: Call, reader: Reader, name: str) -> Record:
        """The job's record. AwsError when there is none."""
        record = reader.get(names.key(call, self.resource, name))
        if record is None:
            raise self.not_found(name)
        return record

    def stop(self, call: Call, name: str) -> Answer:
        """Ask for the end of a job in progress; asking again changes nothing."""
        with call.house.records.transaction() as transaction:
            record = self.existing(call, transaction, name)
            status = record.document[self._status_member]
            if status in _TERMINAL:
                raise validation(
                    f"The request was rejected because the {self.resource.noun} is in status {status}."
                )
            if status != "Stopping":
                transaction.put(record.key, self.stopping(record.document, call.now))
        return {}

    def delete(self, call: Call, name: str) -> Answer:
        """Forget a job that has ended; its component, outputs and logs stay."""
        with call.house.records.transaction() as transaction:
            record = self.existing(call, transaction, name)
            status = record.document[self._status_member]
            if status not in _TERMINAL:
                raise AwsError(
                    "ResourceInUse",
                    f"The {self.resource.noun} {name} is in status {status}; only jobs that have ended can be deleted. Stop it "
                    "first.",
                    status=400,
                )
            job_components.keep(transaction, call, self.component, name)
            transaction.delete(record.key)
            tag_sets.forget(transaction, names.arn(call, self.resource, name))
        return {}
