"""A model that the user's own script serves: model_fn, input_fn, predict_fn, output_fn or transform_fn.

Place in the flow: ``model_server`` loads this module for models with a program. The script is SAGEMAKER_PROGRAM, its folder what
SAGEMAKER_SUBMIT_DIRECTORY names: an archive (``source.tar.gz`` then) or a folder of the model, ``code`` if nothing is said.
What an answer may be follows AWS's containers: text, bytes, a pair with the content type, or a ``worker.Response``.
"""

import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from stagedoor.worker import (
    script_codecs,
    script_context,
    script_handlers,
    script_packages,
    script_requirements,
    script_source,
    script_variables,
)
from stagedoor.worker.job import CONTAINER_ROOT
from stagedoor.worker.model import Fault, Model, Request, Result
from stagedoor.worker.script_codecs import UnsupportedFormatError
from stagedoor.worker.specs import ModelSpec

_DEFAULT_PROGRAM = "inference.py"
_TRANSFORM_FN = "transform_fn"


class ScriptModel:
    """A loaded script and its model."""

    def __init__(self, script: ModuleType | None, handlers: script_handlers.Handlers, model_dir: str) -> None:
        self._handlers = handlers
        self._context = script_context.Context(model_dir)
        self._transform = self._own(script, _TRANSFORM_FN, 4)
        both = [name for name in ("input_fn", "predict_fn", "output_fn") if _function(script, name)]
        if self._transform is not None and both:
            raise ValueError(
                f"the script has transform_fn, which replaces {', '.join(both)}: keep one or the other"
            )
        self._input = self._own(script, "input_fn", 2) or handlers.input_fn
        self._predict = self._own(script, "predict_fn", 2) or handlers.predict_fn
        self._output = self._own(script, "output_fn", 2) or handlers.output_fn
        self._accept = (
            os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT")
            or os.environ.get("DEFAULT_INVOCATIONS_ACCEPT")
            or handlers.accept
        )
        self._model = (self._own(script, "model_fn", 1) or handlers.model_fn)(model_dir)
        self.details: dict[str, Any] = {}

    def _own(self, script: ModuleType | None, name: str, arguments: int) -> Callable[..., Any] | None:
        """The script's function of that name; None without one."""
        found = _function(script, name)
        return None if found is None else script_context.bound(found, arguments, self._context)

    def predict(self, requests: Sequence[Request]) -> list[Result | Fault]:
        """One request after the other: a script's functions take one each."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Result | Fault:
        content_type = str(request.meta.get("content_type") or script_codecs.JSON)
        accept = str(request.meta.get("accept") or "")
        if not accept or accept == script_codecs.ANY:
            accept = self._accept
        self._context.enter(request.meta)
        body: str | bytes = request.body
        phase = "input"
        try:
            if script_codecs.main_type(content_type) in script_codecs.UTF8_TYPES:
                body = request.body.decode("utf-8")
            if self._transform is not None:
                return _result(self._transform(self._model, body, content_type, accept), accept)
            data = self._input(body, content_type)
            phase = "output"
            return _result(self._output(self._predict(data, self._model), accept), accept)
        except UnsupportedFormatError as error:
            return Fault(self._handlers.status or (415 if phase == "input" else 406), str(error))
        except UnicodeDecodeError as error:
            return Fault(400, f"the body is not UTF-8 text, as {content_type} must be: {error}")
        except Exception as error:  # noqa: BLE001 - whatever the user's functions raise is this request's answer
            traceback.print_exc()
            status = getattr(error, "status_code", self._handlers.status or 500)
            text = f"{type(error).__name__}: {error}"
            return Fault(status if isinstance(status, int) else 500, text, traceback.format_exc())


def load(spec: ModelSpec, model_dir: Path) -> Model:
    """Import the script and have it load the model."""
    options = spec.get("options", {})
    scratch = model_dir.parent
    code = code_folder(scratch, model_dir, str(options.get("source") or ""))
    if code is not None:
        wanted = script_requirements.read(script_requirements.in_folder(code))
        target = scratch / script_packages.FOLDER
        packages = script_packages.ready(wanted, code, target, options.get("prepared_for"))
        sys.path[:0] = map(str, packages)
    framework = str(options.get("framework", "python"))
    print(script_source.version_line(framework, str(options.get("version", ""))))
    shown_model = place(model_dir, "model")
    program = os.environ.get("SAGEMAKER_PROGRAM", "") or _DEFAULT_PROGRAM
    os.environ.update(script_variables.variables({"model_dir": shown_model}))
    script = None
    if code is not None and (code / program).is_file():
        folder = place(code, "code") if code == scratch / "code" else str(code)
        script = _imported(Path(folder, program), Path(folder))
    elif os.environ.get("SAGEMAKER_PROGRAM"):
        there = (
            ", ".join(sorted(path.name for path in code.iterdir())) if code is not None else "no code at all"
        )
        raise FileNotFoundError(
            f"the model has no {program} (SAGEMAKER_PROGRAM): there is {there or 'nothing'}"
        )
    return ScriptModel(script, script_handlers.of(framework), shown_model)


def code_folder(scratch: Path, model_dir: Path, source: str) -> Path | None:
    """Where the script is; None when there is none."""
    if source:
        script_source.unpack(scratch / source, scratch / "code")
        return scratch / "code"
    submitted = Path(os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY", "") or "/opt/ml/model/code")
    for root, real in (("/opt/ml/model", model_dir), ("/opt/ml/code", model_dir / "code")):
        if submitted.is_relative_to(root) and (real / submitted.relative_to(root)).is_dir():
            return real / submitted.relative_to(root)
    return next((each for each in (model_dir / "code", model_dir) if list(each.glob("*.py"))), None)


def place(folder: Path, name: str) -> str:
    """A folder's name in the container where it has that, else where it is."""
    shown = CONTAINER_ROOT / name
    try:
        return str(shown if shown.samefile(folder) else folder)
    except OSError:
        return str(folder)


def _imported(path: Path, folder: Path) -> ModuleType:
    """The script as a module, with its folder first on the path and what AWS's containers have at its end."""
    sys.path.insert(0, str(folder))
    sys.path.extend(script_variables.container_packages())
    os.chdir(folder)
    name = path.relative_to(folder).with_suffix("").as_posix().replace("/", ".")
    if name in sys.modules:  # a module of that name is loaded already: `model.py` must not get that one
        name = f"user_{name}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _function(script: ModuleType | None, name: str) -> Callable[..., Any] | None:
    found = getattr(script, name, None)
    return found if callable(found) else None


def _result(given: Any, accept: str) -> Result:
    """What a script's output_fn or transform_fn gave, as an answer."""
    value, content_type = _parts(given, accept)
    if hasattr(value, "getvalue"):
        value = value.getvalue()
    if not isinstance(value, (str, bytes, bytearray, memoryview)):
        if script_codecs.main_type(content_type) in (script_codecs.CSV, script_codecs.NPY):
            value = script_codecs.encode(value, content_type)
        else:
            value = json.dumps(value, default=_plain)
    body = value.encode() if isinstance(value, str) else bytes(cast("bytes", value))
    return Result(body, content_type)


def _parts(given: Any, accept: str) -> tuple[Any, str]:
    """The body and its content type."""
    if isinstance(given, tuple):
        pair = cast("tuple[Any, ...]", given)
        if len(pair) == 2:
            return pair[0], str(pair[1])
    answer = cast("Any", given)
    if hasattr(answer, "response") and hasattr(answer, "mimetype"):
        return answer.response, str(answer.mimetype or accept)
    return answer, accept


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
