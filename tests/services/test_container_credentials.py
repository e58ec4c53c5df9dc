"""Credentials of running jobs and models: asked for with a token, anew before they expire, and no longer than the workload runs."""

import json
import urllib.error
import urllib.request

from services.frameworks import REGISTRY, SKLEARN, Workbench, archive
from services.job_clients import TRUST

LOOK = """
import datetime, json, os
import boto3

session = boto3.Session()
credentials = session.get_credentials()
first = credentials.get_frozen_credentials()
expires = credentials._expiry_time
# What boto3 does on its own some minutes before they expire.
credentials._expiry_time = datetime.datetime.now(datetime.timezone.utc)
second = credentials.get_frozen_credentials()
found = {
    "method": credentials.method,
    "keys": [first.access_key, second.access_key],
    "lasts_s": (expires - datetime.datetime.now(datetime.timezone.utc)).total_seconds(),
    "arn": session.client("sts").get_caller_identity()["Arn"],
    "uri": os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"],
    "token": os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"],
    "static": [name for name in os.environ if name in ("AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN")],
}
json.dump(found, open("/opt/ml/processing/output/found/found.json", "w"))
"""


def fetched(uri: str, token: str) -> tuple[int, dict[str, str]]:
    request = urllib.request.Request(uri, headers={"Authorization": token} if token else {})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_job_renews_its_credentials_for_as_long_as_it_runs_and_nobody_does_afterwards(
    bench: Workbench,
) -> None:
    outputs = {"Outputs": [bench.processing_output("found")]}
    command = ["python3", "/opt/ml/processing/input/script/script.py"]
    specification = {"ImageUri": f"{REGISTRY}/sagemaker-base-python:3.11", "ContainerEntrypoint": command}
    job = bench.ran_python("renew", LOOK, ProcessingOutputConfig=outputs, AppSpecification=specification)
    assert job["ProcessingJobStatus"] == "Completed", job
    found = json.loads(bench.read("out/found/found.json"))
    assert found["method"] == "container-role"
    assert found["static"] == []
    assert len(set(found["keys"])) == 2
    assert all(key.startswith("ASIA") for key in found["keys"])
    assert 3000 < found["lasts_s"] <= 3600
    assert found["arn"].endswith(f"assumed-role/{bench.role_arn.rpartition('/')[2]}/SageMaker")
    status, answer = fetched(found["uri"], found["token"])
    assert (status, answer["code"]) == (403, "AccessDenied")
    assert [fetched(found["uri"], token)[0] for token in ("", "no-job:x", found["token"][:-1])] == [403] * 3


def test_a_models_worker_has_them_too_and_is_told_when_its_role_is_gone(bench: Workbench) -> None:
    serve = """
        import json, os, urllib.error, urllib.request
        def model_fn(folder):
            return None
        def transform_fn(model, data, content_type, accept):
            uri, token = (os.environ[f"AWS_CONTAINER_{name}"] for name in ("CREDENTIALS_FULL_URI", "AUTHORIZATION_TOKEN"))
            try:
                with urllib.request.urlopen(urllib.request.Request(uri, headers={"Authorization": token})) as answer:
                    return answer.read().decode(), "application/json"
            except urllib.error.HTTPError as error:
                return error.read().decode(), "application/json"
    """
    iam = bench.server.client("iam")
    kept, name = bench.role_arn, bench.name("passing")
    bench.role_arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
    bench.put("model.tar.gz", archive({"code/inference.py": serve}))
    endpoint = bench.hosted("holder", SKLEARN, f"s3://{bench.bucket}/model.tar.gz", {})
    assert endpoint["EndpointStatus"] == "InService", endpoint
    given = json.loads(bench.asked("holder", b"1", "text/csv")[0])
    assert given["RoleArn"] == bench.role_arn != kept
    assert set(given) == {"RoleArn", "AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
    iam.detach_role_policy(RoleName=name, PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
    iam.delete_role(RoleName=name)
    assert json.loads(bench.asked("holder", b"1", "text/csv")[0])["code"] == "NoSuchEntity"
