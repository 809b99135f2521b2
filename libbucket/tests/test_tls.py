"""TLS contexts: configured authorities, chain and host name."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import sys
import threading
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from urllib3.util import ssl_

from libbucket._kube.client import KubeClient
from libbucket._kube.client_config import Address, ClientConfig, TlsSettings
from libbucket._kube.errors import ClusterUnavailable, Misconfigured
from libbucket._kube.tls import build_context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class OldAuthority:
    """As created by old tools: no key usage, no key identifiers, basic constraints that are not critical."""

    def __init__(self, name: str = "kubernetes") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, None), critical=False)
        self.pem = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def server(self, address: str = "127.0.0.1") -> bytes:
        """Certificate and key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "apiserver")])
        certificate = self._builder(subject, key).add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder(subject_name=subject, issuer_name=self._name, public_key=key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=1))
        )


@pytest.fixture(autouse=True)
def _as_in_python_3_13(monkeypatch: pytest.MonkeyPatch) -> None:
    """urllib3 makes its contexts strict from that version on, as `ssl.create_default_context` does."""
    monkeypatch.setattr(ssl_, "sys", SimpleNamespace(version_info=max((3, 13), sys.version_info)))


@contextmanager
def serving(pair: bytes, directory: Path) -> Iterator[str]:
    (directory / "server.pem").write_bytes(pair)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, context), daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def _serve(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            accepted, _ = listener.accept()
        except OSError:
            return
        with accepted, suppress(OSError), context.wrap_socket(accepted, server_side=True) as wrapped:
            wrapped.recv(65536)
            wrapped.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")


def ask(url: str, **tls: bytes) -> bytes:
    client = KubeClient(ClientConfig(address=Address(host=url, tls=TlsSettings(**tls))))  # type: ignore[arg-type]
    try:
        return client.get("/version")
    finally:
        client.close()


def test_an_authority_without_the_extensions_of_today_is_trusted(tmp_path: Path) -> None:
    authority = OldAuthority()
    with serving(authority.server(), tmp_path) as url:
        assert ask(url, authorities=authority.pem) == b"{}"


def test_an_authority_among_others_and_comments_is_trusted(tmp_path: Path) -> None:
    authority = OldAuthority()
    with serving(authority.server(), tmp_path) as url:
        assert ask(url, authorities="Prüfstelle\n".encode() + OldAuthority("other").pem + authority.pem) == b"{}"


def test_a_certificate_of_another_authority_is_refused(tmp_path: Path) -> None:
    with serving(OldAuthority().server(), tmp_path) as url, pytest.raises(ClusterUnavailable, match="does not fit"):
        ask(url, authorities=OldAuthority("other").pem)


def test_a_certificate_of_an_authority_of_the_same_name_is_refused(tmp_path: Path) -> None:
    with serving(OldAuthority().server(), tmp_path) as url, pytest.raises(ClusterUnavailable, match="does not fit"):
        ask(url, authorities=OldAuthority().pem)


def test_a_certificate_for_another_host_is_refused(tmp_path: Path) -> None:
    authority = OldAuthority()
    refused = pytest.raises(ClusterUnavailable, match=r"does not fit .*127\.0\.0\.1")
    with serving(authority.server("127.0.0.2"), tmp_path) as url, refused:
        ask(url, authorities=authority.pem)


def test_without_a_configured_authority_the_default_strictness_stays() -> None:
    assert build_context(TlsSettings()).verify_flags & ssl.VERIFY_X509_STRICT


@pytest.mark.parametrize(
    "authorities", [b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_an_authority_that_is_none_is_one_sentence(authorities: bytes) -> None:
    with pytest.raises(Misconfigured, match="the certificate authority"):
        build_context(TlsSettings(authorities=authorities))
