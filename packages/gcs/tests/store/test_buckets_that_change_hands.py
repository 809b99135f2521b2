"""Buckets that become another's while a claim is made or deleted: their data stays, and none is adopted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gcs_provisioner.stamps import build_ownership_labels
from libbucket import AccessDenied, BucketExists, NotReady, Reason, RetrySlowly
from libbucket.testing import builders
from testkit.gcs.fake import server
from testkit.gcs.fake.model import Version

if TYPE_CHECKING:
    from libbucket import ObjectBucket
    from libbucket.testing.conformance.environment import Environment
    from testkit.gcs.fake import FakeGcs
    from testkit.gcs.fake.model import Store
    from testkit.gcs.fake.wire import Answer, Request


@pytest.mark.parametrize("heir", ["an administrator", "a neighbour"])
def test_a_purge_ends_where_the_bucket_becomes_anothers(
    environment: Environment, fake: FakeGcs, monkeypatch: pytest.MonkeyPatch, heir: str
) -> None:
    """Its labels are changed in the middle of one call."""
    tenant = environment.greenfield()
    environment.fill(tenant.bucket, 3)
    bucket, real = fake.store.buckets[tenant.bucket], server._answer
    other = replace(tenant.request.owner, uid="another")

    def instead(store: Store, request: Request) -> Answer:
        answer = real(store, request)
        if request.path.startswith("/batch/") and not any("new" in each for each in bucket.versions):
            bucket.resource["labels"] = (
                {"team": "legal"} if heir == "an administrator" else build_ownership_labels(other)
            )
            bucket.resource["metageneration"] += 1
            now = store.clock.now()
            bucket.put(Version("new", store.next_number() + 10**15, b"of the heir", "text/plain", now))
        return answer

    monkeypatch.setattr(server, "_answer", instead)
    with pytest.raises(BucketExists):
        environment.delete(tenant.record)
    assert "new" in bucket.versions
    assert tenant.bucket in fake.store.buckets


@pytest.mark.parametrize("heir", ["none", "another project"])
def test_a_purge_stops_where_the_bucket_of_that_name_is_another_one(
    environment: Environment, fake: FakeGcs, monkeypatch: pytest.MonkeyPatch, heir: str
) -> None:
    """It was removed in the middle of one call, and its name was free at once: labels can be copied."""
    tenant = environment.greenfield()
    environment.fill(tenant.bucket, 3)
    labels, real = dict(fake.store.buckets[tenant.bucket].resource["labels"]), server._answer

    def instead(store: Store, request: Request) -> Answer:
        answer = real(store, request)
        found = store.buckets.get(tenant.bucket)
        if not request.path.startswith("/batch/") or found is None or found.project != fake.project:
            return answer
        del store.buckets[tenant.bucket]
        if heir == "another project":
            fake.add_foreign_bucket(tenant.bucket, labels=labels)
            now = store.clock.now()
            new = Version("new", store.next_number() + 10**15, b"of the heir", "text/plain", now)
            store.buckets[tenant.bucket].put(new)
        return answer

    monkeypatch.setattr(server, "_answer", instead)
    with pytest.raises(NotReady, match="removed by others while it was being emptied"):
        _purge(environment, tenant.record)
    environment.delete(tenant.record)  # the claim's bucket is gone, and that is all that it waits for
    assert (tenant.bucket in fake.store.buckets) == (heir == "another project")
    if heir == "another project":
        assert "new" in fake.store.buckets[tenant.bucket].versions


def test_a_purge_that_goes_on_looks_again_whose_the_bucket_is(environment: Environment, fake: FakeGcs) -> None:
    """It became another claim's between two calls."""
    tenant = environment.greenfield()
    environment.administrator.application().put(tenant.bucket, "object", b"x")
    stepwise = environment.backend.stepwise_provisioner()
    assert stepwise is not None
    with pytest.raises(NotReady):
        stepwise.delete(tenant.record)
    bucket = fake.store.buckets[tenant.bucket]
    bucket.resource["labels"] = build_ownership_labels(replace(tenant.request.owner, uid="another"))
    bucket.resource["metageneration"] += 1
    fake.clock.turn(600)
    with pytest.raises(BucketExists):
        stepwise.delete(tenant.record)
    assert "object" in bucket.versions


def _purge(environment: Environment, record: ObjectBucket) -> None:
    """Calls until something else than a withdrawal is waited for."""
    for _ in range(4):
        try:
            environment.provisioner.delete(record)
        except NotReady as waiting:
            if "removed by others" in waiting.message:
                raise
            environment.backend.pause(waiting.delay)
        else:
            return


def test_an_empty_bucket_that_becomes_anothers_is_not_removed(
    environment: Environment, fake: FakeGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = environment.greenfield(environment.request(parameters={"revocationSeconds": "0"}))
    bucket, real = fake.store.buckets[tenant.bucket], server._answer

    def instead(store: Store, request: Request) -> Answer:
        if request.method == "DELETE" and request.path == f"/storage/v1/b/{tenant.bucket}":
            bucket.resource["labels"] = {"team": "legal"}
            bucket.resource["metageneration"] += 1
        return real(store, request)

    monkeypatch.setattr(server, "_answer", instead)
    for verb in (environment.provisioner.delete_empty, environment.provisioner.delete):  # type: ignore[attr-defined]
        with pytest.raises((NotReady, BucketExists)):
            verb(tenant.record)
        assert tenant.bucket in fake.store.buckets
    with pytest.raises(BucketExists):
        environment.provisioner.delete(tenant.record)


def test_a_name_that_a_stranger_takes_does_not_keep_the_claim(environment: Environment, fake: FakeGcs) -> None:
    """An administrator removed the bucket by hand, and the name was free for everybody at once."""
    tenant = environment.tenant(greenfield=True)
    existing = environment.brownfield(environment.foreign_bucket())
    for each in (tenant, existing):
        fake.add_foreign_bucket(each.bucket)
    environment.delete(tenant.record)
    environment.revoke(existing.record)
    for each in (tenant, existing):
        assert each.bucket in fake.store.buckets
        assert not environment.administrator.identity_exists(each.record)


def test_a_strangers_bucket_with_the_claims_labels_is_not_adopted(environment: Environment, fake: FakeGcs) -> None:
    """Labels are no secret, and a claim may wait for its turn or its quota for hours: the project is what proves it."""
    request = environment.request()
    fake.add_foreign_bucket(request.bucket_name, labels=build_ownership_labels(request.owner))
    with pytest.raises(RetrySlowly, match="another project") as refused:
        environment.provisioner.provision(request)
    assert refused.value.reason is Reason.BUCKET_EXISTS
    assert "obc-" not in repr(fake.store.buckets[request.bucket_name].policy.bindings)
    environment.delete(builders.intent(request))
    assert request.bucket_name in fake.store.buckets


def test_a_call_that_died_finds_the_bucket_that_it_made(environment: Environment, fake: FakeGcs) -> None:
    """The control: labels in the class's project are proof."""
    request = environment.request()
    fake.knobs.unknown_account_calls = 10**6
    with pytest.raises(NotReady):
        environment.provisioner.provision(request)
    for account in fake.store.accounts.values():
        account.unknown_calls = 0
    restarted = environment.backend.provisioner()
    assert environment.patiently(restarted.provision, request).bucket_name == request.bucket_name


def test_an_adopted_bucket_of_another_project_stays_the_claims(environment: Environment, fake: FakeGcs) -> None:
    """An administrator gave it to the claim: that the class's project does not have it, proves nothing later."""
    request = environment.request()
    fake.add_foreign_bucket(request.bucket_name, labels=build_ownership_labels(request.owner))
    adopted = replace(request, was_bound=True)
    answer = environment.patiently(environment.provisioner.provision, adopted)
    fake.store.buckets[request.bucket_name].policy.bindings = []
    with pytest.raises(AccessDenied):
        environment.provisioner.delete(builders.recorded(answer, request))
    assert environment.administrator.identity_exists(builders.recorded(answer, request))
