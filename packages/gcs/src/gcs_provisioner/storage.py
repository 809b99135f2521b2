"""Bucket calls: find, create, set, empty, remove. One function of Google's client each.

Used by `provisioner` and `buckets`, as the administrator. Knows nothing of service accounts and policies.
Each call names the permission that it needs, for the message if Google refuses it.
"""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote
from xml.etree import ElementTree as ET

from google.api_core import exceptions as api
from google.cloud.storage.constants import PUBLIC_ACCESS_PREVENTION_ENFORCED

from gcs_provisioner.client import ask_storage
from gcs_provisioner.errors import (
    REQUEST_ID_HEADERS,
    Call,
    from_response,
    id_of,
    reason_of,
    translated,
)
from libbucket import AccessDenied, BucketNotEmpty, BucketNotFound, NotReady

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import requests
    from google.cloud.storage import Blob, Bucket

    from gcs_provisioner.client import Clients
    from libbucket import Owner

BATCH: Final = 100
"""What Google takes in one batch: https://cloud.google.com/storage/docs/batch."""

_AT_ONCE: Final = 4
_PAGE: Final = 1000
_LOCK_SCAN: Final = 10_000
_VERSION_FIELDS: Final = (
    "items(name,generation,temporaryHold,eventBasedHold,retentionExpirationTime,retention),nextPageToken"
)
_LABEL_VALUE: Final = re.compile(r"[a-z0-9_-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The buckets of one project, for one verb."""

    clients: Clients

    def find(self, bucket: str) -> Bucket | None:
        """As `get`; None where there is none of that name in all of Google."""
        try:
            return self.get(bucket)
        except BucketNotFound:
            return None

    def get(self, bucket: str) -> Bucket:
        """The bucket.

        Raises:
            BucketNotFound: there is none of that name in all of Google.
            AccessDenied: it belongs to another project, or the administrator may not read it.
        """
        with translated(self._call("storage.buckets.get")):
            try:
                return self.clients.storage.get_bucket(bucket, **self.clients.bounds)
            except api.NotFound as refusal:
                raise BucketNotFound(f"bucket {bucket} does not exist", request_id=id_of(refusal)) from refusal

    def create(self, bucket: str, tags: Mapping[str, str], *, versioning: bool) -> Bucket | api.Conflict:
        """Makes the bucket, with its ownership labels; gives the refusal where there is one of that name.

        Raises:
            NotReady: another bucket's turn comes first.
        """
        self._take_turn(bucket)
        new, wanted = self.clients.storage.bucket(bucket), self.clients.parameters
        new.labels = {**wanted.labels, **tags}
        new.iam_configuration.uniform_bucket_level_access_enabled = True
        new.iam_configuration.public_access_prevention = PUBLIC_ACCESS_PREVENTION_ENFORCED
        if versioning:
            new.versioning_enabled = True
        if wanted.storage_class:
            new.storage_class = wanted.storage_class
        if wanted.kms_key_name:
            new.default_kms_key_name = wanted.kms_key_name
        if wanted.soft_delete_seconds is not None:
            new.soft_delete_policy.retention_duration_seconds = wanted.soft_delete_seconds
        with translated(self._call("storage.buckets.create")):
            try:
                return self.clients.storage.create_bucket(
                    new, project=self.clients.project, location=wanted.location or None, **self.clients.bounds
                )
            except api.Conflict as refusal:
                return refusal
            except api.NotFound as refusal:
                raise self.clients.no_such_project(refusal) from refusal
            except api.Forbidden as refusal:
                if wanted.kms_key_name and reason_of(refusal.response) == "forbidden":
                    raise self._denied_with_kms(refusal) from refusal
                raise

    def tag(self, bucket: Bucket, tags: Mapping[str, str]) -> None:
        """Writes the owner's tags on a bucket that carries none, or an earlier claim's; other labels stay."""
        bucket.labels = {**bucket.labels, **tags}
        with translated(self._call("storage.buckets.update", conditional=True)):
            bucket.patch(if_metageneration_match=bucket.metageneration, **self.clients.bounds)

    def set_versioning(self, bucket: Bucket, *, enabled: bool) -> bool:
        """Has the bucket keep older generations or not; False where it was that way already."""
        if bool(bucket.versioning_enabled) == enabled:
            return False
        bucket.versioning_enabled = enabled
        with translated(self._call("storage.buckets.update")):
            bucket.patch(**self.clients.bounds)
        return True

    def check_project(self) -> None:
        """Makes sure that the administrator has its role in the whole project, and so would see its own buckets.

        Raises:
            AccessDenied: it may not even list them.
        """
        self.is_in_project("")

    def is_in_project(self, bucket: str) -> bool:
        """Whether the project's list of buckets has this one, which the administrator may not be allowed to read."""
        permission = "storage.buckets.list"
        with translated(self._call(permission)):
            project, prefix = (quote(each, safe="") for each in (self.clients.project, bucket))
            path = f"b?project={project}&prefix={prefix}&maxResults=1&fields=items(name)"
            try:
                answer = ask_storage(self.clients, "GET", path, permission=permission)
            except api.NotFound:
                return False  # a project that does not exist has no buckets
            return any(each.get("name") == bucket for each in answer.get("items", []))

    def check_gone(self, bucket: str, request_id: str) -> None:
        """Makes sure of a bucket that Google has said to be gone: a deletion ends by that.

        Args:
            bucket: its name.
            request_id: of the answer that said so.

        Raises:
            NotReady: the project's list has it.
        """
        if self.is_in_project(bucket):
            raise NotReady(
                f"Google says that bucket {bucket} does not exist, and lists it: it counts as there",
                delay=10,
                request_id=request_id,
            )

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
        return not self._uploads(bucket) and not self._folders(bucket)

    def purge(self, bucket: str) -> Iterator[int]:
        """Removes all generations of objects, step by step; yields how many went with each.

        The first batch of a page goes alone: what is refused to it, would be to all. The others go four at a time.
        Unfinished uploads go with the bucket: https://cloud.google.com/storage/docs/xml-api/delete-bucket.

        Raises:
            BucketNotEmpty: an object is held or retained.
        """
        while doomed := self._page_of_versions(bucket):
            yield self._delete_batch(bucket, doomed[:BATCH])
            batches = [doomed[start : start + BATCH] for start in range(BATCH, len(doomed), BATCH)]
            for start in range(0, len(batches), _AT_ONCE):
                yield self._delete_batches(bucket, batches[start : start + _AT_ONCE])

    def remove(self, bucket: str, *, with_folders: bool) -> None:
        """Removes the bucket that holds no object; one that is gone is fine.

        Args:
            bucket: its name.
            with_folders: whether managed folders go, too: an application may make them, an empty one holds nothing but
                permissions, and no listing of objects has it.

        Raises:
            NotReady: something was written into it meanwhile.
        """
        refusal = self._try_to_remove(bucket)
        folders = self._folders(bucket) if with_folders and refusal is not None else []
        for folder in sorted(folders, reverse=True):  # what is in another goes before it
            self._remove_folder(bucket, folder)
        if folders:
            refusal = self._try_to_remove(bucket)
        if refusal is not None:
            raise NotReady(
                f"bucket {bucket} is not empty: objects were written during its deletion", request_id=id_of(refusal)
            )

    def _try_to_remove(self, bucket: str) -> api.Conflict | None:
        """Removes the bucket; gives the refusal where Google says that it holds something."""
        self._take_turn(bucket)
        with translated(self._call("storage.buckets.delete")):
            try:
                self.clients.storage.bucket(bucket).delete(**self.clients.bounds)
            except api.NotFound as refusal:
                self.check_gone(bucket, id_of(refusal))
            except api.Conflict as refusal:
                return refusal
        return None

    def _folders(self, bucket: str) -> list[str]:
        """The names of a page of the bucket's managed folders."""
        permission = "storage.managedFolders.list"
        with translated(self._call(permission)):
            path = f"b/{quote(bucket, safe='')}/managedFolders?pageSize={_PAGE}"
            answer = ask_storage(self.clients, "GET", path, permission=permission)
            return [str(each["name"]) for each in answer.get("items", [])]

    def _remove_folder(self, bucket: str, folder: str) -> None:
        permission = "storage.managedFolders.delete"
        with translated(self._call(permission)):
            try:
                path = f"b/{quote(bucket, safe='')}/managedFolders/{quote(folder, safe='')}"
                ask_storage(self.clients, "DELETE", path, permission=permission)
            except api.NotFound:
                return

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
        found: Iterator[Blob] = self.clients.storage.list_blobs(
            bucket, versions=True, fields=_VERSION_FIELDS, max_results=limit, page_size=_PAGE, **self.clients.bounds
        )
        return found

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
            with self.clients.storage.batch(raise_exception=False) as batch:
                for each in doomed:
                    target.delete_blob(each.name, generation=each.generation, **self.clients.bounds)
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

    def _take_turn(self, bucket: str) -> None:
        parameters = self.clients.parameters
        project = (parameters.endpoint, self.clients.project)
        left = self.clients.pace.seconds_left(project, bucket, parameters.seconds_per_bucket)
        if left > 0:
            raise NotReady(
                f"Google makes and deletes one bucket of a project every two seconds: the turn of bucket {bucket} "
                f"comes in {left:.0f} seconds",
                delay=left,
            )

    def _denied_with_kms(self, refusal: api.Forbidden) -> AccessDenied:
        return AccessDenied(
            "Google refuses storage.buckets.create (403 forbidden): the administrator's service account lacks it, or "
            "the project's Cloud Storage service agent lacks roles/cloudkms.cryptoKeyEncrypterDecrypter on the key "
            "that kmsKeyName names",
            request_id=id_of(refusal),
        )

    def _call(self, permission: str, *, conditional: bool = False) -> Call:
        return Call(url=self.clients.parameters.endpoint, permission=permission, conditional=conditional)


def build_ownership_labels(owner: Owner) -> dict[str, str]:
    """The owner's labels. Cluster and uid, which decide, fit as they are; a name is made to fit."""
    return {
        key: value if _LABEL_VALUE.fullmatch(value) else _fit(value) for key, value in owner.ownership_tags().items()
    }


def _fit(value: str) -> str:
    """The beginning, for people, and a hash, for certainty."""
    digest = hashlib.sha256(value.encode()).hexdigest()[:12]
    return f"{re.sub('[^a-z0-9-]', '_', value.lower())[:50]}-{digest}"


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
