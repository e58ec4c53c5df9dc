"""What the container for Hugging Face does where the user's script has no function of its own: a pipeline serves the model.

Place in the flow: ``script_handlers`` gives these for the runtime ``huggingface``. Whatever fails is answered with 400 there.
"""

import csv
import importlib
import io
import json
import os
from pathlib import Path
from typing import Any, cast

from stagedoor.worker import script_codecs
from stagedoor.worker.script_codecs import UnsupportedFormatError
from stagedoor.worker.script_handlers import Handlers

_TASKS = {
    "TapasForQuestionAnswering": "table-question-answering",
    "ForQuestionAnswering": "question-answering",
    "ForTokenClassification": "token-classification",
    "ForSequenceClassification": "text-classification",
    "ForMultipleChoice": "multiple-choice",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "ForConditionalGeneration": "text2text-generation",
    "MTModel": "text2text-generation",
    "EncoderDecoderModel": "text2text-generation",
    "GPT2LMHeadModel": "text-generation",
    "T5WithLMHeadModel": "text2text-generation",
}
"""What a model is for, by how its architecture's name ends; the first that fits."""

_NO_CSV_TASKS = ("zero-shot-classification", "table-question-answering")
_IMAGES = tuple(f"image/{kind}" for kind in ("png", "jpeg", "tiff", "bmp", "gif", "webp", "x-image"))
_SOUNDS = tuple(f"audio/{kind}" for kind in ("x-flac", "mpeg", "wave", "ogg", "x-audio"))


def pipeline_of(model_dir: str) -> Any:
    """A pipeline for HF_TASK, or for what the model's config.json says it is. ValueError when neither tells."""
    transformers: Any = importlib.import_module("transformers")
    task = os.environ.get("HF_TASK") or _task(Path(model_dir))
    return transformers.pipeline(task=task, model=model_dir, device=-1)


def _task(folder: Path) -> str:
    try:
        config: Any = json.loads((folder / "config.json").read_text())
    except FileNotFoundError:
        raise ValueError(
            "the model has no config.json: define what it is for in the environment variable HF_TASK (text-classification, "
            "fill-mask, …), and put the model's files at the top of model.tar.gz"
        ) from None
    architecture = str((config.get("architectures") or [""])[0])
    task = next((task for end, task in _TASKS.items() if architecture.endswith(end)), None)
    if task is None:
        raise ValueError(
            f"what a model of the architecture {architecture or '(none in config.json)'} is for cannot be told: define it in the "
            "environment variable HF_TASK"
        )
    return task


def decoded(body: Any, content_type: str) -> Any:
    """A request as the pipeline's input: an object with ``inputs`` and maybe ``parameters``."""
    kind = script_codecs.main_type(content_type)
    if kind == script_codecs.JSON:
        return json.loads(body)
    if kind == script_codecs.CSV:
        return _table(str(body))
    if kind == script_codecs.NPY:
        return script_codecs.decode(body, kind)
    if kind in _IMAGES:
        images: Any = importlib.import_module("PIL.Image")
        return {"inputs": images.open(io.BytesIO(body)).convert("RGB")}
    if kind in _SOUNDS:
        return {"inputs": bytes(body)}
    raise UnsupportedFormatError(content_type)


def _table(text: str) -> dict[str, Any]:
    if os.environ.get("HF_TASK") in _NO_CSV_TASKS:
        raise ValueError(f"the task {os.environ['HF_TASK']} has no form in text/csv: send application/json")
    header = next(iter(text.splitlines()), "").lower()
    if not any(name in header for name in ("question", "context", "inputs")):
        raise ValueError("text/csv needs a first line with names: inputs, or question and context")
    rows = list(csv.DictReader(io.StringIO(text)))
    if "inputs" in rows[0]:
        return {"inputs": [row["inputs"] for row in rows]}
    return {"inputs": rows}


def predicted(data: Any, pipeline: Any) -> Any:
    """The pipeline's answer for ``inputs``, or for the whole object where it has none, with ``parameters`` as arguments."""
    if not isinstance(data, dict):
        return pipeline(data)
    asked = cast("dict[str, Any]", data)
    parameters: dict[str, Any] = asked.get("parameters") or {}
    others = {name: value for name, value in asked.items() if name not in ("inputs", "parameters")}
    return pipeline(asked.get("inputs", others), **parameters)


def encoded(prediction: Any, accept: str) -> Any:
    """JSON without spaces, CSV with a line of names, or NPY."""
    kind = script_codecs.chosen(accept, (script_codecs.JSON, script_codecs.CSV, script_codecs.NPY))
    if kind == script_codecs.NPY:
        return script_codecs.encode(prediction, kind), kind
    if kind == script_codecs.CSV:
        rows = cast("list[dict[str, Any]]", prediction if isinstance(prediction, list) else [prediction])
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        return stream.getvalue(), kind
    return (
        json.dumps(prediction, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")),
        kind,
    )


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


HANDLERS = Handlers(pipeline_of, decoded, predicted, encoded, status=400)
