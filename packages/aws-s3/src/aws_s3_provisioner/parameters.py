"""StorageClass parameters, `additionalConfig` and the administrator's Secret, as typed values.

First step of every verb: what cannot be right is refused here, all mistakes at once, before AWS hears of it. Knows no
client and makes no call. Policy documents are read by `policy`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aws_s3_provisioner.policy import LONGEST_POLICY, Document, Scope, build_access, mistakes_in_template, written
from libbucket import Address, InvalidAdminSecret, InvalidConfig, InvalidParameters, ParameterReader, SecretStr
from libbucket import parse_json as parse_bounded_json

if TYPE_CHECKING:
    from collections.abc import Mapping

POLICY_KEY: Final = "bucketPolicy"
LIFECYCLE_KEY: Final = "bucketLifecycle"
VERSIONING_KEY: Final = "bucketVersioning"

DEFAULT_REGION: Final = "us-west-1"
"""What the Go provisioner took, so that classes which name no region go on working."""

TOLERANT_REGION: Final = "us-east-1"
"""Where making a bucket that is the account's already is no error.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html, `BucketAlreadyOwnedByYou`.
"""

_URLS: Final = ("s3Endpoint", "iamEndpoint", "stsEndpoint")
_OWNERSHIP: Final = frozenset({"BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"})
_NAME_PREFIX: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")
_ACCOUNT: Final = re.compile(r"\d{12}")
_REGION: Final = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?")
_AWS_HOST: Final = re.compile(
    r".*\.(amazonaws\.com(\.cn)?|amazonaws\.eu|c2s\.ic\.gov|sc2s\.sgov\.gov|csp\.hci\.ic\.gov|cloud\.adc-e\.uk|api\.aws)"
)
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateUser.html
_IAM_PATH: Final = re.compile(r"/|/[\x21-\x7e]{1,510}/")
_KMS_KEY: Final = re.compile(r"(arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key/)?(mrk-[0-9a-f]{32}|[0-9a-f-]{36})")
_BOUNDARY: Final = re.compile(r"arn:[a-z-]+:iam::(\d{12}|aws):policy/[\w+=,.@/-]+")
# The characters that both S3 and IAM take: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html
_TAG: Final = re.compile(r"[\w .:/=+@-]*")
_MOST_TAGS: Final = 40
_RESERVED_TAGS: Final = ("aws:", "objectbucket_")
_MOST_SHOWN: Final = 100
_MOST_MISTAKES: Final = 10


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """The parameters of one class.

    Attributes:
        region: of the buckets; what requests to S3 are signed for.
        secret_name: name of the administrator's Secret; empty for the pod's own identity.
        secret_namespace: namespace of the administrator's Secret.
        create_user: False hands the administrator's own keys to claims.
        s3_endpoint: URL; empty for AWS's own.
        iam_endpoint: URL; empty for AWS's own.
        sts_endpoint: URL; empty for AWS's own.
        path_style: the bucket is in the path of a request, not in its host name.
        iam_path: of the users that are made.
        permissions_boundary: ARN of a managed policy that no user of this class gets beyond; empty for none.
        tags: further tags of new buckets and users.
        kms_key_id: new objects are encrypted with this key by default; empty leaves AWS's default.
        versioning: new buckets keep versions.
        object_ownership: of new buckets; empty leaves AWS's default.
        iam_policy: what users of this class may do, without resources; None for the usual.
        allow_sessions: temporary credentials that users get for themselves may use the bucket.
        bucket_name_prefix: what names of new buckets begin with; empty for anything.
        policy_accounts: further accounts whose users and roles a claim's `bucketPolicy` may name.
        fips: requests, and applications, go to AWS's FIPS endpoints.
        dualstack: they go to AWS's endpoints that have IPv6 addresses too.
        is_region_given: whether the class names a region.
        warnings: what the author of the class should hear.
    """

    region: str
    secret_name: str
    secret_namespace: str
    create_user: bool
    s3_endpoint: str
    iam_endpoint: str
    sts_endpoint: str
    path_style: bool
    iam_path: str
    permissions_boundary: str
    tags: Mapping[str, str]
    kms_key_id: str
    versioning: bool
    object_ownership: str
    iam_policy: Document | None
    allow_sessions: bool = False
    bucket_name_prefix: str = ""
    policy_accounts: frozenset[str] = frozenset()
    fips: bool = False
    dualstack: bool = False
    is_region_given: bool = True
    warnings: tuple[str, ...] = ()

    @property
    def is_aws(self) -> bool:
        """Whether the store is AWS itself, and no other that speaks S3."""
        return not self.s3_endpoint or _is_aws(self.s3_endpoint)

    @property
    def tags_on_creation(self) -> bool:
        """Whether the store is known to take tags in the call that makes a bucket: AWS does, others may not."""
        return self.is_aws

    @property
    def reaches_sts(self) -> bool:
        """Whether there is an STS beside this IAM that knows the administrator's credentials."""
        return self.is_aws and (bool(self.sts_endpoint) or not self.iam_endpoint or _is_aws(self.iam_endpoint))

    @property
    def location(self) -> str:
        """What a new bucket's LocationConstraint says; empty for none.

        None in us-east-1, which takes no name of its own. Stores that are not AWS know other names, such as those of
        Ceph's zone groups, and refuse AWS's: for them what the class names counts, and not our default.
        """
        is_named = self.tags_on_creation or self.is_region_given
        return self.region if is_named and self.region != TOLERANT_REGION else ""


@dataclass(frozen=True, kw_only=True)
class Admin:
    """The administrator's credentials from a Secret.

    Attributes:
        access_key: its id.
        secret_key: its secret.
        token: of credentials that end by themselves; empty for those that don't.
    """

    access_key: str
    secret_key: SecretStr
    token: SecretStr


def parse_parameters(given: Mapping[str, str]) -> Parameters:
    """Reads the parameters of a class.

    Raises:
        InvalidParameters: with every mistake at once.
    """
    reader = ParameterReader(_with_schemes(given))
    create_user = reader.flag("createBucketUser", default=True)
    secret_name, secret_namespace = reader.secret()
    parsed = Parameters(
        region=reader.text("region", default=DEFAULT_REGION),
        secret_name=secret_name,
        secret_namespace=secret_namespace,
        create_user=create_user,
        s3_endpoint=reader.url("s3Endpoint"),
        iam_endpoint=reader.url("iamEndpoint"),
        sts_endpoint=reader.url("stsEndpoint"),
        path_style=reader.flag("pathStyle", default=bool(given.get("s3Endpoint", "").strip())),
        iam_path=_checked(reader, "iamPath", _IAM_PATH, "must begin and end with a slash", default="/objectbucket/"),
        permissions_boundary=_checked(
            reader, "permissionsBoundary", _BOUNDARY, "must be the ARN of a managed policy, arn:...:iam::...:policy/..."
        ),
        tags=_tags(reader),
        kms_key_id=_checked(reader, "kmsKeyId", _KMS_KEY, "must be the id or the ARN of a key, and no alias"),
        versioning=reader.flag("versioning", default=False),
        object_ownership=reader.choice("objectOwnership", _OWNERSHIP, default=""),
        iam_policy=_iam_policy(reader),
        allow_sessions=reader.flag("allowSessions", default=False),
        bucket_name_prefix=_checked(
            reader, "bucketNamePrefix", _NAME_PREFIX, "must be at most 40 lower-case letters, digits, dots and hyphens"
        ),
        policy_accounts=_accounts(reader),
        fips=reader.flag("fips", default=False),
        dualstack=reader.flag("dualstack", default=False),
        is_region_given=bool(given.get("region", "").strip()),
        warnings=reader.unknown() + (() if create_user else (_DANGER,)),
    )
    _check_together(reader, parsed)
    reader.finish()
    return parsed


_DANGER: Final = (
    "StorageClass parameter createBucketUser is no: this claim holds the administrator's own keys, which reach every "
    "bucket and are not withdrawn when the claim is deleted"
)


def is_region(name: str) -> bool:
    """Whether a region can have this name, of AWS or of another store."""
    return _REGION.fullmatch(name) is not None


def server_of(given: Mapping[str, str]) -> tuple[str, str]:
    """Which server the buckets of a class are at: host and port, or AWS and the region; reads unchecked parameters."""
    url = _with_schemes(given).get("s3Endpoint", "").strip()
    if not url:
        return "AWS", given.get("region", "").strip() or DEFAULT_REGION
    try:
        address = Address.from_url(url)
    except ValueError:
        return "no address", url
    return address.host, str(address.port)


def parse_admin(secret: Mapping[str, SecretStr], *, named: str) -> Admin:
    """Reads the administrator's Secret.

    Args:
        secret: the Secret's decoded data.
        named: `namespace/name`, for messages.

    Raises:
        InvalidAdminSecret: a key is missing or empty.
    """
    values = {key: value.reveal().strip() for key, value in secret.items()}
    missing = [key for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not values.get(key)]
    if missing:
        raise InvalidAdminSecret(f"Secret {named}: {' and '.join(missing)} must be there and not empty")
    return Admin(
        access_key=values["AWS_ACCESS_KEY_ID"],
        secret_key=SecretStr(values["AWS_SECRET_ACCESS_KEY"]),
        token=SecretStr(values.get("AWS_SESSION_TOKEN", "")),
    )


def shown(text: str) -> str:
    """A tenant's text as a message repeats it: quoted, printable, and not longer than a line."""
    return ascii(text) if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]!a}..."


def parse_versioning(config: Mapping[str, str]) -> str | None:
    """`Enabled` or `Suspended` as the claim asks for it; None where it doesn't say.

    Raises:
        InvalidConfig: another value.
    """
    value = config.get(VERSIONING_KEY)
    if value not in {None, "Enabled", "Suspended"}:
        raise InvalidConfig(f"additionalConfig.{VERSIONING_KEY} must be Enabled or Suspended, not {shown(value or '')}")
    return value


def parse_json(config: Mapping[str, str], key: str) -> dict[str, Any] | None:
    """A JSON object that the claim gives; None where it doesn't.

    Raises:
        InvalidConfig: it is something else, or beyond the limits of `libbucket.parse_json`.
    """
    if key not in config:
        return None
    try:
        found = parse_bounded_json(config[key])
    except ValueError as error:
        raise InvalidConfig(f"additionalConfig.{key} {error}") from error
    if not isinstance(found, dict):
        raise InvalidConfig(f"additionalConfig.{key} must be a JSON object")
    return found


def _is_aws(url: str) -> bool:
    return _AWS_HOST.fullmatch(Address.from_url(url).host) is not None


def _check_together(reader: ParameterReader, parsed: Parameters) -> None:
    if not is_region(parsed.region):
        reader.mistake("region", f"must be letters, digits and hyphens, not {shown(parsed.region)}")
    if not parsed.create_user and not parsed.secret_name:
        reader.mistake("createBucketUser", "can be no only where secretName says whose keys claims get")
    # Or else users of an S3-compatible store would be looked for at AWS, with that store's keys.
    if parsed.create_user and not parsed.tags_on_creation and not parsed.iam_endpoint:
        reader.mistake("iamEndpoint", "is required where s3Endpoint is not AWS's, unless createBucketUser is no")

    if parsed.s3_endpoint and (parsed.fips or parsed.dualstack):
        reader.mistake("s3Endpoint", "can't be combined with fips or dualstack: it names the endpoint itself")


def check_policy_length(parsed: Parameters) -> None:
    """Refuses a policy that IAM takes for no user, before anything is made; what is removed needs none.

    Raises:
        InvalidParameters: it is too long.
    """
    excess = _longest_access(parsed) - LONGEST_POLICY
    if parsed.is_aws and parsed.create_user and excess > 0:
        raise InvalidParameters(
            [f"iamPolicy is {excess} characters too long: IAM takes {LONGEST_POLICY} in all policies of a user"]
        )


def _longest_access(parsed: Parameters) -> int:
    """Length of the policy of a user whose bucket has the longest name, in the partition with the longest name."""
    scope = Scope(
        bucket_arn=f"arn:aws-us-gov:s3:::{'x' * 63}",
        account="0" * 12,
        allows_sessions=parsed.allow_sessions,
        key_arn=parsed.kms_key_id and f"arn:aws-us-gov:kms:{parsed.region}:{'0' * 12}:key/mrk-{'0' * 32}",
        key_via=f"s3.{parsed.region}.amazonaws.com.cn",
    )
    return len("".join(written(build_access(scope, template=parsed.iam_policy)).split()))


def _accounts(reader: ParameterReader) -> frozenset[str]:
    found = [account for part in reader.text("bucketPolicyAccounts").split(",") if (account := part.strip())]
    for account in found:
        if not _ACCOUNT.fullmatch(account):
            reader.mistake("bucketPolicyAccounts", f"must be numbers of accounts, 12 digits each, not {shown(account)}")
    return frozenset(found)


def _with_schemes(given: Mapping[str, str]) -> dict[str, str]:
    """A bare host becomes a URL, as other provisioners take it."""
    urls = {key: given.get(key, "").strip() for key in _URLS}
    return {**given, **{key: f"https://{url}" for key, url in urls.items() if url and "://" not in url}}


def _checked(reader: ParameterReader, name: str, form: re.Pattern[str], problem: str, *, default: str = "") -> str:
    value = reader.text(name, default=default)
    if value and not form.fullmatch(value):
        reader.mistake(name, f"{problem}, not {shown(value)}")
    return value


def _tags(reader: ParameterReader) -> dict[str, str]:
    found: dict[str, str] = {}
    pairs = [pair for part in reader.text("tags").split(",") if (pair := part.strip())]
    if len(pairs) > _MOST_TAGS:
        reader.mistake("tags", f"must be at most {_MOST_TAGS}")
        return {}
    for pair in pairs:
        key, sign, value = (part.strip() for part in pair.partition("="))
        problem = _problem_with_tag(key, sign, value)
        # IAM takes keys that differ in case only for the same: https://github.com/kubernetes/kops/issues/11727
        if problem or key.casefold() in {each.casefold() for each in found}:
            reader.mistake("tags", f"must look like key=value,key=value: {shown(pair)} {problem or 'is there twice'}")
        found[key] = value
    return found


def _problem_with_tag(key: str, sign: str, value: str) -> str:
    if not sign or not key:
        return "has no key or no ="
    if key.lower().startswith(_RESERVED_TAGS):
        return "has a key that is reserved"
    if len(key) > 128 or len(value) > 256:
        return "is too long (128 for a key, 256 for a value)"
    return "" if _TAG.fullmatch(key) and _TAG.fullmatch(value) else "has a character that AWS takes in no tag"


def _iam_policy(reader: ParameterReader) -> Document | None:
    text = reader.text("iamPolicy")
    if not text:
        return None
    try:
        document = parse_bounded_json(text)
    except ValueError as error:
        reader.mistake("iamPolicy", str(error))
        return None
    mistakes = list(dict.fromkeys(mistakes_in_template(document)))[:_MOST_MISTAKES]
    for mistake in mistakes:
        reader.mistake("iamPolicy", mistake)
    return None if mistakes else document
