"""The administrator's Secret as a typed value: a service-account key, or an external-account file.

Read before a connection is made: what may run programs, or send tokens to other addresses, is refused here. Knows no
parameter of a class, and makes no call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from libbucket import InvalidAdminSecret, SecretStr, parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping


_SHOWN: Final = 60
_UNIVERSE: Final = "googleapis.com"


DEFAULT_TOKEN_URI: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address, no token


STS_ADDRESSES: Final = ("https://sts.googleapis.com/v1/",)


IMPERSONATION_ADDRESSES: Final = ("https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/",)
"""Where external accounts may get tokens; tests add the fake's."""


MOST_OF_KEY_FILE: Final = 16 * 1024
"""A key file has 2.4 KB: https://cloud.google.com/iam/docs/keys-create-delete."""


_ADMIN_KEYS: Final = ("GOOGLE_APPLICATION_CREDENTIALS_JSON", "key.json", "credentials.json", "service-account.json")


_KEY_FIELDS: Final = ("client_email", "private_key", "token_uri")


@dataclass(frozen=True, kw_only=True)
class Admin:
    """The administrator's credentials. They are never handed to a claim.

    Attributes:
        key: the key file of a service account, parsed, or the fields of an external account; do not print it.
        project: the project that it names; may be empty.
        token_uri: where tokens of service-account keys are asked for.
        subject_file: of an external account, the file with the token of its own identity provider; else empty.
    """

    key: Mapping[str, SecretStr]
    project: str
    token_uri: str
    subject_file: str = ""

    def reveal(self) -> dict[str, str]:
        """The key file as google-auth takes it."""
        return {name: value.reveal() for name, value in self.key.items()}


def parse_admin(secret: Mapping[str, SecretStr], *, named: str) -> Admin:
    """Reads the administrator's Secret: one key of it holds a service-account key, or an external-account file.

    Args:
        secret: the Secret's decoded data.
        named: `namespace/name`, for messages.

    Raises:
        InvalidAdminSecret: no such key, or what it holds is neither of the two.
    """
    name = next((each for each in _ADMIN_KEYS if secret.get(each)), None)
    if name is None:
        raise InvalidAdminSecret(f"Secret {named}: needs one of the keys {', '.join(_ADMIN_KEYS)}")
    key = parse_key(secret[name])
    if key is not None and key.get("type") == "external_account":
        return _parse_external(secret[name], key, where=f"Secret {named}: {name}")
    if key is None or key.get("type") != "service_account":
        # Not any other kind: such a file may name programs to run and addresses to ask.
        raise InvalidAdminSecret(
            f"Secret {named}: {name} must hold the JSON key of a service account, or an external-account file"
        )
    _check_universe(key, where=f"Secret {named}: {name}")
    missing = [each for each in _KEY_FIELDS if not key.get(each)]
    if missing:
        raise InvalidAdminSecret(f"Secret {named}: {name} lacks the field {missing[0]}")
    return Admin(
        key={field: SecretStr(value) for field, value in key.items()},
        project=key.get("project_id", ""),
        token_uri=key["token_uri"],
    )


def _parse_external(text: SecretStr, fields: Mapping[str, str], *, where: str) -> Admin:
    """An external-account file of Workload Identity Federation, with a token in a file.

    Its addresses must be Google's, and its token a file's: others can run programs, or send tokens anywhere.
    https://google.aip.dev/auth/4117
    """
    _check_universe(fields, where=where)
    source = parse_json(text.reveal()).get("credential_source")
    file = source.get("file") if isinstance(source, dict) else None
    form = source.get("format", {"type": "text"}) if isinstance(source, dict) else None
    if not isinstance(file, str) or not file.startswith("/") or form != {"type": "text"}:
        raise InvalidAdminSecret(
            f"{where}: credential_source of an external account must name a file with a token as plain text"
        )
    addresses = {"token_url": STS_ADDRESSES, "service_account_impersonation_url": IMPERSONATION_ADDRESSES}
    for field, allowed in addresses.items():
        value = fields.get(field, "")
        if not value.startswith(allowed) and (value or field == "token_url"):
            raise InvalidAdminSecret(f"{where}: {field} of an external account must begin with {allowed[0]}")
    missing = [each for each in ("audience", "subject_token_type") if not fields.get(each)]
    if missing:
        raise InvalidAdminSecret(f"{where} lacks the field {missing[0]}")
    kept = ("audience", "subject_token_type", *addresses)
    return Admin(
        key={field: SecretStr(fields[field]) for field in kept if field in fields},
        project=fields.get("quota_project_id", ""),
        token_uri=DEFAULT_TOKEN_URI,
        subject_file=file,
    )


def _check_universe(fields: Mapping[str, str], *, where: str) -> None:
    """Refuses credentials of another cloud than Google's public one: https://google.aip.dev/auth/4120."""
    universe = fields.get("universe_domain") or _UNIVERSE
    if universe != _UNIVERSE:
        raise InvalidAdminSecret(f"{where} is of universe domain {universe[:_SHOWN]}: only {_UNIVERSE} is supported")


def parse_key(text: SecretStr) -> dict[str, str] | None:
    """The fields of a service-account key file that are text; None where it is no JSON object, or too long for one."""
    if len(text.reveal()) > MOST_OF_KEY_FILE:
        return None
    try:
        found: Any = parse_json(text.reveal())
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    return {name: value for name, value in found.items() if isinstance(value, str)}
