"""What DataProcessing asks for: select a part of each record, join the model's output to its input, select from the result.

Place in the flow: ``act`` builds a ``DataProcessing`` once per job. ``prepare`` runs on each record before it is sent,
``finish`` on each answer before it is written. CSV rows are arrays of fields, kept as they were written; JSON and JSON
lines records are values.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


class RecordError(Exception):
    """A record or an answer cannot be filtered or joined; fails its input object."""


def shape_of(content_type: str | None) -> Shape | None:
    """How records of a content type are filtered and joined; None for types that cannot be."""
    return _SHAPES.get((content_type or "").partition(";")[0].strip().lower())


@dataclass(frozen=True, slots=True)
class DataProcessing:
    """Both filters and whether outputs are joined to inputs. ``line_end``: AssembleWith is Line."""

    input_filter: JsonPath
    output_filter: JsonPath
    joins: bool
    input_shape: Shape | None
    line_end: bool

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
        )

    def prepare(self, record: bytes) -> bytes:
        """What the model is sent for one record (for JSON without splitting: the whole object)."""
        if self.input_filter.is_all:
            return record
        try:
            if self.input_shape == "csv":
                return b"".join(_csv_line(self.input_filter, fields) for fields in _csv_rows(record))
            selected = self.input_filter.select(_json(record))
        except JsonPathError as error:
            raise RecordError(str(error)) from error
        end = b"\n" if record.endswith(b"\n") else b""
        return _dumped(selected) + end

    def finish(self, records: Sequence[bytes], output: bytes, content_type: str) -> bytes:
        """What is written for one answer: joined, filtered, and with the line end that AssembleWith asks for."""
        if self.joins or not self.output_filter.is_all:
            output = self._processed(records, output, shape_of(content_type))
        if self.line_end and output and not output.endswith(b"\n"):
            output += b"\n"
        return output

    def _processed(self, records: Sequence[bytes], output: bytes, output_shape: Shape | None) -> bytes:
        if output_shape is None:
            raise RecordError("only CSV, JSON and JSON lines output can be joined and filtered")
        try:
            if self.input_shape == "csv" and output_shape == "csv":
                return self._csv(records, output)
            if output_shape == "csv" and self.joins:
                raise RecordError("CSV output cannot be joined to JSON input: ask for JSON lines with Accept")
            if output_shape == "csv":
                return b"".join(_csv_line(self.output_filter, fields) for fields in _csv_rows(output))
            if self.input_shape == "csv" and self.joins:
                raise RecordError("JSON output cannot be joined to CSV input: ask for text/csv with Accept")
            return self._json(records, output, output_shape)
        except JsonPathError as error:
            raise RecordError(str(error)) from error

    def _csv(self, records: Sequence[bytes], output: bytes) -> bytes:
        rows = _csv_rows(output)
        if self.joins:
            inputs = [fields for record in records for fields in _csv_rows(record)]
            _check_count(len(inputs), len(rows))
            rows = [[*fields, *row] for fields, row in zip(inputs, rows, strict=True)]
        return b"".join(_csv_line(self.output_filter, fields) for fields in rows)

    def _json(self, records: Sequence[bytes], output: bytes, output_shape: Shape) -> bytes:
        values = (
            [_json(line) for line in output.splitlines() if line.strip()]
            if output_shape == "jsonlines"
            else [_json(output)]
        )
        if self.joins:
            _check_count(len(records), len(values))
            values = [_joined(_json(record), value) for record, value in zip(records, values, strict=True)]
        lines = [_dumped(self.output_filter.select(value)) for value in values]
        if output_shape == "jsonlines":
            return b"".join(line + b"\n" for line in lines)
        return b"".join(lines)


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


def _csv_rows(text: bytes) -> list[list[str]]:
    try:
        return [fields for fields in csv.reader(io.StringIO(text.decode(), newline="")) if fields]
    except (csv.Error, UnicodeDecodeError) as error:
        raise RecordError(f"a record is not CSV: {error}") from error


def _csv_line(path: JsonPath, fields: list[str]) -> bytes:
    columns = path.columns(len(fields))
    if columns is None:
        raise RecordError(f"the JSONPath {path.text!r} does not select columns of CSV")
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([fields[column] for column in columns])
    return line.getvalue().encode()


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"a record is not JSON: {error}") from error


def _dumped(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
