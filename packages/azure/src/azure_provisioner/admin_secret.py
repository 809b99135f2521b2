"""The administrator's Secret, as typed values: the account's key, or an application of Entra ID.

Read in every verb, before the store hears of it. Knows no client and makes no call; no message repeats what is secret.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from azure_provisioner.parameters import (
    MOST_CERTIFICATE_CHARACTERS,
    MOST_CHARACTERS,
    PUBLIC_SUFFIX,
    ROLE_ASSIGNMENT,
    USER_DELEGATION,
    public_url,
)
from libbucket import InvalidAdminSecret, SecretStr

if TYPE_CHECKING:
    from collections.abc import Mapping

    from azure_provisioner.parameters import Parameters

KEY: Final = "AZURE_STORAGE_KEY"
CONNECTION_STRING: Final = "AZURE_STORAGE_CONNECTION_STRING"
CLIENT_SECRET: Final = "AZURE_CLIENT_SECRET"  # noqa: S105 - the name of a key
CERTIFICATE: Final = "AZURE_CLIENT_CERTIFICATE"
CLIENT_KEYS: Final = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID")


@dataclass(frozen=True, kw_only=True)
class Client:
    """An application of Entra ID, and how it proves who it is.

    Attributes:
        tenant: id or domain.
        client: id of the application.
        secret: its own; or with `is_certificate` a certificate and its private key, as PEM.
        is_certificate: which of the two.
    """

    tenant: str
    client: str
    secret: SecretStr
    is_certificate: bool = False


@dataclass(frozen=True, kw_only=True)
class Admin:
    """The administrator's credentials. They are never handed to a claim.

    Attributes:
        key: of the storage account.
        client: an application of Entra ID.
        named: what messages call the source of these: the Secret, or the pod's own identity.
    """

    key: SecretStr | None = None
    client: Client | None = None
    named: str = "the pod's own identity"


def parse_admin(secret: Mapping[str, SecretStr], parameters: Parameters) -> Admin:
    """Reads the administrator's Secret: the account's key, a connection string that holds it, or a client's secret.

    Raises:
        InvalidAdminSecret: a key is missing, or is not what the class's `credentials` need.
    """
    named = f"Secret {parameters.secret_namespace}/{parameters.secret_name}"
    _check_lengths(secret, named)
    admin = Admin(key=_account_key(secret, parameters, named), client=_client(secret, named), named=named)
    if parameters.needs_identity and admin.client is None:
        kind = USER_DELEGATION if parameters.delegated else ROLE_ASSIGNMENT
        raise InvalidAdminSecret(
            f"{named}: needs the keys {', '.join(CLIENT_KEYS)} and {CLIENT_SECRET} or {CERTIFICATE}, because the class "
            f"says credentials: {kind}, for which an account key is not enough"
        )
    if not parameters.needs_identity and admin.key is None:
        raise InvalidAdminSecret(
            f"{named}: needs the key {KEY} or {CONNECTION_STRING}, because a SAS that is bound to a stored access "
            f"policy is signed with the account's key; without it, let the class say credentials: {USER_DELEGATION}"
        )
    return admin


def _check_lengths(secret: Mapping[str, SecretStr], named: str) -> None:
    for name in (KEY, CONNECTION_STRING, *CLIENT_KEYS, CLIENT_SECRET, CERTIFICATE):
        most = MOST_CERTIFICATE_CHARACTERS if name == CERTIFICATE else MOST_CHARACTERS
        if name in secret and len(secret[name].reveal()) > most:
            raise InvalidAdminSecret(f"{named}: key {name} must have at most {most} characters")


def _account_key(secret: Mapping[str, SecretStr], parameters: Parameters, named: str) -> SecretStr | None:
    for name in (KEY, CONNECTION_STRING):
        if secret.get(name):
            value = secret[name].reveal().strip()
            key = value if name == KEY else _key_in(value, parameters, named)
            if not _is_base64(key):
                raise InvalidAdminSecret(f"{named}: key {name} holds no account key, which is base64 text")
            return SecretStr(key)
    return None


def _key_in(connection_string: str, parameters: Parameters, named: str) -> str:
    pairs = (part.partition("=") for part in connection_string.split(";"))
    found = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if not found.get("accountkey"):
        raise InvalidAdminSecret(
            f"{named}: key {CONNECTION_STRING} holds no AccountKey; one with a shared access signature is not enough"
        )
    if found.get("accountname", parameters.account) != parameters.account:
        raise InvalidAdminSecret(
            f"{named}: key {CONNECTION_STRING} is of another account than parameter storageAccount says"
        )
    _check_endpoint(found, parameters, named)
    return found["accountkey"]


def _check_endpoint(found: Mapping[str, str], parameters: Parameters, named: str) -> None:
    """Refuses a connection string of another cloud, where the class leaves it to the public one."""
    if parameters.url != public_url(parameters.account):
        return
    suffix = found.get("endpointsuffix") or PUBLIC_SUFFIX
    url = found.get("blobendpoint") or f"https://{parameters.account}.blob.{suffix}"
    if url.rstrip("/").lower() != parameters.url:
        raise InvalidAdminSecret(
            f"{named}: key {CONNECTION_STRING} names another endpoint than {parameters.url}: have the StorageClass "
            "name it by parameter endpoint"
        )


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False


def _client(secret: Mapping[str, SecretStr], named: str) -> Client | None:
    """An application; with a certificate where there is one, so that it can take the place of a secret in two steps."""
    proof = CERTIFICATE if secret.get(CERTIFICATE) else CLIENT_SECRET
    wanted = (*CLIENT_KEYS, proof)
    values = {name: secret[name].reveal().strip() for name in wanted if secret.get(name)}
    if not values:
        return None
    missing = [name for name in wanted if not values.get(name)]
    if missing:
        raise InvalidAdminSecret(f"{named}: key {missing[0]} is missing or empty")
    tenant, client, shown = (values[name] for name in wanted)
    return Client(tenant=tenant, client=client, secret=SecretStr(shown), is_certificate=proof == CERTIFICATE)
