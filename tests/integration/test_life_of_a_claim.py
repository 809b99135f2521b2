"""The life of a claim on a real API server, over a store in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testkit.cluster.memory_environment import condition

if TYPE_CHECKING:
    from testkit.cluster.memory_environment import MemoryEnvironment


def test_a_claim_becomes_bound_with_secret_config_map_and_object_bucket(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim()
        claim = world.wait_bound()

    bucket = claim["spec"]["bucketName"]
    ob = world.admin.get(world.ob_path())
    assert bucket.startswith("photos-")
    assert claim["spec"]["objectBucketName"] == ob["metadata"]["name"]
    assert claim["metadata"]["finalizers"] == ["objectbucket.io/finalizer"]
    assert claim["status"]["observedGeneration"] == claim["metadata"]["generation"]
    assert ob["status"]["phase"] == "Bound"
    assert ob["spec"]["reclaimPolicy"] == "Delete"
    assert ob["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
    assert set(world.secret()) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    config_map = world.admin.get(world.path("configmaps"))
    assert config_map["data"] == {
        "BUCKET_NAME": bucket,
        "BUCKET_HOST": "memory.invalid",
        "BUCKET_PORT": "443",
        "BUCKET_REGION": "",
        "BUCKET_SUBREGION": "",
    }
    for one in (claim, ob, config_map, world.admin.get(world.path("secrets"))):
        assert one["metadata"]["labels"]["bucket-provisioner"] == world.label
    assert world.events() == [("Normal", "Bound")]


def test_the_first_status_says_pending_and_not_ready(world: MemoryEnvironment) -> None:
    seen = []

    def look(_verb: object, _request: object) -> None:
        seen.append(world.get_claim())

    world.hook = look
    with world.core():
        world.claim()
        world.wait_bound()

    assert seen[0]["status"]["phase"] == "Pending"
    assert condition(seen[0])["status"] == "False"


def test_a_deleted_claim_takes_everything_with_it(world: MemoryEnvironment) -> None:
    with world.core():
        world.claim()
        world.wait_bound()
        world.delete_claim()

    assert not world.store.buckets
    assert not world.store.identities
    for path in (world.path("secrets"), world.path("configmaps"), world.ob_path()):
        assert world.admin.find(path) is None, path
