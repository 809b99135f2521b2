"""What MinIO has beyond the suite: two quota keys at once, class-wide versioning, object locking, bounded purges."""

from __future__ import annotations

import hashlib
import io
from base64 import b64encode
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from minio.commonconfig import GOVERNANCE
from minio.error import S3Error
from minio.retention import Retention

from libbucket import BucketNotEmpty, InvalidConfig, NotReady, PurgeUnfinished
from libbucket.testing import builders
from libbucket.testing.conformance.environment import Environment, assert_refused, assert_shut_out, assert_works
from libbucket.testing.requests_watched import counted_requests
from minio_provisioner.storage import Storage
from testkit.minio.backend import Rerouted, _services, refused_with
from testkit.minio.scripted_node import Asked, node_before

if TYPE_CHECKING:
    from libbucket.testing.misbehaving import Answer
    from testkit.minio.backend import MinioBackend
    from testkit.minio.server import MinioServer


def test_the_smaller_of_both_sizes_is_the_quota(environment: Environment, backend: MinioBackend) -> None:
    tenant = environment.greenfield(environment.request(config={"maxSize": "2Gi", "bucketMaxSize": "1Gi"}))
    assert backend.administrator.config(tenant.bucket, "maxSize") == str(2**30)
    environment.again(tenant, config={"maxSize": "2Gi"})
    assert backend.administrator.config(tenant.bucket, "maxSize") == str(2 * 2**30)
    environment.again(tenant, config={"maxSize": "0"})
    assert backend.administrator.config(tenant.bucket, "maxSize") is None


def test_a_class_with_versioning_makes_buckets_that_keep_versions_and_a_claim_may_suspend_it(
    environment: Environment, backend: MinioBackend
) -> None:
    first = environment.greenfield(environment.request(parameters={"versioning": "true"}))
    assert backend.administrator.config(first.bucket, "bucketVersioning") == "Enabled"
    environment.again(first, config={"bucketVersioning": "Suspended"})
    assert backend.administrator.config(first.bucket, "bucketVersioning") == "Suspended"


def test_a_grant_warns_that_settings_of_the_claim_are_not_applied(environment: Environment) -> None:
    bucket = environment.foreign_bucket()
    request = environment.request(bucket=bucket, config={"maxSize": "1Gi", "bucketVersioning": "Enabled"})
    warnings = environment.bind(request, greenfield=False).answer.warnings
    assert [text for text in warnings if "maxSize" in text or "bucketVersioning" in text] == list(warnings)
    assert len(warnings) == 2


@pytest.mark.parametrize("kind", ["retention", "legal hold"])
def test_a_bucket_with_a_locked_object_is_not_deleted_and_nothing_of_it_is_touched(
    environment: Environment, backend: MinioBackend, kind: str
) -> None:
    tenant = environment.greenfield(environment.request(parameters={"objectLocking": "true"}))
    tenant.application.put(tenant.bucket, "free", b"x")
    if kind == "retention":
        until = datetime.now(UTC) + timedelta(days=1)
        _put_locked(tenant.application, tenant.bucket, retention=Retention(GOVERNANCE, until))
    else:
        _put_locked(tenant.application, tenant.bucket, legal_hold=True)
    with pytest.raises(BucketNotEmpty, match="locked"):
        environment.provisioner.delete(tenant.record)
    assert tenant.application.list_keys(tenant.bucket) == ["free", "locked"], "the application is still in"
    backend.administrator.unlock(tenant.bucket)
    environment.delete(tenant.record)
    assert not backend.administrator.bucket_exists(tenant.bucket)


def test_a_lock_that_the_bounded_search_missed_still_stops_the_purge(
    environment: Environment, backend: MinioBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = environment.greenfield(environment.request(parameters={"objectLocking": "true"}))
    _put_locked(tenant.application, tenant.bucket, legal_hold=True)
    monkeypatch.setattr("minio_provisioner.storage._LOCK_SCAN", 0)
    with pytest.raises(BucketNotEmpty, match="locked"):
        environment.provisioner.delete(tenant.record)
    assert backend.administrator.stored_versions(tenant.bucket) == 1
    assert_shut_out(tenant)


def test_a_claim_without_object_locking_can_not_set_locks(environment: Environment, backend: MinioBackend) -> None:
    bucket = environment.new_name()
    backend.administrator.s3.make_bucket(bucket, object_lock=True)
    tenant = environment.brownfield(bucket)
    assert_works(tenant)
    with pytest.raises(S3Error) as refused:
        _put_locked(tenant.application, bucket, legal_hold=True)
    assert refused.value.code == "AccessDenied"
    _put_locked(backend.administrator.application(), bucket, legal_hold=True)


def test_versioning_of_a_bucket_with_object_locking_can_not_be_suspended(environment: Environment) -> None:
    request = environment.request(parameters={"objectLocking": "true"}, config={"bucketVersioning": "Suspended"})
    with pytest.raises(InvalidConfig, match="bucketVersioning"):
        environment.greenfield(request)
    assert_works(environment.greenfield(replace(request, claim=replace(request.claim, additional_config={}))))


def test_a_large_purge_pauses_with_its_progress_and_goes_on_with_the_next_call(
    environment: Environment, backend: MinioBackend
) -> None:
    tenant = environment.greenfield(environment.request(config={"bucketVersioning": "Enabled"}))
    environment.fill(tenant.bucket, 1200)
    backend.administrator.application().batch_delete(tenant.bucket, [f"{n % 7}/{n:05}" for n in range(1000)])
    for key in ("one", "two"):
        backend.administrator.application().start_multipart(tenant.bucket, key)
    assert backend.administrator.stored_versions(tenant.bucket) == 2200
    stepwise, seen = backend.stepwise_provisioner(), []
    while backend.administrator.bucket_exists(tenant.bucket):
        try:
            stepwise.delete(tenant.record)
        except PurgeUnfinished as pause:
            seen.append(pause.removed)
            assert_refused("writing during the purge", lambda: tenant.application.put(tenant.bucket, "late", b"x"))
    assert len(seen) >= 3
    assert seen[0] == 1002


@pytest.mark.parametrize("versioning", ["Enabled", "Suspended"])
def test_objects_whose_names_xml_can_not_carry_are_found_counted_and_removed(
    environment: Environment, backend: MinioBackend, versioning: str
) -> None:
    tenant = environment.greenfield(environment.request(config={"bucketVersioning": versioning}))
    names = ["docs/Icon\r", "a\x01b", "\r", " ", "a\r\nb", "\x7f", "\uffff", "a&<b>", "x\n", "plain"]
    for name in names:
        put_any(tenant.application, tenant.bucket, name)
    put_any(tenant.application, tenant.bucket, "upload\r", query={"uploads": ""}, method="POST")
    assert backend.administrator.stored_versions(tenant.bucket) == len(names)
    with pytest.raises(BucketNotEmpty):
        environment.delete_empty(tenant.record)
    with pytest.raises(PurgeUnfinished) as pause, counted_requests() as sent:
        backend.stepwise_provisioner().delete(tenant.record)
    assert pause.value.removed == len(names) + 1
    assert len(sent) < 3 * len(names)
    environment.delete(tenant.record)
    assert not backend.administrator.bucket_exists(tenant.bucket)


def test_a_locked_object_whose_name_xml_can_not_carry_is_kept(environment: Environment, backend: MinioBackend) -> None:
    tenant = environment.greenfield(environment.request(parameters={"objectLocking": "true"}))
    put_any(tenant.application, tenant.bucket, " ", headers={"x-amz-object-lock-legal-hold": "ON"})
    put_any(tenant.application, tenant.bucket, "\r", headers={"x-amz-object-lock-legal-hold": "ON"})
    with pytest.raises(BucketNotEmpty, match="locked"):
        environment.provisioner.delete(tenant.record)
    assert backend.administrator.stored_versions(tenant.bucket) == 2
    for found in list(backend.administrator.s3.list_objects(tenant.bucket, include_version=True)):
        off = b"<LegalHold><Status>OFF</Status></LegalHold>"
        query = {"legal-hold": "", "versionId": found.version_id}
        put_any(backend.administrator.application(), tenant.bucket, found.object_name, query=query, body=off)
    environment.delete(tenant.record)
    assert not backend.administrator.bucket_exists(tenant.bucket)


def test_a_purge_that_removes_nothing_stops_and_says_so(
    environment: Environment, backend: MinioBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a bucket whose replica is down: its versions stay listed until that has removed them, too."""
    tenant = environment.tenant(greenfield=True)
    with monkeypatch.context() as patch, counted_requests() as sent:
        patch.setattr(Storage, "remove_content", lambda *_: None)
        for provisioner in (environment.provisioner, backend.stepwise_provisioner()):
            with pytest.raises(NotReady, match="still lists"):
                provisioner.delete(tenant.record)
    assert len(sent) < 30
    environment.delete(tenant.record)
    assert not backend.administrator.bucket_exists(tenant.bucket)


def test_locks_are_searched_once_and_not_with_every_step_of_a_purge(
    environment: Environment, backend: MinioBackend
) -> None:
    tenant = environment.greenfield(environment.request(parameters={"objectLocking": "true"}))
    environment.fill(tenant.bucket, 1100)
    stepwise = backend.stepwise_provisioner()
    costs = []
    for _ in range(2):
        with suppress(PurgeUnfinished), counted_requests() as sent:
            stepwise.delete(tenant.record)
        costs.append(len(sent))
    assert costs[1] < 20, costs
    environment.delete(tenant.record)


def test_the_search_for_locks_is_bounded_in_time(environment: Environment) -> None:
    tenant = environment.greenfield(environment.request(parameters={"objectLocking": "true"}))
    environment.fill(tenant.bucket, 30)
    clock = iter(range(1000))
    record = tenant.record
    with environment.provisioner._request(record) as request, counted_requests() as sent:  # type: ignore[attr-defined]
        request.storage.check_unlocked(tenant.bucket, 10.5, clock=lambda: float(next(clock)))
    assert len(sent) == 1 + 2 * 10, "a listing, and two requests for each version"


@pytest.mark.parametrize("deletes_empty", [False, True], ids=["delete", "delete-empty"])
def test_a_bucket_that_one_answer_calls_gone_is_not_left_behind(
    environment: Environment, server: MinioServer, backend: MinioBackend, deletes_empty: bool
) -> None:
    tenant = environment.greenfield(environment.request())

    def lists_nothing(asked: Asked) -> Answer | None:
        return refused_with(404, "NoSuchBucket") if "list-type=2" in asked.path else None

    with node_before(server, lists_nothing) as node:
        by = Rerouted(_services(server), node.url)
        delete = by.delete_empty if deletes_empty else by.delete
        with pytest.raises(NotReady, match="says that bucket"):
            delete(tenant.record)
        with pytest.raises(NotReady, match="says that bucket"):
            by.provision(builders.again(tenant.request, tenant.answer))
        assert tenant.application.list_keys(tenant.bucket) == [], "the credentials work on"

        node.answer = lambda _: None
        delete(tenant.record)

    assert not backend.administrator.bucket_exists(tenant.bucket)
    assert_shut_out(tenant)


@pytest.mark.parametrize("what", ["retention", "legal-hold"])
@pytest.mark.parametrize("code", ["NoSuchKey", "NoSuchVersion"])
def test_an_object_that_is_removed_while_locks_are_looked_for_holds_up_no_deletion(
    environment: Environment, server: MinioServer, backend: MinioBackend, what: str, code: str
) -> None:
    tenant = environment.greenfield(environment.request(parameters={"objectLocking": "true"}))
    tenant.application.put(tenant.bucket, "free", b"x")

    def is_removed(asked: Asked) -> Answer | None:
        return refused_with(404, code) if f"?{what}" in asked.path or f"&{what}" in asked.path else None

    with node_before(server, is_removed) as node:
        Rerouted(_services(server), node.url).delete(tenant.record)

    assert any(what in asked.path for asked in node.asked)
    assert not backend.administrator.bucket_exists(tenant.bucket)


def test_a_claim_whose_bucket_is_gone_can_be_deleted(environment: Environment, backend: MinioBackend) -> None:
    tenant = environment.tenant(greenfield=True)
    backend.administrator.purge_bucket(tenant.bucket)

    backend.provisioner().delete(tenant.record)

    assert not backend.administrator.identity_exists(tenant.record)


def test_a_deletion_needs_nothing_but_the_record(environment: Environment, backend: MinioBackend) -> None:
    tenant = environment.tenant(greenfield=True)
    state = {"UserName": tenant.request.user_id, "PolicyName": tenant.request.user_id}
    assert tenant.answer.additional_state == state
    renamed = replace(tenant.record, user_id="derived-by-a-later-release")
    environment.delete(renamed)
    assert not backend.administrator.identity_exists(builders.intent(tenant.request))


def put_any(
    application: object,
    bucket: str,
    name: str | None,
    *,
    method: str = "PUT",
    body: bytes = b"x",
    query: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> None:
    """A request for an object of any name: the client's own calls refuse some."""
    from testkit.minio.backend import MinioApplication

    assert isinstance(application, MinioApplication)
    digest = {"Content-MD5": b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()}
    sent: Any = {**digest, **(headers or {})}
    application.client._execute(method, bucket, name, body=body, headers=sent, query_params=query)


def _put_locked(application: object, bucket: str, **lock: object) -> None:
    from testkit.minio.backend import MinioApplication

    assert isinstance(application, MinioApplication)
    application.client.put_object(bucket, "locked", io.BytesIO(b"x"), 1, **lock)  # type: ignore[arg-type]
