"""The nearest of some centres for each row: what K-Means does in training and in serving."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CELLS_AT_ONCE = 8 * 1024 * 1024


def nearest_centers(
    rows: "NDArray[np.float32]", centers: "NDArray[np.float64]"
) -> "tuple[NDArray[np.intp], NDArray[np.float64]]":
    """The number of the nearest centre of each row, and its squared Euclidean distance."""
    nearest = np.empty(len(rows), dtype=np.intp)
    squared = np.empty(len(rows), dtype=np.float64)
    norms = np.einsum("ij,ij->i", centers, centers)
    step = max(1, _CELLS_AT_ONCE // max(len(centers), rows.shape[1]))
    for first in range(0, len(rows), step):
        part = rows[first : first + step].astype(np.float64)
        distances = norms - 2.0 * (part @ centers.T)
        distances += np.einsum("ij,ij->i", part, part)[:, None]
        nearest[first : first + step] = found = distances.argmin(axis=1)
        # The quick formula loses digits for close points; the distance that is answered does not.
        part -= centers[found]
        squared[first : first + step] = np.einsum("ij,ij->i", part, part)
    return nearest, squared
