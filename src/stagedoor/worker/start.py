"""The program behind every warm parent: ``python -I .../worker/start.py parent|child|probe FD``.

Place in the flow: ``engine.local`` runs it with the runtime's own Python, which need not have stagedoor installed. So it
makes exactly this package importable from where this file is, and nothing else of the server's environment.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def adopt_package() -> None:
    """Make ``stagedoor`` importable in this process from the folder this file belongs to."""
    root = Path(__file__).resolve().parent.parent
    spec = spec_from_file_location("stagedoor", root / "__init__.py", submodule_search_locations=[str(root)])
    assert spec is not None and spec.loader is not None
    package = module_from_spec(spec)
    sys.modules["stagedoor"] = package
    spec.loader.exec_module(package)


def main(arguments: list[str]) -> int:
    """``parent FD``: FD is the control socket. ``child FD``: FD brings the workload and is the lifeline. ``probe FD``: FD
    brings an assignment, to see which isolation it would get.
    """
    adopt_package()
    if arguments[0] == "parent":
        from stagedoor.worker import parent

        return parent.main(int(arguments[1]))
    if arguments[0] == "probe":
        from stagedoor.worker import probe

        return probe.main(int(arguments[1]))
    from stagedoor.worker import spawned

    return spawned.main(int(arguments[1]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
