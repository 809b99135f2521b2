"""What the class and the claim want set on a bucket: read and checked as a whole, then applied one by one.

Used by `provisioner` for buckets that were made for a claim. What a claim doesn't mention stays as it is; what it
mentioned before and no longer does is taken back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from aws_s3_provisioner.errors import code_of, tolerated, translated
from aws_s3_provisioner.parameters import LIFECYCLE_KEY, POLICY_KEY, VERSIONING_KEY, parse_json, parse_versioning, shown
from aws_s3_provisioner.policy import fill_bucket_policy, mistakes_in_bucket_policy, other_accounts
from aws_s3_provisioner.request_ids import request_id_of
from libbucket import InvalidConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aws_s3_provisioner.client import Clients
    from aws_s3_provisioner.parameters import Parameters
    from aws_s3_provisioner.policy import Document
    from libbucket import BucketOptions

# https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html; no key, prefix, tag or name
# in a rule is longer than a key of an object. What is longer is refused before dates are looked for in it.
_MOST_RULES: Final = 1000
_LONGEST_TEXT: Final = 1024
_LONGEST_REPORT: Final = 500

_REFUSED_BY_AWS: Final = frozenset(
    {
        "InvalidArgument",
        "InvalidBucketState",
        "InvalidPolicyDocument",
        "InvalidRequest",
        "MalformedPolicy",
        "MalformedXML",
    }
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is to be set; None for what stays as it is, and empty for what is taken back.

    Attributes:
        versioning: `Enabled` or `Suspended`.
        policy: the bucket's own.
        lifecycle: its rules.
        kms_key_id: what new objects are encrypted with; empty leaves it as it is.
    """

    versioning: str | None
    policy: Document | None
    lifecycle: Document | None
    kms_key_id: str

    def apply(self, clients: Clients, bucket: str) -> list[str]:
        """Sets all of it.

        Returns:
            What was seen to be otherwise. The rest is set unconditionally.

        Raises:
            InvalidConfig: AWS refuses the claim's policy or rules.
            ProvisionerError: AWS did not do it.
        """
        if self.kms_key_id:
            _encrypt(clients, bucket, self.kms_key_id)
        changed = []
        if self.versioning is not None and _set_versioning(clients, bucket, self.versioning):
            changed.append("versioning")
        if self.policy is not None:
            _set_policy(clients, bucket, self.policy)
        if self.lifecycle is not None:
            _set_lifecycle(clients, bucket, self.lifecycle)
        return changed


def parse_settings(options: BucketOptions, parameters: Parameters, clients: Clients) -> Settings:
    """What this request wants set; makes no call.

    Raises:
        InvalidConfig: a value can't be used; its key is named.
    """
    config, before = options.claim.additional_config, options.previous_config
    asked = parse_versioning(config)
    by_class = "Enabled" if parameters.versioning else None
    taken_back = "Suspended" if VERSIONING_KEY in before else None
    return Settings(
        versioning=asked or by_class or taken_back,
        policy=_policy(options, parameters, clients),
        lifecycle=_lifecycle(config, before, clients),
        kms_key_id=parameters.kms_key_id,
    )


def _policy(options: BucketOptions, parameters: Parameters, clients: Clients) -> Document | None:
    document = parse_json(options.claim.additional_config, POLICY_KEY)
    bucket_arn = clients.bucket_arn(options.bucket_name)
    if document is None:
        return {} if POLICY_KEY in options.previous_config else None
    mistakes = mistakes_in_bucket_policy(document, bucket_arn)
    if mistakes:
        raise InvalidConfig(f"additionalConfig.{POLICY_KEY} " + "; ".join(dict.fromkeys(mistakes)))
    # Where the administrator's account is not known, nothing can be said of others.
    foreign = other_accounts(document, parameters.policy_accounts | {clients.account}) if clients.account else []
    if foreign:
        raise InvalidConfig(
            f"additionalConfig.{POLICY_KEY} must not let in account {foreign[0]}: only its own account may be named, "
            "and those of parameter bucketPolicyAccounts of the StorageClass"
        )
    return fill_bucket_policy(document, bucket_arn)


def _lifecycle(config: Mapping[str, str], before: Mapping[str, str], clients: Clients) -> Document | None:
    document = parse_json(config, LIFECYCLE_KEY)
    if document is None:
        return {} if LIFECYCLE_KEY in before else None
    mistake = _mistake_in_lifecycle(document, clients)
    if mistake:
        raise InvalidConfig(f'additionalConfig.{LIFECYCLE_KEY} must be S3\'s JSON, {{"Rules": [...]}}: {mistake}')
    return document


def _mistake_in_lifecycle(document: Document, clients: Clients) -> str:
    rules, unknown = document.get("Rules"), sorted(set(document) - {"Rules"})
    if isinstance(rules, list) and len(rules) > _MOST_RULES:
        return f"has more than {_MOST_RULES} Rules"
    if any(len(text) > _LONGEST_TEXT for text in _texts(document)):
        return f"has a text of more than {_LONGEST_TEXT} characters"
    if unknown:
        return f"has {shown(unknown[0])}"
    shape = clients.s3.meta.service_model.shape_for("BucketLifecycleConfiguration")
    try:
        report = ParamValidator().validate(document, shape).generate_report()
    except (ArithmeticError, OSError, RuntimeError):  # of the SDK's parser of dates
        return "has a Date that is none"
    return report[:_LONGEST_REPORT].encode("ascii", "backslashreplace").decode() or ("" if rules else "has no Rules")


def _texts(found: object) -> Iterator[str]:
    """Every text in a JSON value, names of members included."""
    if isinstance(found, str):
        yield found
    elif isinstance(found, list):
        for each in found:
            yield from _texts(each)
    elif isinstance(found, dict):
        yield from found
        yield from _texts(list(found.values()))


def _encrypt(clients: Clients, bucket: str, key: str) -> None:
    """Encrypts new objects with a key; what else the bucket's rule says, such as which encryption is blocked, stays."""
    found = _encryption_rule(clients, bucket)
    default: Any = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    rule: Any = {**found, "ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}
    if rule == found:
        return
    rules: Any = {"Rules": [rule]}
    with translated(clients.call("s3:PutEncryptionConfiguration")):
        clients.s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=rules)


def _encryption_rule(clients: Clients, bucket: str) -> dict[str, Any]:
    with translated(clients.call("s3:GetEncryptionConfiguration")):
        try:
            found: Any = clients.s3.get_bucket_encryption(Bucket=bucket)
        except ClientError as error:
            if code_of(error) != "ServerSideEncryptionConfigurationNotFoundError":
                raise
            return {}
    rules = found.get("ServerSideEncryptionConfiguration", {}).get("Rules") or [{}]
    return dict(rules[0])


def _set_versioning(clients: Clients, bucket: str, status: Any) -> bool:
    """Sets versioning; False where it is that already, or where a bucket never had versions, which is left so."""
    with translated(clients.call("s3:GetBucketVersioning")):
        answer: Any = clients.s3.get_bucket_versioning(Bucket=bucket)
    found = answer.get("Status")  # absent where versions were never kept
    if found == status or (found is None and status == "Suspended"):
        return False
    with translated(clients.call("s3:PutBucketVersioning")):
        try:
            clients.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        except ClientError as error:
            # A bucket with object lock or replication keeps its versions.
            raise _refused(error, VERSIONING_KEY) from error
    return True


def _set_policy(clients: Clients, bucket: str, document: Document) -> None:
    if not document:
        with translated(clients.call("s3:DeleteBucketPolicy")), tolerated("NoSuchBucketPolicy"):
            clients.s3.delete_bucket_policy(Bucket=bucket)
        return
    with translated(clients.call("s3:PutBucketPolicy")):
        try:
            clients.s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))
        except ClientError as error:
            raise _refused(error, POLICY_KEY) from error


def _set_lifecycle(clients: Clients, bucket: str, document: Any) -> None:
    if not document:
        with translated(clients.call("s3:PutLifecycleConfiguration")), tolerated("NoSuchLifecycleConfiguration"):
            clients.s3.delete_bucket_lifecycle(Bucket=bucket)
        return
    with translated(clients.call("s3:PutLifecycleConfiguration")):
        try:
            clients.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=document)
        except ClientError as error:
            raise _refused(error, LIFECYCLE_KEY) from error


def _refused(error: ClientError, key: str) -> Exception:
    """The claim's fault, where AWS says so; anything else is left to `translated`."""
    if code_of(error) not in _REFUSED_BY_AWS:
        return error
    return InvalidConfig(
        f"AWS does not take additionalConfig.{key} ({code_of(error)})", request_id=request_id_of(error.response)
    )
