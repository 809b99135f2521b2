"""Buckets in the stores whose claim is gone: `--list-orphans`, with the provisioner's own permissions.

Reads stores and cluster, and changes neither. A bucket is one of this cluster's by its ownership tags; it is an orphan
if neither its claim nor an ObjectBucket that names it exists.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - read when a line of a report is decoded
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from libbucket._kube.lists import list_typed
from libbucket._kube.resources import BUCKETS, CLAIMS, CLASSES, NAMESPACES
from libbucket._reconcile.model.intent import intent_of
from libbucket._run.problems import StartFailed
from libbucket.errors import ProvisionerError
from libbucket.provisioner import BucketLister
from libbucket.types import Claim

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from libbucket import _api
    from libbucket._kube.client import KubeClient
    from libbucket._run.settings import Settings
    from libbucket.provisioner import Provisioner

_CLUSTER: Final = "objectbucket_cluster_id"
_NAMESPACE: Final = "objectbucket_claim_namespace"
_NAME: Final = "objectbucket_claim_name"
_UID: Final = "objectbucket_claim_uid"


@dataclass(frozen=True, kw_only=True)
class StoreOrphan:
    """A bucket without a claim: a line of a report, which `libbucket doctor` reads.

    Attributes:
        bucket: its name.
        store: `Provisioner.store_id` of the class, as text.
        namespace: of the claim that its ownership tags name.
        name: of that claim.
        uid: of that claim.
        cluster: uid of the namespace kube-system.
        provisioner: name of the provisioner.
        storage_class: by whose parameters the store was listed.
        parameters: those; `libbucket doctor` records them when it has the bucket removed.
        user_id: of the identity that the claim had, which is removed with the bucket.
    """

    bucket: str
    store: str
    namespace: str
    name: str
    uid: str
    cluster: str
    provisioner: str
    storage_class: str
    parameters: Mapping[str, str]
    user_id: str

    @property
    def claim(self) -> str:
        """`namespace/name` of the claim that is gone."""
        return f"{self.namespace}/{self.name}"

    def __str__(self) -> str:
        return f"bucket {self.bucket} of claim {self.claim} (uid {self.uid}) at {self.store}"


@dataclass(frozen=True, kw_only=True)
class Found:
    """The orphans, and why there may be more.

    Attributes:
        orphans: by store and name.
        problems: a sentence for each store that could not be listed, or not all of it.
    """

    orphans: Sequence[StoreOrphan]
    problems: Sequence[str]


def find_store_orphans(client: KubeClient, provisioner: Provisioner, settings: Settings) -> Found:
    """Lists the stores first, and the claims after them: a claim that is created meanwhile is seen.

    Raises:
        StartFailed: this provisioner cannot list buckets, or not all claims can be read.
        KubeError: the API server refused, or did not answer.
    """
    if not isinstance(provisioner, BucketLister):
        raise StartFailed("--list-orphans: this provisioner cannot list the buckets of its stores")
    cluster_id = client.read(NAMESPACES, "kube-system").metadata.uid
    listed: dict[tuple[str, str], tuple[_Source, Mapping[str, str]]] = {}
    problems: list[str] = []
    for store, source in _stores(client, provisioner, settings.provisioner_name):
        try:
            for bucket, tags in provisioner.list_buckets(source.parameters):
                listed[store, bucket] = source, tags
        except ProvisionerError as error:
            problems.append(f"{store} could not be listed: {error.message}")
    living = {claim.metadata.uid for claim in _all_claims(client, settings.namespaces)}
    known = {bucket.endpoint.bucket_name for bucket in _own_buckets(client, settings.provisioner_name)}
    orphans = [
        StoreOrphan(
            bucket=bucket,
            store=store,
            namespace=tags.get(_NAMESPACE, ""),
            name=tags.get(_NAME, ""),
            uid=uid,
            cluster=cluster_id,
            provisioner=settings.provisioner_name,
            storage_class=source.storage_class,
            parameters=source.parameters,
            user_id=provisioner.generate_user_id(_claim_of(tags), None),
        )
        for (store, bucket), (source, tags) in sorted(listed.items(), key=itemgetter(0))
        if tags.get(_CLUSTER) == cluster_id
        and (uid := tags.get(_UID, "")) not in living
        and bucket not in known
        and (not settings.namespaces or tags.get(_NAMESPACE) in settings.namespaces)
    ]
    return Found(orphans=orphans, problems=problems)


@dataclass(frozen=True, kw_only=True)
class _Source:
    """By which class a store is listed."""

    storage_class: str
    parameters: Mapping[str, str]


def _claim_of(tags: Mapping[str, str]) -> Claim:
    return Claim(namespace=tags.get(_NAMESPACE, ""), name=tags.get(_NAME, ""), uid=tags.get(_UID, ""))


def _stores(client: KubeClient, provisioner: Provisioner, name: str) -> Iterator[tuple[str, _Source]]:
    """Each store once for each Secret that a class, or an ObjectBucket of a class that is gone, names."""
    classes, _ = list_typed(client, CLASSES)
    given = [
        *((one.metadata.name, dict(one.parameters or {})) for one in classes if one.provisioner == name),
        *(
            (bucket.spec.storage_class_name or "", dict(intent.parameters))
            for bucket in _own_buckets(client, name)
            if (intent := intent_of(bucket)) is not None
        ),
    ]
    seen: set[tuple[str, str, str]] = set()
    for storage_class, parameters in given:
        store = str(provisioner.store_id(parameters))
        key = (store, parameters.get("secretNamespace", ""), parameters.get("secretName", ""))
        if key not in seen:
            seen.add(key)
            yield store, _Source(storage_class=storage_class, parameters=parameters)


def _own_buckets(client: KubeClient, name: str) -> list[_api.ObjectBucketObject]:
    """ObjectBuckets of this provisioner, and those that do not say whose they are."""
    buckets, unreadable = list_typed(client, BUCKETS)
    if unreadable:
        raise StartFailed("--list-orphans: some ObjectBuckets cannot be decoded, so it is unknown whose buckets exist")
    intents = [(bucket, intent_of(bucket)) for bucket in buckets]
    return [bucket for bucket, intent in intents if intent is None or intent.provisioner == name]


def _all_claims(client: KubeClient, namespaces: Iterable[str]) -> Iterator[_api.ObjectBucketClaim]:
    for namespace in tuple(namespaces) or ("",):
        claims, unreadable = list_typed(client, CLAIMS, namespace=namespace)
        if unreadable:
            raise StartFailed("--list-orphans: some claims cannot be decoded, so it is unknown which buckets are used")
        yield from claims
