"""What a course notebook for the sagemaker SDK 1.72.0 writes to tune: fit, wait, attach, deploy the best, put it into the registry, deploy from there.

Run by ``test_sagemaker_sdk_v1.py`` in that SDK's own environment, unmodified against the variables of ``stagedoor env --notebook``. The SDK knows
no registry yet: as its users do, the script registers with the SDK's boto3 client, and deploys with the SDK's ``ModelPackage``.
"""

import json
import sys
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker import get_execution_role
from sagemaker.amazon.amazon_estimator import get_image_uri
from sagemaker.model import ModelPackage
from sagemaker.predictor import RealTimePredictor, csv_deserializer, csv_serializer
from sagemaker.tuner import ContinuousParameter, HyperparameterTuner, IntegerParameter

work = Path(sys.argv[1])
session = sagemaker.Session()
role, bucket = get_execution_role(), session.default_bucket()

random = np.random.default_rng(1)
features = random.normal(size=(400, 4))
labels = (features[:, 0] - features[:, 1] > 0).astype(int)
rows = np.column_stack([labels, features])
inputs = {}
for name, part in (("train", rows[:300]), ("validation", rows[300:])):
    np.savetxt(work / f"{name}.csv", part, delimiter=",", fmt="%g")
    uploaded = session.upload_data(str(work / f"{name}.csv"), key_prefix=f"tune-v1/{name}")
    inputs[name] = sagemaker.s3_input(s3_data=uploaded, content_type="csv")

image = get_image_uri(session.boto_region_name, "xgboost", repo_version="1.0-1")
xgb = sagemaker.estimator.Estimator(
    image,
    role,
    train_instance_count=1,
    train_instance_type="ml.m4.xlarge",
    output_path=f"s3://{bucket}/tune-v1/output",
    sagemaker_session=session,
)
xgb.set_hyperparameters(objective="binary:logistic", num_round=10)
tuner = HyperparameterTuner(
    xgb,
    "validation:auc",
    {"eta": ContinuousParameter(0.05, 0.5), "max_depth": IntegerParameter(2, 6)},
    objective_type="Maximize",
    max_jobs=2,
    max_parallel_jobs=2,
    base_tuning_job_name="tune-v1",
)
tuner.fit(inputs)
tuner.wait()
best = tuner.best_training_job()
attached = HyperparameterTuner.attach(tuner.latest_tuning_job.name, sagemaker_session=session)
predictor = attached.deploy(1, "ml.m4.xlarge", content_type="text/csv")
predictor.serializer, predictor.deserializer = csv_serializer, csv_deserializer
answers = [float(value) for value in predictor.predict(features[300:])[0]]
deployed = predictor.endpoint
model_data = attached.best_estimator().model_data
predictor.delete_model()
predictor.delete_endpoint()

client = session.sagemaker_client
client.create_model_package_group(ModelPackageGroupName="course")
package = client.create_model_package(
    ModelPackageGroupName="course",
    InferenceSpecification={
        "Containers": [{"Image": image, "ModelDataUrl": model_data}],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    },
)["ModelPackageArn"]
client.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
registered = ModelPackage(
    role, model_package_arn=package, predictor_cls=RealTimePredictor, sagemaker_session=session
)
from_package = registered.deploy(1, "ml.m4.xlarge")
from_package.content_type = "text/csv"
from_package.serializer, from_package.deserializer = csv_serializer, csv_deserializer
again = [float(value) for value in from_package.predict(features[300:])[0]]
from_package.delete_model()
from_package.delete_endpoint()

print(
    "RESULT "
    + json.dumps(
        {
            "best": best,
            "deployed": deployed,
            "right": float(np.mean((np.array(answers) > 0.5) == labels[300:])),
            "answers": answers,
            "package": package,
            "again": again,
        }
    )
)
