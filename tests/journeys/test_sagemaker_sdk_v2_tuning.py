"""The sagemaker SDK v2's tuner, unmodified, in its own environment."""

from pathlib import Path

import pytest
from journeys import notebooks

from stagedoor.testing import Server


@pytest.mark.journey
def test_tune_analyse_deploy_the_best_and_start_warm(stagedoor: Server, tmp_path: Path) -> None:
    result = notebooks.run(stagedoor, "sagemaker-v2", "sagemaker_v2_tune.py", tmp_path).result
    values = result["values"]
    assert len(values) == 3
    assert values[result["best"]] == min(values.values())
    assert result["statuses"] == ["Completed"]
    assert {"eta", "max_depth", "TrainingElapsedTimeSeconds"} <= set(result["columns"])
    assert (
        result["model"]
        == f"s3://sagemaker-us-east-1-{stagedoor.account_id}/tune/output/{result['best']}/output/model.tar.gz"
    )
    assert result["deployed"] == result["best"], "the endpoint is named after the best training job"
    assert result["right"] > 0.8
    assert result["status"] == "Completed"
    assert result["overall"]["Value"] <= min(values.values())
