"""What a course notebook for the sagemaker SDK 1.72.0 writes with a script: fit, deploy, predict, delete.

Run by ``test_sagemaker_scripts.py`` in that SDK's own environment; the sources lie in its folder.
"""

import json
import sys
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker import get_execution_role
from sagemaker.sklearn.estimator import SKLearn

work = Path(sys.argv[1])
session = sagemaker.Session()
role = get_execution_role()

random = np.random.default_rng(1)
features = random.normal(size=(300, 4))
labels = (features[:, 0] - features[:, 1] > 0).astype(int)
np.savetxt(work / "table.csv", np.column_stack([labels, features])[:200], delimiter=",", fmt="%g")
train = session.upload_data(str(work / "table.csv"), key_prefix="scripts-v1/in")

estimator = SKLearn(
    entry_point="train.py",
    source_dir=str(work / "source"),
    framework_version="0.20.0",
    train_instance_type="ml.c4.xlarge",
    role=role,
    sagemaker_session=session,
    hyperparameters={"max_iter": 200},
)
estimator.fit({"train": train})
predictor = estimator.deploy(
    initial_instance_count=1, instance_type="ml.m4.xlarge", endpoint_name="sklearn-v1", wait=False
)
session.wait_for_endpoint("sklearn-v1", poll=1)
right = float(np.mean(predictor.predict(features[200:]) == labels[200:]))
predictor.delete_model()
predictor.delete_endpoint()

print("RESULT " + json.dumps({"right": right, "job": estimator.latest_training_job.name}))
