"""`libbucket adopt-all`: the adoptions of a restored namespace or a rebuilt cluster, as a plan and then one by one.

Makes a plan of what `adopt` would do for each claim, shows it, and carries out what is confirmed: by a question for
each, or by the id of the plan that was shown. A plan that has changed since is not carried out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import click

from libbucket._cli import adoption
from libbucket._cli.adopt import carry_out, choose, describe, find_class, read_situation, read_surroundings
from libbucket._cli.adoption import Earlier, Situation
from libbucket._cli.manifest_files import read_object_buckets
from libbucket._cli.session import CannotRead, connected, kubeconfig_option, timeout_option
from libbucket._cli.table import TablePrinter
from libbucket._cli.text import one_line
from libbucket._kube.errors import KubeError
from libbucket._reconcile.model.claim_ref import claim_ref_of
from libbucket._reconcile.model.intent import last_applied_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from libbucket import _api
    from libbucket._kube.client import KubeClient

_COLUMNS: Final = ("CLAIM", "BUCKET", "EARLIER UID", "PLAN")
_REFUSED: Final = 3


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What is planned for one claim.

    Attributes:
        key: `namespace/name` of the claim.
        uid: of the claim.
        earlier: the bucket, and whose it was.
        obstacle: why it cannot be adopted; "" if it can.
    """

    key: str
    uid: str
    earlier: Earlier
    obstacle: str = ""


@click.command("adopt-all")
@kubeconfig_option
@click.option("--namespace", "-n", default="", metavar="NAME", help="Of the claims. Default: all.")
@click.option("--from", "backup", default="", metavar="FILE", help="A backup of ObjectBuckets: YAML or JSON.")
@click.option("--earlier-cluster", default="", metavar="UID", help="Of kube-system there. Default: this cluster.")
@click.option("--plan", "is_plan", is_flag=True, help="Show the plan and its id, and change nothing.")
@click.option("--yes", "plan_id", default="", metavar="ID", help="Carry out the plan of this id, without questions.")
@timeout_option("the store, for each claim")
def adopt_all(  # noqa: PLR0913 - options of a command
    kubeconfig: str,
    *,
    namespace: str,
    backup: str,
    earlier_cluster: str,
    is_plan: bool,
    plan_id: str,
    timeout: float,
) -> int:
    """Gives their buckets to all claims of which earlier ObjectBuckets are known."""
    with connected(kubeconfig) as client:
        known = read_object_buckets(backup) if backup else []
        proposals = list(_proposals(client, namespace, known, earlier_cluster))
        _show(proposals)
        current = plan_id_of(proposals)
        if is_plan or not proposals:
            click.echo(f"\nplan {current}: nothing was changed")
            return _REFUSED if any(one.obstacle for one in proposals) else 0
        if plan_id and plan_id != current:
            raise CannotRead(f"the plan is {current} now, and not {plan_id}: nothing was changed")
        outcomes = [
            _adopt(client, one, known, is_confirmed=bool(plan_id), timeout=timeout)
            for one in proposals
            if not one.obstacle
        ]
    return int(not all(outcomes) or any(one.obstacle for one in proposals))


def _proposals(
    client: KubeClient, namespace: str, known: Sequence[_api.ObjectBucketObject], cluster: str
) -> Iterator[Proposal]:
    """Reads the cluster once for all claims."""
    cluster_wide, find = read_surroundings(client), cache(lambda name: find_class(client, name))
    for claim in sorted(cluster_wide.claims, key=lambda one: one.metadata.key):
        if namespace in {"", claim.metadata.namespace}:
            of = cluster_wide.around(claim, find(claim.class_name))
            if found := _found(of, known):
                yield propose(of, found, cluster)


def _found(of: Situation, known: Sequence[_api.ObjectBucketObject]) -> list[_api.ObjectBucketObject]:
    return [*adoption.candidates(of), *(one for one in known if claim_ref_of(one).key == of.claim.metadata.key)]


def propose(of: Situation, found: list[_api.ObjectBucketObject], cluster: str) -> Proposal:
    """The plan for one claim, of which these earlier ObjectBuckets are known. Pure."""
    meta, given = of.claim.metadata, Earlier(bucket="", uid="", cluster=cluster)
    try:
        earlier, _ = choose(found, given)
    except CannotRead as error:
        return Proposal(key=meta.key, uid=meta.uid, earlier=given, obstacle=str(error))
    own = of.own
    if own is not None and last_applied_of(own) is not None and own.endpoint.bucket_name == earlier.bucket:
        return Proposal(key=meta.key, uid=meta.uid, earlier=earlier, obstacle="the claim is bound to it already")
    return Proposal(key=meta.key, uid=meta.uid, earlier=earlier, obstacle=adoption.why_not(of, earlier))


def plan_id_of(proposals: Sequence[Proposal]) -> str:
    """Identifies a plan: the same claims, buckets and earlier claims have the same id."""
    lines = [f"{one.key} {one.uid} {one.earlier} {bool(one.obstacle)}" for one in proposals]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _show(proposals: Sequence[Proposal]) -> None:
    rows = [
        {
            "CLAIM": one.key,
            "BUCKET": one.earlier.bucket,
            "EARLIER UID": one.earlier.uid,
            "PLAN": f"not adopted: {one.obstacle}" if one.obstacle else "adopt",
        }
        for one in proposals
    ]
    if not rows:
        click.echo("no earlier ObjectBucket of any claim is known")
    else:
        TablePrinter(_COLUMNS).print(rows)


def _adopt(
    client: KubeClient,
    planned: Proposal,
    known: Sequence[_api.ObjectBucketObject],
    *,
    is_confirmed: bool,
    timeout: float,
) -> bool:
    """Adopts one, if the cluster is still as planned; whether it succeeded, or was not wanted."""
    click.echo("")
    try:
        of, found = _as_planned(client, planned, known)
        describe(of, planned.earlier)
        if not is_confirmed and not click.confirm("Adopt it?", default=False):
            click.echo("nothing was changed")
            return True
        carry_out(client, of, planned.earlier, choose(found, planned.earlier)[1], timeout)
    except (CannotRead, KubeError) as error:
        click.echo(f"not adopted: {one_line(str(error))}", err=True)
        return False
    return True


def _as_planned(
    client: KubeClient, planned: Proposal, known: Sequence[_api.ObjectBucketObject]
) -> tuple[Situation, list[_api.ObjectBucketObject]]:
    """The situation of the claim, and its earlier ObjectBuckets, read once more."""
    of = read_situation(client, *planned.key.split("/"))
    found = _found(of, known)
    if not found or propose(of, found, planned.earlier.cluster) != planned:
        raise CannotRead(f"{planned.key} is no longer as planned; nothing was changed")
    return of, found
