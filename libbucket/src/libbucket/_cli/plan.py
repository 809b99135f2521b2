"""`libbucket plan -f FILE`: what applying manifests would make, change or not be able to. Writes nothing.

Asks the API server for dry runs, which validate and admit an object and store none, and connects their answers to
`planning`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from libbucket import _api
from libbucket._cli.cluster import list_leases
from libbucket._cli.manifest_files import read_manifests
from libbucket._cli.planning import BAD, Step, plan_claim, plan_class, refused
from libbucket._cli.session import as_json, connected, kubeconfig_option
from libbucket._cli.table import TablePrinter
from libbucket._kube.discovery import CrdFeatures, InstalledCrds
from libbucket._kube.errors import ClusterUnavailable, Forbidden, KubeError, NotFound, Unauthorized
from libbucket._kube.lease import lease_name
from libbucket._kube.lists import list_typed
from libbucket._kube.resources import BUCKETS, CLAIMS, CLASSES, CONFIG_MAP_METADATA, SECRET_METADATA
from libbucket._reconcile.model.additional_config import SelectedConfig
from libbucket._reconcile.model.claim_ref import claim_ref_of, claim_ref_to
from libbucket._reconcile.model.context import Identity
from libbucket._reconcile.model.intent import intent_of, last_applied_of
from libbucket._reconcile.model.names import bucket_object_names
from libbucket._reconcile.model.snapshot import ObjectState, Orphans, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from libbucket._cli.manifest_files import Manifests
    from libbucket._kube.client import KubeClient
    from libbucket._kube.resources import Resource

Object = TypeVar("Object", bound=_api.Object)

_COLUMNS: Final = ("RESULT", "KIND", "NAME", "DETAIL")
_NOT_ALL: Final = 3


@click.command()
@click.option(
    "--filename", "-f", "files", multiple=True, required=True, metavar="FILE", help="YAML or JSON; - is stdin."
)
@kubeconfig_option
@click.option("--namespace", "-n", default="default", metavar="NAME", help="Of claims that name none.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def plan(files: Sequence[str], kubeconfig: str, namespace: str, *, is_json: bool) -> int:
    """Says what applying claims and StorageClasses would do. Exits with 3 if one is refused or would wait."""
    with connected(kubeconfig) as client:
        steps = list(_Planner(client, read_manifests(files, namespace=namespace)).steps())
    if is_json:
        click.echo(as_json(steps))
    elif steps:
        rows = ({"RESULT": one.result, "KIND": one.kind, "NAME": one.name, "DETAIL": one.detail} for one in steps)
        TablePrinter(_COLUMNS).print(list(rows))
    else:
        click.echo("no claims and no StorageClasses", err=True)
    return _NOT_ALL if any(one.result in BAD for one in steps) else 0


class _Planner:
    def __init__(self, client: KubeClient, manifests: Manifests) -> None:
        self._client = client
        self._manifests = manifests
        self._classes: dict[str, _api.StorageClass | None] = {}
        self._buckets, _ = list_typed(client, BUCKETS)
        self._held = self._held_leases()

    def steps(self) -> Iterator[Step]:
        """Of the classes, then of the claims, which may name those classes."""
        for body in self._manifests.classes:
            yield self._class_step(body)
        for body in self._manifests.claims:
            yield self._claim_step(body)

    def _held_leases(self) -> set[str] | None:
        try:
            leases = list_leases(self._client)
        except KubeError:
            return None
        return {one.key.rpartition("/")[2] for one in leases if one.holder and one.is_current}

    def _class_step(self, body: dict[str, Any]) -> Step:
        name = body["metadata"]["name"]
        before = self._find(CLASSES, name)
        try:
            after = self._client.preview(CLASSES, name, _applied(body))
        except KubeError as error:
            return refused("StorageClass", name, self._refusal(error))
        self._classes[name] = after
        return plan_class(before, after)

    def _claim_step(self, body: dict[str, Any]) -> Step:
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        before = self._find(CLAIMS, name, namespace=namespace)
        try:
            after = self._client.preview(CLAIMS, name, _applied(body), namespace=namespace)
        except KubeError as error:
            return refused(_api.CLAIM_KIND, f"{namespace}/{name}", self._refusal(error))
        snapshot = self._snapshot(after)
        return plan_claim(before, snapshot, is_served=self._is_served(snapshot.storage_class))

    def _refusal(self, error: KubeError) -> str:
        """The API server's sentence; what is no answer about the object ends the command.

        Raises:
            KubeError: the API server did not answer, or does not know the operator.
        """
        is_webhook = isinstance(error, ClusterUnavailable) and self._client.answers()  # a dead one causes a 500
        if isinstance(error, (ClusterUnavailable, Unauthorized)) and not is_webhook:
            raise error
        return f"you may not apply it: {error}" if isinstance(error, Forbidden) else str(error)

    def _is_served(self, storage_class: _api.StorageClass | None) -> bool | None:
        if storage_class is None or self._held is None:
            return None
        return lease_name(storage_class.provisioner) in self._held

    def _snapshot(self, claim: _api.ObjectBucketClaim) -> Snapshot:
        """What the core would observe, except for what only the provisioner knows."""
        storage_class = self._class(claim.class_name)
        own = next((one for one in self._buckets if claim_ref_of(one) == claim_ref_to(claim)), None)
        orphans = Orphans(reclaimable=self._reclaimable(claim) if own is None else None)
        bucket = own or orphans.reclaimable
        names = {one.metadata.name for one in self._buckets}
        meta = claim.metadata
        free = (name for name in bucket_object_names(meta.namespace, meta.name, meta.uid) if name not in names)
        return Snapshot(
            key=meta.key,
            identity=self._identity(storage_class),
            features=CrdFeatures(),
            claim=claim,
            storage_class=storage_class,
            bucket=bucket,
            duplicate=None,
            intent=intent_of(bucket) if bucket is not None else None,
            last_applied=last_applied_of(own) if own is not None else None,
            orphans=orphans,
            bucket_object_name=bucket.metadata.name if bucket is not None else next(free, ""),
            config=SelectedConfig(applied={}, warnings=()),
            fingerprint="",
            secret=self._state(SECRET_METADATA, meta),
            config_map=self._state(CONFIG_MAP_METADATA, meta),
        )

    def _reclaimable(self, claim: _api.ObjectBucketClaim) -> _api.ObjectBucketObject | None:
        """The released bucket of an earlier claim of this name, if this claim would get it back."""
        for one in self._buckets:
            intent, name = intent_of(one), one.endpoint.bucket_name
            is_released = one.phase == _api.Phase.RELEASED and not one.metadata.is_being_deleted
            is_its = claim_ref_of(one).key == claim.metadata.key and one.spec.storage_class_name == claim.class_name
            is_greenfield = intent is not None and intent.greenfield
            if is_released and is_its and is_greenfield and (claim.spec.bucket_name or name) == name:
                return one
        return None

    def _identity(self, storage_class: _api.StorageClass | None) -> Identity:
        return Identity(
            provisioner_name=storage_class.provisioner if storage_class is not None else "",
            version="",
            cluster_id="",
            allowed_config=frozenset(),
            supported_config=frozenset(),
            installed=InstalledCrds(self._client, CrdFeatures()),
            now=lambda: datetime.now(UTC),
        )

    def _class(self, name: str) -> _api.StorageClass | None:
        if name not in self._classes:
            self._classes[name] = self._find(CLASSES, name) if name else None
        return self._classes[name]

    def _state(self, resource: Resource[_api.Metadata], claim: _api.Meta) -> ObjectState:
        found = self._find(resource, claim.name, namespace=claim.namespace)
        if found is None:
            return ObjectState.ABSENT
        return ObjectState.INTACT if found.metadata.is_controlled_by(claim.uid) else ObjectState.FOREIGN

    def _find(self, resource: Resource[Object], name: str, *, namespace: str = "") -> Object | None:
        try:
            return self._client.read(resource, name, namespace=namespace)
        except NotFound:
            return None


def _applied(body: dict[str, Any]) -> dict[str, Any]:
    """Without what `kubectl get -o yaml` adds, and an apply refuses."""
    meta = {
        key: body["metadata"][key] for key in ("name", "namespace", "labels", "annotations") if key in body["metadata"]
    }
    return {**{key: value for key, value in body.items() if key != "status"}, "metadata": meta}
