"""Semantics of claims on a real API server: the effect of each event on claim, objects and store."""

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


def test_a_class_with_a_bucket_name_grants_access_to_that_bucket(environment: MemoryEnvironment) -> None:
    environment.store.buckets["archive"] = Bucket(tags={})
    brownfield = environment.make_class(f"{environment.class_name}-b", parameters={"bucketName": "archive"})
    with environment.core():
        environment.claim(storage_class=brownfield, spec={})
        claim = environment.wait_bound()
        assert environment.calls == {"grant": 1}
        assert claim["spec"]["bucketName"] == "archive"
        environment.delete_claim()
        assert environment.calls == {"grant": 1, "revoke": 1}

    assert set(environment.store.buckets) == {"archive"}
    assert not environment.store.identities
    environment.delete_class(brownfield)


def test_names_in_a_brownfield_claim_are_ignored(environment: MemoryEnvironment) -> None:
    environment.store.buckets["archive"] = Bucket(tags={})
    brownfield = environment.make_class(f"{environment.class_name}-b", parameters={"bucketName": "archive"})
    with environment.core():
        environment.claim(storage_class=brownfield, spec={"bucketName": "mine", "generateBucketName": "other"})
        environment.wait_bound()

    assert environment.admin.get(environment.path("configmaps"))["data"]["BUCKET_NAME"] == "archive"
    assert set(environment.store.buckets) == {"archive"}
    environment.delete_class(brownfield)


def test_a_claim_without_a_name_fails_and_binds_after_an_edit(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim(spec={})
        claim = environment.wait_reason("InvalidClaim")
        assert claim["status"]["phase"] == "Failed"
        assert condition(claim, "Stalled")["status"] == "True"
        assert not environment.calls

        environment.patch_claim({"spec": {"generateBucketName": "now"}})
        bound = environment.wait_bound()

    assert bound["spec"]["bucketName"].startswith("now-")
    assert condition(bound, "Stalled") == {}


def test_of_two_names_the_bucket_name_wins(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim(spec={"bucketName": "exactly-this", "generateBucketName": "other"})
        environment.wait_bound()

    assert set(environment.store.buckets) == {"exactly-this"}


def test_retain_revokes_the_credentials_and_keeps_the_bucket(environment: MemoryEnvironment) -> None:
    retaining = environment.make_class(f"{environment.class_name}-r", reclaim_policy="Retain")
    with environment.core():
        environment.claim(storage_class=retaining)
        claim = environment.wait_bound()
        environment.delete_claim()

    assert set(environment.store.buckets) == {claim["spec"]["bucketName"]}
    assert not environment.store.identities
    environment.delete_class(retaining)


def test_the_reclaim_policy_of_the_object_bucket_decides_at_deletion(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        claim = environment.wait_bound()
        environment.admin.patch(environment.ob_path(), {"spec": {"reclaimPolicy": "Retain"}})
        environment.delete_claim()

    assert set(environment.store.buckets) == {claim["spec"]["bucketName"]}


def test_an_edited_additional_config_is_applied_and_the_credentials_stay(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        bucket = environment.store.buckets[environment.wait_bound()["spec"]["bucketName"]]
        before = environment.secret()
        for wanted, expected in (("7", 7), ("9", 9), (None, None)):
            generation = environment.patch_claim({"spec": {"additionalConfig": {"maxObjects": wanted}}})["metadata"][
                "generation"
            ]
            environment.wait_claim(lambda c, g=generation: c["status"].get("observedGeneration", 0) >= g)  # type: ignore[misc]
            assert bucket.max_objects == expected

        assert environment.secret() == before


def test_a_key_that_was_never_in_the_claim_leaves_the_bucket_alone(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        bucket = environment.store.buckets[environment.wait_bound()["spec"]["bucketName"]]
        bucket.max_objects = 5  # set at the store, out of band
        generation = environment.patch_claim({"spec": {"additionalConfig": {"unheard": "of"}}})["metadata"][
            "generation"
        ]
        environment.wait_claim(lambda c: c["status"].get("observedGeneration", 0) >= generation)

    assert bucket.max_objects == 5
    environment.wait_event("Warning", "UnmanagedConfig")


@pytest.mark.parametrize("field", ["bucketName", "generateBucketName", "storageClassName"])
def test_an_edit_of_a_name_is_refused_by_the_crd(environment: MemoryEnvironment, field: str) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
        with pytest.raises(ApiException) as refused:
            environment.patch_claim({"spec": {field: "another"}})

    assert refused.value.status == 422
    assert field in str(refused.value.body)


def test_a_claim_waits_for_its_class_without_a_write_and_binds_when_it_appears(environment: MemoryEnvironment) -> None:
    late = f"{environment.class_name}-late"
    with environment.core():
        environment.claim(storage_class=late)
        environment.claim("other")  # reconciled after the first one
        environment.wait_bound("other")
        assert "status" not in environment.get_claim()

        environment.make_class(late)
        environment.wait_bound()
    environment.delete_class(late)


def test_a_labelled_claim_reports_that_its_class_is_missing(environment: MemoryEnvironment) -> None:
    late = f"{environment.class_name}-late"
    with environment.core():
        environment.claim(storage_class=late, labels={"bucket-provisioner": environment.label})
        claim = environment.wait_reason("StorageClassMissing")
        assert claim["status"]["phase"] == "Pending"
        environment.make_class(late)
        environment.wait_bound()
    environment.delete_class(late)


def test_a_bound_claim_is_deleted_although_its_class_is_gone(environment: MemoryEnvironment) -> None:
    gone = environment.make_class(f"{environment.class_name}-gone")
    with environment.core():
        environment.claim(storage_class=gone)
        environment.wait_bound()
        environment.delete_class(gone)
        environment.delete_claim()

    assert not environment.store.buckets
    assert not environment.store.identities


def test_a_removed_secret_is_restored_with_a_new_key_and_the_old_one_is_gone(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
        before = environment.secret()
        environment.admin.delete(environment.path("secrets"))
        environment.admin.wait_for(environment.path("secrets"), lambda found: found is not None)
        environment.wait_bound()

    after = environment.secret()
    assert after["AWS_ACCESS_KEY_ID"] != before["AWS_ACCESS_KEY_ID"]
    (identity,) = environment.store.identities.values()
    assert list(identity.keys) == [after["AWS_ACCESS_KEY_ID"]]


def test_an_edited_secret_is_restored_and_keys_of_others_stay(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
        environment.admin.patch(
            environment.path("secrets"), {"data": {"AWS_ACCESS_KEY_ID": "bWluZQ==", "MORE": "bW9yZQ=="}}
        )
        environment.admin.wait_for(
            environment.path("secrets"),
            lambda found: (
                found is not None
                and set(found["data"]) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MORE"}
                and found["data"]["AWS_ACCESS_KEY_ID"] != "bWluZQ=="
            ),
        )
    (identity,) = environment.store.identities.values()
    assert list(identity.keys) == [environment.secret()["AWS_ACCESS_KEY_ID"]]


def test_keys_that_another_controller_adds_are_kept_and_cost_no_store_call(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
        calls = environment.calls
        for number in range(5):
            for plural in ("secrets", "configmaps"):
                environment.admin.patch(environment.path(plural), {"data": {f"MORE_{number}": "bW9yZQ=="}})
        # An edit of the claim's label is restored in one of the reconciles that come after all those.
        environment.patch_claim({"metadata": {"labels": {"bucket-provisioner": None}}})
        environment.wait_claim(lambda claim: "bucket-provisioner" in claim["metadata"].get("labels", {}))
        for plural in ("secrets", "configmaps"):
            assert {f"MORE_{number}" for number in range(5)} <= set(
                environment.admin.get(environment.path(plural))["data"]
            )
        assert environment.calls == calls


@pytest.mark.parametrize("edit", [{"data": {"BUCKET_HOST": "elsewhere"}}, {"data": {"BUCKET_NAME": None}}, None])
def test_a_config_map_that_was_edited_or_removed_is_restored_without_a_call_to_the_store(
    environment: MemoryEnvironment, edit: dict[str, object] | None
) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
        wanted, calls = environment.admin.get(environment.path("configmaps"))["data"], environment.calls
        if edit is None:
            environment.admin.delete(environment.path("configmaps"))
        else:
            environment.admin.patch(environment.path("configmaps"), edit)
        environment.admin.wait_for(
            environment.path("configmaps"), lambda found: found is not None and found["data"] == wanted, timeout=20
        )
        assert environment.calls == calls


def test_foreign_labels_are_kept_and_cost_no_store_call(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
        calls = environment.calls
        paths = {environment.path("secrets"): False, environment.path("configmaps"): False}
        for path, keeps_finalizer in (paths | {environment.claim_path(): True, environment.ob_path(): True}).items():
            environment.admin.patch(path, {"metadata": {"labels": {"team": "shop"}, "finalizers": None}})
            environment.admin.wait_for(
                path,
                lambda found, wanted=keeps_finalizer: (
                    found is not None  # type: ignore[misc]
                    and found["metadata"]["labels"].get("team") == "shop"
                    and wanted is ("objectbucket.io/finalizer" in found["metadata"].get("finalizers", []))
                ),
            )
        assert environment.calls == calls


def test_a_manually_deleted_object_bucket_is_recreated(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
        before, keys = environment.admin.get(environment.ob_path()), environment.secret()
        environment.admin.delete(environment.ob_path())
        after = environment.admin.wait_for(
            environment.ob_path(),
            lambda found: (
                found is not None
                and found["metadata"]["uid"] != before["metadata"]["uid"]
                and found.get("status", {}).get("phase") == "Bound"
            ),
        )

    assert after is not None
    assert after["spec"] == before["spec"]
    assert environment.secret() == keys
    assert len(environment.store.buckets) == 1


def test_an_object_bucket_deleted_during_downtime_is_recreated(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
        keys = environment.secret()
    environment.admin.patch(environment.ob_path(), {"metadata": {"finalizers": None}})
    environment.admin.delete(environment.ob_path())
    environment.admin.wait_gone(environment.ob_path())

    with environment.core():
        environment.admin.wait_for(
            environment.ob_path(), lambda found: found is not None and found.get("status", {}).get("phase") == "Bound"
        )
        environment.wait_bound()
        assert environment.secret() == keys
        environment.delete_claim()
    assert not environment.store.buckets


def test_deletion_succeeds_when_bucket_and_user_are_already_gone(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
        environment.store.buckets.clear()
        environment.store.identities.clear()
        environment.delete_claim()


def test_claims_of_other_provisioners_are_never_written_to(environment: MemoryEnvironment) -> None:
    foreign = f"{environment.class_name}-foreign"
    environment.admin.create(
        "/apis/storage.k8s.io/v1/storageclasses", a_class(name=foreign, provisioner="other.io/bucket")
    )
    with environment.core():
        before = environment.claim("foreign", storage_class=foreign)
        environment.claim()
        environment.wait_bound()
        assert environment.get_claim("foreign")["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert environment.events("foreign") == []
    environment.delete_class(foreign)


def test_a_restart_with_bound_claims_calls_no_store_and_writes_nothing(environment: MemoryEnvironment) -> None:
    with environment.core():
        for number in range(5):
            environment.claim(f"claim-{number}")
        for number in range(5):
            environment.wait_bound(f"claim-{number}")
    paths = [environment.claim_path(f"claim-{number}") for number in range(5)]
    before = [environment.admin.get(path)["metadata"]["resourceVersion"] for path in paths]

    with environment.core():
        environment.claim("last")
        environment.wait_bound("last")
        assert environment.calls == {"provision": 1}

    assert [environment.admin.get(path)["metadata"]["resourceVersion"] for path in paths] == before


def test_a_new_provisioner_version_runs_one_full_reconciliation(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
        keys = environment.secret()
    with environment.core(version="2"):
        environment.claim("other")
        environment.wait_bound("other")
        environment.admin.wait_for(environment.claim_path(), lambda _claim: environment.calls["provision"] == 2)
    with environment.core(version="2"):
        environment.claim("third")
        environment.wait_bound("third")
        assert environment.calls == {"provision": 1}
    assert environment.secret() == keys


def test_other_finalizers_labels_and_annotations_are_kept_to_the_end(environment: MemoryEnvironment) -> None:
    extra: dict[str, Any] = {"finalizers": ["example.com/hold"]}
    extra |= {"labels": {"team": "shop"}, "annotations": {"note": "mine"}}
    with environment.core():
        environment.claim(**extra)
        claim = environment.wait_bound()
        assert claim["metadata"]["finalizers"] == ["example.com/hold", "objectbucket.io/finalizer"]
        assert claim["metadata"]["labels"]["team"] == "shop"
        assert claim["metadata"]["annotations"]["note"] == "mine"
        environment.delete_claim(wait=False)
        held = environment.admin.wait_for(
            environment.claim_path(),
            lambda found: found is not None and found["metadata"]["finalizers"] == ["example.com/hold"],
        )
    assert held is not None
    assert not environment.store.buckets
    environment.patch_claim({"metadata": {"finalizers": None}})


def test_a_claim_deleted_without_its_finalizer_is_deprovisioned(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
    environment.patch_claim({"metadata": {"finalizers": None}})
    environment.delete_claim()
    with environment.core():
        environment.claim("other")
        environment.wait_bound("other")
        environment.admin.wait_gone(environment.ob_path())
        assert len(environment.store.buckets) == 1
        assert len(environment.store.identities) == 1


def test_a_namespace_full_of_claims_can_be_deleted(environment: MemoryEnvironment) -> None:
    with environment.core():
        for number in range(3):
            environment.claim(f"claim-{number}")
            environment.wait_bound(f"claim-{number}")
        environment.claim("nameless", spec={})
        environment.wait_reason("InvalidClaim", "nameless")
        environment.admin.delete(f"/api/v1/namespaces/{environment.namespace}")
        environment.admin.wait_gone(f"/api/v1/namespaces/{environment.namespace}", timeout=30)
    assert not environment.store.buckets
    environment.admin.create(
        "/api/v1/namespaces", {"metadata": {"name": environment.namespace}}
    )  # for the fixture to delete


def test_kubectl_wait_works_on_phase_and_condition(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        for what in ("jsonpath={.status.phase}=Bound", "condition=Ready"):
            command = [str(kubectl_binary()), "--kubeconfig", str(environment.cluster.kubeconfig), "wait", "obc/photos"]
            command += ["-n", environment.namespace, f"--for={what}", "--timeout=15s"]
            answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
            assert answer.returncode == 0, answer.stderr


def test_the_list_of_object_buckets_holds_no_credentials(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
        keys = environment.secret()
    everything = [
        environment.admin.get(environment.ob_path()),
        environment.get_claim(),
        environment.admin.get(environment.path("configmaps")),
    ]
    everything += environment.admin.items(f"/api/v1/namespaces/{environment.namespace}/events")
    assert keys["AWS_SECRET_ACCESS_KEY"] not in str(everything)
    assert environment.admin.items(f"{OBC}/objectbuckets")


def test_a_claim_whose_object_bucket_is_missing_is_deprovisioned_completely(
    environment: MemoryEnvironment,
) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
    environment.admin.patch(environment.ob_path(), {"metadata": {"finalizers": None}})
    environment.admin.delete(environment.ob_path())
    environment.delete_claim(wait=False)

    with environment.core():
        environment.admin.wait_gone(environment.claim_path())
    assert not environment.store.buckets
    assert not environment.store.identities


def test_a_deletion_interrupted_after_removing_the_object_bucket_is_not_repeated(
    environment: MemoryEnvironment,
) -> None:
    with environment.core():
        environment.claim()
        claim = environment.wait_bound()
        environment.admin.patch(environment.ob_path(), {"spec": {"reclaimPolicy": "Retain"}})
    # The state of a release that crashed before its last write: only the finalizer is left.
    for path in (environment.path("secrets"), environment.path("configmaps")):
        environment.admin.delete(path)
    environment.admin.patch(environment.ob_path(), {"metadata": {"finalizers": None}})
    environment.admin.delete(environment.ob_path())
    environment.delete_claim(wait=False)

    with environment.core():
        environment.admin.wait_gone(environment.claim_path())
        assert not environment.calls
    assert set(environment.store.buckets) == {claim["spec"]["bucketName"]}


def test_a_bound_claim_with_a_pending_edit_stays_ready_and_reports_the_reason(
    environment: MemoryEnvironment,
) -> None:
    def fail(_verb: object, _request: object) -> None:
        raise StoreUnavailable("the store is down", delay=0.2)

    with environment.core():
        environment.claim()
        environment.wait_bound()
        environment.hook = fail
        environment.patch_claim({"spec": {"additionalConfig": {"maxObjects": "3"}}})
        claim = environment.wait_reason("StoreUnavailable")
        assert claim["status"]["phase"] == "Bound"
        assert condition(claim)["status"] == "True"
        assert condition(claim, "Reconciling")["message"] == "the store is down"

        environment.hook = lambda _verb, _request: None
        claim = environment.wait_claim(lambda one: not condition(one, "Reconciling"))
        assert environment.store.buckets[claim["spec"]["bucketName"]].max_objects == 3
    assert environment.events().count(("Warning", "StoreUnavailable")) == 1
    assert environment.events().count(("Normal", "Bound")) == 1


def test_an_unavailable_store_emits_one_event_despite_retries(
    environment: MemoryEnvironment,
) -> None:
    tries: list[int] = []

    def fail(_verb: object, _request: object) -> None:
        tries.append(1)
        if len(tries) < 4:
            raise StoreUnavailable("the store is down")

    environment.hook = fail
    with environment.core():
        environment.claim()
        waiting = environment.wait_reason("StoreUnavailable")
        assert waiting["status"]["phase"] == "Pending"
        environment.wait_bound()
    assert len(tries) == 4
    assert sorted(environment.events()) == [("Normal", "Bound"), ("Warning", "StoreUnavailable")]


def test_an_unexpected_exception_does_not_expose_its_message(environment: MemoryEnvironment) -> None:
    def leak(_verb: object, _request: object) -> None:
        raise RuntimeError("password=hunter2")

    environment.hook = leak
    with environment.core():
        environment.claim()
        claim = environment.wait_reason("InternalError")
    everything = [claim, *environment.admin.items(f"/api/v1/namespaces/{environment.namespace}/events")]
    assert "hunter2" not in str(everything)
    assert "RuntimeError" in condition(claim)["message"]


@pytest.mark.parametrize("writes", range(7))
def test_a_manually_deleted_object_bucket_is_recreated_despite_crashes(
    environment: MemoryEnvironment, writes: int
) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
        environment.admin.patch(environment.ob_path(), {"spec": {"reclaimPolicy": "Retain"}})
        keys = environment.secret()
    environment.admin.delete(environment.ob_path())
    check = Mortal(writes)
    with environment.core(check_leadership=check):
        assert check.died.wait(20)

    with environment.core():
        environment.until(lambda: is_in_place(object_bucket_of(environment, environment.get_claim())))
        claim = environment.get_claim()
        ob = object_bucket_of(environment, claim)
        assert ob is not None
        assert ob["spec"]["reclaimPolicy"] == "Retain"
        assert environment.secret() == keys
        environment.delete_claim()
    assert set(environment.store.buckets) == {claim["spec"]["bucketName"]}
    assert not environment.store.identities
    assert not environment.admin.items(f"{OBC}/objectbuckets", label_selector=f"bucket-provisioner={environment.label}")


def object_bucket_of(environment: MemoryEnvironment, claim: dict[str, Any]) -> dict[str, Any] | None:
    return environment.admin.find(f"{OBC}/objectbuckets/{claim['spec']['objectBucketName']}")


def is_in_place(ob: dict[str, Any] | None) -> bool:
    return ob is not None and "deletionTimestamp" not in ob["metadata"] and "status" in ob


def test_a_claim_that_may_have_reached_its_store_is_deprovisioned_there_once_its_class_works(
    environment: MemoryEnvironment,
) -> None:
    errors: list[Exception] = [StoreUnavailable("not now")]

    def hook(_verb: Any, _request: Any) -> None:
        if errors and isinstance(errors[0], StoreUnavailable):
            assert environment.provisioner is not None
            assert environment.provisioner._services is not None
            environment.provisioner._services.before_request()  # a request is sent, and its answer never comes
        if errors:
            raise errors[0]

    environment.hook = hook
    with environment.core():
        environment.claim()
        environment.wait_reason("StoreUnavailable")
    errors[:] = [AdminSecretMissing("Secret admin does not exist")]
    with environment.core():
        environment.wait_reason("AdminSecretMissing")
        environment.admin.delete(environment.claim_path())
        environment.wait_claim(
            lambda c: "deletionTimestamp" in c["metadata"] and condition(c)["reason"] == "AdminSecretMissing"
        )
        errors.clear()
        environment.patch_claim({"metadata": {"annotations": {"example.com/fixed": "yes"}}})
        environment.admin.wait_gone(environment.claim_path(), timeout=60)
    assert environment.calls["delete"]
