"""Builders with defaults, so that a test shows only what matters to it.

Two kinds: objects as they are on the wire (plain dicts: `a_claim`, `a_class`, `an_object_bucket`), and the typed
requests that a provisioner gets (`options`, `owner`, `intent`, `recorded`). Pure; knows neither core nor store.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from libbucket.types import (
    AccessKeys,
    Authentication,
    BucketOptions,
    Claim,
    Connection,
    Endpoint,
    ObjectBucket,
    Owner,
    ReclaimPolicy,
    SecretStr,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

API_VERSION = "objectbucket.io/v1alpha1"
CLUSTER_ID = "cluster-1"

Wire = dict[str, Any]
"""A Kubernetes object as JSON has it."""


def a_claim(
    *,
    name: str = "photos",
    namespace: str = "shop",
    storage_class: str | None = "buckets",
    spec: Wire | None = None,
    status: Wire | None = None,
    **metadata: Any,
) -> Wire:
    """An ObjectBucketClaim; with `generateBucketName` unless `spec` says otherwise.

    Args:
        name: of the claim.
        namespace: of the claim.
        storage_class: None leaves it out.
        spec: replaces everything in `spec` but the class.
        status: left out by default, as it is before a provisioner saw the claim.
        **metadata: further members of `metadata`, such as `uid` or `finalizers`.
    """
    named = {} if storage_class is None else {"storageClassName": storage_class}
    rest = {"generateBucketName": name} if spec is None else spec
    claim: Wire = {
        "apiVersion": API_VERSION,
        "kind": "ObjectBucketClaim",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {**named, **rest},
    }
    return claim if status is None else {**claim, "status": status}


def a_class(
    *,
    name: str = "buckets",
    provisioner: str = "memory.libbucket.io/bucket",
    parameters: Mapping[str, str] | None = None,
    reclaim_policy: str | None = "Delete",
    **metadata: Any,
) -> Wire:
    """A StorageClass; `parameters={"bucketName": ...}` makes its claims brownfield, a policy of None is left out."""
    storage_class: Wire = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, **metadata},
        "provisioner": provisioner,
        "parameters": dict(parameters or {}),
    }
    return storage_class if reclaim_policy is None else {**storage_class, "reclaimPolicy": reclaim_policy}


def an_object_bucket(  # noqa: PLR0913 - each is one thing that a test may be about
    *,
    claim: Wire | None = None,
    name: str | None = None,
    bucket: str = "photos-1",
    reclaim_policy: str | None = "Delete",
    spec: Wire | None = None,
    status: Wire | None = None,
    **metadata: Any,
) -> Wire:
    """An ObjectBucket as the Go library writes it for `claim`.

    Args:
        claim: whose it is; `a_claim()` by default.
        name: `obc-<namespace>-<name>` of the claim by default.
        bucket: name of the bucket in the store.
        reclaim_policy: None leaves it out.
        spec: laid over what is built.
        status: left out by default.
        **metadata: further members of `metadata`.
    """
    claim = claim or a_claim(uid="uid-1")
    of = claim["metadata"]
    reference = {"apiVersion": API_VERSION, "kind": "ObjectBucketClaim"}
    reference |= {key: of[key] for key in ("name", "namespace", "uid") if key in of}
    built: Wire = {
        "storageClassName": claim["spec"].get("storageClassName", ""),
        "claimRef": reference,
        "endpoint": an_endpoint(bucket=bucket),
        "additionalState": {},
    }
    if reclaim_policy is not None:
        built["reclaimPolicy"] = reclaim_policy
    ob: Wire = {
        "apiVersion": API_VERSION,
        "kind": "ObjectBucket",
        "metadata": {"name": name or f"obc-{of['namespace']}-{of['name']}", **metadata},
        "spec": {**built, **(spec or {})},
    }
    return ob if status is None else {**ob, "status": status}


def an_endpoint(*, bucket: str = "photos-1", host: str = "store.invalid", port: int = 443) -> Wire:
    """The endpoint of an ObjectBucket: the Go library always writes all six members."""
    return {
        "bucketHost": host,
        "bucketPort": port,
        "bucketName": bucket,
        "region": "",
        "subRegion": "",
        "additionalConfig": {},
    }


def owner(*, namespace: str = "shop", name: str = "photos", uid: str = "uid-1", cluster_id: str = CLUSTER_ID) -> Owner:
    """Whose a bucket is."""
    return Owner(cluster_id=cluster_id, namespace=namespace, name=name, uid=uid)


def options(  # noqa: PLR0913 - each is one thing that a test may be about
    *,
    namespace: str = "shop",
    name: str = "photos",
    uid: str | None = None,
    bucket_name: str | None = None,
    user_id: str | None = None,
    parameters: Mapping[str, str] | None = None,
    config: Mapping[str, str] | None = None,
    previous_config: Mapping[str, str] | None = None,
    credentials: Authentication | None = None,
    reclaim_policy: ReclaimPolicy = ReclaimPolicy.DELETE,
) -> BucketOptions:
    """A request to `provision` or `grant`; two calls with the defaults are two claims, each with its own bucket."""
    uid = uid or str(uuid.uuid4())
    claim = Claim(namespace=namespace, name=name, uid=uid, additional_config=config or {})
    return BucketOptions(
        reclaim_policy=reclaim_policy,
        bucket_name=bucket_name or f"{name}-{uid}"[:63].rstrip("-"),
        user_id=user_id or f"obc-{uid}",
        claim=claim,
        parameters=parameters or {},
        owner=owner(namespace=namespace, name=name, uid=uid),
        credentials=credentials,
        previous_config=previous_config or {},
    )


def access_keys(access_key_id: str = "KEY", secret: str = "s3cr3t") -> Authentication:  # noqa: S107 - of no use
    """Credentials as a claim's Secret holds them."""
    return Authentication(
        access_keys=AccessKeys(access_key_id=access_key_id, secret_access_key=SecretStr(secret)),
    )


def intent(request: BucketOptions, *, greenfield: bool = True) -> ObjectBucket:
    """What the core records before the first call, and passes to `delete` or `revoke` if that call never finished."""
    endpoint = Endpoint(bucket_host="", bucket_port=0, bucket_name=request.bucket_name)
    return _filled_in(Connection(endpoint=endpoint), request, greenfield=greenfield)


def recorded(answer: ObjectBucket, request: BucketOptions, *, greenfield: bool = True) -> ObjectBucket:
    """What the core passes to `delete` or `revoke` after `provision` or `grant` answered: without credentials."""
    return _filled_in(replace(answer.connection, authentication=None), request, greenfield=greenfield)


def again(request: BucketOptions, answer: ObjectBucket, *, with_credentials: bool = True) -> BucketOptions:
    """The same request as the core makes it once more: with what the first answer left in the cluster.

    Args:
        request: the first one.
        answer: what came of it.
        with_credentials: False plays a Secret that was removed manually.
    """
    return replace(
        request,
        credentials=answer.connection.authentication if with_credentials else None,
        credentials_unchanged=with_credentials,
        additional_state=answer.additional_state,
        previous_config=request.claim.additional_config,
        was_bound=True,
    )


def bound(request: BucketOptions) -> BucketOptions:
    """The request after an earlier call succeeded, and its Secret was lost: a missing bucket is then `BucketLost`."""
    return replace(request, was_bound=True)


def taken_over(request: BucketOptions) -> BucketOptions:
    """The request of a claim that another program bound before."""
    return replace(request, taken_over=True)


def _filled_in(connection: Connection, request: BucketOptions, *, greenfield: bool) -> ObjectBucket:
    return ObjectBucket(
        connection=connection,
        name=f"obc-{request.claim.namespace}-{request.claim.name}",
        user_id=request.user_id,
        reclaim_policy=request.reclaim_policy,
        parameters=request.parameters,
        owner=request.owner,
        greenfield=greenfield,
    )
