"""The real reconciler on a fake API server and a store in memory: effects of failures on claims."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from libbucket import (
    AccessDenied,
    ExpiresLater,
    InvalidParameters,
    NotReady,
    ProvisionerError,
    Reason,
    StoreUnavailable,
    Throttled,
)
from libbucket._api import FINALIZER, PURGE_AT
from libbucket._outcomes import Retry
from libbucket._reconcile.model.outcome import Result
from libbucket._reconcile.model.snapshot import Recheck
from libbucket.testing.memory import MemoryProvisioner
from testkit.api_server import (
    Request,
    bucket_path,
    claim_path,
    class_path,
    config_map_path,
    dump,
    plural_of,
    respond,
    secret_path,
)
from testkit.core import Core, Failure, dead_webhook

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket.provisioner import Services
    from libbucket.testing.memory import Verb
    from libbucket.types import BucketOptions, ObjectBucket

NO_ANSWER = Failure(code=0)


def writes_to(plural: str, namespace: str, failure: Failure) -> Callable[[Request], Failure | None]:
    """The API server fails on writes of one kind in one namespace."""

    def answer(request: Request) -> Failure | None:
        path = request.path.removesuffix("/status")
        is_kind = f"/namespaces/{namespace}/{plural}" in path and request.method != "GET"
        is_status = request.path.endswith("/status")
        return failure if is_kind and is_status is plural.endswith("claims") else None

    return answer


def everything(failure: Failure) -> Callable[[Request], Failure | None]:
    return lambda _request: failure


class Away(MemoryProvisioner):
    """A store that fails before or after a request was sent."""

    def __init__(self, services: Services) -> None:
        super().__init__(services, hook=self._fail)
        self.error: Exception | None = None
        self.of_host = ""

    def _fail(self, _verb: Verb, request: BucketOptions | ObjectBucket) -> None:
        if self.error is not None and request.parameters.get("host", "") == self.of_host:
            raise self.error


def away() -> tuple[Core, Away]:
    core = Core(Away)
    assert isinstance(core.provisioner, Away)
    return core, core.provisioner


def keys_of(core: Core, key: str) -> dict[str, str]:
    secret = core.find(secret_path(key))
    assert secret is not None
    return {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}


def identities(core: Core) -> int:
    return sum(len(identity.keys) for identity in core.store.identities.values())


# Bounded input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["1e3000000", "1e400000", "9" * 50_000, "1e9999999999"])
def test_a_quantity_that_takes_minutes_to_write_out_is_an_invalid_config(size: str) -> None:
    core = Core()
    poisoned = core.create_claim("poisoned", bucketName="poisoned-1", additionalConfig={"maxObjects": size})
    other = core.create_claim("photos", namespace="other")
    assert core.reconcile(poisoned).result == Reason.INVALID_CONFIG
    assert "additionalConfig" in core.condition(poisoned)["message"]
    assert core.reconcile(other).result == Result.BOUND


def test_a_value_that_is_too_long_is_an_invalid_config_that_names_its_key() -> None:
    core = Core()
    key = core.create_claim("photos", bucketName="photos-1", additionalConfig={"maxObjects": "1" * 65_537})
    assert core.reconcile(key).result == Reason.INVALID_CONFIG
    assert "spec.additionalConfig.maxObjects has 65,537 characters" in core.condition(key)["message"]
    assert core.phase(key) == "Failed"


def test_thousands_of_keys_are_an_invalid_config() -> None:
    core = Core()
    key = core.create_claim("photos", bucketName="photos-1", additionalConfig={f"k{n}": "x" for n in range(5000)})
    assert core.reconcile(key).result == Reason.INVALID_CONFIG
    assert "5,000 keys" in core.condition(key)["message"]


# What the API server refuses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("plural", ["secrets", "configmaps"])
@pytest.mark.parametrize(
    "failure",
    [
        dead_webhook(),
        Failure(
            code=403, reason="Forbidden", message="exceeded quota: no-secrets, requested: secrets=1, used: secrets=0"
        ),
        Failure(code=413, reason="RequestEntityTooLarge", message="limit is 3145728"),
        Failure(code=500, message="etcdserver: request is too large"),
        Failure(code=504, reason="Timeout", message="webhook took too long"),
        NO_ANSWER,
    ],
    ids=lambda failure: f"{failure.code}-{failure.message[:20]}",
)
def test_a_refusal_in_one_namespace_is_reported_on_its_claims_only(plural: str, failure: Failure) -> None:
    core = Core()
    bad = [core.create_claim(name, namespace="bad") for name in ("one", "two")]
    good = [core.create_claim(f"claim-{number}", namespace="good") for number in range(5)]
    core.client.on_request = writes_to(plural, "bad", failure)
    for key in bad:
        outcome = core.reconcile(key)
        assert outcome.result == Reason.REJECTED_BY_CLUSTER
        assert outcome.retry is Retry.SLOWLY
        assert failure.message[:60] in core.condition(key)["message"]
    assert not core.cluster.is_open
    for key in good:
        core.cluster.check(key)
        assert core.reconcile(key).result == Result.BOUND


def test_a_claim_that_is_stuck_behind_a_webhook_makes_one_key_and_binds_with_it() -> None:
    core = Core()
    key = core.create_claim("photos")
    core.client.on_request = writes_to("secrets", "shop", dead_webhook())
    core.reconcile(key)
    (identity,) = core.store.identities.values()
    issued = dict(identity.keys)
    core.reconcile(key, times=20)
    assert identity.keys == issued, "each retry made new keys"
    assert len([one for one in core.client.events if one["reason"] == "RejectedByCluster"]) == 1
    core.client.on_request = lambda _request: None
    assert core.reconcile(key).result == Result.BOUND
    assert keys_of(core, key)["AWS_ACCESS_KEY_ID"] in issued


def test_credentials_that_are_in_no_secret_are_dropped_when_leadership_is_lost() -> None:
    core = Core()
    key = core.create_claim("photos")
    core.client.on_request = writes_to("secrets", "shop", dead_webhook())
    core.reconcile(key)
    issued = {key for identity in core.store.identities.values() for key in identity.keys}
    core.reconciler.leadership_lost(lambda lost: lost == key)
    core.client.on_request = lambda _request: None
    core.reconcile(key)
    assert keys_of(core, key)["AWS_ACCESS_KEY_ID"] not in issued


def test_credentials_that_are_in_no_secret_outlast_the_loss_of_another_shard() -> None:
    core = Core()
    key = core.create_claim("photos")
    core.client.on_request = writes_to("secrets", "shop", dead_webhook())
    core.reconcile(key)
    issued = {key for identity in core.store.identities.values() for key in identity.keys}
    core.reconciler.leadership_lost(lambda lost: lost != key)
    core.client.on_request = lambda _request: None
    core.reconcile(key)
    assert keys_of(core, key)["AWS_ACCESS_KEY_ID"] in issued


def test_a_refused_status_is_reported_by_one_event() -> None:
    core = Core()
    key = core.create_claim("photos")
    core.client.on_request = writes_to("objectbucketclaims", "shop", dead_webhook())
    for _ in range(5):
        assert core.reconcile(key).result == Reason.REJECTED_BY_CLUSTER
    (event,) = core.client.events
    assert event["reason"] == "RejectedByCluster"
    assert "validate.policies.example.com" in event["message"]
    (identity,) = core.store.identities.values()
    assert list(identity.keys) == [keys_of(core, key)["AWS_ACCESS_KEY_ID"]], "retries made new keys"
    core.client.on_request = lambda _request: None
    assert core.reconcile(key).result == Result.BOUND


def test_an_api_server_that_does_not_answer_its_probe_either_is_down_for_all() -> None:
    core = Core()
    key = core.create_claim("photos")
    core.client.on_request = everything(NO_ANSWER)
    outcome = core.reconcile(key)
    assert outcome.result == Reason.CLUSTER_UNAVAILABLE
    assert outcome.retry is Retry.SOON
    assert core.cluster.is_open


def test_a_secret_that_cannot_be_read_concerns_its_claim_alone() -> None:
    core = Core()
    key = core.create_claim("photos")
    core.reconcile(key)
    undecryptable = Failure(code=500, message="Internal error occurred: unable to transform key")
    core.client.on_request = lambda request: undecryptable if "/secrets/photos" in request.path else None
    core.patch(secret_path(key), {"metadata": {"annotations": {"edited": "yes"}}})
    outcome = core.reconcile(key)
    assert outcome.result == Reason.REJECTED_BY_CLUSTER
    assert not core.cluster.is_open
    assert core.phase(key) == "Bound"
    assert core.condition(key)["status"] == "True", "it goes on serving as far as is known"


# Deletion of what never existed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [StoreUnavailable("host unknown"), InvalidParameters(["endpoint is wrong"])],
    ids=["host", "parameters"],
)
def test_a_claim_that_never_reached_its_store_is_deleted_at_once(error: Exception) -> None:
    core, store = away()
    store.error = error
    key = core.create_claim("photos")
    core.reconcile(key, times=3)
    core.delete_claim(key)
    assert core.reconcile(key).result == Result.RELEASED
    assert core.find(claim_path(key)) is None
    assert store.calls["delete"] == 0


def test_a_claim_that_may_have_reached_its_store_waits_for_it() -> None:
    core, store = away()
    key = core.create_claim("photos")
    core.client.on_request = writes_to("secrets", "shop", dead_webhook())
    core.reconcile(key)  # the bucket is there
    core.client.on_request = lambda _request: None
    store.error = StoreUnavailable("host unknown")
    core.reconcile(key)
    core.delete_claim(key)
    assert core.reconcile(key).result == Reason.STORE_UNAVAILABLE
    store.error = None
    assert core.reconcile(key).result == Result.RELEASED
    assert core.store.buckets == {}


@pytest.mark.parametrize("error", [AccessDenied("wrong password"), StoreUnavailable("no answer in time")])
def test_a_recreated_class_is_used_if_the_recorded_parameters_never_worked(
    error: ProvisionerError, monkeypatch: pytest.MonkeyPatch
) -> None:
    core, store = away()
    monkeypatch.setattr(Away, "tracks_requests", False)  # something may have been sent
    store.error, store.of_host = error, "wrong.invalid"
    core.request("DELETE", class_path("buckets"))
    core.create_class(parameters={"host": "wrong.invalid"})
    key = core.create_claim("photos")
    core.reconcile(key, times=2)
    core.delete_claim(key)
    assert core.reconcile(key).result == error.reason
    core.request("DELETE", class_path("buckets"))
    core.create_class(parameters={"host": "right.invalid"})
    assert core.reconcile(key).result == Result.RELEASED
    assert any("never worked" in event["message"] for event in core.client.events)


def test_a_recreated_class_is_not_used_if_the_recorded_parameters_worked() -> None:
    core, store = away()
    store.of_host = "first.invalid"
    core.request("DELETE", class_path("buckets"))
    core.create_class(parameters={"host": "first.invalid"})
    key = core.create_claim("photos")
    core.reconcile(key)
    core.request("DELETE", class_path("buckets"))
    core.create_class(parameters={"host": "second.invalid"})
    store.error = StoreUnavailable("no answer in time")
    core.delete_claim(key)
    assert core.reconcile(key).result == Reason.STORE_UNAVAILABLE
    store.error = None
    assert core.reconcile(key).result == Result.RELEASED


def test_a_store_that_is_only_slow_has_worked() -> None:
    core, store = away()
    store.error, store.of_host = NotReady("not yet"), "first.invalid"
    core.request("DELETE", class_path("buckets"))
    core.create_class(parameters={"host": "first.invalid"})
    key = core.create_claim("photos")
    core.reconcile(key)
    core.request("DELETE", class_path("buckets"))
    core.create_class(parameters={"host": "second.invalid"})
    store.error = StoreUnavailable("no answer in time")
    core.delete_claim(key)
    assert core.reconcile(key).result == Reason.STORE_UNAVAILABLE


# What other controllers do --------------------------------------------------------------------------------------------


def test_keys_that_another_controller_adds_to_the_secret_stay_and_cost_no_store_call() -> None:
    core = Core()
    key = core.create_claim("photos")
    core.reconcile(key)
    calls = dict(core.provisioner.calls)  # type: ignore[attr-defined]
    for number in range(5):
        core.patch(secret_path(key), {"data": {f"THEIRS_{number}": "eA=="}})
        core.patch(config_map_path(key), {"data": {f"THEIRS_{number}": "x"}})
        core.reconcile(key)
    secret, config_map = core.find(secret_path(key)), core.find(config_map_path(key))
    assert secret is not None
    assert config_map is not None
    assert all(f"THEIRS_{number}" in found["data"] for number in range(5) for found in (secret, config_map))
    assert dict(core.provisioner.calls) == calls  # type: ignore[attr-defined]
    assert [one["reason"] for one in core.client.events] == ["Bound"]


def test_our_own_keys_are_restored_and_theirs_stay() -> None:
    core = Core()
    key = core.create_claim("photos")
    core.reconcile(key)
    before = keys_of(core, key)
    core.patch(secret_path(key), {"data": {"AWS_ACCESS_KEY_ID": "eA==", "THEIRS": "eA=="}})
    core.patch(config_map_path(key), {"data": {"BUCKET_NAME": "x", "THEIRS": "x"}})
    core.reconcile(key)
    after = keys_of(core, key)
    assert after.pop("THEIRS") == "x"
    assert set(after) == set(before)
    config_map = core.find(config_map_path(key))
    assert config_map is not None
    assert config_map["data"]["BUCKET_NAME"] == "photos-1"
    assert config_map["data"]["THEIRS"] == "x"


def test_a_working_key_is_not_replaced_when_a_node_refuses_it() -> None:
    core = Core()
    key = core.create_claim("photos")
    core.reconcile(key)
    before = keys_of(core, key)
    core.store.distrusts = True
    for _ in range(6):
        core.reconcile(key, recheck=Recheck.DRIFT_CHECK)
        core.reconcile(key, recheck=Recheck.FULL)
    core.store.distrusts = False
    assert keys_of(core, key) == before
    assert identities(core) == 1


@pytest.mark.parametrize("finalizer", ["example.com/audit", "foregroundDeletion"])
def test_finalizers_that_others_add_during_a_deletion_are_kept(finalizer: str) -> None:
    core, store = away()
    key = core.create_claim("photos")
    core.reconcile(key)
    path = bucket_path("obc-shop-photos")

    def adds_finalizer(_verb: str, _request: object) -> None:
        core.request("PATCH", path, {"metadata": {"finalizers": [FINALIZER, finalizer]}})

    store._hook = adds_finalizer
    core.delete_claim(key)
    assert core.reconcile(key).result == Result.RELEASED
    left = core.find(path)
    assert left is not None, "the object went without waiting for another controller"
    assert left["metadata"]["finalizers"] == [finalizer]


def test_the_phase_released_is_never_written_to_another_claims_object_bucket() -> None:
    core = Core()
    victim = core.create_claim("c", namespace="a-b", bucketName="victim")
    core.reconcile(victim)
    stale = core.caches.buckets.get("obc-a-b-c")
    assert stale is not None
    core.request("PATCH", bucket_path("obc-a-b-c"), {"metadata": {"finalizers": None}})
    core.request("DELETE", bucket_path("obc-a-b-c"))
    core.sync()
    other = core.create_claim("b-c", namespace="a", bucketName="other")
    core.reconcile(other)
    assert core.claim(other)["spec"]["objectBucketName"] == "obc-a-b-c"
    core.delete_claim(victim)
    core.caches.buckets.discard(core.caches.buckets.get("obc-a-b-c"))  # type: ignore[arg-type]
    core.caches.buckets._removed.clear()
    core.caches.buckets.observe(stale)  # a replica whose watch went silent before all this
    core.reconciler.reconcile(victim)
    assert "other" in core.store.buckets
    assert core.phase(other) == "Bound"
    found = core.find(bucket_path("obc-a-b-c"))
    assert found is not None
    assert found["status"]["phase"] == "Bound"


# Finalizers removed by force  ---------------------------------------------------------------------------------------


def tear_off(core: Core, key: str) -> None:
    core.request("PATCH", claim_path(key), {"metadata": {"finalizers": None}})
    core.request("DELETE", claim_path(key))
    core.sync()


def test_a_claim_that_went_without_its_finalizer_is_released_all_the_same() -> None:
    core = Core()
    key = core.create_claim("photos")
    core.reconcile(key)
    tear_off(core, key)
    assert core.reconciler.count_unclaimed() == 1
    assert core.reconcile(key).result == Result.RELEASED
    assert core.store.buckets == {}
    assert core.store.identities == {}
    assert core.find(bucket_path("obc-shop-photos")) is None
    assert core.reconciler.count_unclaimed() == 0


def test_with_retain_the_bucket_stays_and_the_credentials_go() -> None:
    core = Core()
    core.create_class("kept", reclaim_policy="Retain")
    key = core.create_claim("photos", storage_class="kept")
    core.reconcile(key)
    tear_off(core, key)
    core.reconcile(key)
    assert list(core.store.buckets) == ["photos-1"]
    assert core.store.identities == {}


def test_with_purge_after_the_bucket_waits_as_after_any_deletion() -> None:
    core = Core()
    core.create_class("later", parameters={"purgeAfter": "1h"})
    key = core.create_claim("photos", storage_class="later")
    core.reconcile(key)
    tear_off(core, key)
    core.reconcile(key, times=2)
    assert list(core.store.buckets) == ["photos-1"]
    assert core.store.identities == {}
    core.clock.turn(3601)
    core.reconcile(key, times=3)
    assert core.store.buckets == {}


def test_a_claim_that_only_the_cache_does_not_know_is_not_released() -> None:
    core = Core()
    key = core.create_claim("photos")
    core.reconcile(key)
    core.caches.claims.discard(core.caches.claims.get(key))  # type: ignore[arg-type]
    core.reconciler.reconcile(key)
    assert list(core.store.buckets) == ["photos-1"]


def test_without_the_resource_definition_of_claims_nothing_is_released() -> None:
    core = Core()
    key = core.create_claim("photos")
    core.reconcile(key)
    core.caches.claims.discard(core.caches.claims.get(key))  # type: ignore[arg-type]

    def no_such_kind(request: Request) -> Failure | None:
        return Failure(code=404) if "/objectbucketclaims" in request.path else None

    core.client.on_request = no_such_kind
    core.reconciler.reconcile(key)
    assert list(core.store.buckets) == ["photos-1"]


def test_many_claims_that_are_missing_at_once_are_left_for_a_person() -> None:
    core = Core()
    keys = [core.create_claim(f"claim-{number}", bucketName=f"bucket-{number}") for number in range(10)]
    for key in keys:
        core.reconcile(key)
    for key in keys:
        tear_off(core, key)
    for key in keys:
        core.reconcile(key)
    assert len(core.store.buckets) == 10
    assert core.reconciler.count_unclaimed() == 10


def test_a_restored_object_bucket_without_a_status_is_no_deletion() -> None:
    core = Core()
    key = core.create_claim("photos")
    core.reconcile(key)
    tear_off(core, key)
    core.request("PATCH", bucket_path("obc-shop-photos") + "/status", {"status": {"phase": None}})
    core.reconcile(key)
    assert list(core.store.buckets) == ["photos-1"]


# Outages, memory and noise --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [StoreUnavailable("down"), Throttled("busy")])
@pytest.mark.parametrize("recheck", [Recheck.DRIFT_CHECK, Recheck.FULL])
def test_a_drift_check_that_meets_an_outage_writes_nothing(error: Exception, recheck: Recheck) -> None:
    core, store = away()
    keys = [core.create_claim(f"claim-{number}", bucketName=f"bucket-{number}") for number in range(20)]
    for key in keys:
        core.reconcile(key)
    store.error = error
    core.client.requests.clear()
    for key in keys:
        assert core.reconcile(key, recheck=recheck).retry is Retry.SOON
    assert [one for one in core.client.requests if not one.startswith("GET")] == []
    assert {core.condition(key)["status"] for key in keys} == {"True"}


def test_claims_that_are_held_back_by_an_open_circuit_are_written_once() -> None:
    core, store = away()
    keys = [core.create_claim(f"claim-{n}", namespace=f"tenant-{n}", bucketName=f"bucket-{n}") for n in range(6)]
    store.error = StoreUnavailable("down")
    for key in keys:
        core.reconcile(key)
    core.client.requests.clear()
    for key in keys:
        core.reconcile(key, times=3)
    statuses = [one for one in core.client.requests if "/status" in one]
    assert len(statuses) <= len(keys)


def test_a_deleted_claim_is_dropped_from_memory() -> None:
    core = Core()
    for number in range(50):
        key = core.create_claim(f"claim-{number}", bucketName=f"bucket-{number}")
        core.reconcile(key, times=2)
        core.delete_claim(key)
        core.reconcile(key, times=2)
    reconciler = core.reconciler
    assert reconciler._reporter._said == {}
    assert reconciler._observer._intact == {}
    assert reconciler._reporter._event_budget._left == {}


def test_after_a_deletion_no_further_requests_are_made() -> None:
    core = Core()
    key = core.create_claim("photos")
    core.reconcile(key)
    core.delete_claim(key)
    assert core.reconcile(key).retry is Retry.NEXT_TURN
    core.client.requests.clear()
    stale = list(core.caches.buckets)
    assert stale == []
    assert core.reconciler.reconcile(key).result == Result.IGNORED
    assert core.client.requests == []


def test_a_purge_that_waits_is_requeued_at_its_time() -> None:
    core = Core()
    core.create_class("later", parameters={"purgeAfter": "1h"})
    key = core.create_claim("photos", storage_class="later")
    core.reconcile(key)
    core.delete_claim(key)
    assert core.reconcile(key).retry is Retry.NEXT_TURN
    assert core.reconcile(key).requeue_after == pytest.approx(3600)


def test_an_undecodable_object_bucket_blocks_no_claim() -> None:
    core = Core()
    body = {"metadata": {"name": "obc-shop-photos"}, "spec": {"endpoint": {"bucketPort": "not a number"}}}
    collection = bucket_path("x").rpartition("/")[0]
    core.client.cluster, _ = respond(core.client.cluster, Request(method="POST", path=collection, body=dump(body)))
    namespace, spec = "shop", {"bucketName": "photos-1"}
    claim = {"metadata": {"name": "photos", "namespace": namespace}, "spec": {"storageClassName": "buckets", **spec}}
    core.client.cluster, _ = respond(
        core.client.cluster,
        Request(method="POST", path=claim_path("shop/photos").rpartition("/")[0], body=dump(claim)),
    )
    core.sync("objectbucketclaims")
    assert core.reconciler.reconcile("shop/photos").result == Result.BOUND
    core.sync("objectbucketclaims")
    names = [path for path in core.client.cluster.objects if plural_of(path) == "objectbuckets"]
    assert len(names) == 2


def test_a_recreated_claim_does_not_get_the_failure_of_the_earlier_one() -> None:
    core, store = away()
    key = core.create_claim("photos")

    def is_made_again(_verb: str, _request: object) -> None:
        tear_off(core, key)
        core.create_claim("photos")
        raise AccessDenied("of the earlier claim")

    store._hook = is_made_again
    core.reconcile(key)
    assert core.claim(key).get("status") is None


def test_reasons_that_alternate_do_not_write_an_event_with_every_retry() -> None:
    core, store = away()
    key = core.create_claim("photos")
    for number in range(100):
        store.error = AccessDenied("denied") if number % 2 else NotReady("not yet")
        core.reconcile(key)
    assert len(core.client.events) <= 26


# Credentials that can't be revoked -----------------------------------------------------------------------------------


def a_lasting_claim(core: Core, store: Away, **the_class: Any) -> str:
    """One that is being deleted, whose credentials the store can't revoke."""
    core.create_class("lasting", **the_class)
    key = core.create_claim("photos", storage_class="lasting")
    core.reconcile(key)
    store.error = ExpiresLater("the last credentials expire at noon", delay=3600)
    core.request("DELETE", claim_path(key))
    return key


def test_a_claim_whose_bucket_waits_for_its_purge_does_not_wait_for_credentials_that_expire_by_themselves() -> None:
    core, store = away()
    key = a_lasting_claim(core, store, parameters={"purgeAfter": "72h"})
    assert core.reconcile(key).result == Result.RELEASED
    assert core.find(claim_path(key)) is None
    assert core.find(secret_path(key)) is None
    left = core.find(bucket_path("obc-shop-photos"))
    assert left is not None
    assert PURGE_AT in left["metadata"]["annotations"]
    (said,) = [event["message"] for event in core.client.events if "will be deleted after" in event["message"]]
    assert said.startswith("the last credentials expire at noon; bucket photos-1 ")
    assert list(core.store.buckets) == ["photos-1"]


def test_a_claim_whose_bucket_stays_does_not_wait_for_credentials_that_expire_by_themselves() -> None:
    core, store = away()
    key = a_lasting_claim(core, store, reclaim_policy="Retain")
    assert core.reconcile(key).result == Result.RELEASED
    assert core.find(claim_path(key)) is None
    assert core.find(secret_path(key)) is None
    left = core.find(bucket_path("obc-shop-photos"))
    assert left is not None
    assert left["metadata"]["deletionTimestamp"]
    assert any("expire at noon" in event["message"] for event in core.client.events)
    waiting = core.reconcile(key)
    assert (waiting.result, waiting.delay) == (Reason.NOT_READY, 3600)
    assert core.store.identities != {}
    assert core.reconciler.count_unclaimed() == 0, "it is known why that ObjectBucket is there"
    store.error = None
    core.reconcile(key)
    assert core.store.identities == {}
    assert core.find(bucket_path("obc-shop-photos")) is None
    assert list(core.store.buckets) == ["photos-1"]


def test_a_release_that_was_cut_off_before_credentials_expired_is_continued() -> None:
    core, store = away()
    key = a_lasting_claim(core, store, reclaim_policy="Retain")
    core.client.on_request = writes_to("secrets", "shop", NO_ANSWER)
    assert core.reconcile(key).result != Result.RELEASED
    assert core.find(claim_path(key)) is not None
    core.client.on_request = lambda _request: None
    core.reconcile(key, times=2)
    assert core.find(claim_path(key)) is None
    assert core.find(bucket_path("obc-shop-photos")) is not None


def test_a_claim_whose_bucket_goes_waits_for_credentials_that_expire_by_themselves() -> None:
    core, store = away()
    key = a_lasting_claim(core, store)
    assert core.reconcile(key).result == Reason.NOT_READY
    assert core.find(claim_path(key)) is not None
    assert "expire at noon" in core.condition(key)["message"]
    store.error = None
    core.reconcile(key)
    assert core.find(claim_path(key)) is None
    assert core.store.buckets == {}


def test_a_claim_of_the_same_name_waits_for_credentials_of_an_earlier_one_to_expire() -> None:
    core, store = away()
    key = a_lasting_claim(core, store, reclaim_policy="Retain")
    core.reconcile(key)
    core.create_claim("photos", bucketName="photos-2")
    assert core.reconcile(key).result == Reason.NOT_READY
    store.error = None
    core.reconcile(key, times=3)
    assert core.phase(key) == "Bound"
