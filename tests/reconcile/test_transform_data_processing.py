"""Filters and joins of batch transform, after the examples of AWS's documentation."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagedoor.domain.json_path import JsonPath, JsonPathError
from stagedoor.reconcile.transform.data_processing import DataProcessing, RecordError


def processing(content_type: str, assemble: str = "None", **members: str) -> DataProcessing:
    return DataProcessing.of(
        {
            "DataProcessing": members,
            "TransformInput": {"ContentType": content_type},
            "TransformOutput": {"AssembleWith": assemble},
        }
    )


VALUE = {"id": 7, "a": {"b": [1, 2, 3], "c d": "x"}, "list": [{"n": 1}, {"n": 2}]}


@pytest.mark.parametrize(
    ("path", "selected"),
    [
        ("$", VALUE),
        ("$.id", 7),
        ("$.a.b", [1, 2, 3]),
        ("$.a.b[0]", 1),
        ("$.a.b[-1]", 3),
        ("$.a.b[0,2]", [1, 3]),
        ("$.a.b[1:]", [2, 3]),
        ("$.a.b[:-1]", [1, 2]),
        ("$.a.b[0:2]", [1, 2]),
        ("$['a']['c d']", "x"),
        ("$.a.['b','c d']", {"b": [1, 2, 3], "c d": "x"}),
        ('$["id","list"]', {"id": 7, "list": [{"n": 1}, {"n": 2}]}),
        ("$.list[*].n", [1, 2]),
        ("$.a.*", [[1, 2, 3], "x"]),
        ("$.list[0:1].n", [1]),
    ],
)
def test_paths_select_as_documented(path: str, selected: Any) -> None:
    assert JsonPath.parse(path).select(VALUE) == selected


@pytest.mark.parametrize(
    "path", ["", "a", "$.", "$[", "$[1", "$..a", "$[?(@.a)]", "$.a b", "$[1:2:3]", "$['a]", "$[,]", "$x"]
)
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(JsonPathError):
        JsonPath.parse(path)


@pytest.mark.parametrize("path", ["$.nothing", "$.id.x", "$.a.b[5]", "$.id[0]", "$.id[0:1]", "$.id.*"])
def test_paths_that_do_not_fit_a_record_are_refused(path: str) -> None:
    with pytest.raises(JsonPathError):
        JsonPath.parse(path).select(VALUE)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("$[1:]", b"5.10,cat\n"),
        ("$[0]", b"id-1\n"),
        ("$[0,-1]", b"id-1,cat\n"),
        ("$[:-1]", b"id-1,5.10\n"),
        ("$", b"id-1,5.10,cat\n"),
    ],
)
def test_csv_input_is_filtered_by_columns(path: str, line: bytes) -> None:
    assert processing("text/csv", InputFilter=path).prepare(b"id-1,5.10,cat\n") == line


def test_csv_is_joined_by_appending() -> None:
    join = processing("text/csv", "Line", JoinSource="Input")
    assert (
        join.finish([b"1,2\n", b'"a,b",4\n'], b"0.1\n0.9\n", "text/csv; charset=utf-8")
        == b'1,2,0.1\n"a,b",4,0.9\n'
    )


def test_csv_output_filter_sees_the_joined_row() -> None:
    join = processing("text/csv", JoinSource="Input", InputFilter="$[1:]", OutputFilter="$[0,-1]")
    assert join.prepare(b"id-7,1,2\n") == b"1,2\n"
    assert join.finish([b"id-7,1,2\n"], b"0.25", "text/csv") == b"id-7,0.25\n"


def test_json_lines_are_joined_under_sagemaker_output() -> None:
    join = processing(
        "application/jsonlines", "Line", JoinSource="Input", OutputFilter="$['id','SageMakerOutput']"
    )
    records = [b'{"id":1,"x":[1]}\n', b'{"id":2,"x":[2]}\n']
    answer = b'{"score":0.5}\n{"score":0.7}\n'
    written = join.finish(records, answer, "application/jsonlines")
    assert [json.loads(line) for line in written.splitlines()] == [
        {"id": 1, "SageMakerOutput": {"score": 0.5}},
        {"id": 2, "SageMakerOutput": {"score": 0.7}},
    ]


def test_json_that_is_no_object_goes_under_sagemaker_input() -> None:
    join = processing("application/json", JoinSource="Input")
    assert json.loads(join.finish([b"[1,2]"], b'{"score":1}', "application/json")) == {
        "SageMakerInput": [1, 2],
        "SageMakerOutput": {"score": 1},
    }


def test_json_input_filter_sends_what_it_selects() -> None:
    assert (
        processing("application/json", InputFilter="$.features").prepare(b'{"id":3,"features":[1,2]}')
        == b"[1,2]"
    )


@pytest.mark.parametrize(
    ("assemble", "output", "written"),
    [("Line", b"0.5", b"0.5\n"), ("Line", b"0.5\n", b"0.5\n"), ("None", b"0.5", b"0.5"), ("Line", b"", b"")],
)
def test_assembling_ends_each_answer_with_one_newline(assemble: str, output: bytes, written: bytes) -> None:
    assert processing("text/csv", assemble).finish([b"1\n"], output, "text/csv") == written


@pytest.mark.parametrize(
    ("content_type", "members", "records", "output", "output_type", "text"),
    [
        (
            "text/csv",
            {"JoinSource": "Input"},
            [b"1\n", b"2\n"],
            b"0.5\n",
            "text/csv",
            "1 outputs for 2 records",
        ),
        (
            "text/csv",
            {"JoinSource": "Input"},
            [b"1\n"],
            b'{\n    "predictions": [[1.5]]\n}',
            "application/json",
            'Failed to parse output from the algorithm as CSV: bare " in non quoted field found near:     "predictions"',
        ),
        (
            "text/csv",
            {"InputFilter": "$[0]", "JoinSource": "Input"},
            [b'a ""b"",1\n'],
            b"1\n",
            "text/csv",
            'Failed to parse input as CSV: bare " in non quoted field found near: a ""b""',
        ),
        (
            "application/json",
            {"JoinSource": "Input"},
            [b"{}"],
            b"1,2\n",
            "text/csv",
            "Failed to parse output from the algorithm as JSON",
        ),
        ("text/csv", {"OutputFilter": "$.a"}, [b"1\n"], b"1\n", "text/csv", "does not select columns"),
        ("text/csv", {"OutputFilter": "$[4]"}, [b"1\n"], b"1\n", "text/csv", "does not have"),
        (
            "text/csv",
            {"OutputFilter": "$[0]"},
            [b"1\n"],
            b"1\n",
            "image/png",
            "only CSV, JSON and JSON lines",
        ),
        (
            "application/json",
            {"OutputFilter": "$.a"},
            [b"1"],
            b"{",
            "application/json",
            "Failed to parse output",
        ),
    ],
)
def test_what_cannot_be_joined_fails_the_object(
    content_type: str,
    members: dict[str, str],
    records: list[bytes],
    output: bytes,
    output_type: str,
    text: str,
) -> None:
    with pytest.raises(RecordError, match=text):
        processing(content_type, **members).finish(records, output, output_type)


field = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), max_size=8)


@given(st.lists(st.lists(field, min_size=2, max_size=5).filter(any), min_size=1, max_size=6), st.data())
def test_joined_csv_is_input_and_output_side_by_side(rows: list[list[str]], data: st.DataObject) -> None:
    outputs = [f"{data.draw(st.floats(0, 1)):.6f}" for _ in rows]
    join = processing("text/csv", "Line", JoinSource="Input")
    written = join.finish([as_line(row) for row in rows], "\n".join(outputs).encode() + b"\n", "text/csv")
    read = list(csv.reader(io.StringIO(written.decode(), newline="")))
    assert read == [[*row, output] for row, output in zip(rows, outputs, strict=True)]


@given(st.lists(field, min_size=3, max_size=8).filter(any), st.integers(-3, 2), st.integers(-3, 3))
def test_csv_filters_select_as_python_slices(row: list[str], index: int, end: int) -> None:
    one = processing("text/csv", InputFilter=f"$[{index}]").prepare(as_line(row))
    assert next(csv.reader(io.StringIO(one.decode(), newline="")), [""]) == [row[index]]
    some = processing("text/csv", InputFilter=f"$[:{end}]").prepare(as_line(row))
    assert (next(csv.reader(io.StringIO(some.decode(), newline="")), [])) == row[:end]


anything = st.text(st.sampled_from('a1 ,"\n\t'), max_size=12)


@given(st.lists(st.lists(anything, max_size=4), max_size=4))
def test_rows_are_written_and_read_as_the_csv_module_does(rows: list[list[str]]) -> None:
    text = b"".join(as_line(row) for row in rows)
    written = processing("text/csv", InputFilter="$[:]").prepare(text)
    assert written == b"".join(as_line(row) for row in rows if row)


def as_line(row: list[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(row)
    return line.getvalue().encode()
