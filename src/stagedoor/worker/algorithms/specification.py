"""What is known about a built-in algorithm before it runs, as data: channels, hyperparameters, metrics, answers.

Place in the flow: services ask for metric definitions, training for channels and hyperparameters, serving for the content
types it may answer with, ``docs/generate.py`` for all of it. An algorithm NAME is made of

    NAME.toml                   its title, library, channels and answers (this module reads it)
    NAME_hyperparameters.toml   its hyperparameters (``hyperparameters``)
    NAME_metrics.toml           its metrics, and how each is found in the log (``metrics``)
    NAME_training.py            ``train(job)``: from channels to the files in ``model``
    NAME_serving.py             ``load(spec, model_dir)``: an object with ``predict`` (``worker.model``)

This module imports no numeric library: the server reads it.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stagedoor.worker.algorithms.channels import ChannelRules
from stagedoor.worker.algorithms.hyperparameters import Table
from stagedoor.worker.algorithms.metrics import MetricGroup, read_metrics

NAMES = (
    "xgboost",
    "linear_learner",
    "kmeans",
    "pca",
    "knn",
    "factorization_machines",
    "random_cut_forest",
    "blazingtext",
)


@dataclass(frozen=True, slots=True)
class Specification:
    """One algorithm. ``library`` is what its model opens in, ``extra`` what ``pip install stagedoor[…]`` brings it.

    ``requests`` and ``answers`` are the content types of invocations, the first of each is the default. ``tunable`` names the
    hyperparameters that a tuning job may have ranges of.
    """

    name: str
    title: str
    library: str
    extra: str
    channels: ChannelRules
    requests: tuple[str, ...]
    answers: tuple[str, ...]
    tunable: frozenset[str]
    hyperparameters: Table
    metrics: tuple[MetricGroup, ...]

    @property
    def objectives(self) -> frozenset[str]:
        """The metrics that a tuning job may have as its objective; empty when the algorithm can't be tuned."""
        return frozenset(name for group in self.metrics for name in group.objectives)

    @property
    def metric_definitions(self) -> list[dict[str, str]]:
        """MetricDefinitions, as DescribeTrainingJob answers them and the log is searched with."""
        return [definition for group in self.metrics for definition in group.definitions()]


@cache
def specification(name: str) -> Specification:
    """The algorithm of that name; KeyError for one that does not exist."""
    if name not in NAMES:
        raise KeyError(name)
    folder = Path(__file__).parent
    document = tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))
    return Specification(
        name=name,
        title=document["title"],
        library=document["library"],
        extra=document["extra"],
        channels=ChannelRules.read(document["channels"]),
        requests=tuple(document["requests"]),
        answers=tuple(document["answers"]),
        tunable=frozenset(document["tunable"]),
        hyperparameters=Table.read(folder / f"{name}_hyperparameters.toml"),
        metrics=read_metrics(folder / f"{name}_metrics.toml"),
    )
