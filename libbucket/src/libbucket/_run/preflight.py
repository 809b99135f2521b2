"""Checks before the start: access to the cluster, RBAC permissions, CRDs.

Problems that an operator has to fix are reported at once, in one sentence each, instead of later in the log of a watch.
Reads only.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from libbucket import _api
from libbucket._kube.discovery import CrdFeatures, read_crd_features
from libbucket._kube.errors import ClusterUnavailable, Forbidden, KubeError, NotFound, Unauthorized
from libbucket._kube.lease import LEASES, find_lease
from libbucket._kube.resources import (
    BUCKETS,
    CLAIMS,
    CLASSES,
    CONFIG_MAP_METADATA,
    NAMESPACES,
    SECRET_METADATA,
    Resource,
)
from libbucket._run.problems import StartFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket._kube.client import KubeClient

_IDENTITY_NAMESPACE: Final = "kube-system"  # exists in every cluster, and is never recreated
_SCHEMA_TRIES: Final = 10
_SCHEMA_PAUSE: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class ClusterFacts:
    """The result of the checks.

    Attributes:
        cluster_id: uid of the namespace kube-system.
        features: of the installed CRDs.
    """

    cluster_id: str
    features: CrdFeatures


def check_cluster(
    client: KubeClient, *, namespaces: tuple[str, ...], lease: tuple[str, str] | None, watch_secrets: bool = True
) -> ClusterFacts:
    """Checks whether the provisioner can work in this cluster.

    Args:
        client: makes the requests.
        namespaces: that are served; empty for all.
        lease: namespace and name of the Lease, if there is leader election.
        watch_secrets: whether Secrets are to be listed and watched.

    Raises:
        StartFailed: a requirement is not met; names all missing permissions at once.
    """
    try:
        cluster_id, denied = _cluster_id(client)
        denied += [right for right in _rights(client, namespaces, watch_secrets=watch_secrets) if right]
        denied += _lease_right(client, lease)
        if denied:
            raise StartFailed(f"RBAC does not let this account {'; '.join(denied)}")
        return ClusterFacts(cluster_id=cluster_id, features=_features(client))
    except Unauthorized as error:
        raise StartFailed(
            f"{client.host}: the API server does not accept the credentials (a token that is wrong or expired?)"
        ) from error
    except KubeError as error:
        raise StartFailed(str(error)) from error


def _cluster_id(client: KubeClient) -> tuple[str, list[str]]:
    try:
        return client.read(NAMESPACES, _IDENTITY_NAMESPACE).metadata.uid, []
    except Forbidden:
        return "", [f"get namespaces named {_IDENTITY_NAMESPACE}"]


def _rights(client: KubeClient, namespaces: tuple[str, ...], *, watch_secrets: bool) -> Iterator[str]:
    for resource in (CLASSES, BUCKETS):
        yield _list_right(client, resource, "")
    for namespace in namespaces or ("",):
        for namespaced in (CLAIMS, *((SECRET_METADATA,) if watch_secrets else ()), CONFIG_MAP_METADATA):
            yield _list_right(client, namespaced, namespace)


def _list_right(client: KubeClient, resource: Resource[Any], namespace: str) -> str:
    try:
        # Only the metadata of Secrets: their content is not needed.
        client.get(resource.path(namespace=namespace), params={"limit": "1"}, accept=resource.accept_list)
    except Forbidden:
        group = resource.base.split("/")[2] if resource.base.startswith("/apis/") else ""
        kind = f"{resource.plural}.{group}" if group else resource.plural
        return f"list {kind}{f' in namespace {namespace}' if namespace else ' in the whole cluster'}"
    except NotFound as error:
        raise StartFailed(
            f"the CRD {resource.plural}.{_api.GROUP} is not installed: apply the files in crds/ first"
        ) from error
    return ""


def _lease_right(client: KubeClient, lease: tuple[str, str] | None) -> list[str]:
    if lease is None:
        return []
    try:
        find_lease(client, *lease)
    except Forbidden:
        return [f"get {LEASES.plural}.coordination.k8s.io in namespace {lease[0]}"]
    return []


def _features(client: KubeClient) -> CrdFeatures:
    log = structlog.get_logger()
    features = _published_features(client)
    if features is None:
        log.warning("cannot read the installed CRD schemas; assuming the bundled CRDs")
        return CrdFeatures()
    if features.losses():
        log.warning(
            "the installed CRDs differ from the bundled ones and prune fields", lost="; ".join(features.losses())
        )
    return features


def _published_features(client: KubeClient) -> CrdFeatures | None:
    for _ in range(_SCHEMA_TRIES):
        try:
            features = read_crd_features(client)
        except (Forbidden, NotFound, ClusterUnavailable):
            features = None
        if features is not None:
            return features
        time.sleep(_SCHEMA_PAUSE)
    return None
