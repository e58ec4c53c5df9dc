"""PyTorch on CPUs: training and serving with scripts, as the SDKs v1 and v2 ask for it."""

import json

import pytest
from services.frameworks import PYTORCH, Workbench
from services.job_clients import as_csv, rows

FIT = """
    import os, sys, threading
    import torch
    torch.manual_seed(1)
    model = torch.nn.Linear(4, 1)
    torch.jit.script(model).save(os.path.join(os.environ["SM_MODEL_DIR"], "model.pt"))
    print("threads", torch.get_num_threads(), os.environ["SM_NUM_CPUS"])
"""


@pytest.fixture
def table(torch_bench: Workbench) -> None:
    torch_bench.put("train/part-0.csv", as_csv(*rows()))


def test_a_script_trains_on_the_version_present_and_its_model_is_served_without_one(
    torch_bench: Workbench, table: None
) -> None:
    job = torch_bench.ran("fit", {"train.py": FIT}, image=PYTORCH)
    assert job["TrainingJobStatus"] == "Completed", job
    log = torch_bench.training_log("fit")
    assert "asks for PyTorch 0.4.0; this is PyTorch 2." in log
    assert "threads 2 2" in log
    endpoint = torch_bench.hosted("fit", PYTORCH, job["ModelArtifacts"]["S3ModelArtifacts"], {})
    assert endpoint["EndpointStatus"] == "InService", endpoint
    body, kind = torch_bench.asked("fit", b"[[1, 2, 3, 4]]", "application/json")
    assert kind == "application/json"
    assert len(json.loads(body)[0]) == 1
