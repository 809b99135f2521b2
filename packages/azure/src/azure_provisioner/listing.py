"""All containers of the account with ownership tags, for `--list-orphans`. Reads only.

Used by `provisioner`, as the administrator. Azure lists containers with their metadata, so that none is asked for by
itself. Those that were deleted and can be restored for some days are not listed. The core decides which of them are
orphans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from azure_provisioner.errors import translated
from libbucket import StoreRefused, has_ownership_tags

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from azure.storage.blob import ContainerProperties

    from azure_provisioner.client import Clients

_PAGES: Final = 1000
"""Of 5,000 containers each: "List Containers", Azure's REST reference."""


def list_owned(clients: Clients) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Name and tags of each container with ownership tags, by one request for 5,000 containers.

    Raises:
        ProvisionerError: Azure did not say.
    """
    for found in _list_all(clients):
        tags = dict(found.metadata or {})
        if has_ownership_tags(tags):
            yield found.name, tags


def _list_all(clients: Clients) -> Iterator[ContainerProperties]:
    pages = clients.service.list_containers(include_metadata=True).by_page()
    for _ in range(_PAGES):
        with translated(clients.call("containers/read")):
            page = next(pages, None)
            found = [] if page is None else list(page)
        yield from found
        if page is None:
            return
    raise StoreRefused(f"{clients.parameters.url} lists more than {_PAGES} pages of containers: no more was read")
