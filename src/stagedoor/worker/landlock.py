"""Landlock: the kernel's sandbox that needs no rights. What a process may do with files, TCP and signals from now on.

Place in the flow: ``confine`` makes one ruleset from a workload's ``grants`` and enforces it as one of the last rungs. What
the running kernel cannot enforce is left out, and ``abi_version`` says so: 1 files (Linux 5.13), 2 moves between folders,
3 truncation, 4 TCP (6.7), 5 device ioctls, 6 abstract sockets and signals (6.12).
"""

import ctypes
import os
from collections.abc import Iterable

from stagedoor.worker import linux

_SYS_CREATE_RULESET, _SYS_ADD_RULE, _SYS_RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH, _RULE_NET_PORT = 1, 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FIRST_RIGHTS = (1 << 13) - 1
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1 << 0, 1 << 1

READ = _EXECUTE | _READ_FILE | _READ_DIR
DEVICE = _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
# Everything but making devices: without privilege nobody could anyway.
WRITE = (_FIRST_RIGHTS | _REFER | _TRUNCATE) & ~(1 << 6) & ~(1 << 11)

_TCP_ABI, _SCOPES_ABI = 4, 6


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


class _NetPort(ctypes.Structure):
    _fields_ = (("rights", ctypes.c_uint64), ("port", ctypes.c_uint64))


def abi_version() -> int:
    """What the running kernel can enforce; OSError when it has no Landlock, or has it switched off."""
    return linux.syscall(_SYS_CREATE_RULESET, "landlock", 0, 0, _CREATE_RULESET_VERSION)


def enforce(
    paths: Iterable[tuple[str, int]], *, connect_ports: Iterable[int] | None, own_port: int | None = None
) -> int:
    """Allow this process and its future children exactly ``paths`` and ``connect_ports``; gives the ABI version.

    ``paths`` are existing files or folders with READ, WRITE, DEVICE; what does not exist is left out. ``connect_ports`` are
    TCP ports; None leaves TCP alone. ``own_port`` is one to listen on, and to connect to. Signals and abstract sockets go only to those confined together. Needs
    no-new-privileges. OSError.
    """
    abi = abi_version()
    handled = _FIRST_RIGHTS
    handled |= (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0) | (_IOCTL_DEV if abi >= 5 else 0)
    with_net = abi >= _TCP_ABI and connect_ports is not None
    attributes = _RulesetAttributes(
        handled,
        _BIND_TCP | _CONNECT_TCP if with_net else 0,
        _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if abi >= _SCOPES_ABI else 0,
    )
    size = 24 if abi >= _SCOPES_ABI else 16 if abi >= _TCP_ABI else 8
    ruleset = linux.syscall(
        _SYS_CREATE_RULESET, "landlock_create_ruleset", ctypes.addressof(attributes), size, 0
    )
    try:
        for path, rights in paths:
            _add_path(ruleset, path, rights & handled)
        if with_net:
            rules = dict.fromkeys(connect_ports or (), _CONNECT_TCP)
            if own_port is not None:
                rules[own_port] = _CONNECT_TCP | _BIND_TCP
            for port, rights in rules.items():
                rule = _NetPort(rights, port)
                _add(ruleset, _RULE_NET_PORT, ctypes.addressof(rule))
        linux.syscall(_SYS_RESTRICT_SELF, "landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
    return abi


def _add_path(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if not os.path.isdir(place):  # noqa: PTH112 - a descriptor
            rights &= _FILE_RIGHTS
        rule = _PathBeneath(rights, place)
        _add(ruleset, _RULE_PATH_BENEATH, ctypes.addressof(rule))
    finally:
        os.close(place)


def _add(ruleset: int, kind: int, rule: int) -> None:
    linux.syscall(_SYS_ADD_RULE, "landlock_add_rule", ruleset, kind, rule, 0)
