"""The sagemaker SDK v2, unmodified, in its own environment: train, attach, deploy, predict, transform, update, delete."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from journeys import client_environments, notebooks

from stagedoor.testing import Server

SCRIPT = Path(__file__).with_name("sagemaker_v2_job.py")


@pytest.mark.journey
def test_train_deploy_predict_transform_delete(stagedoor: Server, tmp_path: Path) -> None:
    iam = stagedoor.client("iam")
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "sagemaker.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    role = iam.create_role(
        RoleName="sdk-v2",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]["Arn"]
    for policy in ("AmazonSageMakerFullAccess", "AmazonS3FullAccess"):
        iam.attach_role_policy(RoleName="sdk-v2", PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
    # The SDK reports its use to a host of AWS; a test calls nobody outside.
    settings = tmp_path / ".config" / "sagemaker" / "config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(notebooks.TELEMETRY_OFF)
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
    assert "[0]#011train-error" in done.stdout, "the training log was not streamed"
    result = json.loads(done.stdout.rpartition("RESULT ")[2])
    assert result["right"] > 0.85
    assert result["transformed"] == pytest.approx(result["answers"], abs=1e-6)
    assert (result["status"], result["instances"], result["endpoints"]) == ("InService", 2, [])
    assert {"train:error", "validation:error"} <= set(result["metrics"])
