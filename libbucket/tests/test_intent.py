"""Intent and last-applied state in the annotations of an ObjectBucket."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from libbucket._api import ObjectBucketObject
from libbucket._reconcile.model.intent import (
    Intent,
    LastApplied,
    encode,
    fingerprint,
    for_provisioner,
    intent_of,
    last_applied_of,
    owner_of,
    reclaim_policy_of,
    secret_hash,
)
from libbucket.testing import builders
from libbucket.types import Endpoint, Owner, ReclaimPolicy

RECORD = Intent(
    provisioner="memory.libbucket.io/bucket",
    user_id="user-1",
    greenfield=True,
    parameters={"region": "north"},
    generate_bucket_name="photos",
    config={"maxSize": "1Gi"},
)
OBSERVED = LastApplied(fingerprint="print-1", secret="s/1", config_map="c/2", secret_hash="hash")


def a_bucket(**rest: Any) -> ObjectBucketObject:
    return msgspec.convert(builders.an_object_bucket(**rest), ObjectBucketObject)


def test_intent_and_last_applied_state_are_read_back() -> None:
    annotations = {"objectbucket.io/record": encode(RECORD), "objectbucket.io/observed": encode(OBSERVED)}
    bucket = a_bucket(annotations=annotations)

    assert intent_of(bucket) == RECORD
    assert last_applied_of(bucket) == OBSERVED


def test_the_intent_is_encoded_deterministically_in_camel_case() -> None:
    same = msgspec.structs.replace(RECORD, parameters={"b": "2", "a": "1"})
    other_order = msgspec.structs.replace(RECORD, parameters={"a": "1", "b": "2"})

    assert set(json.loads(encode(RECORD))) == {
        "provisioner",
        "userId",
        "greenfield",
        "parameters",
        "generateBucketName",
        "config",
        "earlierUids",
        "isUnasked",
        "hasWorked",
        "purgePlanned",
        "takenOver",
        "earlierClusters",
        "adopted",
    }
    assert encode(same) == encode(other_order)


def test_unknown_fields_of_an_intent_are_ignored() -> None:
    later = json.dumps({"provisioner": "p", "userId": "u", "greenfield": False, "addedLater": [1]})
    bucket = a_bucket(annotations={"objectbucket.io/record": later})

    assert intent_of(bucket) == Intent(provisioner="p", user_id="u", greenfield=False)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '{"provisioner": "p"}', '{"provisioner": 1}', "no json"])
def test_an_invalid_annotation_counts_as_absent(text: str) -> None:
    bucket = a_bucket(annotations={"objectbucket.io/record": text, "objectbucket.io/observed": text})

    assert intent_of(bucket) is None
    assert last_applied_of(bucket) is None


def test_an_object_bucket_of_the_go_library_has_no_intent() -> None:
    assert intent_of(a_bucket()) is None
    assert last_applied_of(a_bucket()) is None


def test_the_owner_is_read_from_our_annotations() -> None:
    ours = {
        "objectbucket.io/claim-namespace": "shop",
        "objectbucket.io/claim-name": "photos",
        "objectbucket.io/claim-uid": "uid-2",
    }
    pruned = a_bucket(annotations=ours, spec={"claimRef": {}})

    assert owner_of(pruned, "cluster-1") == Owner(cluster_id="cluster-1", namespace="shop", name="photos", uid="uid-2")


def test_the_owner_is_read_from_the_claim_ref_of_the_go_library() -> None:
    assert owner_of(a_bucket(), "cluster-1") == builders.owner()


def test_a_bucket_without_either_has_no_owner() -> None:
    nobody = a_bucket(spec={"claimRef": None})

    assert owner_of(nobody, "") == Owner(cluster_id="", namespace="", name="", uid="")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Delete", ReclaimPolicy.DELETE),
        ("Retain", ReclaimPolicy.RETAIN),
        ("Recycle", ReclaimPolicy.RECYCLE),
        (None, ReclaimPolicy.RETAIN),
        ("", ReclaimPolicy.RETAIN),
        ("delete", ReclaimPolicy.RETAIN),
    ],
)
def test_data_is_retained_unless_the_reclaim_policy_is_delete(said: str | None, meant: ReclaimPolicy) -> None:
    assert reclaim_policy_of(a_bucket(reclaim_policy=said)) is meant


def test_a_fingerprint_differs_when_any_part_does_and_not_by_order() -> None:
    first = fingerprint("name", "1", {"a": "1", "b": "2"})

    assert fingerprint("name", "1", {"b": "2", "a": "1"}) == first
    assert fingerprint("name", "2", {"a": "1", "b": "2"}) != first
    assert fingerprint("name", "1", {"a": "1", "b": "3"}) != first
    assert fingerprint("name1", "", {"a": "1", "b": "2"}) != fingerprint("name", "1", {"a": "1", "b": "2"})


def test_equal_secrets_of_two_claims_have_different_hashes() -> None:
    data = {"AWS_SECRET_ACCESS_KEY": "c2VjcmV0"}

    assert secret_hash(data, "uid-1") == secret_hash(dict(data), "uid-1")
    assert secret_hash(data, "uid-1") != secret_hash(data, "uid-2")
    assert "c2VjcmV0" not in secret_hash(data, "uid-1")


def test_a_provisioner_gets_everything_that_is_recorded_and_no_credentials() -> None:
    bucket = a_bucket(spec={"additionalState": {"policy": "p-1"}})

    seen = for_provisioner(bucket, RECORD, "cluster-1")

    assert seen.name == "obc-shop-photos"
    assert seen.connection.endpoint == Endpoint(bucket_host="store.invalid", bucket_port=443, bucket_name="photos-1")
    assert seen.connection.authentication is None
    assert seen.additional_state == {"policy": "p-1"}
    assert (seen.user_id, seen.parameters, seen.greenfield) == ("user-1", {"region": "north"}, True)
    assert seen.owner == builders.owner()


def test_absent_fields_of_an_object_bucket_are_empty_for_provisioners() -> None:
    bucket = a_bucket(spec={"endpoint": None, "additionalState": None})

    seen = for_provisioner(bucket, RECORD, "cluster-1")

    assert seen.connection.endpoint == Endpoint(bucket_host="", bucket_port=0, bucket_name="")
    assert seen.additional_state == {}
