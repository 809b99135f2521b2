"""Manifests of the Kubernetes objects that are written, and merge patches from the existing ones. Pure.

Merge patches contain only our own fields, so that labels, annotations and finalizers of others stay. A list in a patch
(finalizers, conditions) replaces the whole list: such patches are conditional on the resource version that they are
based on. Maps are written as `{}`, never as `null`.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

from libbucket import _api
from libbucket._reconcile.model.claim_ref import claim_ref_of, claim_ref_to
from libbucket.types import AccessKeys, Authentication, SecretStr

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from libbucket._api import Meta, ObjectBucketClaim, ObjectBucketObject
    from libbucket._reconcile.model.claim_ref import ClaimRef
    from libbucket.types import Endpoint, ReclaimPolicy

Json = dict[str, Any]

ACCESS_KEY_ID: Final = "AWS_ACCESS_KEY_ID"
SECRET_ACCESS_KEY: Final = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - the key's name, not its value


def with_finalizer(meta: Meta) -> list[str]:
    """The finalizers of an object, with ours."""
    return [*(meta.finalizers or ()), *([] if meta.has_finalizer() else [_api.FINALIZER])]


def without_finalizer(meta: Meta) -> list[str]:
    """The finalizers of an object, without ours."""
    return [one for one in meta.finalizers or () if one != _api.FINALIZER]


def claim_patch(claim: ObjectBucketClaim, *, label: str, bucket_name: str, object_bucket_name: str) -> Json:
    """Adds finalizer, label and names to a claim before anything is created for it; {} if nothing is missing."""
    meta, spec, patch = claim.metadata, Json(), Json()
    if not claim.spec.bucket_name and bucket_name:
        spec["bucketName"] = bucket_name
    if claim.spec.object_bucket_name != object_bucket_name:
        spec["objectBucketName"] = object_bucket_name
    if not meta.has_finalizer():
        patch["finalizers"] = with_finalizer(meta)
    if meta.label(_api.PROVISIONER_LABEL) != label:
        patch["labels"] = {_api.PROVISIONER_LABEL: label}
    if not patch and not spec:
        return {}
    patch["resourceVersion"] = meta.resource_version
    return {"metadata": patch} | ({"spec": spec} if spec else {})


def ownership(claim: ObjectBucketClaim) -> dict[str, str]:
    """The annotations that prove the ownership of an ObjectBucket."""
    meta = claim.metadata
    return {_api.CLAIM_NAMESPACE: meta.namespace, _api.CLAIM_NAME: meta.name, _api.CLAIM_UID: meta.uid}


def claim_ref_json(claim: ClaimRef) -> Json:
    """`spec.claimRef` of a claim's ObjectBucket."""
    return {
        "apiVersion": _api.API_VERSION,
        "kind": _api.CLAIM_KIND,
        "namespace": claim.namespace,
        "name": claim.name,
        "uid": claim.uid,
    }


def new_bucket_object(  # noqa: PLR0913 - the fields of an ObjectBucket
    claim: ObjectBucketClaim, *, name: str, label: str, intent: str, bucket_name: str, reclaim_policy: ReclaimPolicy
) -> Json:
    """A new ObjectBucket with the intent. Without status: the enum of some CRDs refuses an empty phase."""
    annotations = {**ownership(claim), _api.RECORD: intent}
    spec = {
        "storageClassName": claim.class_name,
        "reclaimPolicy": str(reclaim_policy),
        "claimRef": claim_ref_json(claim_ref_to(claim)),
        "endpoint": _endpoint_of(_api.EndpointSpec(bucket_name=bucket_name)),
        "additionalState": {},
    }
    return _bucket_object(name, labels={_api.PROVISIONER_LABEL: label}, annotations=annotations, spec=spec)


def bucket_object_copy(ob: ObjectBucketObject, name: str) -> Json:
    """A copy of an ObjectBucket under any name: its spec, and our annotations."""
    meta = ob.metadata
    kept = (_api.CLAIM_NAMESPACE, _api.CLAIM_NAME, _api.CLAIM_UID, _api.RECORD, _api.OBSERVED, _api.DELETION_POLICY)
    spec = {
        "storageClassName": ob.spec.storage_class_name or "",
        **({"reclaimPolicy": ob.spec.reclaim_policy} if ob.spec.reclaim_policy else {}),
        "claimRef": claim_ref_json(claim_ref_of(ob)),
        "endpoint": _endpoint_of(ob.endpoint),
        "additionalState": _api.strings(ob.spec.additional_state),
    }
    annotations = {key: meta.annotation(key) for key in kept if meta.annotation(key)}
    return _bucket_object(name, labels=meta.labels or {}, annotations=annotations, spec=spec)


def _bucket_object(name: str, *, labels: Mapping[str, str], annotations: Mapping[str, str], spec: Json) -> Json:
    metadata = {
        "name": name,
        "finalizers": [_api.FINALIZER],
        "labels": dict(labels),
        "annotations": dict(annotations),
    }
    return {"apiVersion": _api.API_VERSION, "kind": _api.BUCKET_KIND, "metadata": metadata, "spec": spec}


def _endpoint_of(endpoint: _api.EndpointSpec) -> Json:
    """Every field, with the empty value of its type if it is absent."""
    return {
        "bucketHost": endpoint.bucket_host or "",
        "bucketPort": endpoint.bucket_port or 0,
        "bucketName": endpoint.bucket_name or "",
        "region": endpoint.region or "",
        "subRegion": endpoint.sub_region or "",
        "additionalConfig": _api.strings(endpoint.additional_config),
    }


def intent_patch(ob: ObjectBucketObject, claim: ObjectBucketClaim, *, label: str, intent: str) -> Json:
    """Adds ownership and intent to an existing ObjectBucket, ours or the Go library's; {} if nothing is missing."""
    meta, patch = ob.metadata, Json()
    desired = {**ownership(claim), _api.RECORD: intent}
    annotations = {key: value for key, value in desired.items() if meta.annotation(key) != value}
    if annotations:
        patch["annotations"] = annotations
    if meta.label(_api.PROVISIONER_LABEL) != label:
        patch["labels"] = {_api.PROVISIONER_LABEL: label}
    if not meta.has_finalizer():
        patch["finalizers"] = with_finalizer(meta)
    return {"metadata": {**patch, "resourceVersion": meta.resource_version}} if patch else {}


def new_intent_patch(ob: ObjectBucketObject, intent: str) -> Json:
    """Replaces the intent, conditional on this version."""
    return {"metadata": {"annotations": {_api.RECORD: intent}, "resourceVersion": ob.metadata.resource_version}}


def reclaim_patch(
    ob: ObjectBucketObject, claim: ObjectBucketClaim, *, intent: str, reclaim_policy: ReclaimPolicy
) -> Json:
    """Transfers an ObjectBucket of an earlier claim of this name to this claim, and cancels its purge."""
    gone = (_api.OBSERVED, _api.PURGE_AT, _api.PURGED, _api.DELETION_POLICY)
    return {
        "metadata": {
            "annotations": {**ownership(claim), _api.RECORD: intent, **dict.fromkeys(gone)},
            "resourceVersion": ob.metadata.resource_version,
        },
        "spec": {
            "claimRef": claim_ref_json(claim_ref_to(claim)),
            "reclaimPolicy": str(reclaim_policy),
            "additionalState": merged(_api.strings(ob.spec.additional_state), {}),
        },
    }


def purge_patch(ob: ObjectBucketObject, *, at: str, policy: str, intent: str) -> Json:
    """Sets the time of the purge of a released bucket, and its policy; {} if a time is set already."""
    if ob.metadata.annotation(_api.PURGE_AT):
        return {}
    annotations = {_api.PURGE_AT: at, _api.DELETION_POLICY: policy, _api.RECORD: intent}
    return {"metadata": {"annotations": annotations, "resourceVersion": ob.metadata.resource_version}}


def keep_patch(ob: ObjectBucketObject, *, policy: ReclaimPolicy) -> Json:
    """Retains a released bucket, also if its ObjectBucket is deleted later."""
    return {
        "metadata": {
            "annotations": {_api.DELETION_POLICY: None},
            "resourceVersion": ob.metadata.resource_version,
        },
        "spec": {"reclaimPolicy": str(policy)},
    }


def state_patch(ob: ObjectBucketObject, state: Mapping[str, str]) -> Json:
    """Sets the provisioner's state; {} if it is set already."""
    was = _api.strings(ob.spec.additional_state)
    if was == state:
        return {}
    return {
        "metadata": {"resourceVersion": ob.metadata.resource_version},
        "spec": {"additionalState": merged(was, state)},
    }


def bound_patch(
    ob: ObjectBucketObject, *, endpoint: Endpoint, state: Mapping[str, str], intent: str, last_applied: str
) -> Json:
    """Sets endpoint, state and annotations of a bound claim's ObjectBucket; {} if they are set already."""
    meta, spec = ob.metadata, Json()
    desired = endpoint_json(endpoint, was=_api.strings(ob.endpoint.additional_config))
    if desired != _endpoint_now(ob):
        spec["endpoint"] = desired
    if _api.strings(ob.spec.additional_state) != state:
        spec["additionalState"] = merged(_api.strings(ob.spec.additional_state), state)
    notes = {_api.RECORD: intent, _api.OBSERVED: last_applied}
    annotations = {key: value for key, value in notes.items() if meta.annotation(key) != value}
    if not spec and not annotations:
        return {}
    patch: Json = {"metadata": {"resourceVersion": meta.resource_version}}
    if annotations:
        patch["metadata"]["annotations"] = annotations
    return patch | ({"spec": spec} if spec else {})


def endpoint_json(endpoint: Endpoint, *, was: Mapping[str, str]) -> Json:
    """`spec.endpoint`, as a merge patch over the previous additionalConfig."""
    return {
        "bucketHost": endpoint.bucket_host,
        "bucketPort": endpoint.bucket_port,
        "bucketName": endpoint.bucket_name,
        "region": endpoint.region,
        "subRegion": endpoint.sub_region,
        "additionalConfig": merged(was, endpoint.additional_config),
    }


def spec_of(ob: ObjectBucketObject) -> tuple[Json, dict[str, str]]:
    """The current endpoint and state."""
    return _endpoint_now(ob), _api.strings(ob.spec.additional_state)


def changed_fields(ob: ObjectBucketObject, *, endpoint: Endpoint, state: Mapping[str, str]) -> list[str]:
    """The fields of an ObjectBucket's spec that differ from the desired ones."""
    now, desired = _endpoint_now(ob), endpoint_json(endpoint, was={})
    fields = [f"spec.endpoint.{name}" for name in desired if now[name] != desired[name]]
    return fields + (["spec.additionalState"] if _api.strings(ob.spec.additional_state) != dict(state) else [])


def _endpoint_now(ob: ObjectBucketObject) -> Json:
    now = ob.endpoint
    return {
        "bucketHost": now.bucket_host,
        "bucketPort": now.bucket_port,
        "bucketName": now.bucket_name,
        "region": now.region,
        "subRegion": now.sub_region,
        "additionalConfig": _api.strings(now.additional_config),
    }


def merged(was: Mapping[str, str], desired: Mapping[str, str]) -> Json:
    """A merge patch from one map to another: removed keys are null."""
    return {**dict.fromkeys(sorted(was.keys() - desired.keys())), **desired}


def secret_data(authentication: Authentication | None) -> dict[str, str]:
    """The `data` of the claim's Secret, in base64."""
    plain: dict[str, str] = {}
    if authentication is not None:
        if authentication.access_keys is not None:
            plain[ACCESS_KEY_ID] = authentication.access_keys.access_key_id
            plain[SECRET_ACCESS_KEY] = authentication.access_keys.secret_access_key.reveal()
        plain |= {key: value.reveal() for key, value in authentication.additional_secret_data.items()}
    return {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}


def decode_data(data: Mapping[str, str] | None) -> dict[str, SecretStr]:
    """The values of a Secret. Those that are not UTF-8 become empty, since they cannot be credentials."""
    return {key: SecretStr(_decode(value)) for key, value in (data or {}).items()}


def _decode(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def credentials_in(data: Mapping[str, str] | None) -> Authentication | None:
    """The credentials in a Secret, in the form for provisioners; None if it is empty."""
    values = decode_data(data)
    if not values:
        return None
    key_id, key = values.pop(ACCESS_KEY_ID, None), values.pop(SECRET_ACCESS_KEY, None)
    pair = AccessKeys(access_key_id=key_id.reveal(), secret_access_key=key) if key_id and key else None
    return Authentication(access_keys=pair, additional_secret_data=values)


def config_map_data(endpoint: Endpoint) -> dict[str, str]:
    """The `data` of the claim's ConfigMap: five standard keys, and those of the provisioner."""
    return {
        **endpoint.additional_config,
        "BUCKET_NAME": endpoint.bucket_name,
        "BUCKET_HOST": endpoint.bucket_host,
        "BUCKET_PORT": str(endpoint.bucket_port),
        "BUCKET_REGION": endpoint.region,
        "BUCKET_SUBREGION": endpoint.sub_region,
    }


def owned_object(claim: ObjectBucketClaim, *, kind: str, label: str, data: Mapping[str, str]) -> Json:
    """A Secret or ConfigMap with the name of the claim. No finalizer: it would block the deletion of the namespace."""
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {
            "name": claim.metadata.name,
            "labels": {_api.PROVISIONER_LABEL: label},
            "ownerReferences": [owner_reference(claim)],
        },
        **({"type": "Opaque"} if kind == "Secret" else {}),
        "data": dict(data),
    }


def owner_reference(claim: ObjectBucketClaim) -> Json:
    """The owner reference to the claim, as controller of its Secret and ConfigMap."""
    return {
        "apiVersion": _api.API_VERSION,
        "kind": _api.CLAIM_KIND,
        "name": claim.metadata.name,
        "uid": claim.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owned_patch(
    meta: Meta, *, label: str, was: Mapping[str, str], data: Mapping[str, str], ours: Collection[str]
) -> Json:
    """Repairs our own Secret or ConfigMap, and removes the finalizer of the Go library; {} if it is intact.

    Args:
        meta: of the object.
        label: of the provisioner.
        was: current data.
        data: our part of the desired data.
        ours: keys that we wrote earlier; other keys belong to other controllers, and stay.
    """
    was = {key: value for key, value in was.items() if key in data or key in ours}
    patch: Json = {}
    if meta.label(_api.PROVISIONER_LABEL) != label:
        patch["labels"] = {_api.PROVISIONER_LABEL: label}
    if meta.has_finalizer():
        patch["finalizers"] = without_finalizer(meta)
    body: Json = {} if dict(was) == dict(data) else {"data": merged(was, data)}
    if not patch and not body:
        return {}
    return {"metadata": {**patch, "resourceVersion": meta.resource_version}, **body}


def finalizer_patch(meta: Meta, finalizers: Sequence[str]) -> Json:
    """Replaces the finalizers, conditional on this version."""
    return {"metadata": {"finalizers": list(finalizers), "resourceVersion": meta.resource_version}}
