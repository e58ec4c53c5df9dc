"""The serving side of the XGBoost algorithm: formats, refusals, and answers equal to the booster's own."""

import json
import pickle
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from stagedoor.worker.algorithms import csv_rows, request_rows, xgboost_serving
from stagedoor.worker.algorithms.booster_scorer import BoosterScorer
from stagedoor.worker.model import Fault, Request, Result

FEATURES = 12
OBJECTIVES: list[tuple[str, dict[str, Any]]] = [
    ("binary:logistic", {}),
    ("binary:logitraw", {}),
    ("binary:hinge", {}),
    ("reg:squarederror", {}),
    ("reg:logistic", {}),
    ("count:poisson", {}),
    ("reg:tweedie", {}),
    ("multi:softprob", {"num_class": 3}),
    ("multi:softmax", {"num_class": 3}),
    ("rank:pairwise", {}),
    ("binary:logistic", {"booster": "dart", "rate_drop": 0.5}),
    ("binary:logistic", {"num_parallel_tree": 3, "subsample": 0.5, "base_score": 0.3}),
    ("reg:squarederror", {"booster": "gblinear"}),
]


def train(objective: str = "binary:logistic", rounds: int = 8, **parameters: Any) -> xgboost.Booster:
    random = np.random.default_rng(7)
    rows = random.poisson(0.6, (400, FEATURES)).astype(np.float32)
    rows[random.random(rows.shape) < 0.05] = np.nan
    wanted = np.nansum(rows[:, :3], axis=1) + random.random(400)
    labels = (wanted > 2).astype(int) if "num_class" not in parameters else np.minimum(wanted, 2).astype(int)
    settings_ = {"objective": objective, "nthread": 1, **parameters}
    if parameters.get("booster") != "gblinear":
        settings_["max_depth"] = 4
    return xgboost.train(settings_, xgboost.DMatrix(rows, labels), rounds)


def save(booster: xgboost.Booster, folder: Path, name: str = "xgboost-model", form: str = "ubj") -> None:
    (folder / name).write_bytes(booster.save_raw(form))


@pytest.fixture(scope="module")
def booster() -> xgboost.Booster:
    return train()


@pytest.fixture
def model(booster: xgboost.Booster, tmp_path: Path) -> xgboost_serving.XgboostModel:
    save(booster, tmp_path)
    return xgboost_serving.load({"algorithm": "xgboost_serving"}, tmp_path)


def ask(model: xgboost_serving.XgboostModel, body: bytes, **meta: Any) -> Result | Fault:
    return model.predict([Request({"content_type": "text/csv", **meta}, body)])[0]


def numbers(result: Result | Fault) -> list[float]:
    assert isinstance(result, Result), result
    return [float(text) for text in result.body.decode().split(",")]


def direct(booster: xgboost.Booster, rows: Any) -> Any:
    return booster.predict(xgboost.DMatrix(np.asarray(rows, dtype=np.float32)))


@pytest.mark.parametrize(("objective", "parameters"), OBJECTIVES)
def test_scores_equal_the_boosters_for_few_and_many_rows(objective: str, parameters: dict[str, Any]) -> None:
    booster = train(objective, **parameters)
    scorer = BoosterScorer(booster)
    random = np.random.default_rng(1)
    for count in (1, 2, 17, 2000):
        rows = random.poisson(1, (count, FEATURES)).astype(np.float32)
        rows[random.random(rows.shape) < 0.1] = np.nan
        assert np.allclose(scorer.score(rows), direct(booster, rows), rtol=1e-6, atol=1e-6)
        assert scorer.score(rows).shape == direct(booster, rows).shape


@pytest.mark.parametrize("depth", [1, 2, 4, 5, 9])
def test_a_single_row_gets_what_it_gets_among_others(depth: int) -> None:
    random = np.random.default_rng(depth)
    rows = random.poisson(0.7, (400, 30)).astype(np.float32)
    rows[random.random(rows.shape) < 0.2] = np.nan
    labels = (np.nansum(rows[:, :6], axis=1) + random.normal(0, 2, 400)).astype(np.float32)
    parameters = {"max_depth": depth, "base_score": 0.3, "gamma": 0.5}
    booster = xgboost.train(parameters, xgboost.DMatrix(rows, labels), 25)
    scorer = BoosterScorer(booster)
    assert "as arrays" in scorer.description
    expected = booster.inplace_predict(rows[:40])
    assert np.allclose(scorer.score(rows[:40]), expected, rtol=1e-6, atol=1e-6)
    singly = np.concatenate([scorer.score(row[None, :]) for row in rows[:40]])
    assert np.allclose(singly, expected, rtol=1e-6, atol=1e-6)


def test_common_objectives_do_not_need_the_booster_for_few_rows() -> None:
    for objective, parameters in OBJECTIVES[:10]:
        assert "as arrays" in BoosterScorer(train(objective, **parameters)).description, objective


@pytest.mark.parametrize(
    ("objective", "label"), [("binary:logistic", 0), ("binary:logistic", 1), ("count:poisson", 0)]
)
def test_a_model_that_saw_one_label_alone_is_left_to_the_booster(objective: str, label: int) -> None:
    rows = np.random.default_rng(3).poisson(1, (50, FEATURES)).astype(np.float32)
    booster = xgboost.train({"objective": objective, "nthread": 1}, xgboost.DMatrix(rows, [label] * 50), 2)
    scorer = BoosterScorer(booster)
    assert "base_score" in scorer.description
    assert np.array_equal(scorer.score(rows), direct(booster, rows))


libsvm_items = st.one_of(
    st.builds(lambda index, value: f"{index}:{value}", st.integers(0, 20), st.integers(0, 99_999_999)),
    st.sampled_from(["1", "0:1.5", "3:-2", ":", "1:", ":1", "1:2:3", "qid:4", "#", "x", "", "\t", "\r"]),
)
libsvm_bags = st.lists(
    st.builds(
        lambda pairs: " ".join(["0", *(f"{index}:{count}" for index, count in pairs)]),
        st.lists(st.tuples(st.integers(0, 20), st.integers(0, 99)), max_size=5),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(lines=st.one_of(libsvm_bags, st.lists(st.lists(libsvm_items, max_size=4).map(" ".join), max_size=4)))
def test_libsvm_of_counts_is_read_as_any_libsvm(lines: list[str]) -> None:
    def read(body: bytes) -> Any:
        try:
            rows = request_rows.rows_of_any_width("text/libsvm", body)
        except csv_rows.RowsError as error:
            return str(error)
        assert isinstance(rows, request_rows.SparseRows)
        return [rows.starts.tolist(), rows.columns.tolist(), rows.values.tolist()]

    body = "\n".join(lines).encode().strip() or b"0"
    # A comment is for the reader that takes everything.
    assert read(body) == read(body + b" # as any other")


def test_a_model_answers_alike_before_and_after_it_has_settled() -> None:
    booster = train()
    model = xgboost_serving.XgboostModel([BoosterScorer(booster, settled=False)])
    body = b"1,0,2,0,3,4"[: 2 * FEATURES - 1] + b",0" * max(0, FEATURES - 6)
    before = numbers(ask(model, body))
    model.settle()
    assert np.allclose(numbers(ask(model, body)), before, rtol=1e-6, atol=1e-6)


def test_early_stopping_counts_trees_up_to_the_best_round() -> None:
    booster = train(rounds=20)
    booster.set_attr(best_iteration="4")
    rows = np.ones((3, FEATURES), dtype=np.float32)
    expected = booster.predict(xgboost.DMatrix(rows), iteration_range=(0, 5))
    assert np.allclose(BoosterScorer(booster).score(rows), expected, atol=1e-6)
    assert not np.allclose(expected, booster.predict(xgboost.DMatrix(rows)))


finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
cells = st.one_of(st.integers(-5, 300), finite, st.none())


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.lists(cells, min_size=FEATURES, max_size=FEATURES), min_size=1, max_size=5))
def test_any_csv_of_numbers_gets_the_boosters_answers(rows: list[list[Any]]) -> None:
    booster = _CACHED.setdefault("booster", train())
    model = _CACHED.setdefault("model", xgboost_serving.XgboostModel([BoosterScorer(booster)]))
    body = "\n".join(",".join("" if cell is None else repr(cell) for cell in row) for row in rows).encode()
    expected = direct(booster, [[float("nan") if cell is None else cell for cell in row] for row in rows])
    assert np.allclose(numbers(ask(model, body)), expected, rtol=1e-6, atol=1e-6)


_CACHED: dict[str, Any] = {}


@given(
    rows=st.integers(1, 6).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, 9_999_999), min_size=width, max_size=width), min_size=1
        )
    )
)
def test_the_integer_reader_reads_what_numpy_reads(rows: list[list[int]]) -> None:
    body = "\n".join(",".join(map(str, row)) for row in rows).encode()
    found = csv_rows.read_small_integers(body)
    assert found is not None
    assert found.dtype == np.float32
    assert np.array_equal(found, np.array(rows, dtype=np.float64).astype(np.float32))


counts = st.one_of(st.integers(0, 9), st.sampled_from([10, 123, 9_999_999]))


@given(
    rows=st.lists(st.lists(counts, min_size=7, max_size=7), min_size=1, max_size=4),
    zeros=st.integers(300, 305),
    between=st.integers(0, 7),
)
def test_long_rows_of_counts_are_read_alike(rows: list[list[int]], zeros: int, between: int) -> None:
    """Rows long enough for the reader of digits that alternate with commas, whatever stands among the zeros."""
    table = [[*row[:between], *[0] * zeros, *row[between:]] for row in rows]
    body = "\n".join(",".join(map(str, row)) for row in table).encode()
    found = csv_rows.read_small_integers(body)
    assert found is not None
    assert found.dtype == np.float32
    assert np.array_equal(found, np.array(table, dtype=np.float64).astype(np.float32))


@pytest.mark.parametrize("wrong", [b"", b"-1", b"1.5", b" 1", b"12345678", b"1;", b"a", b"1\r"])
@pytest.mark.parametrize("place", [0, 150, 299])
def test_long_rows_of_anything_else_are_left_alone(wrong: bytes, place: int) -> None:
    fields = [b"0"] * 300
    fields[place] = wrong
    assert csv_rows.read_small_integers(b",".join(fields)) is None


def test_long_rows_of_two_lengths_are_left_alone() -> None:
    assert csv_rows.read_small_integers(b",".join([b"0"] * 300) + b"\n" + b",".join([b"0"] * 301)) is None


@pytest.mark.parametrize(
    "body", [b"1,2\n3", b"1,,2", b"-1,2", b"1.5,2", b"1 ,2", b"12345678,1", b"1\r\n2", b"a,b"]
)
def test_the_integer_reader_leaves_everything_else_alone(body: bytes) -> None:
    assert csv_rows.read_small_integers(body) is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"1,2.5\r\n-3,4e2\r\n", [[1, 2.5], [-3, 400]]),
        (b"1;2\n3;4", [[1, 2], [3, 4]]),
        (b"1\t2\n3\t4", [[1, 2], [3, 4]]),
        (b" 1, 2\n", [[1, 2]]),
        (b"nan,inf,-inf", [[float("nan"), float("inf"), float("-inf")]]),
        (b",1,\n2,,", [[float("nan"), 1, float("nan")], [2, float("nan"), float("nan")]]),
        (b"7", [[7]]),
        (b"007,+1", [[7, 1]]),
    ],
)
def test_csv_is_read_as_people_write_it(body: bytes, expected: list[list[float]]) -> None:
    assert np.array_equal(csv_rows.read_csv(body), np.array(expected, dtype=np.float32), equal_nan=True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"a,b",
        b"1,2\n3",
        b"true,1",
        b"null,1",
        b"[1,2]",
        b'"1",2',
        b"1_0,2",
        b"1],[2",
        b"{},1",
        b"\xff,1",
    ],
)
def test_what_is_no_table_of_numbers_is_refused(body: bytes) -> None:
    with pytest.raises(csv_rows.RowsError):
        csv_rows.read_csv(body)


def test_a_large_csv_is_read_in_pieces_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(3).integers(0, 100, (200, 5))
    body = "\r\n".join(",".join(map(str, row)) for row in rows.tolist()).encode()
    monkeypatch.setattr(csv_rows, "_PIECE_BYTES", 64)
    assert np.array_equal(csv_rows.read_csv(body), rows.astype(np.float32))
    with pytest.raises(csv_rows.RowsError):
        csv_rows.read_csv(body + b"\r\n1,2")


def test_real_time_csv_is_one_line_and_batch_is_a_line_each(model: Any, booster: xgboost.Booster) -> None:
    body = b"1,0,0,0,0,0,0,0,0,0,0,0\n0,2,1,0,0,0,0,0,0,0,0,5"
    expected = [str(value) for value in direct(booster, [[1] + [0] * 11, [0, 2, 1] + [0] * 8 + [5]]).tolist()]
    line = ask(model, body)
    assert line == Result(",".join(expected).encode(), "text/csv; charset=utf-8")
    lines = ask(model, body, batch=True)
    assert isinstance(lines, Result)
    assert lines.body == ("\n".join(expected) + "\n").encode()


def test_the_batch_variable_of_aws_means_a_line_each(booster: Any, tmp_path: Path, monkeypatch: Any) -> None:
    save(booster, tmp_path)
    monkeypatch.setenv("SAGEMAKER_BATCH", "true")
    model = xgboost_serving.load({"algorithm": "xgboost_serving"}, tmp_path)
    result = ask(model, b"1,0,0,0,0,0,0,0,0,0,0,0")
    assert isinstance(result, Result)
    assert result.body.endswith(b"\n")


def test_json_answers_hold_one_score_per_row(model: Any, booster: xgboost.Booster) -> None:
    result = ask(model, b"1,0,0,0,0,0,0,0,0,0,0,0\n0,2,1,0,0,0,0,0,0,0,0,5", accept="application/json")
    assert isinstance(result, Result)
    assert result.content_type == "application/json"
    scores = [entry["score"] for entry in json.loads(result.body)["predictions"]]
    assert np.allclose(scores, direct(booster, [[1] + [0] * 11, [0, 2, 1] + [0] * 8 + [5]]))


def test_probabilities_of_classes_are_lists(tmp_path: Path) -> None:
    booster = train("multi:softprob", num_class=3)
    save(booster, tmp_path)
    model = xgboost_serving.load({"algorithm": "xgboost_serving"}, tmp_path)
    expected = direct(booster, [[1] * FEATURES])
    body = ",".join(["1"] * FEATURES).encode()
    as_json = ask(model, body, accept="application/json")
    as_csv = ask(model, body)
    assert isinstance(as_json, Result)
    assert isinstance(as_csv, Result)
    assert np.allclose(json.loads(as_json.body)["predictions"][0]["score"], expected[0], atol=1e-6)
    assert np.allclose(json.loads(as_csv.body), expected[0], atol=1e-6)


ROW = [0.0, 1.5, 0.0, 0.0, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0]
SPARSE = {1: 1.5, 4: -2.0, 11: 3.0}


def sparse_row() -> list[float]:
    return [SPARSE.get(column, float("nan")) for column in range(FEATURES)]


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def record(kind: int, values: bytes, keys: list[int] | None = None) -> bytes:
    tensor = field(1, values)
    if keys is not None:
        tensor += field(2, b"".join(map(varint, keys))) + field(3, varint(FEATURES))
    features = field(1, b"values") + field(2, field(kind, tensor))
    label = field(1, b"values") + field(2, field(2, field(1, pack("<f", 1.0))))
    payload = field(1, features) + field(2, label)
    return pack("<II", 0xCED7230A, len(payload)) + payload + b"\0" * (-len(payload) % 4)


@pytest.mark.parametrize(
    ("content_type", "body", "row"),
    [
        ("text/csv; charset=utf-8", ",".join(map(str, ROW)).encode(), ROW),
        ("text/libsvm", b"1 1:1.5 4:-2 11:3\n", sparse_row()),
        ("text/x-libsvm", b"1:1.5 4:-2 11:3", sparse_row()),
        ("application/json", json.dumps([ROW]).encode(), ROW),
        ("application/json", json.dumps(ROW).encode(), ROW),
        ("application/json", json.dumps({"instances": [ROW]}).encode(), ROW),
        ("application/json", json.dumps({"instances": [{"features": ROW}]}).encode(), ROW),
        (
            "application/json",
            json.dumps({"instances": [{"data": {"features": {"values": ROW}}}]}).encode(),
            ROW,
        ),
        (
            "application/json",
            json.dumps(
                {"instances": [{"data": {"features": {"keys": [1, 4, 11], "values": [1.5, -2, 3]}}}]}
            ).encode(),
            sparse_row(),
        ),
        ("application/json", json.dumps([[None if v == 0 else v for v in ROW]]).encode(), sparse_row()),
        ("application/x-recordio-protobuf", record(2, pack("<12f", *ROW)), ROW),
        ("application/x-recordio-protobuf", record(3, pack("<12d", *ROW)), ROW),
        ("application/x-recordio-protobuf", record(2, pack("<3f", 1.5, -2, 3), [1, 4, 11]), sparse_row()),
    ],
)
def test_every_content_type_gives_the_same_answer(
    model: Any, booster: xgboost.Booster, content_type: str, body: bytes, row: list[float]
) -> None:
    assert np.allclose(
        numbers(ask(model, body, content_type=content_type)), direct(booster, [row]), atol=1e-6
    )


def test_several_records_are_several_rows(model: Any, booster: xgboost.Booster) -> None:
    body = record(2, pack("<12f", *ROW)) + record(2, pack("<12f", *range(12)))
    found = numbers(ask(model, body, content_type="application/x-recordio-protobuf"))
    assert np.allclose(found, direct(booster, [ROW, list(range(12))]), atol=1e-6)


@pytest.mark.parametrize(
    ("meta", "body", "status", "text"),
    [
        ({"content_type": "image/png"}, b"x", 415, "image/png"),
        ({"content_type": "text/csv; label_size=2"}, b"1", 415, "label_size"),
        ({}, b"a,b", 415, "csv"),
        ({}, b"1,2,3", 400, "Feature size of text/csv inference data 3"),
        ({"content_type": "text/libsvm"}, b"1 12:1", 400, "larger than"),
        ({"content_type": "text/libsvm"}, b"1 x:1", 415, "'x:1'"),
        ({"content_type": "text/libsvm"}, b"1 -1:1", 415, "negative"),
        ({"content_type": "application/json"}, b"{", 415, "json"),
        ({"content_type": "application/json"}, b'{"rows": []}', 415, "instances"),
        ({"content_type": "application/json"}, b"[[1, true]]", 415, "row 1"),
        ({"content_type": "application/json"}, b"[]", 415, "no rows"),
        ({"content_type": "application/x-recordio-protobuf"}, b"12345678", 415, "magic"),
        (
            {"content_type": "application/x-recordio-protobuf"},
            record(2, pack("<12f", *ROW))[:-9],
            415,
            "not there",
        ),
        ({"accept": "image/png"}, b"1,0,0,0,0,0,0,0,0,0,0,0", 406, "image/png"),
    ],
)
def test_bad_requests_say_what_is_wrong(
    model: Any, meta: dict[str, str], body: bytes, status: int, text: str
) -> None:
    fault = ask(model, body, **meta)
    assert isinstance(fault, Fault)
    assert fault.status == status
    assert text in fault.reason


def test_one_bad_request_does_not_spoil_its_batch(model: Any, booster: xgboost.Booster) -> None:
    good = b"1,0,0,0,0,0,0,0,0,0,0,0"
    answers = model.predict(
        [Request({}, good), Request({}, b"1,2"), Request({}, good + b"\n" + good), Request({}, b"")]
    )
    assert [type(answer) for answer in answers] == [Result, Fault, Result, Result]
    assert np.allclose(numbers(answers[2]), direct(booster, [[1] + [0] * 11] * 2), atol=1e-6)
    assert answers[3].body == b""


def test_requests_of_any_form_are_scored_together(
    model: Any, booster: xgboost.Booster, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(11)
    rows = [[round(float(value), 3) for value in random.poisson(1, FEATURES)] for _ in range(6)]
    line = [",".join(f"{value + 0.5:g}" for value in row) for row in rows]
    wide = "\n".join([line[5]] * (xgboost_serving._SMALL_CELLS // FEATURES + 1))
    instances = json.dumps({"instances": [{"features": row} for row in rows[:2]]})
    bodies = [
        (line[0], {}),
        (instances, {"content_type": "application/json", "accept": "application/json"}),
        (line[1] + "\n" + line[2], {"accept": "text/csv"}),
        ("1,2", {}),
        ("", {}),
        ("0 1:2 3:4", {"content_type": "text/libsvm"}),
        (wide, {}),
        (line[3], {"content_type": "image/png"}),
        (line[4], {"accept": "application/json"}),
    ]
    requests = [Request({"content_type": "text/csv", **meta}, body.encode()) for body, meta in bodies]
    alone = [model.predict([request])[0] for request in requests]
    scored: list[int] = []
    score = model._score

    def counted(matrix: Any) -> Any:
        scored.append(len(matrix))
        return score(matrix)

    monkeypatch.setattr(model, "_score", counted)
    assert model.predict(requests) == alone
    assert sorted(scored) == [1, 6, wide.count("\n") + 1]
    assert [each.status for each in alone if isinstance(each, Fault)] == [400, 415]


def test_a_batch_answers_each_request_with_its_own_rows(model: Any, booster: xgboost.Booster) -> None:
    bodies = [f"{n},0,0,0,0,0,0,0,0,0,0,{n}\n".encode() * (n + 1) for n in range(5)]
    answers = model.predict([Request({"content_type": "text/csv"}, body) for body in bodies])
    for n, answer in enumerate(answers):
        expected = direct(booster, [[n] + [0] * 10 + [n]] * (n + 1))
        assert np.allclose(numbers(answer), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "form"), [("xgboost-model", "ubj"), ("model.json", "json"), ("m.bin", "ubj")]
)
def test_models_are_found_by_their_usual_names(booster: Any, tmp_path: Path, name: str, form: str) -> None:
    save(booster, tmp_path, name, form)
    (tmp_path / "README.md").write_text("not a model")
    assert xgboost_serving.load({"algorithm": "xgboost_serving"}, tmp_path).details["features"] == FEATURES


def test_a_pickled_booster_is_loaded(booster: Any, tmp_path: Path) -> None:
    (tmp_path / "xgboost-model").write_bytes(pickle.dumps(booster))
    assert xgboost_serving.load({"algorithm": "xgboost_serving"}, tmp_path).details["features"] == FEATURES


def test_several_models_are_averaged_unless_told_otherwise(tmp_path: Path, monkeypatch: Any) -> None:
    boosters = [train(), train(rounds=3)]
    for number, booster in enumerate(boosters):
        save(booster, tmp_path, f"xgboost-model-{number}")
    rows = [[1] * FEATURES]
    body = ",".join(["1"] * FEATURES).encode()
    mean = np.mean([direct(booster, rows) for booster in boosters], axis=0)
    load = xgboost_serving.load
    assert np.allclose(numbers(ask(load({"algorithm": "xgboost_serving"}, tmp_path), body)), mean, atol=1e-6)
    monkeypatch.setenv("SAGEMAKER_INFERENCE_ENSEMBLE", "false")
    first = numbers(ask(load({"algorithm": "xgboost_serving"}, tmp_path), body))
    assert np.allclose(first, direct(boosters[0], rows), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("xgboost-model", b"not a model", "cannot be loaded"),
        ("xgboost-model", pickle.dumps({"a": 1}), "pickled dict"),
        ("xgboost-model", b"\x80\x04garbage", "pickle"),
        (None, b"", "holds no file"),
    ],
)
def test_what_cannot_be_loaded_says_why(tmp_path: Path, name: str | None, content: bytes, text: str) -> None:
    if name:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(xgboost_serving.ModelFileError, match=text):
        xgboost_serving.load({"algorithm": "xgboost_serving"}, tmp_path)


def test_selected_members_replace_the_score(booster: Any, tmp_path: Path, monkeypatch: Any) -> None:
    save(booster, tmp_path)
    monkeypatch.setenv("SAGEMAKER_INFERENCE_OUTPUT", "predicted_label, probabilities")
    model = xgboost_serving.load({"algorithm": "xgboost_serving"}, tmp_path)
    result = ask(model, b"1,0,0,0,0,0,0,0,0,0,0,0", accept="application/json")
    assert isinstance(result, Result)
    (entry,) = json.loads(result.body)["predictions"]
    score = float(direct(booster, [[1] + [0] * 11])[0])
    assert entry["predicted_label"] == int(score > 0.5)
    assert np.allclose(entry["probabilities"], [1 - score, score], atol=1e-6)
