"""The certificate authority of one data directory, and the certificates it gives the server's own names.

``DIR/tls/authority.pem`` (mode 0600) holds its key and certificate, ``DIR/tls/ca.pem`` the certificate alone and
``DIR/tls/bundle.pem`` that certificate with the machine's own ones: what clients are pointed at. The authority may only
sign for names of this machine, of private networks and of AWS: whoever trusts it and loses its key loses no more.
"""

import contextlib
import datetime as dt
import ipaddress
import os
import re
import socket
import ssl
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

AUTHORITY_DAYS: Final = 3650
LEAF_DAYS: Final = 397
_RENEW_DAYS: Final = 30
_CONTEXTS_MAX: Final = 256
LOCAL_NAMES: Final = (
    "localhost",
    "127.0.0.1",
    "::1",
    "*.localhost",
    "*.execute-api.localhost",
    "*.s3-website.localhost",
)
# Besides the machine's own name: what DNS keeps for private use, and AWS's names for `stagedoor env --proxy`.
_NAMES_ALLOWED: Final = (
    "localhost", "local", "lan", "internal", "home.arpa", "test", "amazonaws.com", "amazonaws.com.cn", "api.aws",
)  # fmt: skip
_NETWORKS_ALLOWED: Final = (
    "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16",
    "::1/128", "fc00::/7", "fe80::/10",
)  # fmt: skip
_DNS_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*")


class CertificateError(Exception):
    """A certificate cannot be made or read; the text says what to do about it."""


def server_context() -> ssl.SSLContext:
    """A context for the server's side: TLS 1.2 and newer, HTTP/1.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def context_of_files(certificate: Path, key: Path) -> ssl.SSLContext:
    """The context for a certificate (with its chain) and key given by the user. CertificateError names the file."""
    context = server_context()
    for path in (certificate, key):
        if not os.access(path, os.R_OK):
            raise CertificateError(f"{path} cannot be read. --tls-cert and --tls-key take PEM files.")
    try:
        # Nobody could type a pass phrase: an encrypted key is refused instead of asked about.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as error:
        raise CertificateError(
            f"{certificate} and {key} are no certificate and its unencrypted key in PEM: {error}."
        ) from error
    return context


class LocalCa:
    """The authority of ``folder``; made by whoever asks first, the server or a command."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._signer: tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None = None
        self._leaf_key: ec.EllipticCurvePrivateKey | None = None
        self._contexts: OrderedDict[tuple[str, ...], tuple[ssl.SSLContext, dt.datetime]] = OrderedDict()

    @property
    def certificate_path(self) -> Path:
        """The authority's certificate, for ``AWS_CA_BUNDLE`` and the like."""
        return self._folder / "ca.pem"

    @property
    def bundle_path(self) -> Path:
        """The authority's certificate and those that this machine trusts anyway."""
        return self._folder / "bundle.pem"

    def open(self) -> None:
        """Load the authority, or make it. Blocks. CertificateError when the folder cannot be used."""
        if self._signer is not None:
            return
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        path = self._folder / "authority.pem"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists():
                _write_once(path, _new_authority())
            text = path.read_bytes()
            certificate = x509.load_pem_x509_certificate(text)
            key = serialization.load_pem_private_key(text, None)
        except (OSError, ValueError) as error:
            raise CertificateError(f"The local authority {path} cannot be used: {error}.") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.not_valid_after_utc < _now():
            raise CertificateError(
                f"The local authority {path} is not valid any more. Delete {self._folder}; a new one is made, "
                "which clients then have to trust."
            )
        self._signer = key, certificate
        authority = certificate.public_bytes(serialization.Encoding.PEM)
        _write(self.certificate_path, authority)
        _write(self.bundle_path, authority + system_certificates())

    def context(self, names: Iterable[str]) -> ssl.SSLContext:
        """The server's side of TLS with a certificate for ``names`` (DNS names, wildcards, addresses). Blocks a little.

        The same names get the same context until its certificate nears its end. CertificateError for a name that the
        authority may not sign for.
        """
        wanted = tuple(dict.fromkeys(name.lower() for name in names))
        found = self._contexts.get(wanted)
        if found is not None and found[1] > _now():
            self._contexts.move_to_end(wanted)
            return found[0]
        self.open()
        for name in wanted:
            if not self._may_sign(name):
                raise CertificateError(
                    f"The local authority does not sign for {name!r}: only for this machine's names and private addresses. "
                    "Give a certificate with --tls-cert and --tls-key."
                )
        context = server_context()
        # The ssl module reads certificates from files only.
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix="leaf-", suffix=".pem") as file:
            file.write(self._new_leaf(wanted))
            file.flush()
            context.load_cert_chain(file.name)
        self._contexts[wanted] = context, _now() + dt.timedelta(days=LEAF_DAYS - _RENEW_DAYS)
        while len(self._contexts) > _CONTEXTS_MAX:
            self._contexts.popitem(last=False)
        return context

    def listener_context(self, host: str) -> ssl.SSLContext:
        """The server's side of TLS for a listener bound to ``host``. Blocks a little. CertificateError as ``context``."""
        names = self._names_of_host(host)
        context = self.context(names)

        def by_name(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            # Clients take no wildcard directly below a top-level name: buckets at BUCKET.localhost get their own. And
            # a server that runs for a year gets a new certificate in time.
            wanted = (name,) if name is not None and name.endswith(".localhost") else names
            with contextlib.suppress(CertificateError):
                connection.context = self.context(wanted)

        context.sni_callback = by_name
        return context

    def _names_of_host(self, host: str) -> tuple[str, ...]:
        """The names under which clients reach a listener bound to ``host``: the local ones, and its own. Blocks."""
        address = _address(host)
        if address is None or not address.is_unspecified:
            return (*LOCAL_NAMES, host)
        # Bound to all interfaces: the machine's name, and the addresses it knows of, as far as they can be signed for.
        self.open()
        names = [socket.gethostname().lower()]
        with contextlib.suppress(OSError):
            names += [
                str(entry[4][0]) for entry in socket.getaddrinfo(names[0], None, type=socket.SOCK_STREAM)
            ]
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # Sends nothing: it asks the system which address it would send from.
            probe.connect(("192.0.2.1", 9))
            names.append(probe.getsockname()[0])
        return (*LOCAL_NAMES, *(name for name in names if self._may_sign(name)))

    def _may_sign(self, name: str) -> bool:
        from cryptography import x509

        if self._signer is None:
            return False
        allowed = (
            self._signer[1].extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
        )
        address = _address(name)
        for subtree in allowed or ():
            value = subtree.value
            if address is not None:
                if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network) and address in value:
                    return True
            elif isinstance(value, str) and (name == value or name.endswith(f".{value}")):
                return _is_dns_name(name.removeprefix("*."))
        return False

    def _new_leaf(self, names: Sequence[str]) -> bytes:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        if self._signer is None:
            raise RuntimeError("the authority is not open")
        if self._leaf_key is None:
            self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        authority_key, authority = self._signer
        alternative: list[x509.GeneralName] = []
        for name in names:
            address = _address(name)
            alternative.append(x509.DNSName(name) if address is None else x509.IPAddress(address))
        public_key = self._leaf_key.public_key()
        certificate = (
            _builder(_name("stagedoor", ""), authority.subject, public_key, LEAF_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
            .sign(authority_key, hashes.SHA256())
        )
        return _pem(self._leaf_key) + certificate.public_bytes(serialization.Encoding.PEM)


def system_certificates() -> bytes:
    """The certificates that this machine trusts, in PEM; botocore's own list where the system keeps none in a file."""
    paths = ssl.get_default_verify_paths()
    for candidate in (paths.cafile, paths.openssl_cafile, "/etc/ssl/cert.pem"):
        if candidate and Path(candidate).is_file():
            return Path(candidate).read_bytes()
    import botocore

    return (Path(botocore.__file__).parent / "cacert.pem").read_bytes()


def _new_authority() -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    hostname = socket.gethostname().lower()
    dns = [*_NAMES_ALLOWED, *([hostname] if _is_dns_name(hostname) else [])]
    permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in dns]
    permitted += [x509.IPAddress(ipaddress.ip_network(network)) for network in _NETWORKS_ALLOWED]
    name = _name("stagedoor local authority", hostname)
    certificate = (
        _builder(name, name, key.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pem(key) + certificate.public_bytes(serialization.Encoding.PEM)


def _name(common_name: str, unit: str) -> "x509.Name":
    from cryptography import x509

    attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)]
    if unit:
        attributes.append(x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, unit[:64]))
    return x509.Name(attributes)


def _builder(
    subject: "x509.Name", issuer: "x509.Name", public_key: "ec.EllipticCurvePublicKey", days: int
) -> "x509.CertificateBuilder":
    from cryptography import x509

    # A day back: clocks of clients in containers and virtual machines may be late.
    begin = _now() - dt.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> "x509.KeyUsage":
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: "ec.EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_dns_name(name: str) -> bool:
    return len(name) <= 253 and _DNS_NAME.fullmatch(name) is not None


def _write(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, atomically."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    Path(temporary).replace(path)


def _write_once(path: Path, data: bytes) -> None:
    """The same, but what is there already stays: of two that make the file at once, one wins."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        Path(temporary).unlink()
