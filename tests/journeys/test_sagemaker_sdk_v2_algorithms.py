"""The algorithm classes of the sagemaker SDK v2, unmodified: what record_set uploads is trained on, answers come as records."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from journeys import client_environments
from journeys.test_sagemaker_sdk_v2 import TELEMETRY_OFF

from stagedoor.testing import Server

SCRIPT = Path(__file__).with_name("sagemaker_v2_algorithms.py")


@pytest.mark.journey
def test_every_algorithm_class_fits_deploys_and_predicts(stagedoor: Server, tmp_path: Path) -> None:
    iam = stagedoor.client("iam")
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "sagemaker.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    role = iam.create_role(
        RoleName="sdk-v2-algorithms",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]["Arn"]
    for policy in ("AmazonSageMakerFullAccess", "AmazonS3FullAccess"):
        iam.attach_role_policy(RoleName="sdk-v2-algorithms", PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
    settings = tmp_path / ".config" / "sagemaker" / "config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(TELEMETRY_OFF)
    bucket = f"sagemaker-us-east-1-{stagedoor.account_id}"
    done = subprocess.run(
        [str(client_environments.python_of("sagemaker-v2")), str(SCRIPT), role, bucket],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **stagedoor.environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    found = json.loads(done.stdout.rpartition("RESULT ")[2])
    groups, labels = found["groups"], found["labels"]
    clusters = [one["closest_cluster"][0] for one in found["kmeans"]]
    assert len(set(zip(clusters, groups, strict=True))) == len(set(groups))
    assert "train:msd" in found["kmeans_metrics"]
    assert all(len(one["projection"]) == 2 for one in found["pca"])
    assert [one["predicted_label"] for one in found["linear"]] == [[label] for label in labels]
    assert [one["predicted_label"] for one in found["knn"]] == [[float(group)] for group in groups]
    assert all(len(one) == 1 for one in found["machines"])
    *usual, odd = [one["score"][0] for one in found["forest"]]
    assert odd > 2 * max(usual)
