"""Manifests and merge patches: only our own fields, only changes."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libbucket._api import Meta, ObjectBucketClaim, ObjectBucketObject
from libbucket._reconcile.model import manifests
from libbucket.testing import builders
from libbucket.types import AccessKeys, Authentication, Endpoint, ReclaimPolicy, SecretStr

if TYPE_CHECKING:
    from collections.abc import Collection

OURS = "objectbucket.io/finalizer"
LABEL = "memory.libbucket.io-bucket"
LABELS = {"bucket-provisioner": LABEL}
ENDPOINT = Endpoint(bucket_host="store.invalid", bucket_port=443, bucket_name="photos-1")
MAPS = st.dictionaries(st.text(min_size=1, max_size=3), st.text(max_size=3), max_size=4)


def a_claim(spec: builders.Wire | None = None, **metadata: Any) -> ObjectBucketClaim:
    wire = builders.a_claim(spec=spec, **{"uid": "uid-1", "resourceVersion": "7", **metadata})
    return msgspec.convert(wire, ObjectBucketClaim)


def a_prepared_claim(**spec: Any) -> ObjectBucketClaim:
    wanted = {"bucketName": "photos-1", "objectBucketName": "obc-shop-photos", **spec}
    return a_claim(wanted, labels=LABELS, finalizers=[OURS])


def a_bucket(**rest: Any) -> ObjectBucketObject:
    return msgspec.convert(builders.an_object_bucket(**{"resourceVersion": "9", **rest}), ObjectBucketObject)


def a_recorded_bucket(**rest: Any) -> ObjectBucketObject:
    """One that lacks nothing that `intent_patch` and `bound_patch` write."""
    annotations = {
        **manifests.ownership(a_claim()),
        "objectbucket.io/record": "intent",
        "objectbucket.io/observed": "result",
    }
    return a_bucket(**{"labels": LABELS, "finalizers": [OURS], "annotations": annotations, **rest})


def merge(target: Any, patch: Any) -> Any:
    """A merge patch as the API server applies it (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def has_null(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and any(map(has_null, value.values())))


# The claim.


def claim_patch(claim: ObjectBucketClaim, bucket_name: str = "photos-1") -> manifests.Json:
    return manifests.claim_patch(claim, label=LABEL, bucket_name=bucket_name, object_bucket_name="obc-shop-photos")


def test_a_complete_claim_is_not_written() -> None:
    assert claim_patch(a_prepared_claim()) == {}


def test_a_new_claim_gets_finalizer_label_and_names_in_one_conditional_write() -> None:
    assert claim_patch(a_claim()) == {
        "metadata": {"finalizers": [OURS], "labels": LABELS, "resourceVersion": "7"},
        "spec": {"bucketName": "photos-1", "objectBucketName": "obc-shop-photos"},
    }


def test_a_bucket_name_that_is_there_is_never_written_over() -> None:
    assert claim_patch(a_prepared_claim(bucketName="mine"), "other") == {}


def test_finalizers_and_labels_of_others_stay() -> None:
    patch = claim_patch(a_claim(finalizers=["other/one", "other/two"], labels={"team": "blue"}))

    assert patch["metadata"]["finalizers"] == ["other/one", "other/two", OURS]
    assert patch["metadata"]["labels"] == LABELS


def test_a_legacy_object_bucket_name_is_written_in_the_current_spelling_as_well() -> None:
    claim = a_prepared_claim(objectBucketName=None, ObjectBucketName="obc-shop-photos")

    assert claim_patch(claim) == {
        "metadata": {"resourceVersion": "7"},
        "spec": {"objectBucketName": "obc-shop-photos"},
    }


def test_only_our_finalizer_is_added_and_removed() -> None:
    meta = Meta(finalizers=["other/one", OURS, "other/two"])

    assert manifests.without_finalizer(meta) == ["other/one", "other/two"]
    assert manifests.with_finalizer(meta) == ["other/one", OURS, "other/two"]
    assert manifests.with_finalizer(Meta()) == [OURS]
    assert manifests.without_finalizer(Meta()) == []


def test_a_patch_of_finalizers_is_conditional_on_the_version() -> None:
    assert manifests.finalizer_patch(Meta(resource_version="7"), ["other/one"]) == {
        "metadata": {"finalizers": ["other/one"], "resourceVersion": "7"}
    }


# The ObjectBucket.


def a_new_bucket_object() -> manifests.Json:
    return manifests.new_bucket_object(
        a_claim(),
        name="obc-shop-photos",
        label=LABEL,
        intent="intent",
        bucket_name="photos-1",
        reclaim_policy=ReclaimPolicy.DELETE,
    )


def test_a_new_object_bucket_holds_the_intent_and_proves_whose_it_is() -> None:
    body = a_new_bucket_object()

    assert body["metadata"]["annotations"] == {
        "objectbucket.io/claim-namespace": "shop",
        "objectbucket.io/claim-name": "photos",
        "objectbucket.io/claim-uid": "uid-1",
        "objectbucket.io/record": "intent",
    }
    assert body["metadata"]["finalizers"] == [OURS]
    assert body["metadata"]["labels"] == LABELS
    assert body["spec"]["claimRef"] == {
        "apiVersion": "objectbucket.io/v1alpha1",
        "kind": "ObjectBucketClaim",
        "namespace": "shop",
        "name": "photos",
        "uid": "uid-1",
    }
    assert body["spec"]["reclaimPolicy"] == "Delete"
    assert body["spec"]["endpoint"]["bucketName"] == "photos-1"


def test_a_new_object_bucket_has_empty_maps_no_nulls_and_no_status() -> None:
    body = a_new_bucket_object()

    assert not has_null(body)
    assert body["spec"]["additionalState"] == {}
    assert body["spec"]["endpoint"]["additionalConfig"] == {}
    assert "status" not in body


def test_a_new_object_bucket_is_read_back_as_complete() -> None:
    made = msgspec.convert(a_new_bucket_object(), ObjectBucketObject)

    assert manifests.intent_patch(made, a_claim(), label=LABEL, intent="intent") == {}


def test_the_object_bucket_of_the_go_library_is_completed_and_other_fields_stay() -> None:
    ob = a_bucket(finalizers=["other/one"], labels={"team": "blue"}, annotations={"note": "x"})

    patch = manifests.intent_patch(ob, a_claim(), label=LABEL, intent="intent")

    assert patch["metadata"]["finalizers"] == ["other/one", OURS]
    assert patch["metadata"]["labels"] == LABELS
    assert set(patch["metadata"]["annotations"]) == {
        "objectbucket.io/claim-namespace",
        "objectbucket.io/claim-name",
        "objectbucket.io/claim-uid",
        "objectbucket.io/record",
    }
    assert patch["metadata"]["resourceVersion"] == "9"


def test_only_missing_fields_of_an_object_bucket_are_written() -> None:
    patch = manifests.intent_patch(a_recorded_bucket(), a_claim(), label=LABEL, intent="another")

    assert patch == {"metadata": {"annotations": {"objectbucket.io/record": "another"}, "resourceVersion": "9"}}


def bound_patch(
    ob: ObjectBucketObject, endpoint: Endpoint = ENDPOINT, state: dict[str, str] | None = None
) -> manifests.Json:
    return manifests.bound_patch(ob, endpoint=endpoint, state=state or {}, intent="intent", last_applied="result")


def test_an_unchanged_object_bucket_is_not_written() -> None:
    assert bound_patch(a_recorded_bucket()) == {}


def test_null_maps_in_an_object_bucket_are_as_good_as_empty_ones() -> None:
    endpoint = builders.an_endpoint() | {"additionalConfig": None}

    assert bound_patch(a_recorded_bucket(spec={"endpoint": endpoint, "additionalState": None})) == {}


def test_endpoint_and_state_are_written_without_nulls_on_exactly_this_version() -> None:
    other = Endpoint(bucket_host="new.invalid", bucket_port=9000, bucket_name="photos-1", region="north")

    patch = bound_patch(a_recorded_bucket(), other, {"policy": "p-1"})

    assert patch == {
        "metadata": {"resourceVersion": "9"},
        "spec": {
            "endpoint": {
                "bucketHost": "new.invalid",
                "bucketPort": 9000,
                "bucketName": "photos-1",
                "region": "north",
                "subRegion": "",
                "additionalConfig": {},
            },
            "additionalState": {"policy": "p-1"},
        },
    }


def test_a_new_last_applied_state_patches_annotations_only() -> None:
    patch = manifests.bound_patch(
        a_recorded_bucket(), endpoint=ENDPOINT, state={}, intent="intent", last_applied="later"
    )

    assert patch == {"metadata": {"resourceVersion": "9", "annotations": {"objectbucket.io/observed": "later"}}}


@settings(deadline=None)  # on a busy machine, time says nothing
@given(was=MAPS, wanted=MAPS)
def test_a_merge_turns_one_map_into_the_other_and_leaves_no_null(was: dict[str, str], wanted: dict[str, str]) -> None:
    assert merge(was, manifests.merged(was, wanted)) == wanted


@settings(deadline=None)  # on a busy machine, time says nothing
@given(was=MAPS, config=MAPS, state=MAPS)
def test_an_object_bucket_that_was_patched_needs_no_second_patch(
    was: dict[str, str], config: dict[str, str], state: dict[str, str]
) -> None:
    before = builders.an_object_bucket(
        spec={"endpoint": builders.an_endpoint() | {"additionalConfig": was}, "additionalState": was}
    )
    endpoint = Endpoint(bucket_host="h", bucket_port=1, bucket_name="b", additional_config=config)

    after = merge(before, bound_patch(msgspec.convert(before, ObjectBucketObject), endpoint, state))

    assert not has_null(after)
    assert bound_patch(msgspec.convert(after, ObjectBucketObject), endpoint, state) == {}


# Secret and ConfigMap.


def test_the_secret_has_the_s3_names_and_additional_keys() -> None:
    authentication = Authentication(
        access_keys=AccessKeys(access_key_id="KEY", secret_access_key=SecretStr("s3cr3t")),
        additional_secret_data={"TOKEN": SecretStr("t")},
    )

    data = manifests.secret_data(authentication)

    assert {key: base64.b64decode(value).decode() for key, value in data.items()} == {
        "AWS_ACCESS_KEY_ID": "KEY",
        "AWS_SECRET_ACCESS_KEY": "s3cr3t",
        "TOKEN": "t",
    }


@settings(deadline=None)  # on a busy machine, time says nothing
@given(
    key_id=st.text(min_size=1),
    key=st.text(min_size=1),
    more=st.dictionaries(st.sampled_from(["TOKEN", "ACCOUNT"]), st.text()),
)
def test_credentials_come_back_from_a_secret_as_they_went_in(key_id: str, key: str, more: dict[str, str]) -> None:
    authentication = Authentication(
        access_keys=AccessKeys(access_key_id=key_id, secret_access_key=SecretStr(key)),
        additional_secret_data={name: SecretStr(value) for name, value in more.items()},
    )

    assert manifests.credentials_in(manifests.secret_data(authentication)) == authentication


def test_credentials_of_a_store_without_s3_come_back_without_an_s3_pair() -> None:
    authentication = Authentication(additional_secret_data={"CONNECTION": SecretStr("c")})

    assert manifests.credentials_in(manifests.secret_data(authentication)) == authentication


@pytest.mark.parametrize("data", [None, {}])
def test_an_empty_secret_holds_no_credentials(data: dict[str, str] | None) -> None:
    assert manifests.credentials_in(data) is None
    assert manifests.secret_data(None) == {}


@pytest.mark.parametrize("spoilt", ["not base64!", "/w==", ""])
def test_half_a_pair_is_no_pair(spoilt: str) -> None:
    data = {"AWS_ACCESS_KEY_ID": "S0VZ", "AWS_SECRET_ACCESS_KEY": spoilt}

    found = manifests.credentials_in(data)

    assert found is not None
    assert found.access_keys is None


def test_the_config_map_always_has_the_five_possibly_empty() -> None:
    assert manifests.config_map_data(Endpoint(bucket_host="h", bucket_port=443, bucket_name="b")) == {
        "BUCKET_NAME": "b",
        "BUCKET_HOST": "h",
        "BUCKET_PORT": "443",
        "BUCKET_REGION": "",
        "BUCKET_SUBREGION": "",
    }


def test_additional_keys_never_replace_standard_keys_of_the_config_map() -> None:
    endpoint = Endpoint(
        bucket_host="h", bucket_port=443, bucket_name="b", additional_config={"BUCKET_NAME": "x", "BUCKET_SSL": "true"}
    )

    data = manifests.config_map_data(endpoint)

    assert (data["BUCKET_NAME"], data["BUCKET_SSL"]) == ("b", "true")


@pytest.mark.parametrize(("kind", "type_"), [("Secret", "Opaque"), ("ConfigMap", None)])
def test_secret_and_config_map_are_controlled_by_the_claim_and_have_no_finalizer(kind: str, type_: str | None) -> None:
    body = manifests.owned_object(a_claim(), kind=kind, label=LABEL, data={"a": "b"})

    assert body["metadata"] == {
        "name": "photos",
        "labels": LABELS,
        "ownerReferences": [
            {
                "apiVersion": "objectbucket.io/v1alpha1",
                "kind": "ObjectBucketClaim",
                "name": "photos",
                "uid": "uid-1",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    assert body.get("type") == type_
    assert body["data"] == {"a": "b"}


def owned_patch(meta: Meta, was: dict[str, str], data: dict[str, str], ours: Collection[str] = ()) -> manifests.Json:
    return manifests.owned_patch(meta, label=LABEL, was=was, data=data, ours=ours)


def test_a_secret_that_is_as_it_should_be_is_not_written() -> None:
    assert owned_patch(Meta(labels={**LABELS, "team": "blue"}, finalizers=["other/one"]), {"a": "b"}, {"a": "b"}) == {}


def test_the_finalizer_that_the_go_library_leaves_on_a_secret_is_taken_off_and_others_stay() -> None:
    meta = Meta(labels=LABELS, finalizers=["other/one", OURS], resource_version="3")

    assert owned_patch(meta, {}, {}) == {"metadata": {"finalizers": ["other/one"], "resourceVersion": "3"}}


def test_the_label_is_restored() -> None:
    assert owned_patch(Meta(resource_version="3"), {}, {}) == {"metadata": {"labels": LABELS, "resourceVersion": "3"}}


def test_edited_data_is_restored_and_our_earlier_keys_are_removed() -> None:
    was = {"a": "1", "dropped": "x"}
    patch = owned_patch(Meta(labels=LABELS, resource_version="3"), was, {"a": "2", "b": "3"}, ours=["a", "dropped"])

    assert patch == {"metadata": {"resourceVersion": "3"}, "data": {"a": "2", "b": "3", "dropped": None}}


def test_keys_of_other_controllers_are_left_alone() -> None:
    meta = Meta(labels=LABELS, resource_version="3")

    assert owned_patch(meta, {"a": "1", "theirs": "x"}, {"a": "1"}, ours=["a"]) == {}
    assert "theirs" not in owned_patch(meta, {"a": "0", "theirs": "x"}, {"a": "1"}, ours=["a"])["data"]


@settings(deadline=None)  # on a busy machine, time says nothing
@given(was=MAPS, data=MAPS)
def test_a_secret_that_was_patched_needs_no_second_patch(was: dict[str, str], data: dict[str, str]) -> None:
    after = merge({"data": was}, owned_patch(Meta(labels=LABELS), was, data, ours=was))

    assert after["data"] == data
    assert owned_patch(Meta(labels=LABELS), after["data"], data, ours=data) == {}
