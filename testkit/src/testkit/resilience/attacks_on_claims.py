"""What a tenant tries with claims: others' buckets and ObjectBuckets, marks of ours, finalizers, making again."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from libbucket._reconcile.model.names import bucket_object_names
from testkit.cluster.memory_environment import OBC, Wire
from testkit.resilience.proxied_environment import STORE
from testkit.resilience.proxy import FaultInjector, Request, Verdict
from testkit.resilience.tenant_environment import Attack, assert_refused_by_cluster
from testkit.resilience.trials import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testkit.resilience.tenant_environment import TenantEnvironment

_FINALIZER: Final = "objectbucket.io/finalizer"


def permissions(tenants: TenantEnvironment) -> str:
    thief, environment = tenants.thief, tenants.environment
    elsewhere = f"/api/v1/namespaces/{environment.namespace}"
    for what, path in (
        ("reading ObjectBuckets", f"{OBC}/objectbuckets"),
        ("reading the victim's claim", environment.claim_path(tenants.victim.name)),
        ("reading the victim's Secret", f"{elsewhere}/secrets/{tenants.victim.name}"),
        ("reading the administrator's Secret", f"{elsewhere}/secrets/admin"),
    ):
        assert_refused_by_cluster(what, lambda path=path: thief.admin.get(path))  # type: ignore[misc]
        environment.admin.get(path)
    tenants.bind_control()
    return "4 readings forbidden; its own claim binds"


def name_the_bucket(tenants: TenantEnvironment) -> str:
    thief = tenants.thief
    thief.claim("thief", bucketName=tenants.victim.bucket)
    claim = thief.wait_reason("thief", "BucketExists")
    assert claim["status"]["phase"] == "Failed"
    for plural in ("secrets", "configmaps"):
        assert thief.admin.find(thief.path(plural, "thief")) is None, f"the thief got one of the {plural}"
    thief.delete("thief")
    tenants.environment.assert_other_tenant_unaffected()
    tenants.bind_control(bucketName=f"{thief.namespace}-free")
    return "BucketExists, no Secret; deleting it left the bucket; a free name binds"


def name_an_old_bucket(tenants: TenantEnvironment) -> str:
    old = f"{tenants.environment.namespace}-old"
    tenants.thief.claim("thief", bucketName=old)
    tenants.thief.wait_reason("thief", "BucketExists")
    tenants.thief.delete("thief")
    assert f"bucket {old}" in tenants.environment.store.census()
    tenants.bind_control(bucketName=f"{tenants.thief.namespace}-free")
    return "BucketExists; the bucket stayed; a free name binds"


def name_the_object_bucket(tenants: TenantEnvironment) -> str:
    thief, theirs = tenants.thief, tenants.victim_claim["spec"]["objectBucketName"]
    thief.claim("born", objectBucketName=theirs)
    thief.claim("edited")
    bound = [thief.wait_bound(name) for name in ("born", "edited")]
    edits = ({"objectBucketName": theirs}, {"objectBucketName": None, "ObjectBucketName": theirs})
    for edit in edits:
        thief.patch("edited", {"spec": edit})
        thief.wait("edited", lambda one: one["spec"].get("objectBucketName") == f"obc-{thief.namespace}-edited")
    for each in bound:
        tenants.assert_own_only(each)
    for name in ("born", "edited"):
        thief.patch(name, {"spec": {"objectBucketName": theirs}})
        thief.delete(name)
    return "each got its own ObjectBucket, edits were put right, deleting them left the victim's"


def lead_the_lookup_away(tenants: TenantEnvironment) -> str:
    """Forges an "ObjectBucket" in a ConfigMap, and redirects its lookup there by a path in `objectBucketName`."""
    thief, environment = tenants.thief, tenants.environment
    path = f"../../../../api/v1/namespaces/{thief.namespace}/configmaps/forged"
    marks = {"labels": {"bucket-provisioner": _label(tenants)}, "finalizers": [_FINALIZER]}
    claim = thief.claim_of("thief", "no-such-class", metadata=marks, objectBucketName=path)
    record = {"provisioner": environment.provisioner_name, "userId": _victims_user(tenants), "greenfield": True}
    forged = {"name": "forged", "annotations": _ownership(claim) | {"objectbucket.io/record": json.dumps(record)}}
    before = thief.admin.create(thief.path("configmaps"), {"metadata": forged})
    watch = _Watch(f"/{thief.namespace}/configmaps/forged")
    with environment.injecting(watch):
        thief.delete("thief")
    assert not watch.seen, f"the provisioner was led to {watch.seen}"
    now = thief.admin.get(thief.path("configmaps", "forged"))
    assert now["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    tenants.bind_control()
    return "the path was never requested; only the claim was deleted"


def collide(tenants: TenantEnvironment, *, thief_first: bool) -> str:
    thief, other = ("b-same", tenants.thief), ("same", tenants.other)
    order = (thief, other) if thief_first else (other, thief)
    bound = []
    for name, tenant in order:
        tenant.claim(name)
        bound.append(tenant.wait_bound(name))
    names = [tenant.get(name)["spec"]["objectBucketName"] for name, tenant in order]
    assert names[0] == f"obc-{tenants.thief.namespace}-b-same", names
    assert names[1] != names[0]
    thief_bound = bound[0 if thief_first else 1]
    other_bound = bound[1 if thief_first else 0]
    for each in bound:
        tenants.assert_own_only(each)
    assert tenants.environment.is_refused(thief_bound, other_bound.bucket), "the thief reads the other's bucket"
    tenants.thief.delete("b-same")
    tenants.environment.assert_works(other_bound)
    tenants.other.delete("same")
    return "two ObjectBuckets, two buckets; deleting the thief's left the other's"


def take_both_names(tenants: TenantEnvironment) -> str:
    """Takes both names that can be guessed before the other's claim is there."""
    usual, by_name, _ = bucket_object_names(tenants.other.namespace, "late", "")
    taken = [each.removeprefix(f"obc-{tenants.thief.namespace}-") for each in (usual, by_name)]
    for name in taken:
        tenants.thief.claim(name)
    for name in taken:
        tenants.thief.wait_bound(name)
    tenants.other.claim("late")
    bound = tenants.other.wait_bound("late")
    tenants.assert_own_only(bound)
    found = tenants.other.get("late")["spec"]["objectBucketName"]
    assert found not in {usual, by_name}
    return "the other's claim bound under a third name"


def forge_marks(tenants: TenantEnvironment) -> str:
    thief, victim = tenants.thief, tenants.victim_claim["metadata"]
    ob = tenants.environment.admin.get(f"{OBC}/objectbuckets/{tenants.victim_claim['spec']['objectBucketName']}")
    annotations = ob["metadata"]["annotations"] | {"example.com/mine": "stays"}
    finalizers = [_FINALIZER, "example.com/mine"]
    marks = {"labels": {"bucket-provisioner": _label(tenants)}, "annotations": annotations, "finalizers": finalizers}
    thief.claim("thief", metadata=marks, objectBucketName=ob["metadata"]["name"])
    status = {"phase": "Bound", "observedGeneration": 1}
    thief.admin.patch(f"{thief.claim_path('thief')}/status", {"status": status})
    bound = thief.wait_bound("thief")
    tenants.assert_own_only(bound)
    assert bound.state != tenants.victim.state, f"the thief is {victim['name']}'s user in the store"
    kept = thief.get("thief")["metadata"]
    assert kept["annotations"]["example.com/mine"] == "stays"
    thief.admin.delete(thief.claim_path("thief"))
    thief.wait("thief", lambda one: one["metadata"].get("finalizers") == ["example.com/mine"])
    tenants.assert_shut_out(bound)
    thief.patch("thief", {"metadata": {"finalizers": None}})
    return "it got its own bucket and user; marks of others stayed"


def mark_foreign_claim(tenants: TenantEnvironment) -> str:
    """Our label and finalizer on a claim whose class another provisioner serves."""
    thief, admin = tenants.thief, tenants.environment.admin
    classes = "/apis/storage.k8s.io/v1/storageclasses"
    name = f"strange-{thief.namespace}"
    admin.create(classes, {"metadata": {"name": name}, "provisioner": "other.example.com/bucket"})
    marks = {"labels": {"bucket-provisioner": _label(tenants)}, "finalizers": [_FINALIZER]}
    before = thief.claim_of("strange", name, metadata=marks)
    tenants.bind_control()  # by then the provisioner has seen the other, too
    now = thief.get("strange")
    assert now["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"], "it was written to"
    thief.patch("strange", {"metadata": {"finalizers": None}})
    thief.delete("strange")
    admin.delete(f"{classes}/{name}")
    return "never written to; its own class binds"


def take_the_finalizer_off(tenants: TenantEnvironment) -> str:
    thief = tenants.thief
    bound = tenants.bind_control("mine")
    thief.patch("mine", {"metadata": {"finalizers": None, "labels": None}})
    thief.wait("mine", lambda one: _FINALIZER in one["metadata"].get("finalizers", []))
    thief.delete("mine")
    tenants.assert_shut_out(bound)
    return "it was back at once, and deletion gave everything back"


def vanish(tenants: TenantEnvironment) -> str:
    """Deletes a claim and takes the finalizer off in the same moment, so that no controller can clean up in time."""
    thief, admin = tenants.thief, tenants.environment.admin
    bound = tenants.bind_control("mine")
    ob = f"{OBC}/objectbuckets/{thief.get('mine')['spec']['objectBucketName']}"
    tenants.environment.kill()
    thief.admin.delete(thief.claim_path("mine"))
    thief.patch("mine", {"metadata": {"finalizers": None}})
    tenants.environment.start()
    tenants.bind_control()
    admin.wait_gone(ob, timeout=60)
    tenants.assert_shut_out(bound)
    return "taken as the deletion that it was: bucket and credentials are gone"


def make_again_meanwhile(tenants: TenantEnvironment) -> str:
    """During the call that deletes the bucket, the claim is removed by force and recreated under its name."""
    thief = tenants.thief
    first = tenants.bind_control("mine")
    uid = thief.get("mine")["metadata"]["uid"]
    with _held(tenants) as held:
        thief.admin.delete(thief.claim_path("mine"))
        assert held.reached.wait(30), "the deletion never called the store"
        assert_refused_by_cluster("making a claim twice", lambda: thief.claim("mine"), status=409)
        thief.patch("mine", {"metadata": {"finalizers": None}})
        thief.admin.wait_gone(thief.claim_path("mine"), timeout=20)
        thief.claim("mine")
    second = thief.wait_bound("mine")
    assert thief.get("mine")["metadata"]["uid"] != uid
    assert second.bucket != first.bucket
    tenants.assert_own_only(second)
    eventually(lambda: tenants.assert_shut_out(first), seconds=20)
    eventually(lambda: _assert_lacks(tenants, first.bucket), seconds=20)
    return "refused (409) while it was there; the new one got a new bucket, and the old one went"


def make_again_after_retain(tenants: TenantEnvironment) -> str:
    thief, store = tenants.thief, tenants.environment.store
    thief.claim("mine", "retain")
    first = thief.wait_bound("mine")
    tenants.assert_own_only(first)
    thief.delete("mine")
    tenants.assert_shut_out(first)
    thief.claim("mine", "retain", bucketName=first.bucket)
    thief.wait_reason("mine", "BucketExists")
    thief.delete("mine")
    administrator = store.administrator()
    assert administrator.get(first.bucket, "mine") == b"data", "the retained bucket lost its data"
    tenants.bind_control()
    _remove_kept(tenants, first.bucket)
    return "BucketExists: retained data belongs to no claim by its name; it stayed whole"


class _Watch(FaultInjector):
    """Notes requests for one path."""

    def __init__(self, end: str) -> None:
        self._end = end
        self.seen: list[str] = []

    def before(self, request: Request) -> Verdict:
        if self._end in request.path:
            self.seen.append(f"{request.method} {request.path}")
        return Verdict.PASS


class _Hold(FaultInjector):
    """Holds the first request to the store until it is released."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.let_go = threading.Event()

    def before(self, request: Request) -> Verdict:
        if request.proxy == STORE and not self.reached.is_set():
            self.reached.set()
            self.let_go.wait(30)
        return Verdict.PASS


@contextmanager
def _held(tenants: TenantEnvironment) -> Iterator[_Hold]:
    hold = _Hold()
    with tenants.environment.injecting(hold):
        try:
            yield hold
        finally:
            hold.let_go.set()


def _label(tenants: TenantEnvironment) -> str:
    return tenants.environment.provisioner_name.replace("/", "-")


def _victims_user(tenants: TenantEnvironment) -> str:
    ob = tenants.environment.admin.get(f"{OBC}/objectbuckets/{tenants.victim_claim['spec']['objectBucketName']}")
    return str(json.loads(ob["metadata"]["annotations"]["objectbucket.io/record"])["userId"])


def _ownership(claim: Wire) -> dict[str, Any]:
    meta = claim["metadata"]
    return {f"objectbucket.io/claim-{part}": meta[part] for part in ("namespace", "name", "uid")}


def _assert_lacks(tenants: TenantEnvironment, bucket: str) -> None:
    assert f"bucket {bucket}" not in tenants.environment.store.census(), f"bucket {bucket} is still there"


def _remove_kept(tenants: TenantEnvironment, bucket: str) -> None:
    administrator = tenants.environment.store.administrator()
    for key in administrator.list_keys(bucket):
        administrator.delete(bucket, key)
    administrator.remove_bucket(bucket)


_OWN: Final = "an ObjectBucket and a bucket of its own"

ATTACKS: Final = (
    Attack(name="rights", expected="forbidden by the API server, to begin with", run=permissions, once=True),
    Attack(name="name-the-bucket", expected="BucketExists; nothing of it touched", run=name_the_bucket, quick=True),
    Attack(name="name-an-old-bucket", expected="BucketExists; nothing of it touched", run=name_an_old_bucket),
    Attack(name="name-the-object-bucket", expected=f"not believed: {_OWN}", run=name_the_object_bucket, quick=True),
    Attack(
        name="lead-the-lookup-away",
        expected="no path leads out of a name",
        run=lead_the_lookup_away,
        once=True,
        quick=True,
    ),
    Attack(name="collide-first", expected=f"each has {_OWN}", run=partial(collide, thief_first=True), quick=True),
    Attack(name="collide-second", expected=f"each has {_OWN}", run=partial(collide, thief_first=False)),
    Attack(
        name="take-both-names",
        expected="the other's claim binds all the same",
        run=take_both_names,
        once=True,
        quick=True,
    ),
    Attack(name="forge-marks", expected=f"not believed: {_OWN}", run=forge_marks, quick=True),
    Attack(name="mark-a-strangers-claim", expected="never written to", run=mark_foreign_claim, once=True, quick=True),
    Attack(name="take-the-finalizer-off", expected="put back", run=take_the_finalizer_off, once=True),
    Attack(name="vanish", expected="released as after a deletion", run=vanish),
    Attack(name="make-again-meanwhile", expected="another claim: another bucket", run=make_again_meanwhile),
    Attack(
        name="make-again-after-retain", expected="BucketExists; the data stays", run=make_again_after_retain, quick=True
    ),
)
