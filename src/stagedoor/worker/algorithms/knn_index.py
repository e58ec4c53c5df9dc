"""The index of k-NN and what belongs to it: how rows get in, how neighbours become an answer, the three files of a model.

Place in the flow: ``knn_training`` fills and saves one, ``knn_serving`` loads it. The files are SageMaker's: ``model_algo-1``
(faiss's own format), ``model_algo-1.labels`` (float32, one for each row) and ``model_algo-1.json``, where ``k`` and
``predictor_type`` may be changed by hand.
"""

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

import numpy as np

from stagedoor.worker.algorithms.dimension_reduction import Projector, Reduction
from stagedoor.worker.algorithms.failures import ModelFileError
from stagedoor.worker.algorithms.model_arrays import FILE_NAME

if TYPE_CHECKING:
    from numpy.typing import NDArray

# faiss brings no types.
faiss: Any = importlib.import_module("faiss")


class Metadata(TypedDict):
    """``model_algo-1.json``. ``width`` is the index's, which product quantisation may have padded."""

    k: int
    predictor_type: str
    index_metric: str
    feature_dim: int
    width: int
    normalize: bool
    dimension_reduction: Reduction | None
    version: str


@dataclass(slots=True)
class Neighbours:
    """The nearest rows of each row asked about, nearest first: predicted label, labels and distances."""

    predicted: "NDArray[np.float32]"
    labels: "NDArray[np.float32]"
    distances: "NDArray[np.float32]"


class NeighbourIndex:
    """An index of faiss with the labels of its rows."""

    def __init__(self, index: Any, labels: "NDArray[np.float32]", metadata: Metadata) -> None:
        self.index = index
        self.metadata = metadata
        self._labels = labels
        reduction = metadata["dimension_reduction"]
        self._projector = Projector(reduction) if reduction is not None else None

    def prepared(self, rows: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Rows as they are in the index: reduced, padded, for COSINE of length one."""
        if self._projector is not None:
            rows = self._projector(rows)
        if self.metadata["width"] > rows.shape[1]:
            rows = np.pad(rows, ((0, 0), (0, self.metadata["width"] - rows.shape[1])))
        if self.metadata["normalize"]:
            lengths = np.linalg.norm(rows, axis=1, keepdims=True)
            rows = rows / np.maximum(lengths, np.finfo(np.float32).tiny)
        return np.ascontiguousarray(rows, dtype=np.float32)

    def add(self, rows: "NDArray[np.float32]", labels: "NDArray[np.float32]") -> None:
        """Put in prepared rows."""
        self.index.add(rows)
        self._labels = np.concatenate([self._labels, labels])

    def neighbours(self, rows: "NDArray[np.float32]") -> Neighbours:
        """Ask for the ``k`` nearest of each row. Distances are Euclidean; with the other metrics, similarities."""
        k = min(self.metadata["k"], len(self._labels))
        found: Any = self.index.search(self.prepared(rows), k)
        distances: NDArray[np.float32] = found[0]
        numbers: NDArray[np.int64] = found[1]
        missing = numbers < 0  # an inverted index may find fewer in the lists it looks at
        labels = np.where(missing, np.float32(np.nan), self._labels[np.where(missing, 0, numbers)])
        if self.metadata["index_metric"] == "L2":
            distances = np.sqrt(np.maximum(distances, 0))
        distances = np.where(missing, np.float32(np.nan), distances)
        if self.metadata["predictor_type"] == "regressor":
            predicted = np.nanmean(labels, axis=1)
        else:
            predicted = np.array([_most_frequent(row) for row in labels], dtype=np.float32)
        return Neighbours(predicted.astype(np.float32), labels, distances)

    def save(self, model_dir: Path) -> None:
        """Write the three files."""
        faiss.write_index(self.index, str(model_dir / FILE_NAME))
        (model_dir / f"{FILE_NAME}.labels").write_bytes(self._labels.astype("<f4").tobytes())
        (model_dir / f"{FILE_NAME}.json").write_text(json.dumps(self.metadata))

    @classmethod
    def load(cls, model_dir: Path) -> "NeighbourIndex":
        """Read the three files; ModelFileError when they are no k-NN model."""
        for name in (FILE_NAME, f"{FILE_NAME}.labels", f"{FILE_NAME}.json"):
            if not (model_dir / name).is_file():
                raise ModelFileError(f"model.tar.gz holds no file {name}")
        try:
            metadata = cast(Metadata, json.loads((model_dir / f"{FILE_NAME}.json").read_text()))
            index = faiss.read_index(str(model_dir / FILE_NAME))
            labels = np.frombuffer((model_dir / f"{FILE_NAME}.labels").read_bytes(), dtype="<f4")
            loaded = cls(index, labels, metadata)
            matches = int(index.ntotal) == len(labels) and int(index.d) == metadata["width"]
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise ModelFileError(
                f"the k-NN model cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        if not matches or metadata["k"] < 1 or metadata["predictor_type"] not in ("classifier", "regressor"):
            raise ModelFileError(f"{FILE_NAME}, its labels and its JSON metadata do not fit together")
        return loaded


def _most_frequent(labels: "NDArray[np.float32]") -> float:
    """The label that most neighbours have; of several, the one whose neighbour is nearest. NaN for no neighbours."""
    values, first, counts = np.unique(labels[~np.isnan(labels)], return_index=True, return_counts=True)
    if not len(values):
        return float("nan")
    return float(values[np.lexsort((first, -counts))[0]])
