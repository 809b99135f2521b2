"""`libbucket why`: from facts to sentences."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

import grimp
import msgspec
import pytest

from libbucket import _api
from libbucket._cli import requirements
from libbucket._cli.advice import ADVICE
from libbucket._cli.cluster import list_leases
from libbucket._cli.explain import explain
from libbucket._cli.facts import EventFact, Facts, LeaseFact
from libbucket._cli.pods import PodFact, list_pods
from libbucket._cli.why import as_text
from libbucket._kube.lease import lease_name
from libbucket._kube.lists import TooLong
from libbucket.errors import Reason

if TYPE_CHECKING:
    from libbucket._kube.client import KubeClient

PROVISIONER = "minio.io/bucket"
LEASE = lease_name(PROVISIONER)


def a_claim(
    *conditions: _api.Condition, phase: str | None = None, deleted: str | None = None
) -> _api.ObjectBucketClaim:
    return _api.ObjectBucketClaim(
        metadata=_api.Meta(
            name="photos",
            namespace="shop",
            uid="u1",
            creation_timestamp="2026-01-01T00:00:00Z",
            deletion_timestamp=deleted,
        ),
        spec_or_none=_api.ClaimSpec(storage_class_name="fast"),
        status_or_none=_api.ClaimStatus(phase=phase, conditions=list(conditions)),
    )


def ready(reason: str, status: str = "False") -> _api.Condition:
    return _api.Condition(
        type="Ready", status=status, reason=reason, message="as said", last_transition_time="2026-01-02T00:00:00Z"
    )


def facts_of(claim: _api.ObjectBucketClaim, **what: Any) -> Facts:
    usual: dict[str, Any] = {
        "claim": claim,
        "storage_class": _api.StorageClass(provisioner=PROVISIONER),
        "lease_name": LEASE,
        "leases": (LeaseFact(key=f"system/{LEASE}", holder="pod-1_x", is_current=True),),
    }
    return Facts(**{**usual, **what})


def a_pod(problem: str = "", *, namespace: str = "system") -> PodFact:
    return PodFact(key=f"{namespace}/pod-1", account=f"{namespace}/provisioner", problem=problem)


def owned(kind: type[_api.Metadata] = _api.Metadata, uid: str = "u1") -> _api.Metadata:
    owner = _api.OwnerReference(kind=_api.CLAIM_KIND, name="photos", uid=uid, controller=True)
    return kind(metadata=_api.Meta(name="photos", namespace="shop", owner_references=[owner]))


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_explained(reason: Reason) -> None:
    found = explain(facts_of(a_claim(ready(reason), phase="Pending")))

    assert found.reason == reason
    assert found.state == f"The claim reports {reason}: as said"
    assert (found.waits_for, found.next_step) == ADVICE[reason]
    assert found.since == "2026-01-02T00:00:00Z"
    assert "unknown" not in found.turn


def test_no_action_is_asked_for_on_a_claim_that_waits_for_nothing() -> None:
    bound, provisioning = (
        explain(facts_of(a_claim(ready(reason, status), phase="Bound")))
        for reason, status in ((Reason.BOUND, "True"), (Reason.PROVISIONING, "False"))
    )

    assert (bound.waits_for, bound.turn) == ("nothing", "none")
    assert provisioning.turn == "the provisioner, which continues by itself"


def test_a_reason_of_another_program_is_shown_as_it_is() -> None:
    found = explain(facts_of(a_claim(ready("Strange"), phase="Pending")))

    assert found.reason == "Strange"
    assert "not a reason of libbucket" in found.turn


@pytest.mark.parametrize("kind", ["Stalled", "Reconciling"])
def test_a_pending_edit_of_a_bound_claim_is_explained_before_its_readiness(kind: str) -> None:
    said = _api.Condition(type=kind, status="True", reason="InvalidConfig", message="maxSize")
    assert explain(facts_of(a_claim(ready("Bound", "True"), said, phase="Bound"))).reason == "InvalidConfig"
    over = replace_status(said)
    assert explain(facts_of(a_claim(ready("Bound", "True"), over, phase="Bound"))).reason == "Bound"


def replace_status(condition: _api.Condition) -> _api.Condition:
    return _api.Condition(type=condition.type, status="False", reason=condition.reason)


def test_a_claim_with_a_leader_and_no_status_is_not_reconciled_yet() -> None:
    assert explain(facts_of(a_claim())).reason == "NotReconciled"


def test_no_provisioner_runs() -> None:
    expired = LeaseFact(key=f"system/{LEASE}", holder="pod-1_x", is_current=False)
    for leases in ((), (expired,)):
        found = explain(facts_of(a_claim(), leases=leases))
        assert found.reason == "NoProvisioner"
        assert PROVISIONER in found.waits_for
        assert found.turn == "an administrator"


def test_only_standbys_run() -> None:
    expired = LeaseFact(key=f"system/{LEASE}", holder="", is_current=False)
    found = explain(facts_of(a_claim(), leases=(expired,), pods=(a_pod(), a_pod("Evicted"))))

    assert found.reason == "NoLeader"
    assert f"system/{LEASE}" in found.next_step
    assert "exist (2)" in found.state
    assert "Pod system/pod-1 of a provisioner is not ready: Evicted" in found.notes


def test_none_of_the_pods_is_ready() -> None:
    expired = LeaseFact(key=f"system/{LEASE}", holder="", is_current=False)
    found = explain(facts_of(a_claim(), leases=(expired,), pods=(a_pod("CrashLoopBackOff: back-off"),)))

    assert found.reason == "NoProvisioner"
    assert "of its pods (1) none is ready" in found.state
    assert "Pod system/pod-1 of a provisioner is not ready: CrashLoopBackOff: back-off" in found.notes


def test_pods_that_never_had_a_lease_are_noted_only_if_they_are_not_ready() -> None:
    ready_pod, broken = a_pod(namespace="elsewhere"), a_pod("ErrImagePull", namespace="elsewhere")
    notes = explain(facts_of(a_claim(), leases=(), pods=(ready_pod, broken))).notes

    assert notes == ("Pod elsewhere/pod-1 of a provisioner is not ready: ErrImagePull",)


def test_pods_are_not_noted_while_one_leads() -> None:
    assert explain(facts_of(a_claim(), pods=(a_pod("Evicted"),))).notes == ()


def test_missing_permissions_are_noted() -> None:
    found = explain(facts_of(a_claim(), denied=("service account system/a patch secrets in namespace shop",)))
    assert found.notes == ("RBAC does not let service account system/a patch secrets in namespace shop.",)


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        ({"conditions": [{"type": "Ready", "status": "True"}]}, ""),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]},
            "ImagePullBackOff: no such image",
        ),
        ({"containerStatuses": [{"state": {"terminated": {"exitCode": 1}}}]}, "it ended with exit code 1"),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3"}]},
            "Unschedulable: 0/3",
        ),
        ({"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}, "it is Running, and not ready"),
        ({}, "it is not scheduled yet, and not ready"),
    ],
)
def test_a_pod_says_why_it_is_not_ready(status: dict[str, Any], problem: str) -> None:
    pod = {"metadata": {"name": "p", "namespace": "n"}, "spec": {"serviceAccountName": "sa"}, "status": status}
    (found,) = list_pods(lambda _path, _query: [pod], "")

    assert (found.key, found.account, found.problem) == ("n/p", "n/sa", problem)


def test_a_provisioner_of_another_name_runs() -> None:
    other = LeaseFact(key="system/libbucket-aws-s3.io-bucket", holder="pod-1_x", is_current=True)
    found = explain(facts_of(a_claim(), leases=(other,)))

    assert found.reason == "OtherProvisioner"
    assert other.key in found.state


def test_leases_that_may_not_be_read_prove_nothing() -> None:
    found = explain(facts_of(a_claim(), leases=(), unread={"Leases": "forbidden"}))

    assert found.reason == "NotReconciled"
    assert found.notes == ("Leases could not be read: forbidden",)


@pytest.mark.parametrize(
    ("what", "known"), [("StorageClass", {"storage_class": None, "lease_name": ""}), ("Leases", {})]
)
def test_what_could_not_be_read_is_not_said_to_explain_nothing(what: str, known: dict[str, Any]) -> None:
    """A tenant, who may read claims only, is not told that the cluster holds no explanation."""
    found = explain(facts_of(a_claim(), leases=(), unread={what: "403"}, **known))

    assert found.state == f"The claim shows no status, and {what}, which may explain why, could not be read."
    assert found.next_step == "Have an administrator run this command: the notes say what you may not read."


@pytest.mark.parametrize("width", [60, 100])
def test_the_text_fits_its_width(width: int) -> None:
    text = as_text(explain(facts_of(a_claim(), leases=())), width)

    assert 0.7 * width < max(map(len, text.splitlines())) <= width


def test_the_class_is_missing() -> None:
    found = explain(facts_of(a_claim(), storage_class=None))
    assert found.reason == "StorageClassMissing"
    assert "'fast'" in found.state
    unread = explain(facts_of(a_claim(), storage_class=None, unread={"StorageClass": "forbidden"}))
    assert unread.reason == "NotReconciled"


def test_the_namespace_is_terminating() -> None:
    found = explain(facts_of(a_claim(), is_namespace_terminating=True))

    assert found.reason == "NamespaceTerminating"
    assert "Namespace shop is being deleted." in found.notes


def test_a_deletion_is_named() -> None:
    claim = a_claim(ready("BucketNotEmpty"), phase="Bound", deleted="2026-01-02T00:00:00Z")
    assert "is being deleted and reports BucketNotEmpty" in explain(facts_of(claim)).state


def deleted(*finalizers: str) -> _api.ObjectBucketClaim:
    claim = a_claim(ready("Bound", "True"), phase="Bound", deleted="2026-01-02T00:00:00Z")
    return msgspec.structs.replace(claim, metadata=msgspec.structs.replace(claim.metadata, finalizers=[*finalizers]))


def test_a_deletion_waits_for_the_provisioner() -> None:
    served = explain(facts_of(deleted(_api.FINALIZER)))
    assert (served.reason, served.since) == ("Deleting", "2026-01-02T00:00:00Z")
    assert served.waits_for == "the provisioner to release its bucket"
    unserved = explain(facts_of(deleted(_api.FINALIZER), leases=()))
    assert unserved.reason == "NoProvisioner"
    assert unserved.state.startswith("The claim is being deleted.")


def test_a_deletion_waits_for_finalizers_of_others() -> None:
    assert explain(facts_of(deleted("example.com/hold"))).waits_for == "the finalizers example.com/hold"


def test_a_failing_claim_without_a_leader_is_noted() -> None:
    claim = a_claim(ready("StoreUnavailable"), phase="Pending")
    expired = LeaseFact(key=f"system/{LEASE}", holder="", is_current=False)
    assert "no leader now" in explain(facts_of(claim, leases=(expired,))).notes[0]
    assert explain(facts_of(claim)).notes == ()


def test_without_conditions_the_newest_known_event_explains() -> None:
    events = tuple(EventFact(reason=reason, message="m", time="t") for reason in ("Foreign", "Throttled", "NotReady"))
    lost = ("conditions of claims are not kept",)
    found = explain(facts_of(a_claim(phase="Pending"), events=events, lost_fields=lost))

    assert found.reason == "Throttled"
    assert any("another project's" in note for note in found.notes)


def test_objects_of_others_are_noted_and_own_ones_are_not() -> None:
    claim = a_claim(ready("SecretConflict"), phase="Pending")
    foreign = explain(facts_of(claim, secret=owned(uid="u2"), config_map=owned()))
    assert foreign.notes == ("Secret shop/photos exists and does not belong to the claim.",)
    assert explain(facts_of(claim, secret=owned(), config_map=owned())).notes == ()


def test_an_event_that_is_noted_ends_before_the_advice() -> None:
    (note,) = explain(
        facts_of(a_claim(), events=(EventFact(reason="Restored", message="Restored Secret: removed", time="T"),))
    ).notes

    assert note == "Event Restored of T: Restored Secret: removed. Find out who removed or edited what was restored."


def test_webhooks_and_quotas_are_noted() -> None:
    found = explain(facts_of(a_claim(), dead_webhooks=("w.example.com",), full_quotas=("q (secrets: 1/1)",)))

    assert "w.example.com" in found.notes[0]
    assert "q (secrets: 1/1)" in found.notes[1]


@pytest.mark.parametrize(("used", "full"), [("1", ()), ("2", ("small (secrets: 2/2)",))])
def test_a_quota_is_full_when_all_of_it_is_used(used: str, full: tuple[str, ...]) -> None:
    quota = {
        "metadata": {"name": "small"},
        "status": {"hard": {"secrets": "2", "pods": "0"}, "used": {"secrets": used, "pods": "0"}},
    }

    assert requirements.full_quotas(lambda _path, _query: [quota], "shop") == full


@pytest.mark.parametrize(
    ("policy", "resource", "is_ready", "dead"),
    [
        ("Fail", "secrets", False, ("w.example.com",)),
        ("Fail", "secrets", True, ()),
        ("Ignore", "secrets", False, ()),
        ("Fail", "pods", False, ()),
    ],
)
def test_a_webhook_is_dead_without_a_ready_endpoint(
    policy: str, resource: str, *, is_ready: bool, dead: tuple[str, ...]
) -> None:
    webhook = {
        "name": "w.example.com",
        "failurePolicy": policy,
        "clientConfig": {"service": {"namespace": "n", "name": "s"}},
        "rules": [{"apiGroups": [""], "resources": [resource]}],
    }
    answers: dict[str, list[dict[str, Any]]] = {
        "validatingwebhookconfigurations": [{"webhooks": [webhook]}],
        "endpointslices": [{"endpoints": [{"conditions": {"ready": is_ready}}]}],
    }

    assert requirements.dead_webhooks(lambda path, _query: answers.get(path.rpartition("/")[2], [])) == dead


def test_nothing_of_the_core_imports_the_command_line() -> None:
    graph = grimp.build_graph("libbucket")
    own = {"libbucket._cli", *graph.find_descendants("libbucket._cli")}
    importers = {each for module in own for each in graph.find_modules_that_directly_import(module)}

    assert importers, "the modules of the command line import each other"
    assert importers <= own


@pytest.mark.parametrize(
    ("argument", "code", "stream", "said"),
    [
        ("why", 1, "stderr", "libbucket: the command line is not installed; run: pip install 'libbucket[cli]'\n"),
        ("--help", 0, "stdout", "libbucket: the command line is not installed; run: pip install 'libbucket[cli]'\n"),
        ("--version", 0, "stdout", f"libbucket, version {version('libbucket')}\n"),
    ],
)
def test_without_the_extra_one_sentence_names_it(argument: str, code: int, stream: str, said: str) -> None:
    program = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'click' else find(name, *rest)\n"
        "from libbucket._cli.entry import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", program, argument]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)

    assert ran.returncode == code
    assert getattr(ran, stream) == said


class Pages:
    """A client that answers every list in pages of one Lease, up to a number of pages."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.asked = 0

    def get(self, _path: str, *, params: dict[str, str], accept: str) -> bytes:
        assert accept == "application/json"
        self.asked += 1
        token = f"page-{self.asked}" if self.asked < self.number else ""
        assert params.get("continue", "page-0") == f"page-{self.asked - 1}"
        lease = {"metadata": {"name": LEASE, "namespace": f"n{self.asked}"}, "spec": {}}
        return msgspec.json.encode({"metadata": {"continue": token}, "items": [lease]})


def test_all_pages_of_a_list_are_read() -> None:
    found = list_leases(cast("KubeClient", Pages(3)))
    assert [one.key for one in found] == [f"n{page}/{LEASE}" for page in (1, 2, 3)]


def test_an_endless_list_is_an_error_and_not_an_empty_answer() -> None:
    pages = Pages(1000)
    with pytest.raises(TooLong):
        list_leases(cast("KubeClient", pages))
    assert pages.asked == 200
