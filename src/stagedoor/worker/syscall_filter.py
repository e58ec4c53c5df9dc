"""A seccomp filter: system calls that no workload needs and that exploits and sandbox escapes use. Linux, x86-64 and arm64.

Place in the flow: ``confine`` installs it last. Refused calls fail with EPERM (``clone3`` with ENOSYS, whose callers then use ``clone``).
For a workload that may not go out it also closes the ways around Landlock's TCP rules: datagrams, raw and netlink sockets,
other stream protocols, TCP Fast Open.
"""

import errno
import platform
import socket
import struct

# Calls by (x86-64, arm64) number; None where an architecture has no such call.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "quotactl": (179, 60),
    "fanotify_init": (300, 262),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "vhangup": (153, 58),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "personality": (135, 92),
}
_CLONE, _CLONE3 = (56, 220), (435, 435)
_SOCKET = (41, 198)
_SENDTO, _SENDMSG, _SENDMMSG = (44, 206), (46, 211), (307, 269)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_X32_BIT = 0x40000000
_NEW_NAMESPACES = 0x7E020000
_MSG_FASTOPEN = 0x20000000

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER, _ARCHITECTURE = 0, 4
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000

_Block = list[tuple[int, int, int, int]]


def _argument(index: int) -> int:
    """Where the lower half of an argument lies in ``struct seccomp_data``; both architectures are little-endian."""
    return 16 + 8 * index


def _refuse(code: int) -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, _ERRNO | code)


def program(*, network: bool, machine: str | None = None) -> bytes:
    """The filter for this machine. OSError on an architecture that it is not written for.

    ``network``: leave sockets alone.
    """
    name = platform.machine() if machine is None else machine
    if name not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no system call filter is known for {name}")
    column, architecture = _ARCHITECTURES[name]
    code: _Block = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture),
        _refuse(errno.ENOSYS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if name == "x86_64":
        code += [(_JUMP_AT_LEAST, 0, 1, _X32_BIT), _refuse(errno.ENOSYS)]
    for numbers in _REFUSED.values():
        if (number := numbers[column]) is not None:
            code += [(_JUMP_EQUAL, 0, 1, number), _refuse(errno.EPERM)]
    code += [(_JUMP_EQUAL, 0, 1, _CLONE3[column]), _refuse(errno.ENOSYS)]
    code += _when(_CLONE[column], _flag_refused(0, _NEW_NAMESPACES))
    if not network:
        code += _when(_SOCKET[column], _only_plain_sockets())
        for numbers, flags in ((_SENDTO, 3), (_SENDMSG, 2), (_SENDMMSG, 3)):
            code += _when(numbers[column], _flag_refused(flags, _MSG_FASTOPEN))
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _when(number: int, block: _Block) -> _Block:
    """``block`` (which always returns) for one call."""
    return [(_JUMP_EQUAL, 0, len(block), number), *block]


def _flag_refused(argument: int, flags: int) -> _Block:
    return [
        (_LOAD, 0, 0, _argument(argument)),
        (_JUMP_ANY_BIT, 0, 1, flags),
        _refuse(errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _only_plain_sockets() -> _Block:
    """Unix sockets, and TCP over IP; the type's upper bits are flags (non-blocking, close on exec)."""
    return [
        (_LOAD, 0, 0, _argument(0)),
        (_JUMP_EQUAL, 8, 0, socket.AF_UNIX),
        (_JUMP_EQUAL, 1, 0, socket.AF_INET),
        (_JUMP_EQUAL, 0, 7, 10),  # AF_INET6 as Linux numbers it
        (_LOAD, 0, 0, _argument(1)),
        (_AND, 0, 0, 0xF),
        (_JUMP_EQUAL, 0, 4, socket.SOCK_STREAM),
        (_LOAD, 0, 0, _argument(2)),
        (_JUMP_EQUAL, 1, 0, 0),
        (_JUMP_EQUAL, 0, 1, socket.IPPROTO_TCP),
        (_RETURN, 0, 0, _ALLOW),
        _refuse(errno.EACCES),
    ]
