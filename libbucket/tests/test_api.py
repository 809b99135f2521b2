"""Decoding of objects that other programs write."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from libbucket import _api
from libbucket.testing import builders


def read_claim(**body: Any) -> _api.ObjectBucketClaim:
    return msgspec.json.decode(json.dumps(body), type=_api.ObjectBucketClaim)


def read_bucket(body: dict[str, Any]) -> _api.ObjectBucketObject:
    return msgspec.json.decode(json.dumps(body), type=_api.ObjectBucketObject)


def test_numbers_in_additional_config_are_read_as_their_text() -> None:
    claim = read_claim(spec={"additionalConfig": {"maxObjects": 1000, "maxSize": "2G", "on": True, "share": 0.5}})

    assert _api.strings(claim.spec.additional_config) == {
        "maxObjects": "1000",
        "maxSize": "2G",
        "on": "true",
        "share": "0.5",
    }


@pytest.mark.parametrize("odd", [None, [], "text", 7, {"": ""}, {"": "x"}, {"key": None}])
def test_a_map_that_is_none_is_an_empty_one(odd: Any) -> None:
    claim = read_claim(spec={"additionalConfig": odd})

    assert _api.strings(claim.spec.additional_config) == {}
    assert _api.unusable_keys(claim.spec.additional_config) == []


def test_nested_values_are_named() -> None:
    assert _api.unusable_keys({"b": [1], "a": {"c": 1}, "d": "fine", "": []}) == ["a", "b"]


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({"objectBucketName": "obc-shop-photos"}, "obc-shop-photos"),
        ({"ObjectBucketName": "obc-shop-photos"}, "obc-shop-photos"),
        ({"objectBucketName": "new", "ObjectBucketName": "old"}, "new"),
        ({"objectBucketName": ""}, ""),
        ({}, ""),
        (None, ""),
    ],
)
def test_the_legacy_spelling_of_the_object_bucket_is_read(spec: dict[str, str] | None, name: str) -> None:
    assert read_claim(spec=spec).object_bucket_name == name


@pytest.mark.parametrize("body", [{}, {"spec": None, "status": None}, {"metadata": {}, "spec": {}, "status": {}}])
def test_an_empty_claim_is_decoded(body: dict[str, Any]) -> None:
    claim = read_claim(**body)

    assert (claim.class_name, claim.object_bucket_name) == ("", "")
    assert claim.status.phase is None
    assert claim.status.condition("Ready") is None
    assert not claim.metadata.has_finalizer()


def test_null_maps_and_lists_in_metadata_are_empty() -> None:
    meta = read_claim(
        metadata={
            "labels": None,
            "annotations": None,
            "finalizers": None,
            "ownerReferences": None,
            "creationTimestamp": None,
        }
    ).metadata

    assert (meta.label("a"), meta.annotation("a")) == ("", "")
    assert not meta.has_finalizer()
    assert not meta.is_controlled_by("uid-1")
    assert not meta.is_being_deleted


def test_unused_fields_are_skipped() -> None:
    claim = read_claim(apiVersion="v1", metadata={"managedFields": [{"deep": {}}]}, spec={"invented": [1]}, extra={})

    assert claim == _api.ObjectBucketClaim(spec_or_none=_api.ClaimSpec())


def test_an_object_bucket_as_the_go_library_writes_it_is_read() -> None:
    bucket = read_bucket(builders.an_object_bucket(status={"phase": "bound"}))

    assert bucket.metadata.name == "obc-shop-photos"
    assert bucket.spec.claim_ref is not None
    assert bucket.spec.claim_ref.uid == "uid-1"
    assert (bucket.endpoint.bucket_name, bucket.endpoint.bucket_port) == ("photos-1", 443)
    assert bucket.phase == "bound"


@pytest.mark.parametrize("spec", [None, {}, {"endpoint": None, "claimRef": None, "additionalState": None}])
def test_an_empty_object_bucket_is_decoded(spec: dict[str, Any] | None) -> None:
    bucket = read_bucket({"metadata": {"name": "odd"}, "spec": spec})

    assert bucket.endpoint == _api.EndpointSpec()
    assert bucket.phase == ""
    assert _api.strings(bucket.spec.additional_state) == {}


@pytest.mark.parametrize(
    ("meta", "key"),
    [({"namespace": "shop", "name": "photos"}, "shop/photos"), ({"name": "obc-shop-photos"}, "obc-shop-photos")],
)
def test_the_key_is_namespace_and_name(meta: dict[str, str], key: str) -> None:
    assert read_claim(metadata=meta).metadata.key == key


@pytest.mark.parametrize(
    ("reference", "is_controlled"),
    [
        ({"uid": "uid-1", "controller": True}, True),
        ({"uid": "uid-1", "controller": False}, False),
        ({"uid": "uid-1"}, False),
        ({"uid": "uid-2", "controller": True}, False),
    ],
)
def test_only_its_controller_owns_an_object(reference: dict[str, Any], *, is_controlled: bool) -> None:
    assert read_claim(metadata={"ownerReferences": [reference]}).metadata.is_controlled_by("uid-1") is is_controlled


def test_a_condition_is_found_by_its_type() -> None:
    conditions = [{"type": "Stalled", "status": "True"}, {"type": "Ready", "status": "False", "reason": "Pending"}]
    ready = read_claim(status={"conditions": conditions}).status.condition("Ready")

    assert ready is not None
    assert ready.reason == "Pending"
