"""What a user of the sagemaker SDK v3 writes with scripts: process, train with source code and requirements, look the job up, serve its model
with the same source, predict in NPY, JSON and CSV.

Run by ``test_sagemaker_scripts.py`` in that SDK's own environment; the sources lie in its folder.
"""

import io
import json
import logging
import sys
import tarfile
from pathlib import Path

import boto3
import numpy as np
from sagemaker.core import image_uris
from sagemaker.core.deserializers import CSVDeserializer, JSONDeserializer, NumpyDeserializer
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.processing import ScriptProcessor
from sagemaker.core.resources import EndpointConfig, Model, TrainingJob
from sagemaker.core.serializers import CSVSerializer, JSONSerializer, NumpySerializer
from sagemaker.core.shapes import (
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
)
from sagemaker.core.utils.utils import configure_logging
from sagemaker.serve import ModelBuilder
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode

configure_logging("INFO")
logging.getLogger("sagemaker.core").setLevel(logging.INFO)
work = Path(sys.argv[1])
session = Session()
role = get_execution_role()
bucket = session.default_bucket()

random = np.random.default_rng(1)
features = random.normal(size=(300, 4))
labels = (features[:, 0] - features[:, 1] > 0).astype(int)
np.savetxt(work / "table.csv", np.column_stack([labels, features]), delimiter=",", fmt="%g")
table = session.upload_data(str(work / "table.csv"), bucket=bucket, key_prefix="scripts-v3/in")
train = f"s3://{bucket}/scripts-v3/train"
image = image_uris.retrieve("sklearn", session.boto_region_name, "1.2-1", instance_type="ml.m5.large")

processor = ScriptProcessor(
    image_uri=image,
    command=["python3"],
    role=role,
    instance_count=1,
    instance_type="ml.m5.large",
    sagemaker_session=session,
)
table_input = ProcessingS3Input(
    s3_uri=table,
    local_path="/opt/ml/processing/input",
    s3_data_type="S3Prefix",
    s3_input_mode="File",
)
train_output = ProcessingS3Output(
    s3_uri=train, local_path="/opt/ml/processing/train", s3_upload_mode="EndOfJob"
)
processor.run(
    code=str(work / "process.py"),
    inputs=[ProcessingInput(input_name="table", s3_input=table_input)],
    outputs=[ProcessingOutput(output_name="train", s3_output=train_output)],
    arguments=["--rows", "200"],
    wait=False,
)
# The same wait as run's own, which asks every ten seconds.
processor.latest_job.wait(poll=1)
kept = len(session.read_s3_file(bucket, "scripts-v3/train/part.csv").splitlines())

trainer = ModelTrainer(
    training_image=image,
    source_code=SourceCode(
        source_dir=str(work / "source"), entry_script="train.py", requirements="requirements.txt"
    ),
    role=role,
    base_job_name="script-v3",
    compute=Compute(instance_type="ml.m5.large", instance_count=1),
    hyperparameters={"max_iter": 200},
    sagemaker_session=session,
)
trainer.train(input_data_config=[InputData(channel_name="train", data_source=train)])
job = TrainingJob.get(trainer._latest_training_job.training_job_name)
place = job.model_artifacts.s3_model_artifacts.removeprefix("s3://").partition("/")
archive = boto3.client("s3").get_object(Bucket=place[0], Key=place[2])["Body"].read()
with tarfile.open(fileobj=io.BytesIO(archive)) as source:
    names = source.getnames()

builder = ModelBuilder(
    image_uri=image,
    s3_model_data_url=job.model_artifacts.s3_model_artifacts,
    source_code=SourceCode(source_dir=str(work / "source"), entry_script="train.py"),
    role_arn=role,
    sagemaker_session=session,
    instance_type="ml.m5.large",
)
builder.build(model_name="script-v3")
endpoint = builder.deploy(
    endpoint_name="script-v3", initial_instance_count=1, instance_type="ml.m5.large", wait=False
)
endpoint.wait_for_status("InService", poll=1)
right = {}
for name, serializer, deserializer in (
    ("npy", NumpySerializer(), NumpyDeserializer()),
    ("json", JSONSerializer(), JSONDeserializer()),
    ("csv", CSVSerializer(), CSVDeserializer()),
):
    endpoint.serializer, endpoint.deserializer = serializer, deserializer
    answer = endpoint.invoke(
        body=features[200:], content_type=serializer.CONTENT_TYPE, accept=deserializer.ACCEPT[0]
    ).body
    right[name] = float(np.mean(np.array(answer, dtype=float).ravel() == labels[200:]))
endpoint.delete()
EndpointConfig.get("script-v3").delete()
Model.get("script-v3").delete()

print(
    "RESULT "
    + json.dumps(
        {
            "kept": kept,
            "status": job.training_job_status,
            "model": names,
            "entry": job.algorithm_specification.container_entrypoint,
            "right": right,
        }
    )
)
