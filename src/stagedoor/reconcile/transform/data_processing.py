"""What DataProcessing asks for: select a part of each record, join the model's output to its input, select from the result;
and the ids that DataCaptureConfig puts behind each record.

Place in the flow: ``act`` builds a ``DataProcessing`` once per job. ``prepare`` runs on each record before it is sent,
``finish`` on each answer before it is written. CSV rows are arrays of fields, kept as they were written; JSON and JSON
lines records are values.
"""

import csv
import io
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

from stagedoor.domain.json_path import JsonPath, JsonPathError

Shape = Literal["csv", "json", "jsonlines"]

_SHAPES: dict[str, Shape] = {
    "text/csv": "csv",
    "csv": "csv",
    "application/json": "json",
    "application/jsonlines": "jsonlines",
    "application/x-jsonlines": "jsonlines",
}


_INPUT, _OUTPUT = "input", "output from the algorithm"
_CSV_FIELD = r'(?:"(?:[^"]|"")*"|[^",\r\n]*)'
_CSV_ROW = re.compile(rf"{_CSV_FIELD}(?:,{_CSV_FIELD})*(?:\r?\n|\Z)")
_CSV_QUOTED = re.compile(r'["\r\n]')
_NEAR_CHARACTERS = 60


class RecordError(Exception):
    """A record or an answer cannot be filtered or joined; fails its input object."""


def shape_of(content_type: str | None) -> Shape | None:
    """How records of a content type are filtered and joined; None for types that cannot be."""
    return _SHAPES.get((content_type or "").partition(";")[0].strip().lower())


@dataclass(frozen=True, slots=True)
class DataProcessing:
    """Both filters and whether outputs are joined to inputs. ``line_end``: AssembleWith is Line.

    ``inference_time`` (the job's start) is put behind each record, with an id; empty for not.
    """

    input_filter: JsonPath
    output_filter: JsonPath
    joins: bool
    input_shape: Shape | None
    line_end: bool
    inference_time: str = ""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "DataProcessing":
        """From a transform job's document; its filters were checked when the job was created."""
        processing = document.get("DataProcessing", {})
        return cls(
            JsonPath.parse(processing.get("InputFilter", "$")),
            JsonPath.parse(processing.get("OutputFilter", "$")),
            processing.get("JoinSource", "None") == "Input",
            shape_of(document["TransformInput"].get("ContentType")),
            document["TransformOutput"].get("AssembleWith", "None") == "Line",
            _inference_time(document),
        )

    def prepare(self, record: bytes) -> bytes:
        """What the model is sent for one record (for JSON without splitting: the whole object)."""
        if self.input_filter.is_all:
            return record
        try:
            if self.input_shape == "csv":
                return b"".join(_csv_line(self.input_filter, fields) for fields in _csv_rows(record, _INPUT))
            selected = self.input_filter.select(_json(record, _INPUT))
        except JsonPathError as error:
            raise RecordError(str(error)) from error
        end = b"\n" if record.endswith(b"\n") else b""
        return _dumped(selected) + end

    def finish(self, records: Sequence[bytes], output: bytes, content_type: str) -> bytes:
        """What is written for one answer: joined, filtered, and with the line end that AssembleWith asks for."""
        # What is joined to a record has the record's format, whatever the model says of its answer.
        shape = self.input_shape if self.joins else shape_of(content_type)
        if self.joins or not self.output_filter.is_all:
            output = self._processed(records, output, shape, content_type)
        if self.inference_time:
            output = self._identified(output, shape)
        if self.line_end and output and not output.endswith(b"\n"):
            output += b"\n"
        return output

    def _identified(self, output: bytes, shape: Shape | None) -> bytes:
        """Each record of the output with an id of its own and the job's start."""
        if shape is None:
            raise RecordError("only CSV, JSON and JSON lines output can be given inference ids")
        if shape == "csv":
            rows = _csv_rows(output, _OUTPUT)
            return b"".join(_csv_text([*fields, str(uuid.uuid4()), self.inference_time]) for fields in rows)
        return _written([self._with_id(value) for value in _values(output)], as_lines=shape == "jsonlines")

    def _with_id(self, value: Any) -> dict[str, Any]:
        record: dict[str, Any] = (
            cast("dict[str, Any]", value) if isinstance(value, dict) else {"SageMakerOutput": value}
        )
        ids = {"SageMakerInferenceId": str(uuid.uuid4()), "SageMakerInferenceTime": self.inference_time}
        return {**record, **ids}

    def _processed(
        self, records: Sequence[bytes], output: bytes, shape: Shape | None, content_type: str
    ) -> bytes:
        if shape is None:
            raise RecordError("only CSV, JSON and JSON lines output can be joined and filtered")
        try:
            if shape == "csv":
                return self._csv(records, output)
            return self._json(records, output, as_lines="jsonlines" in (shape, shape_of(content_type)))
        except JsonPathError as error:
            raise RecordError(str(error)) from error

    def _csv(self, records: Sequence[bytes], output: bytes) -> bytes:
        rows = _csv_rows(output, _OUTPUT)
        if self.joins:
            inputs = [fields for record in records for fields in _csv_rows(record, _INPUT)]
            _check_count(len(inputs), len(rows))
            rows = [[*fields, *row] for fields, row in zip(inputs, rows, strict=True)]
        return b"".join(_csv_line(self.output_filter, fields) for fields in rows)

    def _json(self, records: Sequence[bytes], output: bytes, *, as_lines: bool) -> bytes:
        values = _values(output)
        if self.joins:
            _check_count(len(records), len(values))
            inputs = [_json(record, _INPUT) for record in records]
            values = [_joined(record, value) for record, value in zip(inputs, values, strict=True)]
        return _written([self.output_filter.select(value) for value in values], as_lines=as_lines)


def _joined(record: Any, output: Any) -> Any:
    """As AWS joins: into the object under SageMakerOutput; what is no object goes under SageMakerInput."""
    if isinstance(record, dict):
        return {**cast("dict[str, Any]", record), "SageMakerOutput": output}
    return {"SageMakerInput": record, "SageMakerOutput": output}


def _check_count(inputs: int, outputs: int) -> None:
    if inputs != outputs:
        raise RecordError(
            f"the model gave {outputs} outputs for {inputs} records, so they cannot be joined; "
            "with JSON, use SplitType Line and BatchStrategy SingleRecord"
        )


def _csv_rows(data: bytes, what: str) -> list[list[str]]:
    """Its rows, without those that are empty. ``what`` is not CSV, if it is not."""
    try:
        text = data.decode()
        if '"' not in text and "\r" not in text:
            # Nothing but fields and commas, as rows of numbers are: no reader is needed.
            return [line.split(",") for line in text.split("\n") if line]
        _check_quotes(text)
        return [fields for fields in csv.reader(io.StringIO(text, newline="")) if fields]
    except (csv.Error, UnicodeDecodeError) as error:
        raise RecordError(f"Failed to parse {what} as CSV: {error}") from error


def _check_quotes(text: str) -> None:
    """A field is quoted as a whole or has no quotes; csv.Error in AWS's words otherwise. JSON is no CSV, for one."""
    place, last = 0, text.rfind('"')
    while place <= last:
        row = _CSV_ROW.match(text, place)
        if row is None:
            near = text[place:].split("\n", 1)[0][:_NEAR_CHARACTERS]
            raise csv.Error(f'bare " in non quoted field found near: {near}')
        place = row.end()


def _csv_line(path: JsonPath, fields: list[str]) -> bytes:
    columns = path.columns(len(fields))
    if columns is None:
        raise RecordError(f"the JSONPath {path.text!r} does not select columns of CSV")
    if isinstance(columns, range):
        return _csv_text(fields[columns.start : columns.stop])
    return _csv_text([fields[column] for column in columns])


def _csv_text(fields: list[str]) -> bytes:
    plain = ",".join(fields)
    if plain and not _CSV_QUOTED.search(plain) and plain.count(",") == len(fields) - 1:
        return plain.encode() + b"\n"
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(fields)
    return line.getvalue().encode()


def _inference_time(document: Mapping[str, Any]) -> str:
    if not document.get("DataCaptureConfig", {}).get("GenerateInferenceId"):
        return ""
    return datetime.fromtimestamp(document["TransformStartTime"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(text: bytes, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"Failed to parse {what} as JSON: {error}") from error


def _values(output: bytes) -> list[Any]:
    """An answer as one JSON value, or as one in each line."""
    try:
        return [json.loads(output)]
    except (ValueError, RecursionError):
        return [_json(line, _OUTPUT) for line in output.splitlines() if line.strip()]


def _written(values: Sequence[Any], *, as_lines: bool) -> bytes:
    end = b"\n" if as_lines or len(values) > 1 else b""
    return b"".join(_dumped(value) + end for value in values)


def _dumped(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
