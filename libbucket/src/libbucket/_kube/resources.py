"""The resources that we read and write: where they live under the API server, and as what they decode."""

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
        type: what one object decodes to.
        metadata_only: whether lists and watches ask for `PartialObjectMetadata`.
    """

    base: str
    plural: str
    type: type[T]
    metadata_only: bool = False

    def path(self, name: str = "", *, namespace: str = "", subresource: str = "") -> str:
        """The path of one object, or of the collection where no name is given.

        A name may be what somebody wrote into a claim: whatever is in it, it stays one name.
        """
        parts = [self.base]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, quote(name, safe=""), subresource) if part]
        return "/".join(parts)

    @property
    def accept_list(self) -> str:
        """Content type of a list: of the metadata alone, if no more than that is wanted."""
        return self._accept("List")

    @property
    def accept_event(self) -> str:
        """Content type of a watch."""
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
