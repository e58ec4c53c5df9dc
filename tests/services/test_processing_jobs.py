"""Processing jobs with unmodified boto3: inputs, outputs, configuration, messages, limits, and what is refused."""

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from services.frameworks import REGISTRY, Workbench, archive
from services.job_clients import waited

SPLIT = """
import csv, os, sys
kept = 0
for name in sorted(os.listdir("/opt/ml/processing/input/data")):
    with open(f"/opt/ml/processing/input/data/{name}") as source:
        rows = [row for row in csv.reader(source) if row[0] != sys.argv[1]]
    kept += len(rows)
    os.makedirs("/opt/ml/processing/output/kept/deep", exist_ok=True)
    with open(f"/opt/ml/processing/output/kept/deep/{name}", "w", newline="") as target:
        csv.writer(target).writerows(rows)
with open("/opt/ml/output/message", "w") as file:
    file.write(f"{kept} rows kept")
print("threshold", os.environ["THRESHOLD"])
"""
COMMAND = ["python3", "/opt/ml/processing/input/code/split.py"]


def program(bench: Workbench, text: str, name: str = "split.py") -> dict[str, Any]:
    bench.put(f"code/{name}", text)
    return bench.processing_input("code", f"code/{name}")


def test_a_script_turns_inputs_into_outputs(bench: Workbench) -> None:
    bench.put("data/a.csv", "1,x\n2,y\n")
    bench.put("data/b.csv", "1,z\n3,w\n")
    request = bench.processing_request(
        "split",
        COMMAND,
        ProcessingInputs=[program(bench, SPLIT), bench.processing_input("data", "data/")],
        ProcessingOutputConfig={"Outputs": [bench.processing_output("kept")]},
        Environment={"THRESHOLD": "9"},
        Tags=[{"Key": "colour", "Value": "green"}],
    )
    request["AppSpecification"]["ContainerArguments"] = ["1"]
    arn = bench.sagemaker.create_processing_job(**request)["ProcessingJobArn"]
    job = bench.ended_processing("split")
    assert job["ProcessingJobStatus"] == "Completed", job
    assert job["ProcessingJobArn"] == arn
    assert job["ExitMessage"] == "2 rows kept"
    assert job["ProcessingEndTime"] >= job["ProcessingStartTime"]
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}
    assert job["AppSpecification"] == request["AppSpecification"]
    assert job["ProcessingInputs"][0]["S3Input"]["S3DataDistributionType"] == "FullyReplicated"
    assert bench.read("out/kept/deep/a.csv") == b"2,y\r\n"
    assert bench.read("out/kept/deep/b.csv") == b"3,w\r\n"
    assert "threshold 9" in bench.processing_log("split")
    assert bench.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "colour", "Value": "green"}]
    streams = bench.log_lines("/aws/sagemaker/ProcessingJobs", f"{bench.name('split')}/")
    assert [stream.partition("/")[2].rpartition("-")[0] for stream in streams] == ["algo-1"]


def test_the_configuration_that_a_processing_container_reads(bench: Workbench) -> None:
    look = """
import json, os
found = {name: json.load(open(f"/opt/ml/config/{name}.json")) for name in ("processingjobconfig", "resourceconfig")}
found["arn"] = os.environ["PROCESSING_JOB_ARN"]
json.dump(found, open("/opt/ml/processing/output/found/found.json", "w"))
"""
    job = bench.processed(
        "look",
        ["python3", "/opt/ml/processing/input/code/look.py"],
        ProcessingInputs=[program(bench, look, "look.py")],
        ProcessingOutputConfig={"Outputs": [bench.processing_output("found")]},
    )
    assert job["ProcessingJobStatus"] == "Completed", job
    found = json.loads(bench.read("out/found/found.json"))
    assert found["arn"] == job["ProcessingJobArn"] == found["processingjobconfig"]["ProcessingJobArn"]
    assert found["processingjobconfig"]["ProcessingOutputConfig"] == job["ProcessingOutputConfig"]
    assert found["resourceconfig"]["current_host"] == "algo-1"
    assert found["resourceconfig"]["hosts"] == ["algo-1"]


def test_each_instance_gets_its_share_of_the_objects(bench: Workbench) -> None:
    for number in range(5):
        bench.put(f"data/{number}.txt", str(number))
    share = """
import json, os
host = json.load(open("/opt/ml/config/resourceconfig.json"))["current_host"]
for kind in ("shared", "all"):
    names = sorted(os.listdir(f"/opt/ml/processing/input/{kind}"))
    open(f"/opt/ml/processing/output/seen/{host}-{kind}", "w").write(" ".join(names))
"""
    cluster = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 5}
    job = bench.ran_python(
        "share",
        share,
        ProcessingInputs=[
            bench.processing_input("shared", "data/", S3DataDistributionType="ShardedByS3Key"),
            bench.processing_input("all", "data/"),
        ],
        ProcessingOutputConfig={"Outputs": [bench.processing_output("seen")]},
        ProcessingResources={"ClusterConfig": cluster},
    )
    assert job["ProcessingJobStatus"] == "Completed", job
    assert bench.read("out/seen/algo-1-shared") == b"0.txt 2.txt 4.txt"
    assert bench.read("out/seen/algo-2-shared") == b"1.txt 3.txt"
    assert (
        bench.read("out/seen/algo-1-all")
        == bench.read("out/seen/algo-2-all")
        == b"0.txt 1.txt 2.txt 3.txt 4.txt"
    )


def test_continuous_outputs_appear_while_the_job_runs_and_a_stop_keeps_them(bench: Workbench) -> None:
    slow = """
import time
open("/opt/ml/processing/output/live/first", "w").write("1")
open("/opt/ml/processing/output/late/first", "w").write("1")
time.sleep(600)
"""
    outputs = [bench.processing_output("live", "Continuous"), bench.processing_output("late")]
    request = bench.python_request("live", slow, ProcessingOutputConfig={"Outputs": outputs})
    bench.sagemaker.create_processing_job(**request)
    waited(lambda: {"keys": bench.keys("out/")}, lambda answer: answer["keys"] == ["out/live/first"])
    assert (
        bench.sagemaker.describe_processing_job(ProcessingJobName=bench.name("live"))["ProcessingJobStatus"]
        == "InProgress"
    )
    bench.sagemaker.stop_processing_job(ProcessingJobName=bench.name("live"))
    assert bench.ended_processing("live")["ProcessingJobStatus"] == "Stopped"
    assert bench.keys("out/") == ["out/late/first", "out/live/first"]
    with pytest.raises(ClientError, match="in status Stopped"):
        bench.sagemaker.stop_processing_job(ProcessingJobName=bench.name("live"))


def test_a_program_that_fails_says_why(bench: Workbench) -> None:
    outputs = {"Outputs": [bench.processing_output("never")]}
    broken = (
        "open('/opt/ml/processing/output/never/x', 'w').write('1'); raise ValueError('a column is missing')"
    )
    job = bench.ran_python("fails", broken, ProcessingOutputConfig=outputs)
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("AlgorithmError: ")
    assert "ValueError: a column is missing" in job["FailureReason"]
    assert job["FailureReason"].endswith("exit code: 1")
    assert bench.keys("out/") == []
    told = bench.ran_python(
        "told", ("open('/opt/ml/output/message', 'w').write('see here'); raise SystemExit(3)")
    )
    assert (told["ExitMessage"], told["FailureReason"][-12:]) == ("see here", "exit code: 3")


def test_a_command_that_is_not_there_and_a_time_limit(bench: Workbench) -> None:
    job = bench.processed("absent", ["/usr/bin/spark-submit", "x"])
    assert job["ProcessingJobStatus"] == "Failed"
    assert "spark-submit" in job["FailureReason"]
    began = time.monotonic()
    limited = bench.ran_python(
        "limited", "import time; time.sleep(600)", StoppingCondition={"MaxRuntimeInSeconds": 1}
    )
    assert limited["ProcessingJobStatus"] == "Stopped"
    assert time.monotonic() - began < 30


def test_one_failing_instance_ends_the_others(bench: Workbench) -> None:
    half = """
import json, time
if json.load(open("/opt/ml/config/resourceconfig.json"))["current_host"] == "algo-2":
    raise SystemExit(4)
time.sleep(600)
"""
    cluster = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 5}
    job = bench.ran_python("half", half, ProcessingResources={"ClusterConfig": cluster})
    assert job["ProcessingJobStatus"] == "Failed"
    assert "exit code: 4" in job["FailureReason"]


def test_links_to_elsewhere_are_not_uploaded(bench: Workbench) -> None:
    secret = str(bench.server.data / "keys.json")
    links = f"""
import os
os.symlink({secret!r}, "/opt/ml/processing/output/out/key")
os.symlink({str(bench.server.data)!r}, "/opt/ml/processing/output/out/folder")
open("/opt/ml/processing/output/out/own", "w").write("1")
os.rmdir("/opt/ml/processing/output/other")
os.symlink({str(bench.server.data)!r}, "/opt/ml/processing/output/other")
"""
    outputs = [bench.processing_output("out"), bench.processing_output("other")]
    job = bench.ran_python("links", links, ProcessingOutputConfig={"Outputs": outputs})
    assert job["ProcessingJobStatus"] == "Completed", job
    assert bench.keys("out/") == ["out/out/own"]


def test_the_layout_of_the_sdks_framework_processor(bench: Workbench) -> None:
    run = """
        #!/bin/bash
        cd /opt/ml/processing/input/code/
        tar -xzf sourcedir.tar.gz
        set -e
        if [[ -f 'requirements.txt' ]]; then
            pip install -r requirements.txt
        fi
        python main.py "$@"
    """
    source = {
        "main.py": "import helper, stagedoor_probe, sys\nprint('found', helper.text, stagedoor_probe.__name__, sys.argv[1:])\n",
        "helper.py": "text = 'beside'\n",
        "requirements.txt": "stagedoor-probe\n",
    }
    bench.put("source/sourcedir.tar.gz", archive(source))
    bench.put("entry/runproc.sh", "\n".join(line[8:] for line in run.strip("\n").splitlines()))
    request = bench.processing_request(
        "framework",
        ["/bin/bash", "/opt/ml/processing/input/entrypoint/runproc.sh"],
        ProcessingInputs=[
            bench.processing_input("code", "source/sourcedir.tar.gz"),
            bench.processing_input("entrypoint", "entry/runproc.sh"),
        ],
    )
    request["AppSpecification"]["ContainerArguments"] = ["--mode", "full"]
    bench.sagemaker.create_processing_job(**request)
    job = bench.ended_processing("framework")
    assert job["ProcessingJobStatus"] == "Completed", (job, bench.processing_log("framework"))
    assert "found beside stagedoor_probe ['--mode', 'full']" in bench.processing_log("framework")


def test_jobs_are_listed_and_deleted(bench: Workbench) -> None:
    bench.processed("listed", ["true"])
    found = bench.sagemaker.list_processing_jobs(NameContains=bench.unique)["ProcessingJobSummaries"]
    assert [each["ProcessingJobName"] for each in found] == [bench.name("listed")]
    assert (
        bench.sagemaker.list_processing_jobs(NameContains=bench.unique, StatusEquals="Failed")[
            "ProcessingJobSummaries"
        ]
        == []
    )
    with pytest.raises(ClientError) as caught:
        bench.sagemaker.create_processing_job(**bench.processing_request("listed", ["true"]))
    assert caught.value.response["Error"]["Code"] == "ResourceInUse"
    bench.sagemaker.delete_processing_job(ProcessingJobName=bench.name("listed"))
    with pytest.raises(ClientError, match="Could not find"):
        bench.sagemaker.describe_processing_job(ProcessingJobName=bench.name("listed"))


def _changed(bench: Workbench, name: str) -> dict[str, Any]:
    bench.put("data/a.csv", "1\n")
    given, output = bench.processing_input("data", "data/"), bench.processing_output("out")
    return {
        "no entry point": {"AppSpecification": {"ImageUri": f"{REGISTRY}/sagemaker-scikit-learn:1.2-1"}},
        "unknown image": {
            "AppSpecification": {"ImageUri": f"{REGISTRY}/mine:1", "ContainerEntrypoint": ["true"]}
        },
        "empty input": {"ProcessingInputs": [bench.processing_input("data", "nothing/")]},
        "pipe": {"ProcessingInputs": [bench.processing_input("data", "data/", S3InputMode="Pipe")]},
        "path": {"ProcessingInputs": [bench.processing_input("data", "data/", LocalPath="/etc")]},
        "climbing path": {
            "ProcessingInputs": [bench.processing_input("data", "data/", LocalPath="/opt/ml/processing/../x")]
        },
        "no source": {"ProcessingInputs": [{"InputName": "data"}]},
        "same name": {
            "ProcessingInputs": [
                given,
                bench.processing_input("data", "data/", LocalPath="/opt/ml/processing/b"),
            ]
        },
        "foreign bucket": {
            "ProcessingOutputConfig": {
                "Outputs": [
                    output | {"S3Output": output["S3Output"] | {"S3Uri": "s3://elsewhere-of-nobody/x"}}
                ]
            }
        },
        "feature store": {
            "ProcessingOutputConfig": {
                "Outputs": [output | {"FeatureStoreOutput": {"FeatureGroupName": "group"}}]
            }
        },
        "too many": {
            "ProcessingResources": {
                "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 99, "VolumeSizeInGB": 5}
            }
        },
    }[name]


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("no entry point", "AppSpecification.ContainerEntrypoint"),
        ("unknown image", "mine:1"),
        ("empty input", "No S3 objects found"),
        ("pipe", "ProcessingInputs.1.S3Input.S3InputMode Pipe"),
        ("path", "ProcessingInputs.1.S3Input.LocalPath"),
        ("climbing path", "ProcessingInputs.1.S3Input.LocalPath"),
        ("no source", "ProcessingInputs.1.S3Input is required"),
        ("same name", "InputName must be unique"),
        ("foreign bucket", "does not exist in this account"),
        ("feature store", "FeatureStoreOutput"),
        ("too many", "service limit"),
    ],
)
def test_what_cannot_be_honoured_is_refused_and_nothing_is_stored(
    bench: Workbench, case: str, text: str
) -> None:
    request = bench.processing_request("refused", ["true"]) | _changed(bench, case)
    with pytest.raises(ClientError, match=text):
        bench.sagemaker.create_processing_job(**request)
    assert bench.sagemaker.list_processing_jobs(NameContains=bench.unique)["ProcessingJobSummaries"] == []
