"""The cache keeps the newest version of each object, in whatever order versions arrive."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libbucket._api import Meta, Metadata
from libbucket._kube.cache import Cache, Unwatched


def version(number: int | str, name: str = "photos", namespace: str = "shop") -> Metadata:
    return Metadata(metadata=Meta(name=name, namespace=namespace, resource_version=str(number)))


@pytest.fixture
def cache() -> Cache[Metadata]:
    return Cache()


def test_the_first_version_is_news(cache: Cache[Metadata]) -> None:
    assert cache.observe(version(1)) == (True, None)
    assert cache.get("shop/photos") == version(1)


def test_a_newer_version_is_news_and_replaces_the_older(cache: Cache[Metadata]) -> None:
    cache.observe(version(9))

    assert cache.observe(version(10)) == (True, version(9))
    assert cache.all() == [version(10)]


@pytest.mark.parametrize("late", [9, 10])
def test_a_version_that_is_late_or_known_is_no_news(cache: Cache[Metadata], late: int) -> None:
    cache.observe(version(10))

    assert cache.observe(version(late)) == (False, version(10))
    assert cache.get("shop/photos") == version(10)


def test_what_is_not_there_is_none(cache: Cache[Metadata]) -> None:
    assert cache.get("shop/photos") is None
    assert cache.all() == []


def test_objects_of_the_same_name_in_two_namespaces_are_two(cache: Cache[Metadata]) -> None:
    cache.observe(version(1, namespace="shop"))
    cache.observe(version(2, namespace="bank"))

    assert len(cache.all()) == 2


def test_a_deletion_takes_the_object_out_and_tells_what_was_known(cache: Cache[Metadata]) -> None:
    cache.observe(version(1))

    assert cache.remove(version(2)) == version(1)
    assert cache.get("shop/photos") is None
    assert cache.remove(version(2)) is None


def test_a_late_deletion_leaves_the_object_that_took_the_name(cache: Cache[Metadata]) -> None:
    cache.observe(version(5))

    assert cache.remove(version(4)) is None
    assert cache.get("shop/photos") == version(5)


@pytest.mark.parametrize("late", [3, 4])
def test_our_own_write_that_arrives_after_the_deletion_does_not_bring_the_object_back(
    cache: Cache[Metadata], late: int
) -> None:
    cache.observe(version(2))
    cache.remove(version(4))

    assert cache.observe(version(late)) == (False, None)
    assert cache.get("shop/photos") is None


def test_an_object_that_is_made_again_under_the_name_is_news(cache: Cache[Metadata]) -> None:
    cache.observe(version(2))
    cache.remove(version(4))

    assert cache.observe(version(5)) == (True, None)
    assert cache.get("shop/photos") == version(5)


def test_a_deletion_of_what_was_never_known_is_remembered_as_well(cache: Cache[Metadata]) -> None:
    assert cache.remove(version(4)) is None

    assert cache.observe(version(3)) == (False, None)


def test_deletions_are_not_remembered_for_ever(cache: Cache[Metadata]) -> None:
    for number in range(5000):
        cache.remove(version(number, name=f"claim-{number}"))

    assert len(cache._removed) <= 1000
    assert cache.observe(version(1, name="claim-0")) == (True, None)


def test_a_fresh_list_takes_out_what_it_no_longer_has(cache: Cache[Metadata]) -> None:
    cache.observe(version(1, "kept"))
    cache.observe(version(2, "gone"))

    assert cache.retain({"shop/kept"}, "10", namespace="") == [version(2, "gone")]
    assert cache.all() == [version(1, "kept")]


def test_a_fresh_list_leaves_what_is_newer_than_itself(cache: Cache[Metadata]) -> None:
    cache.observe(version(11, "just-made"))

    assert cache.retain(set(), "10", namespace="") == []
    assert cache.get("shop/just-made") is not None


def test_a_list_of_one_namespace_leaves_the_others_alone(cache: Cache[Metadata]) -> None:
    cache.observe(version(1, namespace="bank"))

    assert cache.retain(set(), "10", namespace="shop") == []
    assert cache.get("bank/photos") is not None


def test_versions_that_are_no_numbers_follow_the_watch(cache: Cache[Metadata]) -> None:
    cache.observe(version("b7f"))

    assert cache.observe(version("b7f")) == (False, version("b7f"))
    assert cache.observe(version("a01")) == (True, version("b7f"))
    assert cache.remove(version("c55")) == version("a01")
    assert cache.observe(version("d00")) == (True, None)
    assert cache.retain(set(), "e10", namespace="") == [version("d00")]


@settings(deadline=None)  # on a busy machine, time says nothing
@given(arrivals=st.lists(st.integers(1, 50), min_size=1).flatmap(st.permutations))
def test_the_newest_version_is_kept_whatever_the_order(arrivals: list[int]) -> None:
    cache: Cache[Metadata] = Cache()
    for number in arrivals:
        cache.observe(version(number))

    assert cache.get("shop/photos") == version(max(arrivals))


def owned(name: str, owner: str, number: int) -> Metadata:
    return Metadata(metadata=Meta(name=name, resource_version=str(number), annotations={"owner": owner}))


def test_objects_are_found_by_their_group_which_may_change() -> None:
    cache: Cache[Metadata] = Cache(group=lambda one: one.metadata.annotation("owner"))
    for number, (name, owner) in enumerate([("b", "shop"), ("a", "shop"), ("c", "bank")], start=1):
        cache.observe(owned(name, owner, number))
    assert [one.metadata.name for one in cache.grouped("shop")] == ["a", "b"]

    cache.observe(owned("a", "bank", 7))
    assert [one.metadata.name for one in cache.grouped("shop")] == ["b"]
    assert [one.metadata.name for one in cache.grouped("bank")] == ["a", "c"]

    cache.remove(owned("b", "shop", 8))
    assert cache.grouped("shop") == cache.grouped("nobody") == []


def test_a_cache_that_no_informer_fills_stays_empty() -> None:
    cache = Unwatched[Metadata]()

    cache.observe(version(1))

    assert cache.get("shop/photos") is None
    assert cache.all() == []
    assert not cache.is_watched
    assert Cache[Metadata]().is_watched
