"""The server's one directory: made and locked at the start, and in it the keys that must survive a restart.

Place in the flow: ``app`` takes it before anything else is opened; everything durable lies below it.
"""

import dataclasses
import fcntl
import json
import os
import secrets
import time
from pathlib import Path
from typing import IO

from stagedoor.domain import ids

LOCK_ATTEMPTS = 6
RESTORE = "Restore it from a copy, or choose another directory with --data."


class DataDirectoryError(Exception):
    """The directory, or a file in it, cannot be used; the text says what to do about it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Keys:
    """What must stay secret and survive a restart: ``DIR/keys.json``, mode 0600."""

    root_access_key_id: str
    root_secret_access_key: str = dataclasses.field(repr=False)
    session_secret: str = dataclasses.field(repr=False)
    proxy_password: str = dataclasses.field(repr=False)


def take(directory: Path) -> IO[str]:
    """Make the directory (0700) and lock it for as long as what is returned stays open.

    DataDirectoryError when another server has it or it cannot be written.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        (directory / "logs").mkdir(exist_ok=True)
        lock = (directory / "lock").open("a+")
    except OSError as error:
        raise DataDirectoryError(
            f"The data directory {directory} cannot be used: {error.strerror}. Choose another with --data."
        ) from error
    for attempt in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            # `stagedoor status` and the like hold the lock for a moment when they look whether somebody has it.
            if attempt + 1 < LOCK_ATTEMPTS:
                time.sleep(0.05)
                continue
            lock.seek(0)
            raise DataDirectoryError(
                f"Another stagedoor (pid {lock.read().strip() or 'unknown'}) is using {directory}. "
                "Stop it with `stagedoor stop`, or choose another directory with --data."
            ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def load_keys(directory: Path, root_access_key_id: str, root_secret_access_key: str) -> tuple[Keys, bool]:
    """The server's keys, and whether the root key was made now: the root pair that is given wins, then what is stored.

    DataDirectoryError when the file cannot be read: new keys would lock everybody out of what is stored.
    """
    path = directory / "keys.json"
    try:
        stored: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        kept = {str(name): str(value) for name, value in stored.items()}
        bytes.fromhex(kept.get("session_secret", ""))
    except (OSError, ValueError, AttributeError) as error:
        raise DataDirectoryError(f"{path} cannot be read: {error}. {RESTORE}") from error
    access_key_id = root_access_key_id or kept.get("root_access_key_id")
    keys = Keys(
        access_key_id or ids.iam_id("AKIA"),
        root_secret_access_key or kept.get("root_secret_access_key") or ids.secret_access_key(),
        kept.get("session_secret") or secrets.token_hex(32),
        kept.get("proxy_password") or secrets.token_urlsafe(24),
    )
    return keys, not access_key_id


def keep_keys(directory: Path, keys: Keys) -> None:
    """Write ``DIR/keys.json`` unless it says the same already."""
    path = directory / "keys.json"
    text = json.dumps(dataclasses.asdict(keys), indent=1)
    if not path.exists() or path.read_text() != text:
        write_private(path, text)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, atomically."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with open(temporary, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
