"""Training with a script of one's own, as boto3 and the SDKs v1, v2 (script mode) and v3 (a container's command) ask for it."""

import io
import json
import textwrap
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from living import paths_under
from services.frameworks import REGISTRY, SKLEARN, XGBOOST, Workbench, unpacked
from services.job_clients import as_csv, rows, waited

FIT = """
    import argparse, json, os, joblib
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    if __name__ == "__main__":
        parser = argparse.ArgumentParser()
        parser.add_argument("--max_iter", type=int)
        parser.add_argument("--penalty-free", type=str)
        parser.add_argument("--model-dir", default=os.environ["SM_MODEL_DIR"])
        parser.add_argument("--train", default=os.environ["SM_CHANNEL_TRAIN"])
        given = parser.parse_args()
        table = np.loadtxt(os.path.join(given.train, "part-0.csv"), delimiter=",")
        model = LogisticRegression(max_iter=given.max_iter).fit(table[:, 1:], table[:, 0])
        joblib.dump(model, os.path.join(given.model_dir, "model.joblib"))
        with open(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "facts.json"), "w") as file:
            json.dump({"free": given.penalty_free, "folder": os.getcwd()}, file)
        print(f"accuracy={model.score(table[:, 1:], table[:, 0])};")
"""


@pytest.fixture
def table(bench: Workbench) -> None:
    bench.put("train/part-0.csv", as_csv(*rows()))


def test_a_script_gets_its_arguments_and_folders_and_what_it_writes_is_the_model(
    bench: Workbench, table: None
) -> None:
    job = bench.ran(
        "fit",
        {"train.py": FIT},
        hyperparameters={"max_iter": "300", "penalty-free": '"yes"'},
        metrics=[{"Name": "accuracy", "Regex": "accuracy=([0-9.]+);"}],
    )
    assert job["TrainingJobStatus"] == "Completed", job
    assert [metric["MetricName"] for metric in job["FinalMetricDataList"]] == ["accuracy"]
    model = bench.read(f"models/{job['TrainingJobName']}/output/model.tar.gz")
    assert list(unpacked(model)) == ["model.joblib"]
    output = unpacked(bench.read(f"models/{job['TrainingJobName']}/output/output.tar.gz"))
    assert json.loads(output["facts.json"]) == {"free": "yes", "folder": "/opt/ml/code"}
    log = bench.training_log("fit")
    assert "asks for scikit-learn 0.23-1; this is scikit-learn 1." in log
    assert "python train.py --max_iter 300 --penalty-free yes" in log
    assert "accuracy=" in log


def test_the_configuration_files_and_variables_of_a_training_container(bench: Workbench, table: None) -> None:
    look = """
        import json, os
        found = {"variables": dict(os.environ)}
        for name in ("hyperparameters", "inputdataconfig", "resourceconfig"):
            found[name] = json.load(open(f"/opt/ml/input/config/{name}.json"))
        found["data"] = os.listdir("/opt/ml/input/data/train")
        found["root"] = sorted(os.listdir("/opt/ml"))
        json.dump(found, open("/opt/ml/output/data/found.json", "w"))
    """
    job = bench.ran(
        "look",
        {"look.py": look},
        program="look.py",
        hyperparameters={"depth": "3", "name": '"x y"', "flag": "true"},
    )
    assert job["TrainingJobStatus"] == "Completed", job
    name = job["TrainingJobName"]
    found = json.loads(unpacked(bench.read(f"models/{name}/output/output.tar.gz"))["found.json"])
    variables = found["variables"]
    expected = {
        "SM_MODEL_DIR": "/opt/ml/model",
        "SM_OUTPUT_DATA_DIR": "/opt/ml/output/data",
        "SM_INPUT_DIR": "/opt/ml/input",
        "SM_CHANNELS": '["train"]',
        "SM_CHANNEL_TRAIN": "/opt/ml/input/data/train",
        "SM_HP_DEPTH": "3",
        "SM_HP_NAME": "x y",
        "SM_HP_FLAG": "true",
        "SM_HPS": '{"depth":3,"flag":true,"name":"x y"}',
        "SM_USER_ARGS": '["--depth","3","--flag","True","--name","x y"]',
        "SM_CURRENT_HOST": "algo-1",
        "SM_HOSTS": '["algo-1"]',
        "SM_NUM_GPUS": "0",
        "SM_MODULE_NAME": "look",
        "SM_USER_ENTRY_POINT": "look.py",
        "SM_LOG_LEVEL": "20",
        "TRAINING_JOB_NAME": name,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": bench.server.api,
    }
    assert {key: variables.get(key) for key in expected} == expected
    assert json.loads(variables["SM_TRAINING_ENV"])["channel_input_dirs"] == {
        "train": "/opt/ml/input/data/train"
    }
    assert found["hyperparameters"]["sagemaker_program"] == '"look.py"'
    assert found["inputdataconfig"]["train"]["TrainingInputMode"] == "File"
    assert found["resourceconfig"]["hosts"] == ["algo-1"]
    assert found["data"] == ["part-0.csv"]
    assert {"code", "input", "model", "output"} <= set(found["root"])


def test_a_script_calls_the_services_with_its_role_unless_the_network_is_isolated(
    bench: Workbench, table: None
) -> None:
    call = """
        import os, socket
        from urllib.parse import urlsplit
        at = urlsplit(os.environ.get("AWS_ENDPOINT_URL", "http://127.0.0.1:9"))
        try:
            socket.create_connection((at.hostname, at.port), 2).close()
            print("reached", bool(os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")))
        except OSError as error:
            print("not reached", os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"))
        try:
            socket.create_connection(("192.0.2.1", 80), 0.5)
        except OSError as error:
            print("elsewhere", type(error).__name__)
    """
    assert bench.ran("call", {"call.py": call}, program="call.py")["TrainingJobStatus"] == "Completed"
    assert "reached True" in bench.training_log("call")
    alone = bench.ran("alone", {"call.py": call}, program="call.py", EnableNetworkIsolation=True)
    assert alone["TrainingJobStatus"] == "Completed"
    assert "not reached None" in bench.training_log("alone")


def test_what_the_debugger_and_tensorboard_are_given_goes_to_s3(bench: Workbench, table: None) -> None:
    script = """
        import json, pathlib
        hook = json.loads(pathlib.Path("/opt/ml/input/config/debughookconfig.json").read_text())
        for folder in (hook.get("LocalPath", "/opt/ml/output/tensors"), "/opt/ml/output/board"):
            place = pathlib.Path(folder, "events", "0.tfevents")
            place.parent.mkdir(parents=True)
            place.write_text(folder)
        pathlib.Path("/opt/ml/model/model.txt").write_text("a model")
    """
    target = f"s3://{bench.bucket}/debugged"
    done = bench.ran(
        "debugged",
        {"train.py": script},
        DebugHookConfig={"S3OutputPath": target},
        TensorBoardOutputConfig={"S3OutputPath": target, "LocalPath": "/opt/ml/output/board"},
    )
    assert done["TrainingJobStatus"] == "Completed", done
    below = f"debugged/{bench.name('debugged')}"
    listed = bench.s3.list_objects_v2(Bucket=bench.bucket, Prefix="debugged/")["Contents"]
    assert {each["Key"] for each in listed} == {
        f"{below}/debug-output/events/0.tfevents",
        f"{below}/tensorboard-output/events/0.tfevents",
    }


def test_several_instances_cannot_be_kept_from_the_network_and_are_refused(
    bench: Workbench, table: None
) -> None:
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 5}
    with pytest.raises(ClientError, match=r"EnableNetworkIsolation with ResourceConfig\.InstanceCount 2"):
        bench.ran("apart", {"train.py": FIT}, ResourceConfig=resources, EnableNetworkIsolation=True)


def test_what_older_scripts_import_is_there(bench: Workbench, table: None) -> None:
    old = """
        import sagemaker_containers
        from sagemaker_containers.beta.framework import content_types, encoders, env, worker
        from sagemaker_training import environment
        facts = sagemaker_containers.training_env()
        print("hyperparameters", facts.hyperparameters, facts["model_dir"], environment.Environment().current_host)
        print(encoders.json_to_numpy("[1, 2]").tolist(), worker.Response("x", "text/csv", mimetype="text/csv").mimetype)
    """
    job = bench.ran("old", {"old.py": old}, program="old.py", hyperparameters={"depth": "3"})
    assert job["TrainingJobStatus"] == "Completed", job
    assert "hyperparameters {'depth': 3} /opt/ml/model algo-1\n[1, 2] text/csv" in bench.training_log("old")


def test_modules_beside_the_script_and_shell_scripts_run_too(bench: Workbench, table: None) -> None:
    files = {
        "run.sh": '#!/bin/sh\necho "shell $1 $2"\npython deep/main.py\n',
        "deep/main.py": "from words import greeting\nprint(greeting)\n",
        "deep/words.py": "greeting = 'from beside'\n",
    }
    job = bench.ran("shell", files, program="run.sh", hyperparameters={"depth": "3"})
    assert job["TrainingJobStatus"] == "Completed", job
    assert "shell --depth 3\nfrom beside" in bench.training_log("shell")


def test_a_script_that_raises_fails_with_its_traceback(bench: Workbench, table: None) -> None:
    script = "def work():\n    raise ValueError('the label column is absent')\n\nprint('begun')\nwork()\n"
    job = bench.ran("raises", {"train.py": script})
    assert job["TrainingJobStatus"] == "Failed"
    reason = job["FailureReason"]
    assert reason.startswith('AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "Traceback')
    assert "ValueError: the label column is absent" in reason
    assert reason.endswith("exit code: 1")
    assert "begun" in bench.training_log("raises")
    assert "ModelArtifacts" not in job or not job["ModelArtifacts"].get("S3ModelArtifacts")
    assert bench.keys("models") == []


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("import sys\nprint('so much for that')\nsys.exit(3)\n", "so much for that"),
        ("import nowhere_to_be_found\n", "No module named 'nowhere_to_be_found'"),
        ("open('/opt/ml/output/failure', 'w').write('my own words')\nraise SystemExit(9)\n", "my own words"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", "exit code: 137"),
    ],
)
def test_the_failure_says_what_happened(bench: Workbench, table: None, script: str, text: str) -> None:
    job = bench.ran("fails", {"train.py": script})
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("AlgorithmError: ")
    assert text in job["FailureReason"]


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"sagemaker_program": '"other.py"'}, "has no other.py"),
        ({"sagemaker_submit_directory": '"s3://nowhere-at-all/x.tar.gz"'}, "does not exist"),
    ],
)
def test_a_source_that_is_not_there_is_the_clients_error(
    bench: Workbench, table: None, changed: dict[str, str], text: str
) -> None:
    job = bench.ran("missing", {"train.py": "print()"}, hyperparameters=changed)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: ")
    assert text in job["FailureReason"]


def test_a_source_that_is_no_archive_is_the_clients_error(bench: Workbench, table: None) -> None:
    bench.put("code/broken.tar.gz", b"not an archive")
    where = {"sagemaker_submit_directory": f'"s3://{bench.bucket}/code/broken.tar.gz"'}
    job = bench.ran("broken", {"train.py": "print()"}, hyperparameters=where)
    assert job["TrainingJobStatus"] == "Failed"
    assert "cannot be unpacked" in job["FailureReason"]


def test_a_script_that_hangs_is_stopped_at_its_time_limit_and_keeps_what_it_saved(
    bench: Workbench, table: None
) -> None:
    script = f"""
        import os, signal, subprocess, sys, time
        subprocess.Popen(["sh", "-c", "sleep 600; : {bench.unique}"])
        open("/opt/ml/model/half", "w").write("done")
        print("hanging", flush=True)
        time.sleep(600)
    """
    began = time.monotonic()
    job = bench.ran("hangs", {"train.py": script}, StoppingCondition={"MaxRuntimeInSeconds": 2})
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert time.monotonic() - began < 30
    assert unpacked(bench.read(f"models/{job['TrainingJobName']}/output/model.tar.gz")) == {"half": b"done"}
    assert left_behind(bench) == ([], [])


def test_a_script_reads_its_pipes_epoch_by_epoch(bench: Workbench) -> None:
    bench.put("train/a.csv", "1,2\n")
    bench.put("train/b.csv", "3,4\n")
    script = """
        for epoch in range(2):
            with open(f"/opt/ml/input/data/train_{epoch}") as pipe:
                print("epoch", epoch, pipe.read().split())
    """
    piped = {"TrainingImage": SKLEARN, "TrainingInputMode": "Pipe"}
    job = bench.ran("piped", {"train.py": script}, AlgorithmSpecification=piped)
    assert job["TrainingJobStatus"] == "Completed", job
    log = bench.training_log("piped")
    assert "epoch 0 ['1,2', '3,4']" in log
    assert "epoch 1 ['1,2', '3,4']" in log


def test_a_stopped_script_may_save_when_it_is_told(bench: Workbench, table: None) -> None:
    script = """
        import signal, sys, time
        def save(*_):
            open("/opt/ml/model/saved", "w").write("in time")
            sys.exit(0)
        signal.signal(signal.SIGTERM, save)
        print("ready", flush=True)
        time.sleep(600)
    """
    source = bench.source({"train.py": script})
    request = bench.training_request(
        "stopped",
        AlgorithmSpecification={"TrainingImage": SKLEARN, "TrainingInputMode": "File"},
        HyperParameters={"sagemaker_program": "train.py", "sagemaker_submit_directory": source},
    )
    bench.sagemaker.create_training_job(**request)
    waited(
        lambda: {"log": bench.log_so_far("/aws/sagemaker/TrainingJobs", bench.name("stopped"))},
        lambda answer: "ready" in answer["log"],
    )
    bench.sagemaker.stop_training_job(TrainingJobName=request["TrainingJobName"])
    job = bench.ended_training(request["TrainingJobName"])
    assert job["TrainingJobStatus"] == "Stopped"
    assert unpacked(bench.read(f"models/{request['TrainingJobName']}/output/model.tar.gz")) == {
        "saved": b"in time"
    }


def left_behind(bench: Workbench) -> tuple[list[str], list[str]]:
    """Directories of jobs, and processes with their name."""
    data = bench.server.data
    folders = [path.name for path in (data / "scratch").iterdir() if bench.unique in path.name]
    folders += [path.name for path in paths_under(data / "jobs") if bench.unique in path.name]
    titles: list[str] = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            title = status.read_text().replace("\0", " ")
        except OSError:
            continue
        if bench.unique in title:
            titles.append(title)
    return folders, titles


def test_requirements_are_installed_once_and_kept(bench: Workbench, table: None) -> None:
    script = "import stagedoor_probe, sklearn\nprint('found', stagedoor_probe.__name__, sklearn.__name__)\n"
    files = {"train.py": script, "requirements.txt": "# what the script needs\nstagedoor-probe==1.0\n"}
    job = bench.ran("requires", files)
    assert job["TrainingJobStatus"] == "Completed", job
    assert "found stagedoor_probe sklearn" in bench.training_log("requires")
    assert not (bench.server.data.parent / "wheels" / "ran-outside").exists(), (
        "a package ran outside the sandbox"
    )
    environments = list((bench.server.data / "environments").iterdir())
    assert bench.ran("again", files)["TrainingJobStatus"] == "Completed"
    assert list((bench.server.data / "environments").iterdir()) == environments


def package(name: str, **members: str) -> str:
    """A setup.py."""
    given = "".join(f", {member}={value}" for member, value in members.items())
    return f"from setuptools import setup\nsetup(name={name!r}, version='1.0'{given})\n"


def wheel(name: str, text: str, requires: str = "") -> bytes:
    """A wheel with one module."""
    module = name.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        f"{module}.py": text,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{each},,\n" for each in (*files, f"{info}/RECORD"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for each, content in files.items():
            target.writestr(each, content)
    return buffer.getvalue()


def test_a_source_with_a_setup_py_is_installed_with_what_it_requires(bench: Workbench, table: None) -> None:
    files = {
        "setup.py": package(
            "mine",
            packages="['mine']",
            package_dir="{'': 'src'}",
            py_modules="['train']",
            install_requires="['stagedoor-probe']",
        ),
        "src/mine/__init__.py": "text = 'my own'\n",
        "src/train.py": "",
        "train.py": "import mine, stagedoor_probe\nprint(mine.text, stagedoor_probe.text, mine.__file__)\n",
    }
    job = bench.ran("packed", files)
    assert job["TrainingJobStatus"] == "Completed", job
    printed = bench.training_log("packed")
    assert "my own installed" in printed
    assert "python -m train" in printed


def test_requirements_name_what_lies_in_the_source(bench: Workbench, table: None) -> None:
    files = {
        "requirements.txt": "-r more/base.txt\n-e ./lib\n--find-links wheels\nchained\n",
        "more/base.txt": "stagedoor-probe<2 # from the index\n-c limits.txt\n./../wheels/alone-1.0-py3-none-any.whl\n",
        "more/limits.txt": "stagedoor-probe==1.0\n",
        "lib/setup.py": package("lib", py_modules="['lib']"),
        "lib/lib.py": "text = 'built'\n",
        "wheels/alone-1.0-py3-none-any.whl": wheel("alone", "text = 'alone'"),
        "wheels/chained-1.0-py3-none-any.whl": wheel("chained", "text = 'chained'", "linked"),
        "wheels/linked-1.0-py3-none-any.whl": wheel("linked", "text = 'linked'"),
        "train.py": "import alone, chained, lib, linked, stagedoor_probe\n"
        "print(alone.text, chained.text, lib.text, linked.text, stagedoor_probe.text)\n",
    }
    job = bench.ran("local", files)
    assert job["TrainingJobStatus"] == "Completed", job
    assert "alone chained built linked installed" in bench.training_log("local")


def test_a_package_that_cannot_be_built_fails_the_job_with_the_end_of_what_it_printed(
    bench: Workbench, table: None
) -> None:
    job = bench.ran("unbuilt", {"setup.py": "raise RuntimeError('not today')\n", "train.py": "print('ran')"})
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: InstallRequirementsError: ")
    assert "not today" in job["FailureReason"]
    assert left_behind(bench) == ([], [])


@pytest.mark.parametrize(
    ("requirements", "text"),
    [
        ("no-such-package-of-stagedoor==99.1\n", "no-such-package-of-stagedoor"),
        ("--extra-index-url https://packages.invalid/simple\n", "is not supported"),
        ("-r /etc/passwd\n", "is not supported"),
        ("-r more.txt\n", "the source has no more.txt"),
        ("./local-folder\n", "asks for local-folder, which is not in the source"),
        (
            "stagedoor-probe==1.0 --hash=sha256:" + "0" * 64 + "\n",
            "Hash mismatch for `stagedoor-probe==1.0`",
        ),
        ("thing @ https://packages.invalid/thing.whl\n", "is not supported"),
    ],
)
def test_requirements_that_cannot_be_had_are_said(
    bench: Workbench, table: None, requirements: str, text: str
) -> None:
    job = bench.ran("wrong", {"train.py": "print('ran')", "requirements.txt": requirements})
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: InstallRequirementsError: ")
    assert text in job["FailureReason"]
    assert left_behind(bench) == ([], [])


def test_a_framework_that_is_not_installed_says_how_to_install_it(bench: Workbench, table: None) -> None:
    image = f"{REGISTRY}/huggingface-pytorch-training:2.0.0-transformers4.28.1-gpu-py310-cu118-ubuntu20.04"
    job = bench.ran("absent", {"train.py": "print()"}, image=image)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: ")
    assert "pip install 'stagedoor[huggingface]'" in job["FailureReason"]


def test_a_framework_image_without_a_script_says_what_is_missing(bench: Workbench, table: None) -> None:
    specification = {"TrainingImage": SKLEARN, "TrainingInputMode": "File"}
    job = bench.trained("bare", AlgorithmSpecification=specification, HyperParameters={})
    assert job["TrainingJobStatus"] == "Failed"
    assert "sagemaker_program" in job["FailureReason"]


@pytest.mark.parametrize("members", [{"ContainerEntrypoint": ["train"]}, {"ContainerArguments": ["train"]}])
def test_train_is_what_the_image_does_by_itself(
    bench: Workbench, table: None, members: dict[str, list[str]]
) -> None:
    specification = {"TrainingImage": SKLEARN, "TrainingInputMode": "File", **members}
    files = {"train.py": "print('the script ran')"}
    job = bench.ran("plain", files, AlgorithmSpecification=specification)
    assert job["TrainingJobStatus"] == "Completed", job
    assert "the script ran" in bench.training_log("plain")


def test_xgboost_as_a_framework(bench: Workbench, table: None) -> None:
    script = """
        import argparse, os
        import xgboost
        from sagemaker_xgboost_container import distributed
        from sagemaker_xgboost_container.data_utils import get_dmatrix

        def work(params, train, model_dir, is_master):
            booster = xgboost.train(params, get_dmatrix(train, "text/csv"), num_boost_round=3)
            booster.save_model(os.path.join(model_dir, "xgboost-model"))

        if __name__ == "__main__":
            parser = argparse.ArgumentParser()
            parser.add_argument("--max_depth", type=int)
            depth = parser.parse_args().max_depth
            arguments = {
                "params": {"max_depth": depth, "objective": "binary:logistic"},
                "train": os.environ["SM_CHANNEL_TRAIN"],
                "model_dir": os.environ["SM_MODEL_DIR"],
                "is_master": True,
            }
            distributed.rabit_run(work, arguments, True, ["algo-1"], "algo-1", update_rabit_args=True)
    """
    job = bench.ran("boost", {"train.py": script}, image=XGBOOST, hyperparameters={"max_depth": "2"})
    assert job["TrainingJobStatus"] == "Completed", job
    assert list(unpacked(bench.read(f"models/{job['TrainingJobName']}/output/model.tar.gz"))) == [
        "xgboost-model"
    ]
    assert "asks for XGBoost 0.90-2; this is XGBoost 3." in bench.training_log("boost")


def test_a_containers_command_runs_as_the_sdk_v3_asks_for_it(bench: Workbench, table: None) -> None:
    driver = """
        #!/bin/bash
        set -e
        python3 --version
        pip3 --version > /dev/null
        cat /opt/ml/input/config/resourceconfig.json > /dev/null
        python3 -c 'import json; print("depth", json.load(open("/opt/ml/input/config/hyperparameters.json"))["depth"])'
        echo "export SM_MODEL_DIR='/opt/ml/model'" > /opt/ml/input/sm_training.env
        source /opt/ml/input/sm_training.env
        cd /opt/ml/input/data/code
        pip3 install -r requirements.txt
        python3 train.py
    """
    bench.put("drivers/sm_train.sh", "\n".join(line.strip() for line in driver.strip().splitlines()))
    bench.put("drivers/sourcecode.json", '{"entry_script": "train.py"}')
    bench.put(
        "v3/train.py",
        "import helper, os, stagedoor_probe\nopen(os.environ['SM_MODEL_DIR'] + '/m', 'w').write(helper.text)\n",
    )
    bench.put("v3/helper.py", "text = 'made'\n")
    bench.put("v3/requirements.txt", "stagedoor-probe\n")
    run = "chmod +x /opt/ml/input/data/sm_drivers/sm_train.sh && /opt/ml/input/data/sm_drivers/sm_train.sh"
    job = bench.trained(
        "v3",
        AlgorithmSpecification={
            "TrainingImage": SKLEARN,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["/bin/bash"],
            "ContainerArguments": ["-c", run],
        },
        HyperParameters={"depth": "3"},
        InputDataConfig=[
            bench.channel("train", "train/"),
            bench.channel("sm_drivers", "drivers/"),
            bench.channel("code", "v3/"),
        ],
    )
    assert job["TrainingJobStatus"] == "Completed", (job, bench.training_log("v3"))
    assert unpacked(bench.read(f"models/{job['TrainingJobName']}/output/model.tar.gz")) == {"m": b"made"}
    assert "depth 3" in bench.training_log("v3")


def test_the_reason_of_the_sdk_v3_driver_comes_after_the_scripts_own(bench: Workbench) -> None:
    driver = """
        import subprocess, sys, traceback
        command = [sys.executable, "-c", "raise ValueError('the label column is absent')"]
        try:
            subprocess.run(command, check=True)
        except subprocess.CalledProcessError as error:
            text = traceback.format_exc()
            print(f"Command failed with exit code {error.returncode}. Traceback: {text}")
            open("/opt/ml/output/failure", "w").write(text)
            sys.exit(error.returncode)
    """
    bench.put("drivers/driver.py", textwrap.dedent(driver))
    job = bench.trained(
        "driver",
        AlgorithmSpecification={
            "TrainingImage": SKLEARN,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "/opt/ml/input/data/sm_drivers/driver.py"],
        },
        InputDataConfig=[bench.channel("sm_drivers", "drivers/")],
    )
    assert job["TrainingJobStatus"] == "Failed"
    reason = job["FailureReason"]
    assert reason.startswith("AlgorithmError: Traceback (most recent call last):")
    assert "ValueError: the label column is absent\n\nTraceback" in reason
    assert "Command failed" not in reason
    assert "CalledProcessError" in reason


def test_arguments_without_an_entry_point_are_refused(bench: Workbench, table: None) -> None:
    specification: dict[str, Any] = {
        "TrainingImage": SKLEARN,
        "TrainingInputMode": "File",
        "ContainerArguments": ["x"],
    }
    with pytest.raises(bench.sagemaker.exceptions.ClientError, match="ContainerEntrypoint"):
        bench.trained("arguments", AlgorithmSpecification=specification)


def test_a_script_does_not_see_the_servers_data(bench: Workbench, table: None) -> None:
    script = f"""
        import os
        for path in ({str(bench.server.data / "keys.json")!r}, "/etc/shadow", "/proc/1/environ"):
            try:
                open(path).read()
                print("READ", path)
            except OSError as error:
                print("refused", type(error).__name__)
    """
    assert bench.ran("nosy", {"train.py": script})["TrainingJobStatus"] == "Completed"
    log = bench.training_log("nosy")
    assert log.count("refused") >= 2
    assert "READ " + str(bench.server.data) not in log
