"""How many threads numeric libraries use, also those that were loaded before a fork with another number.

Place in the flow: warm parents import numpy and xgboost with one thread (so that none exists at a fork);
``process.become`` then gives the new process its own number. Libraries loaded later read it from the environment.
"""

import contextlib
import ctypes
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_MAX_THREADS")

_LIBRARY = re.compile(r"/lib(gomp|omp|iomp5|openblas|scipy_openblas)[^/]*\.so[^/]*$")
_SETTERS = (
    "omp_set_num_threads",
    "openblas_set_num_threads",
    "scipy_openblas_set_num_threads",
    "scipy_openblas_set_num_threads64_",
)


def set_threads(count: int) -> None:
    """Tell the OpenMP and OpenBLAS libraries in this process to use ``count`` threads."""
    for path in _loaded_libraries():
        with contextlib.suppress(OSError):
            library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
            for name in _SETTERS:
                setter = getattr(library, name, None)
                if setter is not None:
                    setter(ctypes.c_int(count))


def _loaded_libraries() -> Iterator[str]:
    if sys.platform != "linux":
        return  # no fork there: every process reads the environment when it loads its libraries
    paths = {
        line.split(maxsplit=5)[5] for line in Path("/proc/self/maps").read_text().splitlines() if "/" in line
    }
    yield from (path for path in sorted(paths) if _LIBRARY.search(path))
