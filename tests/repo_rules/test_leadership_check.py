"""Every provisioner checks leadership before each request: a replica that lost it sends nothing to the store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from aws_s3_provisioner.provisioner import AwsS3Provisioner
from azure_provisioner.provisioner import AzureProvisioner
from gcs_provisioner.provisioner import GcsProvisioner
from libbucket import ProvisionerError, SecretStr, Services
from libbucket.testing import builders
from libbucket.testing.misbehaving import Answer, scripted_server
from minio_provisioner.provisioner import MinioProvisioner

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket import Provisioner

SECRET = {"secretName": "admin", "secretNamespace": "storage"}
BUILDERS: dict[str, Callable[[Services], Provisioner]] = {
    "aws-s3": AwsS3Provisioner,
    "azure": AzureProvisioner,
    "gcs": GcsProvisioner,
    "minio": MinioProvisioner,
}
each_store = pytest.mark.parametrize("store", sorted(BUILDERS))


class Frozen(Exception):
    """The exception of the core's leadership check, which a provisioner does not know."""


def parameters(store: str, url: str) -> dict[str, str]:
    where = {
        "aws-s3": {"s3Endpoint": url, "iamEndpoint": url},
        "azure": {"storageAccount": "account", "endpoint": url},
        "gcs": {"endpoint": url, "iamEndpoint": url},
        "minio": {"endpoint": url},
    }
    return SECRET | where[store]


def secret(store: str, url: str) -> dict[str, str]:
    if store == "gcs":
        return {"service-account.json": google_key(url)}
    return {
        "AWS_ACCESS_KEY_ID": "root",
        "AWS_SECRET_ACCESS_KEY": "password",
        "AZURE_STORAGE_KEY": "a2V5",
        "MINIO_ROOT_USER": "root",
        "MINIO_ROOT_PASSWORD": "password",
    }


def google_key(url: str) -> str:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "1",
            "private_key": private.decode(),
            "client_email": "admin@project.iam.gserviceaccount.com",
            "token_uri": f"{url}/token",
        }
    )


def revoke(store: str, url: str, check: Callable[[], None]) -> None:
    held = {key: SecretStr(value) for key, value in secret(store, url).items()}
    provisioner = BUILDERS[store](Services(read_secret=lambda *_: held, before_request=check))
    provisioner.revoke(builders.intent(builders.options(parameters=parameters(store, url))))


@each_store
def test_a_request_is_not_sent_after_leadership_is_lost(store: str) -> None:
    def check() -> None:
        raise Frozen

    with scripted_server(Answer(status=500)) as server:
        with pytest.raises(Frozen):
            revoke(store, server.url, check)
        assert server.requests == []


@each_store
def test_the_same_request_is_sent_by_the_leader(store: str) -> None:
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1

    with scripted_server(Answer(status=500)) as server:
        with pytest.raises(ProvisionerError):
            revoke(store, server.url, check)
        assert len(server.requests) == asked
        assert asked >= 1
