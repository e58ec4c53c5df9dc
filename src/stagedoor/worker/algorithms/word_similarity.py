"""How well word vectors agree with people: Spearman's rank correlation on WordSim-353.

Place in the flow: ``blazingtext_training`` evaluates word vectors with it (hyperparameter ``evaluation``). The pairs are not part of
this package: they are read where gensim, which brings them, is installed.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SET_NAME = "EN-WS-353-ALL"
_IN_GENSIM = Path("test", "test_data", "wordsim353.tsv")

Pair = tuple[str, str, float]
"""Two words, and how alike people find them (0 to 10)."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """``rho`` is None when fewer than two pairs are known."""

    rho: float | None
    pairs: int
    not_found: int

    def as_json(self) -> dict[str, Any]:
        """For ``eval.json``."""
        return {"spearmans_rho": self.rho, "num_pairs": self.pairs, "not_found": self.not_found}


def installed_pairs() -> list[Pair] | None:
    """The pairs that gensim brings; None without it. Nothing of gensim is run."""
    found = importlib.util.find_spec("gensim")
    for folder in (found.submodule_search_locations if found is not None else None) or ():
        path = Path(folder) / _IN_GENSIM
        if path.is_file():
            rows = [
                line.split("\t")
                for line in path.read_text(encoding="utf-8").splitlines()
                if not line.startswith("#")
            ]
            return [(first, second, float(score)) for first, second, score in rows]
    return None


def agreement(vector: "Callable[[str], NDArray[np.float32] | None]", pairs: Sequence[Pair]) -> Agreement:
    """``vector`` gives None for a word that it does not know."""
    people: list[float] = []
    vectors: list[float] = []
    for first, second, score in pairs:
        one, other = _known(vector, first), _known(vector, second)
        if one is not None and other is not None:
            people.append(score)
            vectors.append(float(one @ other / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-12)))
    rho = _correlation(_ranks(np.array(people)), _ranks(np.array(vectors))) if len(people) > 1 else None
    return Agreement(rho, len(pairs), len(pairs) - len(people))


def _known(vector: "Callable[[str], NDArray[np.float32] | None]", word: str) -> "NDArray[np.float32] | None":
    found = vector(word)
    return vector(word.lower()) if found is None else found


def _ranks(values: "NDArray[Any]") -> "NDArray[Any]":
    """Equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _correlation(one: "NDArray[Any]", other: "NDArray[Any]") -> float | None:
    one, other = one - one.mean(), other - other.mean()
    spread = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / spread if spread else None
