"""An application of Entra ID that shows a certificate: for tenants that forbid secrets of applications. In memory."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from libbucket import AccessDenied, InvalidAdminSecret, SecretStr
from testkit.azure.in_memory_world import BEGINNING, DELEGATED, World, world_in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """One that its own key has signed, as `az ad app credential reset --create-cert` makes it."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "provisioner")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    times = made.not_valid_before(BEGINNING).not_valid_after(BEGINNING + timedelta(days=365))
    return times.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes = b"") -> bytes:
    """A private key."""
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


KEY, OTHER = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
REGISTERED = certificate(KEY)


@pytest.fixture
def world() -> Iterator[World]:
    with world_in_memory() as made:
        made.identities.authority.certificate = REGISTERED
        made.secret = {name: made.secret[name] for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID")}
        yield made


def shown(*parts: bytes) -> SecretStr:
    return SecretStr(b"".join(parts).decode())


@pytest.mark.parametrize("parts", [(pem(KEY), REGISTERED), (REGISTERED, pem(KEY))], ids=["key first", "key last"])
def test_a_certificate_signs_in_and_its_claims_work(world: World, parts: tuple[bytes, ...]) -> None:
    world.secret["AZURE_CLIENT_CERTIFICATE"] = shown(*parts)
    bound = world.bind(world.request(**DELEGATED))
    assert world.application(bound).list_keys("photos") == []


def test_a_certificate_takes_the_place_of_a_secret(world: World) -> None:
    world.secret["AZURE_CLIENT_SECRET"] = SecretStr("one that has expired")
    with pytest.raises(AccessDenied, match="client's secret is wrong"):
        world.bind(world.request(**DELEGATED))
    world.secret["AZURE_CLIENT_CERTIFICATE"] = shown(pem(KEY), REGISTERED)
    assert world.application(world.bind(world.request(**DELEGATED))).list_keys("photos") == []


def test_a_certificate_that_is_not_registered_is_refused_and_not_repeated(world: World) -> None:
    world.secret["AZURE_CLIENT_CERTIFICATE"] = shown(pem(OTHER), certificate(OTHER))
    with pytest.raises(AccessDenied) as refused:
        world.bind(world.request(**DELEGATED))
    assert "PRIVATE" not in str(refused.value)
    assert "MII" not in str(refused.value)


@pytest.mark.parametrize(
    "parts",
    [
        (REGISTERED,),
        (pem(KEY),),
        (pem(KEY, b"password"), REGISTERED),
        (b"-----BEGIN CERTIFICATE-----",),
        (b"\x00\x01",),
        (pem(EC := ec.generate_private_key(ec.SECP256R1())), certificate(EC)),
    ],
    ids=["no key", "no certificate", "with a password", "half", "odd bytes", "not RSA"],
)
def test_what_is_no_certificate_with_its_key_is_named(world: World, parts: tuple[bytes, ...]) -> None:
    world.secret["AZURE_CLIENT_CERTIFICATE"] = shown(*parts)
    with pytest.raises(InvalidAdminSecret, match="AZURE_CLIENT_CERTIFICATE holds no certificate with its private RSA"):
        world.bind(world.request(**DELEGATED))
    assert world.requests == []


def test_a_certificate_has_an_application_and_a_length(world: World) -> None:
    world.secret["AZURE_CLIENT_CERTIFICATE"] = SecretStr("x" * 32769)
    with pytest.raises(InvalidAdminSecret, match="at most 32768 characters"):
        world.bind(world.request(**DELEGATED))
    world.secret = {"AZURE_CLIENT_CERTIFICATE": shown(pem(KEY), REGISTERED)}
    with pytest.raises(InvalidAdminSecret, match="AZURE_TENANT_ID is missing"):
        world.bind(world.request(**DELEGATED))


def test_a_token_of_one_certificate_is_not_used_for_another(world: World) -> None:
    world.secret["AZURE_CLIENT_CERTIFICATE"] = shown(pem(KEY), REGISTERED)
    world.bind(world.request(**DELEGATED))
    world.secret["AZURE_CLIENT_CERTIFICATE"] = shown(pem(OTHER), certificate(OTHER))
    with pytest.raises(AccessDenied):
        world.bind(world.request("music", **DELEGATED))
