"""Foreign ObjectBuckets, Secrets and buckets are never used, modified or deleted; adoption from the Go library."""

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
def colliding_namespaces(environment: MemoryEnvironment) -> Iterator[tuple[str, str]]:
    """Namespaces `x` and `x-b`: claims `b-c` and `c` in them want the same ObjectBucket name."""
    first = f"col-{secrets.token_hex(3)}"
    for name in (first, f"{first}-b"):
        environment.admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
    yield first, f"{first}-b"
    for name in (first, f"{first}-b"):
        environment.admin.delete(f"/api/v1/namespaces/{name}")


@pytest.mark.parametrize("order", [0, 1])
def test_claims_with_colliding_object_bucket_names_each_get_their_own(
    environment: MemoryEnvironment, order: int
) -> None:
    with environment.core(), colliding_namespaces(environment) as (shorter, longer):
        claims = [("b-c", shorter), ("c", longer)]
        first, second = claims[order], claims[1 - order]
        environment.claim(first[0], namespace=first[1])
        kept = environment.wait_bound(*first)
        environment.claim(second[0], namespace=second[1])
        other = environment.wait_bound(*second)
        assert kept["spec"]["objectBucketName"] == f"obc-{shorter}-b-c"
        assert other["spec"]["objectBucketName"].startswith(f"obc-{shorter}-b-c-")

        environment.delete_claim(second[0], namespace=second[1])
        assert set(environment.store.buckets) == {kept["spec"]["bucketName"]}
        assert len(environment.store.identities) == 1
        environment.delete_claim(first[0], namespace=first[1])
        assert not environment.store.buckets


def test_naming_another_tenants_object_bucket_grants_no_access(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim("victim")
        victim = environment.wait_bound("victim")
        environment.claim(
            "thief", spec={"generateBucketName": "t", "objectBucketName": victim["spec"]["objectBucketName"]}
        )
        thief = environment.wait_bound("thief")
        assert thief["spec"]["objectBucketName"] == f"obc-{environment.namespace}-thief"
        environment.delete_claim("thief")

    assert set(environment.store.buckets) == {victim["spec"]["bucketName"]}
    assert environment.get_claim("victim")["status"]["phase"] == "Bound"


def test_naming_another_tenants_bucket_fails_and_changes_nothing_even_at_deletion(
    environment: MemoryEnvironment,
) -> None:
    with environment.core():
        environment.claim("victim")
        victim = environment.wait_bound("victim")
        environment.claim("thief", spec={"bucketName": victim["spec"]["bucketName"]})
        thief = environment.wait_reason("BucketExists", "thief")
        assert thief["status"]["phase"] == "Failed"
        assert environment.admin.find(environment.path("secrets", "thief")) is None
        environment.delete_claim("thief")

    assert set(environment.store.buckets) == {victim["spec"]["bucketName"]}
    assert len(environment.store.identities) == 1


def test_a_bucket_without_ownership_tags_is_not_deleted_and_the_claim_reports_it(
    environment: MemoryEnvironment,
) -> None:
    with environment.core():
        environment.claim()
        bucket = environment.wait_bound()["spec"]["bucketName"]
        tags, environment.store.buckets[bucket].tags = environment.store.buckets[bucket].tags, {}
        environment.delete_claim(wait=False)
        environment.wait_reason("BucketExists")
        assert bucket in environment.store.buckets

        environment.store.buckets[bucket].tags = tags
        environment.patch_claim({"metadata": {"annotations": {"fixed": "yes"}}})  # any edit requeues it
        environment.admin.wait_gone(environment.claim_path())
    assert not environment.store.buckets


@pytest.mark.parametrize("kind", ["secrets", "configmaps"])
def test_a_conflicting_foreign_object_is_kept_and_the_claim_binds_once_it_is_deleted(
    environment: MemoryEnvironment, kind: str
) -> None:
    reason = {"secrets": "SecretConflict", "configmaps": "ConfigMapConflict"}[kind]
    body: dict[str, Any] = {"metadata": {"name": "photos", "labels": {"bucket-provisioner": environment.label}}}
    before = environment.admin.create(environment.path(kind, "").rstrip("/"), body)
    with environment.core():
        environment.claim()
        claim = environment.wait_reason(reason)
        assert claim["status"]["phase"] == "Pending"
        assert (
            environment.admin.get(environment.path(kind))["metadata"]["resourceVersion"]
            == before["metadata"]["resourceVersion"]
        )
        environment.admin.delete(environment.path(kind))
        environment.wait_bound()
        environment.wait_event("Warning", reason)
        environment.delete_claim()


def test_a_forged_owner_reference_does_not_confer_ownership(environment: MemoryEnvironment) -> None:
    forged = {
        "apiVersion": "objectbucket.io/v1alpha1",
        "kind": "ObjectBucketClaim",
        "name": "photos",
        "uid": "00000000-0000-0000-0000-000000000000",
        "controller": True,
    }
    metadata = {"name": "photos", "ownerReferences": [forged], "finalizers": ["example.com/keep"]}
    environment.admin.create(
        environment.path("secrets", "").rstrip("/"), {"metadata": metadata, "data": {"MINE": "bWluZQ=="}}
    )
    with environment.core():
        environment.claim()
        environment.wait_reason("SecretConflict")
    assert environment.secret() == {"MINE": "mine"}
    environment.admin.patch(environment.path("secrets"), {"metadata": {"finalizers": None}})


def a_claim_of_the_go_library(environment: MemoryEnvironment, *, with_claim_ref: bool = True) -> dict[str, Any]:
    """A bound claim with its objects, exactly as the Go library creates them."""
    label = {"bucket-provisioner": environment.label}
    finalizer = ["objectbucket.io/finalizer"]
    claim = environment.claim(
        spec={
            "bucketName": "photos-go",
            "generateBucketName": "photos",
            "objectBucketName": f"obc-{environment.namespace}-photos",
        },
        finalizers=finalizer,
        labels=label,
    )
    environment.admin.patch(environment.claim_path() + "/status", {"status": {"phase": "Bound"}})
    ob = an_object_bucket(claim=claim, bucket="photos-go", finalizers=finalizer, labels=label)
    ob["spec"]["endpoint"]["additionalConfig"] = {"": ""}
    ob["spec"]["additionalState"] = {"UserName": "go-user-7", "ARN": "arn:x"}
    if not with_claim_ref:
        ob["spec"]["claimRef"] = {}
    environment.admin.create(f"{OBC}/objectbuckets", ob)
    environment.admin.patch(environment.ob_path() + "/status", {"status": {"phase": "Bound"}})
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
    environment.admin.create(environment.path("secrets", "").rstrip("/"), {"metadata": metadata, "data": data})
    environment.admin.create(
        environment.path("configmaps", "").rstrip("/"), {"metadata": metadata, "data": {"BUCKET_NAME": "photos-go"}}
    )
    return claim


def test_a_claim_of_the_go_library_is_adopted_with_its_keys(environment: MemoryEnvironment) -> None:
    claim = a_claim_of_the_go_library(environment)
    tags = {
        "objectbucket_cluster_id": environment.admin.get("/api/v1/namespaces/kube-system")["metadata"]["uid"],
        "objectbucket_claim_uid": claim["metadata"]["uid"],
    }
    environment.store.buckets["photos-go"] = Bucket(tags=tags)
    seen = []

    def as_its_user(_verb: object, request: Any) -> None:
        seen.append(dict(request.additional_state))
        environment.store.identities[request.user_id] = Identity(keys={"old-key": "old-secret"})

    environment.hook = as_its_user
    with environment.core():
        environment.wait_bound()
        assert seen == [{"UserName": "go-user-7", "ARN": "arn:x"}]
        assert environment.secret() == OWN_KEYS
        for kind in ("secrets", "configmaps"):
            assert "finalizers" not in environment.admin.get(environment.path(kind))["metadata"]
        environment.hook = lambda _verb, _request: None
        environment.delete_claim()
    assert not environment.store.buckets


@pytest.mark.parametrize("tags", [{}, None], ids=["without ownership tags", "gone since"])
def test_an_adopted_bucket_receives_ownership_tags(environment: MemoryEnvironment, tags: dict[str, str] | None) -> None:
    claim = a_claim_of_the_go_library(environment)
    if tags is not None:
        environment.store.buckets["photos-go"] = Bucket(tags=tags)
    with environment.core():
        environment.wait_bound()
        assert environment.store.buckets["photos-go"].tags["objectbucket_claim_uid"] == claim["metadata"]["uid"]
        environment.delete_claim()
    assert not environment.store.buckets


def test_a_bucket_with_ownership_tags_of_another_owner_is_not_adopted(environment: MemoryEnvironment) -> None:
    a_claim_of_the_go_library(environment)
    foreign = {"objectbucket_cluster_id": "another", "objectbucket_claim_uid": "another"}
    environment.store.buckets["photos-go"] = Bucket(tags=dict(foreign))
    with environment.core():
        claim = environment.wait_reason("BucketExists")
        assert claim["status"]["phase"] == "Bound", "applications go on with what they have"
        assert environment.secret() == OWN_KEYS
        environment.delete_claim()
    assert environment.store.buckets["photos-go"].tags == foreign


def test_an_adopted_bucket_that_loses_its_ownership_tags_is_not_retagged(
    environment: MemoryEnvironment,
) -> None:
    a_claim_of_the_go_library(environment)
    environment.store.buckets["photos-go"] = Bucket()
    with environment.core():
        environment.wait_bound()
    environment.store.buckets["photos-go"].tags.clear()
    with environment.core(version="2"):
        environment.wait_reason("BucketExists")
        assert not environment.store.buckets["photos-go"].tags
        environment.store.buckets.clear()
        environment.delete_claim()


@pytest.mark.parametrize(
    ("policy", "left"), [("Delete", set[str]()), ("Retain", {"photos-go"})], ids=["Delete", "Retain"]
)
def test_a_claim_of_the_go_library_deleted_before_adoption_is_deprovisioned(
    environment: MemoryEnvironment, policy: str, left: set[str]
) -> None:
    a_claim_of_the_go_library(environment)
    environment.admin.patch(environment.ob_path(), {"spec": {"reclaimPolicy": policy}})
    environment.store.buckets["photos-go"] = Bucket()
    environment.admin.delete(environment.claim_path())
    with environment.core():
        environment.admin.wait_gone(environment.claim_path(), timeout=20)
        environment.admin.wait_gone(environment.ob_path(), timeout=20)
    assert set(environment.store.buckets) == left


def test_an_object_bucket_without_claim_ref_is_not_adopted(environment: MemoryEnvironment) -> None:
    a_claim_of_the_go_library(environment, with_claim_ref=False)
    before = environment.admin.get(environment.ob_path())["metadata"]["resourceVersion"]
    with environment.core():
        claim = environment.wait_bound()
        assert claim["spec"]["objectBucketName"] != f"obc-{environment.namespace}-photos"
        assert environment.admin.get(environment.ob_path())["metadata"]["resourceVersion"] == before
        environment.delete_claim()
    environment.admin.patch(environment.ob_path(), {"metadata": {"finalizers": None}})
    environment.admin.delete(environment.ob_path())


def test_a_claim_recreated_under_the_same_name_is_another_owner(environment: MemoryEnvironment) -> None:
    retains = environment.make_class(f"{environment.class_name}-r", reclaim_policy="Retain")
    with environment.core():
        environment.claim(spec={"bucketName": "photos"}, storage_class=retains)
        first = environment.wait_bound()
    environment.patch_claim({"metadata": {"finalizers": None}})
    environment.delete_claim()
    with environment.core():
        environment.claim(spec={"bucketName": "photos"}, storage_class=retains)
        environment.wait_reason("BucketExists")
        assert environment.get_claim()["metadata"]["uid"] != first["metadata"]["uid"]
        environment.delete_claim()
    assert set(environment.store.buckets) == {"photos"}
    assert not environment.store.identities, (
        "the earlier claim was released, although its finalizer was removed manually"
    )
