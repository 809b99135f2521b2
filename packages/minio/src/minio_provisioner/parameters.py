"""StorageClass parameters, `additionalConfig` and the administrator's Secret, as typed values.

First step of every verb: what cannot be right is refused here, all mistakes at once, before the store hears
of it. Everything has a limit that is checked before it is parsed. Knows no client and makes no call.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from libbucket import Address, InvalidAdminSecret, InvalidConfig, ParameterReader, SecretStr, parse_quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket import AccessKeys

SIZE_KEYS: Final = ("maxSize", "bucketMaxSize")
VERSIONING_KEY: Final = "bucketVersioning"

_ADMIN_KEYS: Final = (
    ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"),
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    ("rootUser", "rootPassword"),  # MinIO's own chart
    ("root-user", "root-password"),  # Bitnami's chart
)
_CA_KEY: Final = "ca.crt"
_RETENTION_MODES: Final = frozenset({"", "GOVERNANCE", "COMPLIANCE"})
_MOST_DAYS: Final = 36_500
"""MinIO's own limit: `maximumRetentionDays` in `internal/bucket/object/lock/lock.go`."""
_REGION: Final = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?")
_HOST: Final = re.compile(r"[a-zA-Z0-9_]([a-zA-Z0-9._-]{0,251}[a-zA-Z0-9_])?|[0-9a-fA-F:.]{2,45}")
_LARGEST_SIZE: Final = 2**63 - 1

MAX_PARAMETER: Final = 1024
"""Characters of a class parameter other than `caBundle`: the longest is a URL, of a host of 253 characters."""
MAX_PEM: Final = 256 * 1024
"""Characters of a bundle of certificates: the authorities that a system trusts, all of them, are about 220 KiB."""
MAX_ADMIN_KEY: Final = 1024
"""Characters of an administrator's name or password."""
MAX_SECRET_KEY: Final = 128
"""Characters of a secret key in a claim's Secret: generated ones have 40."""
_MAX_SHOWN: Final = 100
"""Characters of a wrong value that a message repeats."""


@dataclass(frozen=True, kw_only=True)
class Locks:
    """What an application may lock in a bucket with object locking.

    Attributes:
        max_days: the longest retention; 0 is none at all, None is any.
        mode: the only mode of retention; empty for both.
    """

    max_days: int | None = None
    mode: str = ""


@dataclass(frozen=True, kw_only=True)
class Quotas:
    """What a class says of the quotas of its buckets, in bytes.

    Attributes:
        default: of a claim that says nothing; None where the class says nothing either.
        largest: that a claim may have; None for any.
    """

    default: int | None = None
    largest: int | None = None

    @property
    def of_class(self) -> int | None:
        """The quota of a claim that says nothing."""
        return self.largest if self.default is None else self.default


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """The parameters of one class.

    Attributes:
        endpoint: where the provisioner reaches MinIO: S3 and admin API.
        public: what applications are told.
        region: requests are signed for it.
        ca_bundle: PEM of the certificate authorities to trust; empty for the public ones.
        secret_name: name of the administrator's Secret.
        secret_namespace: namespace of the administrator's Secret.
        locks: new buckets are made with object locking, and applications may lock this; None for buckets without it.
        versioning: new buckets keep versions.
        quotas: of new buckets.
        warnings: what the author of the class should hear.
    """

    endpoint: Address
    public: Address
    region: str
    ca_bundle: str
    secret_name: str
    secret_namespace: str
    locks: Locks | None
    versioning: bool
    quotas: Quotas
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Admin:
    """The administrator's credentials. They are never handed to a claim."""

    access_key: str
    secret_key: SecretStr
    ca_bundle: str = ""


def parse_store_id(given: Mapping[str, str]) -> str:
    """The address that the requests of a class go to, in one spelling; whatever else is wrong with the class."""
    bounded = {key: value for key in ("endpoint", "secure") if len(value := given.get(key, "")) <= MAX_PARAMETER}
    reader = ParameterReader(_with_schemes(bounded))
    url = _endpoint_url(reader, bounded, secure=reader.flag("secure", default=True))
    return Address.from_url(url).url if url else given.get("endpoint", "")[:MAX_PARAMETER]


def parse_parameters(given: Mapping[str, str]) -> Parameters:
    """Reads the parameters of a class.

    Raises:
        InvalidParameters: with every mistake at once.
    """
    given, too_long = _bounded(given)
    reader = ParameterReader(_with_schemes(given))
    for name, limit in too_long.items():
        reader.mistake(name, f"must be at most {limit:,} characters long")
    secure = reader.flag("secure", default=True)
    endpoint = _address(reader, "endpoint", _endpoint_url(reader, given, secure=secure))
    public = reader.url("publicEndpoint")
    object_locking = reader.flag("objectLocking", default=False)
    secret_name, secret_namespace = reader.secret(required=True)
    parsed = Parameters(
        endpoint=endpoint,
        public=_address(reader, "publicEndpoint", public) if public else endpoint,
        region=reader.text("region", default="us-east-1"),
        ca_bundle=_ca_bundle(reader),
        secret_name=secret_name,
        secret_namespace=secret_namespace,
        locks=_locks(reader, object_locking=object_locking),
        versioning=reader.flag("versioning", default=object_locking),
        quotas=_quotas(reader),
        warnings=reader.unknown(),
    )
    if not _REGION.fullmatch(parsed.region):
        reader.mistake(
            "region", f"must be at most 63 letters, digits, hyphens and underscores, not {shown(parsed.region)}"
        )
    if object_locking and not parsed.versioning:
        reader.mistake("versioning", "must not be false where objectLocking is true: MinIO locks versions")
    reader.finish()
    return parsed


def parse_admin(secret: Mapping[str, SecretStr], *, named: str) -> Admin:
    """Reads the administrator's Secret: MinIO's own pair of keys, the two AWS ones, or those of MinIO's charts.

    Args:
        secret: the Secret's decoded data.
        named: `namespace/name`, for messages.

    Raises:
        InvalidAdminSecret: a key is missing, or `ca.crt` holds no certificate.
    """
    ca_bundle = secret[_CA_KEY].reveal() if _CA_KEY in secret else ""
    if ca_bundle.strip() and not _is_pem(ca_bundle):
        raise InvalidAdminSecret(
            f"Secret {named}: key {_CA_KEY} must hold certificates in PEM, of at most {MAX_PEM:,} characters"
        )
    for user_key, password_key in _ADMIN_KEYS:
        if secret.get(user_key) or secret.get(password_key):
            user, password = (_admin_key(secret, key, named) for key in (user_key, password_key))
            if not user.isascii() or not user.isprintable():
                raise InvalidAdminSecret(f"Secret {named}: key {user_key} must be printable ASCII")
            return Admin(access_key=user, secret_key=SecretStr(password), ca_bundle=ca_bundle.strip())
    pairs = " or ".join(f"{user} and {password}" for user, password in _ADMIN_KEYS[:2])
    raise InvalidAdminSecret(f"Secret {named}: needs the keys {pairs}")


def _admin_key(secret: Mapping[str, SecretStr], key: str, named: str) -> str:
    value = secret[key].reveal() if key in secret else ""
    if len(value) > MAX_ADMIN_KEY:
        raise InvalidAdminSecret(f"Secret {named}: key {key} must be at most {MAX_ADMIN_KEY:,} characters long")
    if not value.strip():
        raise InvalidAdminSecret(f"Secret {named}: key {key} is missing or empty")
    return value.strip()


def parse_quota(config: Mapping[str, str], quotas: Quotas) -> int | None:
    """The bucket's quota in bytes: the smaller of `maxSize` and `bucketMaxSize`, else what the class says.

    Returns:
        0 is MinIO's own "no limit"; None where neither claim nor class says anything.

    Raises:
        InvalidConfig: a value is no quantity, or larger than the class allows; the key is named.
    """
    sizes = {key: _parse_size(key, config[key]) for key in SIZE_KEYS if key in config}
    if not sizes:
        return quotas.of_class
    size = min((size for size in sizes.values() if size), default=0)
    if quotas.largest is not None and not 0 < size <= quotas.largest:
        key = next(key for key, value in sizes.items() if value == size)
        allowed = f"between 1 and {quotas.largest:,} bytes, as parameter maxQuota of the StorageClass says"
        raise InvalidConfig(f"additionalConfig.{key} must be {allowed}, not {shown(config[key])}")
    return size


def parse_versioning(config: Mapping[str, str], *, object_locking: bool) -> str | None:
    """`Enabled` or `Suspended` as the claim asks for it; None where it doesn't say.

    Raises:
        InvalidConfig: another value, or Suspended on a bucket with object locking.
    """
    value = config.get(VERSIONING_KEY)
    if value is not None and value not in {"Enabled", "Suspended"}:
        raise InvalidConfig(f"additionalConfig.{VERSIONING_KEY} must be Enabled or Suspended, not {shown(value)}")
    if value == "Suspended" and object_locking:
        raise InvalidConfig(
            f"additionalConfig.{VERSIONING_KEY} can't be Suspended: buckets of this class have object locking"
        )
    return value


def is_plausible(keys: AccessKeys) -> bool:
    """Whether a claim's Secret may hold these as they were issued: nothing else of what a tenant writes is sent."""
    return len(keys.secret_access_key.reveal()) <= MAX_SECRET_KEY


def shown(value: str) -> str:
    """A wrong value as a message repeats it: its beginning."""
    return repr(value) if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]!r}... ({len(value):,} characters)"


def _parse_size(key: str, value: str) -> int:
    try:
        return _size(value)
    except ValueError as error:
        raise InvalidConfig(f"additionalConfig.{key} {error}") from error


def _size(value: str) -> int:
    size = parse_quantity(value)
    if size > _LARGEST_SIZE:
        raise ValueError(f"is larger than MinIO supports: {shown(value)}")
    return size


def _locks(reader: ParameterReader, *, object_locking: bool) -> Locks | None:
    days = reader.number("maxRetentionDays", default=-1)
    mode = reader.choice("retentionMode", _RETENTION_MODES, default="")
    if days > _MOST_DAYS:
        reader.mistake("maxRetentionDays", f"must be at most {_MOST_DAYS:,}, which is MinIO's own limit")
    if object_locking:
        return Locks(max_days=days if days >= 0 else None, mode=mode)
    for name in ("maxRetentionDays", "retentionMode"):
        if reader.text(name):
            reader.mistake(name, "needs objectLocking: true")
    return None


def _quotas(reader: ParameterReader) -> Quotas:
    default, largest = (_quota(reader, name) for name in ("quota", "maxQuota"))
    if largest == 0:
        reader.mistake("maxQuota", "must be more than 0: leave it out where there is no limit")
    elif largest is not None and default is not None and not 0 < default <= largest:
        reader.mistake("quota", "must be more than 0 and at most what maxQuota says")
    return Quotas(default=default, largest=largest)


def _quota(reader: ParameterReader, name: str) -> int | None:
    value = reader.text(name)
    try:
        return _size(value) if value else None
    except ValueError as error:
        reader.mistake(name, str(error))
        return None


def _bounded(given: Mapping[str, str]) -> tuple[dict[str, str], dict[str, int]]:
    """The parameters that are not too long, and the limits of those that are."""
    limits = dict.fromkeys(given, MAX_PARAMETER) | ({"caBundle": MAX_PEM} if "caBundle" in given else {})
    too_long = {name: limit for name, limit in limits.items() if len(given[name]) > limit}
    return {name: value for name, value in given.items() if name not in too_long}, too_long


def _address(reader: ParameterReader, name: str, url: str) -> Address:
    address = Address.from_url(url)
    if url and not _HOST.fullmatch(address.host):
        reader.mistake(name, f"must name a host or an IP address, not {shown(address.host)}")
    return address


def _with_schemes(given: Mapping[str, str]) -> dict[str, str]:
    """`host:port` becomes a URL, so that one check serves both forms."""
    urls = {key: given.get(key, "").strip() for key in ("endpoint", "publicEndpoint")}
    return {**given, **{key: f"https://{url}" for key, url in urls.items() if url and "://" not in url}}


def _endpoint_url(reader: ParameterReader, given: Mapping[str, str], *, secure: bool) -> str:
    url = reader.url("endpoint", required=True)
    says_secure = bool(given.get("secure", "").strip())
    if url and not says_secure and "://" not in given["endpoint"]:
        reader.mistake("endpoint", "must start with https:// or http://, or parameter secure must say which")
    if not says_secure:
        return url
    return f"{'https' if secure else 'http'}://{url.partition('://')[2]}"


def _ca_bundle(reader: ParameterReader) -> str:
    pem = reader.text("caBundle")
    if pem and not _is_pem(pem):
        reader.mistake("caBundle", "must hold certificates in PEM")
        return ""
    return pem


def _is_pem(text: str) -> bool:
    if len(text) > MAX_PEM or not text.isascii():
        return False
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        return False
    return True
