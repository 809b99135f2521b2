"""Paths of objects: names are quoted."""

from __future__ import annotations

import pytest

from libbucket._kube.resources import BUCKETS, CLAIMS


def test_an_object_is_under_its_collection() -> None:
    assert BUCKETS.path("obc-shop-photos") == "/apis/objectbucket.io/v1alpha1/objectbuckets/obc-shop-photos"
    assert CLAIMS.path("a.b", namespace="shop", subresource="status").endswith(
        "/namespaces/shop/objectbucketclaims/a.b/status"
    )


@pytest.mark.parametrize("name", ["../../../../api/v1/namespaces/shop/secrets/forged", "x/status", "x?watch=1", "x#y"])
def test_a_name_is_quoted_in_the_path(name: str) -> None:
    end = BUCKETS.path(name).removeprefix(BUCKETS.path() + "/")
    assert not set(end) & set("/?#")
