"""What a bucket holds: generations of objects, unfinished uploads, managed folders; looked for, and removed.

Used by `provisioner` and `storage`, as the administrator. Knows nothing of settings of buckets, owners and policies.
Each call names the permission that it needs, for the message if Google refuses it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote
from xml.etree import ElementTree as ET

from google.api_core import exceptions as api

from gcs_provisioner.client import ask_storage, items_of
from gcs_provisioner.errors import Call, from_response, translated
from gcs_provisioner.refusals import REQUEST_ID_HEADERS
from libbucket import BucketNotEmpty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests
    from google.cloud.storage import Blob

    from gcs_provisioner.client import Clients

BATCH: Final = 100
"""What Google takes in one batch: https://cloud.google.com/storage/docs/batch."""
_AT_ONCE: Final = 4
_PAGE: Final = 1000
_LOCK_SCAN: Final = 10_000
_VERSION_FIELDS: Final = (
    "items(name,generation,temporaryHold,eventBasedHold,retentionExpirationTime,retention),nextPageToken"
)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The contents of the buckets of one project, for one verb."""

    clients: Clients

    def check_unlocked(self, bucket: str) -> None:
        """Looks for objects that are held or retained, as far as a bounded search goes.

        Raises:
            BucketNotEmpty: one is.
        """
        now = datetime.now(UTC)
        with translated(self._call("storage.objects.list")):
            for found in self._versions(bucket, _LOCK_SCAN):
                if _is_locked(found, now):
                    raise _locked(bucket, found.name)

    def is_empty(self, bucket: str) -> bool:
        """Whether the bucket holds no generation of an object, no unfinished upload in parts, and no managed folder."""
        with translated(self._call("storage.objects.list")):
            if any(True for _ in self._versions(bucket, 1)):
                return False
        return not self._uploads(bucket) and not self.folders(bucket)

    def purge(self, bucket: str, check: Callable[[], object]) -> Iterator[int]:
        """Removes all generations of objects, step by step; yields how many went with each.

        The first batch of a page goes alone: what is refused to it, would be to all. The others go four at a time.
        Unfinished uploads go with the bucket: https://cloud.google.com/storage/docs/xml-api/delete-bucket.

        Args:
            bucket: its name.
            check: raises where the bucket is another's by now; called before each page but the first.

        Raises:
            BucketNotEmpty: an object is held or retained.
        """
        while doomed := self._page_of_versions(bucket):
            yield self._delete_batch(bucket, doomed[:BATCH])
            batches = [doomed[start : start + BATCH] for start in range(BATCH, len(doomed), BATCH)]
            for start in range(0, len(batches), _AT_ONCE):
                yield self._delete_batches(bucket, batches[start : start + _AT_ONCE])
            check()

    def purge_folders(self, bucket: str) -> Iterator[int]:
        """Removes managed folders, step by step; yields how many went with each. What holds something stays.

        An application may make any number of them; an empty one holds nothing but permissions.
        """
        while folders := self.folders(bucket):
            removed = 0
            for folder in sorted(folders, reverse=True):  # what is in another goes before it
                gone = self._remove_folder(bucket, folder)
                removed += gone
                yield gone
            if not removed:
                return

    def folders(self, bucket: str) -> list[str]:
        """The names of a page of the bucket's managed folders."""
        permission = "storage.managedFolders.list"
        with translated(self._call(permission)):
            path = f"b/{quote(bucket, safe='')}/managedFolders?pageSize={_PAGE}"
            answer = ask_storage(self.clients, "GET", path, permission=permission)
            return [str(each["name"]) for each in answer.get("items", [])]

    def _remove_folder(self, bucket: str, folder: str) -> int:
        """Removes an empty managed folder; 0 where it holds something, such as another one of a later page."""
        permission = "storage.managedFolders.delete"
        with translated(self._call(permission)):
            try:
                path = f"b/{quote(bucket, safe='')}/managedFolders/{quote(folder, safe='')}"
                ask_storage(self.clients, "DELETE", path, permission=permission)
            except api.NotFound:
                return 1
            except api.Conflict:
                return 0
        return 1

    def _page_of_versions(self, bucket: str) -> list[Blob]:
        with translated(self._call("storage.objects.list")):
            return list(self._versions(bucket, _PAGE))

    def _uploads(self, bucket: str) -> list[dict[str, str]]:
        """A page of the unfinished uploads in parts.

        Only the XML API has them. Resumable uploads of the JSON API can't be listed, and end with their bucket.
        """
        call = self._call("storage.multipartUploads.list")
        with translated(call):
            answer = self._xml(f"/{bucket}?uploads&encoding-type=url&max-uploads=1", call)
            return [_facts(each) for each in ET.fromstring(answer.content) if _tag(each) == "Upload"]  # noqa: S314

    def _versions(self, bucket: str, limit: int) -> Iterator[Blob]:
        found = self.clients.storage.list_blobs(
            bucket, versions=True, fields=_VERSION_FIELDS, max_results=limit, page_size=_PAGE, **self.clients.bounds
        )
        return items_of(found, f"the objects of bucket {bucket}")

    def _delete_batches(self, bucket: str, batches: list[list[Blob]]) -> int:
        """Several batches at once; all have ended when this returns or raises.

        In the context of this thread, to which the leadership check of their requests is bound.
        """
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="purge") as pool:
            sent = [pool.submit(copy_context().run, self._delete_batch, bucket, each) for each in batches]
        return sum(each.result() for each in sent)

    def _delete_batch(self, bucket: str, doomed: list[Blob]) -> int:
        call = self._call("storage.objects.delete")
        with translated(call):
            target = self.clients.storage.bucket(bucket)
            try:
                with self.clients.storage.batch(raise_exception=False) as batch:
                    for each in doomed:
                        target.delete_blob(each.name, generation=each.generation, **self.clients.bounds)
            except AttributeError as error:  # what Google's client falls over is not of Google's form
                raise ValueError("parts that are no answers") from error
        kept = 0
        for one in batch._responses:  # noqa: SLF001 - the only place where each answer is found
            if one.status_code < 300 or one.status_code == 404:
                continue
            kept += 1
            # Some of many are refused for a moment, as 503: they are listed again, unless nothing gets on.
            if kept == len(doomed) or not (one.status_code in {408, 429} or one.status_code >= 500):
                one.headers.setdefault(REQUEST_ID_HEADERS[0], self.clients.last_id.value)
                raise from_response(one, call)
        return len(doomed) - kept

    def _xml(self, path: str, call: Call) -> requests.Response:
        url = self.clients.parameters.endpoint + path
        response: requests.Response = self.clients.session.get(url, timeout=self.clients.timeout)
        if not response.ok:
            raise from_response(response, call)
        return response

    def _call(self, permission: str) -> Call:
        return Call(url=self.clients.parameters.endpoint, permission=permission)


def _is_locked(found: Blob, now: datetime) -> bool:
    ends = [found.retention_expiration_time, found.retention.retain_until_time]
    return bool(found.temporary_hold or found.event_based_hold or any(each and each > now for each in ends))


def _locked(bucket: str, name: str) -> BucketNotEmpty:
    return BucketNotEmpty(
        f"bucket {bucket} holds objects that are held or retained, such as {name[:100]!r}: it can be deleted when that "
        "has ended"
    )


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _facts(element: ET.Element) -> dict[str, str]:
    return {_tag(each): each.text or "" for each in element}
