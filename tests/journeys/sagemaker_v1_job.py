"""A notebook of a public course, which pins the sagemaker SDK 1.72.0: fit, attach, transform, deploy, predict, update, delete.

Run by ``test_sagemaker_sdk_v1.py`` in that SDK's own environment, unmodified against the variables of ``stagedoor env --notebook``.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker import get_execution_role
from sagemaker.amazon.amazon_estimator import get_image_uri
from sagemaker.predictor import csv_serializer

work = Path(sys.argv[1])
timed = {}


def step(name: str, begun: float) -> None:
    timed[name] = round(time.monotonic() - begun, 2)


session = sagemaker.Session()
role = get_execution_role()
bucket = session.default_bucket()
prefix = "course-v1"

random = np.random.default_rng(1)
features = random.poisson(1.0, size=(800, 6))
labels = (features[:, 0] > features[:, 1]).astype(int)
rows = np.column_stack([labels, features])
for name, part in (("train", rows[:500]), ("validation", rows[500:650])):
    np.savetxt(work / f"{name}.csv", part, delimiter=",", fmt="%d")
np.savetxt(work / "test.csv", features[650:], delimiter=",", fmt="%d")
train = session.upload_data(str(work / "train.csv"), key_prefix=prefix)
validation = session.upload_data(str(work / "validation.csv"), key_prefix=prefix)
test = session.upload_data(str(work / "test.csv"), key_prefix=prefix)

container = get_image_uri(session.boto_region_name, "xgboost")
xgb = sagemaker.estimator.Estimator(
    container,
    role,
    train_instance_count=1,
    train_instance_type="ml.m4.xlarge",
    output_path=f"s3://{bucket}/{prefix}/output",
    sagemaker_session=session,
)
xgb.set_hyperparameters(
    max_depth=5,
    eta=0.2,
    gamma=4,
    min_child_weight=6,
    subsample=0.8,
    silent=0,
    objective="binary:logistic",
    early_stopping_rounds=10,
    num_round=100,
)
begun = time.monotonic()
xgb.fit(
    {
        "train": sagemaker.s3_input(s3_data=train, content_type="csv"),
        "validation": sagemaker.s3_input(s3_data=validation, content_type="csv"),
    }
)
step("fit", begun)
attached = sagemaker.estimator.Estimator.attach(xgb.latest_training_job.name, sagemaker_session=session)
assert attached.model_data == xgb.model_data

begun = time.monotonic()
transformer = xgb.transformer(instance_count=1, instance_type="ml.m4.xlarge")
transformer.transform(test, content_type="text/csv", split_type="Line")
transformer.wait()
step("transform", begun)
name = transformer.output_path.partition(f"{bucket}/")[2]
transformed = session.read_s3_file(bucket, f"{name}/test.csv.out")

begun = time.monotonic()
predictor = xgb.deploy(initial_instance_count=1, instance_type="ml.m4.xlarge")
step("deploy", begun)
predictor.content_type = "text/csv"
predictor.serializer = csv_serializer
answer = predictor.predict(features[650:]).decode("utf-8")
begun = time.monotonic()
# A new configuration is named after its model.
sagemaker.model.Model(
    xgb.model_data,
    container,
    role,
    name=f"{predictor.endpoint}-again",
    sagemaker_session=session,
).deploy(2, "ml.m4.xlarge", endpoint_name=predictor.endpoint, update_endpoint=True)
step("update", begun)
again = predictor.predict(features[650:]).decode("utf-8")
count = session.sagemaker_client.describe_endpoint(EndpointName=predictor.endpoint)["ProductionVariants"][0]
predictor.delete_model()
predictor.delete_endpoint()

print(
    "RESULT "
    + json.dumps(
        {
            "role": role,
            "bucket": bucket,
            "image": container,
            "right": float(np.mean((np.fromstring(answer, sep=",") > 0.5) == labels[650:])),
            "answers": [float(value) for value in answer.split(",")],
            "again": [float(value) for value in again.split(",")],
            "transformed": [float(line) for line in transformed.split()],
            "instances": count["CurrentInstanceCount"],
            "timed": timed,
        }
    )
)
