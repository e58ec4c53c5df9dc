"""What a user of the sagemaker SDK v3 writes with a script: a ModelTrainer with source code and requirements.

Run by ``test_sagemaker_scripts.py`` in that SDK's own environment; the sources lie in its folder.
"""

import io
import json
import sys
import tarfile
from pathlib import Path

import boto3
import numpy as np
from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.resources import TrainingJob
from sagemaker.core.utils.utils import configure_logging
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode

configure_logging("INFO")
work = Path(sys.argv[1])
session = Session()
role = get_execution_role()
bucket = session.default_bucket()

random = np.random.default_rng(1)
features = random.normal(size=(200, 4))
labels = (features[:, 0] - features[:, 1] > 0).astype(int)
np.savetxt(work / "table.csv", np.column_stack([labels, features]), delimiter=",", fmt="%g")
table = session.upload_data(str(work / "table.csv"), bucket=bucket, key_prefix="scripts-v3/in")

trainer = ModelTrainer(
    training_image=image_uris.retrieve(
        "sklearn", session.boto_region_name, "1.2-1", instance_type="ml.m5.large"
    ),
    source_code=SourceCode(
        source_dir=str(work / "source"), entry_script="train.py", requirements="requirements.txt"
    ),
    role=role,
    base_job_name="script-v3",
    compute=Compute(instance_type="ml.m5.large", instance_count=1),
    hyperparameters={"max_iter": 200},
    sagemaker_session=session,
)
trainer.train(input_data_config=[InputData(channel_name="train", data_source=table)])
job = TrainingJob.get(trainer._latest_training_job.training_job_name)
place = job.model_artifacts.s3_model_artifacts.removeprefix("s3://").partition("/")
archive = boto3.client("s3").get_object(Bucket=place[0], Key=place[2])["Body"].read()
with tarfile.open(fileobj=io.BytesIO(archive)) as source:
    names = source.getnames()

print(
    "RESULT "
    + json.dumps(
        {
            "status": job.training_job_status,
            "model": names,
            "entry": job.algorithm_specification.container_entrypoint,
        }
    )
)
