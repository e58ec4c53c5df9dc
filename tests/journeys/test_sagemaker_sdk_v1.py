"""The sagemaker SDK 1.72.0, which public courses pin, unmodified in its own environment."""

from pathlib import Path

import pytest
from journeys import notebooks

from stagedoor.testing import Server


@pytest.mark.journey
def test_a_course_notebook_trains_transforms_deploys_and_predicts(stagedoor: Server, tmp_path: Path) -> None:
    printed, result = notebooks.run(stagedoor, "sagemaker-v1", "sagemaker_v1_job.py", tmp_path)
    assert result["role"].endswith(":role/service-role/AmazonSageMaker-ExecutionRole")
    assert result["bucket"] == f"sagemaker-us-east-1-{stagedoor.account_id}"
    assert result["image"].endswith("/xgboost:1")
    assert "[0]#011train-" in printed, "the training log was not streamed"
    assert result["right"] > 0.85
    assert result["transformed"] == pytest.approx(result["answers"], abs=1e-6)
    assert result["again"] == result["answers"]
    assert result["instances"] == 2


@pytest.mark.journey
def test_a_course_notebook_tunes_deploys_the_best_and_registers_it(stagedoor: Server, tmp_path: Path) -> None:
    result = notebooks.run(stagedoor, "sagemaker-v1", "sagemaker_v1_tune.py", tmp_path).result
    assert result["deployed"] == result["best"], "the endpoint is named after the best training job"
    assert result["right"] > 0.85
    assert result["package"].endswith(":model-package/course/1")
    assert result["again"] == result["answers"]


@pytest.mark.journey
def test_an_experiment_with_the_sdk_of_its_own(stagedoor: Server, tmp_path: Path) -> None:
    result = notebooks.run(stagedoor, "sagemaker-v1", "sagemaker_v1_experiment.py", tmp_path).result
    trained = f"{result.pop('job')}-aws-training-job"
    assert result == {
        "description": "which customers leave",
        "trials": ["churn-first"],
        "components": ["Preprocessing", "Training"],
        "parameters": {"scale": 0.5, "columns": "all"},
        "artifacts": [True, ["scaled"]],
        "trained": ["Completed", ["train:logloss"]],
        "found": [trained],
        "saved": "done",
        "listed": [True, False],
    }
