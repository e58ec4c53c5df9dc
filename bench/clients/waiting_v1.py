"""Seconds that fit, transform and deploy take with the sagemaker SDK 1.72.0; run by ``bench.waiting`` in that SDK's environment."""

import json
import sys
import time
from pathlib import Path

import sagemaker
from sagemaker import get_execution_role
from sagemaker.xgboost.estimator import XGBoost

work, seconds = Path(sys.argv[1]), sys.argv[2]
session = sagemaker.Session()
(work / "rows.csv").write_text("1,2\n3,4\n")
data = session.upload_data(str(work / "rows.csv"), key_prefix="waiting-v1")
estimator = XGBoost(
    entry_point=str(Path(__file__).with_name("slow.py")),
    framework_version="0.90-1",
    role=get_execution_role(),
    train_instance_count=1,
    train_instance_type="ml.m4.xlarge",
    sagemaker_session=session,
    hyperparameters={"seconds": seconds},
)
took = {}
begun = time.monotonic()
estimator.fit({"train": data})
took["fit"] = time.monotonic() - begun
begun = time.monotonic()
transformer = estimator.transformer(instance_count=1, instance_type="ml.m4.xlarge")
transformer.transform(data, content_type="text/csv", split_type="Line")
transformer.wait()
took["transform"] = time.monotonic() - begun
begun = time.monotonic()
predictor = estimator.deploy(1, "ml.m4.xlarge")
took["deploy"] = time.monotonic() - begun
predictor.delete_endpoint()
print("RESULT " + json.dumps(took))
