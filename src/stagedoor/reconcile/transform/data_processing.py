"""What DataProcessing asks for: select a part of each record, join the model's output to its input, select from the result;
and the ids that DataCaptureConfig puts behind each record.

Place in the flow: ``act`` builds a ``DataProcessing`` once per job. ``prepare`` runs on each record before it is sent,
``finish`` on each answer before it is written. CSV rows are arrays of fields, kept as they were written; JSON and JSON
lines records are values.
"""

import csv
import io
import json
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
        if self.inference_time:
            output = self._identified(output, shape_of(content_type))
        if self.line_end and output and not output.endswith(b"\n"):
            output += b"\n"
        return output

    def _identified(self, output: bytes, output_shape: Shape | None) -> bytes:
        """Each record of the output with an id of its own and the job's start."""
        match output_shape:
            case "csv":
                return b"".join(
                    _csv_text([*fields, str(uuid.uuid4()), self.inference_time])
                    for fields in _csv_rows(output)
                )
            case "jsonlines":
                lines = [_json(line) for line in output.splitlines() if line.strip()]
                return b"".join(_dumped(self._with_id(value)) + b"\n" for value in lines)
            case "json":
                return _dumped(self._with_id(_json(output)))
            case _:
                raise RecordError("only CSV, JSON and JSON lines output can be given inference ids")

    def _with_id(self, value: Any) -> dict[str, Any]:
        record: dict[str, Any] = (
            cast("dict[str, Any]", value) if isinstance(value, dict) else {"SageMakerOutput": value}
        )
        ids = {"SageMakerInferenceId": str(uuid.uuid4()), "SageMakerInferenceTime": self.inference_time}
        return {**record, **ids}

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
    return _csv_text([fields[column] for column in columns])


def _csv_text(fields: list[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(fields)
    return line.getvalue().encode()


def _inference_time(document: Mapping[str, Any]) -> str:
    if not document.get("DataCaptureConfig", {}).get("GenerateInferenceId"):
        return ""
    return datetime.fromtimestamp(document["TransformStartTime"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"a record is not JSON: {error}") from error


def _dumped(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
