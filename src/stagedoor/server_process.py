"""What a server asks of its own process: where its log goes, how many files it may open, that memory goes back.

Place in the flow: ``app.run`` calls these before it opens anything.
"""

import contextlib
import ctypes
import json
import logging
import resource
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from stagedoor.domain.clock import iso8601_ms
from stagedoor.domain.terminal import printable

OPEN_FILES = 16_384
LOG_FILE_BYTES = 16 * 1024 * 1024
# Parameters of glibc's mallopt(3).
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8


class _JsonLines(logging.Formatter):
    """A log record as one JSON object: what was passed as ``extra`` becomes members."""

    _KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": iso8601_ms(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in self._KNOWN}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _Sentence(logging.Formatter):
    """One sentence for a terminal; tracebacks go to the file alone."""

    def format(self, record: logging.LogRecord) -> str:
        return f"stagedoor: {printable(record.getMessage())} (more: `stagedoor logs`)"


def log_to(directory: Path, level: str) -> None:
    """All log records as lines of ``server.jsonl``; errors as sentences on standard error, too."""
    file = RotatingFileHandler(directory / "server.jsonl", maxBytes=LOG_FILE_BYTES, backupCount=3)
    file.setFormatter(_JsonLines())
    errors = logging.StreamHandler()
    errors.setLevel(logging.ERROR)
    errors.setFormatter(_Sentence())
    logging.basicConfig(level=level.upper(), handlers=[file, errors], force=True)


def raise_open_files_limit() -> None:
    """Room for the connections: systems often start processes with 1,024 files, and allow many more when asked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def bound_memory() -> None:
    """Have glibc give back the big blocks of transfers, instead of keeping some for every thread.

    Without it a 1 GB download by ten connections leaves 70 MB behind; other C libraries have no such habit.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_M_ARENA_MAX, 2)
        mallopt(_M_MMAP_THRESHOLD, 256 * 1024)


def give_memory_back() -> None:
    """Have glibc return what is free to the system now."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
