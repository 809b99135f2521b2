"""All buckets of the project with ownership labels, for `--list-orphans`. Reads only.

Used by `provisioner`, as the administrator. Google lists buckets with their labels, so that none is asked for alone.
Buckets that were deleted and can be restored for some days are not listed. The core decides which are orphans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from gcs_provisioner.client import ask_storage
from gcs_provisioner.errors import Call, translated
from libbucket import StoreRefused, has_ownership_tags

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gcs_provisioner.client import Clients

_PERMISSION: Final = "storage.buckets.list"
_PAGE: Final = 1000
_PAGES: Final = 1000


def list_owned(clients: Clients) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Name and labels of each bucket with ownership labels, by one request for a thousand buckets.

    Raises:
        ProvisionerError: Google did not say.
    """
    path = f"b?project={quote(clients.project, safe='')}&maxResults={_PAGE}&fields=items(name,labels),nextPageToken"
    token = ""
    for _ in range(_PAGES):
        with translated(Call(url=clients.parameters.endpoint, permission=_PERMISSION)):
            answer = ask_storage(clients, "GET", f"{path}{token}", permission=_PERMISSION)
        for each in answer.get("items", []):
            labels = each.get("labels", {})
            if has_ownership_tags(labels):
                yield each["name"], labels
        if not answer.get("nextPageToken"):
            return
        token = f"&pageToken={quote(answer['nextPageToken'], safe='')}"
    raise StoreRefused(f"project {clients.project} lists more than {_PAGES} pages of buckets: no more was read")
