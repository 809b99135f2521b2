"""What a class says about new buckets, and how one is emptied: in bounded batches, not at all where it is locked."""

from __future__ import annotations

import itertools
import threading
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from gcs_provisioner.contents import BATCH
from libbucket import BucketNotEmpty, InvalidClaim, NotReady, PurgeUnfinished, StoreUnavailable
from libbucket.testing import builders
from libbucket.testing.conformance.environment import Environment, assert_refused, assert_shut_out, assert_works
from testkit.gcs.applications import HmacApplication
from testkit.gcs.backend import QUICK, GcsBackend, a_provisioner
from testkit.gcs.fake import server
from testkit.gcs.fake.wire import Answer, ApiError, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from testkit.gcs.fake import FakeGcs
    from testkit.gcs.fake.model import Store

    OnBatch = Callable[[Callable[[int], Answer | None]], None]

KMS = "projects/p/locations/l/keyRings/r/cryptoKeys/k"


def test_a_new_bucket_is_as_its_class_says(environment: Environment, backend: GcsBackend) -> None:
    parameters = {
        "region": "europe-west3",
        "storageClass": "NEARLINE",
        "kmsKeyName": KMS,
        "labels": "team=shop",
        "versioning": "true",
        "softDeleteSeconds": "604800",
    }
    tenant = environment.greenfield(environment.request(parameters=parameters))
    found = backend.administrator.client.get_bucket(tenant.bucket)
    assert (found.location, found.storage_class, found.default_kms_key_name) == ("EUROPE-WEST3", "NEARLINE", KMS)
    assert found.versioning_enabled
    assert found.soft_delete_policy.retention_duration_seconds == 604800
    assert found.labels["team"] == "shop"
    assert_works(tenant)


def test_a_new_bucket_is_uniform_private_and_tagged_from_its_first_moment(
    environment: Environment, fake: FakeGcs
) -> None:
    tenant = environment.greenfield()
    resource = fake.store.buckets[tenant.bucket].resource
    assert resource["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"]
    assert resource["iamConfiguration"]["publicAccessPrevention"] == "enforced"
    assert tenant.request.owner.matches(resource["labels"])
    changes = [each for each in fake.calls() if each.startswith("PATCH")]
    assert not changes, "all of it was said when it was made"


def test_soft_deletion_can_be_turned_off(environment: Environment, fake: FakeGcs) -> None:
    tenant = environment.greenfield(environment.request(parameters={"softDeleteSeconds": "0"}))
    policy = fake.store.buckets[tenant.bucket].resource["softDeletePolicy"]
    assert int(policy["retentionDurationSeconds"]) == 0


def test_names_that_labels_do_not_take_are_made_to_fit(environment: Environment, fake: FakeGcs) -> None:
    request = environment.request()
    owner = replace(request.owner, name="photos.v2." + "x" * 200)
    tenant = environment.greenfield(replace(request, owner=owner))
    labels = fake.store.buckets[tenant.bucket].resource["labels"]
    assert labels["objectbucket_claim_name"].startswith("photos_v2_xxx")
    assert owner.matches(labels)
    environment.delete(replace(tenant.record, owner=owner))
    assert not environment.administrator.bucket_exists(tenant.bucket)


@pytest.mark.parametrize("name", ["ab", "Photos", "goog-photos", "my-google-photos", "photos.example.com", "-photos"])
def test_a_name_that_google_does_not_take_is_refused(environment: Environment, name: str) -> None:
    with pytest.raises(InvalidClaim, match="bucketName"):
        environment.provisioner.provision(environment.request(bucket=name))


@pytest.mark.parametrize("lock", ["temporaryHold", "eventBasedHold", "retention", "bucket"])
def test_a_bucket_with_a_locked_object_is_not_deleted_and_nothing_of_it_is_touched(
    environment: Environment, fake: FakeGcs, lock: str
) -> None:
    tenant = environment.greenfield()
    tenant.application.put(tenant.bucket, "free", b"x")
    tenant.application.put(tenant.bucket, "locked", b"x")
    bucket = fake.store.buckets[tenant.bucket]
    version = bucket.live("locked")
    assert version is not None
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat().replace("+00:00", "Z")
    if lock == "bucket":
        bucket.resource["retentionPolicy"] = {"retentionPeriod": "86400"}
    else:
        version.extra[lock] = {"mode": "Locked", "retainUntilTime": later} if lock == "retention" else True
    with pytest.raises(BucketNotEmpty, match="held or retained"):
        environment.provisioner.delete(tenant.record)
    assert tenant.application.list_keys(tenant.bucket) == ["free", "locked"], "the application is still in"
    version.extra.clear()
    bucket.resource.pop("retentionPolicy", None)
    environment.delete(tenant.record)
    assert not environment.administrator.bucket_exists(tenant.bucket)


def test_a_lock_that_the_bounded_look_missed_still_stops_the_purge(
    environment: Environment, fake: FakeGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = environment.greenfield()
    tenant.application.put(tenant.bucket, "locked", b"x")
    version = fake.store.buckets[tenant.bucket].live("locked")
    assert version is not None
    version.extra["temporaryHold"] = True
    monkeypatch.setattr("gcs_provisioner.contents._LOCK_SCAN", 1)
    monkeypatch.setattr("gcs_provisioner.contents._is_locked", lambda *_: False)
    with pytest.raises(BucketNotEmpty) as refused:
        environment.delete(tenant.record)
    assert refused.value.request_id.startswith("ADPycd"), "of the batch: its parts have no ids"
    assert environment.administrator.bucket_exists(tenant.bucket)
    assert_shut_out(tenant)


def test_objects_go_in_batches_of_a_hundred(environment: Environment, fake: FakeGcs) -> None:
    tenant = environment.greenfield()
    environment.fill(tenant.bucket, 250)
    with pytest.raises(NotReady):
        environment.provisioner.delete(tenant.record)
    fake.clock.turn(200)
    fake.calls()
    environment.provisioner.delete(tenant.record)
    calls = fake.calls()
    assert len([each for each in calls if each.startswith("POST /batch/storage/v1")]) == 3
    assert not [each for each in calls if each.startswith("DELETE") and "/o/" in each]


@pytest.mark.parametrize("verb", ["delete", "delete_empty"])
@pytest.mark.parametrize("was_bound", [True, False])
def test_a_permission_that_is_withdrawn_is_no_change_by_others(
    environment: Environment, verb: str, *, was_bound: bool
) -> None:
    """Google counts a bucket's policy with its settings, which the precondition of its deletion names."""
    request = environment.request(parameters={"revocationSeconds": "0"})
    answer = environment.provisioner.provision(request)
    record = builders.recorded(answer, request) if was_bound else builders.intent(request)
    getattr(environment.provisioner, verb)(record)
    assert not environment.administrator.bucket_exists(answer.bucket_name)


@pytest.fixture
def on_batch(monkeypatch: pytest.MonkeyPatch) -> OnBatch:
    """Has the batch with this number, from 0, answered otherwise; None answers it as always. Threads meet there."""
    numbers, real = itertools.count(), server.respond

    def on_batch(instead: Callable[[int], Answer | None]) -> None:
        def respond(store: Store, request: Request) -> Answer:
            is_batch = request.path == "/batch/storage/v1"
            return (instead(next(numbers)) if is_batch else None) or real(store, request)

        monkeypatch.setattr(server, "respond", respond)

    return on_batch


def test_batches_are_sent_four_at_a_time_after_the_first(environment: Environment, on_batch: OnBatch) -> None:
    tenant = environment.greenfield()
    environment.fill(tenant.bucket, 5 * BATCH)
    together = threading.Barrier(4)

    def instead(number: int) -> None:
        if number:
            together.wait(20)

    on_batch(instead)
    environment.delete(tenant.record)
    assert not environment.administrator.bucket_exists(tenant.bucket)


def test_a_batch_that_is_refused_ends_the_call_after_those_beside_it(
    environment: Environment, fake: FakeGcs, on_batch: OnBatch
) -> None:
    tenant = environment.greenfield(environment.request(parameters={"revocationSeconds": "0"}))
    environment.fill(tenant.bucket, 5 * BATCH)
    on_batch(lambda number: ApiError(500, "backendError", "Backend Error").as_json() if number == 2 else None)
    with pytest.raises(StoreUnavailable):
        environment.provisioner.delete(tenant.record)
    assert len(fake.store.buckets[tenant.bucket].versions) == BATCH
    environment.delete(tenant.record)
    assert not environment.administrator.bucket_exists(tenant.bucket)


def test_a_large_purge_pauses_with_its_progress_and_goes_on_with_the_next_call(
    environment: Environment, backend: GcsBackend, fake: FakeGcs
) -> None:
    tenant = environment.greenfield(
        environment.request(config={"bucketVersioning": "Enabled"}, parameters={"revocationSeconds": "0"})
    )
    environment.fill(tenant.bucket, 250)
    hurried = a_provisioner(fake, backend.admin_key, patience=replace(QUICK, purge=0.0))
    seen = []
    while environment.administrator.bucket_exists(tenant.bucket):
        try:
            hurried.delete(tenant.record)
        except PurgeUnfinished as pause:
            seen.append(pause.removed)
            assert_refused("writing during the purge", lambda: tenant.application.put(tenant.bucket, "late", b"x"))
    assert seen[0] == 100
    assert len(seen) == 3, "each call begins with one batch"


def test_the_batches_of_a_purge_are_bound_to_the_work_of_its_thread(
    environment: Environment, backend: GcsBackend, fake: FakeGcs
) -> None:
    """Several batches run in threads of their own; leadership is that of the claim that is deleted."""
    work: ContextVar[str] = ContextVar("work", default="")
    seen: set[str] = set()
    tenant = environment.greenfield(environment.request(parameters={"revocationSeconds": "0"}))
    environment.fill(tenant.bucket, 250)
    provisioner = a_provisioner(fake, backend.admin_key, before_request=lambda: seen.add(work.get()))
    work.set("of this claim")
    provisioner.delete(tenant.record)
    assert seen == {"of this claim"}


def test_unfinished_uploads_in_parts_are_not_nothing(environment: Environment) -> None:
    tenant = environment.greenfield()
    tenant.application.start_multipart(tenant.bucket, "begun")
    with pytest.raises(BucketNotEmpty):
        environment.delete_empty(tenant.record)
    assert environment.administrator.unfinished_uploads(tenant.bucket) == 1


def test_unfinished_uploads_in_parts_are_aborted(environment: Environment, backend: GcsBackend, fake: FakeGcs) -> None:
    tenant = environment.greenfield()
    assert isinstance(tenant.application, HmacApplication)
    for key in ("one/ü +&", "two"):
        tenant.application.start_multipart(tenant.bucket, key)
    assert len(fake.store.buckets[tenant.bucket].uploads) == 2
    environment.delete(tenant.record)
    assert not backend.administrator.bucket_exists(tenant.bucket)


def test_a_grant_warns_that_settings_of_the_bucket_are_not_applied(environment: Environment) -> None:
    request = environment.request(bucket=environment.foreign_bucket(), config={"bucketVersioning": "Enabled"})
    warnings = environment.bind(request, greenfield=False).answer.warnings
    assert ["bucketVersioning" in each for each in warnings] == [True]


def test_a_deletion_needs_nothing_but_the_record(environment: Environment, backend: GcsBackend) -> None:
    tenant = environment.tenant(greenfield=True)
    assert list(tenant.answer.additional_state) == ["ProjectNumber", "ServiceAccount", "AccessId", "Project"]
    environment.delete(replace(tenant.record, user_id="derived-by-a-later-release"))
    assert not backend.administrator.identity_exists(builders.intent(tenant.request))


def test_managed_folders_of_an_application_go_with_their_bucket(environment: Environment, fake: FakeGcs) -> None:
    tenant = environment.tenant(greenfield=True)
    fake.store.buckets[tenant.bucket].folders |= {"a/", "a/b/", "c/"}
    environment.delete(tenant.record)
    assert not environment.administrator.bucket_exists(tenant.bucket)


def test_a_managed_folder_is_not_nothing(environment: Environment, fake: FakeGcs) -> None:
    tenant = environment.greenfield()
    fake.store.buckets[tenant.bucket].folders.add("a/")
    with pytest.raises(BucketNotEmpty, match="managed folders"):
        environment.delete_empty(tenant.record)
    assert_works(tenant)
    fake.store.buckets[tenant.bucket].folders.clear()
    environment.delete_empty(tenant.record)
    assert not environment.administrator.bucket_exists(tenant.bucket)
