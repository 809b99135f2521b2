"""A user's certificate has the name and groups that Kubernetes reads from it, and is signed by its authority."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from libbucket.testing.certificates import Authority


def values(name: x509.Name, oid: x509.ObjectIdentifier) -> list[str | bytes]:
    return [each.value for each in name.get_attributes_for_oid(oid)]


def test_a_users_certificate_names_the_user_and_all_groups() -> None:
    certificate = x509.load_pem_x509_certificate(Authority().client("mallory", ["visitors", "auditors"])[0])

    assert values(certificate.subject, NameOID.COMMON_NAME) == ["mallory"]
    assert values(certificate.subject, NameOID.ORGANIZATION_NAME) == ["visitors", "auditors"]


def test_a_user_without_groups_is_in_none() -> None:
    certificate = x509.load_pem_x509_certificate(Authority().client("mallory")[0])

    assert values(certificate.subject, NameOID.ORGANIZATION_NAME) == []


def test_a_users_certificate_is_issued_by_its_own_authority_only() -> None:
    authority = Authority()
    certificate = x509.load_pem_x509_certificate(authority.client("mallory")[0])
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate_pem))

    with pytest.raises(InvalidSignature):
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(Authority().certificate_pem))
