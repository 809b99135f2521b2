"""Requests of the checks before the start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from libbucket._kube.client import KubeClient
from libbucket._run.preflight import _rights

if TYPE_CHECKING:
    from collections.abc import Mapping


class FakeApi(KubeClient):
    """Allows every list, and records the requests."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Mapping[str, str] | None, str]] = []

    def get(self, path: str, *, params: Mapping[str, str] | None = None, accept: str = "application/json") -> bytes:
        self.asked.append((path, params, accept))
        return b"{}"


def test_of_secrets_and_config_maps_only_the_metadata_are_read() -> None:
    api = FakeApi()
    assert list(_rights(api, (), watch_secrets=True)) == [""] * 5

    partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    found: dict[str, Any] = {path.rpartition("/")[2]: accept for path, _, accept in api.asked}
    assert found == {
        "storageclasses": "application/json",
        "objectbuckets": "application/json",
        "objectbucketclaims": "application/json",
        "secrets": partial,
        "configmaps": partial,
    }
    assert {params["limit"] for _, params, _ in api.asked if params} == {"1"}
