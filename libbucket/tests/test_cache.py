"""The cache keeps the newest version of each object, in any order of arrival."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from libbucket._api import ClaimSpec, Meta, Metadata, ObjectBucketClaim, ObjectBucketObject
from libbucket._kube.cache import Cache, Unwatched
from testkit.core import Core


def version(number: int | str, name: str = "photos", namespace: str = "shop") -> Metadata:
    return Metadata(metadata=Meta(name=name, namespace=namespace, resource_version=str(number)))


@pytest.fixture
def cache() -> Cache[Metadata]:
    return Cache(Metadata)


def test_the_first_version_is_news(cache: Cache[Metadata]) -> None:
    assert cache.observe(version(1)) == (True, None)
    assert cache.get("shop/photos") == version(1)


def test_a_newer_version_is_news_and_replaces_the_older(cache: Cache[Metadata]) -> None:
    cache.observe(version(9))

    assert cache.observe(version(10)) == (True, version(9))
    assert list(cache) == [version(10)]


@pytest.mark.parametrize("late", [9, 10])
def test_a_version_that_is_late_or_known_is_no_news(cache: Cache[Metadata], late: int) -> None:
    cache.observe(version(10))

    assert cache.observe(version(late)) == (False, version(10))
    assert cache.get("shop/photos") == version(10)


def test_an_unknown_object_is_none(cache: Cache[Metadata]) -> None:
    assert cache.get("shop/photos") is None
    assert list(cache) == []


def test_objects_of_the_same_name_in_two_namespaces_are_two(cache: Cache[Metadata]) -> None:
    cache.observe(version(1, namespace="shop"))
    cache.observe(version(2, namespace="bank"))

    assert len(list(cache)) == 2


def test_a_deletion_removes_the_object_and_returns_the_known_version(cache: Cache[Metadata]) -> None:
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


def test_a_recreated_object_is_a_change(cache: Cache[Metadata]) -> None:
    cache.observe(version(2))
    cache.remove(version(4))

    assert cache.observe(version(5)) == (True, None)
    assert cache.get("shop/photos") == version(5)


def test_a_deletion_of_an_unknown_object_is_remembered(cache: Cache[Metadata]) -> None:
    assert cache.remove(version(4)) is None

    assert cache.observe(version(3)) == (False, None)


def test_deletions_are_not_remembered_for_ever(cache: Cache[Metadata]) -> None:
    for number in range(5000):
        cache.remove(version(number, name=f"claim-{number}"))

    assert len(cache._removed) <= 1000
    assert cache.observe(version(1, name="claim-0")) == (True, None)


def test_a_list_removes_objects_that_it_does_not_have(cache: Cache[Metadata]) -> None:
    cache.observe(version(1, "kept"))
    cache.observe(version(2, "gone"))

    assert cache.retain({"shop/kept"}, "10", namespace="") == [version(2, "gone")]
    assert list(cache) == [version(1, "kept")]


def test_a_list_keeps_newer_objects(cache: Cache[Metadata]) -> None:
    cache.observe(version(11, "just-made"))

    assert cache.retain(set(), "10", namespace="") == []
    assert cache.get("shop/just-made") is not None


def test_a_newer_list_with_an_older_version_replaces_the_known_one(
    cache: Cache[Metadata],
) -> None:
    """An etcd that was restored, and written to until it was ahead again."""
    cache.observe(version(90, "rolled-back"))
    cache.remove(version(95, "not-deleted"))

    assert cache.observe(version(50, "rolled-back"), list_version="100") == (True, version(90, "rolled-back"))
    assert cache.observe(version(51, "not-deleted"), list_version="100") == (True, None)
    assert cache.retain({"shop/rolled-back", "shop/not-deleted"}, "100", namespace="") == []


def test_an_older_list_does_not_replace_the_known_version(cache: Cache[Metadata]) -> None:
    cache.observe(version(90, "written"))
    cache.remove(version(95, "deleted"))

    assert cache.observe(version(50, "written"), list_version="80") == (False, version(90, "written"))
    assert cache.observe(version(51, "deleted"), list_version="80") == (False, None)


def test_after_a_history_that_went_back_a_list_replaces_everything_of_before(cache: Cache[Metadata]) -> None:
    for name in ("rolled-back", "same", "ghost"):
        cache.observe(version(90, name))
    cache.remove(version(95, "not-deleted"))
    cache.distrust(namespace="")

    assert cache.observe(version(50, "rolled-back"), list_version="60") == (True, version(90, "rolled-back"))
    assert cache.observe(version(90, "same"), list_version="60") == (False, version(90, "same"))
    assert cache.observe(version(51, "not-deleted"), list_version="60") == (True, None)
    assert cache.retain({"shop/rolled-back", "shop/same", "shop/not-deleted"}, "60", namespace="") == [
        version(90, "ghost")
    ]
    assert cache.observe(version(61, "ghost")) == (True, None)


def test_writes_after_a_restore_of_etcd_are_stored(cache: Cache[Metadata]) -> None:
    cache.observe(version(90))
    cache.distrust(namespace="")
    cache.observe(version(62))

    assert cache.observe(version(50), list_version="60") == (False, version(62))
    assert cache.retain(set(), "60", namespace="") == []


def test_a_deletion_after_the_history_went_back_is_one(cache: Cache[Metadata]) -> None:
    cache.observe(version(90))
    cache.distrust(namespace="")

    assert cache.remove(version(61)) == version(90)


def test_a_history_that_went_back_is_distrusted_in_one_namespace_only(cache: Cache[Metadata]) -> None:
    cache.observe(version(90, namespace="bank"))
    cache.remove(version(90, "gone", namespace="bank"))
    cache.distrust(namespace="shop")

    assert cache.observe(version(50, namespace="bank")) == (False, version(90, namespace="bank"))
    assert cache.observe(version(50, "gone", namespace="bank")) == (False, None)


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
def test_the_newest_version_is_kept_in_any_order(arrivals: list[int]) -> None:
    cache: Cache[Metadata] = Cache(Metadata)
    for number in arrivals:
        cache.observe(version(number))

    assert cache.get("shop/photos") == version(max(arrivals))


def owned(name: str, owner: str, number: int) -> Metadata:
    return Metadata(metadata=Meta(name=name, resource_version=str(number), annotations={"owner": owner}))


def test_objects_are_found_by_their_group_which_may_change() -> None:
    cache: Cache[Metadata] = Cache(Metadata, group=lambda one: one.metadata.annotation("owner"))
    for number, (name, owner) in enumerate([("b", "shop"), ("a", "shop"), ("c", "bank")], start=1):
        cache.observe(owned(name, owner, number))
    assert [one.metadata.name for one in cache.grouped("shop")] == ["a", "b"]

    cache.observe(owned("a", "bank", 7))
    assert [one.metadata.name for one in cache.grouped("shop")] == ["b"]
    assert [one.metadata.name for one in cache.grouped("bank")] == ["a", "c"]

    cache.remove(owned("b", "shop", 8))
    assert cache.grouped("shop") == cache.grouped("nobody") == []


@settings(deadline=None)
@given(data=st.data())
def test_after_a_restore_and_a_list_the_cache_equals_the_api_server(data: st.DataObject) -> None:
    """Against a model: any history, put back to any of its states, gone on with, listed, and watched from there."""
    cache: Cache[Metadata] = Cache(Metadata)
    state: dict[str, int] = {}
    snapshots = [(0, dict(state))]
    for number in range(1, data.draw(st.integers(1, 12)) + 1):
        _change(data, cache, state, number)
        snapshots.append((number, dict(state)))
    reached = number
    number, state = data.draw(st.sampled_from(snapshots))
    for _ in range(data.draw(st.integers(0, 8))):  # no watch yet
        number += 1
        _change(data, None, state, number)

    if number < reached:
        cache.distrust(namespace="")
    for name, at in state.items():
        cache.observe(version(at, name), list_version=str(number))
    cache.retain({f"shop/{name}" for name in state}, str(number), namespace="")
    for _ in range(data.draw(st.integers(0, 4))):
        number += 1
        _change(data, cache, state, number)

    known = {one.metadata.name: int(one.metadata.resource_version) for one in cache}
    assert known == state


def _change(data: st.DataObject, cache: Cache[Metadata] | None, state: dict[str, int], number: int) -> None:
    name = data.draw(st.sampled_from("abc"))
    if name in state and data.draw(st.booleans()):
        del state[name]
        if cache is not None:
            cache.remove(version(number, name))
        return
    state[name] = number
    if cache is not None:
        cache.observe(version(number, name))


def test_a_cache_that_no_informer_fills_stays_empty() -> None:
    cache = Unwatched(Metadata)

    cache.observe(version(1))

    assert cache.get("shop/photos") is None
    assert list(cache) == []
    assert not cache.is_watched
    assert Cache(Metadata).is_watched


@pytest.mark.parametrize(
    "value",
    [2**70, -(2**70), 1.5, "text", None, True, [1, {"a": [2**64]}], "\ud800"],
    ids=["huge", "huge-negative", "float", "text", "null", "bool", "nested", "lone-surrogate"],
)
def test_an_object_is_given_back_as_it_arrived_whatever_its_author_wrote(value: object) -> None:
    cache = Cache(ObjectBucketClaim)
    claim = ObjectBucketClaim(
        metadata=Meta(name="photos", namespace="shop", resource_version="1"),
        spec_or_none=ClaimSpec(additional_config={"key": value}),
    )
    cache.observe(claim)
    assert cache.get("shop/photos") == claim
    assert list(cache) == [claim]


def test_objects_take_a_fifth_of_the_memory_of_their_structs() -> None:
    core, count = Core(), 3000
    core.reconcile(core.create_claim("photos"))
    (bucket,) = list(core.caches.buckets)
    body = msgspec.json.encode(bucket)
    cache = Cache(ObjectBucketObject)
    tracemalloc.start()
    try:
        structs = [msgspec.json.decode(body, type=ObjectBucketObject) for _ in range(count)]
        as_structs, _ = tracemalloc.get_traced_memory()
        for number, one in enumerate(structs):
            cache.observe(replace(one, metadata=replace(one.metadata, name=f"bucket-{number}")))
        in_cache = tracemalloc.get_traced_memory()[0] - as_structs
    finally:
        tracemalloc.stop()
    assert len(list(cache)) == count
    assert in_cache < 0.2 * as_structs, f"{in_cache / count:.0f} bytes each; as structs {as_structs / count:.0f}"


def test_what_changed_last_is_not_packed_and_nothing_else_is_kept_so() -> None:
    cache = Cache(Metadata)
    for number in range(1000):
        cache.observe(version(1, f"photos-{number}"))
    unpacked = [key for key, one in cache._packed.items() if not isinstance(one, bytes)]
    assert unpacked == [f"shop/photos-{number}" for number in range(1000 - 128, 1000)]
    cache.observe(version(2, "photos-0"))
    assert not isinstance(cache._packed["shop/photos-0"], bytes)
    assert isinstance(cache._packed["shop/photos-872"], bytes)
    cache.remove(version(3, "photos-999"))
    assert len(cache._fresh) == 127
    assert {one.metadata.name for one in cache} == {f"photos-{number}" for number in range(999)}


@settings(deadline=None)
@given(data=st.data())
def test_packed_or_not_objects_are_found_as_they_arrived(data: st.DataObject) -> None:
    """More objects than stay unpacked, changed and removed in any order, against a dictionary."""
    cache: Cache[Metadata] = Cache(Metadata)
    known: dict[str, Metadata] = {}
    for number in range(1, 301):
        name = f"photos-{data.draw(st.integers(0, 200))}"
        new = version(number, name)
        if data.draw(st.booleans()):
            cache.observe(new)
            known[name] = new
        else:
            cache.remove(new)
            known.pop(name, None)
    assert {one.metadata.name: one for one in cache} == known
    assert all(cache.get(f"shop/{name}") == one for name, one in known.items())


def test_a_list_unpacks_only_what_it_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    cache: Cache[Metadata] = Cache(Metadata)
    for number in range(1000):
        cache.observe(version(1, name=f"photos-{number}"))
    unpacked: list[object] = []
    unpack = cache._packer.unpack

    def counted(packed: bytes | Metadata) -> Metadata:
        unpacked.append(packed)
        return unpack(packed)

    monkeypatch.setattr(cache, "_unpacked", counted)
    gone = cache.retain({f"shop/photos-{number}" for number in range(1, 1000)}, "2", namespace="")
    assert [one.metadata.name for one in gone] == ["photos-0"]
    assert len(unpacked) == 1
