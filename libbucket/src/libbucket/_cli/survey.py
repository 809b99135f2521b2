"""What `doctor` knows of a cluster: read once, with the operator's permissions. Checks nothing.

Of Secrets and ConfigMaps it requests metadata only. What may not be read is recorded in `Survey.unread`; a check whose
input is missing there says nothing rather than guessing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from libbucket import _api
from libbucket._cli import requirements
from libbucket._cli.cluster import list_leases, names_in
from libbucket._cli.permissions import LeasePlace, may_read_secret, missing_permissions
from libbucket._cli.pods import list_pods
from libbucket._cli.reading import Reading
from libbucket._kube.errors import KindMissing, KubeError, NotFound
from libbucket._kube.lease import lease_name
from libbucket._kube.lists import list_typed
from libbucket._kube.resources import (
    BUCKETS,
    CLAIMS,
    CLASSES,
    CONFIG_MAP_METADATA,
    SECRET_METADATA,
)
from libbucket._reconcile.model.intent import intent_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket._cli.facts import LeaseFact
    from libbucket._cli.pods import PodFact
    from libbucket._kube.client import KubeClient
    from libbucket._kube.resources import Resource


@dataclass(frozen=True, kw_only=True)
class Survey:
    """One reading of the cluster.

    Attributes:
        missing_crds: names of CRDs that are not installed.
        lost_fields: what the installed CRDs do not keep.
        claims: of all namespaces.
        classes: all StorageClasses.
        buckets: ObjectBuckets.
        secrets: metadata of those with the provisioners' label.
        config_maps: the same.
        leases: of provisioners.
        pods: of provisioners.
        admin_secrets: whether each Secret that a class names exists, by `namespace/name`.
        denied: what RBAC does not let a service account do, one phrase each.
        dead_webhooks: see `Facts`.
        undecodable: number of claims and ObjectBuckets that cannot be decoded.
        unread: what could not be read, with the reason.
    """

    missing_crds: tuple[str, ...] = ()
    lost_fields: tuple[str, ...] = ()
    claims: tuple[_api.ObjectBucketClaim, ...] = ()
    classes: tuple[_api.StorageClass, ...] = ()
    buckets: tuple[_api.ObjectBucketObject, ...] = ()
    secrets: tuple[_api.Metadata, ...] = ()
    config_maps: tuple[_api.Metadata, ...] = ()
    leases: tuple[LeaseFact, ...] = ()
    pods: tuple[PodFact, ...] = ()
    admin_secrets: dict[str, bool] = field(default_factory=dict)
    denied: tuple[str, ...] = ()
    dead_webhooks: tuple[str, ...] = ()
    undecodable: int = 0
    unread: dict[str, str] = field(default_factory=dict)

    def could_read(self, *what: str) -> bool:
        """Whether reading all of these was allowed and answered."""
        return not self.unread.keys() & set(what)

    @property
    def bucket_classes(self) -> tuple[_api.StorageClass, ...]:
        """The classes that claims or ObjectBuckets name, unless another project's provisioner has bound claims."""
        named = {claim.class_name for claim in self.claims} | {one.spec.storage_class_name for one in self.buckets}
        recorded = {one.spec.storage_class_name for one in self.buckets if intent_of(one) is not None}
        others = {one.spec.storage_class_name for one in self.buckets if one.phase == _api.Phase.BOUND} - recorded
        return tuple(one for one in self.classes if one.metadata.name in named - others)


def survey(client: KubeClient) -> Survey:
    """Reads the cluster."""
    return _Surveyor(client).read()


def admin_secret_of(storage_class: _api.StorageClass) -> str:
    """`namespace/name` of the Secret that a class names; "" if it names none."""
    parameters = storage_class.parameters or {}
    namespace, name = parameters.get("secretNamespace", "").strip(), parameters.get("secretName", "").strip()
    return f"{namespace}/{name}" if namespace and name else ""


class _Surveyor(Reading):
    def __init__(self, client: KubeClient) -> None:
        super().__init__(client)
        self._missing: list[str] = []
        self._undecodable = 0

    def read(self) -> Survey:
        found = Survey(
            buckets=self._typed("ObjectBuckets", BUCKETS),
            secrets=self._labelled("Secrets", SECRET_METADATA),
            config_maps=self._labelled("ConfigMaps", CONFIG_MAP_METADATA),
            # After them: what was made in between must not seem to have no claim.
            claims=self._typed("claims", CLAIMS),
            classes=self._typed("StorageClasses", CLASSES),
            leases=self.attempt("Leases", lambda: list_leases(self.client), ()),
            pods=self.attempt("Pods", lambda: list_pods(self.objects, ""), ()),
            lost_fields=self.attempt("CRDs", self.lost_fields, ()),
            dead_webhooks=self.attempt("Webhooks", lambda: requirements.dead_webhooks(self.objects), ()),
        )
        names = sorted({name for one in found.bucket_classes if (name := admin_secret_of(one))})
        nothing: dict[str, bool] = {}
        return replace(
            found,
            admin_secrets=self.attempt("administrators' Secrets", lambda: self._existing(names), nothing),
            denied=self.attempt("RBAC", lambda: tuple(self._denied(found, names)), ()),
            missing_crds=tuple(self._missing),
            undecodable=self._undecodable,
            unread=self.unread,
        )

    def _typed(self, what: str, resource: Resource[Any]) -> tuple[Any, ...]:
        try:
            found, undecodable = list_typed(self.client, resource)
        except KindMissing:
            self._missing.append(f"{resource.plural}.{_api.GROUP}")
            return ()
        except KubeError as error:
            self.unread[what] = str(error)
            return ()
        self._undecodable += undecodable
        return tuple(found)

    def _labelled(self, what: str, resource: Resource[_api.Metadata]) -> tuple[_api.Metadata, ...]:
        query = {"labelSelector": _api.PROVISIONER_LABEL}
        return self.attempt(what, lambda: tuple(list_typed(self.client, resource, params=query)[0]), ())

    def _existing(self, names: list[str]) -> dict[str, bool]:
        return {name: self._exists(name) for name in names}

    def _exists(self, key: str) -> bool:
        namespace, _, name = key.partition("/")
        try:
            self.client.read(SECRET_METADATA, name, namespace=namespace)
        except NotFound:
            return False
        return True

    def _denied(self, found: Survey, secrets: list[str]) -> Iterator[str]:
        pods, served = found.pods, tuple(sorted({lease_name(one.provisioner) for one in found.bucket_classes}))
        places = {(pod.account, namespace, pod.has_shards) for pod in pods for namespace in pod.namespaces or ("",)}
        for account, namespace, has_shards in sorted(places):
            own = account.partition("/")[0]
            names = names_in(found.leases, own) or served  # before the first election there is none
            lease = LeasePlace(namespace=own, names=names, has_shards=has_shards)
            for phrase in missing_permissions(self.client, account, namespace=namespace, lease=lease):
                yield f"service account {account} {phrase}"
        if len({pod.account for pod in pods}) == 1:  # of several, it is unknown which serves which class
            for secret in secrets:
                if not may_read_secret(self.client, pods[0].account, secret):
                    yield f"service account {pods[0].account} get Secret {secret}, which a class names"
