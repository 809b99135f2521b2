"""Azure permits five claims per container: the sixth reports the quota, and is bound once another is deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testkit.cluster.memory_environment import condition
from testkit.cluster.store_environment import STORES, StoreEnvironment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.controlplane import Cluster


@pytest.fixture
def environment(cluster: Cluster, namespace: str) -> Iterator[StoreEnvironment]:
    with STORES["azure"]() as store:
        made = StoreEnvironment(cluster, namespace, "azure", store)
        made.open()
        yield made
        made.close()


def test_the_sixth_claim_on_a_container_waits_until_another_is_deleted(environment: StoreEnvironment) -> None:
    bucket = f"{environment.namespace}-shared"
    environment.store.make_bucket(bucket)
    storage_class = environment.make_class("brownfield-class.yaml", bucketName=bucket)
    first_five = [f"guest-{number}" for number in range(5)]
    with environment.provisioner():
        for name in first_five:
            environment.claim(name, storage_class)
        for name in first_five:
            environment.wait_bound(name)
        environment.claim("sixth", storage_class)
        waiting = environment.wait_reason("sixth", "QuotaExceeded")
        assert waiting["status"]["phase"] == "Pending"
        assert "5 stored access policies" in condition(waiting)["message"]
        assert "user-delegation-sas" in condition(waiting)["message"]
        environment.delete_claim(first_five[2])
        sixth = environment.wait_bound("sixth")
        environment.store.application(sixth).put(bucket, "a.txt", b"at last")
        assert environment.store.administrator().get(bucket, "a.txt") == b"at last"
        for name in [*first_five[:2], *first_five[3:], "sixth"]:
            environment.delete_claim(name)
