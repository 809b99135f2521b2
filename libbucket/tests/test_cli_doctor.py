"""`libbucket doctor`: what each check finds, and what counts as an orphan."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from libbucket import _api
from libbucket._cli.checks import NOTE, OK, PROBLEM, Finding, examine
from libbucket._cli.facts import LeaseFact
from libbucket._cli.orphans import find_orphans
from libbucket._cli.permissions import LeasePlace, Review, ReviewStatus, missing_permissions
from libbucket._cli.pods import PodFact, list_pods
from libbucket._cli.survey import Survey
from libbucket._cli.table import TablePrinter, print_paragraphs
from libbucket._kube.lease import lease_name
from libbucket._reconcile.model.intent import Intent, encode
from libbucket.testing.builders import a_claim, a_class, an_object_bucket

if TYPE_CHECKING:
    from libbucket._kube.client import KubeClient

PROVISIONER = "minio.io/bucket"
LEASE = LeaseFact(key=f"system/{lease_name(PROVISIONER)}", holder="pod-1", is_current=True)
POD = PodFact(key="system/pod-1", account="system/provisioner", problem="")


def claim(**what: Any) -> _api.ObjectBucketClaim:
    return msgspec.convert(a_claim(**{"uid": "u1", **what}), _api.ObjectBucketClaim)


def storage_class(**what: Any) -> _api.StorageClass:
    return msgspec.convert(a_class(**{"provisioner": PROVISIONER, **what}), _api.StorageClass)


def bucket(
    *,
    uid: str = "u1",
    phase: str = "Bound",
    greenfield: bool = True,
    purge_at: str = "",
    **what: Any,
) -> _api.ObjectBucketObject:
    intent = encode(Intent(provisioner=PROVISIONER, user_id="user", greenfield=greenfield))
    noted = {_api.RECORD: intent, **({_api.PURGE_AT: purge_at} if purge_at else {})}
    body = an_object_bucket(
        claim=a_claim(uid=uid), status={"phase": phase}, annotations=noted, finalizers=[_api.FINALIZER], **what
    )
    return msgspec.convert(body, _api.ObjectBucketObject)


def healthy(**what: Any) -> Survey:
    usual: dict[str, Any] = {
        "claims": (claim(),),
        "classes": (storage_class(),),
        "buckets": (bucket(),),
        "leases": (LEASE,),
        "pods": (POD,),
    }
    return Survey(**{**usual, **what})


def problems(found: Survey) -> list[Finding]:
    return [one for one in examine(found) if one.result != OK]


def test_a_healthy_cluster_has_one_ok_for_each_check() -> None:
    findings = examine(healthy())

    assert {one.result for one in findings} == {OK}
    assert len(findings) == 9


def waits(reason: str) -> dict[str, Any]:
    return {"phase": "Pending", "conditions": [{"type": "Ready", "status": "False", "reason": reason, "message": "m"}]}


@pytest.mark.parametrize(
    ("what", "check", "said"),
    [
        (
            {"missing_crds": ("objectbuckets.objectbucket.io",)},
            "CRDs",
            "objectbuckets.objectbucket.io is not installed",
        ),
        ({"undecodable": 2}, "CRDs", "2 claims or ObjectBuckets cannot be decoded"),
        ({"leases": ()}, "classes", "no provisioner for minio.io/bucket leads"),
        ({"leases": (LeaseFact(key=LEASE.key, holder="a", is_current=False),)}, "provisioners", "has no leader"),
        ({"classes": ()}, "classes", "StorageClass 'buckets' does not exist; claims that name it: 1"),
        (
            {"pods": (PodFact(key="a/b", account="a/c", problem="Evicted"),)},
            "provisioners",
            "a/b is not ready: Evicted",
        ),
        ({"denied": ("service account a/b patch secrets",)}, "permissions", "let service account a/b patch secrets"),
        ({"dead_webhooks": ("w.example.com",)}, "webhooks", "w.example.com must answer"),
        (
            {"claims": (claim(status=waits("AccessDenied")),)},
            "claims",
            "administrator, AccessDenied: 1",
        ),
        ({"claims": (claim(uid="u2"),)}, "orphans", "ObjectBucket obc-shop-photos of claim shop/photos: it is Bound"),
    ],
)
def test_a_check_names_its_problem(what: dict[str, Any], check: str, said: str) -> None:
    found = [one for one in problems(healthy(**what)) if one.check == check and one.result == PROBLEM]

    assert any(said in one.message for one in found), problems(healthy(**what))
    assert all(one.next_step for one in found)


def test_a_missing_secret_of_an_administrator_is_a_problem() -> None:
    named = storage_class(parameters={"secretName": "admin", "secretNamespace": "minio"})
    (finding,) = problems(healthy(classes=(named,), admin_secrets={"minio/admin": False}))

    assert "Secret minio/admin does not exist" in finding.message
    assert problems(healthy(classes=(named,), admin_secrets={"minio/admin": True})) == []
    assert problems(healthy(classes=(named,))) == [], "it could not be read: nothing is known"


def test_claims_that_wait_for_their_author_or_nobody_are_no_problem() -> None:
    for reason in ("SecretConflict", "NotReady", "Strange"):
        assert problems(healthy(claims=(claim(status=waits(reason)),))) == []


def test_what_could_not_be_read_is_a_note_and_is_not_guessed() -> None:
    blind = healthy(leases=(), claims=(), unread={"Leases": "forbidden", "claims": "forbidden"})

    found = problems(blind)
    assert {one.result for one in found} == {NOTE}
    assert sum(one.check == "reading" for one in found) == 2
    assert all(one.check == "reading" or one.message.startswith("not checked: ") for one in found)


def test_classes_of_other_kinds_of_storage_are_not_checked() -> None:
    other = storage_class(name="ssd", provisioner="disk.example.com")
    assert problems(healthy(classes=(storage_class(), other))) == []


def test_classes_of_other_projects_that_bind_claims_are_not_checked() -> None:
    theirs = an_object_bucket(claim=a_claim(uid="u1"), status={"phase": "Bound"})
    found = healthy(leases=(), buckets=(msgspec.convert(theirs, _api.ObjectBucketObject),))
    assert problems(found) == []


@pytest.mark.parametrize(
    ("found", "is_orphan"),
    [
        (bucket(uid="gone"), True),
        (bucket(uid="gone", phase=""), True),
        (bucket(uid="gone", phase="Released", deletionTimestamp="2026-01-01T00:00:00Z"), True),
        (bucket(uid="gone", phase="Released", purge_at="2026-01-01T00:00:00Z"), False),
        (bucket(), False),
    ],
)
def test_an_object_bucket_without_its_claim_is_an_orphan_unless_it_waits_for_its_purge(
    found: _api.ObjectBucketObject, *, is_orphan: bool
) -> None:
    assert bool(list(find_orphans(healthy(buckets=(found,))))) is is_orphan


@pytest.mark.parametrize("what", [{"unread": {"claims": "no"}}, {"missing_crds": ("a",)}, {"undecodable": 1}])
def test_without_all_claims_nothing_is_an_orphan(what: dict[str, Any]) -> None:
    assert list(find_orphans(healthy(claims=(), **what))) == []


@pytest.mark.parametrize(
    ("what", "doomed"),
    [
        ({}, "photos-1"),
        ({"reclaim_policy": "Retain"}, ""),
        ({"reclaim_policy": None}, ""),
        ({"greenfield": False}, ""),
    ],
)
def test_the_bucket_that_is_deleted_with_an_orphan_is_named(what: dict[str, Any], doomed: str) -> None:
    (orphan,) = find_orphans(healthy(buckets=(bucket(uid="gone", **what),)))
    assert orphan.bucket == doomed


def test_a_secret_of_a_claim_that_is_gone_is_an_orphan() -> None:
    def secret(uid: str, kind: str = _api.CLAIM_KIND) -> _api.Metadata:
        owner = _api.OwnerReference(kind=kind, name="photos", uid=uid, controller=True)
        return _api.Metadata(metadata=_api.Meta(name="photos", namespace="shop", owner_references=[owner]))

    found = healthy(secrets=(secret("gone"), secret("u1"), secret("gone", kind="Other")))
    assert [(one.kind, one.claim) for one in find_orphans(found)] == [("Secret", "shop/photos")]


@pytest.mark.parametrize(
    "container",
    [
        {"args": ["--namespace=b", "--namespace", "a", "--workers=2"]},
        {
            "command": ["minio-provisioner", "--namespace", "a"],
            "env": [{"name": "LIBBUCKET_NAMESPACE", "value": "b, "}],
        },
    ],
)
def test_the_namespaces_that_a_pod_serves_are_read_from_its_flags(container: dict[str, Any]) -> None:
    pod = {"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [container]}}
    (found,) = list_pods(lambda _path, _query: [pod], "")

    assert found.namespaces == ("a", "b")


def test_the_command_that_lists_orphans_in_the_store_has_the_containers_own_flags() -> None:
    """Another process in a container has its environment and not its arguments, and the images have no PATH to it."""
    sidecar = {"name": "proxy", "args": ["--port=1"]}
    own = {"name": "provisioner", "args": ["--namespace=a b", "--provisioner-name=mine.io/bucket"]}
    pod = {"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [sidecar, own]}}
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    (found,) = list_pods(lambda _path, _query: [pod | ready], "")
    (note,) = (one for one in examine(healthy(pods=(found,))) if one.check == "stores")

    command = (
        "kubectl exec --namespace n p --container provisioner -- /opt/libbucket/bin/provisioner '--namespace=a b' "
        "--provisioner-name=mine.io/bucket --list-orphans --log-format=json"
    )
    assert note.result == NOTE
    assert note.next_step == f"{command} > orphans.json; libbucket doctor --store-report orphans.json"


def test_pods_that_are_not_ready_are_not_asked_for_orphans_in_the_store() -> None:
    pod = {"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [{"name": "provisioner"}]}}
    found = list_pods(lambda _path, _query: [pod], "")
    assert [one for one in examine(healthy(pods=found)) if one.check == "stores"] == []


@pytest.mark.parametrize(
    ("unread", "unchecked"),
    [
        ("claims", {"CRDs", "classes", "claims", "orphans"}),
        ("Leases", {"provisioners", "classes"}),
        ("Webhooks", {"webhooks"}),
        ("Secrets", {"orphans"}),
    ],
)
def test_a_check_whose_input_could_not_be_read_does_not_say_that_all_is_well(unread: str, unchecked: set[str]) -> None:
    findings = examine(healthy(unread={unread: "forbidden"}))

    noted = {one.check for one in findings if one.message == f"not checked: {unread} could not be read"}
    assert noted == unchecked
    assert {one.check for one in findings if one.result == OK}.isdisjoint(unchecked)


def test_on_a_terminal_what_to_do_is_below_what_was_found_and_nothing_is_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    print_paragraphs([("problem", "classes: " + "c" * 300, "Start it."), ("ok", "claims: no problem found", "")])

    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "problem  classes: " + "c" * 300
    assert second == "         Next: Start it."
    assert third == "ok       claims: no problem found"


@pytest.mark.parametrize(
    ("container", "has_shards"),
    [
        ({}, False),
        ({"args": ["--leader-elect", "--sharding"]}, True),
        ({"args": ["--sharding=true"]}, True),
        ({"args": ["--sharding=false"]}, False),
        ({"env": [{"name": "LIBBUCKET_SHARDING", "value": "true"}]}, True),
        ({"args": ["--sharding=false"], "env": [{"name": "LIBBUCKET_SHARDING", "value": "true"}]}, False),
    ],
)
def test_replicas_with_shards_need_to_patch_their_lease(container: dict[str, Any], has_shards: bool) -> None:
    (found,) = list_pods(lambda *_: [{"spec": {"containers": [container]}}], "")

    class Reviews:
        def create(self, _resource: object, body: dict[str, Any]) -> Review:
            wanted = body["spec"]["resourceAttributes"]
            return Review(status=ReviewStatus(allowed=wanted["verb"] != "patch"))

    client = cast("KubeClient", Reviews())
    lease = LeasePlace(namespace="s", names=("l",), has_shards=found.has_shards)
    denied = missing_permissions(client, "s/p", namespace="", lease=lease)

    assert found.has_shards is has_shards
    assert ("patch leases.coordination.k8s.io in namespace s" in denied) is has_shards


def test_only_the_label_of_a_paragraph_is_coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("sys.stdout", out := io.StringIO())
    print_paragraphs([("problem", "classes: none", "")])

    assert re.fullmatch(r"\x1b\[31mproblem +\x1b\[0mclasses: none\n", out.getvalue()), repr(out.getvalue())


def test_the_next_step_for_a_pod_can_be_run() -> None:
    found = examine(healthy(pods=(replace(POD, problem="it is Pending"),)))

    assert [one.next_step for one in found if "pod-1 is not ready" in one.message] == [
        "kubectl describe pod pod-1 --namespace system"
    ]


def test_a_table_is_not_cut_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    TablePrinter(["NAME", "REASON"]).print([{"NAME": "n" * 63, "REASON": "AccessDenied"}])

    assert capsys.readouterr().out.splitlines()[1] == f"{'n' * 63}   AccessDenied"
