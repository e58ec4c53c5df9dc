"""Local runtimes: which Python a workload runs on, and what its warm parent has imported before.

Place in the flow: ``app`` gives ``LocalEngine`` a mapping of names (``Workload.runtime``) to these.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Runtime:
    """One runtime. ``python`` is the interpreter; it need not have stagedoor installed.

    ``modules`` are imported in the warm parent, while ``hidden_modules`` look absent (a nicety: xgboost imports three
    times as fast without pandas and scikit-learn). ``path`` goes in front of ``sys.path``. ``environment`` is for the
    parent's imports only. ``start`` is ``spawn`` where fork is unsafe: on macOS (numpy loads Accelerate, and the
    Objective-C runtime aborts forked children) and for what initialises a GPU; each workload then pays the imports.
    ``warm_up`` says when the parent is started: ``at once`` with the engine, or when its first workload comes; names that share
    one Runtime share its parent. ``hint`` tells a person what to do when the imports fail.
    """

    python: Path = field(default_factory=lambda: Path(sys.executable))
    modules: tuple[str, ...] = ()
    hidden_modules: tuple[str, ...] = ()
    path: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    start: Literal["fork", "spawn"] = "spawn" if sys.platform == "darwin" else "fork"
    warm_up: Literal["at once", "when needed"] = "at once"
    hint: str = ""


FRAMEWORKS: Mapping[str, tuple[str, ...]] = {
    "sklearn": ("numpy", "sklearn"),
    "pytorch": ("numpy", "torch"),
    "huggingface": ("numpy", "torch", "transformers"),
}
"""Runtimes for scripts of the user, and what makes each what it is."""


_NUMERIC = ("linear_learner", "kmeans", "pca", "factorization_machines", "random_cut_forest")
"""Algorithms that need the same packages, and share a parent."""


def default_runtimes(pythons: Mapping[str, Path] | None = None) -> dict[str, Runtime]:
    """``xgboost`` (models, training), ``python`` (functions, plain scripts) and those of the frameworks.

    ``pythons`` names interpreters of other environments for some of them; all others are the server's own Python.
    """
    own = Path(sys.executable)
    chosen = dict(pythons or {})
    numeric = _algorithm(
        *("numpy", "scipy.sparse", "sklearn.cluster", "sklearn.decomposition", "sklearn.svm"),
        *(_serving(name) for name in _NUMERIC),
    )
    runtimes = {
        "xgboost": Runtime(
            python=chosen.get("xgboost", own),
            modules=("numpy", "scipy.sparse", "xgboost", _serving("xgboost")),
            hidden_modules=("pandas", "sklearn", "pyarrow", "dask", "matplotlib"),
            # OpenMP threads that wait for each other must not spin: where other processes want the same cores, training
            # takes ten times as long. The library reads this once, when the parent loads it.
            environment={"OMP_WAIT_POLICY": "PASSIVE"},
            hint="Install the algorithm with: pip install 'stagedoor[xgboost]'",
        ),
        **dict.fromkeys(_NUMERIC, numeric),
        "knn": _algorithm("numpy", "scipy.sparse", "faiss", _serving("knn")),
        "blazingtext": _algorithm("numpy", "fasttext", _serving("blazingtext")),
        "python": Runtime(modules=("stagedoor.worker.warm_boto3",)),
    }
    for name, modules in FRAMEWORKS.items():
        python = chosen.get(name, own)
        runtimes[name] = Runtime(
            python=python,
            modules=modules,
            environment={"OMP_WAIT_POLICY": "PASSIVE"},
            hint=f"Install the framework with: pip install 'stagedoor[{name}]'",
            warm_up="when needed",
        )
    return runtimes


def _serving(algorithm: str) -> str:
    """What a model server of the algorithm would import first."""
    return f"stagedoor.worker.algorithms.{algorithm}_serving"


def _algorithm(*modules: str) -> Runtime:
    return Runtime(
        modules=modules,
        hidden_modules=("pandas", "pyarrow", "dask", "matplotlib"),
        environment={"OMP_WAIT_POLICY": "PASSIVE"},
        warm_up="when needed",
        hint="Install the algorithms with: pip install 'stagedoor[algorithms]'",
    )
