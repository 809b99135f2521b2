"""What a provisioner needs of RBAC, and whether its service account has it, by SubjectAccessReviews.

The API server answers a review and stores nothing. The permissions are those of docs/operating.md, which a test
compares; list and watch on Secrets are left out, because a provisioner can run without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from libbucket import _api
from libbucket._kube.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket._kube.client import KubeClient

_GROUP: Final = "authorization.k8s.io"
_VERSION: Final = f"{_GROUP}/v1"
_OWNED: Final = ("get", "create", "patch", "delete")

Needed = tuple[tuple[str, str, tuple[str, ...]], ...]

IN_NAMESPACE: Final[Needed] = (
    (_api.GROUP, "objectbucketclaims", ("get", "list", "watch", "patch")),
    (_api.GROUP, "objectbucketclaims/status", ("patch",)),
    (_api.GROUP, "objectbucketclaims/finalizers", ("update",)),
    ("", "secrets", _OWNED),
    ("", "configmaps", ("get", "list", "watch", "create", "patch", "delete")),
    ("", "events", ("create",)),
)
"""Group, resource and verbs, needed where claims are."""

IN_CLUSTER: Final[Needed] = (
    (_api.GROUP, "objectbuckets", ("get", "list", "watch", "create", "patch", "delete")),
    (_api.GROUP, "objectbuckets/status", ("patch",)),
    ("storage.k8s.io", "storageclasses", ("list", "watch")),
)
"""The same, for what is in no namespace."""

LEASE: Final[Needed] = (("coordination.k8s.io", "leases", ("get", "create", "update")),)
"""The same, where the Lease is."""


class ReviewStatus(_api.Wire, frozen=True):
    """`status` of a review."""

    allowed: bool = False


class Review(_api.Object, frozen=True):
    """A SubjectAccessReview, answered."""

    status: ReviewStatus = ReviewStatus()


REVIEWS: Final = Resource(base=f"/apis/{_VERSION}", plural="subjectaccessreviews", type=Review)


SHARDED_LEASE: Final[Needed] = (("coordination.k8s.io", "leases", ("get", "create", "update", "patch")),)
"""The same with `--sharding`: each replica renews its part of the Lease by a patch."""


@dataclass(frozen=True, kw_only=True)
class LeasePlace:
    """Where a provisioner's Lease is.

    Attributes:
        namespace: of the Lease.
        names: that it may have; a Role usually names the one, so that only it can be asked about.
        has_shards: whether the provisioner runs with `--sharding`.
    """

    namespace: str
    names: tuple[str, ...]
    has_shards: bool


def missing_permissions(
    client: KubeClient, account: str, *, namespace: str, lease: LeasePlace | None = None
) -> list[str]:
    """What RBAC does not let a service account do for the claims of a namespace.

    Args:
        client: with the permission to create SubjectAccessReviews.
        account: `namespace/name` of the service account.
        namespace: where the claims are; "" for all namespaces.
        lease: where its Lease is; None for no Lease.

    Returns:
        One phrase for each resource, such as `create, patch secrets in namespace shop`.

    Raises:
        KubeError: a refusal, or no answer.
    """
    any_name: tuple[str, ...] = ("",)
    scopes = [(IN_NAMESPACE, namespace, any_name), (IN_CLUSTER, "", any_name)]
    if lease is not None:
        scopes.append((SHARDED_LEASE if lease.has_shards else LEASE, lease.namespace, lease.names))
    return [phrase for needed, where, names in scopes for phrase in _missing(client, account, needed, where, names)]


def may_read_secret(client: KubeClient, account: str, secret: str) -> bool:
    """Whether a service account may get one Secret.

    Args:
        client: with the permission to create SubjectAccessReviews.
        account: `namespace/name` of the service account.
        secret: `namespace/name`.

    Raises:
        KubeError: a refusal, or no answer.
    """
    namespace, _, name = secret.partition("/")
    return _is_allowed(client, account, ("", "secrets", "get"), namespace, name=name)


def _missing(client: KubeClient, account: str, needed: Needed, namespace: str, names: tuple[str, ...]) -> Iterator[str]:
    def is_denied(asked: tuple[str, str, str]) -> bool:
        # What is created has no name yet. Without a name that is known, there is nothing to ask about.
        asked_of = ("",) if asked[2] == "create" else names
        return bool(asked_of) and not any(_is_allowed(client, account, asked, namespace, name=one) for one in asked_of)

    for group, resource, verbs in needed:
        denied = [verb for verb in verbs if is_denied((group, resource, verb))]
        if denied:
            name = f"{resource}.{group}" if group else resource
            yield f"{', '.join(denied)} {name}{f' in namespace {namespace}' if namespace else ''}"


def _is_allowed(
    client: KubeClient, account: str, asked: tuple[str, str, str], namespace: str, *, name: str = ""
) -> bool:
    owner, _, account_name = account.partition("/")
    group, resource, verb = asked
    plural, _, subresource = resource.partition("/")
    spec = {
        "user": f"system:serviceaccount:{owner}:{account_name}",
        "groups": ["system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{owner}"],
        "resourceAttributes": {
            "group": group,
            "resource": plural,
            "subresource": subresource,
            "verb": verb,
            "namespace": namespace,
            "name": name,
        },
    }
    body = {"apiVersion": _VERSION, "kind": "SubjectAccessReview", "metadata": {}, "spec": spec}
    return client.create(REVIEWS, body).status.allowed
