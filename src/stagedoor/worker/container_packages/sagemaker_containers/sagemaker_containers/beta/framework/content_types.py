"""Content types by name."""

from stagedoor.worker import script_codecs
from stagedoor.worker.script_codecs import ANY, CSV, JSON, NPY, NPZ, OCTET_STREAM

__all__ = ["ANY", "CSV", "JSON", "NPY", "NPZ", "OCTET_STREAM", "UTF8_TYPES"]

UTF8_TYPES = list(script_codecs.UTF8_TYPES)
