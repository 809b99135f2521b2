"""What the policies of a user permit. Pure; conditions that the provisioner does not write are refused.

Source: `pkg/policy` of github.com/minio/pkg: what is denied by one statement is denied; what none allows is denied.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def permits(documents: Iterable[Mapping[str, Any]], action: str, resource: str) -> bool:
    """Whether these policies together permit an action on a resource.

    Args:
        documents: of the user.
        action: as policies name it: `s3:PutObject`.
        resource: bucket, or bucket and key: `bucket/key`.
    """
    statements = [one for document in documents for one in document["Statement"]]
    effects = {one["Effect"] for one in statements if _concerns(one, action, resource)}
    return effects == {"Allow"}


def _concerns(statement: Mapping[str, Any], action: str, resource: str) -> bool:
    if not any(fnmatchcase(action, pattern) for pattern in statement["Action"]):
        return False
    if "Condition" in statement:
        raise NotImplementedError(f"conditions of {action}")
    resources = statement.get("Resource")
    return resources is None or any(fnmatchcase(f"arn:aws:s3:::{resource}", pattern) for pattern in resources)
