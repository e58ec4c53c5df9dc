"""Seconds that train, transform and deploy take with the sagemaker SDK v3; run by ``bench.waiting`` in that SDK's environment."""

import json
import sys
import time
from pathlib import Path

from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.resources import TrainingJob, TransformJob
from sagemaker.core.shapes import (
    TransformDataSource,
    TransformInput,
    TransformOutput,
    TransformResources,
    TransformS3DataSource,
)
from sagemaker.serve import ModelBuilder
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode

work, seconds = Path(sys.argv[1]), sys.argv[2]
session, role = Session(), get_execution_role()
bucket = session.default_bucket()
(work / "rows.csv").write_text("1,2\n3,4\n")
data = session.upload_data(str(work / "rows.csv"), bucket=bucket, key_prefix="waiting-v3")
image = image_uris.retrieve("xgboost", session.boto_region_name, "1.7-1")
source = work / "source"
source.mkdir()
(source / "slow.py").write_text(Path(__file__).with_name("slow.py").read_text())
code = SourceCode(source_dir=str(source), entry_script="slow.py")
trainer = ModelTrainer(
    training_image=image,
    source_code=code,
    role=role,
    base_job_name="waiting-v3",
    compute=Compute(instance_type="ml.m5.large", instance_count=1),
    hyperparameters={"seconds": float(seconds)},
    sagemaker_session=session,
)
took = {}
begun = time.monotonic()
trainer.train(input_data_config=[InputData(channel_name="train", data_source=data)])
took["fit"] = time.monotonic() - begun
job = TrainingJob.get(trainer._latest_training_job.training_job_name)
builder = ModelBuilder(
    image_uri=image,
    s3_model_data_url=job.model_artifacts.s3_model_artifacts,
    source_code=code,
    role_arn=role,
    sagemaker_session=session,
    instance_type="ml.m5.large",
)
builder.build(model_name="waiting-v3")
begun = time.monotonic()
rows = TransformS3DataSource(s3_data_type="S3Prefix", s3_uri=data)
transform = TransformJob.create(
    transform_job_name="waiting-v3",
    model_name="waiting-v3",
    transform_input=TransformInput(
        data_source=TransformDataSource(s3_data_source=rows), content_type="text/csv", split_type="Line"
    ),
    transform_output=TransformOutput(s3_output_path=f"s3://{bucket}/waiting-v3/out"),
    transform_resources=TransformResources(instance_type="ml.m5.large", instance_count=1),
)
transform.wait()
took["transform"] = time.monotonic() - begun
begun = time.monotonic()
endpoint = builder.deploy(endpoint_name="waiting-v3", initial_instance_count=1, instance_type="ml.m5.large")
took["deploy"] = time.monotonic() - begun
endpoint.delete()
print("RESULT " + json.dumps(took))
