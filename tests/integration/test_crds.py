"""The CRDs on a real API server: objects of existing clusters are accepted, forbidden changes are explained."""

from __future__ import annotations

import json
import time
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes.client.exceptions import ApiException

from libbucket.testing import builders
from testkit.cluster.crd_generations import GENERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket.testing.admin import KubeAdmin

BUNDLED = Path(__file__).parents[2] / "crds"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "/apis/objectbucket.io/v1alpha1"
BUCKETS = f"{GROUP}/objectbuckets"
FINALIZER = "objectbucket.io/finalizer"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"

CLAIM_COLUMNS = ["Name", "StorageClass", "Bucket", "Phase", "Ready", "Age"]
BUCKET_COLUMNS = ["Name", "StorageClass", "ClaimNamespace", "ClaimName", "ReclaimPolicy", "Phase", "Age"]

ODD_CLAIMS: dict[str, dict[str, Any] | None] = {
    "no spec at all": None,
    "an empty spec": {},
    "no class": {"generateBucketName": "photos"},
    "an empty class": {"storageClassName": "", "bucketName": "photos"},
    "an empty bucket name": {"storageClassName": "buckets", "bucketName": "", "generateBucketName": "photos"},
    "both names": {"storageClassName": "buckets", "bucketName": "photos", "generateBucketName": "photos"},
    "neither name": {"storageClassName": "buckets"},
    "a number in additionalConfig": {"storageClassName": "buckets", "additionalConfig": {"maxObjects": 1000}},
    "a truth in additionalConfig": {"storageClassName": "buckets", "additionalConfig": {"enabled": True}},
    "a tree in additionalConfig": {"storageClassName": "buckets", "additionalConfig": {"tree": {"leaf": [1, "2"]}}},
    "null in additionalConfig": {"storageClassName": "buckets", "additionalConfig": {"maxSize": None}},
    "an empty key in additionalConfig": {"storageClassName": "buckets", "additionalConfig": {"": ""}},
    "additionalConfig of null": {"storageClassName": "buckets", "additionalConfig": None},
    "the early spelling": {"storageClassName": "buckets", "ObjectBucketName": "obc-shop-photos"},
}

GO_BUCKET: dict[str, Any] = {
    "storageClassName": "buckets",
    "reclaimPolicy": "Delete",
    "claimRef": {
        "apiVersion": "objectbucket.io/v1alpha1",
        "kind": "ObjectBucketClaim",
        "namespace": "shop",
        "name": "photos",
        "uid": "9e7f4b3a-0000-4000-8000-000000000000",
    },
    "endpoint": {
        "bucketHost": "s3-eu-west-1.amazonaws.com",
        "bucketPort": 443,
        "bucketName": "photos-1",
        "region": "eu-west-1",
        "subRegion": "",
        "additionalConfig": {"": ""},
    },
    "additionalState": {"ARN": "arn:aws:iam::1:policy/photos", "UserName": "photos-x7d2p"},
}

ODD_BUCKETS: dict[str, dict[str, Any] | None] = {
    "as the Go library writes it": GO_BUCKET,
    "no spec at all": None,
    "an empty spec": {},
    "null in every place": {"claimRef": None, "endpoint": None, "additionalState": None, "authentication": None},
    "null maps inside": {**GO_BUCKET, "endpoint": {**GO_BUCKET["endpoint"], "additionalConfig": None}},
    "an empty reclaim policy": {"storageClassName": "buckets", "reclaimPolicy": ""},
    "a number in the state": {**GO_BUCKET, "additionalState": {"generation": 3}},
    "a claimRef with more in it": {**GO_BUCKET, "claimRef": {**GO_BUCKET["claimRef"], "others": {"deep": 1}}},
}

FROM_ROOK: dict[str, Any] = {
    "spec": {"bucketName": "photos", "additionalConfig": {"maxObjects": 1000, "tree": {"leaf": [1]}}},
    "status": {"phase": "Bound", "anything": {"else": 1}},
}
FROM_NOOBAA: dict[str, Any] = {
    "spec": {"storageClassName": "buckets", "bucketName": "photos", "additionalConfig": {"bucketclass": "fast"}},
    "status": {"phase": "Bound"},
}

SET = {"storageClassName": "buckets", "bucketName": "photos", "generateBucketName": "pho"}


@pytest.fixture(scope="module", autouse=True)
def our_crds(kube_admin: KubeAdmin) -> None:
    install(kube_admin, BUNDLED)


@pytest.fixture
def claims(namespace: str) -> str:
    """The path of a collection of claims."""
    return f"{GROUP}/namespaces/{namespace}/objectbucketclaims"


@pytest.fixture
def bucket_name(kube_admin: KubeAdmin) -> Iterator[str]:
    name = f"obc-crds-{uuid.uuid4().hex[:8]}"
    yield name
    kube_admin.delete(f"{BUCKETS}/{name}")


def install(admin: KubeAdmin, folder: Path, files: str = "*.yaml") -> None:
    """Puts CRDs in place of what is there, as `kubectl replace` does, and waits until the server serves them."""
    for file in sorted(folder.glob(files)):
        for crd in yaml.safe_load_all(file.read_text()):
            path = f"{CRDS}/{crd['metadata']['name']}"
            present = admin.find(path)
            if present is None:
                admin.create(CRDS, crd)
            else:
                version = present["metadata"]["resourceVersion"]
                admin.replace(path, {**crd, "metadata": {**crd["metadata"], "resourceVersion": version}})
            wanted = [column["name"] for column in crd["spec"]["versions"][0].get("additionalPrinterColumns", [])]
            eventually(partial(has_columns, admin, crd["spec"]["names"]["plural"], wanted or ["Age"]))


def eventually(is_so: Callable[[], bool], *, seconds: float = 30) -> None:
    """Polls until it is so: the server serves a CRD some time after accepting it."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if is_so():
                return
        except ApiException as error:
            if error.status not in {404, 429, 503}:  # 429 while the storage of the kind is recreated
                raise
        assert time.monotonic() < deadline, "the API server does not serve the CRDs"


def table(admin: KubeAdmin, path: str) -> dict[str, Any]:
    """What `kubectl get` prints: the columns and rows that the server makes."""
    found = json.loads(admin._send("GET", path, None, {"Accept": TABLE}))
    assert isinstance(found, dict)
    return found


def has_columns(admin: KubeAdmin, plural: str, wanted: list[str]) -> bool:
    return columns(admin, plural)[1:] == wanted


def columns(admin: KubeAdmin, plural: str) -> list[str]:
    return [column["name"] for column in table(admin, f"{GROUP}/{plural}")["columnDefinitions"]]


def with_spec(obj: dict[str, Any], spec: dict[str, Any] | None) -> dict[str, Any]:
    rest = {key: value for key, value in obj.items() if key != "spec"}
    return rest if spec is None else {**rest, "spec": spec}


def a_claim(spec: dict[str, Any] | None, namespace: str, **metadata: Any) -> dict[str, Any]:
    return with_spec(builders.a_claim(namespace=namespace, **metadata), spec)


def message_of(refused: pytest.ExceptionInfo[ApiException]) -> str:
    assert refused.value.status == 422
    message = json.loads(refused.value.body or "{}")["message"]
    assert isinstance(message, str)
    return message


def check_deletable(admin: KubeAdmin, path: str) -> None:
    """Label, finalizer and status of the object can be edited, and it is deleted once its finalizer is removed."""
    admin.patch(path, {"metadata": {"labels": {"bucket-provisioner": "memory"}}})
    admin.patch(f"{path}/status", {"status": {"phase": "Released"}})
    admin.delete(path)
    assert admin.get(path)["metadata"]["deletionTimestamp"], "the finalizer holds it"
    admin.patch(path, {"metadata": {"finalizers": None}})
    assert admin.find(path) is None


# Names, columns, explanations.


@pytest.mark.parametrize(
    ("plural", "expected"),
    [
        ("objectbucketclaims", {"singular": "objectbucketclaim", "shortNames": ["obc", "obcs"], "namespaced": True}),
        ("objectbuckets", {"singular": "objectbucket", "shortNames": ["ob", "obs"], "namespaced": False}),
    ],
)
def test_discovery_lists_the_standard_names(kube_admin: KubeAdmin, plural: str, expected: dict[str, Any]) -> None:
    resources = {one["name"]: one for one in kube_admin.get(GROUP)["resources"]}
    found = resources[plural]
    assert {
        "singular": found["singularName"],
        "shortNames": found["shortNames"],
        "namespaced": found["namespaced"],
    } == expected
    assert f"{plural}/status" in resources


def test_a_listing_of_claims_shows_bucket_phase_and_readiness(
    kube_admin: KubeAdmin, claims: str, namespace: str
) -> None:
    kube_admin.create(claims, a_claim({"storageClassName": "buckets", "bucketName": "photos-1"}, namespace))
    ready = {"type": "Ready", "status": "True", "reason": "Bound", "message": "", "lastTransitionTime": None}
    kube_admin.patch(f"{claims}/photos/status", {"status": {"phase": "Bound", "conditions": [ready]}})
    assert columns(kube_admin, "objectbucketclaims") == CLAIM_COLUMNS
    (row,) = table(kube_admin, claims)["rows"]
    assert row["cells"][:5] == ["photos", "buckets", "photos-1", "Bound", "True"]


def test_a_listing_of_buckets_shows_class_claim_policy_and_phase(kube_admin: KubeAdmin, bucket_name: str) -> None:
    kube_admin.create(BUCKETS, with_spec(builders.an_object_bucket(name=bucket_name), GO_BUCKET))
    kube_admin.patch(f"{BUCKETS}/{bucket_name}/status", {"status": {"phase": "Bound"}})
    assert columns(kube_admin, "objectbuckets") == BUCKET_COLUMNS
    (row,) = table(kube_admin, f"{BUCKETS}/{bucket_name}")["rows"]
    assert row["cells"][:6] == [bucket_name, "buckets", "shop", "photos", "Delete", "Bound"]


@pytest.mark.parametrize("kind", ["ObjectBucketClaim", "ObjectBucket"])
def test_kubectl_explain_describes_every_field(kube_admin: KubeAdmin, kind: str) -> None:
    described: dict[str, str] = {}

    def published() -> bool:
        schemas = kube_admin.get("/openapi/v3/apis/objectbucket.io/v1alpha1")["components"]["schemas"]
        described.clear()
        described.update(descriptions(kind, schemas[f"io.objectbucket.v1alpha1.{kind}"]))
        return bool(described[kind])

    eventually(published)
    assert {f"{kind}.spec.storageClassName", f"{kind}.status.conditions[].reason"} <= described.keys()
    assert not sorted(field for field, text in described.items() if not text.rstrip().endswith("."))


def descriptions(path: str, schema: dict[str, Any]) -> dict[str, str]:
    """The description of a schema and of all below it, by path, but those that the server gives."""
    found = {path: schema.get("description", "")}
    for name, below in schema.get("properties", {}).items():
        if "." in path or name not in {"apiVersion", "kind", "metadata"}:
            found |= descriptions(f"{path}.{name}", below)
    for each in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(each, dict):
            found |= descriptions(f"{path}[]", each)
    return found


# Objects of existing clusters.


@pytest.mark.parametrize("spec", ODD_CLAIMS.values(), ids=ODD_CLAIMS)
def test_an_unusual_claim_is_accepted_unchanged_and_can_be_deleted(
    kube_admin: KubeAdmin, claims: str, namespace: str, spec: dict[str, Any] | None
) -> None:
    kube_admin.create(claims, a_claim(spec, namespace, finalizers=[FINALIZER]))
    stored = kube_admin.get(f"{claims}/photos")
    assert stored.get("spec") == spec
    check_deletable(kube_admin, f"{claims}/photos")


@pytest.mark.parametrize("spec", ODD_BUCKETS.values(), ids=ODD_BUCKETS)
def test_an_unusual_object_bucket_is_accepted_unchanged_and_can_be_deleted(
    kube_admin: KubeAdmin, bucket_name: str, spec: dict[str, Any] | None
) -> None:
    body = with_spec(builders.an_object_bucket(name=bucket_name, finalizers=[FINALIZER]), spec)
    kube_admin.create(BUCKETS, body)
    assert kube_admin.get(f"{BUCKETS}/{bucket_name}").get("spec") == spec
    check_deletable(kube_admin, f"{BUCKETS}/{bucket_name}")


@pytest.mark.parametrize(("generation", "claim"), [("rook", FROM_ROOK), ("noobaa", FROM_NOOBAA)])
def test_an_object_created_under_foreign_crds_is_kept_and_can_be_deleted_under_the_bundled_crds(
    kube_admin: KubeAdmin,
    claims: str,
    namespace: str,
    bucket_name: str,
    generation: str,
    claim: dict[str, Any],
    request: pytest.FixtureRequest,
) -> None:
    request.addfinalizer(lambda: install(kube_admin, BUNDLED))
    install(kube_admin, GENERATIONS, f"{generation}.yaml")
    kube_admin.create(claims, a_claim(claim["spec"], namespace, finalizers=[FINALIZER]))
    kube_admin.patch(f"{claims}/photos/status", {"status": claim["status"]})
    kube_admin.create(
        BUCKETS, with_spec(builders.an_object_bucket(name=bucket_name, finalizers=[FINALIZER]), GO_BUCKET)
    )
    before = kube_admin.get(f"{claims}/photos"), kube_admin.get(f"{BUCKETS}/{bucket_name}")
    assert before[0]["status"] == claim["status"]

    install(kube_admin, BUNDLED)

    after = kube_admin.get(f"{claims}/photos"), kube_admin.get(f"{BUCKETS}/{bucket_name}")
    assert [(one["spec"], one.get("status")) for one in after] == [(one["spec"], one.get("status")) for one in before]
    kube_admin.replace(f"{claims}/photos", after[0])
    check_deletable(kube_admin, f"{claims}/photos")
    check_deletable(kube_admin, f"{BUCKETS}/{bucket_name}")


# What may be changed, and what not.


@pytest.mark.parametrize("field", SET)
def test_a_field_that_is_set_cannot_be_changed(kube_admin: KubeAdmin, claims: str, namespace: str, field: str) -> None:
    kube_admin.create(claims, a_claim(SET, namespace))
    with pytest.raises(ApiException) as refused:
        kube_admin.patch(f"{claims}/photos", {"spec": {field: "another"}})
    sentence = f"{field} cannot be changed or left out once it is set: it is '{SET[field]}'; delete the claim"
    assert sentence in message_of(refused)
    assert f"spec.{field}: Forbidden" in message_of(refused)
    assert "apply" not in message_of(refused), "that hint is for who left it out"
    kube_admin.patch(f"{claims}/photos", {"spec": {field: SET[field], "additionalConfig": {"maxObjects": "5"}}})


@pytest.mark.parametrize("field", SET)
def test_a_field_that_is_set_cannot_be_left_out_by_a_replace(
    kube_admin: KubeAdmin, claims: str, namespace: str, field: str
) -> None:
    stored = kube_admin.create(claims, a_claim(SET, namespace))
    without = {key: value for key, value in SET.items() if key != field}
    with pytest.raises(ApiException) as refused:
        kube_admin.replace(f"{claims}/photos", {**stored, "spec": without})
    assert f"it is '{SET[field]}'; take it over from kubectl get -o yaml, or use kubectl apply" in message_of(refused)
    kube_admin.replace(f"{claims}/photos", {**stored, "spec": SET})


def test_leaving_out_the_whole_spec_names_every_field_that_would_be_lost(
    kube_admin: KubeAdmin, claims: str, namespace: str
) -> None:
    stored = kube_admin.create(claims, a_claim(SET, namespace))
    with pytest.raises(ApiException) as refused:
        kube_admin.replace(f"{claims}/photos", with_spec(stored, None))
    assert [field for field in SET if f"spec.{field}: Forbidden" not in message_of(refused)] == []
    kube_admin.replace(f"{claims}/photos", stored)


@pytest.mark.parametrize("field", SET)
@pytest.mark.parametrize("spec", ["{}", '{"FIELD": ""}'], ids=["absent", "empty"])
def test_a_field_that_is_absent_or_empty_can_be_filled_in_once(
    kube_admin: KubeAdmin, claims: str, namespace: str, field: str, spec: str
) -> None:
    kube_admin.create(claims, a_claim(json.loads(spec.replace("FIELD", field)), namespace))
    kube_admin.patch(f"{claims}/photos", {"spec": {field: "first"}})
    with pytest.raises(ApiException):
        kube_admin.patch(f"{claims}/photos", {"spec": {field: "second"}})
    assert kube_admin.get(f"{claims}/photos")["spec"] == {field: "first"}


def test_the_provisioner_writes_the_bucket_name_and_keeps_generate_bucket_name(
    kube_admin: KubeAdmin, claims: str, namespace: str
) -> None:
    kube_admin.create(claims, a_claim({"storageClassName": "buckets", "generateBucketName": "pho"}, namespace))
    kube_admin.patch(f"{claims}/photos", {"spec": {"bucketName": "pho-1", "objectBucketName": "obc-x-photos"}})
    found = kube_admin.get(f"{claims}/photos")["spec"]
    assert (found["generateBucketName"], found["bucketName"]) == ("pho", "pho-1")


@pytest.mark.parametrize("config", [{"maxObjects": "10"}, {}, None, {"maxObjects": 10}], ids=str)
def test_additional_config_can_be_changed_at_any_time(
    kube_admin: KubeAdmin, claims: str, namespace: str, config: dict[str, Any] | None
) -> None:
    stored = kube_admin.create(claims, a_claim({**SET, "additionalConfig": {"maxObjects": "5"}}, namespace))
    changed = {**SET, "additionalConfig": config}
    assert kube_admin.replace(f"{claims}/photos", {**stored, "spec": changed})["spec"] == changed


# The status.


def test_conditions_and_the_observed_generation_survive_beside_what_others_write(
    kube_admin: KubeAdmin, claims: str, namespace: str
) -> None:
    kube_admin.create(claims, a_claim(SET, namespace))
    status = {
        "phase": "Pending",
        "observedGeneration": 3,
        "others": {"deep": [1]},
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "reason": "Provisioning",
                "message": "making the bucket",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
                "observedGeneration": 3,
            }
        ],
    }
    assert kube_admin.patch(f"{claims}/photos/status", {"status": status})["status"] == status


@pytest.mark.parametrize("phase", ["Pending", "Bound", "Released", "Failed", ""])
def test_a_phase_is_one_of_the_list(kube_admin: KubeAdmin, claims: str, namespace: str, phase: str) -> None:
    kube_admin.create(claims, a_claim(SET, namespace))
    kube_admin.patch(f"{claims}/photos/status", {"status": {"phase": phase}})
    with pytest.raises(ApiException) as refused:
        kube_admin.patch(f"{claims}/photos/status", {"status": {"phase": "Lost"}})
    assert "status.phase" in message_of(refused)


def test_a_condition_is_there_once(kube_admin: KubeAdmin, claims: str, namespace: str) -> None:
    kube_admin.create(claims, a_claim(SET, namespace))
    ready, stalled = {"type": "Ready", "status": "True"}, {"type": "Stalled", "status": "True"}
    kube_admin.patch(f"{claims}/photos/status", {"status": {"conditions": [ready, stalled]}})
    with pytest.raises(ApiException) as refused:
        kube_admin.patch(f"{claims}/photos/status", {"status": {"conditions": [ready, ready]}})
    assert "Duplicate value" in message_of(refused)
