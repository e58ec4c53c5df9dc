"""The sagemaker SDK v2, unmodified, in its own environment: experiments, analytics, and a model from the registry."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from journeys import client_environments
from journeys.test_sagemaker_sdk_v2 import TELEMETRY_OFF

from stagedoor.testing import Server

SCRIPT = Path(__file__).with_name("sagemaker_v2_experiment.py")


@pytest.mark.journey
def test_track_measure_register_approve_deploy(stagedoor: Server, tmp_path: Path) -> None:
    iam = stagedoor.client("iam")
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "sagemaker.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName="sdk-v2-experiment", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    for policy in ("AmazonSageMakerFullAccess", "AmazonS3FullAccess"):
        iam.attach_role_policy(RoleName="sdk-v2-experiment", PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
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
    assert result["runs"] == ["first"]
    assert len(result["measured"]) >= 1
    assert all(0 < value < 0.7 for value in result["measured"])
    assert set(result["components"]) == {"reviews-first", f"{result['job']}-aws-training-job"}
    assert {"alpha", "score - Last", "train:logloss - Last", "SageMaker.InstanceType"} <= set(
        result["columns"]
    )
    assert result["package"].endswith(":model-package/reviews/1")
    assert result["status"] == "InService"
