"""Serves BlazingText models, and models of fastText itself: labels of texts, or vectors of words.

Place in the flow: ``worker.model_server`` calls ``load`` once and ``predict`` with every batch. Requests are JSON
(``{"instances": [text, …], "configuration": {"k": 2}}``) or JSON lines (``{"source": text, "k": 2}``); answers have the type of
their request, as SageMaker's have.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import orjson

from stagedoor.worker.algorithms.failures import ModelFileError
from stagedoor.worker.algorithms.predictions import JSON, JSON_LINES
from stagedoor.worker.algorithms.request_rows import ContentTypeError, media_type
from stagedoor.worker.algorithms.specification import specification
from stagedoor.worker.model import Fault, Request, Result
from stagedoor.worker.specs import ModelSpec

# fastText brings no types.
fasttext: Any = importlib.import_module("fasttext")
_NAMES = ("model.bin", "vectors.bin")


class _InstancesError(ValueError):
    """The body is not what this model can be asked; the text says why."""


@dataclass(frozen=True, slots=True)
class _Question:
    text: str
    k: int


def load(spec: ModelSpec, model_dir: Path) -> "TextModel":
    """Load ``model.bin`` or ``vectors.bin`` (or the only ``.bin`` there is). ModelFileError when there is none."""
    found = [model_dir / name for name in _NAMES if (model_dir / name).is_file()]
    found = found or sorted(model_dir.glob("*.bin"))
    if not found:
        raise ModelFileError(
            "model.tar.gz holds no model.bin (text classification) and no vectors.bin (word vectors)"
        )
    try:
        model = fasttext.load_model(str(found[0]))
    except (ValueError, RuntimeError, MemoryError) as error:
        raise ModelFileError(f"{found[0].name} cannot be loaded by fastText: {error}") from error
    return TextModel(model)


class TextModel:
    """A ``worker.model.Model``."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._classifies = model.f.getArgs().model == fasttext.FastText.model_name.supervised
        self._labels = len(model.labels) if self._classifies else 0
        self._supported = specification("blazingtext").requests
        self.details: dict[str, Any] = {"algorithm": "blazingtext", "labels": self._labels}

    def predict(self, requests: Sequence[Request]) -> Sequence[Result | Fault]:
        """One result or fault per request, in order."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Result | Fault:
        try:
            media = media_type(request.meta.get("content_type") or JSON, self._supported).name
            questions = _from_json(request.body) if media == JSON else _from_lines(request.body)
        except ContentTypeError as error:
            return Fault(415, str(error))
        except _InstancesError as error:
            return Fault(400, f"unable to evaluate payload provided: {error}")
        answers = [self._classified(one) if self._classifies else self._vector(one) for one in questions]
        if media == JSON_LINES:
            body = b"".join(orjson.dumps(answer) + b"\n" for answer in answers)
        else:
            body = orjson.dumps(answers)
        return Result(body, media, request.meta.get("custom_attributes"))

    def _classified(self, question: _Question) -> dict[str, Any]:
        text = question.text.replace("\n", " ")
        labels, chances = self._model.predict(text, k=min(question.k, self._labels))
        # The library's sums of single precision come out a little above 1.
        return {"label": list(labels), "prob": [min(1.0, float(chance)) for chance in chances]}

    def _vector(self, question: _Question) -> dict[str, Any]:
        return {"vector": self._model.get_word_vector(question.text).tolist(), "word": question.text}


def _from_json(body: bytes) -> list[_Question]:
    document = _parsed(body)
    instances: Any = document.get("instances") if _is_object(document) else None
    if not _is_list(instances) or not instances:
        raise _InstancesError('the body must be {"instances": ["a text", …]}')
    configuration: Any = document.get("configuration", {})
    if not _is_object(configuration):
        raise _InstancesError('"configuration" must be an object such as {"k": 2}')
    return [_question(text, configuration.get("k", 1), number) for number, text in enumerate(instances, 1)]


def _from_lines(body: bytes) -> list[_Question]:
    questions: list[_Question] = []
    for number, line in enumerate(body.splitlines(), 1):
        if line.strip():
            document = _parsed(line)
            if not _is_object(document):
                raise _InstancesError(f'line {number} must be {{"source": "a text"}}')
            questions.append(_question(document.get("source"), document.get("k", 1), number))
    if not questions:
        raise _InstancesError("the body is empty")
    return questions


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except ValueError as error:
        raise _InstancesError(str(error)) from error


def _question(text: Any, k: Any, number: int) -> _Question:
    if not isinstance(text, str):
        raise _InstancesError(f"instance {number} is not a text")
    if type(k) is not int or k < 1:
        raise _InstancesError(f"k must be a whole number from 1 on, not {k!r}")
    return _Question(text, k)


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
