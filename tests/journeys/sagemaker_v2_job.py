"""What a user of the sagemaker SDK v2 writes: fit with logs, attach, deploy, predict, transform, update, delete.

Run by ``test_sagemaker_sdk_v2.py`` in that SDK's own environment, unmodified against AWS_ENDPOINT_URL.
"""

import json
import sys
from pathlib import Path

import boto3
import numpy as np
import sagemaker
from sagemaker.deserializers import CSVDeserializer
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.serializers import CSVSerializer
from sagemaker.transformer import Transformer

role, bucket, work = sys.argv[1], sys.argv[2], Path(sys.argv[3])
session = sagemaker.Session(boto3.Session(), default_bucket=bucket)

random = np.random.default_rng(1)
features = random.normal(size=(600, 4))
labels = (features[:, 0] - features[:, 1] > 0).astype(int)
rows = np.column_stack([labels, features])
for name, part in (("train", rows[:400]), ("validation", rows[400:500])):
    np.savetxt(work / f"{name}.csv", part, delimiter=",", fmt="%g")
np.savetxt(work / "held-out.csv", features[500:], delimiter=",", fmt="%g")
inputs = {
    name: TrainingInput(
        session.upload_data(str(work / f"{name}.csv"), key_prefix=f"sdk/{name}"), content_type="csv"
    )
    for name in ("train", "validation")
}
held_out = session.upload_data(str(work / "held-out.csv"), key_prefix="sdk/held-out")

image = sagemaker.image_uris.retrieve("xgboost", session.boto_region_name, "1.7-1")
estimator = Estimator(
    image,
    role,
    instance_count=1,
    instance_type="ml.m5.large",
    output_path=f"s3://{bucket}/sdk/output",
    sagemaker_session=session,
    hyperparameters={"objective": "binary:logistic", "num_round": 20, "max_depth": 3, "eval_metric": "error"},
)
estimator.fit(inputs, logs="All")
attached = Estimator.attach(estimator.latest_training_job.name, sagemaker_session=session)
assert attached.model_data == estimator.model_data

predictor = estimator.deploy(
    1,
    "ml.m5.large",
    serializer=CSVSerializer(),
    deserializer=CSVDeserializer(),
    endpoint_name="sdk-v2",
    wait=False,
)
# The same wait as deploy's own, which asks every 30 seconds.
session.wait_for_endpoint("sdk-v2", poll=1)
answers = [float(value) for value in predictor.predict(features[500:])[0]]
right = np.mean((np.array(answers) > 0.5) == labels[500:])

transformer: Transformer = estimator.transformer(
    1, "ml.m5.large", output_path=f"s3://{bucket}/sdk/transformed", assemble_with="Line", accept="text/csv"
)
transformer.transform(held_out, content_type="text/csv", split_type="Line", logs=False)
transformed = session.read_s3_file(bucket, "sdk/transformed/held-out.csv.out")

predictor.update_endpoint(initial_instance_count=2, instance_type="ml.m5.large", wait=False)
described = session.wait_for_endpoint("sdk-v2", poll=1)
predictor.delete_model()
predictor.delete_endpoint()
session.sagemaker_client.get_waiter("endpoint_deleted").wait(EndpointName="sdk-v2", WaiterConfig={"Delay": 1})

print(
    "RESULT "
    + json.dumps(
        {
            "right": float(right),
            "answers": answers,
            "transformed": [float(line) for line in transformed.split()],
            "instances": described["ProductionVariants"][0]["CurrentInstanceCount"],
            "status": described["EndpointStatus"],
            "endpoints": session.sagemaker_client.list_endpoints(NameContains="sdk-v2")["Endpoints"],
            "metrics": [
                m["MetricName"] for m in estimator.latest_training_job.describe()["FinalMetricDataList"]
            ],
        }
    )
)
