"""Throw-away certificates and keys for servers under test: an authority, what it signs, a token-signing key.

Used by `controlplane`, and by tests of TLS. Writes files where it is told; starts nothing. trustme makes the authority
and the servers' certificates. Clients' certificates are signed here, since trustme knows neither several groups nor a
certificate without a host name. What an authority signs is valid for a day.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LIFE: Final = dt.timedelta(days=1)
_SKEW: Final = dt.timedelta(minutes=5)
_Pair = tuple[bytes, bytes]


class Authority:
    """A certificate authority for the length of a test.

    Attributes:
        certificate_pem: its own certificate, which clients are told to trust.
    """

    def __init__(self, name: str = "libbucket test authority") -> None:
        self._ca = trustme.CA(organization_unit_name=name)
        self.certificate_pem: bytes = self._ca.cert_pem.bytes()

    def server(self, *, hosts: Sequence[str] = ("localhost",), addresses: Sequence[str] = ("127.0.0.1",)) -> _Pair:
        """Certificate and key, as PEM, of a server that is reached under these names and addresses."""
        now = dt.datetime.now(dt.UTC)
        issued = self._ca.issue_cert(*hosts, *addresses, not_before=now - _SKEW, not_after=now + _LIFE)
        return issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()

    def client(self, name: str, groups: Sequence[str] = ()) -> _Pair:
        """Certificate and key, as PEM, of a user with groups, as Kubernetes reads them from a certificate."""
        key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
        issuer = x509.load_pem_x509_certificate(self.certificate_pem)
        issuer_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        authority_id = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id)
        builder = (
            x509.CertificateBuilder(subject_name=_user(name, groups), issuer_name=issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SKEW)
            .not_valid_after(now + _LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(authority_id, critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        )
        signing_key = serialization.load_pem_private_key(self._ca.private_key_pem.bytes(), None)
        assert isinstance(signing_key, ec.EllipticCurvePrivateKey)
        signed = builder.sign(signing_key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM), _private_pem(key)


def write_signing_key(directory: Path) -> tuple[Path, Path]:
    """Writes the key pair that service account tokens are signed with; gives private and public path."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = directory / "service-account.key", directory / "service-account.pub"
    private.write_bytes(_private_pem(key))
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def _user(name: str, groups: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
