"""Models that a script of one's own serves: endpoints and batch transform, the frameworks' defaults, and what goes wrong."""

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import xgboost
from botocore.exceptions import ClientError
from services.frameworks import SKLEARN, XGBOOST, Workbench, archive
from services.job_clients import waited

# A model that needs no library: the sum of each row, times what the file says.
SERVE = """
    import os

    class Sums:
        def __init__(self, factor):
            self.factor = factor

        def predict(self, rows):
            return rows.sum(axis=1) * self.factor

    def model_fn(model_dir):
        with open(os.path.join(model_dir, "factor")) as file:
            return Sums(float(file.read()))
"""


def model(bench: Workbench, files: Mapping[str, str | bytes]) -> str:
    bench.put("model.tar.gz", archive({"factor": "2", **files}))
    return f"s3://{bench.bucket}/model.tar.gz"


def served(bench: Workbench, script: str, *, image: str = SKLEARN, **environment: str) -> dict[str, Any]:
    """An endpoint named ``served`` whose script lies in the model's code folder."""
    data = model(bench, {"code/inference.py": script})
    return bench.hosted("served", image, data, {"SAGEMAKER_PROGRAM": "inference.py", **environment})


def npy(rows: list[list[float]]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array(rows))
    return stream.getvalue()


def test_the_default_handlers_of_scikit_learn(bench: Workbench) -> None:
    source = bench.source({"serve.py": SERVE})
    environment = {"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": source}
    endpoint = bench.hosted("defaults", SKLEARN, model(bench, {}), environment)
    assert endpoint["EndpointStatus"] == "InService", endpoint
    assert bench.asked("defaults", b"1,2\n3,4", "text/csv") == (b"[6.0, 14.0]", "application/json")
    assert bench.asked("defaults", b"[[1,2],[3,4]]", "application/json", "text/csv") == (
        b"6.0\n14.0\n",
        "text/csv",
    )
    body, kind = bench.asked("defaults", npy([[1, 2], [3, 4]]), "application/x-npy", "application/x-npy")
    assert (np.load(io.BytesIO(body)).tolist(), kind) == ([6.0, 14.0], "application/x-npy")
    for content_type, accept, status in (("image/png", "*/*", "415"), ("text/csv", "image/png", "406")):
        with pytest.raises(ClientError, match=status):
            bench.asked("defaults", b"1,2\n3,4", content_type, accept)


def test_a_scripts_own_functions_are_called_in_order_with_what_aws_gives_them(bench: Workbench) -> None:
    script = (
        SERVE
        + """
    def input_fn(body, content_type):
        return type(body).__name__, content_type

    def predict_fn(data, model):
        return [*data, model.factor]

    def output_fn(prediction, accept):
        return ";".join(map(str, [*prediction, accept])), "text/plain"
"""
    )
    assert served(bench, script)["EndpointStatus"] == "InService"
    assert bench.asked("served", b"1", "text/csv", "text/x") == (b"str;text/csv;2.0;text/x", "text/plain")
    assert bench.asked("served", b"1", "image/png", "text/x") == (b"bytes;image/png;2.0;text/x", "text/plain")
    assert bench.asked("served", b"1", "text/csv")[0] == b"str;text/csv;2.0;application/json"


def test_transform_fn_and_the_response_of_older_scripts(bench: Workbench) -> None:
    script = (
        SERVE
        + """
    from sagemaker_containers.beta.framework import worker
    from neighbour import shout

    def transform_fn(model, body, content_type, accept):
        return worker.Response(shout(body), mimetype="text/loud")
"""
    )
    data = model(
        bench,
        {"code/inference.py": script, "code/neighbour.py": "def shout(text):\n    return text.upper()\n"},
    )
    endpoint = bench.hosted("loud", SKLEARN, data, {"SAGEMAKER_PROGRAM": "inference.py"})
    assert endpoint["EndpointStatus"] == "InService", endpoint
    assert bench.asked("loud", b'"hear"', "application/json") == (b'"HEAR"', "text/loud")


def test_a_function_that_raises_answers_500_and_the_traceback_is_in_the_log(bench: Workbench) -> None:
    script = (
        SERVE
        + """
    def predict_fn(data, model):
        raise KeyError("no such column")
"""
    )
    assert served(bench, script)["EndpointStatus"] == "InService"
    with pytest.raises(ClientError, match="no such column") as caught:
        bench.asked("served", b"1,2\n3,4", "text/csv")
    assert caught.value.response["OriginalStatusCode"] == 500
    group = f"/aws/sagemaker/Endpoints/{bench.name('served')}"
    found = waited(
        lambda: {"log": bench.log_so_far(group, "all")}, lambda answer: "KeyError" in answer["log"]
    )
    assert "Traceback" in found["log"]
    assert "inference.py" in found["log"]


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("raise RuntimeError('not today')\n", "RuntimeError: not today"),
        ("import nowhere_to_be_found\n", "nowhere_to_be_found"),
        ("def model_fn(model_dir):\n    return open(model_dir + '/absent')\n", "FileNotFoundError"),
        ("def input_fn(body, content_type):\n    return body\n", "Please provide a model_fn implementation"),
    ],
)
def test_a_script_that_cannot_load_fails_the_endpoint_with_the_reason(
    bench: Workbench, script: str, text: str
) -> None:
    endpoint = served(bench, script)
    assert endpoint["EndpointStatus"] == "Failed"
    assert text in endpoint["FailureReason"]


def test_a_program_that_is_not_in_the_model_fails_the_endpoint(bench: Workbench) -> None:
    endpoint = bench.hosted("absent", SKLEARN, model(bench, {}), {"SAGEMAKER_PROGRAM": "inference.py"})
    assert endpoint["EndpointStatus"] == "Failed"
    assert "has no inference.py" in endpoint["FailureReason"]


def test_a_source_that_is_not_there_is_said_when_the_model_is_made(bench: Workbench) -> None:
    environment = {
        "SAGEMAKER_PROGRAM": "x.py",
        "SAGEMAKER_SUBMIT_DIRECTORY": f"s3://{bench.bucket}/nowhere.tar.gz",
    }
    with pytest.raises(ClientError, match="Could not find model data"):
        bench.hosted("nowhere", SKLEARN, model(bench, {}), environment)


def test_requirements_of_a_model_are_installed(bench: Workbench) -> None:
    script = (
        SERVE
        + """
    import stagedoor_probe

    def output_fn(prediction, accept):
        return stagedoor_probe.__name__, "text/plain"
"""
    )
    data = model(bench, {"code/inference.py": script, "code/requirements.txt": "stagedoor-probe\n"})
    endpoint = bench.hosted("needs", SKLEARN, data, {"SAGEMAKER_PROGRAM": "inference.py"})
    assert endpoint["EndpointStatus"] == "InService", endpoint
    assert bench.asked("needs", b"1,2\n3,4", "text/csv")[0] == b"stagedoor_probe"


def test_requirements_of_a_model_that_cannot_be_had_fail_the_endpoint(bench: Workbench) -> None:
    data = model(
        bench, {"code/inference.py": SERVE, "code/requirements.txt": "git+https://packages.invalid/x\n"}
    )
    endpoint = bench.hosted("wrong", SKLEARN, data, {"SAGEMAKER_PROGRAM": "inference.py"})
    assert endpoint["EndpointStatus"] == "Failed"
    assert "InstallRequirementsError" in endpoint["FailureReason"]


def test_xgboost_as_a_framework_serves_what_the_script_loads(bench: Workbench) -> None:
    features = np.random.default_rng(1).random((50, 3), dtype=np.float32)
    booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(features, label=features[:, 0]), 3)
    script = """
        import os, xgboost

        def model_fn(model_dir):
            booster = xgboost.Booster()
            booster.load_model(os.path.join(model_dir, "xgboost-model"))
            return booster
    """
    data = model(bench, {"code/inference.py": script, "xgboost-model": bytes(booster.save_raw("ubj"))})
    endpoint = bench.hosted("boost", XGBOOST, data, {"SAGEMAKER_PROGRAM": "inference.py"})
    assert endpoint["EndpointStatus"] == "InService", endpoint
    rows = "\n".join(",".join(map(str, row)) for row in features[:4].tolist())
    expected = booster.predict(xgboost.DMatrix(features[:4]))
    body, kind = bench.asked("boost", rows.encode(), "text/csv")
    assert kind == "text/csv"
    assert [float(line) for line in body.split()] == pytest.approx(expected, abs=1e-6)
    body, _ = bench.asked("boost", rows.encode(), "text/csv", "application/json")
    assert json.loads(body) == pytest.approx(expected, abs=1e-6)


def test_a_batch_transform_goes_through_the_script(bench: Workbench) -> None:
    source = bench.source({"serve.py": SERVE, "requirements.txt": "stagedoor-probe\n"})
    environment = {"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": source}
    name = bench.name("batch")
    container = {"Image": SKLEARN, "ModelDataUrl": model(bench, {}), "Environment": environment}
    bench.sagemaker.create_model(ModelName=name, ExecutionRoleArn=bench.role_arn, PrimaryContainer=container)
    bench.put("in/rows.csv", "1,2\n3,4\n5,6\n")
    bench.sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=name,
        TransformInput={
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bench.bucket}/in/"}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        TransformOutput={
            "S3OutputPath": f"s3://{bench.bucket}/batch",
            "Accept": "text/csv",
            "AssembleWith": "Line",
        },
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    job = bench.ended_transform(name)
    assert job["TransformJobStatus"] == "Completed", job
    assert bench.read("batch/rows.csv.out") == b"6.0\n14.0\n22.0\n"


def test_a_scripts_worker_sees_its_model_and_nothing_of_the_server(bench: Workbench) -> None:
    script = (
        SERVE
        + f"""
    import json

    def transform_fn(model, body, content_type, accept):
        try:
            open({str(bench.server.data / "keys.json")!r}).read()
            secret = "read"
        except OSError as error:
            secret = type(error).__name__
        return json.dumps([secret, os.getcwd(), os.environ["SM_MODEL_DIR"]])
"""
    )
    assert served(bench, script)["EndpointStatus"] == "InService"
    secret, folder, model_dir = json.loads(bench.asked("served", b"{}", "application/json")[0])
    assert secret in ("FileNotFoundError", "PermissionError")
    assert model_dir == "/opt/ml/model"
    assert folder.endswith("/code")
