"""What user code tries in these tests: each attempt says ``done``, or with which error it failed.

This source is part of functions, pickles and jobs alike, so it needs the standard library alone.
"""

SOURCE = """
import os, socket, subprocess, sys

def attempt(action):
    try:
        return f"done: {action()!r}"[:300]
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:300]

def read(path):
    with open(path, "rb") as file:
        return len(file.read(64))

def write(path):
    with open(path, "ab") as file:
        file.write(b"x")

def connect_tcp(port, host="127.0.0.1"):
    with socket.create_connection((host, port), timeout=5) as there:
        return there.getpeername()

def connect_unix(path):
    with socket.socket(socket.AF_UNIX) as there:
        there.connect(path)
        return there.recv(64)

def send_udp(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        return out.sendto(b"secret", ("127.0.0.1", port))
"""


def failed(outcome: str) -> bool:
    """Whether an attempt came to nothing."""
    return not outcome.startswith("done")
