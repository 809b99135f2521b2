"""Objects of the cluster whose claim is gone: which they are, and the removal of one. The finder is pure.

What the provisioner releases, purges or collects by itself soon is not an orphan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from libbucket import _api
from libbucket._cli.session import CannotRead
from libbucket._kube.errors import KindMissing, NotFound
from libbucket._kube.resources import BUCKETS, CLAIMS, CONFIG_MAP_METADATA, SECRET_METADATA, Resource
from libbucket._reconcile.model.claim_ref import claim_ref_of
from libbucket._reconcile.model.intent import intent_of, is_restored_copy, reclaim_policy_of
from libbucket.types import ReclaimPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket._cli.survey import Survey
    from libbucket._kube.client import KubeClient


_RESOURCES: Final[dict[str, Resource[Any]]] = {
    "ObjectBucket": BUCKETS,
    "Secret": SECRET_METADATA,
    "ConfigMap": CONFIG_MAP_METADATA,
}


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """An object without a claim.

    Attributes:
        kind: `ObjectBucket`, `Secret` or `ConfigMap`.
        meta: its metadata, as it was read.
        claim: `namespace/name` of the claim that is gone.
        uid: of that claim.
        state: what it is, one sentence.
        bucket: name of the bucket that is deleted with it, with all data; "" if none is.
    """

    kind: str
    meta: _api.Meta
    claim: str
    uid: str
    state: str
    bucket: str = ""


def find_orphans(found: Survey) -> Iterator[Orphan]:
    """The orphans of a cluster; none of a kind, or of any, if claims or that kind could not be read."""
    if not found.could_read("claims") or found.missing_crds or found.undecodable:
        return  # without all claims, nothing is known to be without one
    living = {claim.metadata.uid for claim in found.claims}
    for bucket in found.buckets:
        ref = claim_ref_of(bucket)
        if ref.uid and ref.uid not in living and (state := _state(bucket)):
            yield Orphan(
                kind="ObjectBucket",
                meta=bucket.metadata,
                claim=ref.key,
                uid=ref.uid,
                state=state,
                bucket=_doomed_bucket(bucket),
            )
    for kind, objects in (("Secret", found.secrets), ("ConfigMap", found.config_maps)):
        for one in objects:
            owner = next((each for each in one.metadata.owner_references or () if each.controller), None)
            if owner is not None and owner.kind == _api.CLAIM_KIND and owner.uid not in living:
                state = "belonged to a claim that is gone, and was not removed with it"
                claim = f"{one.metadata.namespace}/{owner.name}"
                yield Orphan(kind=kind, meta=one.metadata, claim=claim, uid=owner.uid, state=state)


def _state(bucket: _api.ObjectBucketObject) -> str:
    """Why it is an orphan; "" if it waits for its purge."""
    if is_restored_copy(bucket) and bucket.phase and not bucket.metadata.is_being_deleted:
        return (
            f"it was restored from a backup as {bucket.phase}, and its claim is gone: a new claim may adopt its bucket"
        )
    if bucket.metadata.annotation(_api.PURGE_AT) and not bucket.metadata.is_being_deleted:
        return ""
    if bucket.metadata.is_being_deleted:
        ready = bucket.status.condition("Ready")
        reason = f": {ready.reason}: {ready.message}" if ready is not None and ready.reason else ""
        return f"its claim is gone, and it is being deleted{reason}"
    if bucket.phase == _api.Phase.BOUND:
        return "it is Bound, and its claim is gone"
    return f"its claim is gone, and it is {bucket.phase or 'without a phase, as after a restore'}"


def _doomed_bucket(bucket: _api.ObjectBucketObject) -> str:
    intent = intent_of(bucket)
    is_deleted = intent is not None and intent.greenfield and reclaim_policy_of(bucket) is ReclaimPolicy.DELETE
    return (bucket.endpoint.bucket_name or "") if is_deleted else ""


def remove(client: KubeClient, orphan: Orphan) -> None:
    """Deletes an orphan, if it is unchanged and its claim is still gone.

    Raises:
        CannotRead: its claim exists.
        Conflict: it has changed.
        KubeError: any other refusal, or no answer.
    """
    _refuse_living(client, orphan)
    meta = orphan.meta
    client.delete(
        _RESOURCES[orphan.kind],
        meta.name,
        uid=meta.uid,
        namespace=meta.namespace,
        resource_version=meta.resource_version,
    )


def _refuse_living(client: KubeClient, orphan: Orphan) -> None:
    namespace, _, name = orphan.claim.partition("/")
    try:
        claim = client.read(CLAIMS, name, namespace=namespace)
    except KindMissing:
        raise
    except NotFound:
        return
    if claim.metadata.uid == orphan.uid:
        raise CannotRead(f"claim {orphan.claim} exists: nothing was removed")
