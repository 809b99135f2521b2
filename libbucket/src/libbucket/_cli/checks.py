"""The checks of `doctor`: a survey in, findings out. Pure.

Each check yields problems, and one `ok` if there are none, so that a reader sees what was checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from libbucket._cli.explain import reported
from libbucket._cli.orphans import find_orphans
from libbucket._cli.survey import admin_secret_of
from libbucket._kube.lease import lease_name
from libbucket._outcomes import Actor, meaning_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libbucket._cli.survey import Survey

OK: Final = "ok"
NOTE: Final = "note"
PROBLEM: Final = "problem"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report.

    Attributes:
        check: what was checked.
        result: `ok`, `note` or `problem`.
        message: what was found.
        next_step: what to do; "" if nothing.
    """

    check: str
    result: str
    message: str
    next_step: str = ""


def examine(found: Survey) -> list[Finding]:
    """All findings, in the order of the checks, and then how to have checked what this program cannot."""
    findings = [finding for name, check in _CHECKS.items() for finding in _results(name, check, found)]
    return [*findings, *_stores(found)]


def _results(name: str, check: Callable[[Survey], Iterator[tuple[str, str, str]]], found: Survey) -> list[Finding]:
    findings = [
        Finding(check=name, result=result, message=message, next_step=action)
        for result, message, action in check(found)
    ]
    if findings:
        return findings
    unread = [what for what in _INPUTS.get(name, ()) if not found.could_read(what)]
    if unread:
        return [Finding(check=name, result=NOTE, message=f"not checked: {', '.join(unread)} could not be read")]
    return [Finding(check=name, result=OK, message="no problem found")]


def _crds(found: Survey) -> Iterator[tuple[str, str, str]]:
    for name in found.missing_crds:
        yield PROBLEM, f"CRD {name} is not installed", "Apply the files in crds/."
    for lost in found.lost_fields:
        yield NOTE, f"the CRDs are another project's: {lost}", "Apply the files in crds/, if they are yours to replace."
    if found.undecodable:
        yield PROBLEM, f"{found.undecodable} claims or ObjectBuckets cannot be decoded", "Correct their fields' types."


def _provisioners(found: Survey) -> Iterator[tuple[str, str, str]]:
    for pod in found.pods:
        if pod.problem:
            namespace, _, name = pod.key.partition("/")
            action = f"kubectl describe pod {name} --namespace {namespace}"
            yield PROBLEM, f"pod {pod.key} is not ready: {pod.problem}", action
    for lease in found.leases:
        if not (lease.holder and lease.is_current):
            yield (
                PROBLEM,
                f"Lease {lease.key} has no leader",
                "Start the provisioner, or delete a Lease that is left over.",
            )


def _classes(found: Survey) -> Iterator[tuple[str, str, str]]:
    names = {one.metadata.name for one in found.classes}
    if found.could_read("Leases"):
        held = {one.key.rpartition("/")[2] for one in found.leases if one.holder and one.is_current}
        for one in found.bucket_classes:
            if lease_name(one.provisioner) not in held:
                message = f"StorageClass {one.metadata.name}: no provisioner for {one.provisioner} leads"
                yield PROBLEM, message, "Start it. (One that runs without --leader-elect has no Lease.)"
    if found.could_read("StorageClasses"):
        for name in sorted({claim.class_name for claim in found.claims} - names):
            number = sum(claim.class_name == name for claim in found.claims)
            yield PROBLEM, f"StorageClass {name!r} does not exist; claims that name it: {number}", "Create it."


def _permissions(found: Survey) -> Iterator[tuple[str, str, str]]:
    for phrase in found.denied:
        yield PROBLEM, f"RBAC does not let {phrase}", "Grant it: docs/operating.md, RBAC permissions."
    if not found.pods and found.could_read("Pods"):
        yield NOTE, "no pod has the chart's label, so no service account was reviewed", ""


def _admin_secrets(found: Survey) -> Iterator[tuple[str, str, str]]:
    for one in found.bucket_classes:
        secret = admin_secret_of(one)
        if secret and not found.admin_secrets.get(secret, True):
            yield PROBLEM, f"StorageClass {one.metadata.name}: Secret {secret} does not exist", "Create it."


def _webhooks(found: Survey) -> Iterator[tuple[str, str, str]]:
    for name in found.dead_webhooks:
        yield PROBLEM, f"webhook {name} must answer writes of claims, and has no ready endpoint", "Repair or remove it."


def _claims(found: Survey) -> Iterator[tuple[str, str, str]]:
    waiting: dict[str, list[str]] = {}
    for claim in found.claims:
        reason, _, _ = reported(claim)
        meaning = meaning_of(reason)
        if meaning is not None and meaning.actor is Actor.ADMINISTRATOR:
            waiting.setdefault(reason, []).append(claim.metadata.key)
    for reason, keys in sorted(waiting.items()):
        yield PROBLEM, f"claims that wait for an administrator, {reason}: {len(keys)}", f"libbucket why {min(keys)}"


def _orphans(found: Survey) -> Iterator[tuple[str, str, str]]:
    for one in find_orphans(found):
        where = f"{one.meta.namespace}/{one.meta.name}" if one.meta.namespace else one.meta.name
        yield PROBLEM, f"{one.kind} {where} of claim {one.claim}: {one.state}", "libbucket doctor --remove-orphans"


def _stores(found: Survey) -> Iterator[Finding]:
    """Each program lists the stores of its provisioner: one pod of a service account speaks for its replicas."""
    ready = {pod.account: pod for pod in found.pods if pod.list_orphans and not pod.problem}
    for pod in ready.values():
        yield Finding(
            check="stores",
            result=NOTE,
            message=f"buckets without a claim are listed by the provisioner (pod {pod.key}), not by this command",
            next_step=f"{pod.list_orphans} > orphans.json; libbucket doctor --store-report orphans.json",
        )


def _unread(found: Survey) -> Iterator[tuple[str, str, str]]:
    for what, problem in found.unread.items():
        yield NOTE, f"{what} could not be read: {problem}", ""


_INPUTS: Final = {
    "CRDs": ("CRDs", "claims", "ObjectBuckets"),
    "provisioners": ("Pods", "Leases"),
    "classes": ("StorageClasses", "Leases", "claims"),
    "permissions": ("Pods", "RBAC"),
    "administrators' Secrets": ("StorageClasses", "administrators' Secrets"),
    "webhooks": ("Webhooks",),
    "claims": ("claims",),
    "orphans": ("claims", "ObjectBuckets", "Secrets", "ConfigMaps"),
}
"""What a check has to have read before it can say that there is no problem."""

_CHECKS: Final[dict[str, Callable[[Survey], Iterator[tuple[str, str, str]]]]] = {
    "CRDs": _crds,
    "provisioners": _provisioners,
    "classes": _classes,
    "permissions": _permissions,
    "administrators' Secrets": _admin_secrets,
    "webhooks": _webhooks,
    "claims": _claims,
    "orphans": _orphans,
    "reading": _unread,
}
