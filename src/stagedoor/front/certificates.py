"""What a listener shows who begins TLS with it, as the settings say.

Place in the flow: asked by whoever ends a listener's TLS: ``app``, or the front processes that accept in its place.
"""

import ssl
from pathlib import Path

from stagedoor.http.local_ca import LocalCa, context_of_files
from stagedoor.settings import Settings

FOLDER = "tls"


def authority(settings: Settings) -> LocalCa:
    """The authority of the data directory."""
    return LocalCa(settings.data / FOLDER)


def listener_context(settings: Settings, ca: LocalCa, host: str) -> ssl.SSLContext | None:
    """The server's side of TLS for a listener bound to ``host``; None without TLS. Blocks a little. CertificateError."""
    if settings.tls_cert:
        return context_of_files(Path(settings.tls_cert), Path(settings.tls_key))
    return ca.listener_context(host) if settings.tls else None
