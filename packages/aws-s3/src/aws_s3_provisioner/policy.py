"""Policy documents: what a claim's user may do, and which policies of a claim are let onto its bucket.

Pure builders and checks, used by `identity`, `parameters` and `settings`. Knows no client; everything that a claim may
do stands on this page.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Document = dict[str, Any]

BUCKET_ACTIONS: Final = (
    "s3:GetBucketLocation",
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:ListBucketVersions",
)
OBJECT_ACTIONS: Final = (
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:DeleteObjectTagging",
    "s3:DeleteObjectVersion",
    "s3:DeleteObjectVersionTagging",
    "s3:GetObject",
    "s3:GetObjectAttributes",
    "s3:GetObjectTagging",
    "s3:GetObjectVersion",
    "s3:GetObjectVersionAttributes",
    "s3:GetObjectVersionTagging",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
    "s3:PutObjectTagging",
    "s3:PutObjectVersionTagging",
    # Lifecycle rules of a claim may move its objects to archives, and it is to read them again.
    "s3:RestoreObject",
)
_OF_ARCHIVES: Final = frozenset({"s3:RestoreObject"})
"""What other stores may not know, and refuse a policy for: SeaweedFS (weed/iam/helpers.go) takes all others."""
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html: reading, writing, uploading in parts.
_KEY_ACTIONS: Final = ("kms:Decrypt", "kms:GenerateDataKey")

LONGEST_POLICY: Final = 2048
"""Characters of all inline policies of a user, without white space; AWS raises it for nobody.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html.
"""

_VERSION: Final = "2012-10-17"
_EFFECTS: Final = ("Allow", "Deny")  # no set: what JSON holds may be no key of one
_MEMBERS: Final = frozenset({"Sid", "Effect", "Action", "Condition"})
# Longer than any action's name, and with the wildcards that IAM knows.
_ACTION: Final = re.compile(r"s3:[A-Za-z*?]{1,120}")
_PRINCIPAL: Final = re.compile(
    r"arn:[a-z-]+:(iam::\d{12}:(user|role)/[\w+=,.@/-]+|sts::\d{12}:assumed-role/[\w+=,.@/-]+)"
)
_KNOWN_ACTIONS: Final = frozenset(action.lower() for action in BUCKET_ACTIONS + OBJECT_ACTIONS)
_ABOUT_ACTIONS: Final = (
    f"must have as Action only these, each by its name: {', '.join(BUCKET_ACTIONS + OBJECT_ACTIONS)}"
)
_ENOUGH: Final = 10
_ABOUT_PRINCIPAL: Final = (
    'must have in each Statement a Principal of the form {"AWS": [...]} with ARNs of users or roles: neither "*" nor a '
    "whole account, which would open the bucket to everybody or lock its administrator out"
)


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a claim's user is limited to.

    Attributes:
        bucket_arn: ARN of the bucket.
        account: number of the account that the bucket has to be in; "" for any.
        allows_sessions: whether temporary credentials of the user may use the bucket. Every user can get some without
            any permission, and they outlive its access key by up to 36 hours:
            https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html.
        key_arn: ARN of the KMS key that objects are encrypted with; "" for none.
        key_via: name of the service through which alone the key may be used, such as `s3.eu-west-1.amazonaws.com`; ""
            for no limit.
        has_archives: whether objects may be in archives.
    """

    bucket_arn: str
    account: str = ""
    allows_sessions: bool = True
    key_arn: str = ""
    key_via: str = ""
    has_archives: bool = True


def build_access(scope: Scope, *, template: Document | None) -> Document:
    """What a claim's user may do: the usual, or what the class says, on this bucket and nothing else.

    Args:
        scope: the bucket, and the limits of its use.
        template: of the class, checked by `mistakes_in_template`; None for the usual.
    """
    if template is None:
        known = [action for action in OBJECT_ACTIONS if scope.has_archives or action not in _OF_ARCHIVES]
        statements = [
            _allow("Bucket", BUCKET_ACTIONS, scope.bucket_arn),
            _allow("Objects", known, f"{scope.bucket_arn}/*"),
        ]
    else:
        statements = [
            {**statement, "Resource": _both(scope.bucket_arn)} for statement in _listed(template["Statement"])
        ]
    if scope.key_arn:
        statements.append(_on_key(scope))
    return {"Version": _VERSION, "Statement": statements + _denials(scope)}


def is_same(one: object, other: object) -> bool:
    """Whether two documents say the same: some stores write a list of one as its element, as policies may.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html.
    """
    return bool(_normalized(one) == _normalized(other))


def _normalized(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _normalized(each) for name, each in value.items()}
    if not isinstance(value, list):
        return value
    return _normalized(value[0]) if len(value) == 1 else [_normalized(each) for each in value]


def written(document: Document) -> str:
    """The document as it is sent: other stores than AWS count white space towards their limits."""
    return json.dumps(document, separators=(",", ":"))


def _on_key(scope: Scope) -> Document:
    """The key, through S3 and for this bucket only: all claims of a class share it.

    S3 names the bucket in the encryption context where it has a bucket key, and else the object:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-key.html,
    https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html.
    """
    statement = _allow("Key", _KEY_ACTIONS, scope.key_arn)
    if scope.key_via:
        statement["Condition"] = {
            "StringEquals": {"kms:ViaService": scope.key_via},
            "StringLike": {"kms:EncryptionContext:aws:s3:arn": _both(scope.bucket_arn)},
        }
    return statement


def _denials(scope: Scope) -> list[Document]:
    """What ends a bucket of the same name in another account, and temporary credentials of the user.

    A denial holds beside every policy of a class, whatever conditions that has. Only S3 is denied: what S3 asks of KMS
    in the user's name may count as temporary credentials.
    """
    found = []
    if scope.account:
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-resourceaccount
        found.append(_deny("OtherAccounts", scope, {"StringNotEquals": {"aws:ResourceAccount": scope.account}}))
    if not scope.allows_sessions:
        # Only in requests with temporary credentials:
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-tokenissuetime
        found.append(_deny("Sessions", scope, {"Null": {"aws:TokenIssueTime": "false"}}))
    return found


def _deny(sid: str, scope: Scope, condition: Document) -> Document:
    return {
        "Sid": sid,
        "Effect": "Deny",
        "Action": "s3:*",
        "Resource": _both(scope.bucket_arn),
        "Condition": condition,
    }


def may_list(template: Document | None) -> bool:
    """Whether a user with `build_access` can certainly list the bucket: then that is how credentials are tried."""
    return _certainly_allows(template, "s3:listbucket")


def may_write(template: Document | None) -> bool:
    """Whether a user with `build_access` can certainly write objects: then a class's KMS key is tried so."""
    return _certainly_allows(template, "s3:putobject")


def mistakes_in_template(document: object) -> list[str]:
    """What is wrong with a class's policy; nothing for one that `build_access` can fill in."""
    if not isinstance(document, dict) or not _listed(document.get("Statement")):
        return ["must be a policy document with at least one Statement"]
    found = []
    if document.get("Version", _VERSION) != _VERSION:
        found.append(f"must have Version {_VERSION}")
    for statement in _listed(document["Statement"]):
        found += [f"must not have {ascii(name[:100])[1:-1]}: {why}" for name, why in _foreign_members(statement)]
        if _lacks_form(statement):
            found.append("must have in each Statement Effect Allow or Deny, and Action with names such as s3:GetObject")
    return found


def other_accounts(document: Mapping[str, Any], allowed: frozenset[str]) -> list[str]:
    """Numbers of the accounts that a claim's policy lets in although they are none of `allowed`.

    Block Public Access does not take a user or role of another account for the public.
    """
    named = {
        str(arn).split(":")[4]
        for statement in _listed(document.get("Statement"))
        if statement["Effect"] == "Allow"
        for arn in _listed(statement["Principal"]["AWS"])
    }
    return sorted(named - allowed)


def mistakes_in_bucket_policy(document: Mapping[str, Any], bucket_arn: str) -> list[str]:
    """What is wrong with a policy that a claim asks for; nothing for one that does no harm to others.

    A claim's author may let others use the objects, or shut single identities out. They may not open the bucket to
    everybody, let anybody at its settings, reach for another bucket, or lock the administrator out: so each action is
    named, is one that the claim itself has, and each principal is a user or role.
    """
    statements = _listed(document.get("Statement"))
    if not statements:
        return ["must be a policy document with at least one Statement"]
    found: list[str] = []
    for statement in statements:
        if len(found) >= _ENOUGH:  # for an author to begin with
            break
        if not isinstance(statement, dict) or statement.get("Effect") not in _EFFECTS:
            found.append("must have Effect Allow or Deny in each Statement")
            continue
        found += _mistakes_about_principal(statement)
        found += _mistakes_about_reach(statement, bucket_arn)
    return found


def fill_bucket_policy(document: Mapping[str, Any], bucket_arn: str) -> Document:
    """The claim's policy with the bucket and its objects as Resource where it names none.

    The author of a claim can't know a generated name.
    """
    statements = [{"Resource": _both(bucket_arn), **statement} for statement in _listed(document["Statement"])]
    return {**document, "Version": document.get("Version", _VERSION), "Statement": statements}


def _mistakes_about_principal(statement: Mapping[str, Any]) -> list[str]:
    principal = statement.get("Principal")
    arns = _listed(principal.get("AWS")) if isinstance(principal, dict) and set(principal) == {"AWS"} else []
    if not arns or not all(isinstance(arn, str) and _PRINCIPAL.fullmatch(arn) for arn in arns):
        return [_ABOUT_PRINCIPAL]
    return []


def _mistakes_about_reach(statement: Mapping[str, Any], bucket_arn: str) -> list[str]:
    found = [f"must not have {name}" for name in ("NotPrincipal", "NotAction", "NotResource") if name in statement]
    actions = _listed(statement.get("Action"))
    if not actions or not all(isinstance(action, str) and action.lower() in _KNOWN_ACTIONS for action in actions):
        found.append(_ABOUT_ACTIONS)
    resources = _listed(statement.get("Resource", bucket_arn))
    if not all(isinstance(one, str) and f"{one}/".startswith(f"{bucket_arn}/") for one in resources):
        found.append(f"must have as Resource only {bucket_arn} and what begins with {bucket_arn}/")
    return found


def _foreign_members(statement: object) -> Iterable[tuple[str, str]]:
    members = sorted(set(statement) - _MEMBERS) if isinstance(statement, dict) else []
    for name in members:
        yield (
            name,
            "it is filled in" if name == "Resource" else "a user's policy has only Sid, Effect, Action, Condition",
        )


def _lacks_form(statement: object) -> bool:
    if not isinstance(statement, dict) or statement.get("Effect") not in _EFFECTS:
        return True
    actions = _listed(statement.get("Action"))
    return not actions or not all(isinstance(one, str) and _ACTION.fullmatch(one) for one in actions)


def _certainly_allows(template: Document | None, action: str) -> bool:
    """Whether a class's policy, or the usual one, allows an action of it (in lower case) without a condition."""
    if template is None:
        return True
    named = [each for each in _listed(template["Statement"]) if _names(each, action)]
    allows = any(each["Effect"] == "Allow" and not each.get("Condition") for each in named)
    return allows and not any(each["Effect"] == "Deny" for each in named)


def _names(statement: Mapping[str, Any], action: str) -> bool:
    return any(fnmatchcase(action, each.lower()) for each in _listed(statement["Action"]))


def _listed(value: object) -> list[Any]:
    """A policy's "one or several" as a list; nothing for nothing."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _both(bucket_arn: str) -> list[str]:
    return [bucket_arn, f"{bucket_arn}/*"]


def _allow(sid: str, actions: Iterable[str], resource: str) -> Document:
    return {"Sid": sid, "Effect": "Allow", "Action": sorted(actions), "Resource": [resource]}
