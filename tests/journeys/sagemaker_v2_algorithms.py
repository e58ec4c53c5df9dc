"""What a course's notebooks write with the SDK's own algorithm classes: record_set, fit, deploy, predict with records.

Run by ``test_sagemaker_sdk_v2_algorithms.py`` in the SDK v2's own environment, unmodified against the variables of ``stagedoor env --notebook``.
"""

import json
from typing import Any

import numpy as np
import sagemaker
from sagemaker import KNN, PCA, FactorizationMachines, KMeans, LinearLearner, RandomCutForest

session = sagemaker.Session()
role = sagemaker.get_execution_role()
common: dict[str, Any] = {
    "role": role,
    "instance_count": 1,
    "instance_type": "ml.m5.large",
    "sagemaker_session": session,
}

random = np.random.default_rng(3)
centers = np.array([[0, 0, 0], [5, 0, 2], [0, 5, 4]], dtype="float32")
groups = random.integers(0, 3, 240)
features = (centers[groups] + random.normal(0, 0.6, (240, 3))).astype("float32")
labels = (groups == 1).astype("float32")


def fit(estimator: Any, *channels: Any, **options: Any) -> None:
    """Fit, and wait as the SDK does, only asking more often than every five seconds."""
    data = list(channels) if len(channels) > 1 else channels[0]
    estimator.fit(data, wait=False, logs=False, **options)
    name = estimator.latest_training_job.name
    waiter = session.sagemaker_client.get_waiter("training_job_completed_or_stopped")
    waiter.wait(TrainingJobName=name, WaiterConfig={"Delay": 1})


def answers(estimator: Any, name: str, rows: np.ndarray, *channels: Any) -> list[dict[str, list[float]]]:
    """Fit, deploy, ask with the class's own predictor (RecordIO both ways), and clear away."""
    if channels:
        fit(estimator, *channels, mini_batch_size=60)
    predictor = estimator.deploy(1, "ml.m5.large", endpoint_name=name, wait=False)
    # The same wait as deploy's own, which asks every 30 seconds.
    session.wait_for_endpoint(name, poll=1)
    records = predictor.predict(rows)
    predictor.delete_model()
    predictor.delete_endpoint()
    return [
        {key: list(value.float32_tensor.values) for key, value in record.label.items()} for record in records
    ]


found: dict[str, Any] = {}

kmeans = KMeans(k=3, **common)
found["kmeans"] = answers(kmeans, "sdk-kmeans", features[:6], kmeans.record_set(features))

pca = PCA(num_components=2, **common)
found["pca"] = answers(pca, "sdk-pca", features[:6], pca.record_set(features))

linear = LinearLearner(predictor_type="binary_classifier", num_models=2, **common)
found["linear"] = answers(
    linear,
    "sdk-linear",
    features[:6],
    linear.record_set(features[:180], labels=labels[:180]),
    linear.record_set(features[180:], labels=labels[180:], channel="validation"),
)

knn = KNN(k=3, sample_size=240, predictor_type="classifier", **common)
found["knn"] = answers(
    knn, "sdk-knn", features[:6], knn.record_set(features, labels=groups.astype("float32"))
)

machines = FactorizationMachines(
    num_factors=2, predictor_type="regressor", epochs=30, linear_lr=0.1, factors_lr=0.05, **common
)
fit(machines, machines.record_set(features, labels=features[:, 0] * features[:, 1]), mini_batch_size=60)
predictor = machines.deploy(1, "ml.m5.large", endpoint_name="sdk-machines", wait=False)
session.wait_for_endpoint("sdk-machines", poll=1)
records = predictor.predict(features[:6])
found["machines"] = [list(record.label["score"].float32_tensor.values) for record in records]
predictor.delete_endpoint()

forest = RandomCutForest(num_samples_per_tree=100, num_trees=50, **common)
fit(forest, forest.record_set(features))
odd = np.vstack([features[:3], [[30.0, -30.0, 30.0]]]).astype("float32")
found["forest"] = answers(forest, "sdk-forest", odd)

print(
    "RESULT "
    + json.dumps(
        {
            **found,
            "groups": groups[:6].tolist(),
            "labels": labels[:6].tolist(),
            "kmeans_metrics": [
                metric["MetricName"]
                for metric in kmeans.latest_training_job.describe()["FinalMetricDataList"]
            ],
        }
    )
)
