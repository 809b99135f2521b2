"""A crash between any two steps: the next call goes on, and never takes what is not ours."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from libbucket import BucketExists, NotReady, StoreUnavailable
from libbucket.testing import builders
from libbucket.testing.conformance.environment import Environment, assert_shut_out, assert_works
from minio_provisioner.identity import Identity
from minio_provisioner.storage import Storage
from testkit.minio.backend import MinioBackend, a_provisioner

if TYPE_CHECKING:
    from testkit.minio.server import MinioServer

STEPS = [
    (Identity, "declare_intent"),
    (Storage, "create"),
    (Storage, "set_tags"),
    (Storage, "set_quota"),
    (Storage, "set_versioning"),
    (Identity, "write_policy"),
    (Identity, "create_keys"),
    (Identity, "attach"),
]
both_sides = pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
each_step = pytest.mark.parametrize(("owner", "step"), STEPS, ids=[step for _, step in STEPS])
CONFIG = {"maxSize": "1Gi", "bucketVersioning": "Enabled"}


@both_sides
@each_step
def test_a_creation_that_was_cut_off_is_finished_by_the_next_call(
    environment: Environment, backend: MinioBackend, owner: type, step: str, done: bool
) -> None:
    request = environment.request(config=CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        _cut(patch, owner, step, done=done)
        with pytest.raises(StoreUnavailable):
            environment.provisioner.provision(request)
    tenant = environment.greenfield(request)
    assert_works(tenant)
    assert backend.administrator.config(tenant.bucket, "maxSize") == str(2**30)
    assert request.owner.matches(backend.administrator.s3.get_bucket_tags(tenant.bucket) or {})


@both_sides
@each_step
def test_a_creation_that_was_cut_off_is_removed_by_delete(
    environment: Environment, backend: MinioBackend, owner: type, step: str, done: bool
) -> None:
    request = environment.request(config=CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        _cut(patch, owner, step, done=done)
        with pytest.raises(StoreUnavailable):
            environment.provisioner.provision(request)
    environment.delete(builders.intent(request))
    assert not backend.administrator.bucket_exists(request.bucket_name)
    assert not backend.administrator.identity_exists(builders.intent(request))


@both_sides
@pytest.mark.parametrize(
    ("owner", "step"), [(Identity, "withdraw"), (Storage, "remove_content"), (Storage, "remove")], ids=str
)
def test_a_deletion_that_was_cut_off_is_finished_by_the_next_call(
    environment: Environment, backend: MinioBackend, owner: type, step: str, done: bool
) -> None:
    tenant = environment.tenant(greenfield=True)
    with pytest.MonkeyPatch.context() as patch:
        _cut(patch, owner, step, done=done)
        with pytest.raises(StoreUnavailable):
            environment.provisioner.delete(tenant.record)
    environment.delete(tenant.record)
    assert not backend.administrator.bucket_exists(tenant.bucket)
    assert not backend.administrator.identity_exists(tenant.record)


def test_a_bucket_without_tags_is_not_adopted_after_a_crash_if_it_holds_data(
    environment: Environment, backend: MinioBackend
) -> None:
    request = environment.request()
    with pytest.MonkeyPatch.context() as patch:
        _cut(patch, Identity, "declare_intent", done=True)
        with pytest.raises(StoreUnavailable):
            environment.provisioner.provision(request)
    backend.administrator.make_bucket(request.bucket_name)
    backend.administrator.application().put(request.bucket_name, "foreign", b"data")
    with pytest.raises(BucketExists):
        environment.provisioner.provision(request)
    with pytest.raises(BucketExists):
        environment.provisioner.delete(builders.intent(request))
    assert backend.administrator.application().get(request.bucket_name, "foreign") == b"data"
    assert backend.administrator.settings(request.bucket_name)["tags"] == {}
    backend.administrator.application().delete(request.bucket_name, "foreign")
    with pytest.raises(BucketExists):
        environment.provisioner.provision(request)
    assert backend.administrator.settings(request.bucket_name)["tags"] == {}, "not taken when it is empty later either"


def test_a_bucket_that_another_party_creates_during_provisioning_stays_theirs(
    environment: Environment, backend: MinioBackend
) -> None:
    request = environment.request()
    declare = Identity.declare_intent

    def then_another(self: Identity, bucket: str) -> None:
        declare(self, bucket)
        backend.administrator.make_bucket(bucket)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Identity, "declare_intent", then_another)
        with pytest.raises(NotReady, match="created by another"):
            environment.provisioner.provision(request)
    assert not backend.administrator.identity_exists(builders.intent(request))
    with pytest.raises(BucketExists):
        environment.provisioner.provision(request)
    assert backend.administrator.settings(request.bucket_name)["tags"] == {}


def test_a_creation_that_arrives_twice_succeeds_with_a_generated_name(
    environment: Environment, backend: MinioBackend
) -> None:
    request = replace(environment.request(), is_name_generated=True)
    create = Storage.create

    def twice(self: Storage, bucket: str, *, object_locking: bool) -> bool:
        assert create(self, bucket, object_locking=object_locking)
        return create(self, bucket, object_locking=object_locking)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Storage, "create", twice)
        assert_works(environment.greenfield(request))
    assert backend.administrator.settings(request.bucket_name)["tags"] == request.owner.ownership_tags()


def test_an_existing_bucket_with_a_generated_name_is_not_adopted(
    environment: Environment, backend: MinioBackend
) -> None:
    request = replace(environment.request(), is_name_generated=True)
    backend.administrator.make_bucket(request.bucket_name)
    with pytest.raises(BucketExists):
        environment.provisioner.provision(request)
    assert backend.administrator.settings(request.bucket_name)["tags"] == {}


def test_a_bucket_that_another_replica_creates_first_is_used(environment: Environment, server: MinioServer) -> None:
    request = environment.request()
    declare, other = Identity.declare_intent, a_provisioner(server)

    def then_the_other(self: Identity, bucket: str) -> None:
        declare(self, bucket)
        patch.undo()
        other.provision(request)

    patch = pytest.MonkeyPatch()
    patch.setattr(Identity, "declare_intent", then_the_other)
    assert_works(environment.greenfield(request))


ROTATION = [
    (Identity, "find_policy"),
    (Identity, "write_policy"),
    (Identity, "create_keys"),
    (Identity, "attach"),
    (Identity, "remove_user"),
]


@both_sides
@pytest.mark.parametrize("ending", ["provision", "delete"])
@pytest.mark.parametrize(("owner", "step"), ROTATION, ids=[step for _, step in ROTATION])
def test_a_rotation_that_was_cut_off_is_finished_or_removed_by_the_next_call(
    environment: Environment, backend: MinioBackend, owner: type, step: str, done: bool, ending: str
) -> None:
    tenant = environment.tenant(greenfield=True)
    request = builders.again(tenant.request, tenant.answer, with_credentials=False)
    with pytest.MonkeyPatch.context() as patch:
        _cut(patch, owner, step, done=done)
        with pytest.raises(StoreUnavailable):
            environment.provisioner.provision(request)
        with suppress(StoreUnavailable):  # it may have got on
            environment.provisioner.provision(request)
    if ending == "provision":
        rotated = environment.bind(request, greenfield=True)
        assert_works(rotated)
        assert_shut_out(tenant)
        assert backend.administrator.users(tenant.record) == [rotated.answer.additional_state["UserName"]]
        environment.delete(builders.recorded(rotated.answer, request, greenfield=True))
    else:
        environment.delete(tenant.record)
    assert not backend.administrator.identity_exists(tenant.record)
    assert not backend.administrator.bucket_exists(tenant.bucket)


def _cut(patch: pytest.MonkeyPatch, owner: type, step: str, *, done: bool) -> None:
    """Lets a step fail, before or after it was done."""
    real = getattr(owner, step)

    def cut_off(self: object, *args: object, **kw: object) -> object:
        if done:
            real(self, *args, **kw)
        raise StoreUnavailable("the process died here")

    patch.setattr(owner, step, cut_off)
