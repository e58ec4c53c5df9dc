"""From SageMaker's hyperparameters of the XGBoost algorithm to the library's parameters.

Place in the flow: ``xgboost_training`` gives ``input/config/hyperparameters.json`` here first; what comes back is complete
and consistent, or a ClientError names the hyperparameter. Rules between hyperparameters are here, each one's own type and
range in ``xgboost_hyperparameters.toml``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.algorithms.hyperparameters import Value
from stagedoor.worker.algorithms.specification import specification
from stagedoor.worker.algorithms.xgboost_metrics import METRICS

TABLE = specification("xgboost").hyperparameters

_TREE_UPDATERS = {"grow_colmaker", "grow_histmaker", "grow_quantile_histmaker", "sync", "refresh", "prune"}
_TREE_BUILDERS = {"grow_colmaker", "grow_histmaker", "grow_quantile_histmaker"}
_LINEAR_UPDATERS = {"shotgun", "coord_descent"}


@dataclass(frozen=True, slots=True)
class XgboostParameters:
    """``booster`` goes to the library as it is; the rest steers the training loop."""

    booster: dict[str, Any]
    rounds: int
    metrics: tuple[str, ...] = ()
    own_metrics: tuple[str, ...] = ()
    early_stopping_rounds: int | None = None
    early_stopping_metric: str | None = None
    weight_column: bool = False
    save_on_termination: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def objective(self) -> str:
        return str(self.booster["objective"])

    @property
    def quantised(self) -> bool:
        """True when trees are built from histograms: then the data may be held as bins, an eighth of its size."""
        return (
            self.booster["booster"] != "gblinear"
            and self.booster.get("tree_method", "auto") in ("auto", "hist")
            and "updater" not in self.booster
        )


def read_parameters(texts: Mapping[str, str], threads: int) -> XgboostParameters:
    """The parameters of one training run on ``threads`` threads at most. ClientError names what is wrong."""
    values = TABLE.validate(texts)
    booster = _for_library(values)
    _check_objective(values, booster)
    _check_updater(values, booster)
    _check_constraints(values)
    listed = _metric_names(values, "eval_metric")
    tuned = [name.rpartition(":")[2] for name in _metric_names(values, "_tuning_objective_metric")]
    metrics = tuple(dict.fromkeys([*tuned, *listed]))
    _check_metrics(metrics, booster["objective"])
    own = tuple(name for name in metrics if name in METRICS.own)
    from_library = [name for name in metrics if name not in METRICS.own]
    if from_library:
        booster["eval_metric"] = from_library
    elif own:
        booster["disable_default_eval_metric"] = True
    booster["nthread"] = min(_integer(values, "nthread") or threads, threads)
    if _integer(values, "silent"):
        booster["verbosity"] = 0
    if "sketch_eps" in values and booster.get("tree_method") == "approx":
        booster.setdefault("max_bin", max(2, round(1 / float(str(values["sketch_eps"])))))
    return XgboostParameters(
        booster,
        rounds=_integer(values, "num_round") or 1,
        metrics=metrics,
        own_metrics=own,
        early_stopping_rounds=_integer(values, "early_stopping_rounds"),
        early_stopping_metric=(tuned or listed or [None])[-1],
        weight_column=_integer(values, "csv_weights") == 1,
        save_on_termination=values.get("save_model_on_termination") == "true",
        notes=tuple(_notes(values, booster)),
    )


def _for_library(values: Mapping[str, Value]) -> dict[str, Any]:
    booster: dict[str, Any] = {"booster": "gbtree", "objective": "reg:squarederror"}
    for one in TABLE.hyperparameters.values():
        if one.default_differs and one.default is not None:
            booster[one.name] = one.parse(one.default)
    booster |= {name: value for name, value in values.items() if TABLE.hyperparameters[name].use == "library"}
    if booster["objective"] == "reg:linear":
        booster["objective"] = "reg:squarederror"  # its name since xgboost 0.90
    for name in ("monotone_constraints", "interaction_constraints"):
        if name in booster:
            booster[name] = str(booster[name])
    if "updater" in booster:
        booster["updater"] = ",".join(booster["updater"])
    if booster["objective"] == "reg:absoluteerror" and "base_score" not in values:
        del booster["base_score"]  # the library starts from the median, in every version
    return booster


def _check_objective(values: Mapping[str, Value], booster: Mapping[str, Any]) -> None:
    if booster["objective"].startswith("multi:"):
        if "num_class" not in values:
            raise ClientError("Require input for parameter 'num_class' for multi-classification")
    elif "num_class" in values:
        raise ClientError(
            "Do not need to setup parameter 'num_class' for learning task other than multi-classification."
        )


def _check_updater(values: Mapping[str, Value], booster: Mapping[str, Any]) -> None:
    updaters = values.get("updater")
    if not isinstance(updaters, list):
        return
    names = [str(name) for name in updaters]
    if booster["booster"] == "gblinear":
        if len(names) != 1 or names[0] not in _LINEAR_UPDATERS:
            raise ClientError("Linear updater should be one of these options: 'shotgun', 'coord_descent'.")
    elif not set(names) <= _TREE_UPDATERS:
        options = ", ".join(f"'{name}'" for name in sorted(_TREE_UPDATERS))
        raise ClientError(f"Tree updater should be selected from these options: {options}.")
    elif len(_TREE_BUILDERS & set(names)) != 1:
        options = ", ".join(f"'{name}'" for name in sorted(_TREE_BUILDERS))
        raise ClientError(
            f"Only one tree grow plugin can be selected. Choose one from the following: {options}"
        )


def _check_constraints(values: Mapping[str, Value]) -> None:
    method = values.get("tree_method")
    if "monotone_constraints" in values and method not in ("exact", "hist"):
        raise ClientError(
            "monotone_constraints can be used only when the tree_method parameter is set to either 'exact' or 'hist'."
        )
    if "interaction_constraints" in values and method not in ("exact", "hist", "approx"):
        raise ClientError(
            "interaction_constraints can be used only when the tree_method parameter is set to "
            "either 'exact', 'hist' or 'approx'."
        )


def _metric_names(values: Mapping[str, Value], hyperparameter: str) -> list[str]:
    names = values.get(hyperparameter, [])
    return [str(name) for name in names] if isinstance(names, list) else []


def _check_metrics(metrics: tuple[str, ...], objective: str) -> None:
    for metric in metrics:
        name, at, threshold = metric.partition("@")
        if at and name not in (*METRICS.thresholds, "tweedie-nloglik"):
            raise ClientError(
                f"Metric '{metric}' is not supported. Parameter 'eval_metric' with customized threshold should "
                "be one of these options: 'error', 'ndcg', 'map'."
            )
        if at and not _is_number(threshold.rstrip("-")):
            raise ClientError(f"Threshold value 't' in '{name}@t' expects float input.")
        if name.rstrip("-") not in METRICS.names:
            raise ClientError(
                f"Hyperparameter eval_metric: value {list(metrics)} not in range {sorted(METRICS.names)}"
            )
        if name == "auc" and not objective.startswith(("binary:", "rank:", "multi:")):
            raise ClientError("Metric 'auc' can only be applied for classification and ranking problems.")
        if name == "aft-nloglik" and objective != "survival:aft":
            raise ClientError("Metric 'aft-nloglik' can only be applied for 'survival:aft' objective.")
        if name in ("merror", "mlogloss") and not objective.startswith("multi:"):
            raise ClientError(f"Metric '{name}' can only be applied for multi-classification.")


def _notes(values: Mapping[str, Value], booster: Mapping[str, Any]) -> list[str]:
    notes = [
        f"Hyperparameter {name} has no effect with this version of XGBoost on CPUs."
        for name in values
        if TABLE.hyperparameters[name].use == "nothing"
    ]
    if "sketch_eps" in values and booster.get("tree_method") != "approx":
        notes.append("Hyperparameter sketch_eps is used only with tree_method approx.")
    return notes


def _integer(values: Mapping[str, Value], name: str) -> int | None:
    value = values.get(name)
    return value if isinstance(value, int) else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
