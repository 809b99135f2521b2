"""`libbucket rotate`: new credentials for one claim, after a question.

Deletes the claim's Secret, for which the provisioner issues new credentials and ends the old ones, and waits for that.
Reads no value of a Secret: the ObjectBucket has a salted hash of what was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from libbucket import _api
from libbucket._cli.reader import read_facts
from libbucket._cli.session import CannotRead, connected, kubeconfig_option, timeout_option
from libbucket._cli.text import one_line
from libbucket._cli.why import split_key
from libbucket._kube.errors import NotFound
from libbucket._kube.lists import list_objects
from libbucket._kube.resources import BUCKETS, CLAIMS, SECRET_METADATA
from libbucket._reconcile.model.claim_ref import claim_ref_of, claim_ref_to
from libbucket._reconcile.model.intent import last_applied_of
from libbucket.bounds import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket._cli.facts import Facts
    from libbucket._kube.client import KubeClient

_FAILED: Final = 1


@click.command()
@click.argument("claim", metavar="NAMESPACE/NAME")
@kubeconfig_option
@timeout_option("new credentials")
def rotate(claim: str, kubeconfig: str, timeout: float) -> int:
    """Replaces the credentials of one claim, after a question."""
    namespace, name = split_key(claim)
    key = f"{namespace}/{name}"
    with connected(kubeconfig) as client:
        facts = read_facts(client, namespace, name)
        obstacle = why_not(facts)
        if obstacle:
            raise CannotRead(f"{key}: {obstacle}; nothing was changed")
        click.echo(one_line(f"Secret {key} is deleted and written again with new credentials; the old ones end."))
        if not any(one.holder and one.is_current for one in facts.own_leases):
            click.echo("No provisioner is known to lead: the Secret is missing until one runs.")
        for line in users_of(list_objects(client, f"/api/v1/namespaces/{namespace}/pods", {}), name):
            click.echo(one_line(line))
        if not click.confirm("Rotate the credentials?", default=False):
            click.echo("nothing was changed")
            return _FAILED
        return _rotate(client, facts, timeout)


def why_not(facts: Facts) -> str:
    """Why the credentials of a claim may not be rotated now; "" if they may."""
    claim, secret = facts.claim, facts.secret
    if claim.metadata.is_being_deleted or facts.is_namespace_terminating:
        return "it is being deleted"
    ready = claim.status.condition("Ready")
    if claim.status.phase != _api.Phase.BOUND or (ready is not None and ready.status != "True"):
        return "it is not Bound and Ready, so new credentials could not be issued"
    if secret is None or not secret.metadata.is_controlled_by(claim.metadata.uid):
        return "its Secret is missing, may not be read, or is not the claim's"
    blockers = [*facts.dead_webhooks, *facts.full_quotas]
    return f"a new Secret could not be written because of {', '.join(blockers)}" if blockers else ""


def users_of(pods: list[dict[str, Any]], secret: str) -> Iterator[str]:
    """One line for each pod that reads a Secret, with what it has to do afterwards."""
    for pod in pods:
        spec, name = pod.get("spec") or {}, (pod.get("metadata") or {}).get("name", "")
        containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
        if any(_reads_variables(one, secret) for one in containers):
            yield f"Pod {name} has it in its environment: restart it afterwards."
        elif any(_is_mounted(one, secret) for one in spec.get("volumes") or ()):
            yield f"Pod {name} mounts it: its files follow within about a minute."


def _reads_variables(container: dict[str, Any], secret: str) -> bool:
    whole = [(one.get("secretRef") or {}).get("name") for one in container.get("envFrom") or ()]
    single = [
        ((one.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name") for one in container.get("env") or ()
    ]
    return secret in {*whole, *single}


def _is_mounted(volume: dict[str, Any], secret: str) -> bool:
    projected = [(one.get("secret") or {}).get("name") for one in (volume.get("projected") or {}).get("sources") or ()]
    return secret in {(volume.get("secret") or {}).get("secretName"), *projected}


def _rotate(client: KubeClient, facts: Facts, timeout: float) -> int:
    claim, secret = facts.claim.metadata, facts.secret
    before = _hash(client, facts.claim)
    assert secret is not None  # noqa: S101 - `why_not` refuses that
    meta = secret.metadata
    client.delete(
        SECRET_METADATA, meta.name, uid=meta.uid, namespace=meta.namespace, resource_version=meta.resource_version
    )
    click.echo(f"the Secret is deleted; waiting up to {timeout:.0f} s for the new one")
    if not wait_until(lambda: _is_there_again(client, claim, meta.uid), timeout):
        raise CannotRead(f"no new Secret within {timeout:.0f} s: run libbucket why {claim.key}")
    if _hash(client, facts.claim) == before:
        raise CannotRead("the store issued the same credentials again: see the page of the store's provisioner")
    click.echo("new credentials are in the Secret")
    return 0


def _is_there_again(client: KubeClient, claim: _api.Meta, old: str) -> bool:
    try:
        found = client.read(SECRET_METADATA, claim.name, namespace=claim.namespace).metadata
        now = client.read(CLAIMS, claim.name, namespace=claim.namespace)
    except NotFound:
        return False
    if found.uid == old or not found.is_controlled_by(claim.uid):
        return False
    # The hash follows the Secret: its version is recorded with it.
    bucket = client.read(BUCKETS, now.object_bucket_name)
    applied = last_applied_of(bucket)
    return applied is not None and applied.secret.startswith(f"{found.uid}/")


def _hash(client: KubeClient, claim: _api.ObjectBucketClaim) -> str:
    bucket = client.read(BUCKETS, claim.object_bucket_name)
    if claim_ref_of(bucket) != claim_ref_to(claim):  # the name is the author's to write
        raise CannotRead(f"ObjectBucket {claim.object_bucket_name} is not that of the claim; nothing was changed")
    applied = last_applied_of(bucket)
    return applied.secret_hash if applied is not None else ""
