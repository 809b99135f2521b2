"""The table of shards: routing of keys, equal shares, few moves."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from libbucket._controller.shards import (
    NO_REPLICAS,
    SHARDS,
    UNKNOWN,
    ShardTable,
    read_table,
    renewal,
    replica_name,
    shard_of,
    table_annotations,
)

MOST = 20


def table_of(*names: str) -> ShardTable:
    table = NO_REPLICAS
    for name in names:
        table = table.with_replica(name, "token")
    return table


def shares(names: list[str]) -> dict[str, int]:
    table = table_of(*names)
    return {name: table.share_of(name) for name in names}


def test_keys_are_divided_evenly() -> None:
    """Also those of one namespace: it may have most of the claims."""
    counts = Counter(shard_of(f"shop/claim-{number}") for number in range(16_000))
    assert set(counts) == set(range(SHARDS))
    assert all(800 < count < 1200 for count in counts.values())


def test_the_shard_of_a_key_is_the_same_in_every_version() -> None:
    assert [shard_of(key) for key in ("shop/photos", "shop/invoices", "a/b")] == [0, 6, 12]


@pytest.mark.parametrize("count", range(1, MOST))
def test_shares_differ_by_one_at_most_and_cover_all_shards(count: int) -> None:
    found = shares([f"replica-{number:02}" for number in range(count)]).values()
    assert sum(found) == SHARDS
    assert max(found) - min(found) <= 1


@pytest.mark.parametrize("count", range(1, MOST))
def test_a_replica_that_is_added_takes_shards_for_itself_only(count: int) -> None:
    names = [f"replica-{number:02}" for number in range(count)]
    before = shares(names)
    for place in range(count + 1):
        after = shares([*names, f"replica-{place:02}-"])
        assert all(after[name] <= before[name] for name in names), "a shard moved between replicas that stay"


def test_shards_that_another_may_serve_count_for_no_replica() -> None:
    table = table_of(UNKNOWN, "a", "b")
    assert [table.share_of(one) for one in "ab"] == [8, 8]


def test_a_replica_that_is_removed_leaves_its_shards_free() -> None:
    table = table_of("a", "b").with_owner(range(8), "a").with_owner(range(8, 16), "b")
    left = table.without(["a"])
    assert left.free == list(range(8))
    assert left.owned_by("b") == frozenset(range(8, 16))
    assert left.replicas == {"b": "token"}


def test_a_table_survives_the_annotations() -> None:
    table = table_of("a", "b").with_owner([3, 4], "a")
    before = {"objectbucket.io/shards": "[]", "replicas.objectbucket.io/gone": "token", "example.com/other": "stays"}
    changes = table_annotations(table, before)
    assert changes["replicas.objectbucket.io/gone"] is None
    assert "example.com/other" not in changes
    assert read_table({key: value for key, value in changes.items() if value is not None}) == table


def test_a_renewal_changes_its_own_annotation_only() -> None:
    table = table_of("a", "b")
    before = {key: value for key, value in table_annotations(table, {}).items() if value is not None}
    (changed,) = renewal("a", "later").items()
    assert changed == ("replicas.objectbucket.io/a", "later")
    assert read_table(before | dict([changed])) == table.with_replica("a", "later")


@pytest.mark.parametrize(
    "identity",
    ["minio-provisioner-5d9c7b8f6d-abcde_0a1b2c3d-0a1b-4c3d-8e5f-0a1b2c3d4e5f", "a" * 200, "-._x y", "host_uuid"],
)
def test_the_name_of_a_replica_is_a_valid_name_of_an_annotation(identity: str) -> None:
    name = replica_name(identity)
    assert re.fullmatch("[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", name)
    assert name.endswith(identity[-1])


@pytest.mark.parametrize(
    "text",
    ["", "{}x", "{}", "[]", '["",""]', '["not-there"' + ',""' * 15 + "]"],
    ids=["missing", "no JSON", "no list", "empty", "other number of shards", "owner without entry"],
)
def test_what_is_no_table_is_none(text: str) -> None:
    assert read_table({"objectbucket.io/shards": text, "replicas.objectbucket.io/a": "token"}) is None
