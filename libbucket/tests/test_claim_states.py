"""Claims in the metrics: class, phase and reason, without values that a tenant chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from libbucket._api import ObjectBucketClaim, ObjectBucketObject, StorageClass
from libbucket._controller.caches import new_caches
from libbucket._controller.claim_states import claim_states
from libbucket._kube.packing import Packer
from libbucket._metrics import ClaimState
from libbucket.testing import builders
from testkit.core import Core

if TYPE_CHECKING:
    from libbucket._reconcile.model.context import Caches

OURS = "memory.libbucket.io/bucket"
LABEL = {"bucket-provisioner": "memory.libbucket.io-bucket"}
PENDING = {"phase": "Pending"}
BOUND = {"phase": "Bound"}


def a_condition(kind: str, status: str, reason: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason}


READY = a_condition("Ready", "True", "Bound")


@pytest.fixture
def caches() -> Caches:
    """A cluster with the class `fast`, which is ours, and the class `theirs`."""
    caches = new_caches()
    for name, provisioner in (("fast", OURS), ("theirs", "other.example.com/bucket")):
        wire = {"metadata": {"name": name}, "provisioner": provisioner}
        caches.classes.observe(msgspec.convert(wire, StorageClass))
    return caches


def add_claim(
    caches: Caches, storage_class: str, *, status: dict[str, Any] | None = None, name: str = "photos", **metadata: Any
) -> None:
    wire = builders.a_claim(storage_class=storage_class, status=status, name=name, **metadata)
    caches.claims.observe(msgspec.convert(wire, ObjectBucketClaim))


def states(caches: Caches) -> list[ClaimState]:
    return list(claim_states(caches, OURS))


def test_a_claim_counts_under_its_class(caches: Caches) -> None:
    add_claim(caches, "fast", status={**BOUND, "conditions": [READY]})
    assert states(caches) == [ClaimState(phase="Bound", storage_class="fast", waits_for=None)]


def test_claims_of_invented_classes_count_as_one_class(caches: Caches) -> None:
    for number in range(1000):
        add_claim(caches, f"invented-{number}", labels=LABEL, name=f"photos-{number}")
    assert set(states(caches)) == {ClaimState(phase="Pending", storage_class="", waits_for="")}


def test_claims_of_invented_classes_without_our_label_do_not_count(caches: Caches) -> None:
    add_claim(caches, "invented")
    assert states(caches) == []


def test_claims_of_other_provisioners_do_not_count_with_any_label(caches: Caches) -> None:
    add_claim(caches, "theirs", labels=LABEL)
    assert states(caches) == []


def test_a_claim_that_has_our_object_bucket_counts_without_its_class(caches: Caches) -> None:
    add_claim(caches, "theirs", status={**BOUND, "conditions": [READY]}, namespace="shop")
    notes = {"objectbucket.io/claim-namespace": "shop", "objectbucket.io/claim-name": "photos"}
    wire = {"metadata": {"name": "obc-shop-photos", "labels": LABEL, "annotations": notes}}
    caches.buckets.observe(msgspec.convert(wire, ObjectBucketObject))
    assert states(caches) == [ClaimState(phase="Bound", storage_class="", waits_for=None)]


@pytest.mark.parametrize(
    ("phase", "conditions", "waits_for"),
    [
        ("", [], ""),
        ("Pending", [], ""),
        ("Pending", [a_condition("Ready", "False", "AccessDenied")], "AccessDenied"),
        ("Pending", [a_condition("Ready", "Unknown", "")], ""),
        ("Failed", [a_condition("Ready", "False", "InvalidClaim")], "InvalidClaim"),
        ("Bound", [], None),
        ("Bound", [READY], None),
        ("Bound", [a_condition("Ready", "False", "BucketLost")], "BucketLost"),
        ("Bound", [READY, a_condition("Stalled", "True", "InvalidUpdate")], "InvalidUpdate"),
        ("Bound", [READY, a_condition("Reconciling", "True", "AccessDenied")], "AccessDenied"),
        ("Bound", [READY, a_condition("Reconciling", "False", "AccessDenied")], None),
        ("Bound", [a_condition("Ready", "False", "Purging")], None),
        ("Bound", [a_condition("Ready", "False", "BucketNotEmpty")], "BucketNotEmpty"),
        ("Bound", [a_condition("Mounted", "False", "OfOthers"), READY], None),
    ],
)
def test_the_reason_to_wait_is_read_from_the_conditions(
    caches: Caches, phase: str, conditions: list[dict[str, str]], waits_for: str | None
) -> None:
    add_claim(caches, "fast", status={"phase": phase, "conditions": conditions})
    (state,) = states(caches)
    assert state.waits_for == waits_for


def test_no_object_is_unpacked_for_the_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpacking lets other threads in each time: with many claims and busy workers, scrapes took too long."""
    core = Core()
    for number in range(140):  # more than stay unpacked
        core.reconcile(core.create_claim(f"photos-{number}", bucketName=f"bucket-{number}"))
    unpacked: list[object] = []
    unpack = Packer.unpack

    def counted(packer: Packer[Any], packed: object) -> object:
        unpacked.append(packed)
        return unpack(packer, packed)

    monkeypatch.setattr(Packer, "unpack", counted)
    found = list(claim_states(core.caches, OURS))
    assert found == [ClaimState(phase="Bound", storage_class="buckets", waits_for=None)] * 140
    assert core.reconciler.count_unclaimed() == 0
    assert len(unpacked) == 1, "the class"
