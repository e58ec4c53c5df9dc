"""The process that models trials for Bayesian search: questions come in on standard input, answers go out, one JSON a line.

Place in the flow: ``reconcile.tuning.proposer`` starts it when a tuning job first needs it, and ends it by closing its input; so
does the end of the server. It keeps Optuna, half a second of imports and 40 MB, out of the server.
"""

import json
import os
import sys

from stagedoor.worker.tuning.proposals import propose


def main() -> None:
    """Answer until the input ends: ``{"proposal": {...}}`` or ``{"error": text}``."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no answer
    for line in sys.stdin:
        try:
            answer: dict[str, object] = {"proposal": propose(json.loads(line))}
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
