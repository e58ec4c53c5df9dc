"""The XGBoost algorithm's training on real, tiny data: what it reads, learns, prints, saves and refuses."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from stagedoor.worker.algorithms.channels import Channel
from stagedoor.worker.algorithms.examples import read_examples
from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.algorithms.libsvm_examples import read_libsvm_examples
from stagedoor.worker.algorithms.xgboost_parameters import TABLE, read_parameters
from stagedoor.worker.algorithms.xgboost_training import MODEL_NAME, train
from stagedoor.worker.job import Job, JobFailed

LOGISTIC = {"num_round": "3", "objective": "binary:logistic"}


class Training:
    """A job's directory, filled as the reconciler fills it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.channels: dict[str, dict[str, str]] = {}
        (root / "model").mkdir(parents=True)

    def channel(self, name: str, content_type: str | None, **files: bytes) -> None:
        self.channels[name] = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
        if content_type is not None:
            self.channels[name]["ContentType"] = content_type
        for file_name, content in files.items():
            path = self.root / "input" / "data" / name / file_name.replace("__", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def train(
        self, hyperparameters: dict[str, str], is_stopping: Callable[[], bool] = lambda: False
    ) -> xgboost.Booster:
        config = {"hyperparameters": hyperparameters, "inputdataconfig": self.channels}
        train(Job({"entry": "xgboost_training:train", "config": config}, self.root, 1, is_stopping))
        booster = xgboost.Booster()
        booster.load_model(bytearray((self.root / "model" / MODEL_NAME).read_bytes()))
        return booster


@pytest.fixture
def job(tmp_path: Path) -> Training:
    return Training(tmp_path / "ml")


def table(rows: int = 60, columns: int = 4, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(7)
    features = draw.integers(0, 5, (rows, columns))
    return features, (features[:, 0] % classes).astype(int)


def as_csv(features: np.ndarray, labels: np.ndarray, form: str = "%d") -> bytes:
    lines = [
        ",".join([str(label), *(form % value for value in row)])
        for label, row in zip(labels, features, strict=True)
    ]
    return "\n".join(lines).encode() + b"\n"


def as_libsvm(features: np.ndarray, labels: np.ndarray) -> bytes:
    lines = [
        " ".join([str(label), *(f"{index}:{value}" for index, value in enumerate(row) if value)])
        for label, row in zip(labels, features, strict=True)
    ]
    return "\n".join(lines).encode() + b"\n"


def rounds(printed: str, metric: str) -> list[float]:
    return [float(value) for value in re.findall(rf"#011{re.escape(metric)}:(\S+?)(?=#011|\n)", printed)]


def test_csv_and_the_library_itself_learn_the_same_model(job: Training) -> None:
    features, labels = table()
    job.channel(
        "train",
        "text/csv",
        a__csv=as_csv(features[:25], labels[:25]),
        b__csv=as_csv(features[25:], labels[25:]),
    )
    booster = job.train(LOGISTIC | {"max_depth": "3", "eta": "0.5"})
    direct = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 3, "eta": 0.5, "base_score": 0.5},
        xgboost.DMatrix(features, label=labels),
        3,
    )
    matrix = xgboost.DMatrix(features)
    np.testing.assert_allclose(booster.predict(matrix), direct.predict(matrix), rtol=1e-6)


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("csv", "csv"),
        ("text/csv;label_size=1", "csv"),
        ("text/csv; label_size=1; charset=utf8", "csv"),
        ("text/csv", "floats"),
        ("text/csv", "semicolons"),
        ("text/csv", "crlf"),
        (None, "libsvm"),
        ("libsvm", "libsvm"),
        ("text/libsvm", "libsvm"),
        ("text/x-libsvm", "libsvm"),
        ("application/x-parquet", "parquet"),
        ("parquet", "parquet"),
    ],
)
def test_every_format_gives_the_same_separation(
    job: Training, content_type: str | None, content: str, tmp_path: Path
) -> None:
    features, labels = table()
    match content:
        case "libsvm":
            data = as_libsvm(features + 1, labels)
        case "parquet":
            data = as_parquet(features, labels, tmp_path)
        case "floats":
            data = as_csv(features, labels, "%.3f")
        case "semicolons":
            data = as_csv(features, labels).replace(b",", b";")
        case "crlf":
            data = as_csv(features, labels).replace(b"\n", b"\r\n")
        case _:
            data = as_csv(features, labels)
    job.channel("train", content_type, data=data)
    booster = job.train(LOGISTIC | {"num_round": "20", "max_depth": "4", "min_child_weight": "0"})
    seen = xgboost.DMatrix(features + 1 if content == "libsvm" else features)
    assert ((booster.predict(seen) > 0.5) == labels).all()


def as_parquet(features: np.ndarray, labels: np.ndarray, tmp_path: Path) -> bytes:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"label": labels} | {f"f{index}": features[:, index] for index in range(features.shape[1])}
    parquet.write_table(arrow.table(columns), tmp_path / "x.parquet")
    return (tmp_path / "x.parquet").read_bytes()


def test_rounds_are_printed_as_sagemaker_prints_them(
    job: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    features, labels = table()
    job.channel("train", "csv", data=as_csv(features[:40], labels[:40]))
    job.channel("validation", "csv", data=as_csv(features[40:], labels[40:]))
    job.train(LOGISTIC | {"eval_metric": "logloss,error"})
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[") and "#011" in line]
    assert len(lines) == 3
    number = r"\d+\.\d{5}"
    for index, line in enumerate(lines):
        assert re.fullmatch(
            rf"\[{index}\]#011train-logloss:{number}#011train-error:{number}"
            rf"#011validation-logloss:{number}#011validation-error:{number}",
            line,
        )


def test_early_stopping_keeps_the_best_round(job: Training, capsys: pytest.CaptureFixture[str]) -> None:
    features, labels = table()
    flipped = 1 - labels
    job.channel("train", "csv", data=as_csv(features, labels))
    job.channel("validation", "csv", data=as_csv(features, flipped))
    booster = job.train(
        LOGISTIC | {"num_round": "50", "early_stopping_rounds": "4", "eval_metric": "logloss"}
    )
    assert len(rounds(capsys.readouterr().out, "validation-logloss")) == 5
    assert booster.num_boosted_rounds() == 1


def test_early_stopping_without_validation_is_said_in_the_log(
    job: Training, capsys: pytest.CaptureFixture[str]
) -> None:
    job.channel("train", "csv", data=as_csv(*table()))
    assert job.train(LOGISTIC | {"early_stopping_rounds": "2"}).num_boosted_rounds() == 3
    assert "early_stopping_rounds has no effect without a validation channel" in capsys.readouterr().out


def test_own_metrics_agree_with_their_definitions(job: Training, capsys: pytest.CaptureFixture[str]) -> None:
    features, labels = table(rows=80)
    noisy = labels.copy()
    noisy[::7] = 1 - noisy[::7]
    job.channel("train", "csv", data=as_csv(features, noisy))
    names = ["accuracy", "f1", "f1_binary", "precision", "recall", "balanced_accuracy", "mse", "r2"]
    booster = job.train(
        {"num_round": "1", "objective": "binary:logistic", "eval_metric": ",".join(names), "max_depth": "1"}
    )
    printed = capsys.readouterr().out
    probability = booster.predict(xgboost.DMatrix(features))
    said = (probability > 0.5).astype(int)
    hits = int(((said == 1) & (noisy == 1)).sum())
    precision, recall = hits / said.sum(), hits / noisy.sum()
    other = int(((said == 0) & (noisy == 0)).sum())
    other_recall = other / (noisy == 0).sum()
    f1 = 2 * hits / (said.sum() + noisy.sum())
    other_f1 = 2 * other / ((said == 0).sum() + (noisy == 0).sum())
    rest = float(((noisy - probability) ** 2).mean())
    expected = {
        "accuracy": float((said == noisy).mean()),
        "f1": (f1 + other_f1) / 2,
        "f1_binary": f1,
        "precision": precision,
        "recall": recall,
        "balanced_accuracy": (recall + other_recall) / 2,
        "mse": rest,
        "r2": 1 - rest / float(noisy.var()),
    }
    for name in names:
        assert rounds(printed, f"train-{name}") == [pytest.approx(expected[name], abs=1e-4)], name


def test_a_tuners_metric_is_computed_too(job: Training, capsys: pytest.CaptureFixture[str]) -> None:
    job.channel("train", "csv", data=as_csv(*table()))
    job.channel("validation", "csv", data=as_csv(*table()))
    job.train(LOGISTIC | {"_tuning_objective_metric": "validation:rmse", "eval_metric": "auc"})
    printed = capsys.readouterr().out
    assert len(rounds(printed, "validation-rmse")) == 3
    assert len(rounds(printed, "validation-auc")) == 3


def test_instance_weights_stand_in_the_second_column(job: Training) -> None:
    features, labels = table()
    weights = np.where(labels == 1, 3.0, 0.25)
    rows = np.column_stack([weights, features])
    job.channel("train", "csv", data=as_csv(rows, labels, "%g"))
    booster = job.train(LOGISTIC | {"csv_weights": "1", "max_depth": "1"})
    direct = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 1, "base_score": 0.5},
        xgboost.DMatrix(features, label=labels, weight=weights),
        3,
    )
    np.testing.assert_allclose(
        booster.predict(xgboost.DMatrix(features)), direct.predict(xgboost.DMatrix(features)), rtol=1e-6
    )


def test_libsvm_weights_groups_and_comments(job: Training) -> None:
    features, _ = table(rows=40)
    lines = [
        f"{int(row[0] > 2)}:0.5 qid:{index // 4} "
        + " ".join(f"{c}:{v}" for c, v in enumerate(row) if v)
        + " # seen"
        for index, row in enumerate(features)
    ]
    weightless = [line.replace(":0.5 qid", " qid") for line in lines]
    job.channel("train", "libsvm", data="\n".join(weightless).encode())
    booster = job.train({"num_round": "2", "objective": "rank:pairwise", "eval_metric": "ndcg"})
    assert booster.num_boosted_rounds() == 2
    plain = [line.replace(f" qid:{index // 4}", "") for index, line in enumerate(lines)]
    job.channel("train", "libsvm", data="\n".join(plain).encode())
    assert job.train(LOGISTIC).num_boosted_rounds() == 3


@pytest.mark.parametrize(
    "hyperparameters",
    [
        {"objective": "reg:linear"},
        {"objective": "reg:squarederror", "silent": "1"},
        {"objective": "multi:softprob", "num_class": "2", "eval_metric": "mlogloss,accuracy,f1"},
        {"objective": "multi:softmax", "num_class": "3", "eval_metric": "merror,precision_macro"},
        {"objective": "count:poisson", "max_delta_step": "0.7"},
        {"objective": "reg:absoluteerror"},
        {"objective": "survival:aft", "aft_loss_distribution": "extreme"},
        {"objective": "binary:hinge"},
        {"objective": "reg:tweedie", "tweedie_variance_power": "1.4"},
        {"booster": "gblinear", "updater": "shotgun", "lambda_bias": "0"},
        {
            "booster": "dart",
            "rate_drop": "0.2",
            "one_drop": "1",
            "sample_type": "weighted",
            "normalize_type": "forest",
        },
        {"tree_method": "exact"},
        {"tree_method": "approx", "sketch_eps": "0.1"},
        {"tree_method": "hist", "max_bin": "16", "grow_policy": "lossguide", "max_leaves": "4"},
        {
            "tree_method": "hist",
            "monotone_constraints": "(1, 0, -1, 0)",
            "interaction_constraints": "[[0, 1], [2, 3]]",
        },
        {"updater": "grow_colmaker,prune", "dsplit": "row", "process_type": "default", "refresh_leaf": "1"},
        {"predictor": "cpu_predictor", "deterministic_histogram": "true", "use_dask_gpu_training": "false"},
        {"learning_rate": "0.1", "reg_lambda": "2", "reg_alpha": "1", "min_split_loss": "0.5"},
        {
            "colsample_bytree": "0.8",
            "colsample_bylevel": "0.8",
            "colsample_bynode": "0.8",
            "subsample": "0.7",
            "seed": "3",
        },
        {
            "num_parallel_tree": "2",
            "scale_pos_weight": "2",
            "base_score": "0.3",
            "nthread": "1",
            "verbosity": "2",
        },
        {"eval_metric": "error@0.7,auc,aucpr,rmse,mae", "objective": "binary:logistic"},
        {"sampling_method": "gradient_based", "subsample": "0.5"},
    ],
    ids=",".join,
)
@pytest.mark.filterwarnings("ignore")
def test_hyperparameters_that_are_honoured(job: Training, hyperparameters: dict[str, str]) -> None:
    job.channel("train", "csv", data=as_csv(*table()))
    assert job.train({"num_round": "2"} | hyperparameters).num_features() == 4


def test_every_documented_hyperparameter_has_a_place() -> None:
    documented = (
        "num_class num_round alpha base_score booster colsample_bylevel colsample_bynode colsample_bytree csv_weights "
        "deterministic_histogram early_stopping_rounds eta eval_metric gamma grow_policy interaction_constraints lambda "
        "lambda_bias max_bin max_delta_step max_depth max_leaves min_child_weight monotone_constraints normalize_type "
        "nthread num_parallel_tree objective one_drop process_type rate_drop refresh_leaf sample_type scale_pos_weight "
        "seed single_precision_histogram sketch_eps skip_drop subsample tree_method tweedie_variance_power updater "
        "use_dask_gpu_training verbosity"
    ).split()
    assert set(documented) <= set(TABLE.hyperparameters)


@pytest.mark.parametrize(
    ("hyperparameters", "text"),
    [
        ({}, "Missing required hyperparameter: num_round"),
        ({"num_round": "3", "colour": "red"}, "Extraneous hyperparameter found: colour"),
        (
            {"num_round": "three"},
            "Hyperparameter num_round: could not parse value 'three' (caused by ValueError)",
        ),
        ({"num_round": "0"}, "Hyperparameter num_round: 0 is not in [1, +inf)"),
        ({"num_round": "1", "eta": "1.5"}, "Hyperparameter eta: 1.5 is not in [0, 1]"),
        ({"num_round": "1", "eta": "nan"}, "Hyperparameter eta: could not parse value"),
        ({"num_round": "1", "subsample": "0"}, "Hyperparameter subsample: 0.0 is not in (0, 1]"),
        ({"num_round": "1", "learning_rate": "7"}, "Hyperparameter eta: 7.0 is not in [0, 1]"),
        (
            {"num_round": "1", "booster": "rocket"},
            "Hyperparameter booster: rocket is not in ['gbtree', 'gblinear', 'dart']",
        ),
        (
            {"num_round": "1", "tree_method": "gpu_hist"},
            "Hyperparameter tree_method: gpu_hist is not supported",
        ),
        ({"num_round": "1", "updater": "distcol"}, "Hyperparameter updater: distcol is not supported"),
        ({"num_round": "1", "dsplit": "col"}, "Hyperparameter dsplit: col is not supported"),
        (
            {"num_round": "1", "process_type": "update"},
            "Hyperparameter process_type: update is not supported",
        ),
        ({"num_round": "1", "lambda_bias": "0.5"}, "Hyperparameter lambda_bias: 0.5 is not supported"),
        (
            {"num_round": "1", "predictor": "gpu_predictor"},
            "Hyperparameter predictor: gpu_predictor is not supported",
        ),
        ({"num_round": "1", "_kfold": "3"}, "Hyperparameter _kfold: 3 is not supported"),
        ({"num_round": "1", "objective": "multi:softmax"}, "Require input for parameter 'num_class'"),
        ({"num_round": "1", "num_class": "3"}, "Do not need to setup parameter 'num_class'"),
        (
            {"num_round": "1", "eval_metric": "beauty"},
            "Hyperparameter eval_metric: value ['beauty'] not in range",
        ),
        ({"num_round": "1", "eval_metric": "rmse@0.5"}, "Metric 'rmse@0.5' is not supported"),
        (
            {"num_round": "1", "eval_metric": "error@half"},
            "Threshold value 't' in 'error@t' expects float input.",
        ),
        (
            {"num_round": "1", "eval_metric": "auc"},
            "Metric 'auc' can only be applied for classification and ranking",
        ),
        ({"num_round": "1", "monotone_constraints": "(1,0)"}, "monotone_constraints can be used only when"),
        (
            {"num_round": "1", "monotone_constraints": "(2,)", "tree_method": "hist"},
            "not in range [-1, 0, 1]",
        ),
        (
            {"num_round": "1", "monotone_constraints": "__import__('os')", "tree_method": "hist"},
            "could not parse value",
        ),
        (
            {"num_round": "1", "interaction_constraints": "[[1,2]]"},
            "interaction_constraints can be used only when",
        ),
        (
            {"num_round": "1", "updater": "grow_colmaker,grow_histmaker"},
            "Only one tree grow plugin can be selected",
        ),
        (
            {"num_round": "1", "updater": "prune", "booster": "gblinear"},
            "Linear updater should be one of these",
        ),
        ({"num_round": "1", "updater": "shotgun"}, "Tree updater should be selected from these options"),
    ],
)
def test_hyperparameters_that_are_refused(hyperparameters: dict[str, str], text: str) -> None:
    with pytest.raises(ClientError) as refusal:
        read_parameters(hyperparameters, 1)
    assert text in str(refusal.value)


@pytest.mark.parametrize(
    ("content_type", "data", "text"),
    [
        (
            "text/csv",
            b"label,a,b\n1,2,3\n",
            "Non-numeric value found in the header line 'label,a,b...' of file 'data'",
        ),
        ("text/csv", b"1,2,3\n0,x,4\n", "could not convert string to float: 'x' (line 2) in file 'data'"),
        ("text/csv", b"1,2,3\n0,4\n", "line 2 has 2 fields, line 1 has 3"),
        ("text/csv", b"1\n0\n", "File 'data' has 1 columns"),
        ("text/csv", b"nan,2,3\n", "Label contains NaN"),
        ("text/csv", b",2,3\n1,2,3\n", "Label contains NaN"),
        ("text/csv", b"3,2,3\n0,1,1\n", "label must be in [0,1] for logistic regression"),
        ("text/csv", b"1,inf,3\n0,1,2\n", "`inf`"),
        ("text/csv", b" \n\n", "its files have no rows"),
        ("text/csv; label_size=2", b"1,2\n", "Optional parameter label_size must be equal to 1"),
        ("application/json", b"[]", "application/json is not an accepted ContentType: csv, libsvm, parquet"),
        ("text/libsvm", b"1,2,3\n", "First line '1,2,3...' of file 'data' is not 'LIBSVM' format."),
        ("text/libsvm", b"1 0:1\n0 2 3:4\n", "Line 2 '0 2 3:4...' of file 'data' is not 'LIBSVM' format."),
        ("text/libsvm", b"1 0:1:2\n", "is not 'LIBSVM' format"),
        ("text/libsvm", b"1 -4:1\n", "is not 'LIBSVM' format"),
        ("text/libsvm", b"1 1.5:1\n", "is not 'LIBSVM' format"),
        ("text/libsvm", b"1 0:\n", "is not 'LIBSVM' format"),
        ("text/libsvm", b"1 qid:1 0:2\n0 1:3\n", "Some rows of file 'data' have a qid and some have none"),
        ("application/x-parquet", b"not parquet at all", "Failed to load parquet data with exception"),
        ("recordio-protobuf", b"\x00" * 16, "Failed to load recordio-protobuf data with exception"),
    ],
)
def test_data_that_is_refused(job: Training, content_type: str, data: bytes, text: str) -> None:
    job.channel("train", content_type, data=data)
    with pytest.raises(JobFailed) as refusal:
        job.train(LOGISTIC)
    assert text in str(refusal.value)
    assert not list((job.root / "model").iterdir())


def test_channels_that_are_refused(job: Training) -> None:
    with pytest.raises(JobFailed, match="Missing required channel: train"):
        job.train(LOGISTIC)
    job.channel("train", "csv", data=as_csv(*table()))
    job.channel("code", "csv", data=b"x")
    with pytest.raises(JobFailed, match="Extraneous channel found: code"):
        job.train(LOGISTIC)
    del job.channels["code"]
    job.channel("validation", "libsvm", data=as_libsvm(*table()))
    with pytest.raises(JobFailed, match="they must be the same"):
        job.train(LOGISTIC)
    job.channel("validation", "csv", data=as_csv(*table(columns=5)))
    with pytest.raises(JobFailed, match="feature_names mismatch: the validation channel has 5 features"):
        job.train(LOGISTIC)
    job.channel("validation", "csv", empty=b"")
    (job.root / "input" / "data" / "validation" / "data").unlink()
    with pytest.raises(JobFailed, match="No data in validation channel path"):
        job.train(LOGISTIC)
    job.channel("train", "csv", __hidden=b"1,2\n")
    with pytest.raises(JobFailed, match="Hidden file found in the data path"):
        job.train(LOGISTIC)


def test_marks_of_other_programs_are_not_data(job: Training) -> None:
    job.channel("train", "csv", data=as_csv(*table()), _SUCCESS=b"done by spark")
    assert job.train(LOGISTIC).num_features() == 4


def test_sparse_validation_may_use_fewer_columns(job: Training, capsys: pytest.CaptureFixture[str]) -> None:
    features, labels = table()
    job.channel("train", None, data=as_libsvm(features, labels))
    job.channel("validation", None, data=as_libsvm(features[:, :2], labels))
    job.train(LOGISTIC)
    assert len(rounds(capsys.readouterr().out, "validation-logloss")) == 3


def test_pieces_of_files_are_put_together(job: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = table(rows=300)
    job.channel("train", "csv", data=as_csv(features, labels))
    whole = job.train(LOGISTIC).save_raw("json")
    monkeypatch.setattr("stagedoor.worker.algorithms.examples.PIECE_BYTES", 100)
    assert job.train(LOGISTIC).save_raw("json") == whole


@pytest.mark.parametrize("weighted", [False, True])
def test_bins_of_small_counts_are_found_without_looking_at_all_rows(
    job: Training, monkeypatch: pytest.MonkeyPatch, weighted: bool
) -> None:
    random = np.random.default_rng(3)
    features = random.poisson(random.uniform(0, 3, 12), (3000, 12))
    features[:, 5] = 7
    labels = (features[:, 0] > features[:, 1]).astype(int)
    rows = np.column_stack([random.integers(1, 4, 3000), features]) if weighted else features
    job.channel("train", "csv", data=as_csv(rows, labels))
    hyperparameters = LOGISTIC | {"num_round": "10", "csv_weights": str(int(weighted))}
    quick = job.train(hyperparameters).save_raw("json")
    monkeypatch.setattr("stagedoor.worker.algorithms.xgboost_matrix._FEW_VALUES", 0)
    assert job.train(hyperparameters).save_raw("json") == quick


def test_pieces_that_are_read_at_once_keep_their_order(
    job: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, labels = table(rows=500)
    job.channel("train", "csv", data=as_csv(features, labels))
    monkeypatch.setattr("stagedoor.worker.algorithms.examples.PIECE_BYTES", 64)
    channel = Channel("train", "csv", (job.root / "input" / "data" / "train" / "data",))
    pieces = read_examples(channel, threads=4)
    assert len(pieces) > 50
    np.testing.assert_array_equal(np.concatenate([piece.features for piece in pieces]), features)
    np.testing.assert_array_equal(np.concatenate([piece.labels for piece in pieces]), labels)


def test_a_stop_ends_training_with_its_round(job: Training, capsys: pytest.CaptureFixture[str]) -> None:
    job.channel("train", "csv", data=as_csv(*table()))

    def is_stopping() -> bool:
        return "[3]" in seen()

    printed: list[str] = []

    def seen() -> str:
        printed.append(capsys.readouterr().out)
        return "".join(printed)

    endless = LOGISTIC | {"num_round": "100000000"}
    with pytest.raises(JobFailed, match="was stopped"):
        job.train(endless, is_stopping)
    assert not list((job.root / "model").iterdir())
    printed.clear()
    assert job.train(endless | {"save_model_on_termination": "true"}, is_stopping).num_boosted_rounds() == 4


def test_recordio_trains_from_dense_and_sparse_records(job: Training) -> None:
    features, labels = table()
    dense = b"".join(record(label, row, None) for label, row in zip(labels, features, strict=True))
    job.channel("train", "application/x-recordio-protobuf", data=dense)
    assert job.train(LOGISTIC).num_features() == 4
    sparse = b"".join(
        record(label, row[row > 0], np.flatnonzero(row)) for label, row in zip(labels, features, strict=True)
    )
    job.channel("train", "application/x-recordio-protobuf", data=sparse)
    assert job.train(LOGISTIC).num_features() == 4


def record(label: int, values: np.ndarray, keys: Any) -> bytes:
    """One framed SageMaker Record, written by hand after its public .proto file."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, *varint(len(content))]) + content

    def varint(number: int) -> list[int]:
        out = []
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        return [*out, number]

    def entry(tensor: bytes) -> bytes:
        return field(1, b"values") + field(2, field(2, tensor))

    tensor = field(1, np.asarray(values, dtype="<f4").tobytes())
    if keys is not None:
        tensor += field(2, bytes(byte for key in keys for byte in varint(int(key))))
    payload = field(1, entry(tensor)) + field(2, entry(field(1, np.float32(label).tobytes())))
    head = (0xCED7230A).to_bytes(4, "little") + len(payload).to_bytes(4, "little")
    return head + payload + b"\x00" * (-len(payload) % 4)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["0", "1", "-2.5", "1e2"]),
            st.sampled_from(["", ":0.5", ":2"]),
            st.dictionaries(
                st.integers(0, 30), st.sampled_from(["1", "0", "-3", ".5", "2.", "1E-3"]), max_size=6
            ),
            st.sampled_from([" ", "  ", "\t"]),
            st.sampled_from(["", " ", "\r", " # a comment 3:4"]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_libsvm_is_read_as_written(rows: list[tuple[str, str, dict[int, str], str, str]]) -> None:
    text = "\n".join(
        label + weight + "".join(f"{blank}{index}:{value}" for index, value in pairs.items()) + end
        for label, weight, pairs, blank, end in rows
    )
    read = read_libsvm_examples(text.encode(), "data")
    assert read is not None
    np.testing.assert_array_equal(read.labels, np.array([float(row[0]) for row in rows], dtype=np.float32))
    weights = [float(row[1][1:] or 1) for row in rows]
    if read.weights is None:
        assert {row[1] for row in rows} == {""}
    else:
        np.testing.assert_array_equal(read.weights, np.array(weights, dtype=np.float32))
    for index, (_, _, pairs, _, _) in enumerate(rows):
        row = read.features[index]
        stored = dict(zip(row.indices.tolist(), row.data.tolist(), strict=True))
        assert stored == {key: float(np.float32(value)) for key, value in pairs.items()}
