"""Every row of the contract's "Meaning", on a real API server: what happens on each event."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client.exceptions import ApiException

from libbucket import AdminSecretMissing, StoreUnavailable
from libbucket.testing.binaries import kubectl_binary
from libbucket.testing.builders import a_class
from libbucket.testing.memory_store import Bucket
from testkit.cluster.memory_environment import OBC, Mortal, condition

if TYPE_CHECKING:
    from testkit.cluster.memory_environment import MemoryEnvironment


def test_a_class_with_a_bucket_name_grants_access_to_that_bucket(world: MemoryEnvironment) -> None:
    world.store.buckets["archive"] = Bucket(stamp={})
    brownfield = world.make_class(f"{world.class_name}-b", parameters={"bucketName": "archive"})
    with world.core():
        world.claim(storage_class=brownfield, spec={})
        claim = world.wait_bound()
        assert world.calls == {"grant": 1}
        assert claim["spec"]["bucketName"] == "archive"
        world.delete_claim()
        assert world.calls == {"grant": 1, "revoke": 1}

    assert set(world.store.buckets) == {"archive"}
    assert not world.store.identities
    world.delete_class(brownfield)


def test_names_in_a_brownfield_claim_are_ignored(world: MemoryEnvironment) -> None:
    world.store.buckets["archive"] = Bucket(stamp={})
    brownfield = world.make_class(f"{world.class_name}-b", parameters={"bucketName": "archive"})
    with world.core():
        world.claim(storage_class=brownfield, spec={"bucketName": "mine", "generateBucketName": "other"})
        world.wait_bound()

    assert world.admin.get(world.path("configmaps"))["data"]["BUCKET_NAME"] == "archive"
    assert set(world.store.buckets) == {"archive"}
    world.delete_class(brownfield)


def test_a_claim_without_a_name_fails_and_binds_after_an_edit(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim(spec={})
        claim = world.wait_reason("InvalidClaim")
        assert claim["status"]["phase"] == "Failed"
        assert condition(claim, "Stalled")["status"] == "True"
        assert not world.calls

        world.patch_claim({"spec": {"generateBucketName": "now"}})
        bound = world.wait_bound()

    assert bound["spec"]["bucketName"].startswith("now-")
    assert condition(bound, "Stalled") == {}


def test_of_two_names_the_bucket_name_wins(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim(spec={"bucketName": "exactly-this", "generateBucketName": "other"})
        world.wait_bound()

    assert set(world.store.buckets) == {"exactly-this"}


def test_with_retain_the_credentials_go_and_the_bucket_stays(world: MemoryEnvironment) -> None:
    retaining = world.make_class(f"{world.class_name}-r", reclaim_policy="Retain")
    with world.core():
        world.claim(storage_class=retaining)
        claim = world.wait_bound()
        world.delete_claim()

    assert set(world.store.buckets) == {claim["spec"]["bucketName"]}
    assert not world.store.identities
    world.delete_class(retaining)


def test_what_the_object_bucket_says_decides_at_deletion(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim()
        claim = world.wait_bound()
        world.admin.patch(world.ob_path(), {"spec": {"reclaimPolicy": "Retain"}})
        world.delete_claim()

    assert set(world.store.buckets) == {claim["spec"]["bucketName"]}


def test_an_edited_additional_config_is_applied_and_the_credentials_stay(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim()
        bucket = world.store.buckets[world.wait_bound()["spec"]["bucketName"]]
        before = world.secret()
        for wanted, expected in (("7", 7), ("9", 9), (None, None)):
            generation = world.patch_claim({"spec": {"additionalConfig": {"maxObjects": wanted}}})["metadata"][
                "generation"
            ]
            world.wait_claim(lambda c, g=generation: c["status"].get("observedGeneration", 0) >= g)  # type: ignore[misc]
            assert bucket.max_objects == expected

        assert world.secret() == before


def test_a_key_that_was_never_in_the_claim_leaves_the_bucket_alone(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim()
        bucket = world.store.buckets[world.wait_bound()["spec"]["bucketName"]]
        bucket.max_objects = 5  # set by somebody at the store
        generation = world.patch_claim({"spec": {"additionalConfig": {"unheard": "of"}}})["metadata"]["generation"]
        world.wait_claim(lambda c: c["status"].get("observedGeneration", 0) >= generation)

    assert bucket.max_objects == 5
    world.wait_event("Warning", "UnmanagedConfig")


@pytest.mark.parametrize("field", ["bucketName", "generateBucketName", "storageClassName"])
def test_an_edit_of_a_name_is_refused_by_the_crd(world: MemoryEnvironment, field: str) -> None:
    with world.core():
        world.claim()
        world.wait_bound()
        with pytest.raises(ApiException) as refused:
            world.patch_claim({"spec": {field: "another"}})

    assert refused.value.status == 422
    assert field in str(refused.value.body)


def test_a_claim_waits_for_its_class_without_a_write_and_binds_when_it_appears(world: MemoryEnvironment) -> None:
    late = f"{world.class_name}-late"
    with world.core():
        world.claim(storage_class=late)
        world.claim("other")  # served after the first one was looked at
        world.wait_bound("other")
        assert "status" not in world.get_claim()

        world.make_class(late)
        world.wait_bound()
    world.delete_class(late)


def test_a_claim_that_was_ours_says_that_its_class_is_missing(world: MemoryEnvironment) -> None:
    late = f"{world.class_name}-late"
    with world.core():
        world.claim(storage_class=late, labels={"bucket-provisioner": world.label})
        claim = world.wait_reason("StorageClassMissing")
        assert claim["status"]["phase"] == "Pending"
        world.make_class(late)
        world.wait_bound()
    world.delete_class(late)


def test_a_bound_claim_is_deleted_although_its_class_is_gone(world: MemoryEnvironment) -> None:
    gone = world.make_class(f"{world.class_name}-gone")
    with world.core():
        world.claim(storage_class=gone)
        world.wait_bound()
        world.delete_class(gone)
        world.delete_claim()

    assert not world.store.buckets
    assert not world.store.identities


def test_a_removed_secret_is_restored_with_a_new_key_and_the_old_one_is_gone(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim()
        world.wait_bound()
        before = world.secret()
        world.admin.delete(world.path("secrets"))
        world.admin.wait_for(world.path("secrets"), lambda found: found is not None)
        world.wait_bound()

    after = world.secret()
    assert after["AWS_ACCESS_KEY_ID"] != before["AWS_ACCESS_KEY_ID"]
    (identity,) = world.store.identities.values()
    assert list(identity.keys) == [after["AWS_ACCESS_KEY_ID"]]


def test_an_edited_secret_is_restored_and_keys_of_others_stay(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim()
        world.wait_bound()
        world.admin.patch(world.path("secrets"), {"data": {"AWS_ACCESS_KEY_ID": "bWluZQ==", "MORE": "bW9yZQ=="}})
        world.admin.wait_for(
            world.path("secrets"),
            lambda found: (
                found is not None
                and set(found["data"]) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MORE"}
                and found["data"]["AWS_ACCESS_KEY_ID"] != "bWluZQ=="
            ),
        )
    (identity,) = world.store.identities.values()
    assert list(identity.keys) == [world.secret()["AWS_ACCESS_KEY_ID"]]


def test_keys_that_another_controller_adds_stay_and_cost_no_call_to_the_store(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim()
        world.wait_bound()
        calls = world.calls
        for number in range(5):
            for plural in ("secrets", "configmaps"):
                world.admin.patch(world.path(plural), {"data": {f"MORE_{number}": "bW9yZQ=="}})
        # An edit of the claim's label is restored in one of the reconciles that come after all those.
        world.patch_claim({"metadata": {"labels": {"bucket-provisioner": None}}})
        world.wait_claim(lambda claim: "bucket-provisioner" in claim["metadata"].get("labels", {}))
        for plural in ("secrets", "configmaps"):
            assert {f"MORE_{number}" for number in range(5)} <= set(world.admin.get(world.path(plural))["data"])
        assert world.calls == calls


@pytest.mark.parametrize("edit", [{"data": {"BUCKET_HOST": "elsewhere"}}, {"data": {"BUCKET_NAME": None}}, None])
def test_a_config_map_that_was_edited_or_removed_is_restored_without_a_call_to_the_store(
    world: MemoryEnvironment, edit: dict[str, object] | None
) -> None:
    with world.core():
        world.claim()
        world.wait_bound()
        wanted, calls = world.admin.get(world.path("configmaps"))["data"], world.calls
        if edit is None:
            world.admin.delete(world.path("configmaps"))
        else:
            world.admin.patch(world.path("configmaps"), edit)
        world.admin.wait_for(
            world.path("configmaps"), lambda found: found is not None and found["data"] == wanted, timeout=20
        )
        assert world.calls == calls


def test_labels_that_somebody_adds_stay_and_cost_no_call_to_the_store(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim()
        world.wait_bound()
        calls = world.calls
        paths = {world.path("secrets"): False, world.path("configmaps"): False}
        for path, keeps_finalizer in (paths | {world.claim_path(): True, world.ob_path(): True}).items():
            world.admin.patch(path, {"metadata": {"labels": {"team": "shop"}, "finalizers": None}})
            world.admin.wait_for(
                path,
                lambda found, wanted=keeps_finalizer: (
                    found is not None  # type: ignore[misc]
                    and found["metadata"]["labels"].get("team") == "shop"
                    and wanted is ("objectbucket.io/finalizer" in found["metadata"].get("finalizers", []))
                ),
            )
        assert world.calls == calls


def test_an_object_bucket_that_is_deleted_by_hand_is_made_again(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim()
        world.wait_bound()
        before, keys = world.admin.get(world.ob_path()), world.secret()
        world.admin.delete(world.ob_path())
        after = world.admin.wait_for(
            world.ob_path(),
            lambda found: (
                found is not None
                and found["metadata"]["uid"] != before["metadata"]["uid"]
                and found.get("status", {}).get("phase") == "Bound"
            ),
        )

    assert after is not None
    assert after["spec"] == before["spec"]
    assert world.secret() == keys
    assert len(world.store.buckets) == 1


def test_an_object_bucket_that_vanished_while_we_were_away_is_rebuilt(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim()
        world.wait_bound()
        keys = world.secret()
    world.admin.patch(world.ob_path(), {"metadata": {"finalizers": None}})
    world.admin.delete(world.ob_path())
    world.admin.wait_gone(world.ob_path())

    with world.core():
        world.admin.wait_for(
            world.ob_path(), lambda found: found is not None and found.get("status", {}).get("phase") == "Bound"
        )
        world.wait_bound()
        assert world.secret() == keys
        world.delete_claim()
    assert not world.store.buckets


def test_a_bucket_and_user_that_are_gone_already_do_not_hold_a_deletion_up(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim()
        world.wait_bound()
        world.store.buckets.clear()
        world.store.identities.clear()
        world.delete_claim()


def test_claims_of_other_provisioners_are_never_written_to(world: MemoryEnvironment) -> None:
    theirs = f"{world.class_name}-theirs"
    world.admin.create("/apis/storage.k8s.io/v1/storageclasses", a_class(name=theirs, provisioner="other.io/bucket"))
    with world.core():
        before = world.claim("theirs", storage_class=theirs)
        world.claim()
        world.wait_bound()
        assert world.get_claim("theirs")["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert world.events("theirs") == []
    world.delete_class(theirs)


def test_a_restart_with_bound_claims_calls_no_store_and_writes_nothing(world: MemoryEnvironment) -> None:
    with world.core():
        for number in range(5):
            world.claim(f"claim-{number}")
        for number in range(5):
            world.wait_bound(f"claim-{number}")
    paths = [world.claim_path(f"claim-{number}") for number in range(5)]
    before = [world.admin.get(path)["metadata"]["resourceVersion"] for path in paths]

    with world.core():
        world.claim("last")
        world.wait_bound("last")
        assert world.calls == {"provision": 1}

    assert [world.admin.get(path)["metadata"]["resourceVersion"] for path in paths] == before


def test_another_version_of_the_provisioner_goes_through_the_store_once(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim()
        world.wait_bound()
        keys = world.secret()
    with world.core(version="2"):
        world.claim("other")
        world.wait_bound("other")
        world.admin.wait_for(world.claim_path(), lambda _claim: world.calls["provision"] == 2)
    with world.core(version="2"):
        world.claim("third")
        world.wait_bound("third")
        assert world.calls == {"provision": 1}
    assert world.secret() == keys


def test_other_finalizers_labels_and_annotations_are_kept_to_the_end(world: MemoryEnvironment) -> None:
    extra: dict[str, Any] = {"finalizers": ["example.com/hold"]}
    extra |= {"labels": {"team": "shop"}, "annotations": {"note": "mine"}}
    with world.core():
        world.claim(**extra)
        claim = world.wait_bound()
        assert claim["metadata"]["finalizers"] == ["example.com/hold", "objectbucket.io/finalizer"]
        assert claim["metadata"]["labels"]["team"] == "shop"
        assert claim["metadata"]["annotations"]["note"] == "mine"
        world.delete_claim(wait=False)
        held = world.admin.wait_for(
            world.claim_path(),
            lambda found: found is not None and found["metadata"]["finalizers"] == ["example.com/hold"],
        )
    assert held is not None
    assert not world.store.buckets
    world.patch_claim({"metadata": {"finalizers": None}})


def test_a_claim_that_went_without_its_finalizer_was_deleted_all_the_same(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim()
        world.wait_bound()
    world.patch_claim({"metadata": {"finalizers": None}})
    world.delete_claim()
    with world.core():
        world.claim("other")
        world.wait_bound("other")
        world.admin.wait_gone(world.ob_path())
        assert len(world.store.buckets) == 1
        assert len(world.store.identities) == 1


def test_a_namespace_full_of_claims_can_be_deleted(world: MemoryEnvironment) -> None:
    with world.core():
        for number in range(3):
            world.claim(f"claim-{number}")
            world.wait_bound(f"claim-{number}")
        world.claim("nameless", spec={})
        world.wait_reason("InvalidClaim", "nameless")
        world.admin.delete(f"/api/v1/namespaces/{world.namespace}")
        world.admin.wait_gone(f"/api/v1/namespaces/{world.namespace}", timeout=30)
    assert not world.store.buckets
    world.admin.create("/api/v1/namespaces", {"metadata": {"name": world.namespace}})  # for the fixture to delete


def test_kubectl_wait_works_on_phase_and_condition(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim()
        for what in ("jsonpath={.status.phase}=Bound", "condition=Ready"):
            command = [str(kubectl_binary()), "--kubeconfig", str(world.cluster.kubeconfig), "wait", "obc/photos"]
            command += ["-n", world.namespace, f"--for={what}", "--timeout=15s"]
            answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
            assert answer.returncode == 0, answer.stderr


def test_the_list_of_object_buckets_holds_no_credentials(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim()
        world.wait_bound()
        keys = world.secret()
    everything = [world.admin.get(world.ob_path()), world.get_claim(), world.admin.get(world.path("configmaps"))]
    everything += world.admin.items(f"/api/v1/namespaces/{world.namespace}/events")
    assert keys["AWS_SECRET_ACCESS_KEY"] not in str(everything)
    assert world.admin.items(f"{OBC}/objectbuckets")


def test_an_object_bucket_that_vanished_before_its_claim_was_deleted_leaves_nothing_behind(
    world: MemoryEnvironment,
) -> None:
    with world.core():
        world.claim()
        world.wait_bound()
    world.admin.patch(world.ob_path(), {"metadata": {"finalizers": None}})
    world.admin.delete(world.ob_path())
    world.delete_claim(wait=False)

    with world.core():
        world.admin.wait_gone(world.claim_path())
    assert not world.store.buckets
    assert not world.store.identities


def test_a_deletion_that_was_cut_off_after_the_object_bucket_went_does_not_start_again(
    world: MemoryEnvironment,
) -> None:
    with world.core():
        world.claim()
        claim = world.wait_bound()
        world.admin.patch(world.ob_path(), {"spec": {"reclaimPolicy": "Retain"}})
    # What a release leaves that is killed before its last write: the finalizer, and nothing else.
    for path in (world.path("secrets"), world.path("configmaps")):
        world.admin.delete(path)
    world.admin.patch(world.ob_path(), {"metadata": {"finalizers": None}})
    world.admin.delete(world.ob_path())
    world.delete_claim(wait=False)

    with world.core():
        world.admin.wait_gone(world.claim_path())
        assert not world.calls
    assert set(world.store.buckets) == {claim["spec"]["bucketName"]}


def test_a_bound_claim_whose_edit_must_wait_goes_on_serving_and_says_what_it_waits_for(
    world: MemoryEnvironment,
) -> None:
    def fail(_verb: object, _request: object) -> None:
        raise StoreUnavailable("the store is away", delay=0.2)

    with world.core():
        world.claim()
        world.wait_bound()
        world.hook = fail
        world.patch_claim({"spec": {"additionalConfig": {"maxObjects": "3"}}})
        claim = world.wait_reason("StoreUnavailable")
        assert claim["status"]["phase"] == "Bound"
        assert condition(claim)["status"] == "True"
        assert condition(claim, "Reconciling")["message"] == "the store is away"

        world.hook = lambda _verb, _request: None
        claim = world.wait_claim(lambda one: not condition(one, "Reconciling"))
        assert world.store.buckets[claim["spec"]["bucketName"]].max_objects == 3
    assert world.events().count(("Warning", "StoreUnavailable")) == 1
    assert world.events().count(("Normal", "Bound")) == 1


def test_a_store_that_is_away_for_a_new_claim_makes_one_event_whatever_the_retries(world: MemoryEnvironment) -> None:
    tries: list[int] = []

    def fail(_verb: object, _request: object) -> None:
        tries.append(1)
        if len(tries) < 4:
            raise StoreUnavailable("the store is away")

    world.hook = fail
    with world.core():
        world.claim()
        waiting = world.wait_reason("StoreUnavailable")
        assert waiting["status"]["phase"] == "Pending"
        world.wait_bound()
    assert len(tries) == 4
    assert sorted(world.events()) == [("Normal", "Bound"), ("Warning", "StoreUnavailable")]


def test_a_bug_of_a_provisioner_shows_no_text_of_it(world: MemoryEnvironment) -> None:
    def leak(_verb: object, _request: object) -> None:
        raise RuntimeError("password=hunter2")

    world.hook = leak
    with world.core():
        world.claim()
        claim = world.wait_reason("InternalError")
    everything = [claim, *world.admin.items(f"/api/v1/namespaces/{world.namespace}/events")]
    assert "hunter2" not in str(everything)
    assert "RuntimeError" in condition(claim)["message"]


@pytest.mark.parametrize("writes", range(7))
def test_an_object_bucket_deleted_by_hand_is_never_forgotten_whenever_the_core_dies(
    world: MemoryEnvironment, writes: int
) -> None:
    with world.core():
        world.claim()
        world.wait_bound()
        world.admin.patch(world.ob_path(), {"spec": {"reclaimPolicy": "Retain"}})
        keys = world.secret()
    world.admin.delete(world.ob_path())
    fence = Mortal(writes)
    with world.core(check_leadership=fence):
        assert fence.died.wait(20)

    with world.core():
        world.until(lambda: is_in_place(object_bucket_of(world, world.get_claim())))
        claim = world.get_claim()
        ob = object_bucket_of(world, claim)
        assert ob is not None
        assert ob["spec"]["reclaimPolicy"] == "Retain"
        assert world.secret() == keys
        world.delete_claim()
    assert set(world.store.buckets) == {claim["spec"]["bucketName"]}
    assert not world.store.identities
    assert not world.admin.items(f"{OBC}/objectbuckets", label_selector=f"bucket-provisioner={world.label}")


def object_bucket_of(world: MemoryEnvironment, claim: dict[str, Any]) -> dict[str, Any] | None:
    return world.admin.find(f"{OBC}/objectbuckets/{claim['spec']['objectBucketName']}")


def is_in_place(ob: dict[str, Any] | None) -> bool:
    return ob is not None and "deletionTimestamp" not in ob["metadata"] and "status" in ob


def test_a_claim_whose_store_may_have_been_asked_once_is_given_back_there_whatever_is_wrong_with_its_class_later(
    world: MemoryEnvironment,
) -> None:
    errors: list[Exception] = [StoreUnavailable("not now")]

    def hook(_verb: Any, _request: Any) -> None:
        if errors and isinstance(errors[0], StoreUnavailable):
            assert world.provisioner is not None
            assert world.provisioner._services is not None
            world.provisioner._services.before_request()  # a request is sent, and its answer never comes
        if errors:
            raise errors[0]

    world.hook = hook
    with world.core():
        world.claim()
        world.wait_reason("StoreUnavailable")
    errors[:] = [AdminSecretMissing("Secret admin does not exist")]
    with world.core():
        world.wait_reason("AdminSecretMissing")
        world.admin.delete(world.claim_path())
        world.wait_claim(
            lambda c: "deletionTimestamp" in c["metadata"] and condition(c)["reason"] == "AdminSecretMissing"
        )
        errors.clear()
        world.patch_claim({"metadata": {"annotations": {"example.com/mended": "yes"}}})
        world.admin.wait_gone(world.claim_path(), timeout=60)
    assert world.calls["delete"]
