"""What every store has to do on a real API server, by its own real provisioner: one set of tests, no store named."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from libbucket.testing.application import Refused
from testkit.cluster.memory_environment import OBC
from testkit.cluster.store_environment import STORES, StoreEnvironment, secret_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.controlplane import Cluster
    from testkit.cluster.store_environment import Store

_REPAIRS = ["grant", "provision"]


@pytest.fixture(scope="module", params=sorted(STORES))
def named_store(request: pytest.FixtureRequest) -> Iterator[tuple[str, Store]]:
    """Each store of the demo in turn, running."""
    with STORES[request.param]() as store:
        yield request.param, store


@pytest.fixture
def shop(cluster: Cluster, namespace: str, named_store: tuple[str, Store]) -> Iterator[StoreEnvironment]:
    name, store = named_store
    made = StoreEnvironment(cluster, namespace, name, store)
    made.open()
    yield made
    made.close()


def test_a_claim_gets_a_bucket_of_its_own_and_gives_it_back(shop: StoreEnvironment) -> None:
    storage_class = shop.make_class()
    with shop.provisioner():
        shop.claim("photos", storage_class, generateBucketName="photos")
        shop.claim("neighbour", storage_class, generateBucketName="photos")
        mine, theirs = shop.wait_bound("photos"), shop.wait_bound("neighbour")
        shop.store.application(mine).put(mine.bucket, "a.txt", b"mine")
        assert shop.store.application(mine).get(mine.bucket, "a.txt") == b"mine"
        with pytest.raises(Refused):
            shop.store.application(theirs).get(mine.bucket, "a.txt")
        assert shop.store.what_is_there(mine)
        shop.delete_claim("photos")
        assert shop.store.what_is_there(mine) == []
        assert shop.store.what_is_there(theirs)
        shop.delete_claim("neighbour")


def test_a_claim_on_a_bucket_that_exists_gets_in_and_leaves_it_as_it_is(shop: StoreEnvironment) -> None:
    bucket = shop.namespace + "-old"
    shop.store.make_bucket(bucket)
    shop.store.administrator().put(bucket, "2019.txt", b"written long ago")
    storage_class = shop.make_class("brownfield-class.yaml", bucketName=bucket)
    with shop.provisioner():
        shop.claim("archive", storage_class)
        bound = shop.wait_bound("archive")
        assert shop.store.application(bound).get(bucket, "2019.txt") == b"written long ago"
        shop.delete_claim("archive")
    with pytest.raises(Refused):
        shop.store.application(bound).get(bucket, "2019.txt")
    assert shop.store.administrator().get(bucket, "2019.txt") == b"written long ago"


@pytest.mark.parametrize(
    ("storage_class", "claim"), [("class.yaml", "claim.yaml"), ("brownfield-class.yaml", "brownfield-claim.yaml")]
)
def test_the_example_becomes_bound_and_its_pod_finds_every_variable_that_it_uses(
    shop: StoreEnvironment, storage_class: str, claim: str
) -> None:
    bucket = shop.namespace + "-old"
    is_brownfield = "bucketName" in shop.example(storage_class)["parameters"]
    if is_brownfield:
        shop.store.make_bucket(bucket)
    name = shop.make_class(storage_class, **({"bucketName": bucket} if is_brownfield else {}))
    asked = shop.example(claim)
    del asked["spec"]["storageClassName"]
    with shop.provisioner():
        shop.claim(asked["metadata"]["name"], **{**asked["spec"], "storage_class": name})
        bound = shop.wait_bound(asked["metadata"]["name"])
        if not is_brownfield:
            assert variables_of(shop.example("pod.yaml"), claim=bound.name) <= set(bound.environment)
        shop.delete_claim(bound.name)


def variables_of(pod: dict[str, Any], *, claim: str) -> set[str]:
    """Names of the variables that a pod's command reads, as far as they come from the claim's Secret and ConfigMap."""
    (container,) = pod["spec"]["containers"]
    assert {source["name"] for each in container["envFrom"] for source in each.values()} == {claim}
    used = set(re.findall(r"\$([A-Z][A-Z0-9_]+)", " ".join(container["args"])))
    assert used, "the example uses what it gets"
    return used - {each["name"] for each in container.get("env", [])}


def test_a_restart_and_a_look_for_drift_cost_a_bound_claim_nothing_and_one_look(shop: StoreEnvironment) -> None:
    storage_class = shop.make_class()
    with shop.provisioner():
        shop.claim("photos", storage_class)
        first = shop.wait_bound("photos")
    with shop.provisioner("--resync-interval", "1s") as provisioner:
        wanted = 'libbucket_backend_call_duration_seconds_count{verb="is_intact"}'
        while not (seen := _counts(provisioner.metrics())).get(wanted):
            assert provisioner.is_running
        assert set(seen) == {wanted}
        assert shop.wait_bound("photos") == first
        shop.delete_claim("photos")


def test_fifty_looks_and_ten_repairs_of_claims_that_nobody_touched_write_nothing_and_say_nothing(
    shop: StoreEnvironment,
) -> None:
    shop.store.make_bucket(f"{shop.namespace}-old")
    key, value, _ = shop.store.config
    flags = ("--allow-additional-config", key)
    own, config = shop.make_class(), {"additionalConfig": {key: value}}
    names = ["guest", *(f"own-{number}" for number in range(9))]
    with shop.provisioner(*flags):
        shop.claim("guest", shop.make_class("brownfield-class.yaml", bucketName=f"{shop.namespace}-old"))
        for name in names[1:]:
            shop.claim(name, own, generateBucketName="own", **config)
        bound = [shop.wait_bound(name) for name in names]
    before, census = _versions(shop), shop.store.census()
    for interval, verbs, times in (("--resync-interval", ["is_intact"], 50), ("--repair-interval", _REPAIRS, 10)):
        with shop.provisioner(*flags, "--resync-interval", "24h", interval, "1s") as provisioner:
            wanted = {f'libbucket_backend_call_duration_seconds_count{{verb="{verb}"}}' for verb in verbs}
            while sum((seen := _counts(provisioner.metrics())).values()) < times:
                assert provisioner.is_running
            assert set(seen) == wanted
    assert _versions(shop) == before
    assert shop.store.census() == census
    assert [shop.wait_bound(name) for name in names] == bound
    with shop.provisioner(*flags):
        for name in names:
            shop.delete_claim(name)


def _versions(shop: StoreEnvironment) -> dict[str, str]:
    """Of every object that is ours, and of every Event."""
    paths = [f"{OBC}/namespaces/{shop.namespace}/objectbucketclaims", f"{OBC}/objectbuckets"]
    paths += [f"/api/v1/namespaces/{shop.namespace}/{kind}" for kind in ("secrets", "configmaps", "events")]
    found = [each["metadata"] for path in paths for each in shop.admin.items(path)]
    return {each["uid"]: each["resourceVersion"] for each in found}


def _counts(metrics: str) -> dict[str, float]:
    lines = [
        line.rsplit(" ", 1)
        for line in metrics.splitlines()
        if line.startswith("libbucket_backend_call_duration_seconds_count")
    ]
    return {name: float(value) for name, value in lines if float(value)}


def test_no_secret_is_in_a_log_line_an_event_a_condition_a_metric_or_an_object(shop: StoreEnvironment) -> None:
    usual = shop.make_class()
    shop.make_admin_secret("wrong", {key: value[::-1] for key, value in shop.store.admin_secret.items()})
    wrong = shop.make_class(secretName="wrong")
    hidden = [*secret_texts(shop.store.admin_secret), *(text[::-1] for text in secret_texts(shop.store.admin_secret))]
    with shop.provisioner("-v", "10", "--resync-interval", "1s") as provisioner:
        shop.claim("photos", usual)
        first = shop.wait_bound("photos")
        hidden += secret_texts(shop.secret("photos"))
        shop.claim("thief", usual, bucketName=first.bucket)
        shop.wait_reason("thief", "BucketExists")
        shop.claim("refused", wrong)
        shop.wait_claim("refused", _has_failed)
        shop.admin.delete(f"/api/v1/namespaces/{shop.namespace}/secrets/photos")
        shop.admin.wait_for(
            f"/api/v1/namespaces/{shop.namespace}/secrets/photos",
            lambda found: found is not None and "data" in found,
            timeout=60,
        )
        shop.wait_bound("photos")
        hidden += secret_texts(shop.secret("photos"))
        shown = shop.everything_shown() + provisioner.metrics()
        for name in ("photos", "thief"):
            shop.delete_claim(name)
        shop.admin.delete(f"/api/v1/namespaces/{shop.namespace}/secrets/wrong")
        shop.make_admin_secret("wrong", shop.store.admin_secret)
        shop.delete_claim("refused")
        shown += shop.everything_shown() + provisioner.metrics() + provisioner.log()
    assert len(hidden) > 4
    assert not [text for text in hidden if text in shown]


def _has_failed(claim: dict[str, object]) -> bool:
    return "Provisioning" not in str(claim.get("status", "Provisioning"))
