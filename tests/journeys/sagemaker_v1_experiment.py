"""What a user of the sagemaker SDK 1.72.0 writes to keep track, with its companion ``sagemaker-experiments``: an experiment, a trial, a tracker,
a fit in the trial, searches, and the end of it all.

Run by ``test_sagemaker_sdk_v1.py`` in that SDK's own environment, unmodified against the variables of ``stagedoor env --notebook``.
"""

import json
import sys
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker import get_execution_role
from sagemaker.amazon.amazon_estimator import get_image_uri
from smexperiments.experiment import Experiment
from smexperiments.search_expression import Filter, Operator, SearchExpression
from smexperiments.tracker import Tracker
from smexperiments.trial import Trial
from smexperiments.trial_component import TrialComponent

work = Path(sys.argv[1])
session = sagemaker.Session()
role, bucket = get_execution_role(), session.default_bucket()
features = np.random.default_rng(1).normal(size=(300, 4))
np.savetxt(work / "train.csv", np.column_stack([features[:, 0] > 0, features]), delimiter=",", fmt="%g")
data = session.upload_data(str(work / "train.csv"), key_prefix="experiment-v1/train")

experiment = Experiment.create(experiment_name="churn", description="which customers leave")
trial = Trial.create(experiment_name="churn", trial_name="churn-first")
with Tracker.create(display_name="Preprocessing", artifact_bucket=bucket) as tracker:
    tracker.log_parameters({"scale": 0.5, "columns": "all"})
    tracker.log_input(name="table", media_type="s3/uri", value=data)
    tracker.log_output(name="scaled", media_type="s3/uri", value=f"s3://{bucket}/experiment-v1/scaled")
trial.add_trial_component(tracker.trial_component)

estimator = sagemaker.estimator.Estimator(
    get_image_uri(session.boto_region_name, "xgboost", repo_version="1.0-1"),
    role,
    train_instance_count=1,
    train_instance_type="ml.m4.xlarge",
    output_path=f"s3://{bucket}/experiment-v1/output",
    sagemaker_session=session,
)
estimator.set_hyperparameters(objective="binary:logistic", num_round=5)
placed = {"TrialName": "churn-first", "TrialComponentDisplayName": "Training"}
estimator.fit({"train": sagemaker.s3_input(data, content_type="csv")}, experiment_config=placed)
job = estimator.latest_training_job.name

again = Experiment.load("churn")
components = list(trial.list_trial_components())
logged = TrialComponent.load(tracker.trial_component.trial_component_name)
trained = TrialComponent.load(f"{job}-aws-training-job")
wanted = SearchExpression(filters=[Filter("DisplayName", Operator.EQUALS, "Training")])
listed = ["churn" in {each.experiment_name for each in Experiment.list()}]
result = {
    "description": again.description,
    "trials": [each.trial_name for each in again.list_trials()],
    "components": sorted(each.display_name for each in components),
    "parameters": logged.parameters,
    "artifacts": [logged.input_artifacts["table"].value == data, sorted(logged.output_artifacts)],
    "trained": [trained.status.primary_status, sorted(each.metric_name for each in trained.metrics)],
    "found": [each.trial_component_name for each in TrialComponent.search(search_expression=wanted)],
    "job": job,
}
again.description = "done"
again.save()
result["saved"] = Experiment.load("churn").description
for component in components:
    trial.remove_trial_component(component.trial_component_name)
trial.delete()
again.delete()
result["listed"] = [*listed, "churn" in {each.experiment_name for each in Experiment.list()}]
print("RESULT", json.dumps(result))
