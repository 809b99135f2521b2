"""Lists of the API server, page by page: as JSON, and typed. GET requests only.

For programs that read once; the core has its informers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from libbucket import _api
from libbucket._kube.errors import ClusterUnavailable, KubeError
from libbucket._kube.tolerant_json import decode

if TYPE_CHECKING:
    from libbucket._kube.client import KubeClient
    from libbucket._kube.resources import Resource

Object = TypeVar("Object", bound=_api.Object)
T = TypeVar("T")

_PAGE: Final = "500"
_PAGES: Final = 200


class _PageMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct):
    metadata: _PageMeta | None = None
    items: list[dict[str, Any]] | None = None


class TooLong(KubeError):
    """A list has more pages than are read."""


def list_objects(
    client: KubeClient, path: str, params: dict[str, str], *, accept: str = "application/json"
) -> list[dict[str, Any]]:
    """All objects of a collection, as JSON.

    Args:
        client: with the operator's permissions.
        path: of the collection.
        params: selectors.
        accept: content type, for metadata only.

    Raises:
        TooLong: it has more than 100,000 objects.
        KubeError: a refusal, or no answer.
    """
    return list_version(client, path, params, accept=accept)[0]


def list_version(
    client: KubeClient, path: str, params: dict[str, str], *, accept: str = "application/json"
) -> tuple[list[dict[str, Any]], str]:
    """As `list_objects`, and the resource version from which a watch may continue."""
    query = {"limit": _PAGE, **params}
    items: list[dict[str, Any]] = []
    for _ in range(_PAGES):
        page = _decoded(client.get(path, params=query, accept=accept), path, _Page)
        items += page.items or []
        meta = page.metadata or _PageMeta()
        if not meta.continue_:
            return items, meta.resource_version
        query["continue"] = meta.continue_
    raise TooLong(f"{path} has more than {len(items)} objects")


def read_object(client: KubeClient, path: str, *, accept: str = "application/json") -> dict[str, Any]:
    """One object, as JSON.

    Raises:
        NotFound: it does not exist.
        KubeError: any other refusal, or no answer.
    """
    return _decoded(client.get(path, accept=accept), path, dict[str, Any])


def _decoded(body: bytes, path: str, kind: type[T]) -> T:
    try:
        return decode(body, kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        expected = "list" if kind is _Page else "object"
        raise ClusterUnavailable(f"{path}: the response is not a JSON {expected}; is this an API server?") from error


def list_typed(
    client: KubeClient, resource: Resource[Object], *, namespace: str = "", params: dict[str, str] | None = None
) -> tuple[list[Object], int]:
    """All objects of a resource, and how many more cannot be decoded.

    Raises:
        KubeError: a refusal, or no answer.
    """
    path = resource.path(namespace=namespace)
    items = list_objects(client, path, params or {}, accept=resource.accept_list)
    found: list[Object] = []
    for item in items:
        try:
            found.append(msgspec.convert(item, resource.type, strict=False))
        except msgspec.ValidationError:
            continue
    return found, len(items) - len(found)
