"""The lifecycle of a claim on a real API server, over a store in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testkit.cluster.memory_environment import condition

if TYPE_CHECKING:
    from testkit.cluster.memory_environment import MemoryEnvironment


def test_a_claim_becomes_bound_with_secret_config_map_and_object_bucket(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        claim = environment.wait_bound()

    bucket = claim["spec"]["bucketName"]
    ob = environment.admin.get(environment.ob_path())
    assert bucket.startswith("photos-")
    assert claim["spec"]["objectBucketName"] == ob["metadata"]["name"]
    assert claim["metadata"]["finalizers"] == ["objectbucket.io/finalizer"]
    assert claim["status"]["observedGeneration"] == claim["metadata"]["generation"]
    assert ob["status"]["phase"] == "Bound"
    assert ob["spec"]["reclaimPolicy"] == "Delete"
    assert ob["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
    assert set(environment.secret()) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    config_map = environment.admin.get(environment.path("configmaps"))
    assert config_map["data"] == {
        "BUCKET_NAME": bucket,
        "BUCKET_HOST": "memory.invalid",
        "BUCKET_PORT": "443",
        "BUCKET_REGION": "",
        "BUCKET_SUBREGION": "",
    }
    for one in (claim, ob, config_map, environment.admin.get(environment.path("secrets"))):
        assert one["metadata"]["labels"]["bucket-provisioner"] == environment.label
    assert environment.events() == [("Normal", "Bound")]


def test_while_the_store_takes_long_the_claim_says_pending_and_not_ready(environment: MemoryEnvironment) -> None:
    seen = []

    def observe(_verb: object, _request: object) -> None:
        environment.wait_reason("Provisioning")
        seen.append(environment.get_claim())

    environment.hook = observe
    with environment.core():
        environment.claim()
        environment.wait_bound()

    assert seen[0]["status"]["phase"] == "Pending"
    assert condition(seen[0])["status"] == "False"


def test_a_deleted_claim_is_deprovisioned_completely(environment: MemoryEnvironment) -> None:
    with environment.core():
        environment.claim()
        environment.wait_bound()
        environment.delete_claim()

    assert not environment.store.buckets
    assert not environment.store.identities
    for path in (environment.path("secrets"), environment.path("configmaps"), environment.ob_path()):
        assert environment.admin.find(path) is None, path
