"""The policy in the README is enough for every verb, and every line of it is needed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from aws_s3_provisioner.storage import Storage
from libbucket import AccessDenied, BucketExists, BucketLister, Provisioner, StoreUnavailable
from libbucket.testing import builders
from testkit.aws_s3.backend import README_POLICY, AwsBackend, a_policy, a_provisioner, rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.conformance.environment import Environment
    from testkit.aws_s3.emulators import AwsServer

DOCUMENT: dict[str, Any] = json.loads(README_POLICY)
ACTIONS = [action for statement in DOCUMENT["Statement"] for action in statement["Action"]]
USER = "steward-of-the-test"

NOT_SEEN = {
    "s3:TagResource": "ministack asks for it on no request; AWS does for CreateBucket with tags",
    "s3:PutBucketOwnershipControls": "ministack asks for it on no request; AWS does for CreateBucket with an ownership",
    "iam:ListUserPolicies": "only for a warning, and after DeleteConflict, which ministack never answers",
    "iam:ListAttachedUserPolicies": "only for a warning, and after DeleteConflict",
    "iam:PutUserPermissionsBoundary": "only for a boundary that was changed; see test_isolation.py",
    "iam:DetachUserPolicy": "only after DeleteConflict, and for claims of the Go provisioner",
    "s3:DeleteObjectVersion": "ministack asks for s3:DeleteObject where a batch names versions; AWS does for both",
}
"""Actions whose lack shows in no request to ministack, each with the reason."""


@dataclass(frozen=True)
class Steward:
    """A user of its own for the provisioner, whose policy a test can cut."""

    backend: AwsBackend
    provisioner: Provisioner

    def may_everything_but(self, *without: str) -> None:
        statements = [
            {**statement, "Action": [action for action in statement["Action"] if action not in without]}
            for statement in DOCUMENT["Statement"]
        ]
        self.backend.administrator.iam.put_user_policy(
            UserName=USER, PolicyName="its-own", PolicyDocument=json.dumps({**DOCUMENT, "Statement": statements})
        )


@pytest.fixture
def steward(server: AwsServer, backend: AwsBackend) -> Iterator[Steward]:
    secret = backend.administrator.make_user(USER, README_POLICY)
    yield Steward(backend, a_provisioner(server, secret=secret))
    backend.administrator.remove_user(USER)


def test_every_verb_works_with_the_policy_of_the_readme(environment: Environment, steward: Steward) -> None:
    _live_a_whole_life(environment, steward.provisioner)


@pytest.mark.parametrize("action", sorted(set(ACTIONS) - NOT_SEEN.keys()))
def test_a_missing_permission_is_named(environment: Environment, steward: Steward, action: str) -> None:
    steward.may_everything_but(action)
    with pytest.raises(AccessDenied, match=action):
        _live_a_whole_life(environment, steward.provisioner)
    steward.may_everything_but()


@pytest.mark.parametrize("action", ["s3:ListAllMyBuckets", "s3:GetBucketTagging"])
def test_the_permission_that_the_list_of_buckets_lacks_is_named(
    environment: Environment, steward: Steward, action: str
) -> None:
    tenant, parameters = environment.tenant(greenfield=True), environment.backend.parameters
    assert isinstance(steward.provisioner, BucketLister)
    steward.may_everything_but(action)
    with pytest.raises(AccessDenied, match=action):
        dict(steward.provisioner.list_buckets(parameters))
    steward.may_everything_but()
    assert tenant.bucket in dict(steward.provisioner.list_buckets(parameters))


def test_the_policy_lets_nobody_reach_users_elsewhere(
    environment: Environment, steward: Steward, backend: AwsBackend
) -> None:
    request = replace(environment.request(), user_id="another-user")
    backend.administrator.iam.create_user(UserName="another-user")
    with pytest.raises(AccessDenied):
        steward.provisioner.provision(request)
    assert steward.provisioner.provision(environment.request()).connection.authentication
    backend.administrator.remove_user("another-user")


def _live_a_whole_life(environment: Environment, provisioner: Provisioner) -> None:
    """Everything that needs a permission: crashes, both kinds, settings, locks, versions, uploads, repeated calls."""
    _crash(environment, provisioner)
    _meet_a_neighbour(environment, provisioner)
    config = {"bucketVersioning": "Enabled", "bucketPolicy": a_policy("Allow"), "bucketLifecycle": rules(3)}
    parameters = {
        "kmsKeyId": "mrk-" + "0" * 32,
        "objectOwnership": "BucketOwnerPreferred",
        "tags": "team=shop",
    }
    tenant = environment.bind(
        environment.request(config=config, parameters=parameters), greenfield=True, by=provisioner
    )
    tenant.application.put(tenant.bucket, "key", b"x")
    tenant = environment.again(tenant, by=provisioner, config={})
    tenant = environment.again(tenant, by=provisioner, with_credentials=False)
    tenant.application.start_multipart(tenant.bucket, "key")
    guest = environment.bind(environment.request(bucket=tenant.bucket), greenfield=False, by=provisioner)
    provisioner.revoke(guest.record)
    _lock(environment, tenant.bucket)
    provisioner.delete(tenant.record)
    provisioner.delete(builders.intent(tenant.request))
    _be_shut_out(environment, provisioner)


def _be_shut_out(environment: Environment, provisioner: Provisioner) -> None:
    """By a claim's own policy."""
    denied = {"Principal": {"AWS": f"arn:aws:iam::000000000000:user/{USER}"}, "Action": "s3:ListBucketVersions"}
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", **denied}]}
    request = environment.request(config={"bucketPolicy": json.dumps(document)})
    tenant = environment.bind(request, greenfield=True, by=provisioner)
    provisioner.delete(tenant.record)


def _crash(environment: Environment, provisioner: Provisioner) -> None:
    """Where a store took no tags with the bucket."""
    request = environment.request()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aws_s3_provisioner.storage._tag_set", lambda _tags: [])
        patch.setattr(Storage, "tag", _die)
        with pytest.raises(StoreUnavailable):
            provisioner.provision(request)
    provisioner.delete(builders.intent(request))
    assert not environment.administrator.bucket_exists(request.bucket_name)


def _meet_a_neighbour(environment: Environment, provisioner: Provisioner) -> None:
    """Who has the bucket in another account."""
    request = environment.request()
    assert isinstance(environment.backend, AwsBackend)
    another = environment.backend.client("s3", access_key="111111111111", secret_key="x")
    where: Any = {"LocationConstraint": request.parameters["region"]}
    another.create_bucket(Bucket=request.bucket_name, CreateBucketConfiguration=where)
    try:
        with pytest.raises(BucketExists):
            provisioner.provision(request)
    finally:
        another.delete_bucket(Bucket=request.bucket_name)


def _lock(environment: Environment, bucket: str) -> None:
    administrator: Any = environment.administrator
    administrator.enable_versioning(bucket)
    lock: Any = {"ObjectLockEnabled": "Enabled"}
    administrator.s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=lock)


def _die(*_: object) -> None:
    raise StoreUnavailable("the process died here")
