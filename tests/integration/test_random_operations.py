"""Many claims, random edits, and a core that repeatedly crashes after a random number of writes.

The invariants after quiescence are checked over the whole cluster and the whole store. The seed is in the name of the
test: the same seed makes the same steps (their interleaving with the core is the scheduler's).
"""

from __future__ import annotations

import random
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client.exceptions import ApiException

from libbucket.testing.memory_store import Bucket
from testkit.cluster.memory_environment import OBC, MemoryEnvironment, Mortal, condition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket.testing.controlplane import Cluster

STEPS = 60
NAMES = ("c", "b-c", "photos")


class SoakEnvironment(MemoryEnvironment):
    """An environment with three classes and two namespaces whose claims want the same names for their ObjectBuckets."""

    def __init__(self, cluster: Cluster, namespace: str, seed: int) -> None:
        super().__init__(cluster, namespace)
        self.random = random.Random(seed)
        self.namespaces = [namespace, f"{namespace}-b"]
        self.retained: set[str] = set()
        self.retained_uids: set[str] = set()  # of claims with Retain: if they had a bucket, it stays
        self.store.buckets["archive"] = Bucket(tags={})
        self.classes = {
            "Delete": self.make_class(),
            "Retain": self.make_class(f"{self.class_name}-r", reclaim_policy="Retain"),
            "Grant": self.make_class(f"{self.class_name}-g", parameters={"bucketName": "archive"}),
        }

    def step(self) -> None:
        """Performs one random operation."""
        weights: list[tuple[int, Callable[[str, str], None]]] = [
            (6, self._create),
            (3, self._delete),
            (2, self._edit),
            (1, self._remove_secret),
            (1, self._corrupt_config_map),
            (1, self._remove_object_bucket),
        ]
        act = self.random.choices([one for _, one in weights], [weight for weight, _ in weights])[0]
        with suppress(ApiException):  # the object is missing or exists already
            act(self.random.choice(self.namespaces), self.random.choice(NAMES))

    def _create(self, namespace: str, name: str) -> None:
        self.claim(name, namespace=namespace, storage_class=self.random.choice(list(self.classes.values())))

    def _delete(self, namespace: str, name: str) -> None:
        claim = self.admin.get(self.claim_path(name, namespace))
        if claim["spec"]["storageClassName"] == self.classes["Retain"]:
            self.retained_uids.add(claim["metadata"]["uid"])
            if claim.get("status", {}).get("phase") == "Bound":
                self.retained.add(claim["spec"]["bucketName"])
        self.admin.delete(self.claim_path(name, namespace))

    def _edit(self, namespace: str, name: str) -> None:
        value = self.random.choice(["3", "4", None])
        self.admin.patch(self.claim_path(name, namespace), {"spec": {"additionalConfig": {"maxObjects": value}}})

    def _remove_secret(self, namespace: str, name: str) -> None:
        self.admin.delete(f"/api/v1/namespaces/{namespace}/secrets/{name}")

    def _corrupt_config_map(self, namespace: str, name: str) -> None:
        self.admin.patch(f"/api/v1/namespaces/{namespace}/configmaps/{name}", {"data": {"BUCKET_HOST": "wrong"}})

    def _remove_object_bucket(self, namespace: str, name: str) -> None:
        claim = self.admin.get(self.claim_path(name, namespace))
        if claim["spec"].get("objectBucketName"):
            self.admin.delete(f"{OBC}/objectbuckets/{claim['spec']['objectBucketName']}")

    def assert_buckets_are(self, needed: set[str]) -> None:
        """Every needed bucket exists, and no other except those of deleted claims with Retain."""
        found = self.store.buckets
        assert needed <= set(found)
        others = {name: bucket.tags["objectbucket_claim_uid"] for name, bucket in found.items() if name not in needed}
        assert {name for name, uid in others.items() if uid not in self.retained_uids} == set()

    def claims(self) -> list[dict[str, Any]]:
        found = (self.admin.items(f"{OBC}/namespaces/{one}/objectbucketclaims") for one in self.namespaces)
        return [claim for claims in found for claim in claims]

    def wait_quiet(self) -> list[dict[str, Any]]:
        """All claims, once each is either bound for good or gone."""
        for claim in self.claims():
            meta = claim["metadata"]
            self.admin.wait_for(self.claim_path(meta["name"], meta["namespace"]), self._is_done, timeout=60)
        return self.claims()

    def _is_done(self, claim: dict[str, Any] | None) -> bool:
        if claim is None:
            return True
        if "deletionTimestamp" in claim["metadata"] or condition(claim).get("status") != "True":
            return False
        status = claim["status"]
        return bool(status["phase"] == "Bound" and status["observedGeneration"] == claim["metadata"]["generation"])


@pytest.fixture
def environment(cluster: Cluster, namespace: str, request: pytest.FixtureRequest) -> Iterator[SoakEnvironment]:
    made = SoakEnvironment(cluster, namespace, request.getfixturevalue("seed"))
    made.admin.create("/api/v1/namespaces", {"metadata": {"name": made.namespaces[1]}})
    yield made
    for name in made.classes.values():
        made.delete_class(name)
    made.admin.delete(f"/api/v1/namespaces/{made.namespaces[1]}")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_operations_with_crashes_lose_and_leak_nothing(environment: SoakEnvironment, seed: int) -> None:
    assert seed  # of the environment's random numbers
    steps = 0
    while steps < STEPS:
        with environment.core(check_leadership=Mortal(environment.random.randrange(1, 25))):
            for _ in range(environment.random.randrange(1, 8)):
                environment.step()
                steps += 1
            time.sleep(environment.random.random() / 2)  # the crash interrupts whatever runs then
    with environment.core():
        claims = environment.wait_quiet()
        wait_for_objects_to_settle(environment)

        assert_all_is_known_and_works(environment, claims)
        for claim in claims:
            environment._delete(claim["metadata"]["namespace"], claim["metadata"]["name"])
        for claim in claims:
            environment.admin.wait_gone(
                environment.claim_path(claim["metadata"]["name"], claim["metadata"]["namespace"])
            )

    environment.assert_buckets_are(environment.retained | {"archive"})
    assert not environment.store.identities
    assert not owned(environment, f"{OBC}/objectbuckets")


def wait_for_objects_to_settle(environment: SoakEnvironment) -> None:
    """Waits until no ConfigMap has drifted and no ObjectBucket is being deleted."""
    for claim in environment.claims():
        meta, names = claim["metadata"], claim["spec"]["objectBucketName"]
        environment.admin.wait_for(
            f"{OBC}/objectbuckets/{names}",
            lambda ob: ob is not None and "deletionTimestamp" not in ob["metadata"] and "status" in ob,
        )
        path = f"/api/v1/namespaces/{meta['namespace']}/configmaps/{meta['name']}"
        environment.admin.wait_for(path, lambda found: found is not None and found["data"]["BUCKET_HOST"] != "wrong")
        path = f"/api/v1/namespaces/{meta['namespace']}/secrets/{meta['name']}"
        environment.admin.wait_for(path, lambda found: found is not None)


def assert_all_is_known_and_works(environment: SoakEnvironment, claims: list[dict[str, Any]]) -> None:
    granted = {environment.classes["Grant"]}
    made = {one["spec"]["bucketName"] for one in claims if one["spec"]["storageClassName"] not in granted}
    environment.assert_buckets_are(made | environment.retained | {"archive"})
    assert len(environment.store.identities) == len(claims)
    names = {one["spec"]["objectBucketName"] for one in claims}
    assert {one["metadata"]["name"] for one in owned(environment, f"{OBC}/objectbuckets")} == names
    for plural in ("secrets", "configmaps"):
        left = [
            one
            for space in environment.namespaces
            for one in owned(environment, f"/api/v1/namespaces/{space}/{plural}")
        ]
        assert len(left) == len(claims)
    for claim in claims:
        assert_credentials_work(environment, claim)


def assert_credentials_work(environment: SoakEnvironment, claim: dict[str, Any]) -> None:
    space, name = claim["metadata"]["namespace"], claim["metadata"]["name"]
    environment.namespace, before = space, environment.namespace
    keys = environment.secret(name)
    bucket = environment.admin.get(f"/api/v1/namespaces/{space}/configmaps/{name}")["data"]["BUCKET_NAME"]
    environment.namespace = before
    holder = [one for one in environment.store.identities.values() if keys["AWS_ACCESS_KEY_ID"] in one.keys]
    assert [one.grants for one in holder] == [{bucket}]
    assert holder[0].keys == {keys["AWS_ACCESS_KEY_ID"]: keys["AWS_SECRET_ACCESS_KEY"]}
    object_name = secrets.token_hex(4)
    environment.store.buckets[bucket].write(object_name, b"x")


def owned(environment: SoakEnvironment, path: str) -> list[dict[str, Any]]:
    return environment.admin.items(path, label_selector=f"bucket-provisioner={environment.label}")
