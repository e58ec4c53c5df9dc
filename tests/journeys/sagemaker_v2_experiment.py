"""What a user of the sagemaker SDK v2 writes to keep track: a run around fit, analytics, a registered model that is approved and deployed.

Run by ``test_sagemaker_sdk_v2_experiment.py`` in that SDK's own environment, unmodified against the variables of ``stagedoor env --notebook``.
"""

import json
import sys
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker.analytics import ExperimentAnalytics, TrainingJobAnalytics
from sagemaker.estimator import Estimator
from sagemaker.experiments import list_runs
from sagemaker.experiments.run import Run
from sagemaker.inputs import TrainingInput

work = Path(sys.argv[1])
session = sagemaker.Session()
role, bucket = sagemaker.get_execution_role(), session.default_bucket()
features = np.random.default_rng(1).normal(size=(300, 4))
rows = np.column_stack([features[:, 0] > 0, features])
np.savetxt(work / "train.csv", rows, delimiter=",", fmt="%g")
data = session.upload_data(str(work / "train.csv"), key_prefix="experiment/train")
estimator = Estimator(
    sagemaker.image_uris.retrieve("xgboost", session.boto_region_name, "1.7-1"),
    role,
    instance_count=1,
    instance_type="ml.m5.large",
    output_path=f"s3://{bucket}/experiment/output",
    sagemaker_session=session,
    hyperparameters={"objective": "binary:logistic", "num_round": 5},
)
with Run(experiment_name="reviews", run_name="first", sagemaker_session=session) as run:
    run.log_parameter("alpha", 0.5)
    run.log_metric("score", 0.25, step=1)
    estimator.fit({"train": TrainingInput(data, content_type="csv")}, logs=False)

job = estimator.latest_training_job.name
measured = TrainingJobAnalytics(job, metric_names=["train:logloss"], sagemaker_session=session).dataframe()
tracked = ExperimentAnalytics(experiment_name="reviews", sagemaker_session=session).dataframe()
package = estimator.register(
    content_types=["text/csv"],
    response_types=["text/csv"],
    inference_instances=["ml.m5.large"],
    transform_instances=["ml.m5.large"],
    model_package_group_name="reviews",
    approval_status="PendingManualApproval",
)
package.update_approval_status("Approved")
package.deploy(1, "ml.m5.large", endpoint_name="from-package", wait=False)
status = session.wait_for_endpoint("from-package", poll=1)["EndpointStatus"]
session.delete_endpoint("from-package")
print(
    "RESULT",
    json.dumps(
        {
            "runs": [each.run_name for each in list_runs("reviews", sagemaker_session=session)],
            "measured": list(measured["value"]),
            "columns": list(tracked.columns),
            "components": list(tracked["TrialComponentName"]),
            "job": job,
            "package": package.model_package_arn,
            "status": status,
        }
    ),
)
