"""Arrays from the bodies of requests."""

from stagedoor.worker.script_codecs import decode

__all__ = ["decode"]
