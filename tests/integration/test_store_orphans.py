"""`--list-orphans`: buckets in the store whose claim is gone are reported, and nothing is changed."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from libbucket import StoreUnavailable
from libbucket._run.main import FAILED, STOPPED, Program, main
from libbucket.testing import builders
from libbucket.testing.memory import MemoryProvisioner
from libbucket.testing.memory_store import Bucket, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from libbucket.provisioner import ProvisionerFactory
    from libbucket.testing.controlplane import ControlPlane


class Unlisted(MemoryProvisioner):
    """A store that does not answer."""

    def list_buckets(self, parameters: Mapping[str, str]) -> list[tuple[str, Mapping[str, str]]]:  # noqa: ARG002
        raise StoreUnavailable("the store does not answer")


@pytest.fixture
def provisioner_name(control_plane: ControlPlane) -> Iterator[str]:
    """Of a class of this test alone."""
    name = f"{uuid.uuid4().hex[:8]}.example/bucket"
    storage_class = builders.a_class(
        name=name.replace("/", "."), provisioner=name, parameters={"host": "store.example"}
    )
    control_plane.admin.apply(storage_class)
    yield name
    control_plane.admin.delete(f"/apis/storage.k8s.io/v1/storageclasses/{name.replace('/', '.')}")


@pytest.fixture
def run(control_plane: ControlPlane, provisioner_name: str) -> Callable[..., int]:
    def run_with(factory: ProvisionerFactory, *flags: str) -> int:
        program = Program(factory=factory, name="test", provisioner_name=provisioner_name, version="1")
        return main(program, ["--kubeconfig", str(control_plane.kubeconfig), "--list-orphans", *flags])

    return run_with


def tags_of(control_plane: ControlPlane, namespace: str, uid: str, cluster: str = "") -> dict[str, str]:
    here = control_plane.admin.get("/api/v1/namespaces/kube-system")["metadata"]["uid"]
    facts = {"claim_namespace": namespace, "claim_name": "photos", "claim_uid": uid, "cluster_id": cluster or here}
    return {f"objectbucket_{key}": value for key, value in facts.items()}


@pytest.fixture
def store(control_plane: ControlPlane, namespace: str) -> MemoryStore:
    """With the bucket of a claim, one whose claim is gone, one of another cluster and one without tags."""
    admin, made = control_plane.admin, MemoryStore()
    claim: dict[str, Any] = admin.apply(builders.a_claim(namespace=namespace))
    owners = {
        "of-a-claim": tags_of(control_plane, namespace, claim["metadata"]["uid"]),
        "orphan": tags_of(control_plane, namespace, "uid-gone"),
        "of-another-cluster": tags_of(control_plane, namespace, "uid-gone", "another"),
        "untagged": {},
    }
    for name, tags in owners.items():
        made.buckets[name] = Bucket(tags=tags, region="", versioned=False)
    return made


def test_only_the_bucket_whose_claim_is_gone_is_listed(
    run: Callable[..., int], store: MemoryStore, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(store.buckets)

    assert run(lambda services: MemoryProvisioner(services, store=store)) == STOPPED
    assert capsys.readouterr().out == f"bucket orphan of claim {namespace}/photos (uid uid-gone) at store.example\n"
    assert run(lambda services: MemoryProvisioner(services, store=store), "--log-format=json") == STOPPED
    assert json.loads(capsys.readouterr().out)["bucket"] == "orphan"
    assert set(store.buckets) == before


def test_a_provisioner_of_some_namespaces_lists_only_buckets_of_their_claims(
    run: Callable[..., int], store: MemoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(lambda services: MemoryProvisioner(services, store=store), "--namespace=default") == STOPPED
    assert capsys.readouterr().out == ""


def test_a_bucket_that_an_object_bucket_names_is_no_orphan(
    run: Callable[..., int],
    store: MemoryStore,
    control_plane: ControlPlane,
    namespace: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    body = builders.an_object_bucket(name=f"obc-{namespace}-photos", bucket="orphan")
    control_plane.admin.apply(body)
    try:
        assert run(lambda services: MemoryProvisioner(services, store=store)) == STOPPED
        assert capsys.readouterr().out == ""
    finally:
        control_plane.admin.delete(f"/apis/objectbucket.io/v1alpha1/objectbuckets/obc-{namespace}-photos")


def test_a_store_that_does_not_answer_is_named_and_fails(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(Unlisted) == FAILED
    assert "store.example could not be listed: the store does not answer" in capsys.readouterr().err
