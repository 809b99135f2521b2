"""StorageClass parameters, as typed values.

First step of every verb: what cannot be right is refused here, all mistakes at once, before the store hears of it.
Knows no client and makes no call.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from libbucket import InvalidConfig, ParameterReader

if TYPE_CHECKING:
    from collections.abc import Mapping

STORED_POLICY: Final = "stored-access-policy"
USER_DELEGATION: Final = "user-delegation-sas"
ROLE_ASSIGNMENT: Final = "role-assignment"

PRINCIPAL_KEY: Final = "azurePrincipalId"
"""Of `additionalConfig`: the object id of the identity that a claim's application has in Entra ID."""

PERMISSIONS: Final = "racwdxltfmei"
"""What a class may let its claims do, in the order in which Azure wants the letters.

Left out of all that a container's SAS could carry: ownership and access control (o, p), which are settings, and the
removal of soft-deleted data for good (y). Letters and order: "Create a service SAS", REST reference of Azure Storage.
"""

MOST_CHARACTERS: Final = 2048
"""Of one parameter, or of one key of the administrator's Secret: several times what any of them needs."""

MOST_CERTIFICATE_CHARACTERS: Final = 32768
"""Of a certificate with its private key and the authorities that signed it."""

_DEFAULT_PERMISSIONS: Final = "racwdxltf"
_DELEGATED_PERMISSIONS: Final = "racwdl"
"""What Storage Blob Data Contributor allows an identity, and with it a SAS that it signs."""
PUBLIC_SUFFIX: Final = "core.windows.net"
_MOST_SHOWN: Final = 64
_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}")
_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([dhm])")
_UNITS: Final[Mapping[str, timedelta]] = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
}
_GUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RESOURCE_GROUP: Final = re.compile(r"[\w().-]{0,89}[\w()-]")
"""1 to 90 characters, the last of which is no period: "Naming rules and restrictions for Azure resources"."""
_SCOPE: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SHORTEST_SCOPE, _LONGEST_SCOPE = 3, 63
""""Encryption Scopes - Put", REST reference of the storage resource provider."""
_MANAGEMENT: Final = "https://management.azure.com"
_CONTRIBUTOR: Final = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
"""Storage Blob Data Contributor: "Azure built-in roles for Storage"."""
_ACCOUNT_KEYS: Final = frozenset({"key1", "key2"})
_SHORTEST: Final = timedelta(hours=1)
_LONGEST: Final = timedelta(days=36500)
_POLICY_LIFETIME: Final = timedelta(days=3650)
_DELEGATION_LIFETIME: Final = timedelta(hours=24)
_LONGEST_DELEGATION: Final = timedelta(days=7)
"""Azure's limit: "Create a user delegation SAS", REST reference of Azure Storage."""


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """The parameters of one class.

    Attributes:
        account: name of the storage account.
        url: of the account's blob service, without a slash at the end.
        is_emulated: the account is in the path of the URL: azurite, and never Azure itself.
        secret_name: name of the administrator's Secret; empty for the pod's own identity.
        secret_namespace: namespace of the administrator's Secret.
        authority_host: URL of the token authority; empty for the public one, or what the pod's environment says.
        delegated: claims get a user-delegation SAS rather than one that is bound to a stored access policy.
        assigns_roles: claims get no SAS: the identity that a claim names gets a role on its container.
        subscription: id of the account's subscription; empty where Azure Resource Manager is not asked.
        resource_group: of the account.
        role: id of the role that identities of claims get.
        management_url: of Azure Resource Manager.
        account_key: which of the account's keys is read where no Secret holds it.
        permissions: letters of what claims may do, in Azure's order.
        lifetime: how long a SAS, or the stored access policy that it is bound to, lasts before it is renewed.
        encryption_scope: of new containers; empty for the account's own keys.
        warnings: for the author of the class.
    """

    account: str
    url: str
    is_emulated: bool
    secret_name: str
    secret_namespace: str
    authority_host: str
    delegated: bool
    permissions: str
    lifetime: timedelta
    assigns_roles: bool = False
    subscription: str = ""
    resource_group: str = ""
    role: str = _CONTRIBUTOR
    management_url: str = _MANAGEMENT
    account_key: str = "key1"
    encryption_scope: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def needs_identity(self) -> bool:
        """Whether the administrator is an identity, and its key is not asked for."""
        return self.delegated or self.assigns_roles

    @property
    def reads_keys(self) -> bool:
        """Whether the account's key is read from Azure Resource Manager."""
        return not self.needs_identity and not self.secret_name and bool(self.subscription)

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken there."""
        return self.url.startswith("https://")


def parse_parameters(given: Mapping[str, str]) -> Parameters:
    """Reads the parameters of a class.

    Raises:
        InvalidParameters: with every mistake at once.
    """
    reader = _reader(given)
    account = reader.text("storageAccount", required=True)
    if account and not _ACCOUNT.fullmatch(account):
        reader.mistake("storageAccount", f"must be 3 to 24 lower-case letters and digits, not {_shown(account)}")
    secret_name, secret_namespace = reader.secret()
    kind = reader.choice(
        "credentials", frozenset({STORED_POLICY, USER_DELEGATION, ROLE_ASSIGNMENT}), default=STORED_POLICY
    )
    url, is_emulated = _account_url(reader, account)
    permissions = _permissions(reader, delegated=kind == USER_DELEGATION)
    parsed = Parameters(
        account=account,
        url=url,
        is_emulated=is_emulated,
        secret_name=secret_name,
        secret_namespace=secret_namespace,
        authority_host=reader.url("authorityHost"),
        delegated=kind == USER_DELEGATION,
        permissions=permissions,
        lifetime=_lifetime(reader, delegated=kind == USER_DELEGATION),
        assigns_roles=kind == ROLE_ASSIGNMENT,
        subscription=_guid(reader, "subscription"),
        resource_group=_resource_group(reader),
        role=_guid(reader, "role") or _CONTRIBUTOR,
        management_url=reader.url("managementEndpoint") or _MANAGEMENT,
        account_key=reader.choice("accountKey", _ACCOUNT_KEYS, default="key1"),
        encryption_scope=_encryption_scope(reader),
        warnings=(*reader.unknown(), *_doubts(permissions)),
    )
    _check_together(reader, parsed)
    reader.finish()
    return parsed


def build_store_id(given: Mapping[str, str]) -> str:
    """Names the servers that the requests of a class go to: the account, and who issues tokens for it.

    Classes with keys go on while Entra ID is down. Takes whatever a class may hold, and raises nothing.
    """
    reader = _reader(given)
    url = _account_url(reader, reader.text("storageAccount"))[0].lower()
    if reader.text("credentials") not in {USER_DELEGATION, ROLE_ASSIGNMENT}:
        return url
    return f"{url} with tokens of {reader.url('authorityHost').lower() or 'the default authority'}"


def _reader(given: Mapping[str, str]) -> ParameterReader:
    """Reads what is short enough to be parsed; a longer value is a mistake."""
    reader = ParameterReader({name: value for name, value in given.items() if len(value) <= MOST_CHARACTERS})
    for name in sorted(name for name, value in given.items() if len(value) > MOST_CHARACTERS):
        reader.mistake(_shown(name)[1:-1], f"must have at most {MOST_CHARACTERS} characters")
    return reader


def _shown(text: str) -> str:
    """A text of anyone's, for a message."""
    return repr(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}...")


def _account_url(reader: ParameterReader, account: str) -> tuple[str, bool]:
    """Azure's own address of the account, or the given one; and whether the account is in its path."""
    url = reader.url("endpoint")
    path_style = reader.flag("pathStyle", default=_is_bare_address(url))
    if not url:
        return public_url(account), False
    return (f"{url}/{account}", True) if path_style else (url, False)


def public_url(account: str) -> str:
    """The account's address in the public cloud."""
    return f"https://{account}.blob.{PUBLIC_SUFFIX}"


def _is_bare_address(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _permissions(reader: ParameterReader, *, delegated: bool) -> str:
    given = reader.text("permissions", default=_DELEGATED_PERMISSIONS if delegated else _DEFAULT_PERMISSIONS)
    unknown = sorted(set(given) - set(PERMISSIONS))
    if unknown:
        reader.mistake("permissions", f"may hold the letters {PERMISSIONS}, not {_shown(''.join(unknown))}")
    if not set(given) & {"r", "l"}:
        reader.mistake("permissions", "must hold r or l: credentials are tried before a claim gets them")
    return "".join(letter for letter in PERMISSIONS if letter in given)


def _doubts(permissions: str) -> tuple[str, ...]:
    """Warnings about the letters of a class."""
    if "i" not in permissions:
        return ()
    warning = (
        "permissions holds i: a claim may set immutability policies on its blobs, for up to 400 years, and then "
        "neither claim nor container can be deleted"
    )
    return (warning,)


def _lifetime(reader: ParameterReader, *, delegated: bool) -> timedelta:
    default, longest = (_DELEGATION_LIFETIME, _LONGEST_DELEGATION) if delegated else (_POLICY_LIFETIME, _LONGEST)
    given = reader.text("expiry")
    if not given:
        return default
    found = _DURATION.fullmatch(given)
    if found is None:
        reader.mistake("expiry", f"must be a duration such as 90d, 12h or 90m, not {_shown(given)}")
        return default
    lifetime = int(found[1]) * _UNITS[found[2]]
    if not _SHORTEST <= lifetime <= longest:
        reader.mistake("expiry", f"must be between 1h and {longest.days}d, not {given!r}")
        return default
    return lifetime


def _guid(reader: ParameterReader, name: str) -> str:
    given = reader.text(name).lower()
    if given and not _GUID.fullmatch(given):
        reader.mistake(name, f"must be an id such as {_CONTRIBUTOR}, not {_shown(given)}")
        return ""
    return given


def _resource_group(reader: ParameterReader) -> str:
    given = reader.text("resourceGroup")
    if given and not _RESOURCE_GROUP.fullmatch(given):
        reader.mistake("resourceGroup", f"is no name of a resource group: {_shown(given)}")
        return ""
    return given


def _encryption_scope(reader: ParameterReader) -> str:
    given = reader.text("encryptionScope")
    if given and not (_SHORTEST_SCOPE <= len(given) <= _LONGEST_SCOPE and _SCOPE.fullmatch(given)):
        reader.mistake("encryptionScope", f"is no name of an encryption scope: {_shown(given)}")
        return ""
    return given


def parse_principal(config: Mapping[str, str]) -> str:
    """The identity that a claim names.

    Raises:
        InvalidConfig: it names none, or something else.
    """
    value = config.get(PRINCIPAL_KEY, "").lower()
    if not _GUID.fullmatch(value):
        raise InvalidConfig(
            f"additionalConfig.{PRINCIPAL_KEY} must be the object id of the application's identity in Entra ID (of its "
            f"service principal), because the class says credentials: {ROLE_ASSIGNMENT}; the operator has to allow the "
            f"key by --allow-additional-config"
        )
    return value


def _check_together(reader: ParameterReader, parsed: Parameters) -> None:
    is_named = bool(parsed.subscription and parsed.resource_group)
    if parsed.assigns_roles and not is_named:
        reader.mistake("subscription", f"is required with resourceGroup, because credentials is {ROLE_ASSIGNMENT}")
    if bool(parsed.subscription) != bool(parsed.resource_group):
        reader.mistake("resourceGroup", "and subscription are needed both, or neither")
    if not parsed.management_url.startswith("https://"):
        reader.mistake("managementEndpoint", "must be https")
    if not parsed.needs_identity and not parsed.secret_name and not parsed.secret_namespace and not is_named:
        reader.mistake(
            "secretName",
            "is required, because a SAS that is bound to a stored access policy is signed with the account's key; "
            f"with the pod's own identity, say credentials: {USER_DELEGATION}, or name subscription and resourceGroup, "
            "from which the key is read",
        )
    if parsed.needs_identity and not parsed.secure:
        reader.mistake("endpoint", "must be https where the administrator is an identity: tokens travel with TLS only")
    if parsed.authority_host.startswith("http:"):
        reader.mistake("authorityHost", "must be https")
