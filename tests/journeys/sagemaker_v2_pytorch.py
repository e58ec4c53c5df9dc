"""What a user of the sagemaker SDK v2 writes with PyTorch and Hugging Face: estimators, deployments, a predictor of one's own.

Run by ``test_sagemaker_pytorch.py`` in that SDK's own environment; the sources lie in its folder.
"""

import json
import sys
from pathlib import Path

import sagemaker
from sagemaker.huggingface import HuggingFace, HuggingFaceModel
from sagemaker.predictor import Predictor
from sagemaker.pytorch import PyTorch, PyTorchModel
from sagemaker.serializers import StringSerializer

work = Path(sys.argv[1])
session = sagemaker.Session()
role = sagemaker.get_execution_role()
data = session.upload_data(str(work / "train.csv"), key_prefix="sentiment-rnn-v2")

estimator = PyTorch(
    entry_point="train.py",
    source_dir=str(work / "train"),
    role=role,
    framework_version="2.0.0",
    py_version="py310",
    instance_count=1,
    instance_type="ml.m5.large",
    hyperparameters={"epochs": 12, "hidden_dim": 24},
    metric_definitions=[{"Name": "loss", "Regex": "BCELoss: ([0-9.]+)"}],
)
estimator.fit({"training": data})
metrics = estimator.latest_training_job.describe()["FinalMetricDataList"]


class StringPredictor(Predictor):
    def __init__(self, endpoint_name: str, sagemaker_session: sagemaker.Session) -> None:
        super().__init__(
            endpoint_name, sagemaker_session, serializer=StringSerializer(content_type="text/plain")
        )


model = PyTorchModel(
    model_data=estimator.model_data,
    role=role,
    framework_version="2.0.0",
    py_version="py310",
    entry_point="predict.py",
    source_dir=str(work / "serve"),
    predictor_cls=StringPredictor,
    sagemaker_session=session,
)
predictor = model.deploy(initial_instance_count=1, instance_type="ml.m5.large", wait=False)
session.wait_for_endpoint(predictor.endpoint_name, poll=1)
answers = [predictor.predict(text).decode() for text in ("This film was lovely", "This was awful film")]
predictor.delete_endpoint()

trainer = HuggingFace(
    entry_point="train.py",
    source_dir=str(work / "transformer"),
    role=role,
    transformers_version="4.28.1",
    pytorch_version="2.0.0",
    py_version="py310",
    instance_count=1,
    instance_type="ml.p3.2xlarge",
    hyperparameters={"epochs": 4},
)
trainer.fit()
pipeline = HuggingFaceModel(
    model_data=trainer.model_data,
    role=role,
    transformers_version="4.28.1",
    pytorch_version="2.0.0",
    py_version="py310",
    env={"HF_TASK": "text-classification"},
    sagemaker_session=session,
)
predictor = pipeline.deploy(initial_instance_count=1, instance_type="ml.m5.large", wait=False)
session.wait_for_endpoint(predictor.endpoint_name, poll=1)
one = predictor.predict({"inputs": "a lovely song"})
several = predictor.predict({"inputs": ["an awful book", "a great play"], "parameters": {"top_k": 2}})
try:
    predictor.predict({"inputs": 5})
    failed = ""
except session.sagemaker_runtime_client.exceptions.ModelError as error:
    failed = f"{error.response['OriginalStatusCode']} {error.response['Error']['Message']}"
predictor.delete_model()
predictor.delete_endpoint()

print(
    "RESULT "
    + json.dumps(
        {
            "loss": [metric["Value"] for metric in metrics],
            "answers": answers,
            "one": one,
            "several": several,
            "failed": failed,
        }
    )
)
