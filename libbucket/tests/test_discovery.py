"""Features of CRDs in published OpenAPI schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from libbucket._kube.client import KubeClient
from libbucket._kube.discovery import CrdFeatures, InstalledCrds, read_crd_features
from libbucket._kube.errors import ClusterUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE = "/apis/objectbucket.io/v1alpha1"
CLAIM_STATUS = f"{BASE}/namespaces/{{namespace}}/objectbucketclaims/{{name}}/status"
BUCKET_STATUS = f"{BASE}/objectbuckets/{{name}}/status"
OPEN: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
TEXT = {"type": "string"}


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


FULL_STATUS = closed(phase=TEXT, conditions={"type": "array", "items": closed(type=TEXT, reason=TEXT)})
FULL_REF = closed(namespace=TEXT, name=TEXT, uid=TEXT)


class FakeApi(KubeClient):
    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    def get(self, path: str, *, params: Mapping[str, str] | None = None, accept: str = "application/json") -> bytes:
        assert path == f"/openapi/v3{BASE}"
        assert not params
        assert accept == "application/json"
        return msgspec.json.encode(self.document)


def features(
    *,
    status: Any = FULL_STATUS,
    bucket_status: Any = FULL_STATUS,
    claim_ref: Any = FULL_REF,
    paths: tuple[str, ...] = (CLAIM_STATUS, BUCKET_STATUS),
) -> CrdFeatures | None:
    kinds = {
        "ObjectBucketClaim": closed(status=status),
        "ObjectBucket": closed(spec=closed(claimRef=claim_ref), status=bucket_status),
    }
    schemas = {
        kind: {**schema, "x-kubernetes-group-version-kind": [_group_version(kind)]} for kind, schema in kinds.items()
    }
    return read_crd_features(FakeApi({"paths": {path: {} for path in paths}, "components": {"schemas": schemas}}))


def _group_version(kind: str) -> dict[str, str]:
    return {"group": "objectbucket.io", "version": "v1alpha1", "kind": kind}


def test_conditions_of_object_buckets_are_detected() -> None:
    assert features(bucket_status=closed(phase=TEXT)) == CrdFeatures(bucket_conditions=False)


def test_everything_survives_where_it_is_declared() -> None:
    found = features()
    assert found == CrdFeatures()
    assert found is not None
    assert found.losses() == []


@pytest.mark.parametrize("status", [OPEN, closed(conditions=OPEN), closed(conditions={"type": "array", "items": OPEN})])
def test_conditions_are_kept_below_a_schema_with_unknown_fields(status: Any) -> None:
    assert features(status=status) == CrdFeatures()


@pytest.mark.parametrize("status", [closed(phase=TEXT), closed(), {"type": "object"}])
def test_conditions_are_lost_where_they_are_not_declared(status: Any) -> None:
    assert features(status=status) == CrdFeatures(conditions=False)


@pytest.mark.parametrize("claim_ref", [{"type": "object"}, closed(name=TEXT, namespace=TEXT)])
def test_a_claim_ref_that_loses_its_uid_is_lost(claim_ref: Any) -> None:
    assert features(claim_ref=claim_ref) == CrdFeatures(claim_ref=False)


def test_a_claim_ref_with_unknown_fields_is_kept() -> None:
    assert features(claim_ref=OPEN) == CrdFeatures()


def test_status_subresources_are_known_by_their_paths() -> None:
    assert features(paths=(CLAIM_STATUS,)) == CrdFeatures(bucket_status=False)
    assert features(paths=(BUCKET_STATUS,)) == CrdFeatures(claim_status=False)


def test_every_lost_field_is_named() -> None:
    nothing = CrdFeatures(
        conditions=False, claim_ref=False, claim_status=False, bucket_status=False, bucket_conditions=False
    )
    assert len(nothing.losses()) == 5


def test_schemas_that_are_not_published_yet_are_no_answer() -> None:
    assert read_crd_features(FakeApi({"paths": {}})) is None


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"\xff",
        b"[]",
        b"null",
        b'{"components": []}',
        b'{"components": {"schemas": {"a": 1}}}',
        b'{"components": {"schemas": {"a": {"x-kubernetes-group-version-kind": 1}}}}',
        b"[" * 100_000,
    ],
)
def test_a_response_that_is_not_an_openapi_document_is_an_error_of_the_cluster(body: bytes) -> None:
    class Odd(FakeApi):
        def get(self, *_: Any, **__: Any) -> bytes:
            return body

    with pytest.raises(ClusterUnavailable, match="not an OpenAPI document"):
        read_crd_features(Odd({}))
    assert not InstalledCrds(Odd({}), CrdFeatures()).has_changed()
