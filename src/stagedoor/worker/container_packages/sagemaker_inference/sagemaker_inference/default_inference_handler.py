"""The base of handlers in scripts that are written as classes."""

from typing import Any

from stagedoor.worker import script_handlers


class DefaultInferenceHandler:
    """The defaults, each a method."""

    def default_model_fn(self, model_dir: str, context: Any = None) -> Any:
        """A TorchScript model."""
        return script_handlers.of("pytorch").model_fn(model_dir)

    def default_input_fn(self, input_data: Any, content_type: str, context: Any = None) -> Any:
        """A request's body as an array."""
        return script_handlers.of("sklearn").input_fn(input_data, content_type)

    def default_predict_fn(self, data: Any, model: Any, context: Any = None) -> Any:
        """The model's answer."""
        return model(data)

    def default_output_fn(self, prediction: Any, accept: str, context: Any = None) -> Any:
        """The answer as text or bytes."""
        return script_handlers.of("sklearn").output_fn(prediction, accept)
