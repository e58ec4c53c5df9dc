"""Adam, RMSProp and stochastic gradient descent for several models at once, each with its own learning rate.

Place in the flow: ``linear_models`` and ``factorization_machines_training`` hand in gradients after each mini-batch.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EPSILON = 1e-8
_RMSPROP_DECAY = 0.9


class Optimizer:
    """Updates one array in place. ``kind`` is ``adam``, ``rmsprop`` or ``sgd``."""

    def __init__(
        self,
        kind: str,
        shape: tuple[int, ...],
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        momentum: float = 0.0,
        epsilon: float = _EPSILON,
    ) -> None:
        self._kind = kind
        self._beta_1, self._beta_2, self._momentum = beta_1, beta_2, momentum
        self._epsilon = epsilon
        self._steps = 0
        self._first = np.zeros(shape, dtype=np.float32) if kind == "adam" or momentum else None
        self._second = np.zeros(shape, dtype=np.float32) if kind in ("adam", "rmsprop") else None

    def step(self, parameters: "NDArray[Any]", gradient: "NDArray[Any]", rate: Any, rows: Any = ...) -> Any:
        """Move ``parameters[rows]`` against ``gradient``; ``rate`` is a number or an array that fits its shape.

        Gives what one unit of gradient moved each parameter by: adaptive methods have a rate for each.
        """
        self._steps += 1
        scale: Any = rate
        move = gradient
        if self._kind == "adam":
            assert self._first is not None
            assert self._second is not None
            move = self._beta_1 * self._first[rows] + (1 - self._beta_1) * gradient
            second = self._beta_2 * self._second[rows] + (1 - self._beta_2) * gradient**2
            self._first[rows], self._second[rows] = move, second
            correction = np.sqrt(1 - self._beta_2**self._steps) / (1 - self._beta_1**self._steps)
            scale = rate * correction / (np.sqrt(second) + self._epsilon)
        elif self._kind == "rmsprop":
            assert self._second is not None
            second = _RMSPROP_DECAY * self._second[rows] + (1 - _RMSPROP_DECAY) * gradient**2
            self._second[rows] = second
            scale = rate / (np.sqrt(second) + self._epsilon)
        if self._momentum and self._kind != "adam":
            assert self._first is not None
            move = self._momentum * self._first[rows] + gradient
            self._first[rows] = move
        parameters[rows] -= (scale * move).astype(parameters.dtype)
        return scale
