"""What a framework's container does where the user's script has no function of its own: model_fn, input_fn, predict_fn, output_fn.

Place in the flow: ``script_serving`` takes the script's functions, and these for those that are missing. They answer as AWS's
containers for scikit-learn, PyTorch and XGBoost do; Hugging Face's are in ``script_transformers``.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stagedoor.worker import script_codecs

ModelFn = Callable[[str], Any]
InputFn = Callable[[Any, str], Any]
PredictFn = Callable[[Any, Any], Any]
OutputFn = Callable[[Any, str], Any]


@dataclass(frozen=True, slots=True)
class Handlers:
    """The four steps of a model that is served, the Accept that stands for "anything", and the status of whatever fails.

    ``status`` 0 tells apart: 415 and 406 for formats, 500 for what a function raises.
    """

    model_fn: ModelFn
    input_fn: InputFn
    predict_fn: PredictFn
    output_fn: OutputFn
    accept: str = script_codecs.JSON
    status: int = 0


def of(framework: str) -> Handlers:
    """A framework's defaults."""
    if framework == "huggingface":
        from stagedoor.worker import script_transformers

        return script_transformers.HANDLERS
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
    kind = script_codecs.chosen(accept)
    return script_codecs.encode(prediction, kind), kind


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
    try:
        return torch.jit.load(str(path), map_location="cpu")
    except RuntimeError as error:
        raise RuntimeError(
            f"Failed to load {path}. Without a model_fn in the script, the model must have been saved with torch.jit.save."
        ) from error


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
    return _encoded(prediction, accept)


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


_HANDLERS = {"sklearn": _SKLEARN, "pytorch": _PYTORCH, "xgboost": _XGBOOST}
