"""The sagemaker SDK v3, unmodified in its own environment."""

from pathlib import Path

import pytest
from journeys import notebooks

from stagedoor.testing import Server


@pytest.mark.journey
def test_a_trainer_trains_and_its_model_transforms_and_serves(stagedoor: Server, tmp_path: Path) -> None:
    printed, result = notebooks.run(stagedoor, "sagemaker-v3", "sagemaker_v3_job.py", tmp_path)
    assert result["role"].endswith(":role/service-role/AmazonSageMaker-ExecutionRole")
    assert "train-error" in printed, "the training log was not streamed"
    assert result["right"] > 0.85
    assert result["transformed"] == pytest.approx(result["answers"], abs=1e-6)
    assert result["instances"] == 2
    assert {"train:error", "validation:error"} <= set(result["metrics"])


@pytest.mark.journey
def test_a_tuner_tunes_and_its_best_model_is_deployed_and_registered(
    stagedoor: Server, tmp_path: Path
) -> None:
    result = notebooks.run(stagedoor, "sagemaker-v3", "sagemaker_v3_tune.py", tmp_path).result
    values = result["values"]
    assert len(values) == 2
    assert values[result["best"]] == max(values.values())
    assert result["right"] > 0.85
    assert result["package"].endswith(":model-package/course-v3/1")
    assert result["again"] == result["answers"]
