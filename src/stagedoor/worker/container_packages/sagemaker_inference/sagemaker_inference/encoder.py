"""Arrays to the bodies of answers."""

from stagedoor.worker.script_codecs import encode

__all__ = ["encode"]
