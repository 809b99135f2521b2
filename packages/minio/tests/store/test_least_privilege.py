"""The policy in the README is enough for every verb, and every line of it is needed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from libbucket import AccessDenied, Provisioner, StoreUnavailable
from libbucket.testing import builders
from minio_provisioner.storage import Storage
from testkit.minio.backend import MinioBackend, a_provisioner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket.testing.conformance.environment import Environment
    from minio_provisioner.provisioner import MinioProvisioner
    from testkit.minio.server import MinioServer

README = Path(__file__).parents[2] / "README.md"
DOCUMENT: dict[str, Any] = json.loads(re.findall("```json\n(.*?)```", README.read_text(), re.DOTALL)[0])
ACTIONS: list[str] = [action for statement in DOCUMENT["Statement"] for action in statement["Action"]]
USER, PASSWORD = "provisioner-of-the-test", "its-own-password"

NEEDED_BY_OTHERS = {
    # MinIO takes the one for the other; AWS's names are kept apart, so that other servers take them as well.
    "s3:ListBucketVersions",
    # Of `--list-orphans` only, which has a test of its own.
    "s3:ListAllMyBuckets",
}


@dataclass(frozen=True)
class Steward:
    """An administrator of its own for the provisioner, whose policy a test can cut."""

    backend: MinioBackend
    provisioner: MinioProvisioner

    def may_everything_but(self, *without: str) -> None:
        statements = [
            {**statement, "Action": [action for action in statement["Action"] if action not in without]}
            for statement in DOCUMENT["Statement"]
        ]
        self.backend.administrator.admin.policy_add(USER, policy={**DOCUMENT, "Statement": statements})


@pytest.fixture
def steward(server: MinioServer, backend: MinioBackend) -> Iterator[Steward]:
    admin = backend.administrator.admin
    found = Steward(backend, a_provisioner(server, AWS_ACCESS_KEY_ID=USER, AWS_SECRET_ACCESS_KEY=PASSWORD))
    found.may_everything_but()
    admin.user_add(USER, PASSWORD)
    admin.attach_policy([USER], user=USER)
    yield found
    admin.user_remove(USER)
    admin.policy_remove(USER)


def test_every_verb_works_with_the_policy_of_the_readme(environment: Environment, steward: Steward) -> None:
    _live_a_whole_life(environment, steward.provisioner)


@pytest.mark.parametrize("action", sorted(set(ACTIONS) - NEEDED_BY_OTHERS))
def test_a_missing_permission_is_named(environment: Environment, steward: Steward, action: str) -> None:
    steward.may_everything_but(action)
    with pytest.raises(AccessDenied, match=action):
        _live_a_whole_life(environment, steward.provisioner)
    steward.may_everything_but()


def test_buckets_without_a_claim_are_listed_with_the_policy_of_the_readme(
    environment: Environment, backend: MinioBackend, steward: Steward
) -> None:
    tenant = environment.greenfield()
    untagged = environment.foreign_bucket()
    listed = dict(steward.provisioner.list_buckets(backend.parameters))
    assert tenant.request.owner.matches(listed[tenant.bucket])
    assert untagged not in listed


@pytest.mark.parametrize(
    ("without", "named"),
    [
        # With s3:ListBucket alone MinIO lists the buckets that it allows, and refuses where there are none:
        # `ListBucketsHandler` in cmd/bucket-handlers.go.
        (["s3:ListAllMyBuckets", "s3:ListBucket"], "s3:ListAllMyBuckets"),
        (["s3:ListBucket"], "s3:ListBucket"),
        (["s3:GetBucketTagging"], "s3:GetBucketTagging"),
    ],
)
def test_a_missing_permission_to_list_is_named(
    environment: Environment, backend: MinioBackend, steward: Steward, without: list[str], named: str
) -> None:
    environment.greenfield()
    steward.may_everything_but(*without)
    with pytest.raises(AccessDenied, match=rf"{named}\b"):
        list(steward.provisioner.list_buckets(backend.parameters))
    steward.may_everything_but()
    assert list(steward.provisioner.list_buckets(backend.parameters))


def _live_a_whole_life(environment: Environment, provisioner: Provisioner) -> None:
    """Everything that needs a permission: a crash, both kinds, settings, locks, versions, uploads, a repeated call."""
    _begin_and_crash(environment, provisioner)
    locking = environment.request(config={"maxSize": "1Gi"}, parameters={"objectLocking": "true"})
    tenant = environment.bind(locking, greenfield=True, by=provisioner)
    environment.again(tenant, by=provisioner)
    tenant.application.put(tenant.bucket, "key", b"x")
    tenant.application.delete(tenant.bucket, "key")
    provisioner.delete(tenant.record)
    plain = environment.bind(environment.request(parameters={"versioning": "true"}), greenfield=True, by=provisioner)
    plain.application.start_multipart(plain.bucket, "key")
    guest = environment.bind(environment.request(bucket=plain.bucket), greenfield=False, by=provisioner)
    provisioner.revoke(guest.record)
    provisioner.delete(plain.record)
    provisioner.delete(builders.intent(plain.request))


def _begin_and_crash(environment: Environment, provisioner: Provisioner) -> None:
    request = environment.request()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Storage, "set_tags", _die)
        with pytest.raises(StoreUnavailable):
            provisioner.provision(request)
    provisioner.delete(builders.intent(request))
    assert not environment.administrator.bucket_exists(request.bucket_name)


def _die(*_: object) -> None:
    raise StoreUnavailable("the process died here")
