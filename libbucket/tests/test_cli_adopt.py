"""`libbucket adopt`: what is refused before anything is written, and what is written."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from click.testing import CliRunner

from libbucket import _api
from libbucket._cli import adoption
from libbucket._cli.adopt import carry_out, choose
from libbucket._cli.adopt_all import plan_id_of, propose
from libbucket._cli.adoption import Earlier, Situation
from libbucket._cli.commands import main
from libbucket._cli.manifest_files import read_object_buckets
from libbucket._cli.session import CannotRead
from libbucket._kube.errors import Conflict, KubeError, NotFound
from libbucket._kube.resources import CLAIMS, Resource
from libbucket._reconcile.model.intent import Intent, LastApplied, encode, intent_of
from libbucket.testing.builders import a_claim, a_class, an_object_bucket

if TYPE_CHECKING:
    from libbucket._kube.client import KubeClient

PROVISIONER = "minio.io/bucket"
EARLIER = Earlier(bucket="photos-1", uid="gone")
APPLIED = encode(LastApplied(fingerprint="f", secret="s", config_map="c", secret_hash="h"))


def bucket(uid: str, *, is_bound: bool = True, adopted: bool = False, **what: Any) -> _api.ObjectBucketObject:
    intent = Intent(provisioner=PROVISIONER, user_id=f"user-{uid}", greenfield=True, adopted=adopted)
    notes = {_api.RECORD: encode(intent), **({_api.OBSERVED: APPLIED} if is_bound else {})}
    notes |= what.pop("annotations", {})
    name = what.pop("name", f"obc-{uid}")
    claim = what.pop("claim", a_claim(uid=uid))
    body = an_object_bucket(claim=claim, annotations=notes, name=name, **{"uid": f"ob-{uid}", **what})
    return msgspec.convert(body, _api.ObjectBucketObject)


def situation(*buckets: _api.ObjectBucketObject, **what: Any) -> Situation:
    claim = msgspec.convert(a_claim(**{"uid": "now", **what.pop("claim", {})}), _api.ObjectBucketClaim)
    usual: dict[str, Any] = {
        "claim": claim,
        "storage_class": msgspec.convert(a_class(provisioner=PROVISIONER), _api.StorageClass),
        "buckets": buckets,
        "claims": {"now": "shop/photos", "other": "shop/other"},
    }
    return Situation(**{**usual, **what})


def test_a_claim_may_ask_for_the_bucket_of_a_claim_that_is_gone() -> None:
    for of in (situation(), situation(bucket("now", is_bound=False)), situation(bucket("gone"))):
        assert adoption.why_not(of, EARLIER) == ""
    assert adoption.why_not(situation(bucket("now")), EARLIER) == "", "bound to it: to take it back"


@pytest.mark.parametrize(
    ("of", "earlier", "said"),
    [
        (situation(claim={"deletionTimestamp": "2026-01-01T00:00:00Z"}), EARLIER, "being deleted"),
        (situation(storage_class=None), EARLIER, "StorageClass 'buckets' does not exist"),
        (
            situation(storage_class=msgspec.convert(a_class(parameters={"bucketName": "b"}), _api.StorageClass)),
            EARLIER,
            "names an existing bucket",
        ),
        (situation(claim={"spec": {"bucketName": "b"}}), EARLIER, "make it with spec.bucketName: photos-1"),
        (situation(bucket("now", bucket="new")), EARLIER, "bound to bucket new"),
        (situation(), Earlier(bucket="photos-1", uid="now"), "is this claim"),
        (situation(), Earlier(bucket="photos-1", uid="other"), "claim shop/other has that uid and exists"),
        (
            situation(bucket("other", claim=a_claim(name="other", uid="other"))),
            EARLIER,
            "is that of claim shop/other, which exists",
        ),
    ],
)
def test_an_adoption_that_could_take_the_bucket_of_another_is_refused(
    of: Situation, earlier: Earlier, said: str
) -> None:
    assert said in adoption.why_not(of, earlier)


def test_object_buckets_that_a_backup_restored_are_candidates() -> None:
    waiting = bucket("purged", annotations={_api.PURGE_AT: "2026-01-01T00:00:00Z"})
    elsewhere = bucket("gone", claim=a_claim(name="elsewhere", uid="gone"))
    found = adoption.candidates(situation(bucket("gone"), bucket("now"), bucket("other"), waiting, elsewhere))

    assert [one.metadata.name for one in found] == ["obc-gone"]


def test_the_proof_is_recorded_and_the_bucket_is_kept() -> None:
    of = situation(bucket("now", is_bound=False))
    intent = adoption.adopting_intent(of, Earlier(bucket="photos-1", uid="gone", cluster="c2"))
    assert of.own is not None
    written = adoption.patch(of.own, intent, "photos-1")

    assert (intent.earlier_uids, intent.earlier_clusters, intent.adopted) == (("gone",), ("c2",), True)
    assert (intent.user_id, intent.taken_over) == ("user-now", False)
    assert written["spec"] == {"reclaimPolicy": "Retain", "endpoint": {"bucketName": "photos-1"}}


def test_a_bucket_without_tags_has_no_earlier_owner() -> None:
    intent = adoption.adopting_intent(situation(), Earlier(bucket="b", uid=""))
    assert (intent.taken_over, intent.earlier_uids, intent.adopted) == (True, (), True)


def test_a_claim_without_an_object_bucket_gets_one_under_a_free_name() -> None:
    of = situation(bucket("gone", name="obc-shop-photos"))
    body = adoption.new_object(of, adoption.adopting_intent(of, EARLIER), "photos-1")

    assert body["metadata"]["name"] != "obc-shop-photos"
    assert body["metadata"]["annotations"][_api.CLAIM_UID] == "now"
    assert body["spec"]["endpoint"]["bucketName"] == "photos-1"
    assert body["spec"]["reclaimPolicy"] == "Retain"


def test_only_an_adoption_that_waits_can_be_withdrawn() -> None:
    assert adoption.undo_patch(bucket("now")) == {}
    waits = bucket("now", adopted=True)
    record = adoption.undo_patch(waits)["metadata"]["annotations"][_api.RECORD]
    withdrawn = msgspec.structs.replace(
        waits, metadata=msgspec.structs.replace(waits.metadata, annotations={_api.RECORD: record})
    )
    assert intent_of(withdrawn) == Intent(provisioner=PROVISIONER, user_id="user-now", greenfield=True)


def test_what_is_given_and_what_is_found_have_to_agree() -> None:
    restored = bucket("gone")
    assert choose([restored], Earlier(bucket="", uid="")) == (EARLIER, restored)
    assert choose([], EARLIER) == (EARLIER, None)
    assert choose([restored], Earlier(bucket="b", uid="u"))[1] is None
    with pytest.raises(CannotRead, match="no earlier ObjectBucket"):
        choose([], Earlier(bucket="b", uid=""))
    with pytest.raises(CannotRead, match="several earlier ObjectBuckets"):
        choose([restored, bucket("gone", bucket="b")], Earlier(bucket="", uid=""))


def test_a_backup_of_object_buckets_is_read_without_their_uids(tmp_path: Any) -> None:
    file = tmp_path / "backup.json"
    bodies = [an_object_bucket(claim=a_claim(uid="gone"), uid="ob"), a_claim()]
    file.write_bytes(msgspec.json.encode({"apiVersion": "v1", "kind": "List", "items": bodies}))
    (found,) = read_object_buckets(str(file))

    assert adoption.described(found) == EARLIER
    assert found.metadata.uid == ""


@pytest.mark.parametrize("extra", [[], ["--bucket", "b", "--earlier-uid", "u"]])
def test_a_bucket_without_tags_has_to_be_named_and_has_no_earlier_claim(extra: list[str]) -> None:
    ran = CliRunner().invoke(main, ["adopt", "shop/photos", "--untagged", *extra])
    assert ran.exit_code == 2


def test_a_plan_names_what_is_adopted_and_what_is_in_the_way() -> None:
    restored = bucket("gone")
    planned = propose(situation(restored), [restored], "")
    bound = propose(situation(bucket("now"), restored), [restored], "")
    several = propose(situation(), [restored, bucket("older", bucket="b")], "")
    deleted = propose(situation(claim={"deletionTimestamp": "2026-01-01T00:00:00Z"}), [restored], "")

    assert (planned.key, planned.earlier, planned.obstacle) == ("shop/photos", EARLIER, "")
    assert bound.obstacle == "the claim is bound to it already"
    assert "several earlier ObjectBuckets" in several.obstacle
    assert "being deleted" in deleted.obstacle


class Lists:
    """An API server with these claims and ObjectBuckets, which counts the requests."""

    def __init__(self, claims: list[dict[str, Any]], buckets: list[dict[str, Any]]) -> None:
        self._items = {"objectbucketclaims": claims, "objectbuckets": buckets}
        self.requests: list[str] = []

    def get(self, path: str, **_: Any) -> bytes:
        self.requests.append(path)
        return msgspec.json.encode({"items": self._items[path.rpartition("/")[2]]})

    def read(self, resource: Resource[Any], name: str, **_: Any) -> Any:
        self.requests.append(resource.path(name))
        return msgspec.convert(a_class(provisioner=PROVISIONER), _api.StorageClass)


def test_a_plan_for_many_claims_reads_the_cluster_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It took minutes for a thousand claims, each of which listed all of them again."""
    claims = [a_claim(name=f"claim-{number}", uid=f"now-{number}") for number in range(50)]
    left = [
        msgspec.to_builtins(
            bucket(f"gone-{n}", claim=a_claim(name=f"claim-{n}", uid=f"gone-{n}"), bucket=f"bucket-{n}")
        )
        for n in range(50)
    ]
    server = Lists([*claims, a_claim(name="elsewhere", namespace="other", uid="x")], left)
    monkeypatch.setattr("libbucket._cli.adopt_all.connected", lambda _: nullcontext(server))
    ran = CliRunner().invoke(main, ["adopt-all", "-n", "shop", "--plan"], standalone_mode=False)

    assert ran.return_value == 0, ran.output
    assert sum(line.endswith(" adopt") for line in ran.stdout.splitlines()) == 50
    assert len(server.requests) == 3


def test_another_plan_has_another_id() -> None:
    restored = bucket("gone")
    plans = [
        [propose(situation(), [restored], "")],
        [propose(situation(), [restored], "c2")],
        [propose(situation(), [bucket("gone", bucket="b")], "")],
        [propose(situation(claim={"uid": "later"}), [restored], "")],
        [],
    ]

    assert len({plan_id_of(each) for each in plans}) == len(plans)
    assert plan_id_of(plans[0]) == plan_id_of([propose(situation(), [restored], "")])


class Cluster:
    """A cluster in which the claim is bound at once, and the provisioner is at work on the earlier ObjectBucket.

    Args:
        own: the claim's ObjectBucket.
        earlier: the other one.
        refusals: of the requests to delete that one, in turn; None accepts it.
    """

    def __init__(
        self, own: _api.ObjectBucketObject, earlier: _api.ObjectBucketObject, *refusals: KubeError | None
    ) -> None:
        self._buckets = {each.metadata.name: each for each in (own, earlier)}
        self._refusals = list(refusals)
        self.requests_to_delete = 0

    def read(self, resource: Resource[Any], name: str, *, namespace: str = "") -> Any:
        if resource is CLAIMS:
            body = a_claim(uid="now", namespace=namespace, status={"phase": _api.Phase.BOUND})
            return msgspec.convert(body, _api.ObjectBucketClaim)
        return self._buckets[name]

    def patch(self, _: Resource[Any], name: str, __: dict[str, Any]) -> Any:
        return self._buckets[name]

    def delete(self, *_: Any, **__: Any) -> None:
        self.requests_to_delete += 1
        if refusal := self._refusals.pop(0):
            raise refusal


@pytest.mark.parametrize(
    ("refusals", "requests"),
    [
        ((None,), 1),
        ((NotFound("objectbucket obc-gone does not exist"),), 1),
        ((Conflict("objectbucket obc-gone was changed"), None), 2),
    ],
)
def test_an_adoption_goes_on_while_the_provisioner_releases_the_earlier_object_bucket(
    refusals: tuple[KubeError | None, ...], requests: int
) -> None:
    own, earlier = bucket("now"), bucket("gone")
    cluster = Cluster(own, earlier, *refusals)
    assert carry_out(cast("KubeClient", cluster), situation(own, earlier), EARLIER, earlier, timeout=1) == 0
    assert cluster.requests_to_delete == requests


def test_an_adoption_gives_up_on_an_object_bucket_that_changes_all_the_time() -> None:
    own, earlier = bucket("now"), bucket("gone")
    cluster = Cluster(own, earlier, *[Conflict("objectbucket obc-gone was changed")] * 20)
    with pytest.raises(Conflict):
        carry_out(cast("KubeClient", cluster), situation(own, earlier), EARLIER, earlier, timeout=1)
    assert cluster.requests_to_delete < 20
