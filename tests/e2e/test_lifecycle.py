"""The lifecycle of a claim with the image of every store, run as the chart says, on a real API server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from libbucket.testing.application import Refused

if TYPE_CHECKING:
    from testkit.cluster.store_environment import StoreEnvironment
    from testkit.container_images.installation import Installation


def holder(installation: Installation) -> str:
    """The holder of the Lease; empty before the first election and after a regular shutdown."""
    lease = installation.cluster.admin.find(installation.lease_path) or {}
    return str(lease.get("spec", {}).get("holderIdentity") or "")


def test_a_claim_is_bound_used_and_deleted(environment: StoreEnvironment, installation: Installation) -> None:
    storage_class = environment.make_class()
    with installation.pod() as pod:
        environment.claim("photos", storage_class, generateBucketName="photos")
        environment.claim("other", storage_class, generateBucketName="photos")
        own, other = environment.wait_bound("photos"), environment.wait_bound("other")
        environment.store.application(own).put(own.bucket, "a.txt", b"own")
        assert environment.store.application(own).get(own.bucket, "a.txt") == b"own"
        with pytest.raises(Refused):
            environment.store.application(other).get(own.bucket, "a.txt")
        environment.delete_claim("photos")
        environment.delete_claim("other")
        assert environment.store.what_is_there(own) == []
        pod.stop(installation.grace_seconds)


def test_sigterm_releases_the_lease_within_the_grace_period(installation: Installation) -> None:
    with installation.pod() as pod:
        installation.cluster.admin.wait_for(installation.lease_path, lambda lease: lease is not None, timeout=60)
        assert holder(installation)
        began = time.monotonic()
        pod.stop(installation.grace_seconds)
        assert time.monotonic() - began < installation.grace_seconds
    assert not holder(installation)


def test_standby_takes_over_when_the_leader_stops(environment: StoreEnvironment, installation: Installation) -> None:
    storage_class = environment.make_class()
    with installation.pod() as first:
        installation.cluster.admin.wait_for(installation.lease_path, lambda lease: lease is not None, timeout=60)
        with installation.pod(ready=False) as second:
            environment.claim("photos", storage_class, generateBucketName="photos")
            environment.wait_bound("photos")
            first.stop(installation.grace_seconds)
            environment.claim("later", storage_class, generateBucketName="photos")
            environment.wait_bound("later")
            for name in ("photos", "later"):
                environment.delete_claim(name)
            second.stop(installation.grace_seconds)
