"""Removes what a stopped provisioner left in the cluster. Calls no store: their servers end with the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testkit.cluster.memory_environment import OBC

if TYPE_CHECKING:
    from libbucket.testing.admin import KubeAdmin


def forget_claims(admin: KubeAdmin, namespace: str) -> None:
    """Removes the claims of a namespace, and their ObjectBuckets."""
    claims = admin.items(f"{OBC}/namespaces/{namespace}/objectbucketclaims")
    buckets = [
        each for each in admin.items(f"{OBC}/objectbuckets") if each["spec"]["claimRef"]["namespace"] == namespace
    ]
    paths = [f"{OBC}/namespaces/{namespace}/objectbucketclaims/{each['metadata']['name']}" for each in claims]
    for path in [*paths, *(f"{OBC}/objectbuckets/{each['metadata']['name']}" for each in buckets)]:
        admin.patch(path, {"metadata": {"finalizers": None}})
        admin.delete(path)
