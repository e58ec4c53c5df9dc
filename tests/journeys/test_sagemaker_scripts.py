"""Scripts of one's own with the sagemaker SDKs, unmodified, each in its own environment."""

from pathlib import Path

import pytest
from journeys import notebooks, script_sources

from stagedoor.testing import Server


@pytest.mark.journey
def test_estimators_and_processors_of_the_sdk_v2(framework_server: Server, tmp_path: Path) -> None:
    script_sources.write(tmp_path)
    printed, result = notebooks.run(framework_server, "sagemaker-v2", "sagemaker_v2_scripts.py", tmp_path)
    assert result["kept"] == {"sklearn": 200, "script": 200, "framework": 200}
    assert "kept 200 of 300" in printed
    assert "train:accuracy=" in printed
    assert set(result["right"]) == {"npy", "json", "csv"}
    assert min(result["right"].values()) > 0.9
    assert result["xgboost_right"] > 0.85


@pytest.mark.journey
def test_estimators_and_a_processor_of_the_sdk_v1(framework_server: Server, tmp_path: Path) -> None:
    script_sources.write(tmp_path)
    printed, result = notebooks.run(framework_server, "sagemaker-v1", "sagemaker_v1_scripts.py", tmp_path)
    assert "asks for scikit-learn 0.20.0; this is scikit-learn 1." in printed
    assert "kept 200 of 300" in printed, "the processing log was not streamed"
    assert "train:accuracy=" in printed
    assert result["kept"] == 200
    assert set(result["right"]) == {"npy", "json", "csv"}
    assert min(result["right"].values()) > 0.9
    assert result["xgboost_right"] > 0.85
    assert (result["attached"], result["left"]) == (True, [])


@pytest.mark.journey
def test_a_processor_a_trainer_and_a_builder_of_the_sdk_v3(framework_server: Server, tmp_path: Path) -> None:
    script_sources.write(tmp_path)
    printed, result = notebooks.run(framework_server, "sagemaker-v3", "sagemaker_v3_scripts.py", tmp_path)
    assert result["kept"] == 200
    assert (result["status"], result["model"]) == ("Completed", ["model.joblib"])
    assert result["entry"] == ["/bin/bash"]
    assert set(result["right"]) == {"npy", "json", "csv"}
    assert min(result["right"].values()) > 0.9
    assert "train:accuracy=" in printed, "the training log was not streamed"
