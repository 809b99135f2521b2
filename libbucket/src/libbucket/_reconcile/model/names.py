"""Names of objects and buckets: fixed by the wire contract, or generated. Pure."""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Final

_LABEL_LENGTH: Final = 63
_NAME_LENGTH: Final = 253
_PREFIX_LENGTH: Final = 26
_UUID4: Final = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_OBJECT_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def provisioner_label(provisioner_name: str) -> str:
    """The value of the label `bucket-provisioner`: "/" as "-", at most 63 characters, as in the Go library."""
    return provisioner_name.replace("/", "-")[:_LABEL_LENGTH].rstrip("-._")


def is_object_name(name: str) -> bool:
    """Whether this is a valid name of an object, so that it can be used in a request."""
    return len(name) <= _NAME_LENGTH and _OBJECT_NAME.fullmatch(name) is not None


def bucket_object_names(namespace: str, name: str, uid: str) -> tuple[str, str, str]:
    """The possible names of the ObjectBucket of a claim: the usual one, and two alternatives.

    The usual one is ambiguous (`a-b`/`c` and `a`/`b-c` share it), and is kept for compatibility. The second is unique
    for every claim, but another tenant can choose a claim name whose usual name is the same. The third contains the
    uid, which cannot be known before the claim exists.
    """
    usual = f"obc-{namespace}-{name}"
    by_name, by_uid = _digest(f"{namespace}/{name}"), _digest(f"{namespace}/{name}/{uid}")
    first = usual if len(usual) <= _NAME_LENGTH else _cut(usual, f"-{by_name}0")
    return first, _cut(usual, f"-{by_name}"), _cut(usual, f"-{by_uid}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _cut(usual: str, end: str) -> str:
    return usual[: _NAME_LENGTH - len(end)].rstrip("-.") + end  # a name with ".-" is invalid


def generated_bucket_name(prefix: str) -> str:
    """A new bucket name with the prefix that the claim asks for, valid in every store.

    At most 26 characters of the prefix and a UUIDv4, 63 characters in total. Lower case, digits and single hyphens
    only: some stores accept no upper case and no "_", some no "--".
    """
    return f"{_readable(prefix)}{uuid.uuid4()}"


def is_generated_bucket_name(name: str, prefix: str) -> bool:
    """Whether `generated_bucket_name` can return this name for this prefix.

    A claim may also name a bucket of this form, so it proves nothing about an existing bucket.
    """
    readable = _readable(prefix)
    return name.startswith(readable) and _UUID4.fullmatch(name, len(readable)) is not None


def _readable(prefix: str) -> str:
    cut = re.sub("[^a-z0-9]+", "-", prefix.lower()).lstrip("-")[:_PREFIX_LENGTH].rstrip("-")
    return f"{cut}-" if cut else ""
