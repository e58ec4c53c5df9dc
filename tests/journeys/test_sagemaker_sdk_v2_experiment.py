"""The sagemaker SDK v2, unmodified, in its own environment: experiments, analytics, and a model from the registry."""

from pathlib import Path

import pytest
from journeys import notebooks

from stagedoor.testing import Server


@pytest.mark.journey
def test_track_measure_register_approve_deploy(stagedoor: Server, tmp_path: Path) -> None:
    result = notebooks.run(stagedoor, "sagemaker-v2", "sagemaker_v2_experiment.py", tmp_path).result
    assert result["runs"] == ["first"]
    assert len(result["measured"]) >= 1
    assert all(0 < value < 0.7 for value in result["measured"])
    assert set(result["components"]) == {"reviews-first", f"{result['job']}-aws-training-job"}
    assert {"alpha", "score - Last", "train:logloss - Last", "SageMaker.InstanceType"} <= set(
        result["columns"]
    )
    assert result["package"].endswith(":model-package/reviews/1")
    assert result["status"] == "InService"
