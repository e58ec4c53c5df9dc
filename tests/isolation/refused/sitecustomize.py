"""On ``PYTHONPATH``: this Python and all that it starts are refused ``unshare``, by which a process makes namespaces for itself.

bwrap makes them by ``clone``, so that what is left is a system on which it may and the server may not.
"""

import ctypes
import os
import struct

_UNSHARE = {"x86_64": 272, "aarch64": 97}
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse_unshare() -> None:
    instructions = (
        (_LOAD, 0, 0, 0),
        (_JUMP_EQUAL, 0, 1, _UNSHARE[os.uname().machine]),
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    )
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    program = _Program(len(instructions), code)
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0:
        libc.prctl(_NO_NEW_PRIVILEGES, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    address = ctypes.c_ulong(ctypes.addressof(program))
    if libc.prctl(_SECCOMP, ctypes.c_ulong(_FILTER), address, ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        raise OSError(ctypes.get_errno(), "the filter cannot be installed")


refuse_unshare()
