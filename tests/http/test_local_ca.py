"""The local authority: what it signs for, who may read it, and that clients believe it and nobody else."""

import asyncio
import contextlib
import datetime as dt
import multiprocessing
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from stagedoor.http.connection import Limits
from stagedoor.http.local_ca import LOCAL_NAMES, CertificateError, LocalCa, context_of_files
from stagedoor.http.message import Request, Response
from stagedoor.http.server import Server

NAMES = (
    "localhost",
    "127.0.0.1",
    "::1",
    "a.localhost",
    "a.s3.localhost",
    "abc.execute-api.localhost",
    "words.s3-website.localhost",
)


async def scheme(request: Request) -> Response:
    return Response(200, (), request.scheme.encode())


async def ask(port: int, name: str, trusted: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusted, server_hostname=name)
    writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


def test_clients_that_trust_it_reach_every_local_name_and_no_other(tmp_path: Path) -> None:
    ca = LocalCa(tmp_path / "tls")

    async def main() -> None:
        server = Server(scheme, tls=ca.listener_context("127.0.0.1"))
        await server.listen("127.0.0.1", 0)
        trusted = ssl.create_default_context(cafile=ca.certificate_path)
        for name in NAMES:
            assert (await ask(server.port, name, trusted)).endswith(b"https"), name
        for name in ("example.com", "192.168.7.7", "xlocalhost"):
            with pytest.raises(ssl.SSLCertVerificationError):
                await ask(server.port, name, trusted)
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(server.port, "localhost", ssl.create_default_context())
        await server.close(0)

    asyncio.run(main())


def test_it_signs_for_this_machine_private_networks_and_aws_alone(tmp_path: Path) -> None:
    ca = LocalCa(tmp_path / "tls")
    for name in (
        "sts.us-east-1.amazonaws.com",
        "a.b.s3.amazonaws.com",
        "s3.cn-north-1.amazonaws.com.cn",
        "10.1.2.3",
        "box.lan",
    ):
        assert ca.context([name]) is ca.context([name])
    for name in ("example.com", "8.8.8.8", "amazonaws.com.evil.example", "xamazonaws.com", "notlocalhost"):
        with pytest.raises(CertificateError, match="--tls-cert"):
            ca.context([name])
    # The certificate itself says so too: whoever has the key gets no further.
    authority = x509.load_pem_x509_certificate(ca.certificate_path.read_bytes())
    constraints = authority.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(
        True, 0
    )


def test_nobody_else_reads_it_and_it_stays_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    LocalCa(folder).open()
    first = (folder / "ca.pem").read_bytes()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert b"PRIVATE KEY" not in first + (folder / "bundle.pem").read_bytes()
    LocalCa(folder).context(LOCAL_NAMES)
    assert (folder / "ca.pem").read_bytes() == first
    assert sorted(path.name for path in folder.iterdir()) == ["authority.pem", "bundle.pem", "ca.pem"]


def test_the_bundle_has_the_machines_certificates_too(tmp_path: Path) -> None:
    ca = LocalCa(tmp_path / "tls")
    ca.open()
    trusted = ssl.create_default_context(cafile=ca.bundle_path)
    assert ca.bundle_path.read_bytes().startswith(ca.certificate_path.read_bytes())
    assert len(trusted.get_ca_certs()) > 50


def _open(folder: Path) -> None:
    LocalCa(folder).open()


def test_two_that_make_it_at_once_agree(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    made = [multiprocessing.get_context("spawn").Process(target=_open, args=(folder,)) for _ in range(4)]
    for process in made:
        process.start()
    for process in made:
        process.join()
        assert process.exitcode == 0
    whole = (folder / "authority.pem").read_bytes()
    assert whole.endswith((folder / "ca.pem").read_bytes())


def test_certificates_are_short_lived_and_fit_strict_verifiers(tmp_path: Path) -> None:
    ca = LocalCa(tmp_path / "tls")

    async def main() -> bytes:
        server = Server(scheme, tls=ca.context(LOCAL_NAMES))
        await server.listen("127.0.0.1", 0)
        strict = ssl.create_default_context(cafile=ca.certificate_path)
        strict.verify_flags |= ssl.VERIFY_X509_STRICT
        _, writer = await asyncio.open_connection(
            "127.0.0.1", server.port, ssl=strict, server_hostname="localhost"
        )
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await server.close(0)
        return found

    leaf = x509.load_der_x509_certificate(asyncio.run(main()))
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < dt.timedelta(days=398)


def test_certificates_of_the_user_are_served_and_bad_ones_named(tmp_path: Path) -> None:
    key, certificate, other = tmp_path / "key.pem", tmp_path / "cert.pem", tmp_path / "other.pem"
    for name, file in (("localhost", (key, certificate)), ("other", (other, tmp_path / "other-cert.pem"))):
        make = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "1",
            "-subj",
            f"/CN={name}",
        ]
        make += ["-addext", f"subjectAltName=DNS:{name}", "-keyout", str(file[0]), "-out", str(file[1])]
        subprocess.run(make, check=True, capture_output=True)
    assert isinstance(context_of_files(certificate, key), ssl.SSLContext)
    for given in ((certificate, other), (key, key), (tmp_path / "missing.pem", key)):
        with pytest.raises(CertificateError, match=r"\.pem"):
            context_of_files(*given)


@pytest.mark.parametrize("kind", ["silent", "plain"])
def test_handshakes_that_do_not_come_are_given_up(tmp_path: Path, kind: str) -> None:
    ca = LocalCa(tmp_path / "tls")

    async def main() -> None:
        server = Server(scheme, Limits(tls_handshake_timeout_s=0.2), tls=ca.context(LOCAL_NAMES))
        await server.listen("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        if kind == "plain":
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP/1.1 200" not in await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await server.close(0)

    asyncio.run(main())


def test_nothing_of_it_is_loaded_without_tls() -> None:
    code = "import sys, stagedoor.app; print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
