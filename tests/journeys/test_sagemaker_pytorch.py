"""PyTorch and Hugging Face with the sagemaker SDKs, unmodified, each in its own environment."""

from pathlib import Path

import pytest
from journeys import notebooks, pytorch_sources

from stagedoor.testing import Server


@pytest.mark.journey
def test_the_sdk_v1_trains_an_lstm_of_pytorch_0_4_and_serves_reviews(
    torch_server: Server, tmp_path: Path
) -> None:
    pytorch_sources.write(tmp_path)
    printed, result = notebooks.run(
        torch_server, "sagemaker-v1", "sagemaker_v1_pytorch.py", tmp_path, timeout_s=600
    )
    assert "asks for PyTorch 0.4.0; this is PyTorch 2." in printed
    assert "Using device cpu." in printed
    assert "Epoch: 12, BCELoss: " in printed
    good, bad = result["numbers"]
    assert good > 0.8
    assert bad < 0.2
    assert result["answers"] == ["1.0", "0.0"]


@pytest.mark.journey
def test_the_sdk_v2_trains_and_serves_with_pytorch_and_hugging_face(
    torch_server: Server, tmp_path: Path
) -> None:
    pytorch_sources.write(tmp_path)
    printed, result = notebooks.run(
        torch_server, "sagemaker-v2", "sagemaker_v2_pytorch.py", tmp_path, timeout_s=600
    )
    assert result["loss"][0] < 2
    assert result["answers"] == ["1.0", "0.0"]
    assert "asks for Transformers 4.28.1; this is Transformers 5." in printed
    assert result["one"][0]["label"] == "GOOD"
    assert result["one"][0]["score"] > 0.8
    assert [[each["label"] for each in row] for row in result["several"]] == [
        ["BAD", "GOOD"],
        ["GOOD", "BAD"],
    ]
    assert result["failed"].startswith("400 ")
    assert "text input must be of type `str`" in result["failed"]


@pytest.mark.journey
def test_the_sdk_v3_runs_torchrun_on_two_hosts_and_serves_a_pipeline(
    torch_server: Server, tmp_path: Path
) -> None:
    pytorch_sources.write(tmp_path)
    printed, result = notebooks.run(
        torch_server, "sagemaker-v3", "sagemaker_v3_pytorch.py", tmp_path, timeout_s=600
    )
    assert {name: found[:2] for name, found in result["together"].items()} == {
        "rank-0.json": [11.0, 2],
        "rank-1.json": [11.0, 2],
    }
    assert "processes 1" in printed
    assert [each["label"] for each in result["labels"]] == ["GOOD", "BAD"]
    assert result["rows"][0] == "label,score"
    assert result["rows"][1].startswith("GOOD,0.")
