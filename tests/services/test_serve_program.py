"""Models with a program of their own that serves them over HTTP, as every inference container of SageMaker does."""

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from services.frameworks import SKLEARN, Workbench, archive, runtime_pythons
from services.job_clients import waited

from stagedoor.testing import Server

# What inference containers are written like: 8080 in the text, no word of where it runs.
SERVE = """
    import http.server, json, os, sys, threading, urllib.error, urllib.request

    both = threading.Barrier(2, timeout=50)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(200 if self.path == "/ping" else 404, b"")

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kind = self.headers.get("Content-Type")
            if body == b"teapot":
                return self.answer(418, b"no tea here")
            if body == b"die":
                os._exit(7)
            if body == b"both":
                both.wait()  # until two are here at once
            if body.startswith(b"open "):
                url = body[5:].decode() or os.environ["AWS_ENDPOINT_URL"] + "/_stagedoor/health"
                try:
                    return self.answer(200, str(urllib.request.urlopen(url, timeout=10).status).encode())
                except urllib.error.URLError as error:
                    return self.answer(200, str(error.reason).encode())
            told = {
                "body": body.decode(), "path": self.path, "type": kind, "accept": self.headers.get("Accept"),
                "arguments": sys.argv[1:], "model": open("/opt/ml/model/factor").read(), "pid": os.getpid(),
                "said": self.headers.get("X-Amzn-SageMaker-Custom-Attributes"), "extra": os.environ.get("EXTRA"),
            }
            self.answer(200, json.dumps(told).encode(), "application/x-told")

        def answer(self, status, body, kind="text/plain"):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Amzn-SageMaker-Custom-Attributes", "from the program")
            self.end_headers()
            self.wfile.write(body)

    print("serving", flush=True)
    http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""
PYTHON = "#!/usr/bin/env python\n"
# The same, where there may be no port of its own.
TOLD = SERVE.replace("8080)", 'int(os.environ["SAGEMAKER_BIND_TO_PORT"]))')


def program(text: str) -> str:
    """A Python program as a file that runs by itself."""
    return PYTHON + "\n".join(line.removeprefix("    ") for line in text.strip("\n").splitlines()) + "\n"


def served(
    bench: Workbench,
    stem: str,
    name: str = "serve",
    text: str = SERVE,
    image: str = SKLEARN,
    **environment: str,
) -> dict[str, Any]:
    bench.put(f"{stem}.tar.gz", archive({"factor": "2", f"code/{name}": program(text)}))
    data = f"s3://{bench.bucket}/{stem}.tar.gz"
    return bench.hosted(stem, image, data, {"SAGEMAKER_PROGRAM": name, **environment})


def invoked(bench: Workbench, stem: str, body: bytes, **members: str) -> dict[str, Any]:
    return bench.server.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=bench.name(stem), Body=body, **members
    )


def log(bench: Workbench, stem: str) -> str:
    return bench.log_so_far(f"/aws/sagemaker/Endpoints/{bench.name(stem)}", "all")


def test_a_program_serves_with_all_headers_beside_another_on_the_same_port(bench: Workbench) -> None:
    assert served(bench, "first", EXTRA="mine")["EndpointStatus"] == "InService"
    assert served(bench, "second", "entry-point")["EndpointStatus"] == "InService"
    answer = invoked(bench, "first", b"1,2", ContentType="text/csv", Accept="a/b", CustomAttributes="hello")
    assert answer["ContentType"] == "application/x-told"
    assert answer["CustomAttributes"] == "from the program"
    told = json.loads(answer["Body"].read())
    assert isinstance(told.pop("pid"), int)
    assert told == {
        "body": "1,2",
        "path": "/invocations",
        "type": "text/csv",
        "accept": "a/b",
        "said": "hello",
        "arguments": [],
        "model": "2",
        "extra": "mine",
    }
    # As a container whose entry point is a program: it is given the word.
    assert json.loads(invoked(bench, "second", b"x")["Body"].read())["arguments"] == ["serve"]
    waited(lambda: {"log": log(bench, "first")}, lambda found: "serving" in found["log"])
    with pytest.raises(ClientError) as refused:
        invoked(bench, "first", b"teapot")
    assert refused.value.response["OriginalStatusCode"] == 418
    assert refused.value.response["OriginalMessage"] == "no tea here"
    assert refused.value.response["Error"]["Code"] == "ModelError"
    # Its role and the services are there, though port 8080 is its own.
    assert invoked(bench, "first", b"open ")["Body"].read() == b"200"


def test_requests_are_answered_at_once(bench: Workbench) -> None:
    assert served(bench, "wide")["EndpointStatus"] == "InService"
    answers: list[str] = []

    def ask() -> None:
        answers.append(json.loads(invoked(bench, "wide", b"both")["Body"].read())["body"])

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert answers == ["both", "both"]


def test_a_program_that_ends_is_seen_and_started_again(bench: Workbench) -> None:
    assert served(bench, "dies")["EndpointStatus"] == "InService"
    before = json.loads(invoked(bench, "dies", b"x")["Body"].read())["pid"]
    with pytest.raises(ClientError, match="ModelError"):
        invoked(bench, "dies", b"die")

    def again() -> dict[str, Any]:
        try:
            return {"told": json.loads(invoked(bench, "dies", b"x")["Body"].read())}
        except ClientError:
            return {}

    found = waited(again, bool)
    assert found["told"]["body"] == "x"
    assert isinstance(before, int)
    waited(lambda: {"log": log(bench, "dies")}, lambda found: "serve ended with exit code 7" in found["log"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("    raise SystemExit(3)", "the program serve ended with exit code 3 before GET /ping gave 200"),
        ("    import nowhere", "the program serve ended with exit code 1 before GET /ping gave 200"),
    ],
)
def test_a_program_that_does_not_serve_fails_the_endpoint(bench: Workbench, text: str, reason: str) -> None:
    endpoint = served(bench, "broken", text=text)
    assert endpoint["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in endpoint["FailureReason"]
    assert reason in endpoint["FailureReason"]


def test_a_program_that_is_not_there_is_named(bench: Workbench) -> None:
    bench.put("none.tar.gz", archive({"code/other": "x"}))
    data = f"s3://{bench.bucket}/none.tar.gz"
    endpoint = bench.hosted("none", SKLEARN, data, {"SAGEMAKER_PROGRAM": "serve"})
    assert "the model has no serve (SAGEMAKER_PROGRAM): there is other" in endpoint["FailureReason"]


def test_it_serves_batch_transform_and_without_a_network(bench: Workbench) -> None:
    bench.put("batch.tar.gz", archive({"factor": "2", "code/serve": program(SERVE)}))
    bench.put("rows/in.csv", "1,2\n3,4\n")
    name = bench.name("batch")
    container = {
        "Image": SKLEARN,
        "ModelDataUrl": f"s3://{bench.bucket}/batch.tar.gz",
        "Environment": {"SAGEMAKER_PROGRAM": "serve"},
    }
    bench.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=bench.role_arn,
        PrimaryContainer=container,
        EnableNetworkIsolation=True,
    )
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bench.bucket}/rows/"}
    bench.sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=name,
        TransformInput={
            "DataSource": {"S3DataSource": source},
            "ContentType": "text/csv",
            "SplitType": "Line",
        },
        BatchStrategy="SingleRecord",
        TransformOutput={"S3OutputPath": f"s3://{bench.bucket}/out", "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    job = bench.ended_transform(name)
    assert job["TransformJobStatus"] == "Completed", job
    lines = bench.read("out/in.csv.out").decode().splitlines()
    assert [json.loads(line)["body"].strip() for line in lines] == ["1,2", "3,4"]


def test_train_and_serve_of_one_source_as_containers_bring_them(bench: Workbench) -> None:
    """Each is a program that reads what a container finds; neither knows of script mode."""
    train = """
    import json
    parameters = json.load(open("/opt/ml/input/config/hyperparameters.json"))
    rows = open("/opt/ml/input/data/train/rows.csv").read().split()
    open("/opt/ml/model/factor", "w").write(str(len(rows) * int(parameters["times"])))
    """
    bench.put("train/rows.csv", "1,2\n3,4\n5,6\n")
    files = {"train": program(train), "serve": program(SERVE)}
    job = bench.ran("both", files, program="train", hyperparameters={"times": "7"})
    assert job["TrainingJobStatus"] == "Completed", job
    source = f"s3://{bench.bucket}/code/sourcedir.tar.gz"
    environment = {"SAGEMAKER_PROGRAM": "serve", "SAGEMAKER_SUBMIT_DIRECTORY": source}
    endpoint = bench.hosted("both", SKLEARN, job["ModelArtifacts"]["S3ModelArtifacts"], environment)
    assert endpoint["EndpointStatus"] == "InService", endpoint
    assert json.loads(invoked(bench, "both", b"x")["Body"].read())["model"] == "21"


def test_nothing_is_left_of_a_program_whose_endpoint_is_deleted(bench: Workbench) -> None:
    text = SERVE.replace(
        'print("serving"', 'import subprocess; subprocess.Popen(["sleep", "617"]); print("serving"'
    )
    assert served(bench, "goes", text=text)["EndpointStatus"] == "InService"
    assert running("sleep 617")
    bench.sagemaker.delete_endpoint(EndpointName=bench.name("goes"))
    waited(lambda: {"left": running("sleep 617", bench.name("goes"))}, lambda found: not found["left"])


def running(*texts: str) -> list[str]:
    listed = subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if any(text in line for text in texts)]


def test_its_own_loopback_leads_to_the_signed_listener_and_nowhere_else(bench: Workbench) -> None:
    assert served(bench, "kept")["EndpointStatus"] == "InService"
    assert invoked(bench, "kept", b"open ")["Body"].read() == b"200"
    said = invoked(bench, "kept", f"open {bench.server.public}/".encode())["Body"].read()
    assert b"refused" in said or b"denied" in said, said


def test_without_isolation_it_listens_where_it_is_told(tmp_path: Path) -> None:
    """There is one loopback for all then."""
    variables = {"STAGEDOOR_RUNTIME_PYTHONS": runtime_pythons(), "STAGEDOOR_ISOLATION": "none"}
    text = TOLD.replace('"/opt/ml/model/factor"', 'os.environ["SM_MODEL_DIR"] + "/factor"')
    server = Server(tmp_path / "data", variables).start()
    try:
        bench = Workbench(server)
        assert served(bench, "one", text=text)["EndpointStatus"] == "InService"
        assert served(bench, "two", text=text)["EndpointStatus"] == "InService"
        assert json.loads(invoked(bench, "one", b"x")["Body"].read())["model"] == "2"
        assert invoked(bench, "two", b"open ")["Body"].read() == b"200"
    finally:
        server.stop()
