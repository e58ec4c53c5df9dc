"""Seconds that fit, transform and deploy take with the sagemaker SDK v2; run by ``bench.waiting`` in that SDK's environment."""

import json
import sys
import time
from pathlib import Path

import sagemaker
from sagemaker.xgboost.estimator import XGBoost

work, seconds = Path(sys.argv[1]), sys.argv[2]
session = sagemaker.Session()
(work / "rows.csv").write_text("1,2\n3,4\n")
data = session.upload_data(str(work / "rows.csv"), key_prefix="waiting-v2")
estimator = XGBoost(
    entry_point=str(Path(__file__).with_name("slow.py")),
    framework_version="1.7-1",
    role=sagemaker.get_execution_role(),
    instance_count=1,
    instance_type="ml.m5.large",
    sagemaker_session=session,
    hyperparameters={"seconds": seconds},
)
took = {}
begun = time.monotonic()
estimator.fit({"train": data})
took["fit"] = time.monotonic() - begun
begun = time.monotonic()
transformer = estimator.transformer(instance_count=1, instance_type="ml.m5.large")
transformer.transform(data, content_type="text/csv", split_type="Line", logs=False)
took["transform"] = time.monotonic() - begun
begun = time.monotonic()
predictor = estimator.deploy(1, "ml.m5.large")
took["deploy"] = time.monotonic() - begun
predictor.delete_endpoint()
print("RESULT " + json.dumps(took))
