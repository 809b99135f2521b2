"""What Google's buckets can have that the provisioner does not set: it is left as it is, or refused with a sentence."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import testkit
from gcs_provisioner.admin_secret import parse_admin
from libbucket import AccessDenied, BucketNotEmpty, InvalidAdminSecret, SecretStr, StoreRefused
from libbucket.testing import builders
from libbucket.testing.conformance.environment import assert_works
from testkit.gcs.fake import server
from testkit.gcs.fake.wire import Answer, ApiError, Request

if TYPE_CHECKING:
    from libbucket.testing.conformance.environment import Environment
    from testkit.gcs.fake import FakeGcs
    from testkit.gcs.fake.model import Store

README = Path(testkit.__file__).parents[3] / "packages" / "gcs" / "README.md"
KMS = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
SETTINGS = {
    "hierarchicalNamespace": {"enabled": True},
    "autoclass": {"enabled": True, "terminalStorageClass": "NEARLINE"},
    "retentionPolicy": {"retentionPeriod": "60", "isLocked": True},
    "objectRetention": {"mode": "Enabled"},
    "defaultEventBasedHold": True,
    "softDeletePolicy": {"retentionDurationSeconds": "7776000"},
    "customPlacementConfig": {"dataLocations": ["EUROPE-WEST1", "EUROPE-WEST4"]},
    "encryption": {"defaultKmsKeyName": KMS},
}


@pytest.mark.parametrize("setting", sorted(SETTINGS))
def test_an_existing_bucket_keeps_what_it_has(environment: Environment, fake: FakeGcs, setting: str) -> None:
    bucket = environment.foreign_bucket()
    fake.store.buckets[bucket].resource[setting] = SETTINGS[setting]
    before = copy.deepcopy(environment.administrator.settings(bucket))
    tenant = environment.brownfield(bucket)
    tenant.application.put(bucket, "object", b"data")
    assert tenant.application.get(bucket, "object") == b"data"
    environment.revoke(tenant.record)
    assert environment.administrator.settings(bucket) == before
    assert environment.administrator.settings(bucket)[setting] == SETTINGS[setting]


def test_folders_of_a_hierarchical_namespace_are_named_where_they_keep_a_bucket(
    environment: Environment, fake: FakeGcs
) -> None:
    """No class asks for one: the bucket was made by others, and a claim has taken it over.

    https://cloud.google.com/storage/docs/folders-overview
    """
    bucket = environment.foreign_bucket()
    found = fake.store.buckets[bucket]
    found.resource["hierarchicalNamespace"] = {"enabled": True}
    request = replace(environment.request(bucket=bucket), taken_over=True)
    tenant = environment.bind(request, greenfield=True)
    tenant.application.put(bucket, "photos/2026/one", b"x")
    with pytest.raises(BucketNotEmpty, match=r"hierarchical namespace.*folders"):
        environment.delete(tenant.record)
    assert not found.versions
    found.tree.clear()
    environment.delete(tenant.record)
    assert not environment.administrator.bucket_exists(bucket)


@pytest.mark.parametrize("region", ["EUR4", "nam4", "ASIA", "europe-west3"])
def test_a_new_bucket_may_be_in_two_regions(environment: Environment, fake: FakeGcs, region: str) -> None:
    """https://cloud.google.com/storage/docs/locations#predefined: a dual-region is a location like others."""
    tenant = environment.greenfield(environment.request(parameters={"region": region}))
    assert fake.store.buckets[tenant.bucket].resource["location"] == region.upper()
    assert tenant.answer.connection.endpoint.region == region.lower()


def test_a_new_bucket_may_be_in_two_regions_of_ones_own_choice(environment: Environment, fake: FakeGcs) -> None:
    """https://cloud.google.com/storage/docs/locations#location-dr."""
    parameters = {"region": "EU", "dataLocations": "europe-west1, europe-west4"}
    tenant = environment.greenfield(environment.request(parameters=parameters))
    resource = fake.store.buckets[tenant.bucket].resource
    assert resource["customPlacementConfig"] == {"dataLocations": ["europe-west1", "europe-west4"]}
    assert resource["location"] == "EU"
    assert_works(tenant)


@pytest.mark.parametrize(("parameters", "wanted"), [({"autoclass": "true"}, {"enabled": True}), ({}, None)])
def test_a_new_bucket_has_autoclass_where_its_class_says_so(
    environment: Environment, fake: FakeGcs, parameters: dict[str, str], wanted: dict[str, bool] | None
) -> None:
    tenant = environment.greenfield(environment.request(parameters=parameters))
    assert fake.store.buckets[tenant.bucket].resource.get("autoclass") == wanted
    assert_works(tenant)


def test_a_requester_pays_bucket_is_refused(environment: Environment, fake: FakeGcs) -> None:
    bucket = environment.foreign_bucket()
    request = environment.request(bucket=bucket, parameters={"bucketName": bucket})
    fake.store.buckets[bucket].resource["billing"] = {"requesterPays": True}
    with pytest.raises(StoreRefused, match="Requester Pays"):
        environment.provisioner.grant(request)
    fake.store.buckets[bucket].resource["billing"] = {"requesterPays": False}
    assert environment.provisioner.grant(request).connection.endpoint.bucket_name == bucket


def test_a_perimeter_is_told_as_such_where_the_class_names_a_key_of_cloud_kms(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, real = (
        "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: a1",
        server._answer,
    )

    def instead(store: Store, request: Request) -> Answer:
        is_creation = request.method == "POST" and request.path == "/storage/v1/b"
        return ApiError(403, "forbidden", text).as_json() if is_creation else real(store, request)

    monkeypatch.setattr(server, "_answer", instead)
    with pytest.raises(StoreRefused, match="vpcServiceControlsUniqueIdentifier: a1"):
        environment.provisioner.provision(environment.request(parameters={"kmsKeyName": KMS}))


def test_a_key_of_cloud_kms_that_storage_may_not_use_is_told_with_the_agent(
    environment: Environment, fake: FakeGcs
) -> None:
    fake.knobs.kms_denied = True
    request = environment.request(parameters={"kmsKeyName": KMS})
    with pytest.raises(AccessDenied, match=r"service agent lacks roles/cloudkms\.cryptoKeyEncrypterDecrypter"):
        environment.provisioner.provision(request)
    fake.knobs.kms_denied = False
    assert environment.provisioner.provision(request).connection.endpoint.bucket_name == request.bucket_name
    environment.delete(builders.intent(request))


def test_another_universe_is_refused(fake: FakeGcs) -> None:
    """https://google.aip.dev/auth/4120: key files name their universe; those of before 2023 name none."""
    key = json.loads(fake.add_admin("provisioner-2"))
    held = {"key.json": SecretStr(json.dumps({**key, "universe_domain": "apis-tpczero.goog"}))}
    with pytest.raises(InvalidAdminSecret, match=r"universe domain apis-tpczero\.goog: only googleapis\.com"):
        parse_admin(held, named="gcs/admin")
    for same in ({**key, "universe_domain": "googleapis.com"}, {**key, "universe_domain": ""}):
        assert parse_admin({"key.json": SecretStr(json.dumps(same))}, named="gcs/admin").project == fake.project


@pytest.mark.parametrize(
    "feature",
    [
        "Hierarchical namespace",
        "Managed folders",
        "Soft delete",
        "Retention policy",
        "Object retention",
        "Holds",
        "Autoclass",
        "Customer-managed encryption keys",
        "Requester Pays",
        "Dual-regions",
        "Universe domains",
    ],
)
def test_the_readme_says_of_each_whether_it_is_supported(feature: str) -> None:
    rows = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {feature}")]
    assert len(rows) == 1
