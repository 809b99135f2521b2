"""`libbucket plan`: which files are read, and what a manifest would do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from libbucket import _api
from libbucket._cli.manifest_files import read_manifests
from libbucket._cli.planning import CHANGE, CREATE, UNCHANGED, WAITS, changed_fields, plan_claim, plan_class
from libbucket._cli.session import CannotRead
from libbucket._kube.discovery import CrdFeatures
from libbucket._reconcile.model.additional_config import SelectedConfig
from libbucket._reconcile.model.context import Identity
from libbucket._reconcile.model.snapshot import ObjectState, Snapshot
from libbucket.testing.builders import a_claim, a_class

if TYPE_CHECKING:
    from pathlib import Path

    from libbucket._kube.discovery import InstalledCrds

PROVISIONER = "memory.libbucket.io/bucket"


def claim(**what: Any) -> _api.ObjectBucketClaim:
    return msgspec.convert(a_claim(**{"uid": "u1", **what}), _api.ObjectBucketClaim)


def storage_class(**what: Any) -> _api.StorageClass:
    return msgspec.convert(a_class(**what), _api.StorageClass)


def after(of: _api.ObjectBucketClaim, **what: Any) -> Snapshot:
    identity = Identity(
        provisioner_name=PROVISIONER,
        version="",
        cluster_id="",
        allowed_config=frozenset(),
        supported_config=frozenset(),
        installed=cast("InstalledCrds", None),
        now=lambda: pytest.fail("no clock is needed"),
    )
    usual = Snapshot(
        key=of.metadata.key,
        identity=identity,
        features=CrdFeatures(),
        claim=of,
        storage_class=storage_class(),
        bucket=None,
        duplicate=None,
        intent=None,
        last_applied=None,
        bucket_object_name="obc-shop-photos",
        config=SelectedConfig(applied={}, warnings=()),
        fingerprint="",
    )
    return replace(usual, **what)


@pytest.mark.parametrize(
    ("spec", "what", "said"),
    [
        ({"bucketName": "photos-1"}, {}, "bucket photos-1, deleted with the claim"),
        ({"generateBucketName": "photos"}, {}, "a bucket with a generated name, photos-..., deleted with the claim"),
        (
            {"bucketName": "photos-1"},
            {"storage_class": storage_class(reclaim_policy="Retain")},
            "bucket photos-1, kept when the claim is deleted",
        ),
        (
            {},
            {"storage_class": storage_class(parameters={"bucketName": "shared"})},
            "access to the existing bucket shared, which its class names",
        ),
    ],
)
def test_a_new_claim_says_what_is_made(spec: dict[str, Any], what: dict[str, Any], said: str) -> None:
    step = plan_claim(None, after(claim(spec=spec), **what), is_served=True)
    assert (step.result, step.detail) == (CREATE, said)


@pytest.mark.parametrize(
    ("spec", "what", "is_served", "said"),
    [
        ({}, {}, True, "InvalidClaim"),
        ({"bucketName": "b"}, {"storage_class": None}, True, "StorageClass 'buckets' does not exist"),
        ({"bucketName": "b"}, {"secret": ObjectState.FOREIGN}, True, "SecretConflict (its author's turn)"),
        ({"bucketName": "b"}, {"storage_class": storage_class(parameters={"deletionPolicy": "No"})}, True, "Invalid"),
        ({"bucketName": "b"}, {}, False, f"no provisioner for {PROVISIONER} leads"),
    ],
)
def test_a_claim_that_could_not_be_bound_waits(
    spec: dict[str, Any], what: dict[str, Any], said: str, *, is_served: bool
) -> None:
    step = plan_claim(None, after(claim(spec=spec), **what), is_served=is_served)

    assert step.result == WAITS
    assert said in step.detail


def test_a_claim_whose_provisioner_is_unknown_is_not_held_against_it() -> None:
    assert plan_claim(None, after(claim()), is_served=None).result == CREATE


def test_an_edit_names_the_fields() -> None:
    config = {"generateBucketName": "photos", "additionalConfig": {"maxObjects": "5", "maxSize": "1Gi"}}
    was, now = claim(spec=config), claim(spec={**config, "additionalConfig": {"maxObjects": "9"}})

    assert plan_claim(was, after(now), is_served=True).result == CHANGE
    assert changed_fields(was, now) == [
        "additionalConfig.maxObjects: '5' -> '9'",
        "additionalConfig.maxSize: '1Gi' -> unset",
    ]
    assert plan_claim(was, after(was), is_served=True).result == UNCHANGED


def test_a_class_is_created_or_unchanged() -> None:
    assert plan_class(None, storage_class()).result == CREATE
    assert plan_class(storage_class(), storage_class()).result == UNCHANGED
    assert plan_class(storage_class(), storage_class(reclaim_policy="Retain")).result == CHANGE


def write(folder: Path, text: str) -> list[str]:
    file = folder / "a.yaml"
    file.write_text(text)
    return [str(file)]


CLAIM = "{apiVersion: objectbucket.io/v1alpha1, kind: ObjectBucketClaim, metadata: {name: photos}}"


def test_documents_and_lists_are_read(tmp_path: Path) -> None:
    listed = f"{{apiVersion: v1, kind: List, items: [{CLAIM}]}}"
    other = "{apiVersion: v1, kind: Service, metadata: {name: web}}"
    found = read_manifests(write(tmp_path, f"---\n{CLAIM}\n---\n{listed}\n---\n{other}\n---\n"), namespace="shop")

    assert [one["metadata"]["namespace"] for one in found.claims] == ["shop", "shop"]
    assert (found.classes, found.others) == ((), 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "not valid YAML in line 1"),
        ("canary", "document 1 is not an object with a valid metadata.name"),
        ("{metadata: {name: '../secrets'}}", "document 1 is not an object"),
        ("!!python/object:os.system {}", "not valid YAML"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence_without_its_content(tmp_path: Path, text: str, said: str) -> None:
    (name,) = write(tmp_path, text)
    with pytest.raises(CannotRead) as raised:
        read_manifests([name], namespace="shop")

    assert str(raised.value).startswith(f"{name}: {said}")
    assert "canary" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotRead, match="none-such: No such file"):
        read_manifests([str(tmp_path / "none-such")], namespace="shop")
