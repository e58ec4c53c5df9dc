"""On ``PYTHONPATH``: what Python lacks on macOS is gone here too, and there is no ``/proc``.

It is no macOS; but code that would fail there for want of any of this fails here. Pythons that are started with ``-I`` get it as well:
``sys.executable`` is a script next to this file, which loads it.
"""

import fcntl
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any

_ABSENT: dict[Any, tuple[str, ...]] = {
    os: (
        *(
            "waitid",
            "sched_getaffinity",
            "sched_setaffinity",
            "memfd_create",
            "pidfd_open",
            "setresuid",
            "setresgid",
        ),
        *(
            "getresuid",
            "getresgid",
            "O_PATH",
            "O_TMPFILE",
            "splice",
            "copy_file_range",
            "posix_fadvise",
            "eventfd",
        ),
        *("posix_fallocate", "pipe2", "unshare", "setns", "getrandom", "setxattr", "getxattr"),
    ),
    socket: ("SO_PEERCRED", "SO_PASSCRED", "SCM_CREDENTIALS", "AF_NETLINK", "SOCK_CLOEXEC", "SOCK_NONBLOCK"),
    resource: ("prlimit", "RLIMIT_RTTIME", "RLIMIT_SIGPENDING", "RLIMIT_NICE"),
    signal: ("sigwaitinfo", "sigtimedwait", "pidfd_send_signal"),
}


def _no_proc(event: str, arguments: tuple[Any, ...]) -> None:
    if event in {"open", "os.listdir", "os.scandir", "os.chdir"} and arguments:
        place = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
        if isinstance(place, str) and (place == "/proc" or place.startswith("/proc/")):
            raise FileNotFoundError(2, "No such file or directory", place)


def be_darwin() -> None:
    # What the standard library itself imports differently by platform is imported before.
    import asyncio  # noqa: F401
    import ctypes.util  # noqa: F401
    import multiprocessing.connection  # noqa: F401
    import subprocess  # noqa: F401
    import sysconfig
    import tempfile  # noqa: F401
    import urllib.request  # noqa: F401

    sysconfig.get_config_vars()
    sys.platform = "darwin"
    for module, names in _ABSENT.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    vars(fcntl)["F_FULLFSYNC"] = fcntl.F_GETFD  # of its own; something harmless takes its place
    sys.executable = str(Path(__file__).with_name("python"))
    sys.addaudithook(_no_proc)


be_darwin()
