"""The names that the wire contract fixes, and the ones that we invent. Pure."""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Final

_LABEL_LENGTH: Final = 63
_NAME_LENGTH: Final = 253
_PREFIX_LENGTH: Final = 26


def provisioner_label(provisioner_name: str) -> str:
    """The value of the label `bucket-provisioner`: "/" as "-", at most 63 characters, as the Go library has it."""
    return provisioner_name.replace("/", "-")[:_LABEL_LENGTH].rstrip("-._")


def bucket_object_names(namespace: str, name: str) -> tuple[str, str]:
    """The names that the ObjectBucket of a claim may have: the usual one, and the one for when that is taken.

    The usual one is ambiguous (`a-b`/`c` and `a`/`b-c` share it), and must stay, because others rely on it.
    """
    usual = f"obc-{namespace}-{name}"
    digest = hashlib.sha256(f"{namespace}/{name}".encode()).hexdigest()[:12]
    return (usual if len(usual) <= _NAME_LENGTH else _cut(usual, f"-{digest}0")), _cut(usual, f"-{digest}")


def _cut(usual: str, end: str) -> str:
    return usual[: _NAME_LENGTH - len(end)].rstrip("-.") + end  # a "-" right after a "." is no legal name


def generated_bucket_name(prefix: str) -> str:
    """A fresh bucket name that begins with what the claim asked for, made fit for every store.

    At most 26 characters of the prefix and a UUIDv4, which is 63 together. Lower case, digits and single
    hyphens only: some stores take no capitals and no "_", some no "--".
    """
    readable = re.sub("[^a-z0-9]+", "-", prefix.lower()).lstrip("-")[:_PREFIX_LENGTH].rstrip("-")
    unique = str(uuid.uuid4())
    return f"{readable}-{unique}" if readable else unique
