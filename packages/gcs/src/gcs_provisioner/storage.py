"""Bucket calls: find, create, set, remove. One function of Google's client each.

Used by `provisioner` and `buckets`, as the administrator. Knows nothing of service accounts and policies, and what a
bucket holds is in `contents`. Each call names the permission that it needs, for the message if Google refuses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from google.api_core import exceptions as api
from google.cloud.storage.constants import PUBLIC_ACCESS_PREVENTION_ENFORCED

from gcs_provisioner.client import ask_storage
from gcs_provisioner.contents import Contents
from gcs_provisioner.errors import Call, translated
from gcs_provisioner.pace import NEAR_SECONDS
from gcs_provisioner.refusals import id_of, is_by_organisation, reason_of
from libbucket import AccessDenied, BucketNotEmpty, BucketNotFound, NotReady, drain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.cloud.storage import Bucket

    from gcs_provisioner.client import Clients


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The buckets of one project, for one verb.

    Attributes:
        clients: of this verb.
        project: the project that the claim's bucket was made in, where that is recorded: a class may be edited.
        tenant: whose turn it is to make or delete a bucket: the namespace of the claim.
    """

    clients: Clients
    project: str
    tenant: str

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
        if wanted.autoclass:
            new.autoclass_enabled = True
        if wanted.storage_class:
            new.storage_class = wanted.storage_class
        if wanted.kms_key_name:
            new.default_kms_key_name = wanted.kms_key_name
        if wanted.soft_delete_seconds is not None:
            new.soft_delete_policy.retention_duration_seconds = wanted.soft_delete_seconds
        with translated(self._call("storage.buckets.create")):
            try:
                return self.clients.storage.create_bucket(
                    new,
                    project=self.clients.project,
                    location=wanted.location or None,
                    data_locations=list(wanted.data_locations) or None,
                    **self.clients.bounds,
                )
            except api.Conflict as refusal:
                return refusal
            except api.NotFound as refusal:
                raise self.clients.no_such_project(refusal) from refusal
            except api.Forbidden as refusal:
                is_of_key = reason_of(refusal.response) == "forbidden" and not is_by_organisation(refusal.response)
                if wanted.kms_key_name and is_of_key:
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
            project, prefix = (quote(each, safe="") for each in (self.project, bucket))
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

    def remove(self, found: Bucket, *, with_folders: bool) -> None:
        """Removes the bucket that holds no object; one that is gone is fine.

        Args:
            found: the bucket, as it was when it was proven to be the claim's.
            with_folders: whether managed folders go, too, which no listing of objects has.

        Raises:
            NotReady: something was written into it meanwhile, or its metadata was changed: it may be another's.
            PurgeUnfinished: it holds more managed folders than go in one call.
            BucketNotEmpty: it has a hierarchical namespace, whose folders stay when their objects go.
        """
        refusal, contents = self._try_to_remove(found), Contents(clients=self.clients)
        if refusal is not None and with_folders and contents.folders(found.name):
            drain(contents.purge_folders(found.name), self.clients.patience.purge)
            refusal = self._try_to_remove(found)
        if refusal is not None and found.hierarchical_namespace_enabled:
            raise BucketNotEmpty(
                f"bucket {found.name} has a hierarchical namespace, and Google does not delete it: its folders are not "
                "removed by this provisioner, and may be what it holds",
                request_id=id_of(refusal),
            )
        if refusal is not None:
            raise NotReady(
                f"bucket {found.name} is not empty: objects were written during its deletion", request_id=id_of(refusal)
            )

    def _try_to_remove(self, found: Bucket) -> api.Conflict | None:
        """Removes the bucket; gives the refusal where Google says that it holds something."""
        self._take_turn(found.name)
        with translated(self._call("storage.buckets.delete", conditional=True)):
            try:
                found.delete(if_metageneration_match=found.metageneration, **self.clients.bounds)
            except api.NotFound as refusal:
                self.check_gone(found.name, id_of(refusal))
            except api.Conflict as refusal:
                return refusal
        return None

    def _take_turn(self, bucket: str) -> None:
        parameters = self.clients.parameters
        project = (parameters.endpoint, self.clients.project)
        left = self.clients.pace.take_turn(project, bucket, parameters.seconds_per_bucket, tenant=self.tenant)
        if left > NEAR_SECONDS:
            raise NotReady(
                f"Google makes and deletes one bucket of a project every two seconds: the turn of bucket {bucket} "
                f"comes in {left:.0f} seconds",
                delay=left,
            )
        self.clients.patience.sleep(left)

    def _denied_with_kms(self, refusal: api.Forbidden) -> AccessDenied:
        return AccessDenied(
            "Google refuses storage.buckets.create (403 forbidden): the administrator's service account lacks it, or "
            "the project's Cloud Storage service agent lacks roles/cloudkms.cryptoKeyEncrypterDecrypter on the key "
            "that kmsKeyName names",
            request_id=id_of(refusal),
        )

    def _call(self, permission: str, *, conditional: bool = False) -> Call:
        return Call(url=self.clients.parameters.endpoint, permission=permission, conditional=conditional)
