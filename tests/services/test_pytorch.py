"""PyTorch on CPUs: training and serving with scripts, as the SDKs v1 and v2 ask for it."""

import io
import json
import textwrap
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError
from services.frameworks import PYTORCH, REGISTRY, Workbench, archive
from services.job_clients import as_csv, rows

SERVING = f"{REGISTRY}/pytorch-inference:2.3.0-gpu-py311"

# A model whose answers are known: the sum of a row's numbers, twice; it is trained on rows that say so.
FIT = """
    import os, sys
    import sagemaker_containers
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 1, bias=False)

        def forward(self, rows):
            return self.layer(rows)

    if __name__ == "__main__":
        torch.manual_seed(1)
        features = torch.randn(256, 4)
        data = TensorDataset(features, 2 * features.sum(dim=1, keepdim=True))
        model = Twice()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        # Two processes prepare the batches: shared memory and file descriptors between them.
        for rows, answers in DataLoader(data, batch_size=16, num_workers=2):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(rows), answers)
            loss.backward()
            optimizer.step()
        print(f"loss={loss.item():.6f};")
        print("threads", torch.get_num_threads(), sagemaker_containers.training_env().num_cpus)
        torch.jit.script(model).save(os.path.join(os.environ["SM_MODEL_DIR"], "model.pt"))
"""


@pytest.fixture
def table(torch_bench: Workbench) -> None:
    torch_bench.put("train/part-0.csv", as_csv(*rows()))


def npy(values: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array(values, dtype=np.float32))
    return stream.getvalue()


def flat(body: bytes) -> list[float]:
    return np.ravel(json.loads(body)).tolist()


def test_a_script_trains_on_the_version_present_and_its_model_is_served_without_one(
    torch_bench: Workbench, table: None
) -> None:
    loss = [{"Name": "loss", "Regex": "loss=([0-9.]+);"}]
    job = torch_bench.ran("fit", {"train.py": FIT}, image=PYTORCH, metrics=loss)
    assert job["TrainingJobStatus"] == "Completed", job
    assert job["FinalMetricDataList"][0]["Value"] < 0.1
    log = torch_bench.training_log("fit")
    assert "asks for PyTorch 0.4.0; this is PyTorch 2." in log
    assert "threads 2 2" in log
    endpoint = torch_bench.hosted("fit", PYTORCH, job["ModelArtifacts"]["S3ModelArtifacts"], {})
    assert endpoint["EndpointStatus"] == "InService", endpoint
    rows_sent, expected = [[1, 2, 3, 4], [0, 0, 0, 0.5]], [20, 1]
    body, kind = torch_bench.asked("fit", json.dumps(rows_sent).encode(), "application/json")
    assert kind == "application/json"
    assert flat(body) == pytest.approx(expected, rel=0.2)
    body, kind = torch_bench.asked("fit", npy(rows_sent), "application/x-npy", "application/x-npy")
    assert kind == "application/x-npy"
    assert np.load(io.BytesIO(body)).ravel() == pytest.approx(expected, rel=0.2)
    body, kind = torch_bench.asked("fit", b"1,2,3,4\n0,0,0,0.5", "text/csv", "image/png, text/csv;q=0.5")
    assert kind == "text/csv"
    assert [float(line) for line in body.split()] == pytest.approx(expected, rel=0.2)
    for content_type, accept, status in (("image/png", "*/*", "415"), ("text/csv", "image/png", "406")):
        with pytest.raises(ClientError, match=status):
            torch_bench.asked("fit", b"1,2,3,4", content_type, accept)


def saved(bench: Workbench, script: str) -> str:
    """A model without weights, whose code is ``script``; its URI."""
    bench.put("model.tar.gz", archive({"weights": "2 3", "code/inference.py": textwrap.dedent(script)}))
    return f"s3://{bench.bucket}/model.tar.gz"


def test_a_scripts_own_functions_may_take_the_context_and_compute_with_all_threads(
    torch_bench: Workbench,
) -> None:
    script = """
        import os
        import torch

        def model_fn(model_dir, context):
            assert context.system_properties["model_dir"] == model_dir
            with open(os.path.join(model_dir, "weights")) as file:
                return torch.tensor([float(each) for each in file.read().split()])

        def input_fn(body, content_type, context):
            headers = context.request_processor[0].get_request_properties()
            assert context.get_request_header(0, "content-type") == headers["Content-Type"] == content_type
            return torch.tensor([float(each) for each in body.split(",")])

        def predict_fn(data, model):
            # Enough work for an OpenMP region, in a process that was forked from one that had imported torch.
            square = torch.ones(400, 400) @ torch.ones(400, 400)
            assert square.sum().item() == 400.0 ** 3
            assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"])
            return {"product": (data * model).sum().item()}

        def output_fn(prediction, accept):
            return str(prediction), "text/plain"
    """
    environment = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
    for stem in ("one", "two"):  # two forks of the same warm parent
        endpoint = torch_bench.hosted(stem, SERVING, saved(torch_bench, script), environment)
        assert endpoint["EndpointStatus"] == "InService", endpoint
        for _ in range(2):
            body, _ = torch_bench.asked(stem, b"5,7", "text/csv")
            assert body == b"{'product': 31.0}"


def test_a_model_that_is_no_torchscript_says_what_to_do(torch_bench: Workbench) -> None:
    torch_bench.put("model.tar.gz", archive({"model.pth": b"weights only"}))
    endpoint = torch_bench.hosted("raw", SERVING, f"s3://{torch_bench.bucket}/model.tar.gz", {})
    assert endpoint["EndpointStatus"] == "Failed"
    assert (
        "Without a model_fn in the script, the model must have been saved with torch.jit.save"
        in endpoint["FailureReason"]
    )


@pytest.mark.parametrize(
    ("stem", "script", "text"),
    [
        ("memory", "torch.ones(10**14)", "can't allocate memory"),
        (
            "nan",
            "torch.autograd.set_detect_anomaly(True)\nx = torch.zeros(1, requires_grad=True)\n(x / x).sum().backward()",
            "nan",
        ),
        (
            "workers",
            "list(torch.utils.data.DataLoader([1, 'x'], num_workers=1, collate_fn=lambda each: each[0] + 1))",
            "TypeError",
        ),
    ],
)
def test_a_script_that_fails_in_torch_fails_the_job_with_the_last_traceback(
    torch_bench: Workbench, table: None, stem: str, script: str, text: str
) -> None:
    job = torch_bench.ran(stem, {"train.py": f"import torch\n\n{script}\n"}, image=PYTORCH)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith(
        'AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "Traceback'
    )
    assert text in job["FailureReason"]
