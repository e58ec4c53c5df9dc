"""``python -m stagedoor``: the same as the ``stagedoor`` command."""

from stagedoor.cli import main

main()
