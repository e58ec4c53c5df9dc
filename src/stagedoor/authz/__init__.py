"""Signatures and policies as pure functions: who signed this, and may they do it. No I/O, no store."""
