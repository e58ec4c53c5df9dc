"""What a tuning job may tune, and by which metric, agrees with the hyperparameters and metrics of the built-in algorithms."""

import pytest

from stagedoor.worker.algorithms.specification import NAMES, specification

KINDS_WITH_RANGES = {"integer", "float", "choice", "boolean"}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_tunable_is_a_hyperparameter_with_a_range_of_values(name: str) -> None:
    algorithm = specification(name)
    for tunable in algorithm.tunable:
        assert algorithm.hyperparameters.hyperparameters[tunable].kind in KINDS_WITH_RANGES, tunable


@pytest.mark.parametrize("name", NAMES)
def test_an_objective_is_a_metric_that_has_a_direction(name: str) -> None:
    algorithm = specification(name)
    directed = {
        f"{channel}:{metric}"
        for group in algorithm.metrics
        for channel in group.channels
        for metric in group.maximize | group.minimize
    }
    assert algorithm.objectives <= directed
    assert bool(algorithm.objectives) == bool(algorithm.tunable)


@pytest.mark.parametrize(
    ("name", "objectives"),
    [
        ("kmeans", {"test:msd", "test:ssd"}),
        ("knn", {"test:accuracy", "test:mse"}),
        ("random_cut_forest", {"test:f1"}),
        ("blazingtext", {"train:mean_rho", "validation:accuracy"}),
        (
            "factorization_machines",
            {
                "test:rmse",
                "test:binary_classification_accuracy",
                "test:binary_classification_cross_entropy",
                "test:binary_f_beta",
            },
        ),
        ("pca", set[str]()),
    ],
)
def test_objectives_are_those_of_the_developer_guide(name: str, objectives: set[str]) -> None:
    assert specification(name).objectives == objectives


def test_linear_learner_is_tuned_by_the_same_metrics_of_validation_and_test() -> None:
    objectives = specification("linear_learner").objectives
    assert len(objectives) == 28
    for channel in ("validation", "test"):
        assert f"{channel}:objective_loss" in objectives
        assert f"{channel}:rmse" not in objectives


def test_methods_of_initialisation_are_not_tunable() -> None:
    tunable = specification("factorization_machines").tunable
    assert {"bias_init_sigma", "linear_init_scale", "factors_init_value", "epochs"} <= tunable
    assert not {name for name in tunable if name.endswith("_method")}


def test_the_epochs_of_kmeans_are_tunable() -> None:
    assert specification("kmeans").tunable == {
        "epochs",
        "extra_center_factor",
        "init_method",
        "mini_batch_size",
    }
