"""The imports that a runtime's workloads share: done once in the warm parent, before any fork.

Place in the flow: ``parent`` calls ``preload`` when the server opens it. It must leave no thread behind: a fork copies
only the calling thread, and a lock held by another would stay locked for ever in the child.
"""

import gc
import importlib
import importlib.util
import sys
from typing import cast

from stagedoor.worker import grants
from stagedoor.worker.assignment import RuntimeSetup

_ENTRIES = ("model_server", "function_worker", "job_runner")


def require(setup: RuntimeSetup) -> None:
    """ModuleNotFoundError when one of the runtime's modules is not installed; imports nothing.

    For parents that spawn: what they import themselves would help nobody, and what is missing is better said at once.
    """
    sys.path[:0] = setup.path
    for name in setup.modules:
        package = name.partition(".")[0]
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)


def preload(setup: RuntimeSetup) -> None:
    """Import the runtime's modules and the entries. ImportError (or what a module raises) when one cannot be."""
    sys.path[:0] = setup.path
    hidden = [name for name in setup.hidden_modules if name not in sys.modules]
    # None in sys.modules means "there is no such module": xgboost then leaves pandas and scikit-learn alone, whose
    # import takes three times as long as its own. The user's code can import them all the same, later.
    cast(dict[str, object], sys.modules).update(dict.fromkeys(hidden))
    try:
        for name in setup.modules:
            importlib.import_module(name)
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
    for name in _ENTRIES:
        importlib.import_module(f"stagedoor.worker.{name}")
    if sys.platform == "linux":
        # What each child would otherwise import and look up for itself, when its isolation is set up.
        for name in ("landlock", "private_root", "syscall_filter"):
            importlib.import_module(f"stagedoor.worker.{name}")
        grants.runtime_folders()
    # What exists now is shared with all children; the collector would copy those pages by touching them.
    gc.collect()
    gc.freeze()
