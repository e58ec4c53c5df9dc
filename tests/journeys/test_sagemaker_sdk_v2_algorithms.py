"""The algorithm classes of the sagemaker SDK v2, unmodified: what record_set uploads is trained on, answers come as records."""

from pathlib import Path

import pytest
from journeys import notebooks

from stagedoor.testing import Server


@pytest.mark.journey
def test_every_algorithm_class_fits_deploys_and_predicts(stagedoor: Server, tmp_path: Path) -> None:
    found = notebooks.run(stagedoor, "sagemaker-v2", "sagemaker_v2_algorithms.py", tmp_path).result
    groups, labels = found["groups"], found["labels"]
    clusters = [one["closest_cluster"][0] for one in found["kmeans"]]
    assert len(set(zip(clusters, groups, strict=True))) == len(set(groups))
    assert "train:msd" in found["kmeans_metrics"]
    assert all(len(one["projection"]) == 2 for one in found["pca"])
    assert [one["predicted_label"] for one in found["linear"]] == [[label] for label in labels]
    assert [one["predicted_label"] for one in found["knn"]] == [[float(group)] for group in groups]
    assert all(len(one) == 1 for one in found["machines"])
    *usual, odd = [one["score"][0] for one in found["forest"]]
    assert odd > 2 * max(usual)
