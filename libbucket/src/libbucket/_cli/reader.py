"""Reads the facts about one claim with the operator's permissions. Each request has a time limit; none writes.

Of Secrets and ConfigMaps it requests metadata only, so that no value ever reaches this program. Explains nothing: what
may not be read, or does not answer, is recorded in `Facts.unread`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from libbucket import _api
from libbucket._cli import requirements
from libbucket._cli.cluster import list_leases, names_in
from libbucket._cli.facts import EventFact, Facts, LeaseFact
from libbucket._cli.permissions import LeasePlace, missing_permissions
from libbucket._cli.pods import PodFact, list_pods
from libbucket._cli.reading import Reading
from libbucket._cli.session import CannotRead
from libbucket._kube.errors import KindMissing, KubeError, NotFound
from libbucket._kube.lease import lease_name
from libbucket._kube.resources import CLAIMS, CLASSES, CONFIG_MAP_METADATA, NAMESPACES, SECRET_METADATA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket._kube.client import KubeClient
    from libbucket._kube.resources import Resource

Object = TypeVar("Object", bound=_api.Object)


def read_facts(client: KubeClient, namespace: str, name: str) -> Facts:
    """Reads everything that `explain` needs.

    Args:
        client: with the operator's permissions.
        namespace: of the claim.
        name: of the claim.

    Raises:
        CannotRead: the claim does not exist, or could not be read.
    """
    return _Reader(client).read(namespace, name)


def read_claim(client: KubeClient, namespace: str, name: str) -> _api.ObjectBucketClaim:
    """A claim.

    Raises:
        CannotRead: it does not exist, or could not be read.
    """
    try:
        return client.read(CLAIMS, name, namespace=namespace)
    except KindMissing as error:
        raise CannotRead(f"the CRD objectbucketclaims.{_api.GROUP} is not installed") from error
    except NotFound as error:
        raise CannotRead(f"there is no ObjectBucketClaim {namespace}/{name}") from error
    except KubeError as error:
        raise CannotRead(str(error)) from error


class _Reader(Reading):
    def read(self, namespace: str, name: str) -> Facts:
        claim = read_claim(self.client, namespace, name)
        storage_class = self.attempt("StorageClass", lambda: self._find(CLASSES, claim.class_name), None)
        own = lease_name(storage_class.provisioner) if storage_class is not None else ""
        no_leases: tuple[LeaseFact, ...] = ()
        leases = self.attempt("Leases", lambda: list_leases(self.client), no_leases)
        place = next((one.key.rpartition("/")[0] for one in leases if one.key.endswith(f"/{own}")), "")
        pods = self._pods(place)
        replicas = [one for one in pods if place and one.key.startswith(f"{place}/")]
        found = self.attempt("Namespace", lambda: self._find(NAMESPACES, namespace), None)
        return Facts(
            claim=claim,
            is_namespace_terminating=found is not None and found.metadata.is_being_deleted,
            storage_class=storage_class,
            secret=self.attempt("Secret", lambda: self._find(SECRET_METADATA, name, namespace=namespace), None),
            config_map=self.attempt(
                "ConfigMap", lambda: self._find(CONFIG_MAP_METADATA, name, namespace=namespace), None
            ),
            events=self.attempt("Events", lambda: self._events(claim), ()),
            leases=leases,
            lease_name=own,
            pods=pods,
            denied=self.attempt("RBAC", lambda: tuple(self._denied(replicas, namespace, leases)), ()),
            dead_webhooks=self.attempt("Webhooks", lambda: requirements.dead_webhooks(self.objects), ()),
            full_quotas=self.attempt("ResourceQuotas", lambda: requirements.full_quotas(self.objects, namespace), ()),
            lost_fields=self.attempt("CRDs", self.lost_fields, ()),
            unread=self.unread,
        )

    def _find(self, resource: Resource[Object], name: str, *, namespace: str = "") -> Object | None:
        try:
            return self.client.read(resource, name, namespace=namespace) if name else None
        except NotFound:
            return None

    def _events(self, claim: _api.ObjectBucketClaim) -> tuple[EventFact, ...]:
        path = f"/api/v1/namespaces/{claim.metadata.namespace}/events"
        items = self.objects(path, {"fieldSelector": f"involvedObject.uid={claim.metadata.uid}"})
        found = [
            EventFact(
                reason=one.get("reason") or "",
                message=one.get("message") or "",
                time=one.get("lastTimestamp") or one.get("eventTime") or "",
            )
            for one in items
        ]
        return tuple(sorted(found, key=lambda event: event.time, reverse=True))

    def _pods(self, place: str) -> tuple[PodFact, ...]:
        """Of all namespaces; where those may not be read, of the Lease's."""
        nothing: tuple[PodFact, ...] = ()
        found = self.attempt("Pods", lambda: list_pods(self.objects, ""), nothing)
        if "Pods" not in self.unread or not place:
            return found
        del self.unread["Pods"]
        return self.attempt("Pods", lambda: list_pods(self.objects, place), nothing)

    def _denied(self, replicas: list[PodFact], namespace: str, leases: tuple[LeaseFact, ...]) -> Iterator[str]:
        places = {(one.account, one.has_shards) for one in replicas}
        for account, has_shards in sorted(places):
            own = account.partition("/")[0]
            lease = LeasePlace(namespace=own, names=names_in(leases, own), has_shards=has_shards)
            for phrase in missing_permissions(self.client, account, namespace=namespace, lease=lease):
                yield f"service account {account} {phrase}"
