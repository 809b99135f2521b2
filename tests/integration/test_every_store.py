"""Behaviour that all stores share, on a real API server with the real provisioner of each; names no store."""

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
def environment(cluster: Cluster, namespace: str, named_store: tuple[str, Store]) -> Iterator[StoreEnvironment]:
    name, store = named_store
    made = StoreEnvironment(cluster, namespace, name, store)
    made.open()
    yield made
    made.close()


def test_a_claim_is_provisioned_isolated_and_deprovisioned(environment: StoreEnvironment) -> None:
    storage_class = environment.make_class()
    with environment.provisioner():
        environment.claim("photos", storage_class, generateBucketName="photos")
        environment.claim("other", storage_class, generateBucketName="photos")
        own, other = environment.wait_bound("photos"), environment.wait_bound("other")
        environment.store.application(own).put(own.bucket, "a.txt", b"own")
        assert environment.store.application(own).get(own.bucket, "a.txt") == b"own"
        with pytest.raises(Refused):
            environment.store.application(other).get(own.bucket, "a.txt")
        assert environment.store.what_is_there(own)
        environment.delete_claim("photos")
        assert environment.store.what_is_there(own) == []
        assert environment.store.what_is_there(other)
        environment.delete_claim("other")


def test_a_brownfield_claim_is_granted_access_and_the_bucket_is_kept(environment: StoreEnvironment) -> None:
    bucket = environment.namespace + "-old"
    environment.store.make_bucket(bucket)
    environment.store.administrator().put(bucket, "2019.txt", b"written long ago")
    storage_class = environment.make_class("brownfield-class.yaml", bucketName=bucket)
    with environment.provisioner():
        environment.claim("archive", storage_class)
        bound = environment.wait_bound("archive")
        assert environment.store.application(bound).get(bucket, "2019.txt") == b"written long ago"
        environment.delete_claim("archive")
    with pytest.raises(Refused):
        environment.store.application(bound).get(bucket, "2019.txt")
    assert environment.store.administrator().get(bucket, "2019.txt") == b"written long ago"


@pytest.mark.parametrize(
    ("storage_class", "claim"), [("class.yaml", "claim.yaml"), ("brownfield-class.yaml", "brownfield-claim.yaml")]
)
def test_the_example_becomes_bound_and_its_pod_finds_every_variable_that_it_uses(
    environment: StoreEnvironment, storage_class: str, claim: str
) -> None:
    bucket = environment.namespace + "-old"
    is_brownfield = "bucketName" in environment.example(storage_class)["parameters"]
    if is_brownfield:
        environment.store.make_bucket(bucket)
    name = environment.make_class(storage_class, **({"bucketName": bucket} if is_brownfield else {}))
    asked = environment.example(claim)
    del asked["spec"]["storageClassName"]
    with environment.provisioner():
        environment.claim(asked["metadata"]["name"], **{**asked["spec"], "storage_class": name})
        bound = environment.wait_bound(asked["metadata"]["name"])
        if not is_brownfield:
            assert variables_of(environment.example("pod.yaml"), claim=bound.name) <= set(bound.environment)
        environment.delete_claim(bound.name)


def variables_of(pod: dict[str, Any], *, claim: str) -> set[str]:
    """Names of the variables that a pod's command reads, as far as they come from the claim's Secret and ConfigMap."""
    (container,) = pod["spec"]["containers"]
    assert {source["name"] for each in container["envFrom"] for source in each.values()} == {claim}
    used = set(re.findall(r"\$([A-Z][A-Z0-9_]+)", " ".join(container["args"])))
    assert used, "the example uses what it gets"
    return used - {each["name"] for each in container.get("env", [])}


def test_a_restart_costs_no_store_call_and_a_drift_check_costs_one(environment: StoreEnvironment) -> None:
    storage_class = environment.make_class()
    with environment.provisioner():
        environment.claim("photos", storage_class)
        first = environment.wait_bound("photos")
    with environment.provisioner("--resync-interval", "1s") as provisioner:
        wanted = 'libbucket_backend_call_duration_seconds_count{verb="is_intact"}'
        while not (seen := _counts(provisioner.metrics())).get(wanted):
            assert provisioner.is_running
        assert set(seen) == {wanted}
        assert environment.wait_bound("photos") == first
        environment.delete_claim("photos")


def test_drift_checks_and_full_reconciliations_of_unchanged_claims_write_nothing(
    environment: StoreEnvironment,
) -> None:
    environment.store.make_bucket(f"{environment.namespace}-old")
    key, value, _ = environment.store.config
    flags = ("--allow-additional-config", key)
    own, config = environment.make_class(), {"additionalConfig": {key: value}}
    names = ["guest", *(f"own-{number}" for number in range(9))]
    with environment.provisioner(*flags):
        environment.claim(
            "guest", environment.make_class("brownfield-class.yaml", bucketName=f"{environment.namespace}-old")
        )
        for name in names[1:]:
            environment.claim(name, own, generateBucketName="own", **config)
        bound = [environment.wait_bound(name) for name in names]
    before, census = _versions(environment), environment.store.census()
    for interval, verbs, times in (("--resync-interval", ["is_intact"], 50), ("--repair-interval", _REPAIRS, 10)):
        with environment.provisioner(*flags, "--resync-interval", "24h", interval, "1s") as provisioner:
            wanted = {f'libbucket_backend_call_duration_seconds_count{{verb="{verb}"}}' for verb in verbs}
            while sum((seen := _counts(provisioner.metrics())).values()) < times:
                assert provisioner.is_running
            assert set(seen) == wanted
    assert _versions(environment) == before
    assert environment.store.census() == census
    assert [environment.wait_bound(name) for name in names] == bound
    with environment.provisioner(*flags):
        for name in names:
            environment.delete_claim(name)


def _versions(environment: StoreEnvironment) -> dict[str, str]:
    """Of every object of the environment, and of every Event."""
    paths = [f"{OBC}/namespaces/{environment.namespace}/objectbucketclaims", f"{OBC}/objectbuckets"]
    paths += [f"/api/v1/namespaces/{environment.namespace}/{kind}" for kind in ("secrets", "configmaps", "events")]
    found = [each["metadata"] for path in paths for each in environment.admin.items(path)]
    return {each["uid"]: each["resourceVersion"] for each in found}


def _counts(metrics: str) -> dict[str, float]:
    lines = [
        line.rsplit(" ", 1)
        for line in metrics.splitlines()
        if line.startswith("libbucket_backend_call_duration_seconds_count")
    ]
    return {name: float(value) for name, value in lines if float(value)}


def test_no_secret_is_in_a_log_line_an_event_a_condition_a_metric_or_an_object(environment: StoreEnvironment) -> None:
    usual = environment.make_class()
    environment.make_admin_secret("wrong", {key: value[::-1] for key, value in environment.store.admin_secret.items()})
    wrong = environment.make_class(secretName="wrong")
    hidden = [
        *secret_texts(environment.store.admin_secret),
        *(text[::-1] for text in secret_texts(environment.store.admin_secret)),
    ]
    with environment.provisioner("-v", "10", "--resync-interval", "1s") as provisioner:
        environment.claim("photos", usual)
        first = environment.wait_bound("photos")
        hidden += secret_texts(environment.secret("photos"))
        environment.claim("thief", usual, bucketName=first.bucket)
        environment.wait_reason("thief", "BucketExists")
        environment.claim("refused", wrong)
        environment.wait_claim("refused", _has_failed)
        environment.admin.delete(f"/api/v1/namespaces/{environment.namespace}/secrets/photos")
        environment.admin.wait_for(
            f"/api/v1/namespaces/{environment.namespace}/secrets/photos",
            lambda found: found is not None and "data" in found,
            timeout=60,
        )
        environment.wait_bound("photos")
        hidden += secret_texts(environment.secret("photos"))
        shown = environment.everything_shown() + provisioner.metrics()
        for name in ("photos", "thief"):
            environment.delete_claim(name)
        environment.admin.delete(f"/api/v1/namespaces/{environment.namespace}/secrets/wrong")
        environment.make_admin_secret("wrong", environment.store.admin_secret)
        environment.delete_claim("refused")
        shown += environment.everything_shown() + provisioner.metrics() + provisioner.log()
    assert len(hidden) > 4
    assert not [text for text in hidden if text in shown]


def _has_failed(claim: dict[str, object]) -> bool:
    return "Provisioning" not in str(claim.get("status", "Provisioning"))
