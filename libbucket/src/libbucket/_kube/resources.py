"""The resources that are read and written: their paths at the API server, and their types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from urllib.parse import quote

from libbucket import _api

T = TypeVar("T", bound=_api.Object)

_PARTIAL: Final = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"


@dataclass(frozen=True, kw_only=True)
class Resource(Generic[T]):
    """One resource of the API.

    Attributes:
        base: path of its group and version.
        plural: as in the path.
        type: of one decoded object.
        metadata_only: whether reads, lists and watches request `PartialObjectMetadata`.
    """

    base: str
    plural: str
    type: type[T]
    metadata_only: bool = False

    def path(self, name: str = "", *, namespace: str = "", subresource: str = "") -> str:
        """The path of one object, or of the collection if there is no name.

        Names are quoted, since some are written by tenants.
        """
        parts = [self.base]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, quote(name, safe=""), subresource) if part]
        return "/".join(parts)

    @property
    def accept_list(self) -> str:
        """Content type of a list."""
        return self._accept("List")

    @property
    def accept_event(self) -> str:
        """Content type of one object, and of a watch."""
        return self._accept("")

    def _accept(self, suffix: str) -> str:
        return _PARTIAL.format(suffix) if self.metadata_only else "application/json"


_OBC = f"/apis/{_api.API_VERSION}"

CLAIMS = Resource(base=_OBC, plural="objectbucketclaims", type=_api.ObjectBucketClaim)
BUCKETS = Resource(base=_OBC, plural="objectbuckets", type=_api.ObjectBucketObject)
CLASSES = Resource(base="/apis/storage.k8s.io/v1", plural="storageclasses", type=_api.StorageClass)
SECRETS = Resource(base="/api/v1", plural="secrets", type=_api.Secret)
CONFIG_MAPS = Resource(base="/api/v1", plural="configmaps", type=_api.ConfigMap)
SECRET_METADATA = Resource(base="/api/v1", plural="secrets", type=_api.Metadata, metadata_only=True)
CONFIG_MAP_METADATA = Resource(base="/api/v1", plural="configmaps", type=_api.Metadata, metadata_only=True)
NAMESPACES = Resource(base="/api/v1", plural="namespaces", type=_api.Metadata)
EVENTS = Resource(base="/api/v1", plural="events", type=_api.Metadata)
