"""What a user of the sagemaker SDK v3 writes to tune: tune, analyse, build and deploy the best model, register it, deploy from the registry.

Run by ``test_sagemaker_sdk_v3.py`` in that SDK's own environment, unmodified against the variables of ``stagedoor env --notebook``.
"""

import json
import logging
import sys
from pathlib import Path

import numpy as np
from sagemaker.core import image_uris
from sagemaker.core.deserializers import CSVDeserializer
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.parameter import ContinuousParameter, IntegerParameter
from sagemaker.core.resources import Endpoint, EndpointConfig, Model, ModelPackage, TrainingJob
from sagemaker.core.serializers import CSVSerializer
from sagemaker.core.shapes import ContainerDefinition, ProductionVariant
from sagemaker.core.utils.utils import configure_logging
from sagemaker.serve import ModelBuilder
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, OutputDataConfig
from sagemaker.train.tuner import HyperparameterTuner

configure_logging("WARNING")
logging.getLogger("sagemaker.core").setLevel(logging.WARNING)
work = Path(sys.argv[1])
session = Session()
role = get_execution_role()
bucket = session.default_bucket()

random = np.random.default_rng(1)
features = random.normal(size=(400, 4))
labels = (features[:, 0] - features[:, 1] > 0).astype(int)
rows = np.column_stack([labels, features])
uris = {}
for name, part in (("train", rows[:300]), ("validation", rows[300:])):
    np.savetxt(work / f"{name}.csv", part, delimiter=",", fmt="%g")
    uris[name] = session.upload_data(str(work / f"{name}.csv"), bucket=bucket, key_prefix=f"tune-v3/{name}")

image = image_uris.retrieve("xgboost", session.boto_region_name, "1.7-1")
trainer = ModelTrainer(
    training_image=image,
    role=role,
    base_job_name="tune-v3",
    compute=Compute(instance_type="ml.m5.large", instance_count=1),
    hyperparameters={"objective": "binary:logistic", "num_round": "10"},
    output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/tune-v3/output"),
    sagemaker_session=session,
)
tuner = HyperparameterTuner(
    trainer,
    "validation:auc",
    {"eta": ContinuousParameter(0.05, 0.5), "max_depth": IntegerParameter(2, 6)},
    objective_type="Maximize",
    max_jobs=2,
    max_parallel_jobs=2,
    base_tuning_job_name="tune-v3",
)
tuner.tune([InputData(channel_name=name, data_source=uri, content_type="csv") for name, uri in uris.items()])
table = tuner.analytics().dataframe()
best = tuner.best_training_job()
job = TrainingJob.get(best)


def predicted(endpoint: Endpoint) -> list[float]:
    """What the endpoint answers, once it is there; then it is deleted with its configuration."""
    endpoint.wait_for_status("InService", poll=1)
    endpoint.serializer, endpoint.deserializer = CSVSerializer(), CSVDeserializer()
    answer = endpoint.invoke(body=features[300:], content_type="text/csv", accept="text/csv").body
    endpoint.delete()
    EndpointConfig.get(endpoint.endpoint_name).delete()
    return [float(value) for value in np.ravel(answer)]


builder = ModelBuilder(
    image_uri=image,
    s3_model_data_url=job.model_artifacts.s3_model_artifacts,
    role_arn=role,
    sagemaker_session=session,
    instance_type="ml.m5.large",
)
builder.build(model_name="best-v3")
answers = predicted(
    builder.deploy(endpoint_name="best-v3", initial_instance_count=1, instance_type="ml.m5.large", wait=False)
)
package = ModelPackage.get(
    builder.register(
        model_package_group_name="course-v3",
        content_types=["text/csv"],
        response_types=["text/csv"],
        inference_instances=["ml.m5.large"],
        transform_instances=["ml.m5.large"],
    )
)
package.update(model_approval_status="Approved")

model = Model.create(
    model_name="from-package-v3",
    primary_container=ContainerDefinition(model_package_name=package.model_package_arn),
    execution_role_arn=role,
)
variant = ProductionVariant(
    variant_name="AllTraffic",
    model_name=model.model_name,
    initial_instance_count=1,
    instance_type="ml.m5.large",
)
EndpointConfig.create(endpoint_config_name="from-package-v3", production_variants=[variant])
again = predicted(Endpoint.create(endpoint_name="from-package-v3", endpoint_config_name="from-package-v3"))
model.delete()
Model.get("best-v3").delete()

print(
    "RESULT "
    + json.dumps(
        {
            "best": best,
            "values": table.set_index("TrainingJobName")["FinalObjectiveValue"].to_dict(),
            "right": float(np.mean((np.array(answers) > 0.5) == labels[300:])),
            "answers": answers,
            "package": package.model_package_arn,
            "again": again,
        }
    )
)
