"""What both storage APIs do with objects: write, read, delete, copy; with every permission that it takes.

Written from
https://cloud.google.com/storage/docs/access-control/iam-json (permissions of each JSON method)
https://cloud.google.com/storage/docs/access-control/iam-xml (overwriting takes storage.objects.delete as well)
https://cloud.google.com/storage/docs/object-versioning (no delete markers: a deleted live version becomes noncurrent)
https://cloud.google.com/storage/docs/object-holds and https://cloud.google.com/storage/docs/bucket-lock
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from testkit.gcs.fake.model import Bucket, Json, Store, Version
from testkit.gcs.fake.permissions import Principal, is_allowed, require, require_bucket
from testkit.gcs.fake.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable


def write(
    store: Store, who: Principal, bucket_name: str, name: str, data: bytes, content_type: str, extra: Json | None = None
) -> Version:
    """Writes an object; replacing one takes the permission to delete as well."""
    bucket = require_bucket(store, who, "storage.objects.create", bucket_name, name)
    existing = bucket.live(name)
    if existing is not None:
        require(store, who, "storage.objects.delete", bucket, name)
        if not bucket.keeps_versions:
            check_unlocked(store, bucket, existing)
    version = Version(name, store.next_number() + 10**15, data, content_type, store.clock.now(), extra=extra or {})
    bucket.put(version)
    return version


def read(store: Store, who: Principal, bucket_name: str, name: str, generation: str | None = None) -> Version:
    """The object. One that is not there is 404 only for who may list the bucket, else 403."""
    bucket = require_bucket(store, who, "storage.objects.get", bucket_name, name)
    return _find(store, who, bucket, name, generation)


def delete(store: Store, who: Principal, bucket_name: str, name: str, generation: str | None = None) -> None:
    """Deletes the live version, or for good the one that is named."""
    bucket = require_bucket(store, who, "storage.objects.delete", bucket_name, name)
    version = _find(store, who, bucket, name, generation)
    if generation is None and bucket.keeps_versions:
        bucket.retire(version)
        return
    check_unlocked(store, bucket, version)
    bucket.remove(version)


def copy(store: Store, who: Principal, source: tuple[str, str], target: tuple[str, str]) -> Version:
    """Copies inside the store: the source is read with the same credentials."""
    found = read(store, who, *source)
    return write(store, who, *target, found.data, found.content_type)


def check_unlocked(store: Store, bucket: Bucket, version: Version) -> None:
    """Refuses to end a version that is held or retained."""
    if version.extra.get("temporaryHold") or version.extra.get("eventBasedHold"):
        text = f"Object '{bucket.name}/{version.name}' is under active hold and cannot be deleted."
        raise ApiError(403, "objectUnderActiveHold", text, code="ObjectUnderActiveHold")
    ends = retained_until(bucket, version)
    if ends is not None and ends > store.clock.now():
        text = f"Object '{bucket.name}/{version.name}' is subject to the bucket's retention policy."
        raise ApiError(403, "retentionPolicyNotMet", text, code="RetentionPolicyNotMet")


def retained_until(bucket: Bucket, version: Version) -> datetime | None:
    """When the bucket's retention policy and the object's own retention end."""
    ends = []
    seconds = int(bucket.resource.get("retentionPolicy", {}).get("retentionPeriod", 0))
    if seconds:
        ends.append(version.created + timedelta(seconds=seconds))
    own = version.extra.get("retention", {}).get("retainUntilTime")
    if own:
        ends.append(datetime.fromisoformat(own).astimezone(UTC))
    return max(ends, default=None)


def page(
    store: Store, bucket: Bucket, query: dict[str, str], shown: Callable[[Version], bool]
) -> tuple[list[Version], list[str], str | None]:
    """One page of a listing: versions, common prefixes, and the token of the next page."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    size = min(int(query.get("maxResults") or query.get("max-keys") or store.knobs.page_size), store.knobs.page_size)
    start = query.get("pageToken") or query.get("marker") or ""
    found: list[Version] = []
    prefixes: list[str] = []
    for version in bucket.all_versions():
        key = f"{version.name}\0{version.generation:020}"
        if key <= start or not version.name.startswith(prefix) or not shown(version):
            continue
        cut = version.name.find(delimiter, len(prefix)) if delimiter else -1
        if cut >= 0:
            common = version.name[: cut + len(delimiter)]
            prefixes += [common] if common not in prefixes else []
            continue
        if len(found) == size:
            last = found[-1]
            return found, prefixes, f"{last.name}\0{last.generation:020}"
        found.append(version)
    return found, prefixes, None


def _find(store: Store, who: Principal, bucket: Bucket, name: str, generation: str | None) -> Version:
    if generation is None:
        version = bucket.live(name)
    else:
        version = next((each for each in bucket.versions.get(name, []) if str(each.generation) == generation), None)
    if version is None:
        if not is_allowed(store, who, "storage.objects.list", bucket):
            require(store, who, "storage.objects.list", bucket)
        raise ApiError(404, "notFound", f"No such object: {bucket.name}/{name}", code="NoSuchKey")
    return version
