"""Creates and repairs the Secret and the ConfigMap of a claim; keys of other controllers in them stay.

Checks ownership; does not know where the data comes from, nor what is recorded about it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from libbucket._api import ConfigMap, Secret
from libbucket._kube.errors import AlreadyExists
from libbucket._kube.resources import CONFIG_MAPS, SECRETS
from libbucket._reconcile.model import manifests
from libbucket._reconcile.model.actions import foreign_object
from libbucket._reconcile.model.snapshot import ObjectState
from libbucket.errors import Reason, RetrySoon

if TYPE_CHECKING:
    from collections.abc import Collection

    from libbucket._api import ObjectBucketClaim
    from libbucket._kube.client import KubeClient
    from libbucket._kube.resources import Resource
    from libbucket._reconcile.model.snapshot import Snapshot

T = TypeVar("T", Secret, ConfigMap)


@dataclass(frozen=True, kw_only=True)
class OwnedObject(Generic[T]):
    """The desired state of the Secret or ConfigMap of a claim.

    Attributes:
        kind: in its manifest.
        resource: of the API.
        conflict: reason of the claim while an object that it does not own has the name.
        state: as observed.
        data: our part of its data.
        ours: keys that we wrote before; any other key belongs to another controller.
    """

    kind: str
    resource: Resource[T]
    conflict: Reason
    state: ObjectState
    data: dict[str, str]
    ours: Collection[str]


def secret(snapshot: Snapshot, data: dict[str, str], *, ours: Collection[str]) -> OwnedObject[Secret]:
    """The claim's Secret."""
    return OwnedObject(
        kind="Secret", resource=SECRETS, conflict=Reason.SECRET_CONFLICT, state=snapshot.secret, data=data, ours=ours
    )


def config_map(snapshot: Snapshot, data: dict[str, str], *, ours: Collection[str]) -> OwnedObject[ConfigMap]:
    """The claim's ConfigMap."""
    return OwnedObject(
        kind="ConfigMap",
        resource=CONFIG_MAPS,
        conflict=Reason.CONFIG_MAP_CONFLICT,
        state=snapshot.config_map,
        data=data,
        ours=ours,
    )


def ensure(client: KubeClient, claim: ObjectBucketClaim, wanted: OwnedObject[T], *, label: str) -> T:
    """Creates or repairs the object with at most one write, and returns it.

    Raises:
        RetrySoon: an object of that name exists, and the claim does not own it.
        KubeError: a request to the API server failed.
    """
    meta = claim.metadata
    if wanted.state is ObjectState.ABSENT:
        body = manifests.owned_object(claim, kind=wanted.kind, label=label, data=wanted.data)
        with suppress(AlreadyExists):  # another owner's, or ours after a lost response: read it
            return client.create(wanted.resource, body, namespace=meta.namespace)
    found = client.read(wanted.resource, meta.name, namespace=meta.namespace)
    if not found.metadata.is_controlled_by(meta.uid):
        raise RetrySoon(foreign_object(wanted.kind, wanted.conflict, meta.key).message, reason=wanted.conflict)
    patch = manifests.owned_patch(found.metadata, label=label, was=found.data or {}, data=wanted.data, ours=wanted.ours)
    return client.patch(wanted.resource, meta.name, patch, namespace=meta.namespace) if patch else found
