"""Nothing that is somebody else's is used, changed or deleted: ObjectBuckets, Secrets, buckets; and what is adopted."""

from __future__ import annotations

import base64
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from libbucket.testing.builders import an_object_bucket
from libbucket.testing.memory_store import Bucket, Identity
from testkit.cluster.memory_environment import OBC

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testkit.cluster.memory_environment import MemoryEnvironment

OWN_KEYS = {"AWS_ACCESS_KEY_ID": "old-key", "AWS_SECRET_ACCESS_KEY": "old-secret"}


@contextmanager
def colliding_namespaces(world: MemoryEnvironment) -> Iterator[tuple[str, str]]:
    """Namespaces `x` and `x-b`: claims `b-c` and `c` in them want the same ObjectBucket name."""
    first = f"col-{secrets.token_hex(3)}"
    for name in (first, f"{first}-b"):
        world.admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
    yield first, f"{first}-b"
    for name in (first, f"{first}-b"):
        world.admin.delete(f"/api/v1/namespaces/{name}")


@pytest.mark.parametrize("order", [0, 1])
def test_two_claims_whose_object_buckets_would_have_one_name_each_get_their_own(
    world: MemoryEnvironment, order: int
) -> None:
    with world.core(), colliding_namespaces(world) as (left, right):
        claims = [("b-c", left), ("c", right)]
        first, second = claims[order], claims[1 - order]
        world.claim(first[0], namespace=first[1])
        kept = world.wait_bound(*first)
        world.claim(second[0], namespace=second[1])
        other = world.wait_bound(*second)
        assert kept["spec"]["objectBucketName"] == f"obc-{left}-b-c"
        assert other["spec"]["objectBucketName"].startswith(f"obc-{left}-b-c-")

        world.delete_claim(second[0], namespace=second[1])
        assert set(world.store.buckets) == {kept["spec"]["bucketName"]}
        assert len(world.store.identities) == 1
        world.delete_claim(first[0], namespace=first[1])
        assert not world.store.buckets


def test_naming_a_neighbours_object_bucket_in_the_claim_gains_nothing(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim("victim")
        victim = world.wait_bound("victim")
        world.claim("thief", spec={"generateBucketName": "t", "objectBucketName": victim["spec"]["objectBucketName"]})
        thief = world.wait_bound("thief")
        assert thief["spec"]["objectBucketName"] == f"obc-{world.namespace}-thief"
        world.delete_claim("thief")

    assert set(world.store.buckets) == {victim["spec"]["bucketName"]}
    assert world.get_claim("victim")["status"]["phase"] == "Bound"


def test_naming_a_neighbours_bucket_fails_and_touches_nothing_not_even_at_deletion(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim("victim")
        victim = world.wait_bound("victim")
        world.claim("thief", spec={"bucketName": victim["spec"]["bucketName"]})
        thief = world.wait_reason("BucketExists", "thief")
        assert thief["status"]["phase"] == "Failed"
        assert world.admin.find(world.path("secrets", "thief")) is None
        world.delete_claim("thief")

    assert set(world.store.buckets) == {victim["spec"]["bucketName"]}
    assert len(world.store.identities) == 1


def test_a_bucket_that_lost_its_stamp_is_not_deleted_and_the_claim_says_so(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim()
        bucket = world.wait_bound()["spec"]["bucketName"]
        stamp, world.store.buckets[bucket].stamp = world.store.buckets[bucket].stamp, {}
        world.delete_claim(wait=False)
        world.wait_reason("BucketExists")
        assert bucket in world.store.buckets

        world.store.buckets[bucket].stamp = stamp
        world.patch_claim({"metadata": {"annotations": {"mended": "yes"}}})  # any edit wakes it
        world.admin.wait_gone(world.claim_path())
    assert not world.store.buckets


@pytest.mark.parametrize("kind", ["secrets", "configmaps"])
def test_a_foreign_object_of_that_name_is_left_alone_and_the_claim_binds_when_it_is_gone(
    world: MemoryEnvironment, kind: str
) -> None:
    reason = {"secrets": "SecretConflict", "configmaps": "ConfigMapConflict"}[kind]
    body: dict[str, Any] = {"metadata": {"name": "photos", "labels": {"bucket-provisioner": world.label}}}
    before = world.admin.create(world.path(kind, "").rstrip("/"), body)
    with world.core():
        world.claim()
        claim = world.wait_reason(reason)
        assert claim["status"]["phase"] == "Pending"
        assert world.admin.get(world.path(kind))["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        world.admin.delete(world.path(kind))
        world.wait_bound()
        world.wait_event("Warning", reason)
        world.delete_claim()


def test_a_forged_owner_reference_does_not_make_an_object_ours(world: MemoryEnvironment) -> None:
    forged = {
        "apiVersion": "objectbucket.io/v1alpha1",
        "kind": "ObjectBucketClaim",
        "name": "photos",
        "uid": "00000000-0000-0000-0000-000000000000",
        "controller": True,
    }
    metadata = {"name": "photos", "ownerReferences": [forged], "finalizers": ["example.com/keep"]}
    world.admin.create(world.path("secrets", "").rstrip("/"), {"metadata": metadata, "data": {"MINE": "bWluZQ=="}})
    with world.core():
        world.claim()
        world.wait_reason("SecretConflict")
    assert world.secret() == {"MINE": "mine"}
    world.admin.patch(world.path("secrets"), {"metadata": {"finalizers": None}})


def a_claim_of_the_go_library(world: MemoryEnvironment, *, with_claim_ref: bool = True) -> dict[str, Any]:
    """A bound claim with its objects, exactly as the Go library leaves them behind."""
    label = {"bucket-provisioner": world.label}
    finalizer = ["objectbucket.io/finalizer"]
    claim = world.claim(
        spec={
            "bucketName": "photos-go",
            "generateBucketName": "photos",
            "objectBucketName": f"obc-{world.namespace}-photos",
        },
        finalizers=finalizer,
        labels=label,
    )
    world.admin.patch(world.claim_path() + "/status", {"status": {"phase": "Bound"}})
    ob = an_object_bucket(claim=claim, bucket="photos-go", finalizers=finalizer, labels=label)
    ob["spec"]["endpoint"]["additionalConfig"] = {"": ""}
    ob["spec"]["additionalState"] = {"UserName": "go-user-7", "ARN": "arn:x"}
    if not with_claim_ref:
        ob["spec"]["claimRef"] = {}
    world.admin.create(f"{OBC}/objectbuckets", ob)
    world.admin.patch(world.ob_path() + "/status", {"status": {"phase": "Bound"}})
    owner = {
        "apiVersion": "objectbucket.io/v1alpha1",
        "kind": "ObjectBucketClaim",
        "name": "photos",
        "uid": claim["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {"name": "photos", "finalizers": finalizer, "labels": label, "ownerReferences": [owner]}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in OWN_KEYS.items()}
    world.admin.create(world.path("secrets", "").rstrip("/"), {"metadata": metadata, "data": data})
    world.admin.create(
        world.path("configmaps", "").rstrip("/"), {"metadata": metadata, "data": {"BUCKET_NAME": "photos-go"}}
    )
    return claim


def test_a_claim_of_the_go_library_is_adopted_with_its_keys(world: MemoryEnvironment) -> None:
    claim = a_claim_of_the_go_library(world)
    stamp = {
        "objectbucket_cluster_id": world.admin.get("/api/v1/namespaces/kube-system")["metadata"]["uid"],
        "objectbucket_claim_uid": claim["metadata"]["uid"],
    }
    world.store.buckets["photos-go"] = Bucket(stamp=stamp)
    seen = []

    def as_its_user(_verb: object, request: Any) -> None:
        seen.append(dict(request.additional_state))
        world.store.identities[request.user_id] = Identity(keys={"old-key": "old-secret"})

    world.hook = as_its_user
    with world.core():
        world.wait_bound()
        assert seen == [{"UserName": "go-user-7", "ARN": "arn:x"}]
        assert world.secret() == OWN_KEYS
        for kind in ("secrets", "configmaps"):
            assert "finalizers" not in world.admin.get(world.path(kind))["metadata"]
        world.hook = lambda _verb, _request: None
        world.delete_claim()
    assert not world.store.buckets


@pytest.mark.parametrize("stamp", [{}, None], ids=["without a stamp", "gone since"])
def test_a_bucket_of_the_go_library_carries_no_stamp_and_gets_one(
    world: MemoryEnvironment, stamp: dict[str, str] | None
) -> None:
    claim = a_claim_of_the_go_library(world)
    if stamp is not None:
        world.store.buckets["photos-go"] = Bucket(stamp=stamp)
    with world.core():
        world.wait_bound()
        assert world.store.buckets["photos-go"].stamp["objectbucket_claim_uid"] == claim["metadata"]["uid"]
        world.delete_claim()
    assert not world.store.buckets


def test_a_bucket_that_another_owner_stamped_is_not_taken_over(world: MemoryEnvironment) -> None:
    a_claim_of_the_go_library(world)
    theirs = {"objectbucket_cluster_id": "another", "objectbucket_claim_uid": "another"}
    world.store.buckets["photos-go"] = Bucket(stamp=dict(theirs))
    with world.core():
        claim = world.wait_reason("BucketExists")
        assert claim["status"]["phase"] == "Bound", "applications go on with what they have"
        assert world.secret() == OWN_KEYS
        world.delete_claim()
    assert world.store.buckets["photos-go"].stamp == theirs


def test_a_bucket_is_taken_over_once_and_later_a_lost_stamp_is_not_written_again(world: MemoryEnvironment) -> None:
    a_claim_of_the_go_library(world)
    world.store.buckets["photos-go"] = Bucket()
    with world.core():
        world.wait_bound()
    world.store.buckets["photos-go"].stamp.clear()
    with world.core(version="2"):
        world.wait_reason("BucketExists")
        assert not world.store.buckets["photos-go"].stamp
        world.store.buckets.clear()
        world.delete_claim()


@pytest.mark.parametrize(
    ("policy", "left"), [("Delete", set[str]()), ("Retain", {"photos-go"})], ids=["Delete", "Retain"]
)
def test_a_claim_of_the_go_library_that_is_deleted_before_it_was_adopted_is_given_back(
    world: MemoryEnvironment, policy: str, left: set[str]
) -> None:
    a_claim_of_the_go_library(world)
    world.admin.patch(world.ob_path(), {"spec": {"reclaimPolicy": policy}})
    world.store.buckets["photos-go"] = Bucket()
    world.admin.delete(world.claim_path())
    with world.core():
        world.admin.wait_gone(world.claim_path(), timeout=20)
        world.admin.wait_gone(world.ob_path(), timeout=20)
    assert set(world.store.buckets) == left


def test_an_object_bucket_whose_claim_ref_was_pruned_is_not_taken_for_ours(world: MemoryEnvironment) -> None:
    a_claim_of_the_go_library(world, with_claim_ref=False)
    before = world.admin.get(world.ob_path())["metadata"]["resourceVersion"]
    with world.core():
        claim = world.wait_bound()
        assert claim["spec"]["objectBucketName"] != f"obc-{world.namespace}-photos"
        assert world.admin.get(world.ob_path())["metadata"]["resourceVersion"] == before
        world.delete_claim()
    world.admin.patch(world.ob_path(), {"metadata": {"finalizers": None}})
    world.admin.delete(world.ob_path())


def test_a_claim_made_again_under_the_same_name_is_another_owner(world: MemoryEnvironment) -> None:
    retains = world.make_class(f"{world.class_name}-r", reclaim_policy="Retain")
    with world.core():
        world.claim(spec={"bucketName": "photos"}, storage_class=retains)
        first = world.wait_bound()
    world.patch_claim({"metadata": {"finalizers": None}})
    world.delete_claim()
    with world.core():
        world.claim(spec={"bucketName": "photos"}, storage_class=retains)
        world.wait_reason("BucketExists")
        assert world.get_claim()["metadata"]["uid"] != first["metadata"]["uid"]
        world.delete_claim()
    assert set(world.store.buckets) == {"photos"}
    assert not world.store.identities, "the earlier claim was released, although its finalizer was removed by hand"
