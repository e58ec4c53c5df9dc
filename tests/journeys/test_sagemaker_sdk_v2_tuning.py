"""The sagemaker SDK v2's tuner, unmodified, in its own environment."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from journeys import client_environments
from journeys.test_sagemaker_sdk_v2 import TELEMETRY_OFF
from services.job_clients import TRUST

from stagedoor.testing import Server

SCRIPT = Path(__file__).with_name("sagemaker_v2_tune.py")


@pytest.mark.journey
def test_tune_analyse_attach_and_start_warm(stagedoor: Server, tmp_path: Path) -> None:
    iam = stagedoor.client("iam")
    role = iam.create_role(RoleName="sdk-v2-tuner", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    for policy in ("AmazonSageMakerFullAccess", "AmazonS3FullAccess"):
        iam.attach_role_policy(RoleName="sdk-v2-tuner", PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
    settings = tmp_path / ".config" / "sagemaker" / "config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(TELEMETRY_OFF)
    bucket = f"sagemaker-us-east-1-{stagedoor.account_id}"
    done = subprocess.run(
        [str(client_environments.python_of("sagemaker-v2")), str(SCRIPT), role, bucket, str(tmp_path)],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **stagedoor.environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    result = json.loads(done.stdout.rpartition("RESULT ")[2])
    values = result["values"]
    assert len(values) == 3
    assert values[result["best"]] == min(values.values())
    assert result["statuses"] == ["Completed"]
    assert {"eta", "max_depth", "TrainingElapsedTimeSeconds"} <= set(result["columns"])
    assert result["model"] == f"s3://{bucket}/tune/output/{result['best']}/output/model.tar.gz"
    assert result["status"] == "Completed"
    assert result["overall"]["Value"] <= min(values.values())
