"""What a user of the sagemaker SDK v2 writes with scripts: SKLearn and XGBoost estimators, processors of three kinds.

Run by ``test_sagemaker_scripts.py`` in that SDK's own environment; the sources lie in its folder.
"""

import json
import sys
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker.deserializers import CSVDeserializer, JSONDeserializer
from sagemaker.predictor import Predictor
from sagemaker.processing import FrameworkProcessor, ProcessingInput, ProcessingOutput, ScriptProcessor
from sagemaker.serializers import CSVSerializer, JSONSerializer
from sagemaker.sklearn.estimator import SKLearn
from sagemaker.sklearn.processing import SKLearnProcessor
from sagemaker.xgboost.estimator import XGBoost

work = Path(sys.argv[1])
session = sagemaker.Session()
role = sagemaker.get_execution_role()
bucket = session.default_bucket()
prefix = "scripts-v2"

random = np.random.default_rng(1)
features = random.normal(size=(300, 4))
labels = (features[:, 0] - features[:, 1] > 0).astype(int)
np.savetxt(work / "table.csv", np.column_stack([labels, features]), delimiter=",", fmt="%g")
table = session.upload_data(str(work / "table.csv"), key_prefix=f"{prefix}/in")
kept = {}

arguments = {"arguments": ["--rows", "200"]}
places = {
    "inputs": [ProcessingInput(source=table, destination="/opt/ml/processing/input")],
}


def output(name: str) -> list[ProcessingOutput]:
    return [
        ProcessingOutput(
            output_name="train",
            source="/opt/ml/processing/train",
            destination=f"s3://{bucket}/{prefix}/{name}",
        )
    ]


def count(name: str) -> int:
    return len(session.read_s3_file(bucket, f"{prefix}/{name}/part.csv").splitlines())


processor = SKLearnProcessor(
    "0.23-1", role, instance_type="ml.m5.large", instance_count=1, sagemaker_session=session
)
processor.run(code=str(work / "process.py"), outputs=output("sklearn"), **places, **arguments)
kept["sklearn"] = count("sklearn")
scripted = ScriptProcessor(
    image_uri=processor.image_uri,
    command=["python3"],
    role=role,
    instance_count=1,
    instance_type="ml.m5.large",
    sagemaker_session=session,
)
scripted.run(
    code=str(work / "process.py"), outputs=output("script"), wait=False, logs=False, **places, **arguments
)
framework = FrameworkProcessor(
    SKLearn,
    "0.23-1",
    role,
    1,
    "ml.m5.large",
    sagemaker_session=session,
    code_location=f"s3://{bucket}/{prefix}/code",
)
framework.run(
    code="process.py",
    source_dir=str(work / "source"),
    outputs=output("framework"),
    wait=False,
    logs=False,
    **places,
    **arguments,
)
for name, running in (("script", scripted), ("framework", framework)):
    running.latest_job.wait(logs=False)
    kept[name] = count(name)

estimator = SKLearn(
    entry_point="train.py",
    source_dir=str(work / "source"),
    framework_version="0.23-1",
    py_version="py3",
    instance_type="ml.m5.large",
    role=role,
    sagemaker_session=session,
    hyperparameters={"max_iter": 200},
    metric_definitions=[{"Name": "train:accuracy", "Regex": "train:accuracy=([0-9.]+);"}],
)
estimator.fit({"train": f"s3://{bucket}/{prefix}/sklearn"})
attached = SKLearn.attach(estimator.latest_training_job.name, sagemaker_session=session)
predictor = attached.deploy(1, "ml.m5.large", endpoint_name="sklearn-v2", wait=False)
session.wait_for_endpoint("sklearn-v2", poll=1)
answered = {"npy": predictor.predict(features[200:])}
for name, serializer, deserializer in (
    ("json", JSONSerializer(), JSONDeserializer()),
    ("csv", CSVSerializer(), CSVDeserializer()),
):
    other = Predictor("sklearn-v2", session, serializer, deserializer)
    answered[name] = np.array(other.predict(features[200:]), dtype=float).ravel()
predictor.delete_model()
predictor.delete_endpoint()

booster = XGBoost(
    entry_point=str(work / "boost.py"),
    framework_version="1.7-1",
    instance_count=1,
    instance_type="ml.m5.large",
    role=role,
    sagemaker_session=session,
    hyperparameters={"max_depth": 3, "num_round": 20},
)
booster.fit({"train": f"s3://{bucket}/{prefix}/sklearn"})
boosted = booster.deploy(1, "ml.m5.large", endpoint_name="xgboost-v2", wait=False, serializer=CSVSerializer())
session.wait_for_endpoint("xgboost-v2", poll=1)
answer = boosted.predict(features[200:])
values = (
    np.array(answer, dtype=float).ravel()
    if not isinstance(answer, bytes)
    else np.array(answer.decode().split(), dtype=float)
)
boosted.delete_endpoint()

print(
    "RESULT "
    + json.dumps(
        {
            "kept": kept,
            "right": {name: float(np.mean(found == labels[200:])) for name, found in answered.items()},
            "xgboost_right": float(np.mean((values > 0.5) == labels[200:])),
            "metrics": estimator.latest_training_job.describe().get("FinalMetricDataList", []),
        },
        default=str,
    )
)
