"""The few Linux system calls that Python does not offer, by ctypes. Loaded before any fork; Linux only.

Place in the flow: ``parent``, ``process`` and ``division`` tie processes together with them; ``confine``, ``private_root``,
``landlock`` and ``syscall_filter`` build the rungs of isolation on them. All raise OSError.
"""

import contextlib
import ctypes
import os
import platform
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_RDONLY = 0x1
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
_MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000

_SYS_MOUNT_SETATTR = 442  # calls newer than 2019 have one number on every architecture
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPABILITY_VERSION_3 = 0x20080522
_HIGHEST_CAPABILITY = 63


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def syscall(number: int, what: str, *arguments: int) -> int:
    """A system call that libc has no function for. Arguments are integers; addresses are ``ctypes.addressof``'s."""
    return _check(_libc.syscall(ctypes.c_long(number), *(ctypes.c_long(value) for value in arguments)), what)


def _prctl(option: int, *arguments: int) -> None:
    # prctl is variadic and reads longs: an int of ctypes' default width leaves half of each undefined.
    padded = (*arguments, 0, 0, 0, 0)[:4]
    _check(
        _libc.prctl(ctypes.c_int(option), *(ctypes.c_ulong(value) for value in padded)), f"prctl({option})"
    )


# A process and its parent -------------------------------------------------------------------------------------------


def die_with_parent(signal_number: int) -> None:
    """Have this process get the signal when the thread that forked it ends. A change of user forgets it."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def become_subreaper() -> None:
    """Orphaned descendants become children of this process instead of init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def hide_from_debuggers() -> None:
    """Nobody without privilege may read this process's memory or environment, or trace it. An exec ends that."""
    _prctl(_PR_SET_DUMPABLE, 0)


def own_proc_files() -> None:
    """Let this process write its own files in /proc again, which it lost with a change of its rights."""
    _prctl(_PR_SET_DUMPABLE, 1)


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


# Rights -------------------------------------------------------------------------------------------------------------


def gain_no_privileges() -> None:
    """No exec from here on gives more rights (setuid, file capabilities)."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def drop_capabilities() -> None:
    """Give up every capability, also the right to get one back by an exec."""
    for capability in range(_HIGHEST_CAPABILITY + 1):
        try:
            _prctl(_PR_CAPBSET_DROP, capability)
        except OSError:
            break  # beyond the last one, or no right to drop: then there is none to lose either
    with contextlib.suppress(OSError):
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(ctypes.byref(header), ctypes.byref((_CapabilityData * 2)())), "capset")


def filter_syscalls(program: bytes) -> None:
    """Install a seccomp filter: ``program`` is an array of ``struct sock_filter``. Needs no-new-privileges."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    loaded = Program(len(program) // 8, program)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(loaded))


# Namespaces ---------------------------------------------------------------------------------------------------------


def unshare(flags: int) -> None:
    """Leave the namespaces that ``flags`` (CLONE_NEW…) name for new ones; a PID namespace is for children."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Hang a file system, or with MS_BIND a folder, into this mount namespace."""
    arguments = (source.encode() or None, target.encode(), kind.encode() or None)
    _check(
        _libc.mount(*arguments, ctypes.c_ulong(flags), options.encode() or None), f"mount {kind} on {target}"
    )


def restrict_mount(target: str, attributes: int) -> None:
    """Give a mount and all below it attributes (MOUNT_ATTR_…). Linux 5.12."""
    wanted = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    path = ctypes.create_string_buffer(target.encode())
    where = (_AT_FDCWD, ctypes.addressof(path), _AT_RECURSIVE)
    size = ctypes.sizeof(wanted)
    syscall(_SYS_MOUNT_SETATTR, f"mount_setattr {target}", *where, ctypes.addressof(wanted), size)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make ``new_root`` the root of this mount namespace, and hang the old root below it."""
    number = _SYS_PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise OSError(38, f"pivot_root: not known on {platform.machine()}")
    new, old = ctypes.create_string_buffer(new_root.encode()), ctypes.create_string_buffer(put_old.encode())
    syscall(number, "pivot_root", ctypes.addressof(new), ctypes.addressof(old))


def unmount(target: str) -> None:
    """Take a mount and all below it away, now for new users and later for those who still use it."""
    _check(_libc.umount2(target.encode(), ctypes.c_int(_MNT_DETACH)), f"umount {target}")
