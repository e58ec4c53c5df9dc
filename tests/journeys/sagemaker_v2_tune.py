"""What a user of the sagemaker SDK v2 writes to tune hyperparameters: fit, wait, analytics, attach, deploy the best, warm start.

Run by ``test_sagemaker_sdk_v2_tuning.py`` in that SDK's own environment, unmodified against the variables of ``stagedoor env --notebook``.
"""

import json
import sys
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker.deserializers import CSVDeserializer
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.serializers import CSVSerializer
from sagemaker.tuner import (
    ContinuousParameter,
    HyperparameterTuner,
    IntegerParameter,
    WarmStartConfig,
    WarmStartTypes,
)

work = Path(sys.argv[1])
session = sagemaker.Session()
role, bucket = sagemaker.get_execution_role(), session.default_bucket()

random = np.random.default_rng(1)
features = random.normal(size=(400, 4))
labels = (features[:, 0] - features[:, 1] > 0).astype(int)
rows = np.column_stack([labels, features])
inputs = {}
for name, part in (("train", rows[:300]), ("validation", rows[300:])):
    np.savetxt(work / f"{name}.csv", part, delimiter=",", fmt="%g")
    uploaded = session.upload_data(str(work / f"{name}.csv"), key_prefix=f"tune/{name}")
    inputs[name] = TrainingInput(uploaded, content_type="csv")


def tuner(**settings: object) -> HyperparameterTuner:
    estimator = Estimator(
        sagemaker.image_uris.retrieve("xgboost", session.boto_region_name, "1.7-1"),
        role,
        instance_count=1,
        instance_type="ml.m5.large",
        output_path=f"s3://{bucket}/tune/output",
        sagemaker_session=session,
        hyperparameters={"objective": "binary:logistic", "num_round": 5},
    )
    ranges = {"eta": ContinuousParameter(0.01, 0.9), "max_depth": IntegerParameter(1, 6)}
    return HyperparameterTuner(
        estimator,
        "validation:rmse",
        ranges,
        objective_type="Minimize",
        max_jobs=3,
        max_parallel_jobs=3,
        base_tuning_job_name="tune-v2",
        **settings,
    )


first = tuner(random_seed=3)
first.fit(inputs)
table = first.analytics().dataframe()
attached = HyperparameterTuner.attach(first.latest_tuning_job.name, sagemaker_session=session)
best = attached.best_estimator()
predictor = attached.deploy(
    1,
    "ml.m5.large",
    serializer=CSVSerializer(),
    deserializer=CSVDeserializer(),
    wait=False,
)
# The same wait as deploy's own, which asks every 30 seconds.
session.wait_for_endpoint(predictor.endpoint_name, poll=1)
scores = np.array(predictor.predict(features[300:]), dtype=float).ravel()
predictor.delete_model()
predictor.delete_endpoint()
again = tuner(
    warm_start_config=WarmStartConfig(
        WarmStartTypes.IDENTICAL_DATA_AND_ALGORITHM, parents={first.latest_tuning_job.name}
    )
)
again.fit(inputs, job_name="sdk-v2-again")  # the SDK's own names differ by the minute only
described = again.describe()

print(
    "RESULT "
    + json.dumps(
        {
            "best": first.best_training_job(),
            "values": table.set_index("TrainingJobName")["FinalObjectiveValue"].to_dict(),
            "statuses": sorted(set(table["TrainingJobStatus"])),
            "columns": sorted(table.columns),
            "model": best.model_data,
            "deployed": predictor.endpoint_name,
            "right": float(np.mean((scores > 0.5) == labels[300:])),
            "status": described["HyperParameterTuningJobStatus"],
            "overall": described["OverallBestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"],
        }
    )
)
