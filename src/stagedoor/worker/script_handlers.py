"""What a framework's container does where the user's script has no function of its own: model_fn, input_fn, predict_fn, output_fn.

Place in the flow: ``script_serving`` takes the script's functions, and these for those that are missing. They answer as AWS's
containers for scikit-learn, PyTorch, XGBoost and Hugging Face do.
"""

import importlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from stagedoor.worker import script_codecs
from stagedoor.worker.script_codecs import UnsupportedFormatError

ModelFn = Callable[[str], Any]
InputFn = Callable[[Any, str], Any]
PredictFn = Callable[[Any, Any], Any]
OutputFn = Callable[[Any, str], Any]


@dataclass(frozen=True, slots=True)
class Handlers:
    """The four steps of a model that is served, and the Accept that stands for "anything"."""

    model_fn: ModelFn
    input_fn: InputFn
    predict_fn: PredictFn
    output_fn: OutputFn
    accept: str = script_codecs.JSON


def of(framework: str) -> Handlers:
    """A framework's defaults."""
    return _HANDLERS.get(framework, _SKLEARN)


def _no_model_fn(_model_dir: str) -> Any:
    raise NotImplementedError(
        "Please provide a model_fn implementation: the script has none, and this framework's container has no default."
    )


def _array(body: Any, content_type: str) -> Any:
    import numpy as np

    is_text = script_codecs.main_type(content_type) in script_codecs.UTF8_TYPES
    return script_codecs.decode(body, content_type, np.float32 if is_text else None)


def _predict(data: Any, model: Any) -> Any:
    return model.predict(data)


def _encoded(prediction: Any, accept: str) -> Any:
    return script_codecs.encode(prediction, accept), accept


_SKLEARN = Handlers(_no_model_fn, _array, _predict, _encoded)


# PyTorch --------------------------------------------------------------------------------------------------------------


def _torch_model(model_dir: str) -> Any:
    """A TorchScript model: model.pt, or the only .pt or .pth file there is."""
    torch: Any = importlib.import_module("torch")

    folder = Path(model_dir)
    found = [path for path in sorted(folder.iterdir()) if path.suffix in (".pt", ".pth")]
    path = folder / "model.pt"
    if not path.is_file():
        if len(found) != 1:
            raise NotImplementedError(
                f"Please provide a model_fn implementation: without one, the model must be one TorchScript file model.pt, and there "
                f"are {', '.join(each.name for each in found) or 'no .pt or .pth files'}."
            )
        path = found[0]
    return torch.jit.load(str(path), map_location="cpu")


def _tensor(body: Any, content_type: str) -> Any:
    torch: Any = importlib.import_module("torch")

    return torch.from_numpy(_array(body, content_type))


def _torch_predict(data: Any, model: Any) -> Any:
    torch: Any = importlib.import_module("torch")

    if hasattr(model, "eval"):
        model.eval()
    with torch.no_grad():
        return model(data)


def _torch_encoded(prediction: Any, accept: str) -> Any:
    if hasattr(prediction, "detach"):
        prediction = prediction.detach().cpu().numpy()
    return script_codecs.encode(prediction, accept), accept


_PYTORCH = Handlers(_torch_model, _tensor, _torch_predict, _torch_encoded)


# XGBoost --------------------------------------------------------------------------------------------------------------


def _matrix(body: Any, content_type: str) -> Any:
    from stagedoor.worker import xgboost_decoding

    return xgboost_decoding.decode(body, content_type)


def _xgboost_predict(data: Any, model: Any) -> Any:
    xgboost: Any = importlib.import_module("xgboost")

    if not isinstance(data, xgboost.DMatrix) or not hasattr(model, "get_booster"):
        return model.predict(data, **({"validate_features": False} if hasattr(model, "get_dump") else {}))
    return model.get_booster().predict(data, validate_features=False)


_XGBOOST = Handlers(_no_model_fn, _matrix, _xgboost_predict, _encoded, script_codecs.CSV)


# Hugging Face ---------------------------------------------------------------------------------------------------------


def _pipeline(model_dir: str) -> Any:
    """A transformers pipeline of what lies in the model: for HF_TASK, or what the model says it is for."""
    transformers: Any = importlib.import_module("transformers")

    task = os.environ.get("HF_TASK") or None
    return transformers.pipeline(task=task, model=model_dir, device=-1)


def _inference_request(body: Any, content_type: str) -> Any:
    kind = script_codecs.main_type(content_type)
    if kind == script_codecs.JSON:
        return json.loads(body)
    if kind == script_codecs.CSV:
        return {"inputs": [line for line in str(body).splitlines() if line]}
    raise UnsupportedFormatError(content_type)


def _pipeline_predict(data: Any, pipeline: Any) -> Any:
    if not isinstance(data, dict) or "inputs" not in data:
        raise ValueError('the request must be a JSON object with "inputs" (and "parameters")')
    asked = cast("dict[str, Any]", data)
    return pipeline(asked["inputs"], **(asked.get("parameters") or {}))


_HUGGINGFACE = Handlers(_pipeline, _inference_request, _pipeline_predict, _encoded)

_HANDLERS = {"sklearn": _SKLEARN, "pytorch": _PYTORCH, "xgboost": _XGBOOST, "huggingface": _HUGGINGFACE}
