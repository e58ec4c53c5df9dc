"""RetryStrategy on a real server: what this side broke is tried again, and what the job did itself is not."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services.frameworks import SKLEARN, Workbench, runtime_pythons
from services.job_clients import waited

from stagedoor.testing import Server

# Hangs unless its data says otherwise, which is fetched anew for each attempt.
SCRIPT = """
    import os, time
    print("attempt begun", flush=True)
    if not os.path.exists("/opt/ml/input/data/train/go"):
        time.sleep(600)
    print("score=1;")
"""
METRICS = [{"Name": "score", "Regex": "score=(.*?);"}]


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Workbench]:
    """On a server of its own: what jobs run in is killed there, and has a pause after that."""
    server = Server(tmp_path / "data", {"STAGEDOOR_RUNTIME_PYTHONS": runtime_pythons()}).start()
    try:
        yield Workbench(server)
    finally:
        server.stop()


def kill_host(bench: Workbench, job: str) -> None:
    """Kill what a running job's process was made by, from outside, when its next attempt will not hang."""
    waited(lambda: {"log": begun(bench, job)}, lambda found: found["log"])
    bench.put("train/go", "")
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    parents = {int(pid): int(parent) for pid, parent, *_ in rows}
    [process] = [int(pid) for pid, _, *args in rows if args and args[0].startswith(f"stagedoor: job {job}")]
    server = bench.server.pid
    while parents[process] != server:
        process = parents[process]
    os.kill(process, signal.SIGKILL)


def begun(bench: Workbench, job: str) -> bool:
    return "attempt begun" in bench.log_so_far("/aws/sagemaker/TrainingJobs", job)


def statuses(job: dict[str, Any]) -> list[str]:
    return [each["Status"] for each in job["SecondaryStatusTransitions"]]


def request(bench: Workbench, stem: str, script: str, **members: Any) -> dict[str, Any]:
    bench.put("train/rows.csv", "1,2\n")
    hyperparameters = {
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": bench.source({"train.py": script}),
    }
    specification = {"TrainingImage": SKLEARN, "TrainingInputMode": "File", "MetricDefinitions": METRICS}
    return bench.training_request(
        stem,
        AlgorithmSpecification=specification,
        HyperParameters=hyperparameters,
        **members,
    )


def test_a_job_whose_host_was_lost_is_started_again(alone: Workbench) -> None:
    wanted = request(alone, "lost", SCRIPT, RetryStrategy={"MaximumRetryAttempts": 2})
    alone.sagemaker.create_training_job(**wanted)
    kill_host(alone, wanted["TrainingJobName"])
    job = alone.ended_training(wanted["TrainingJobName"])
    assert job["TrainingJobStatus"] == "Completed", job
    assert statuses(job) == [
        *("Starting", "Downloading", "Training", "Restarting"),
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    assert alone.training_log("lost").count("attempt begun") == 2


def test_without_a_retry_strategy_it_fails(alone: Workbench) -> None:
    wanted = request(alone, "once", SCRIPT)
    alone.sagemaker.create_training_job(**wanted)
    kill_host(alone, wanted["TrainingJobName"])
    job = alone.ended_training(wanted["TrainingJobName"])
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("InternalServerError: the process that the job ran in was lost")
    assert "Restarting" not in statuses(job)


@pytest.mark.parametrize("ending", ["raise ValueError('mine')", "import os; os.kill(os.getpid(), 9)"])
def test_what_the_script_did_itself_is_not_tried_again(bench: Workbench, ending: str) -> None:
    wanted = request(bench, "mine", ending, RetryStrategy={"MaximumRetryAttempts": 2})
    bench.sagemaker.create_training_job(**wanted)
    job = bench.ended_training(wanted["TrainingJobName"])
    assert job["FailureReason"].startswith("AlgorithmError: ExecuteUserScriptError")
    assert statuses(job) == ["Starting", "Downloading", "Training", "Failed"]


def test_trials_of_a_tuning_job_are_started_again_alike(alone: Workbench) -> None:
    name = alone.name("trials")
    members = (
        "AlgorithmSpecification",
        "RoleArn",
        "InputDataConfig",
        "OutputDataConfig",
        "ResourceConfig",
        "StoppingCondition",
    )
    training = request(alone, "unused", SCRIPT)
    alone.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "score"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": {"CategoricalParameterRanges": [{"Name": "way", "Values": ["a", "b"]}]},
        },
        TrainingJobDefinition={member: training[member] for member in members}
        | {
            "StaticHyperParameters": training["HyperParameters"],
            "RetryStrategy": {"MaximumRetryAttempts": 1},
        },
    )

    def trials() -> dict[str, Any]:
        return alone.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=name
        )

    waited(trials, lambda answer: bool(answer["TrainingJobSummaries"]))
    [trial] = trials()["TrainingJobSummaries"]
    kill_host(alone, trial["TrainingJobName"])
    job = alone.ended_training(trial["TrainingJobName"])
    assert job["TrainingJobStatus"] == "Completed", job
    assert job["RetryStrategy"] == {"MaximumRetryAttempts": 1}
    assert statuses(job).count("Restarting") == 1
