"""A crash between any two steps: the next call goes on, and never takes what is not ours.

On two servers: one that takes the tags in the call that makes a bucket, as AWS does, and one that does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aws_s3_provisioner.contents import Contents
from aws_s3_provisioner.identity import Identity
from aws_s3_provisioner.parameters import Parameters
from aws_s3_provisioner.request import Patience
from aws_s3_provisioner.settings import Settings
from aws_s3_provisioner.storage import NewBucket, Storage
from aws_s3_provisioner.trials import Trials
from aws_s3_provisioner.users import IamUser
from libbucket import AccessDenied, BucketExists, StoreUnavailable
from libbucket.testing import builders
from libbucket.testing.conformance.environment import Environment, assert_works
from testkit.aws_s3.backend import AwsBackend, a_provisioner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket import BucketOptions
    from libbucket.testing.conformance.environment import Tenant
    from testkit.aws_s3.emulators import AwsServer

STEPS = [
    (Storage, "find_tags"),
    (Storage, "create"),
    (Settings, "apply"),
    (Identity, "ensure"),
    (Identity, "_create"),
    (Identity, "limit"),
    (Identity, "create_keys"),
    (Trials, "attempt"),
]
STEPS_WITHOUT_TAGS = [*STEPS, (Identity, "declare_intent"), (Storage, "tag"), (Identity, "withdraw_intent")]
LAST_STEPS = [
    (Contents, "check_unlocked"),
    (IamUser, "delete_key"),
    (IamUser, "delete_policy"),
    (IamUser, "delete"),
    (Contents, "_purge_batch"),
    (Storage, "remove"),
]
CONFIG = {"bucketVersioning": "Enabled"}
both_sides = pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
each_step = pytest.mark.parametrize(("owner", "step"), STEPS, ids=[step for _, step in STEPS])
each_step_without_tags = pytest.mark.parametrize(
    ("owner", "step"), STEPS_WITHOUT_TAGS, ids=[step for _, step in STEPS_WITHOUT_TAGS]
)
each_last_step = pytest.mark.parametrize(("owner", "step"), LAST_STEPS, ids=[step for _, step in LAST_STEPS])


@pytest.fixture
def lenient_world(lenient_server: AwsServer) -> Iterator[Environment]:
    environment = Environment(AwsBackend(lenient_server))
    yield environment
    environment.clean_up()


@both_sides
@each_step
def test_a_creation_that_was_cut_off_is_finished_by_the_next_call(
    environment: Environment, backend: AwsBackend, owner: type, step: str, done: bool
) -> None:
    request = environment.request(config=CONFIG)
    _die_at(environment, request, owner, step, done=done)
    tenant = environment.greenfield(request)
    assert_works(tenant)
    assert backend.administrator.config(tenant.bucket, "bucketVersioning") == "Enabled"
    assert request.owner.matches(backend.administrator.tags(tenant.bucket))
    assert len(backend.administrator.keys(request.user_id)) == 1, "a key that nobody knows was left"


@both_sides
@each_step
def test_a_creation_that_was_cut_off_is_removed_by_delete(
    environment: Environment, backend: AwsBackend, owner: type, step: str, done: bool
) -> None:
    request = environment.request(config=CONFIG)
    _die_at(environment, request, owner, step, done=done)
    environment.delete(builders.intent(request))
    assert not backend.administrator.bucket_exists(request.bucket_name)
    assert not backend.administrator.identity_exists(builders.intent(request))


@both_sides
@each_step_without_tags
def test_where_a_store_takes_no_tags_with_the_bucket_a_creation_is_finished_too(
    lenient_world: Environment, owner: type, step: str, done: bool
) -> None:
    request = lenient_world.request()
    administrator = lenient_world.administrator
    _die_at(lenient_world, request, owner, step, done=done)
    tenant = lenient_world.greenfield(request)
    assert isinstance(lenient_world.backend, AwsBackend)
    assert request.owner.matches(lenient_world.backend.administrator.tags(tenant.bucket))
    user = lenient_world.backend.administrator.iam.get_user(UserName=request.user_id)["User"]
    assert not [tag for tag in user["Tags"] if tag["Key"] == "objectbucket_being_made"], "the note was left"
    assert administrator.bucket_exists(tenant.bucket)


@both_sides
@pytest.mark.parametrize("step", ["has_declared_intent", "withdraw_intent", "tag"])
def test_a_second_crash_during_the_repair_of_the_first_is_repaired_too(
    lenient_world: Environment, step: str, done: bool
) -> None:
    request = lenient_world.request()
    _die_at(lenient_world, request, Storage, "tag", done=False)
    _die_at(lenient_world, request, Storage if step == "tag" else Identity, step, done=done)
    tenant = lenient_world.greenfield(request)
    assert isinstance(lenient_world.backend, AwsBackend)
    assert request.owner.matches(lenient_world.backend.administrator.tags(tenant.bucket))


@both_sides
@each_step_without_tags
def test_where_a_store_takes_no_tags_with_the_bucket_a_creation_is_removed_too(
    lenient_world: Environment, owner: type, step: str, done: bool
) -> None:
    request = lenient_world.request()
    _die_at(lenient_world, request, owner, step, done=done)
    lenient_world.delete(builders.intent(request))
    assert not lenient_world.administrator.bucket_exists(request.bucket_name)
    assert not lenient_world.administrator.identity_exists(builders.intent(request))


@both_sides
@each_last_step
def test_a_deletion_that_was_cut_off_is_finished_by_the_next_call(
    environment: Environment, backend: AwsBackend, owner: type, step: str, done: bool
) -> None:
    tenant = environment.tenant(greenfield=True)
    with pytest.MonkeyPatch.context() as patch:
        _cut(patch, owner, step, done=done)
        with pytest.raises(StoreUnavailable):
            environment.provisioner.delete(tenant.record)
    environment.delete(tenant.record)
    assert not backend.administrator.bucket_exists(tenant.bucket)
    assert not backend.administrator.identity_exists(tenant.record)


def test_a_bucket_without_tags_is_not_taken_after_a_crash_if_something_is_in_it(lenient_world: Environment) -> None:
    request = lenient_world.request()
    _die_at(lenient_world, request, Identity, "declare_intent", done=True)
    administrator = lenient_world.administrator
    administrator.make_bucket(request.bucket_name)
    administrator.application().put(request.bucket_name, "others", b"data")
    with pytest.raises(BucketExists):
        lenient_world.greenfield(request)
    with pytest.raises(BucketExists):
        lenient_world.delete(builders.intent(request))
    assert administrator.application().get(request.bucket_name, "others") == b"data"
    administrator.application().delete(request.bucket_name, "others")
    with pytest.raises(BucketExists):
        lenient_world.greenfield(request)
    assert administrator.settings(request.bucket_name)["tags"] == {}, "not taken when it is empty later either"


def test_an_empty_bucket_without_tags_is_never_taken_where_a_bucket_is_tagged_when_it_is_made(
    environment: Environment, backend: AwsBackend
) -> None:
    request = environment.request()
    backend.administrator.make_bucket(request.bucket_name)
    with pytest.MonkeyPatch.context() as patch:
        _pretend_aws(patch)
        with pytest.raises(BucketExists):
            environment.provisioner.provision(request)
        with pytest.raises(BucketExists):
            environment.provisioner.delete(builders.intent(request))
    assert backend.administrator.bucket_exists(request.bucket_name)


@both_sides
@each_step
def test_at_aws_itself_a_creation_that_was_cut_off_is_finished_by_the_next_call(
    environment: Environment, owner: type, step: str, done: bool
) -> None:
    request = environment.request()
    with pytest.MonkeyPatch.context() as aws:
        _pretend_aws(aws)
        aws.setattr(Identity, "declare_intent", _never)
        aws.setattr(Storage, "tag", _never)
        _die_at(environment, request, owner, step, done=done)
        assert_works(environment.greenfield(request))


def test_another_tenant_who_makes_the_bucket_between_our_check_and_our_creation_keeps_it(
    environment: Environment, backend: AwsBackend
) -> None:
    request = environment.request()
    find = Storage.find_tags

    def then_the_neighbour(self: Storage, bucket: str) -> object:
        found = find(self, bucket)
        if not backend.administrator.bucket_exists(bucket):
            backend.administrator.make_bucket(bucket)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Storage, "find_tags", then_the_neighbour)
        with pytest.raises(BucketExists):
            environment.provisioner.provision(request)
    assert backend.administrator.tags(request.bucket_name) == {}
    with pytest.raises(BucketExists):
        environment.provisioner.provision(request)


@pytest.mark.parametrize("at_aws", [True, False], ids=["aws", "elsewhere"])
def test_a_claim_that_makes_the_bucket_between_anothers_check_and_its_call_keeps_it_in_the_region_that_says_no_word(
    environment: Environment, backend: AwsBackend, monkeypatch: pytest.MonkeyPatch, at_aws: bool
) -> None:
    monkeypatch.setattr(Parameters, "tags_on_creation", at_aws)
    first = environment.request(parameters={"region": "us-east-1"})
    second = environment.request(bucket=first.bucket_name, parameters={"region": "us-east-1"})
    create = Storage.create
    bound: list[Tenant] = []

    def after_the_other(self: Storage, bucket: str, new: NewBucket) -> bool:
        patch.undo()
        bound.append(environment.greenfield(first))
        return create(self, bucket, new)

    patch = pytest.MonkeyPatch()
    patch.setattr(Storage, "create", after_the_other)
    with pytest.raises(BucketExists):
        a_provisioner(backend.server, patience=Patience(replica=0.2, poll=0.05)).provision(second)
    assert first.owner.matches(backend.administrator.tags(first.bucket_name))
    assert_works(environment.again(bound[0]))


def test_another_worker_of_ours_that_makes_the_bucket_first_is_waited_for(lenient_world: Environment) -> None:
    request, create = lenient_world.request(), Storage.create
    tagged: list[str] = []

    def after_the_other(self: Storage, bucket: str, new: NewBucket) -> bool:
        create(self, bucket, new)
        return False

    def then_it_tags(seconds: float) -> None:
        tags = [{"Key": key, "Value": value} for key, value in request.owner.ownership_tags().items()]
        administrator: Any = lenient_world.administrator
        administrator.s3.put_bucket_tagging(Bucket=request.bucket_name, Tagging={"TagSet": tags})
        tagged.append(f"after {seconds}")

    patient = Patience(sleep=then_it_tags)
    assert isinstance(lenient_world.backend, AwsBackend)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Storage, "create", after_the_other)
        a_provisioner(lenient_world.backend.server, patience=patient).provision(request)
    assert len(tagged) == 1


def test_a_bucket_that_another_owner_created_again_is_left_and_the_claims_own_user_goes(
    environment: Environment, backend: AwsBackend
) -> None:
    tenant = environment.tenant(greenfield=True)
    backend.administrator.purge_bucket(tenant.bucket)
    backend.administrator.make_bucket(tenant.bucket)
    with pytest.raises(BucketExists):
        environment.provisioner.delete(tenant.record)
    assert backend.administrator.bucket_exists(tenant.bucket)
    assert not backend.administrator.identity_exists(tenant.record)


def test_a_bucket_of_another_account_is_told_from_a_missing_permission(
    environment: Environment, backend: AwsBackend
) -> None:
    request = environment.request()
    another = backend.client("s3", access_key="111111111111", secret_key="x")
    another.create_bucket(
        Bucket=request.bucket_name, CreateBucketConfiguration={"LocationConstraint": request.parameters["region"]}
    )
    try:
        with pytest.raises(BucketExists, match="another AWS account"):
            environment.provisioner.provision(request)
        with pytest.raises(AccessDenied, match="s3:ListBucket"):
            environment.provisioner.grant(request)
    finally:
        another.delete_bucket(Bucket=request.bucket_name)
    assert_works(environment.greenfield(request))


def _pretend_aws(patch: pytest.MonkeyPatch) -> None:
    """The server is taken for AWS itself, which tags a bucket in the call that makes it."""
    patch.setattr(Parameters, "tags_on_creation", True)


def _never(*_: object) -> None:
    pytest.fail("AWS needs no such step")


def _die_at(environment: Environment, request: BucketOptions, owner: type, step: str, *, done: bool) -> None:
    """Provisions with a step that fails, before or after it was done."""
    with pytest.MonkeyPatch.context() as patch:
        _cut(patch, owner, step, done=done)
        with pytest.raises(StoreUnavailable):
            environment.provisioner.provision(request)


def _cut(patch: pytest.MonkeyPatch, owner: type, step: str, *, done: bool) -> None:
    """Lets a step fail, before or after it was done."""
    real = getattr(owner, step)

    def cut_off(self: object, *args: object, **kw: object) -> object:
        if done:
            real(self, *args, **kw)
        raise StoreUnavailable("the process died here")

    patch.setattr(owner, step, cut_off)
