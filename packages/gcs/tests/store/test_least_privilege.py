"""The role in the README is enough for every verb, and every line of it is needed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from libbucket import AccessDenied, BucketLister, StoreRefused
from libbucket.testing import builders
from testkit.gcs.applications import HmacApplication
from testkit.gcs.backend import a_provisioner

if TYPE_CHECKING:
    from libbucket import Provisioner
    from libbucket.testing.conformance.environment import Environment
    from testkit.gcs.fake import FakeGcs

README = Path(__file__).parents[2] / "README.md"
PERMISSIONS = sorted(set(re.findall(r"^  - ((?:iam|storage)\.\S+)$", README.read_text(), re.MULTILINE)))
STEWARD = "steward-of-the-test"


@dataclass(frozen=True)
class Steward:
    """An administrator of its own for the provisioner, whose permissions a test can cut."""

    fake: FakeGcs
    provisioner: Provisioner

    def may_everything_but(self, *without: str) -> None:
        self.fake.allow(STEWARD, set(PERMISSIONS) - set(without))


@pytest.fixture
def steward(fake: FakeGcs) -> Steward:
    key = fake.add_admin(STEWARD, PERMISSIONS)
    return Steward(fake, a_provisioner(fake, key))


def test_the_readme_lists_permissions() -> None:
    assert len(PERMISSIONS) == 26


def test_every_verb_works_with_the_role_of_the_readme(environment: Environment, steward: Steward) -> None:
    _live_a_whole_life(environment, steward)


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_a_missing_permission_is_named(environment: Environment, steward: Steward, permission: str) -> None:
    steward.may_everything_but(permission)
    with pytest.raises(AccessDenied, match=re.escape(permission)):
        _live_a_whole_life(environment, steward)


def test_the_list_of_buckets_needs_one_permission_and_names_it(environment: Environment, steward: Steward) -> None:
    tenant, parameters = environment.tenant(greenfield=True), environment.backend.parameters
    assert isinstance(steward.provisioner, BucketLister)
    steward.may_everything_but("storage.buckets.list")
    with pytest.raises(AccessDenied, match=re.escape("storage.buckets.list")):
        dict(steward.provisioner.list_buckets(parameters))
    steward.fake.allow(STEWARD, {"storage.buckets.list"})
    assert tenant.bucket in dict(steward.provisioner.list_buckets(parameters))


def test_all_pages_of_the_list_of_buckets_are_read(
    environment: Environment, steward: Steward, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {environment.tenant(greenfield=True).bucket for _ in range(3)}
    monkeypatch.setattr("gcs_provisioner.listing._PAGE", 1)
    assert isinstance(steward.provisioner, BucketLister)
    assert made <= set(dict(steward.provisioner.list_buckets(environment.backend.parameters)))
    monkeypatch.setattr("gcs_provisioner.listing._PAGES", 2)
    with pytest.raises(StoreRefused, match="lists more than 2 pages of buckets"):
        dict(steward.provisioner.list_buckets(environment.backend.parameters))


def _live_a_whole_life(environment: Environment, steward: Steward) -> None:
    """Everything that needs a permission: both kinds, both keys, settings, uploads, a lost Secret, deletion."""
    _provision, _grant, _revoke, _delete, _delete_empty = (
        partial(environment.patiently, getattr(steward.provisioner, verb))
        for verb in ("provision", "grant", "revoke", "delete", "delete_empty")
    )
    parameters = {"credentials": "both", "revocationSeconds": "0"}
    request = environment.request(config={"kubernetesServiceAccount": "app"}, parameters=parameters)
    bound = _provision(request)
    _provision(builders.again(request, bound, with_credentials=False))
    held = _provision(environment.request(parameters=parameters)).connection.authentication
    assert held is not None
    shared = {
        "serviceAccount": bound.additional_state["ServiceAccount"],
        "credentials": "both",
        "revocationSeconds": "0",
    }
    other = environment.request(bucket=request.bucket_name, parameters=shared)
    _revoke(builders.recorded(_grant(other), other, greenfield=False))
    plain = environment.request(parameters={"revocationSeconds": "0"}, config={"bucketVersioning": "Suspended"})
    answer = _provision(plain)
    again = builders.again(plain, answer)
    versions = replace(again.claim, additional_config={"bucketVersioning": "Enabled"})
    _provision(replace(again, claim=versions))
    keys = answer.connection.authentication
    assert keys is not None
    application = environment.backend.application(answer.connection.endpoint, keys)
    assert isinstance(application, HmacApplication)
    application.put(answer.bucket_name, "key", b"x")
    application.start_multipart(answer.bucket_name, "begun")
    steward.fake.store.buckets[answer.bucket_name].folders.add("managed/")
    _delete(builders.recorded(answer, plain))
    _delete(builders.recorded(bound, request))
    steward.fake.knobs.absent_is_forbidden = True
    _delete(builders.recorded(bound, request))
    steward.fake.knobs.absent_is_forbidden = False
    empty = environment.request(parameters={"revocationSeconds": "0"})
    _delete_empty(builders.recorded(_provision(empty), empty))
    foreign = environment.request()
    steward.fake.add_foreign_bucket(foreign.bucket_name)
    _delete(builders.intent(foreign))
