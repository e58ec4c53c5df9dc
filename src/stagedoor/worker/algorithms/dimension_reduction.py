"""Random projections that keep distances about as they are: the dimension reduction of k-NN.

Place in the flow: ``knn_training`` reduces what goes into the index, ``knn_serving`` each row that is asked about, with the same
numbers: they follow from the seed (``numpy.random.RandomState``, whose stream is the same in every version of NumPy).
"""

from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Reduction(TypedDict):
    """As k-NN models store it. ``type`` is ``sign`` or ``fjlt``."""

    type: str
    seed: int
    target_dim: int
    input_dim: int


class Projector:
    """Projects rows of ``input_dim`` columns to ``target_dim``."""

    def __init__(self, reduction: Reduction) -> None:
        random = np.random.RandomState(reduction["seed"])
        width, target = reduction["input_dim"], reduction["target_dim"]
        self._target = target
        self._matrix: NDArray[Any] | None = None
        if reduction["type"] == "sign":
            signs = random.randint(0, 2, size=(width, target)).astype(np.float32) * 2 - 1
            self._matrix = signs / np.float32(np.sqrt(target))
            return
        self._padded = 1 << max(0, width - 1).bit_length()
        self._signs = random.randint(0, 2, size=width).astype(np.float32) * 2 - 1
        self._columns = random.permutation(self._padded)[:target]

    def __call__(self, rows: "NDArray[np.float32]") -> "NDArray[np.float32]":
        if self._matrix is not None:
            return rows @ self._matrix
        padded = np.zeros((len(rows), self._padded), dtype=np.float32)
        padded[:, : rows.shape[1]] = rows * self._signs
        # Unnormalised, the transform multiplies lengths by the square root of its width.
        return _hadamard(padded)[:, self._columns] / np.float32(np.sqrt(self._target))


def _hadamard(rows: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """The Walsh-Hadamard transform of each row, whose length is a power of two; works in ``rows`` itself."""
    count, width = rows.shape
    half = 1
    while half < width:
        pairs = rows.reshape(count, width // (2 * half), 2, half)
        first = pairs[:, :, 0] + pairs[:, :, 1]
        pairs[:, :, 1] = pairs[:, :, 0] - pairs[:, :, 1]
        pairs[:, :, 0] = first
        half *= 2
    return rows
