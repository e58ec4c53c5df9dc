"""Leads programs of the user, and the packages beside this one, to stagedoor's worker code in whatever Python they run."""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[4])]
