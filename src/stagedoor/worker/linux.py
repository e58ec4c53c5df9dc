"""The few Linux system calls that Python does not offer, by ctypes. Loaded before any fork; Linux only.

Place in the flow: ``parent`` and ``process`` tie processes together with them, ``confine`` builds its rungs on them.
"""

import ctypes
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38


def _prctl(option: int, argument: int) -> None:
    # prctl is variadic and reads longs: an int of ctypes' default width leaves half of each undefined.
    if _libc.prctl(ctypes.c_int(option), *(ctypes.c_ulong(value) for value in (argument, 0, 0, 0))) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")


def die_with_parent(signal_number: int) -> None:
    """Have this process get the signal when the thread that forked it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def become_subreaper() -> None:
    """Orphaned descendants become children of this process instead of init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def gain_no_privileges() -> None:
    """No exec from here on gives more rights (setuid, file capabilities)."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def set_title(title: str) -> None:
    """What ``ps`` shows: the short name, and the command line as far as the room of the original one goes."""
    encoded = title.encode(errors="replace")
    name = ctypes.create_string_buffer(encoded[:15])
    _prctl(_PR_SET_NAME, ctypes.addressof(name))
    # Fields 48 and 49 of stat: where the kernel finds the command line in this process's own memory.
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])
    if begin and end - begin > 1:
        room = end - begin
        ctypes.memmove(begin, encoded[: room - 1].ljust(room, b"\0"), room)
