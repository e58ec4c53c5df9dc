"""Jobs share the machine on a real server: never more at once than fits, threads shared out, nobody starved, and time is billed as used."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from services.frameworks import SKLEARN, Workbench, runtime_pythons, unpacked
from services.job_clients import waited

from stagedoor.testing import Server

CORES = 4
FEW_CORES = 2
# Notes from when to when it ran, on how many threads; takes long enough for others to be seen beside it.
BUSY = """
import json, os, time
began = time.time()
time.sleep(0.7)
ran = {"began": began, "ended": time.time(), "threads": int(os.environ["OMP_NUM_THREADS"])}
ran["told"] = os.environ.get("SM_NUM_CPUS")
with open(os.environ.get("SM_OUTPUT_DATA_DIR", "/opt/ml/processing/output/ran") + "/ran.json", "w") as file:
    json.dump(ran, file)
print("score=%s;" % time.time())
"""
METRICS = [{"Name": "score", "Regex": "score=(.*?);"}]


@contextmanager
def server_with(folder: Path, cores: int) -> Iterator[Server]:
    """A server whose jobs share so many cores."""
    variables = {"STAGEDOOR_RUNTIME_PYTHONS": runtime_pythons(), "STAGEDOOR_JOB_CORES": str(cores)}
    server = Server(folder / "data", variables).start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def crowded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server_with(tmp_path_factory.mktemp("crowded"), CORES) as server:
        yield server


@pytest.fixture
def bench(crowded_server: Server) -> Workbench:
    return Workbench(crowded_server)


def most_threads(runs: list[dict[str, Any]]) -> int:
    """Threads at once, at the busiest moment."""
    moments = [run["began"] for run in runs]
    return max(
        sum(run["threads"] for run in runs if run["began"] <= moment < run["ended"]) for moment in moments
    )


def resources(instance_type: str) -> dict[str, Any]:
    return {"InstanceType": instance_type, "InstanceCount": 1, "VolumeSizeInGB": 5}


def script(bench: Workbench) -> dict[str, str]:
    return {
        "sagemaker_program": '"busy.py"',
        "sagemaker_submit_directory": f'"{bench.source({"busy.py": BUSY})}"',
    }


def ran(bench: Workbench, name: str) -> dict[str, Any]:
    return json.loads(unpacked(bench.read(f"models/{name}/output/output.tar.gz"))["ran.json"])


def test_jobs_of_all_kinds_never_have_more_threads_together_than_there_are_cores(bench: Workbench) -> None:
    specification = {"TrainingImage": SKLEARN, "TrainingInputMode": "File"}
    sizes = ["ml.m5.large", "ml.m5.xlarge", "ml.m5.large", "ml.m5.24xlarge", "ml.m5.large"]
    given = script(bench)
    bench.put("train/rows.csv", "1,2\n")
    for number, size in enumerate(sizes):
        bench.sagemaker.create_training_job(
            **bench.training_request(
                f"t{number}",
                AlgorithmSpecification=specification,
                HyperParameters=given,
                InputDataConfig=[bench.channel("train", "train/")],
                ResourceConfig=resources(size),
            )
        )
    for number in range(2):
        outputs = {"Outputs": [bench.processing_output("ran")]}
        outputs["Outputs"][0]["S3Output"]["S3Uri"] += str(number)
        bench.sagemaker.create_processing_job(
            **bench.python_request(f"p{number}", BUSY, ProcessingOutputConfig=outputs)
        )
    runs: list[dict[str, Any]] = []
    for number, size in enumerate(sizes):
        job = bench.ended_training(bench.name(f"t{number}"))
        assert job["TrainingJobStatus"] == "Completed", job
        runs.append(ran(bench, job["TrainingJobName"]))
        expected = {"ml.m5.large": 2, "ml.m5.xlarge": 4, "ml.m5.24xlarge": 4}[size]
        assert (runs[-1]["threads"], runs[-1]["told"]) == (expected, str(expected))
        lasted = job["TrainingEndTime"] - job["TrainingStartTime"]
        assert (
            job["BillableTimeInSeconds"]
            == job["TrainingTimeInSeconds"]
            == max(1, math.ceil(lasted.total_seconds()))
        )
        # Waiting for cores is not billed.
        assert job["TrainingStartTime"].astimezone(UTC).timestamp() <= runs[-1]["began"]
    for number in range(2):
        assert bench.ended_processing(f"p{number}")["ProcessingJobStatus"] == "Completed"
        runs.append(json.loads(bench.read(f"out/ran{number}/ran.json")))
        assert runs[-1]["threads"] == 2
    assert most_threads(runs) == CORES, runs  # as many as fit, and no more


def test_parallel_trials_share_the_cores_out(bench: Workbench) -> None:
    runs = three_trials(bench, "ml.m5.large")
    assert [run["threads"] for run in runs] == [2, 2, 2]
    assert most_threads(runs) <= CORES


def test_three_parallel_trials_on_two_cores_take_turns(tmp_path: Path) -> None:
    """Each has both cores, so that none is slowed down by another."""
    with server_with(tmp_path, FEW_CORES) as server:
        runs = three_trials(Workbench(server), "ml.m5.large")
    assert [(run["threads"], run["told"]) for run in runs] == [(2, "2")] * 3
    assert most_threads(runs) == FEW_CORES, runs


def three_trials(bench: Workbench, instance_type: str) -> list[dict[str, Any]]:
    """What the training jobs of a tuning job noted that may all run at once."""
    name = bench.name("trials")
    definition = {
        "StaticHyperParameters": script(bench),
        "AlgorithmSpecification": {
            "TrainingImage": SKLEARN,
            "TrainingInputMode": "File",
            "MetricDefinitions": METRICS,
        },
        "RoleArn": bench.role_arn,
        "OutputDataConfig": {"S3OutputPath": f"s3://{bench.bucket}/models"},
        "ResourceConfig": resources(instance_type),
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }
    choices = {"CategoricalParameterRanges": [{"Name": "way", "Values": ["a", "b", "c"]}]}
    bench.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Grid",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "score"},
            "ResourceLimits": {"MaxParallelTrainingJobs": 3},
            "ParameterRanges": choices,
        },
        TrainingJobDefinition=definition,
    )
    done = waited(
        lambda: bench.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name),
        lambda answer: answer["HyperParameterTuningJobStatus"] not in ("InProgress", "Stopping"),
    )
    assert done["TrainingJobStatusCounters"]["Completed"] == 3, done
    found = bench.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name
    )
    return [ran(bench, trial["TrainingJobName"]) for trial in found["TrainingJobSummaries"]]
