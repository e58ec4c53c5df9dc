"""The trial component that SageMaker makes for a job: its record, whoever begins the job.

Place in the flow: Create operations of jobs and a tuning job's trials begin theirs alike; ``services.sagemaker.job_components`` tells what follows
from the job. A pure function.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from stagedoor.domain.arns import Arn

KIND: Final = "sagemaker.trial_component"


@dataclass(frozen=True, slots=True)
class JobType:
    """A kind of job as experiments see it. ``prefix`` begins its members (``TrainingJobName``, ``TrainingJobStatus``)."""

    kind: str
    prefix: str
    source_type: str
    suffix: str


TRAINING: Final = JobType("sagemaker.training_job", "Training", "SageMakerTrainingJob", "aws-training-job")
TRANSFORM: Final = JobType(
    "sagemaker.transform_job", "Transform", "SageMakerTransformJob", "aws-transform-job"
)
PROCESSING: Final = JobType(
    "sagemaker.processing_job", "Processing", "SageMakerProcessingJob", "aws-processing-job"
)


def component(
    job: JobType, name: str, arn: str, job_key: Sequence[str], author: dict[str, Any], now: float
) -> dict[str, Any]:
    """The record for the job of that name, ARN and key of its record; ``author`` is the UserContext of who made it."""
    own, of_job = f"{name}-{job.suffix}", Arn.parse(arn)
    resource = f"experiment-trial-component/{own.lower()}"
    return {
        "TrialComponentName": own,
        "DisplayName": own,
        "TrialComponentArn": str(Arn("sagemaker", of_job.region, of_job.account_id, resource)),
        "Source": {"SourceArn": arn, "SourceType": job.source_type},
        "CreationTime": now,
        "CreatedBy": author,
        "LastModifiedTime": now,
        "LastModifiedBy": author,
        "jobKey": list(job_key),
    }
