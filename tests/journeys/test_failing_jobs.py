"""Jobs with bad input, on a real server with few means: each ends as Failed with whose mistake it was and the last traceback, nothing is left
running or on disk, and the next job works.
"""

import gzip
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from journeys import client_environments
from services.frameworks import PYTORCH, REGISTRY, SKLEARN, Workbench, archive, runtime_pythons, unpacked
from services.job_clients import as_csv, rows, waited

from stagedoor.testing import Server

pytestmark = pytest.mark.journey
MIB = 1024 * 1024
MEMORY_BYTES = 300 * MIB
DISK_BYTES = 96 * MIB
LINEAR = f"{REGISTRY.replace('683313688378', '382416733822')}/linear-learner:1"

FEATURES, LABELS = rows()
GOOD = as_csv(FEATURES, LABELS)
UNLABELLED = as_csv(FEATURES)
# Somebody that a job starts and does not wait for: found by the odd number of seconds.
LEFT_ALONE = "import subprocess\nsubprocess.Popen(['sleep', '613'], start_new_session=True)\n"
RAISES = f"{LEFT_ALONE}def work():\n    raise ValueError('the label column is absent')\n\nwork()\n"
EATS_MEMORY = f"{LEFT_ALONE}import time\nheld = []\nwhile True:\n    held.append(b'x' * {20 * MIB})\n    time.sleep(0.02)\n"
FILLS_DISK = f"{LEFT_ALONE}with open(FOLDER + '/big', 'wb', buffering=0) as file:\n    while True:\n        file.write(b'x' * {MIB})\n"


class Desk(Workbench):
    """A workbench that looks at what jobs leave. ``sleeper``: the somebody, who may be another test's, too, for a moment."""

    sleeper = "sleep 613"

    def check_nothing_is_left(self) -> None:
        """No process, no staged input, no scratch directory; and the next job works."""
        deadline_s = time.monotonic() + 20
        while (left := self._left()) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert left == []
        self.put("next/rows.csv", GOOD)
        done = self.trained("next", InputDataConfig=[self.channel("train", "next/")])
        assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")

    def _left(self) -> list[str]:
        data = self.server.data
        jobs = [str(path.relative_to(data)) for path in (data / "jobs").glob("*/*")]
        scratch = [path.name for path in (data / "scratch").iterdir() if path.name != ".sockets"]
        listed = subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True)
        processes = [line for line in listed.stdout.splitlines() if self.sleeper in line or str(data) in line]
        return [*jobs, *scratch, *(line for line in processes if " up --data " not in line)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Workloads may use little memory."""
    variables = {
        "STAGEDOOR_RUNTIME_PYTHONS": runtime_pythons(),
        "STAGEDOOR_WORKLOAD_MEMORY_MAX_BYTES": str(MEMORY_BYTES),
    }
    server = Server(tmp_path_factory.mktemp("failing") / "data", variables).start()
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The data directory is a small file system of its own."""
    if sys.platform != "linux" or os.getuid() != 0:
        pytest.skip("only root on Linux mounts a small disk to fill")
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no small disk to fill here: {mounted.stderr.strip()}")
    pythons = runtime_pythons()
    if (torch := client_environments.pytorch()) is not None:
        pythons += f",pytorch={torch}"
    server = Server(folder / "data", {"STAGEDOOR_RUNTIME_PYTHONS": pythons})
    try:
        yield server.start()
        assert server.stop() == 0
    finally:
        server.close()
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def desk(server: Server) -> Desk:
    return Desk(server)


def failed(job: Mapping[str, Any]) -> str:
    """Its FailureReason."""
    [status] = [value for name, value in job.items() if name.endswith("JobStatus")]
    assert status == "Failed", job
    return str(job["FailureReason"])


# Training


@pytest.mark.parametrize(
    ("data", "content_type", "reason"),
    [
        (GOOD, "application/json", "ClientError: application/json is not an accepted ContentType: csv, "),
        (GOOD, "text/libsvm", "ClientError: First line '1,7,0,1,2...' of file 'rows.csv' is not 'LIBSVM' format"),
        (GOOD, "application/x-recordio-protobuf", "ClientError: Failed to load recordio-protobuf data"),
        (UNLABELLED, "text/csv", "ClientError: label must be in [0,1] for logistic regression"),
        ("1\n0\n1\n", "text/csv", "ClientError: File 'rows.csv' has 1 columns; CSV data has a label and features"),
        (f"{GOOD},1,2,3,4\n", "text/csv", "ClientError: Label contains NaN, infinity or a value too large: row 41"),
        (f"{GOOD}1,inf,2,3,4\n", "text/csv", "ClientError: Input data contains `inf` or a value too large"),
        (f"{GOOD}1,2\n", "text/csv", "ClientError: Failed to load csv data with exception:\nline 41 has 2 fields"),
        (f"label,a,b,c,d\n{GOOD}", "text/csv", "ClientError: Non-numeric value found in the header line 'label,a,b"),
        ("", "text/csv", "ClientError: No data in training channel path /opt/ml/input/data/train"),
        (b"\xff\xfe\x00", "text/csv", "ClientError: "),
    ],
)  # fmt: skip
def test_data_that_xgboost_cannot_train_on(desk: Desk, data: str, content_type: str, reason: str) -> None:
    desk.put("train/rows.csv", data)
    channel = desk.channel("train", "train/", content_type)
    said = failed(desk.trained("bad-data", InputDataConfig=[channel]))
    assert said.startswith(reason)
    assert desk.keys("models/") == []
    desk.check_nothing_is_left()


@pytest.mark.parametrize(
    ("hyperparameters", "reason"),
    [
        ({"max_dept": "3"}, "ClientError: Extraneous hyperparameter found: max_dept"),
        ({"num_round": "x"}, "ClientError: Hyperparameter num_round: could not parse value 'x'"),
        ({"objective": "binary:logistics"}, "ClientError: Hyperparameter objective: binary:logistics is not in ['binary:log"),
    ],
)  # fmt: skip
def test_hyperparameters_that_are_wrong(desk: Desk, hyperparameters: dict[str, str], reason: str) -> None:
    desk.put("train/rows.csv", GOOD)
    given = {"num_round": "3", "objective": "binary:logistic"} | hyperparameters
    assert failed(desk.trained("bad-hyper", HyperParameters=given)).startswith(reason)
    desk.check_nothing_is_left()


def test_a_channel_that_is_missing(desk: Desk) -> None:
    desk.put("train/rows.csv", GOOD)
    job = desk.trained("missing", InputDataConfig=[desk.channel("validation", "train/")])
    assert failed(job) == "ClientError: Missing required channel: train"
    desk.check_nothing_is_left()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (f"{GOOD}1,nan,2,3,4\n", "ClientError: "),
        ("", "ClientError: "),
        (f"label,a,b,c,d\n{GOOD}", "ClientError: "),
    ],
)
def test_data_that_linear_learner_cannot_train_on(desk: Desk, data: str, reason: str) -> None:
    desk.put("train/rows.csv", data)
    job = desk.trained(
        "bad-linear",
        AlgorithmSpecification={"TrainingImage": LINEAR, "TrainingInputMode": "File"},
        HyperParameters={"predictor_type": "binary_classifier"},
    )
    assert failed(job).startswith(reason)
    desk.check_nothing_is_left()


def test_a_script_that_raises(desk: Desk) -> None:
    desk.put("train/rows.csv", GOOD)
    said = failed(desk.ran("raises", {"train.py": RAISES}))
    assert said.startswith(
        'AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "Traceback (most'
    )
    assert "in work\n    raise ValueError('the label column is absent')\nValueError: the label" in said
    desk.check_nothing_is_left()


def test_a_script_that_hangs(desk: Desk) -> None:
    desk.put("train/rows.csv", GOOD)
    script = f"{LEFT_ALONE}import time\nprint('hanging', flush=True)\ntime.sleep(600)\n"
    job = desk.ran("hangs", {"train.py": script}, StoppingCondition={"MaxRuntimeInSeconds": 2})
    # As on AWS: a job that reaches its limit is Stopped, not Failed.
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert "ErrorMessage" not in desk.training_log("hangs"), "it was stopped, and made no mistake"
    desk.check_nothing_is_left()


def test_a_script_that_runs_out_of_memory(desk: Desk) -> None:
    desk.put("train/rows.csv", GOOD)
    check_out_of_memory(failed(desk.ran("eats", {"train.py": EATS_MEMORY})), desk.training_log("eats"))
    desk.check_nothing_is_left()


def check_out_of_memory(reason: str, log: str) -> None:
    """It says how much was used and what may be, and so does the log."""
    assert reason.startswith("AlgorithmError: the algorithm was ended by SIGKILL, since it uses ")
    assert reason.endswith(", exit code: 137")
    for text in (reason, log):
        assert " MB of memory and may use 300 MB (workload_memory_max_bytes)" in text


# Processing


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (RAISES, "AlgorithmError: Traceback (most recent call last):\n"),
        ("raise SystemExit(3)\n", "AlgorithmError: "),
        ("import nowhere_to_be_found\n", "AlgorithmError: Traceback (most recent call last):\n"),
    ],
)
def test_a_processing_script_that_fails(desk: Desk, script: str, reason: str) -> None:
    assert failed(desk.ran_python("raises", script)).startswith(reason)
    assert desk.processing_log("raises").count("Traceback") <= 1
    desk.check_nothing_is_left()


def test_a_processing_script_that_runs_out_of_memory(desk: Desk) -> None:
    check_out_of_memory(failed(desk.ran_python("eats", EATS_MEMORY)), desk.processing_log("eats"))
    desk.check_nothing_is_left()


def test_a_processing_script_that_hangs(desk: Desk) -> None:
    script = f"{LEFT_ALONE}import time\ntime.sleep(600)\n"
    job = desk.ran_python("hangs", script, StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert job["ProcessingJobStatus"] == "Stopped"
    desk.check_nothing_is_left()


# Transform

MODEL = "def model_fn(folder):\n    return None\n\ndef input_fn(body, content_type):\n    return body\n\n"


def transformed(desk: Desk, stem: str, script: str, **members: Any) -> dict[str, Any]:
    """A transform job with a script as its model."""
    name = desk.name(stem)
    desk.put("model.tar.gz", archive({"code/inference.py": script}))
    container = {
        "Image": SKLEARN,
        "ModelDataUrl": f"s3://{desk.bucket}/model.tar.gz",
        "Environment": {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"},
    }  # fmt: skip
    desk.sagemaker.create_model(ModelName=name, ExecutionRoleArn=desk.role_arn, PrimaryContainer=container)
    desk.put("in/rows.csv", "1,2\n3,4\n")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{desk.bucket}/in/"}
    desk.sagemaker.create_transform_job(
        **{
            "TransformJobName": name,
            "ModelName": name,
            "TransformInput": {"DataSource": {"S3DataSource": source}, "ContentType": "text/csv"},
            "TransformOutput": {"S3OutputPath": f"s3://{desk.bucket}/out"},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        }
        | members
    )
    return desk.ended_transform(name)


@pytest.mark.parametrize(
    ("script", "client", "reason"),
    [
        (f"{LEFT_ALONE}def model_fn(folder):\n    raise ValueError('no weights')\n", {},
         "AlgorithmError: The model's container did not become ready: "),
        (f"{LEFT_ALONE}{MODEL}def predict_fn(data, model):\n    raise ValueError('three columns, please')\n", {},
         "AlgorithmError: See job logs for more information. "),
        (f"{MODEL}def predict_fn(data, model):\n    import time\n    time.sleep(600)\n",
         {"InvocationsTimeoutInSeconds": 1, "InvocationsMaxRetries": 0}, "AlgorithmError: "),
        (f"{MODEL}def predict_fn(data, model):\n    import os\n    os._exit(3)\n", {}, "AlgorithmError: "),
        (MODEL + "def predict_fn(data, model):\n    " + EATS_MEMORY.replace("\n", "\n    "), {}, "AlgorithmError: "),
    ],
    ids=["loads not", "raises", "hangs", "exits", "out of memory"],
)  # fmt: skip
def test_a_transform_whose_model_fails(
    desk: Desk, script: str, client: dict[str, int], reason: str, request: pytest.FixtureRequest
) -> None:
    job = transformed(desk, "fails", script, **({"ModelClientConfig": client} if client else {}))
    said = failed(job)
    print(said)
    assert said.startswith(reason)
    assert desk.keys("out/") == []
    log = desk.log("/aws/sagemaker/TransformJobs", desk.name("fails"))
    if "out of memory" in request.node.name:
        assert " MB of memory and may use 300 MB (workload_memory_max_bytes)" in log
        assert " MB of memory and may use 300 MB (workload_memory_max_bytes)" in said
    if "raise ValueError" in script:
        assert "Traceback (most recent call last):" in log
    desk.check_nothing_is_left()


# A full disk


@pytest.fixture
def cramped(small_disk: Server) -> Desk:
    return Desk(small_disk)


def test_a_script_that_fills_the_disk(cramped: Desk) -> None:
    cramped.put("train/rows.csv", GOOD)
    said = failed(cramped.ran("fills", {"train.py": f"FOLDER = '/opt/ml/model'\n{FILLS_DISK}"}))
    assert said.startswith("AlgorithmError: ExecuteUserScriptError:")
    assert "OSError: [Errno 28] No space left on device" in said
    cramped.check_nothing_is_left()


def test_a_processing_script_that_fills_the_disk(cramped: Desk) -> None:
    said = failed(cramped.ran_python("fills", f"FOLDER = '/tmp'\n{FILLS_DISK}"))
    assert said.startswith("AlgorithmError: Traceback (most recent call last):\n")
    assert "OSError: [Errno 28] No space left on device" in said
    cramped.check_nothing_is_left()


def test_inputs_that_fill_the_disk(cramped: Desk) -> None:
    cramped.put("zipped/rows.csv.gz", gzip.compress(b"1,2,3,4,5\n" * (2 * DISK_BYTES // 10), 1))
    channel = cramped.channel("train", "zipped/") | {"CompressionType": "Gzip"}
    said = failed(cramped.trained("too-large", InputDataConfig=[channel]))
    assert said.startswith("InternalServerError: ")
    assert "No space left on device" in said
    cramped.check_nothing_is_left()


def test_a_model_that_fills_the_disk(cramped: Desk) -> None:
    """The script leaves room for its model, and none for the archive of it."""
    cramped.put("train/rows.csv", GOOD)
    script = (
        "import os\n"
        "free = os.statvfs('/opt/ml/model')\n"
        "with open('/opt/ml/model/big', 'wb') as file:\n"
        "    file.write(os.urandom(free.f_bavail * free.f_frsize - 4 * 1024 * 1024))\n"
    )
    said = failed(cramped.ran("archive", {"train.py": script}))
    assert said.startswith("InternalServerError: ")
    assert "No space left on device" in said
    cramped.check_nothing_is_left()


def test_a_disk_that_is_full_for_a_while(cramped: Desk) -> None:
    """The job's end cannot be recorded at first; it is once there is room again."""
    cramped.put("train/rows.csv", GOOD)
    filler = cramped.server.data.parent / "filler"
    script = "import time\nprint('begun', flush=True)\ntime.sleep(2)\nraise ValueError('late')\n"
    started = cramped.name("while")
    source = cramped.source({"train.py": script})
    request = cramped.training_request(
        "while",
        AlgorithmSpecification={"TrainingImage": SKLEARN, "TrainingInputMode": "File"},
        HyperParameters={
            "sagemaker_program": '"train.py"',
            "sagemaker_submit_directory": f'"{source}"',
        },
    )
    cramped.sagemaker.create_training_job(**request)
    waited(
        lambda: cramped.sagemaker.describe_training_job(TrainingJobName=started),
        lambda answer: answer["SecondaryStatus"] == "Training",
    )
    _fill(filler)
    time.sleep(3)
    filler.unlink()
    said = failed(cramped.ended_training(started))
    assert said.startswith(("AlgorithmError: ", "InternalServerError: "))
    cramped.check_nothing_is_left()


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * MIB)
        except OSError:
            return


# PyTorch

SAVES = "import torch\ntensor = torch.zeros(8 * 1024 * 1024)\nprint('torch', torch.__version__, flush=True)\n"


def test_a_pytorch_script_that_hangs(torch_server: Server) -> None:
    desk = Desk(torch_server)
    desk.sleeper = "sleep 619"  # it is there for longer than others wait for theirs to go
    desk.put("train/rows.csv", GOOD)
    # A data loader's process is left waiting for its queue, too.
    script = (
        f"{LEFT_ALONE.replace('613', '619')}{SAVES}"
        "import torch.multiprocessing as processes\n"
        "torch.save(tensor[:4].clone(), '/opt/ml/model/half.pt')\n"
        "queue = processes.Queue()\n"
        "child = processes.Process(target=queue.get)\n"
        "child.start()\nprint('hanging', flush=True)\nchild.join()\n"
    )
    limit = {"MaxRuntimeInSeconds": 15}
    job = desk.ran("hangs", {"train.py": script}, image=PYTORCH, StoppingCondition=limit)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert "hanging" in desk.training_log("hangs")
    assert "half.pt" in unpacked(desk.read(f"models/{job['TrainingJobName']}/output/model.tar.gz"))
    desk.check_nothing_is_left()


def test_a_pytorch_script_that_fills_the_disk(small_disk: Server) -> None:
    desk = Desk(small_disk)
    if client_environments.pytorch() is None:
        pytest.skip(client_environments.TORCH_WANTED)
    desk.put("train/rows.csv", GOOD)
    script = (
        f"{LEFT_ALONE}{SAVES}number = 0\n"
        "while True:\n    torch.save(tensor, f'/opt/ml/model/{number}.pt')\n    number += 1\n"
    )
    said = failed(desk.ran("fills", {"train.py": script}, image=PYTORCH))
    assert said.startswith("AlgorithmError: ExecuteUserScriptError:"), said
    assert "torch.save(tensor" in said
    assert "RuntimeError: " in said or "No space left on device" in said
    desk.check_nothing_is_left()
