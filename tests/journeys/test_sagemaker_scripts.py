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
    assert result["sklearn_right"] > 0.9
    assert result["xgboost_right"] > 0.85
