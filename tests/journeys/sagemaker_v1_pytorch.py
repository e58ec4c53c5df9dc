"""What a course notebook for the sagemaker SDK 1.72.0 writes with PyTorch: an LSTM trained, deployed, and a web app's predictor.

Run by ``test_sagemaker_pytorch.py`` in that SDK's own environment; the sources lie in its folder.
"""

import json
import sys
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker.predictor import RealTimePredictor
from sagemaker.pytorch import PyTorch, PyTorchModel

work = Path(sys.argv[1])
session = sagemaker.Session()
role = sagemaker.get_execution_role()
data = session.upload_data(str(work / "train.csv"), key_prefix="sentiment-rnn")

estimator = PyTorch(
    entry_point="train.py",
    source_dir=str(work / "train"),
    role=role,
    framework_version="0.4.0",
    train_instance_count=1,
    train_instance_type="ml.p2.xlarge",
    hyperparameters={"epochs": 12, "hidden_dim": 24},
)
estimator.fit({"training": data})

# The estimator's own predictor sends and takes NPY.
predictor = estimator.deploy(initial_instance_count=1, instance_type="ml.m4.xlarge", wait=False)
session.wait_for_endpoint(predictor.endpoint, poll=1)
rows = np.array([[4, 2, 3, 4, 6, 0, 0, 0, 0], [4, 2, 3, 4, 11, 0, 0, 0, 0]])
numbers = np.asarray(predictor.predict(rows)).tolist()
estimator.delete_endpoint()


class StringPredictor(RealTimePredictor):
    def __init__(self, endpoint_name: str, sagemaker_session: sagemaker.Session) -> None:
        super().__init__(endpoint_name, sagemaker_session, content_type="text/plain")


model = PyTorchModel(
    model_data=estimator.model_data,
    role=role,
    framework_version="0.4.0",
    entry_point="predict.py",
    source_dir=str(work / "serve"),
    predictor_cls=StringPredictor,
)
predictor = model.deploy(initial_instance_count=1, instance_type="ml.m4.xlarge", wait=False)
session.wait_for_endpoint(predictor.endpoint, poll=1)
answers = [predictor.predict(text).decode() for text in ("This film was lovely", "This was awful film")]
predictor.delete_endpoint()

print("RESULT " + json.dumps({"numbers": numbers, "answers": answers}))
