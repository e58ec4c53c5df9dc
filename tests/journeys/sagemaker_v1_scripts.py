"""What a course notebook for the sagemaker SDK 1.72.0 writes with scripts: process, fit, attach, deploy, predict in NPY, JSON and CSV, delete.

Run by ``test_sagemaker_scripts.py`` in that SDK's own environment; the sources lie in its folder.
"""

import json
import sys
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker import get_execution_role
from sagemaker.predictor import (
    RealTimePredictor,
    csv_deserializer,
    csv_serializer,
    json_deserializer,
    json_serializer,
)
from sagemaker.processing import ProcessingInput, ProcessingOutput
from sagemaker.sklearn.estimator import SKLearn
from sagemaker.sklearn.processing import SKLearnProcessor
from sagemaker.xgboost.estimator import XGBoost

work = Path(sys.argv[1])
session = sagemaker.Session()
role = get_execution_role()
bucket = session.default_bucket()

random = np.random.default_rng(1)
features = random.normal(size=(300, 4))
labels = (features[:, 0] - features[:, 1] > 0).astype(int)
np.savetxt(work / "table.csv", np.column_stack([labels, features]), delimiter=",", fmt="%g")
table = session.upload_data(str(work / "table.csv"), key_prefix="scripts-v1/in")

processor = SKLearnProcessor(
    framework_version="0.20.0",
    role=role,
    instance_type="ml.m4.xlarge",
    instance_count=1,
    sagemaker_session=session,
)
train = f"s3://{bucket}/scripts-v1/train"
processor.run(
    code=str(work / "process.py"),
    inputs=[ProcessingInput(source=table, destination="/opt/ml/processing/input")],
    outputs=[
        ProcessingOutput(output_name="train", source="/opt/ml/processing/train", destination=train),
    ],
    arguments=["--rows", "200"],
)
kept = len(session.read_s3_file(bucket, "scripts-v1/train/part.csv").splitlines())

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
attached = SKLearn.attach(estimator.latest_training_job.name, sagemaker_session=session)
predictor = attached.deploy(initial_instance_count=1, instance_type="ml.m4.xlarge")
labelled = {"npy": predictor.predict(features[200:])}
for name, serializer, deserializer in (
    ("json", json_serializer, json_deserializer),
    ("csv", csv_serializer, csv_deserializer),
):
    other = RealTimePredictor(predictor.endpoint, session, serializer, deserializer)
    labelled[name] = np.array(other.predict(features[200:].tolist()), dtype=float).ravel()
predictor.delete_model()
predictor.delete_endpoint()

booster = XGBoost(
    entry_point=str(work / "boost.py"),
    framework_version="0.90-1",
    role=role,
    train_instance_count=1,
    train_instance_type="ml.m4.xlarge",
    sagemaker_session=session,
    hyperparameters={"max_depth": 3, "num_round": 20},
)
booster.fit({"train": train})
boosted = booster.deploy(1, "ml.m4.xlarge")
boosted.content_type, boosted.serializer, boosted.deserializer = "text/csv", csv_serializer, csv_deserializer
scores = np.array(boosted.predict(features[200:]), dtype=float).ravel()
boosted.delete_model()
boosted.delete_endpoint()
serving = session.sagemaker_client.list_endpoints(StatusEquals="InService", MaxResults=100)["Endpoints"]
in_service = {endpoint["EndpointName"] for endpoint in serving}

print(
    "RESULT "
    + json.dumps(
        {
            "kept": kept,
            "right": {name: float(np.mean(found == labels[200:])) for name, found in labelled.items()},
            "xgboost_right": float(np.mean((scores > 0.5) == labels[200:])),
            "attached": attached.latest_training_job.name == estimator.latest_training_job.name,
            "left": [name for name in (predictor.endpoint, boosted.endpoint) if name in in_service],
        }
    )
)
