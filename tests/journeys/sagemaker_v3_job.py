"""What a user of the sagemaker SDK v3 writes: train with logs, transform, deploy, invoke, update, delete.

Run by ``test_sagemaker_sdk_v3.py`` in that SDK's own environment, unmodified against the variables of ``stagedoor env --notebook``.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.resources import Endpoint, EndpointConfig, Model, TrainingJob, TransformJob
from sagemaker.core.shapes import (
    ContainerDefinition,
    ProductionVariant,
    TransformDataSource,
    TransformInput,
    TransformOutput,
    TransformResources,
    TransformS3DataSource,
)
from sagemaker.core.utils.utils import configure_logging
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, OutputDataConfig

configure_logging("INFO")
work = Path(sys.argv[1])
timed = {}


def step(name: str, begun: float) -> None:
    timed[name] = round(time.monotonic() - begun, 2)


session = Session()
role = get_execution_role()
bucket = session.default_bucket()
prefix = "course-v3"

random = np.random.default_rng(1)
features = random.poisson(1.0, size=(800, 6))
labels = (features[:, 0] > features[:, 1]).astype(int)
rows = np.column_stack([labels, features])
for name, part in (("train", rows[:500]), ("validation", rows[500:650])):
    np.savetxt(work / f"{name}.csv", part, delimiter=",", fmt="%d")
np.savetxt(work / "test.csv", features[650:], delimiter=",", fmt="%d")
uris = {
    name: session.upload_data(str(work / f"{name}.csv"), bucket=bucket, key_prefix=prefix)
    for name in ("train", "validation", "test")
}

image = image_uris.retrieve("xgboost", session.boto_region_name, "1.7-1")
trainer = ModelTrainer(
    training_image=image,
    role=role,
    base_job_name="v3",
    compute=Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=30),
    hyperparameters={
        "objective": "binary:logistic",
        "num_round": "40",
        "max_depth": "4",
        "eval_metric": "error",
    },
    output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/{prefix}/output"),
    sagemaker_session=session,
)
begun = time.monotonic()
trainer.train(
    input_data_config=[
        InputData(channel_name=name, data_source=uris[name], content_type="csv")
        for name in ("train", "validation")
    ]
)
step("fit", begun)
job = TrainingJob.get(trainer._latest_training_job.training_job_name)

suffix = str(int(time.time()))
model = Model.create(
    model_name=f"v3-{suffix}",
    primary_container=ContainerDefinition(
        image=image, model_data_url=job.model_artifacts.s3_model_artifacts, environment={}
    ),
    execution_role_arn=role,
)
begun = time.monotonic()
transform = TransformJob.create(
    transform_job_name=f"v3-{suffix}",
    model_name=model.model_name,
    transform_input=TransformInput(
        data_source=TransformDataSource(
            s3_data_source=TransformS3DataSource(s3_data_type="S3Prefix", s3_uri=uris["test"])
        ),
        content_type="text/csv",
        split_type="Line",
    ),
    transform_output=TransformOutput(
        s3_output_path=f"s3://{bucket}/{prefix}/transformed", assemble_with="Line", accept="text/csv"
    ),
    transform_resources=TransformResources(instance_type="ml.m5.large", instance_count=1),
)
transform.wait()
step("transform", begun)
transformed = session.read_s3_file(bucket, f"{prefix}/transformed/test.csv.out")

begun = time.monotonic()
config = EndpointConfig.create(
    endpoint_config_name=f"v3-{suffix}",
    production_variants=[
        ProductionVariant(
            variant_name="AllTraffic",
            model_name=model.model_name,
            initial_instance_count=1,
            instance_type="ml.m5.large",
        )
    ],
)
endpoint = Endpoint.create(endpoint_name=f"v3-{suffix}", endpoint_config_name=config.endpoint_config_name)
endpoint.wait_for_status("InService", poll=1)
step("deploy", begun)
body = (work / "test.csv").read_text()
answer = endpoint.invoke(body=body, content_type="text/csv", accept="text/csv").body.read().decode()

larger = EndpointConfig.create(
    endpoint_config_name=f"v3-{suffix}-2",
    production_variants=[
        ProductionVariant(
            variant_name="AllTraffic",
            model_name=model.model_name,
            initial_instance_count=2,
            instance_type="ml.m5.large",
        )
    ],
)
endpoint.endpoint_config_name = larger.endpoint_config_name
endpoint.update()
endpoint.wait_for_status("InService", poll=1)
instances = endpoint.refresh().production_variants[0].current_instance_count
endpoint.delete()
endpoint.wait_for_delete(poll=1)
config.delete()
larger.delete()
model.delete()

print(
    "RESULT "
    + json.dumps(
        {
            "role": role,
            "bucket": bucket,
            "right": float(np.mean((np.array(answer.split(","), float) > 0.5) == labels[650:])),
            "answers": [float(value) for value in answer.split(",")],
            "transformed": [float(line) for line in transformed.split()],
            "instances": instances,
            "metrics": [metric.metric_name for metric in job.final_metric_data_list],
            "timed": timed,
        }
    )
)
