"""StorageClass parameters and `additionalConfig`, as typed values.

First step of every verb: what cannot be right is refused here, all mistakes at once, before Google hears of it. Knows
no client and makes no call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from libbucket import InvalidConfig, InvalidParameters, ParameterReader

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSIONING_KEY: Final = "bucketVersioning"
KUBERNETES_KEY: Final = "kubernetesServiceAccount"

DEFAULT_ENDPOINT: Final = "https://storage.googleapis.com"
DEFAULT_IAM_ENDPOINT: Final = "https://iam.googleapis.com"


# What a claim's author or a class can write is bounded before it is parsed; none of these is longer at Google.
MOST_CHARACTERS: Final = 256
"""Of one parameter, and of one value of `additionalConfig` of ours."""
MOST_OF_LABELS: Final = 64 * (63 + 1 + 63 + 2)
MOST_SECONDS: Final = 90 * 86400
_SHOWN: Final = 60


# https://cloud.google.com/resource-manager/docs/creating-managing-projects: some projects belong to a domain.
_PROJECT: Final = re.compile(r"([a-z0-9.-]{1,100}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_LOCATION: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{1,40}")
_ACCOUNT: Final = re.compile(r"[a-z0-9][-a-z0-9.]*@[a-z0-9.-]+")
_KMS_KEY: Final = re.compile(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+")
_POOL: Final = re.compile(r"[a-z0-9.:-]+")
_NUMBER: Final = re.compile(r"[0-9]{6,20}")
_KUBERNETES_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")

# https://cloud.google.com/storage/docs/tags-and-labels#bucket-labels
_LABEL_KEY: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE: Final = re.compile(r"[a-z0-9_-]{0,63}")
_MOST_LABELS: Final = 60  # 64, less the four of the owner
_STAMP_PREFIX: Final = "objectbucket_"

# https://cloud.google.com/storage/docs/soft-delete
_SHORTEST_SOFT_DELETE: Final = 7 * 86400
_LONGEST_SOFT_DELETE: Final = 90 * 86400

# https://cloud.google.com/storage/docs/authentication/managing-hmackeys: a change of state takes up to three minutes.
_REVOCATION_SECONDS: Final = 180

# https://cloud.google.com/storage/quotas#buckets: about one creation or deletion every two seconds and project.
_SECONDS_PER_BUCKET: Final = 2

_STORAGE_CLASSES: Final = frozenset({"STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"})


class Kind(StrEnum):
    """What a claim gets: the values of parameter `credentials`."""

    HMAC = "hmac"
    JSON_KEY = "json-key"
    BOTH = "both"
    WORKLOAD_IDENTITY = "workload-identity"
    FEDERATION = "workload-identity-federation"

    @property
    def has_hmac(self) -> bool:
        """Whether an HMAC key belongs to it."""
        return self in {Kind.HMAC, Kind.BOTH}

    @property
    def has_json_key(self) -> bool:
        """Whether a service-account key belongs to it."""
        return self in {Kind.JSON_KEY, Kind.BOTH}


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """The parameters of one class.

    Attributes:
        project: where buckets and service accounts are made; empty for the administrator's own.
        location: of new buckets; empty for Google's default (`US`).
        secret_name: name of the administrator's Secret; empty for the pod's own identity.
        secret_namespace: its namespace.
        storage_class: of new buckets; empty for Google's default (`STANDARD`).
        kms_key_name: the Cloud KMS key that encrypts what is written into new buckets.
        labels: of new buckets, besides the ownership labels.
        autoclass: Google moves each object of new buckets to the storage class that fits its use.
        data_locations: the two regions of new buckets in a dual-region of one's own choice; empty for none.
        versioning: new buckets keep older generations of objects.
        soft_delete_seconds: for how long new buckets keep what was deleted; None for Google's default.
        endpoint: of Cloud Storage, without a slash at the end.
        iam_endpoint: of IAM.
        service_account: e-mail address of the one account that all claims of the class use; empty for one per claim.
        kind: what a claim gets.
        workload_pool: the workload identity pool; empty for the project's own.
        workload_project_number: the number of the project that the pool belongs to; empty for the bucket's.
        impersonated: e-mail address of the service account that the administrator's credentials act as; may be empty.
        revocation_seconds: how long an HMAC key, or a permission, may go on working after it was withdrawn.
        seconds_per_bucket: between two requests that make or delete a bucket of the project; 0 for no such rate.
        warnings: what the author of the class should hear.
    """

    project: str = ""
    location: str = ""
    secret_name: str = ""
    secret_namespace: str = ""
    storage_class: str = ""
    kms_key_name: str = ""
    labels: Mapping[str, str]
    autoclass: bool = False
    data_locations: tuple[str, ...] = ()
    versioning: bool = False
    soft_delete_seconds: int | None = None
    endpoint: str = DEFAULT_ENDPOINT
    iam_endpoint: str = DEFAULT_IAM_ENDPOINT
    service_account: str = ""
    kind: Kind = Kind.HMAC
    workload_pool: str = ""
    workload_project_number: str = ""
    impersonated: str = ""
    revocation_seconds: int = _REVOCATION_SECONDS
    seconds_per_bucket: int = _SECONDS_PER_BUCKET
    warnings: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """What `BUCKET_HOST` says."""
        return urlsplit(self.endpoint).hostname or ""

    @property
    def port(self) -> int:
        """What `BUCKET_PORT` says."""
        parts = urlsplit(self.endpoint)
        return parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def is_secure(self) -> bool:
        """Whether TLS is spoken there."""
        return self.endpoint.startswith("https:")


def parse_parameters(given: Mapping[str, str]) -> Parameters:
    """Reads the parameters of a class.

    Raises:
        InvalidParameters: with every mistake at once.
    """
    reader = ParameterReader(_bounded(given))
    kind = reader.choice("credentials", frozenset(Kind), default=Kind.HMAC)
    secret_name, secret_namespace = reader.secret()
    parsed = Parameters(
        project=_matching(reader, "project", _PROJECT, "the id of a project, such as my-project-123"),
        location=_matching(reader, "region", _LOCATION, "a location, such as europe-west3 or EU"),
        secret_name=secret_name,
        secret_namespace=secret_namespace,
        storage_class=reader.choice("storageClass", _STORAGE_CLASSES, default=""),
        kms_key_name=_matching(reader, "kmsKeyName", _KMS_KEY, "projects/P/locations/L/keyRings/R/cryptoKeys/K"),
        labels=_labels(reader),
        autoclass=_autoclass(reader),
        data_locations=_data_locations(reader),
        versioning=reader.flag("versioning", default=False),
        soft_delete_seconds=_soft_delete(reader),
        endpoint=reader.url("endpoint") or DEFAULT_ENDPOINT,
        iam_endpoint=reader.url("iamEndpoint") or DEFAULT_IAM_ENDPOINT,
        service_account=_matching(reader, "serviceAccount", _ACCOUNT, "the e-mail address of a service account"),
        kind=Kind(kind),
        workload_pool=_matching(reader, "workloadIdentityPool", _POOL, "a pool, such as my-project-123.svc.id.goog"),
        workload_project_number=_matching(
            reader, "workloadIdentityProjectNumber", _NUMBER, "the number of a project, such as 123456789012"
        ),
        impersonated=_matching(
            reader, "impersonateServiceAccount", _ACCOUNT, "the e-mail address of a service account"
        ),
        revocation_seconds=_seconds(reader, "revocationSeconds", default=_REVOCATION_SECONDS),
        seconds_per_bucket=_seconds(reader, "secondsPerBucket", default=_SECONDS_PER_BUCKET),
        warnings=reader.unknown(),
    )
    if parsed.kind is Kind.FEDERATION and parsed.service_account:
        reader.mistake("serviceAccount", f"can't be used with credentials: {Kind.FEDERATION.value}, which needs none")
    reader.finish()
    return parsed


def parse_versioning(config: Mapping[str, str]) -> bool | None:
    """Whether the claim asks for versions; None where it doesn't say.

    Raises:
        InvalidConfig: another value than Enabled and Suspended.
    """
    value = config.get(VERSIONING_KEY)
    if value not in {None, "Enabled", "Suspended"}:
        raise InvalidConfig(f"additionalConfig.{VERSIONING_KEY} must be Enabled or Suspended, not {_shown(str(value))}")
    return None if value is None else value == "Enabled"


def parse_kubernetes_account(config: Mapping[str, str]) -> str | None:
    """The Kubernetes service account that the claim names; None where it names none.

    Raises:
        InvalidConfig: no service account can have that name.
    """
    value = config.get(KUBERNETES_KEY)
    if value is not None and not (len(value) <= MOST_CHARACTERS and _KUBERNETES_NAME.fullmatch(value)):
        raise InvalidConfig(
            f"additionalConfig.{KUBERNETES_KEY} must be the name of a service account, not {_shown(value)}"
        )
    return value


def _bounded(given: Mapping[str, str]) -> Mapping[str, str]:
    """The parameters.

    Raises:
        InvalidParameters: some are longer than anything that Google takes there; the others are not read then.
    """
    limits = {"labels": MOST_OF_LABELS}
    mistakes = [
        f"{_shown(name)} must be at most {limits.get(name, MOST_CHARACTERS)} characters long, and has {len(value):,}"
        for name, value in given.items()
        if len(value) > limits.get(name, MOST_CHARACTERS)
    ]
    if mistakes:
        raise InvalidParameters(mistakes)
    return given


def _shown(value: str) -> str:
    """A value in a message: its beginning, if it is long."""
    return repr(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}...")


def _matching(reader: ParameterReader, name: str, form: re.Pattern[str], meant: str) -> str:
    value = reader.text(name)
    if value and not form.fullmatch(value):
        reader.mistake(name, f"must be {meant}, not {_shown(value)}")
        return ""
    return value


def _seconds(reader: ParameterReader, name: str, *, default: int) -> int:
    seconds = reader.number(name, default=default)
    if seconds > MOST_SECONDS:
        reader.mistake(name, f"must be at most {MOST_SECONDS}")
        return default
    return seconds


def _autoclass(reader: ParameterReader) -> bool:
    """https://cloud.google.com/storage/docs/autoclass: objects begin as STANDARD, and no other default is taken."""
    wanted = reader.flag("autoclass", default=False)
    if wanted and reader.text("storageClass") not in {"", "STANDARD"}:
        reader.mistake("autoclass", "can't be used with storageClass, which it decides for each object")
    return wanted


def _data_locations(reader: ParameterReader) -> tuple[str, ...]:
    """https://cloud.google.com/storage/docs/locations#location-dr: two regions within the multi-region of `region`."""
    found = tuple(filter(None, (each.strip() for each in reader.text("dataLocations").split(","))))
    if found and (len(set(found)) != 2 or not all(_LOCATION.fullmatch(each) for each in found)):
        reader.mistake(
            "dataLocations", "must be two regions with a comma between them, such as europe-west1,europe-west4"
        )
        return ()
    if found and not reader.text("region"):
        reader.mistake("dataLocations", "needs region, the multi-region that both are in, such as EU")
    return found


def _soft_delete(reader: ParameterReader) -> int | None:
    if not reader.text("softDeleteSeconds"):
        return None
    seconds = _seconds(reader, "softDeleteSeconds", default=0)
    if seconds and not _SHORTEST_SOFT_DELETE <= seconds <= _LONGEST_SOFT_DELETE:
        reader.mistake("softDeleteSeconds", "must be 0, or between 604800 (7 days) and 7776000 (90 days)")
    return seconds


def _labels(reader: ParameterReader) -> dict[str, str]:
    """`team=shop,cost-centre=12` as labels."""
    found: dict[str, str] = {}
    for pair in filter(None, (each.strip() for each in reader.text("labels").split(","))):
        key, is_pair, value = (each.strip() for each in pair.partition("="))
        if not is_pair or not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            form = "key=value pairs of lower-case letters, digits, _ and -, separated by commas"
            reader.mistake("labels", f"must be {form}, not {_shown(pair)}")
        elif key.startswith(_STAMP_PREFIX):
            reader.mistake("labels", f"must not begin with {_STAMP_PREFIX}, as {key!r} does")
        found[key] = value
    if len(found) > _MOST_LABELS:
        reader.mistake("labels", f"can be {_MOST_LABELS} at most: Google allows 64, and four say whose the bucket is")
    return found
