"""Which host names are AWS's own. Pure.

Clients that hard-code such names (the SageMaker SDKs do so for STS) reach this server through its proxy, which answers in
the names' place; see ``front.proxy``.
"""

import re
from typing import Final

SUFFIXES: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
_HOST: Final = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{2,63}")


def is_aws_name(host: str) -> bool:
    """Whether ``host`` (no port) is a name below AWS's API domains."""
    return host.endswith(SUFFIXES) and _HOST.fullmatch(host) is not None


def split_authority(authority: str) -> tuple[str, int] | None:
    """Host (lower case, without brackets and final dot) and port of a CONNECT's target; None when it is not of that form."""
    host, separator, port = authority.rpartition(":")
    if (
        not separator
        or not port.isascii()
        or not port.isdigit()
        or len(port) > 5
        or not 0 < int(port) < 65536
    ):
        return None
    if host.startswith("[") != host.endswith("]") or (":" in host and not host.startswith("[")):
        return None
    host = host.strip("[]").lower().removesuffix(".")
    return (host, int(port)) if host else None
