"""Reads the facts about one claim with the operator's rights. GET requests only; each has a time limit.

Of Secrets and ConfigMaps it requests metadata only, so that no value ever reaches this program. Explains nothing: what
may not be read, or does not answer, is recorded in `Facts.unread`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from libbucket import _api
from libbucket._cli import requirements
from libbucket._cli.facts import EventFact, Facts, LeaseFact
from libbucket._kube.discovery import read_crd_features
from libbucket._kube.errors import KindMissing, KubeError, NotFound
from libbucket._kube.lease import LEASES, Lease, lease_name
from libbucket._kube.resources import CLAIMS, CLASSES, CONFIG_MAP_METADATA, NAMESPACES, SECRET_METADATA

if TYPE_CHECKING:
    from collections.abc import Callable

    from libbucket._kube.client import KubeClient
    from libbucket._kube.resources import Resource

T = TypeVar("T")
Object = TypeVar("Object", bound=_api.Object)

_SECONDS: Final = 10.0
_PAGE: Final = "500"
_PAGES: Final = 20
_LEASE_SECONDS: Final = 60
"""Duration of a Lease that states none."""
_PODS: Final = "app.kubernetes.io/part-of=libbucket"


class CannotRead(Exception):
    """The claim itself could not be read: one sentence."""


class TooLong(KubeError):
    """A list has more pages than are read."""


def read_facts(client: KubeClient, namespace: str, name: str) -> Facts:
    """Reads everything that `explain` needs.

    Args:
        client: with the operator's rights.
        namespace: of the claim.
        name: of the claim.

    Raises:
        CannotRead: the claim does not exist, or could not be read.
    """
    return _Reader(client.impatient(_SECONDS)).read(namespace, name)


class _Reader:
    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._unread: dict[str, str] = {}

    def read(self, namespace: str, name: str) -> Facts:
        claim = self._claim(namespace, name)
        storage_class = self._try("StorageClass", lambda: self._find(CLASSES, claim.class_name), None)
        own = lease_name(storage_class.provisioner) if storage_class is not None else ""
        no_leases: tuple[LeaseFact, ...] = ()
        leases = self._try("Leases", lambda: self._leases(datetime.now(UTC)), no_leases)
        place = next((one.key.rpartition("/")[0] for one in leases if one.key.endswith(f"/{own}")), "")
        found = self._try("Namespace", lambda: self._find(NAMESPACES, namespace), None)
        return Facts(
            claim=claim,
            is_namespace_terminating=found is not None and found.metadata.is_being_deleted,
            storage_class=storage_class,
            secret=self._try("Secret", lambda: self._find(SECRET_METADATA, name, namespace=namespace), None),
            config_map=self._try("ConfigMap", lambda: self._find(CONFIG_MAP_METADATA, name, namespace=namespace), None),
            events=self._try("Events", lambda: self._events(claim), ()),
            leases=leases,
            lease_name=own,
            replicas=self._try("Pods", lambda: self._replicas(place), 0) if place else 0,
            dead_webhooks=self._try("Webhooks", lambda: requirements.dead_webhooks(self._json), ()),
            full_quotas=self._try("ResourceQuotas", lambda: requirements.full_quotas(self._json, namespace), ()),
            lost_fields=self._try("CRDs", self._lost_fields, ()),
            unread=self._unread,
        )

    def _claim(self, namespace: str, name: str) -> _api.ObjectBucketClaim:
        try:
            return self._client.read(CLAIMS, name, namespace=namespace)
        except KindMissing as error:
            raise CannotRead(f"the CRD objectbucketclaims.{_api.GROUP} is not installed") from error
        except NotFound as error:
            raise CannotRead(f"there is no ObjectBucketClaim {namespace}/{name}") from error
        except KubeError as error:
            raise CannotRead(str(error)) from error

    def _try(self, what: str, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except KubeError as error:
            self._unread[what] = str(error)
            return otherwise

    def _find(self, resource: Resource[Object], name: str, *, namespace: str = "") -> Object | None:
        try:
            return self._client.read(resource, name, namespace=namespace) if name else None
        except NotFound:
            return None

    def _events(self, claim: _api.ObjectBucketClaim) -> tuple[EventFact, ...]:
        path = f"/api/v1/namespaces/{claim.metadata.namespace}/events"
        items = self._json(path, {"fieldSelector": f"involvedObject.uid={claim.metadata.uid}"})
        found = [
            EventFact(
                reason=one.get("reason") or "",
                message=one.get("message") or "",
                time=one.get("lastTimestamp") or one.get("eventTime") or "",
            )
            for one in items
        ]
        return tuple(sorted(found, key=lambda event: event.time, reverse=True))

    def _leases(self, now: datetime) -> tuple[LeaseFact, ...]:
        items = self._json(LEASES.path(), {})
        names = [one for one in items if one.get("metadata", {}).get("name", "").startswith("libbucket-")]
        return tuple(_lease_fact(msgspec.convert(one, Lease, strict=False), now) for one in names)

    def _replicas(self, namespace: str) -> int:
        return len(self._json(f"/api/v1/namespaces/{namespace}/pods", {"labelSelector": _PODS}))

    def _lost_fields(self) -> tuple[str, ...]:
        features = read_crd_features(self._client)
        return tuple(features.losses()) if features is not None else ()

    def _json(self, path: str, params: dict[str, str]) -> list[dict[str, Any]]:
        query = {"limit": _PAGE, **params}
        items: list[dict[str, Any]] = []
        for _ in range(_PAGES):
            answer = msgspec.json.decode(self._client.get(path, params=query))
            items += answer.get("items") or []
            token = (answer.get("metadata") or {}).get("continue")
            if not token:
                return items
            query["continue"] = token
        raise TooLong(f"{path} has more than {len(items)} objects")


def _lease_fact(lease: Lease, now: datetime) -> LeaseFact:
    record = lease.record
    duration = record.lease_duration_seconds or _LEASE_SECONDS
    renewed = datetime.fromisoformat(record.renew_time) if record.renew_time else None
    return LeaseFact(
        key=lease.metadata.key,
        holder=lease.holder,
        is_current=renewed is not None and (now - renewed).total_seconds() <= duration,
    )
