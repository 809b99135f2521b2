"""`libbucket adopt`: gives an existing bucket to a claim, after a question; `--undo` withdraws that.

Connects lists of the API server to `adoption`. Writes ObjectBuckets only; the provisioner then compares the bucket's
ownership tags with what is written, and refuses a bucket that is not the earlier claim's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from libbucket import _api
from libbucket._cli import adoption
from libbucket._cli.adoption import Earlier, Situation
from libbucket._cli.explain import reported
from libbucket._cli.manifest_files import read_object_buckets
from libbucket._cli.reader import read_claim
from libbucket._cli.session import CannotRead, connected, kubeconfig_option, timeout_option
from libbucket._cli.text import one_line
from libbucket._cli.why import split_key
from libbucket._kube.errors import Conflict, NotFound
from libbucket._kube.lists import list_typed
from libbucket._kube.resources import BUCKETS, CLAIMS, CLASSES
from libbucket._reconcile.model import manifests
from libbucket._reconcile.model.claim_ref import claim_ref_of
from libbucket._reconcile.model.intent import intent_of
from libbucket.bounds import wait_until
from libbucket.types import ReclaimPolicy

if TYPE_CHECKING:
    from libbucket._kube.client import KubeClient

_ATTEMPTS: Final = 5
"""To delete an ObjectBucket that the provisioner is at work on."""


@click.command()
@click.argument("claim", metavar="NAMESPACE/NAME")
@kubeconfig_option
@click.option("--bucket", default="", metavar="NAME", help="The bucket. Default: of an earlier ObjectBucket.")
@click.option("--earlier-uid", default="", metavar="UID", help="Of the claim that the bucket's ownership tags name.")
@click.option("--earlier-cluster", default="", metavar="UID", help="Of kube-system there. Default: this cluster.")
@click.option("--from", "backup", default="", metavar="FILE", help="A backup of ObjectBuckets: YAML or JSON.")
@click.option("--untagged", is_flag=True, help="The bucket has no ownership tags: nothing but you proves whose it is.")
@click.option("--undo", is_flag=True, help="Withdraw an adoption that the store has not accepted yet.")
@timeout_option("the store's answer")
def adopt(  # noqa: PLR0913 - options of a command
    claim: str,
    kubeconfig: str,
    *,
    bucket: str,
    earlier_uid: str,
    earlier_cluster: str,
    backup: str,
    timeout: float,
    untagged: bool,
    undo: bool,
) -> int:
    """Gives an existing bucket to a claim: after a restore, in a rebuilt cluster, or after a move."""
    if untagged and (earlier_uid or earlier_cluster or not bucket):
        raise click.UsageError("--untagged needs --bucket, and no --earlier-uid or --earlier-cluster")
    namespace, name = split_key(claim)
    key = f"{namespace}/{name}"
    with connected(kubeconfig) as client:
        of = read_situation(client, namespace, name)
        if undo:
            return _undo(client, of)
        found = [*adoption.candidates(of), *(_of_claim(backup, key) if backup else ())]
        given = Earlier(bucket=bucket, uid=earlier_uid, cluster=earlier_cluster)
        earlier, left_over = (given, None) if untagged else choose(found, given)
        obstacle = adoption.why_not(of, earlier)
        if obstacle:
            raise CannotRead(f"{key}: {obstacle}; nothing was changed")
        describe(of, earlier)
        if not _is_confirmed(earlier):
            click.echo("nothing was changed")
            return 1
        return carry_out(client, of, earlier, left_over, timeout)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What one claim shares with all others.

    Attributes:
        buckets: all ObjectBuckets.
        claims: all claims.
        keys: `namespace/name` of each claim, by uid.
    """

    buckets: tuple[_api.ObjectBucketObject, ...]
    claims: tuple[_api.ObjectBucketClaim, ...]
    keys: dict[str, str]

    def around(self, claim: _api.ObjectBucketClaim, storage_class: _api.StorageClass | None) -> Situation:
        """What is known of one of the claims."""
        return Situation(claim=claim, storage_class=storage_class, buckets=self.buckets, claims=self.keys)


def read_surroundings(client: KubeClient) -> Surroundings:
    """All ObjectBuckets and claims.

    Raises:
        CannotRead: not all of them can be decoded.
        KubeError: a refusal, or no answer.
    """
    buckets, unreadable = list_typed(client, BUCKETS)
    claims, lost = list_typed(client, CLAIMS)
    if unreadable or lost:
        raise CannotRead("some claims or ObjectBuckets cannot be decoded, so it is unknown whose buckets exist")
    keys = {one.metadata.uid: one.metadata.key for one in claims}
    return Surroundings(buckets=tuple(buckets), claims=tuple(claims), keys=keys)


def find_class(client: KubeClient, name: str) -> _api.StorageClass | None:
    """A StorageClass; None if it does not exist."""
    try:
        return client.read(CLASSES, name) if name else None
    except NotFound:
        return None


def read_situation(client: KubeClient, namespace: str, name: str) -> Situation:
    """What is known of a claim, its class, and all ObjectBuckets and claims."""
    claim = read_claim(client, namespace, name)
    return read_surroundings(client).around(claim, find_class(client, claim.class_name))


def _of_claim(backup: str, key: str) -> list[_api.ObjectBucketObject]:
    return [one for one in read_object_buckets(backup) if claim_ref_of(one).key == key]


def choose(found: list[_api.ObjectBucketObject], given: Earlier) -> tuple[Earlier, _api.ObjectBucketObject | None]:
    """The bucket and its earlier claim, and an ObjectBucket in this cluster that is left over from it."""
    fitting = [one for one in found if _fits(adoption.described(one), given)]
    known = {adoption.described(one) for one in fitting}
    if len(known) > 1:
        names = ", ".join(sorted(f"{one.bucket} of claim uid {one.uid}" for one in known))
        raise CannotRead(f"several earlier ObjectBuckets fit: {names}; choose with --bucket and --earlier-uid")
    left_over = next((one for one in fitting if one.metadata.uid), None)
    one = next(iter(known), None)
    bucket, uid = given.bucket or (one.bucket if one else ""), given.uid or (one.uid if one else "")
    if not bucket or not uid:
        raise CannotRead(
            "no earlier ObjectBucket of this claim is known: name the bucket with --bucket, and with --earlier-uid "
            "the uid that its tag objectbucket_claim_uid has; nothing was changed"
        )
    return Earlier(bucket=bucket, uid=uid, cluster=given.cluster), left_over


def _fits(one: Earlier, given: Earlier) -> bool:
    return given.bucket in {"", one.bucket} and given.uid in {"", one.uid}


def describe(of: Situation, earlier: Earlier) -> None:
    """Says what will be done, before the question."""
    whose = f"whose ownership tags must name claim uid {earlier.uid}" if earlier.uid else "which must have no such tags"
    where = f" in cluster {earlier.cluster}" if earlier.cluster else ""
    for line in (
        f"Claim {of.claim.metadata.key} adopts bucket {earlier.bucket}, {whose}{where}.",
        "Its content is not changed. The claim gets credentials of its own, and the bucket is kept when it is deleted.",
        *(["Stop the provisioner of the earlier cluster first, if it still runs."] if earlier.cluster else []),
    ):
        click.echo(one_line(line))


def _is_confirmed(earlier: Earlier) -> bool:
    if earlier.uid:
        return click.confirm("Adopt it?", default=False)
    question = f"Nothing proves that bucket {earlier.bucket} is this claim's. Type its name to adopt it"
    return str(click.prompt(one_line(question), default="", show_default=False)) == earlier.bucket


def carry_out(
    client: KubeClient, of: Situation, earlier: Earlier, left_over: _api.ObjectBucketObject | None, timeout: float
) -> int:
    """Records the adoption, removes what is left over of the earlier claim, and waits for the store.

    Raises:
        CannotRead: the store has not accepted it in time.
        KubeError: a refusal, or no answer.
    """
    intent, own = adoption.adopting_intent(of, earlier), of.own
    if left_over is not None:
        _keep_bucket_of(client, left_over)
    if own is not None:
        own = client.patch(BUCKETS, own.metadata.name, adoption.patch(own, intent, earlier.bucket))
    else:
        own = client.create(BUCKETS, adoption.new_object(of, intent, earlier.bucket))
    if left_over is not None:
        _discard(client, left_over, is_foreign=bool(earlier.cluster))
    uid = of.claim.metadata.uid
    click.echo(f"recorded. To give the bucket to another claim later, use --earlier-uid {uid}")
    return _wait(client, of.claim, own.metadata.name, timeout)


def _keep_bucket_of(client: KubeClient, left_over: _api.ObjectBucketObject) -> None:
    """Before anything else: from here on, no deletion of that ObjectBucket deletes the bucket."""
    meta = left_over.metadata
    body = {
        "metadata": {"resourceVersion": meta.resource_version},
        "spec": {"reclaimPolicy": str(ReclaimPolicy.RETAIN)},
    }
    client.patch(BUCKETS, meta.name, body)


def _discard(client: KubeClient, left_over: _api.ObjectBucketObject, *, is_foreign: bool) -> None:
    """Deletes the earlier claim's ObjectBucket: the provisioner revokes its credentials, if they are this cluster's.

    Raises:
        Conflict: it was changed between each reading and deletion; the command may be run again.
    """
    if is_foreign:
        intent = intent_of(left_over)
        user = intent.user_id if intent is not None else ""
        click.echo(one_line(f"The earlier claim's identity {user} is left: remove it in the store."))
    for left in reversed(range(_ATTEMPTS)):
        try:
            _delete_as_read(client, left_over, is_foreign=is_foreign)
        except NotFound:  # the provisioner has released it meanwhile
            return
        except Conflict:  # or is about to
            if not left:
                raise
        else:
            return


def _delete_as_read(client: KubeClient, left_over: _api.ObjectBucketObject, *, is_foreign: bool) -> None:
    now = client.read(BUCKETS, left_over.metadata.name)
    if now.metadata.uid != left_over.metadata.uid:
        return
    if is_foreign and now.metadata.has_finalizer():
        patch = manifests.finalizer_patch(now.metadata, manifests.without_finalizer(now.metadata))
        now = client.patch(BUCKETS, now.metadata.name, patch)
    client.delete(BUCKETS, now.metadata.name, uid=now.metadata.uid, resource_version=now.metadata.resource_version)


def _wait(client: KubeClient, claim: _api.ObjectBucketClaim, own: str, timeout: float) -> int:
    meta = claim.metadata
    if wait_until(lambda: _is_accepted(client, meta, own), timeout):
        click.echo("the store accepted it: the claim is bound to the bucket")
        return 0
    reason, message, _ = reported(read_claim(client, meta.namespace, meta.name))
    said = f"{reason}: {message}" if reason else "no provisioner has worked on it"
    raise CannotRead(f"not bound within {timeout:.0f} s: {said}. Run libbucket why {meta.key}, or adopt --undo")


def _is_accepted(client: KubeClient, claim: _api.Meta, own: str) -> bool:
    now = client.read(CLAIMS, claim.name, namespace=claim.namespace)
    ready, intent = now.status.condition("Ready"), intent_of(client.read(BUCKETS, own))
    is_over = intent is not None and not intent.adopted and now.status.phase == _api.Phase.BOUND
    return is_over and (ready is None or ready.status == "True")


def _undo(client: KubeClient, of: Situation) -> int:
    own, key = of.own, of.claim.metadata.key
    body = adoption.undo_patch(own) if own is not None else {}
    if own is None or not body:
        raise CannotRead(
            f"{key}: no adoption waits for the store. A bucket that was adopted is given up by deleting the claim: its "
            f"ObjectBucket keeps it, and another claim adopts it with --earlier-uid {of.claim.metadata.uid}"
        )
    client.patch(BUCKETS, own.metadata.name, body)
    click.echo("the adoption is withdrawn; the bucket was not changed")
    return 0
