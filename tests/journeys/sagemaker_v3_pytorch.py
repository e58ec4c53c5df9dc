"""What a user of the sagemaker SDK v3 writes with PyTorch and Hugging Face: torchrun on two hosts, and a pipeline that is served.

Run by ``test_sagemaker_pytorch.py`` in that SDK's own environment; the sources lie in its folder.
"""

import io
import json
import sys
import tarfile
import time
from pathlib import Path

import boto3
from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.resources import Endpoint, EndpointConfig, Model, TrainingJob
from sagemaker.core.shapes import ContainerDefinition, ProductionVariant
from sagemaker.core.utils.utils import configure_logging
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, SourceCode
from sagemaker.train.distributed import Torchrun

configure_logging("INFO")
work = Path(sys.argv[1])
session = Session()
role = get_execution_role()
region = session.boto_region_name


def trained(
    image: str, folder: str, program: str, count: int, hyperparameters: dict[str, int]
) -> TrainingJob:
    trainer = ModelTrainer(
        training_image=image,
        source_code=SourceCode(source_dir=str(work / folder), entry_script=program),
        distributed=Torchrun(),
        role=role,
        base_job_name=folder,
        compute=Compute(instance_type="ml.m5.large", instance_count=count),
        hyperparameters=hyperparameters,
        sagemaker_session=session,
    )
    trainer.train()
    return TrainingJob.get(trainer._latest_training_job.training_job_name)


def files(job: TrainingJob) -> dict[str, bytes]:
    bucket, _, key = job.model_artifacts.s3_model_artifacts.removeprefix("s3://").partition("/")
    archive = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(archive)) as source:
        return {entry.name: source.extractfile(entry).read() for entry in source if entry.isreg()}


image = image_uris.retrieve(
    "pytorch", region, "2.3.0", instance_type="ml.m5.large", image_scope="training", py_version="py311"
)
together = files(trained(image, "together", "together.py", 2, {}))

registry = image.partition("/")[0]
tag = "2.0.0-transformers4.28.1-cpu-py310-ubuntu20.04"
transformer = trained(
    f"{registry}/huggingface-pytorch-training:{tag}", "transformer", "train.py", 1, {"epochs": 4}
)

suffix = str(int(time.time()))
model = Model.create(
    model_name=f"hf-{suffix}",
    primary_container=ContainerDefinition(
        image=f"{registry}/huggingface-pytorch-inference:{tag}",
        model_data_url=transformer.model_artifacts.s3_model_artifacts,
        environment={},
    ),
    execution_role_arn=role,
)
variant = ProductionVariant(
    variant_name="AllTraffic",
    model_name=model.model_name,
    initial_instance_count=1,
    instance_type="ml.m5.large",
)
config = EndpointConfig.create(endpoint_config_name=f"hf-{suffix}", production_variants=[variant])
endpoint = Endpoint.create(endpoint_name=f"hf-{suffix}", endpoint_config_name=config.endpoint_config_name)
endpoint.wait_for_status("InService", poll=1)
asked = json.dumps({"inputs": ["a lovely song", "a dull book"]})
answer = endpoint.invoke(body=asked, content_type="application/json", accept="application/json")
labels = json.loads(answer.body.read())
table = endpoint.invoke(body="inputs\na lovely song\n", content_type="text/csv", accept="text/csv")
rows = table.body.read().decode().splitlines()
endpoint.delete()
config.delete()
model.delete()

print(
    "RESULT "
    + json.dumps(
        {
            "together": {name: json.loads(data) for name, data in together.items()},
            "labels": labels,
            "rows": rows,
        }
    )
)
