"""A trained model as named arrays in one file, ``model_algo-1``, which ``numpy.load`` opens.

Place in the flow: the last step of the numeric algorithms' training and the first of their serving. The file is a NumPy archive
without pickled objects, so that opening it runs no code. Beside it stands ``model.joblib`` where a scikit-learn estimator can
say the same: for people who go on with the model there; serving does not read it.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stagedoor.worker.algorithms.failures import ModelFileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILE_NAME = "model_algo-1"
ESTIMATOR_NAME = "model.joblib"


def save_arrays(model_dir: Path, arrays: "Mapping[str, NDArray[Any]]") -> None:
    """Write the model file."""
    with (model_dir / FILE_NAME).open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType] - only names and arrays


def load_arrays(model_dir: Path, *names: str) -> "dict[str, NDArray[Any]]":
    """All arrays of the model file. ModelFileError when it is missing, no such archive, or lacks one of ``names``."""
    path = model_dir / FILE_NAME
    if not path.is_file():
        raise ModelFileError(f"model.tar.gz holds no file {FILE_NAME}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays: dict[str, NDArray[Any]] = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelFileError(f"{FILE_NAME} is not a NumPy archive of arrays: {error}") from error
    for name in names:
        if name not in arrays:
            raise ModelFileError(f"{FILE_NAME} has no array {name!r}; it has {sorted(arrays)}")
    return arrays


def save_estimator(model_dir: Path, estimator: object) -> None:
    """Write a scikit-learn estimator as ``joblib.load`` opens it."""
    import joblib

    joblib.dump(estimator, model_dir / ESTIMATOR_NAME)  # pyright: ignore[reportUnknownMemberType]
