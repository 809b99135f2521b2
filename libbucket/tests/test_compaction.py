"""The reduced form of large objects in the caches, and its memory."""

from __future__ import annotations

import msgspec

from libbucket import Reason
from libbucket._api import Meta, Metadata, ObjectBucketClaim, OwnerReference
from libbucket._controller.caches import new_caches
from libbucket._kube.compaction import compact_claim, compact_metadata
from libbucket._reconcile.model.outcome import Result
from libbucket.testing import builders
from testkit.core import Core


def a_claim(**metadata: object) -> ObjectBucketClaim:
    return msgspec.convert(builders.a_claim(**metadata), ObjectBucketClaim)  # type: ignore[arg-type]


def test_an_ordinary_claim_is_kept_as_it_is() -> None:
    claim = a_claim(annotations={"team": "shop"}, labels={"app": "photos"})
    assert compact_claim(claim) is claim


def test_our_annotations_and_a_few_others_are_kept() -> None:
    annotations = {f"note-{number:04}": "x" * 1000 for number in range(250)}
    claim = a_claim(annotations={**annotations, "objectbucket.io/deletion-policy": "IfEmpty"})
    kept = compact_claim(claim).metadata.annotations or {}
    assert kept["objectbucket.io/deletion-policy"] == "IfEmpty"
    assert len(msgspec.json.encode(kept)) < 10_000


def test_only_used_fields_of_a_secret_are_kept() -> None:
    labels = {"bucket-provisioner": "x", **{f"label-{number}": "y" for number in range(1000)}}
    secret = Metadata(metadata=Meta(name="photos", labels=labels, annotations={"big": "x" * 250_000}))
    kept = compact_metadata(secret).metadata
    assert kept.labels == {"bucket-provisioner": "x"}
    assert kept.annotations is None


def test_of_the_owners_of_a_secret_its_controller_is_kept() -> None:
    owners = [
        OwnerReference(kind="ObjectBucketClaim", name="photos", uid="1", controller=True),
        OwnerReference(uid="2"),
    ]
    secret = Metadata(metadata=Meta(name="photos", owner_references=owners, finalizers=["x"], resource_version="7"))
    kept = compact_metadata(secret).metadata
    assert kept.is_controlled_by("1")
    assert not kept.is_controlled_by("2")
    assert kept.owner_references == [OwnerReference(uid="1", controller=True)]
    assert (kept.finalizers, kept.resource_version) == (["x"], "7")


def test_a_hundred_claims_of_the_largest_size_take_little_memory() -> None:
    caches = new_caches()
    for number in range(100):
        wire = builders.a_claim(name=f"claim-{number}", spec={"additionalConfig": {"k": "x" * 1_400_000}})
        caches.claims.observe(msgspec.convert(wire, ObjectBucketClaim))
    assert sum(len(msgspec.json.encode(one)) for one in caches.claims) < 100_000


def test_a_config_that_is_too_large_is_an_invalid_config_and_a_smaller_one_is_applied() -> None:
    core = Core()
    key = core.create_claim("photos", bucketName="photos-1", additionalConfig={"a": "y", "note": "x" * 200_000})
    assert core.reconcile(key).result == Reason.INVALID_CONFIG
    message = core.condition(key)["message"]
    assert message == "spec.additionalConfig is larger than the 128 KiB that are read; its largest key is note"
    other = core.create_claim("small", bucketName="small-1", additionalConfig={"note": "x" * 1000})
    assert core.reconcile(other).result == Result.BOUND


def test_the_name_of_the_largest_key_is_bounded_as_well() -> None:
    core = Core()
    key = core.create_claim("photos", bucketName="photos-1", additionalConfig={"k" * 200_000: "v"})
    assert core.reconcile(key).result == Reason.INVALID_CONFIG
    assert core.condition(key)["message"].endswith("its largest key is " + "k" * 63)
