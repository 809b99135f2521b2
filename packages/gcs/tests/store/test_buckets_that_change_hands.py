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
    application = environment.administrator.application()
    for number in range(3):
        application.put(tenant.bucket, f"object-{number}", b"x")
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
