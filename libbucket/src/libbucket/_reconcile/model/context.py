"""The caches, and what this process serves: used in every step of a reconcile. Built by the controller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from libbucket._reconcile.model.names import provisioner_label

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from libbucket import _api
    from libbucket._kube.cache import Cache
    from libbucket._kube.discovery import CrdFeatures, InstalledCrds
    from libbucket._kube.summaries import Summaries
    from libbucket._reconcile.model.summaries import BucketSummary, ClaimSummary


@dataclass(frozen=True, kw_only=True)
class Caches:
    """The caches that the informers keep up to date, with summaries of what they hold."""

    claims: Cache[_api.ObjectBucketClaim]
    claim_summaries: Summaries[_api.ObjectBucketClaim, ClaimSummary]
    buckets: Cache[_api.ObjectBucketObject]
    bucket_summaries: Summaries[_api.ObjectBucketObject, BucketSummary]
    classes: Cache[_api.StorageClass]
    secrets: Cache[_api.Metadata]
    config_maps: Cache[_api.Metadata]

    def serves(self, provisioner_name: str, class_name: str) -> bool:
        """Whether there is a class of this name that names this provisioner."""
        storage_class = self.classes.get(class_name)
        return storage_class is not None and storage_class.provisioner == provisioner_name


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What this process serves, and with which settings.

    Attributes:
        provisioner_name: which classes are served.
        version: of the provisioner; another version reconciles every claim in full once.
        cluster_id: uid of the namespace kube-system.
        allowed_config: `additionalConfig` keys that the operator allows.
        supported_config: keys that the store supports.
        installed: features of the installed CRDs.
        now: the clock, for credentials that expire and for purges.
        keeps_data: whether the provisioner can remove a bucket only if it is empty.
        namespaces: that are watched; empty for all.
    """

    provisioner_name: str
    version: str
    cluster_id: str
    allowed_config: frozenset[str]
    supported_config: frozenset[str]
    installed: InstalledCrds
    now: Callable[[], datetime]
    keeps_data: bool = True
    namespaces: tuple[str, ...] = ()

    def watches(self, namespace: str) -> bool:
        """Whether claims of this namespace are served."""
        return not self.namespaces or namespace in self.namespaces

    @property
    def features(self) -> CrdFeatures:
        """The current features of the installed CRDs."""
        return self.installed.features

    @property
    def label(self) -> str:
        """The value of the label `bucket-provisioner`."""
        return provisioner_label(self.provisioner_name)
