"""Reads, creates and replaces a Lease, the object that names the leader.

Used by the leader election, which decides. Every write is conditional: on a resource version, or on there being no
Lease yet. Times in it are informative: nothing compares them, because clocks of machines differ.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from libbucket import _api
from libbucket._kube.errors import NotFound
from libbucket._kube.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from libbucket._kube.client import KubeClient

_API_VERSION: Final = "coordination.k8s.io/v1"
_LONGEST_NAME: Final = 253


class LeaseSpec(_api.Wire, frozen=True, omit_defaults=True):
    """`spec` of a Lease.

    Attributes:
        holder_identity: the leader; empty after a release.
    """

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(_api.Object, frozen=True):
    """A Lease in the cluster."""

    spec: LeaseSpec | None = None

    @property
    def record(self) -> LeaseSpec:
        """`spec`, or an empty one."""
        return self.spec or LeaseSpec()

    @property
    def holder(self) -> str:
        """The leader; "" if there is none."""
        return self.record.holder_identity or ""


LEASES: Final = Resource(base=f"/apis/{_API_VERSION}", plural="leases", type=Lease)


def lease_name(provisioner_name: str) -> str:
    """A valid name for the Lease: provisioner names may contain "/" and "_". The chart uses the same name."""
    readable = re.sub("[^a-z0-9.-]+", "-", f"libbucket-{provisioner_name}".lower())
    return re.sub("[.-]*[.][.-]*", ".", readable)[:_LONGEST_NAME]


def micro_time() -> str:
    """The current time, as a `metav1.MicroTime`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def find_lease(client: KubeClient, namespace: str, name: str) -> Lease | None:
    """The Lease; None if there is none.

    Raises:
        KubeError: a refusal, or no answer.
    """
    try:
        return client.read(LEASES, name, namespace=namespace)
    except NotFound:
        return None


def create_lease(
    client: KubeClient, namespace: str, name: str, spec: LeaseSpec, annotations: Mapping[str, str | None] | None = None
) -> Lease:
    """Creates the Lease.

    Raises:
        AlreadyExists: another replica created it first.
        KubeError: any other refusal, or no answer.
    """
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if annotations:
        metadata["annotations"] = {**annotations}
    return client.create(LEASES, _body(metadata, spec), namespace=namespace)


def replace_lease(client: KubeClient, lease: Lease, spec: LeaseSpec) -> Lease:
    """Replaces the spec of a Lease, if it is unchanged.

    Raises:
        Conflict: it changed since.
        KubeError: any other refusal, or no answer.
    """
    meta = lease.metadata
    metadata = {"name": meta.name, "namespace": meta.namespace, "resourceVersion": meta.resource_version}
    kept = {"labels": meta.labels, "annotations": meta.annotations, "finalizers": meta.finalizers}
    body = _body(metadata | {key: value for key, value in kept.items() if value}, spec)
    return client.replace(LEASES, meta.name, body, namespace=meta.namespace)


def patch_lease(
    client: KubeClient, lease: Lease, spec: LeaseSpec, annotations: Mapping[str, str | None], *, if_unchanged: bool
) -> Lease:
    """Sets what a spec names, and annotations; None removes one. Returns the Lease as it is after that, as a whole.

    The API server serializes patches: each is applied to what the one before it has left.

    Args:
        client: makes the request.
        lease: by its name; what else it says is not written.
        spec: the fields to set.
        annotations: to set or to remove.
        if_unchanged: whether the patch is conditional on the version of `lease`.

    Raises:
        Conflict: it changed since.
        NotFound: it does not exist.
        KubeError: any other refusal, or no answer.
    """
    meta = lease.metadata
    condition = {"resourceVersion": meta.resource_version} if if_unchanged else {}
    body = {"metadata": {**condition, "annotations": {**annotations}}, "spec": msgspec.to_builtins(spec)}
    return client.patch(LEASES, meta.name, body, namespace=meta.namespace)


def _body(metadata: dict[str, Any], spec: LeaseSpec) -> dict[str, Any]:
    return {"apiVersion": _API_VERSION, "kind": "Lease", "metadata": metadata, "spec": msgspec.to_builtins(spec)}
