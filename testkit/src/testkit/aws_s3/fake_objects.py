"""The objects of one bucket of `RegionalS3`: versions, delete markers, unfinished uploads, locks.

Pure: knows no request and no permission. Each behaviour names its source.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

_NULL: Final = "null"


class Locked(Exception):
    """A version is under a legal hold."""


@dataclass(kw_only=True)
class Version:
    """A version of an object, or a delete marker.

    Attributes:
        key: of the object.
        id: `null` for one that was written while the bucket kept no versions. Source:
            https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html.
        data: its content.
        is_marker: whether it is a delete marker.
        is_held: whether it is under a legal hold.
    """

    key: str
    id: str
    data: bytes = b""
    is_marker: bool = False
    is_held: bool = False


@dataclass(kw_only=True)
class Objects:
    """All that a bucket holds.

    Attributes:
        versions: newest last.
        uploads: keys of unfinished uploads, by id.
    """

    versions: list[Version] = field(default_factory=list)
    uploads: dict[str, str] = field(default_factory=dict)
    _count: int = 0

    def put(self, key: str, data: bytes, *, keeps_versions: bool, is_marker: bool = False) -> Version:
        """Writes an object, or a delete marker; the `null` version is replaced where no versions are kept."""
        if not keeps_versions:
            self.versions = [one for one in self.versions if (one.key, one.id) != (key, _NULL)]
        made = Version(
            key=key, id=f"version-{self._next()}" if keeps_versions else _NULL, data=data, is_marker=is_marker
        )
        self.versions.append(made)
        return made

    def get(self, key: str) -> bytes | None:
        """The newest data; None where there is none, or a delete marker."""
        newest = next((one for one in reversed(self.versions) if one.key == key), None)
        return None if newest is None or newest.is_marker else newest.data

    def delete(self, key: str, *, has_versions: bool, keeps_versions: bool) -> None:
        """Removes an object, or in a bucket that has versions puts a delete marker before it.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/DeleteMarker.html.
        """
        if has_versions:
            self.put(key, b"", keeps_versions=keeps_versions, is_marker=True)
        else:
            self.versions = [one for one in self.versions if one.key != key]

    def find(self, key: str, version: str) -> Version | None:
        """A version; None where there is none."""
        return next((one for one in self.versions if (one.key, one.id) == (key, version)), None)

    def delete_version(self, key: str, version: str) -> None:
        """Removes a version for good; one that is not there is fine.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html.

        Raises:
            Locked: it is under a legal hold.
        """
        found = self.find(key, version)
        if found is not None and found.is_held:
            raise Locked
        if found is not None:
            self.versions.remove(found)

    def start_upload(self, key: str) -> None:
        """Begins an upload in parts that nobody finishes."""
        self.uploads[f"upload-{self._next()}"] = key

    @property
    def keys(self) -> list[str]:
        """Keys of all objects that can be read."""
        return sorted(key for key in {one.key for one in self.versions} if self.get(key) is not None)

    @property
    def is_empty(self) -> bool:
        """Whether a bucket with these can be deleted: unfinished uploads do not hold it.

        Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucket.html.
        """
        return not self.versions

    def _next(self) -> int:
        self._count += 1
        return self._count


def versions_xml(objects: Objects, limit: int, after: tuple[str, str]) -> str:
    """A page of ListObjectVersions: newest first of each key.

    Args:
        objects: of the bucket.
        limit: entries of the page.
        after: key and version id at which the page before ended; two empty texts for the first page.
    """
    ordered = objects.versions[::-1]
    ordered.sort(key=lambda one: one.key)
    names = [(one.key, one.id) for one in ordered]
    start = names.index(after) + 1 if after in names else 0
    page = ordered[start : start + limit]
    return _page("ListVersionsResult", "".join(map(_version_xml, page)), more=_more(ordered, start, page))


def _more(ordered: Sequence[Version], start: int, page: Sequence[Version]) -> str:
    if start + len(page) >= len(ordered) or not page:
        return "<IsTruncated>false</IsTruncated>"
    last = page[-1]
    marker = f"<NextKeyMarker>{quote(last.key)}</NextKeyMarker><NextVersionIdMarker>{last.id}</NextVersionIdMarker>"
    return f"<IsTruncated>true</IsTruncated>{marker}"


def _version_xml(one: Version) -> str:
    kind = "DeleteMarker" if one.is_marker else "Version"
    return f"<{kind}><Key>{quote(one.key)}</Key><VersionId>{one.id}</VersionId></{kind}>"


def keys_xml(objects: Objects, prefix: str, limit: int) -> str:
    """A page of ListObjectsV2, the first."""
    found = [key for key in objects.keys if key.startswith(prefix)][:limit]
    return _page("ListBucketResult", "".join(f"<Contents><Key>{quote(key)}</Key></Contents>" for key in found))


def uploads_xml(objects: Objects, limit: int) -> str:
    """A page of ListMultipartUploads, the first."""
    found = list(objects.uploads.items())[:limit]
    uploads = (f"<Upload><Key>{quote(key)}</Key><UploadId>{escape(name)}</UploadId></Upload>" for name, key in found)
    return _page("ListMultipartUploadsResult", "".join(uploads))


def _page(root: str, content: str, more: str = "<IsTruncated>false</IsTruncated>") -> str:
    return f"<{root}><EncodingType>url</EncodingType>{more}{content}</{root}>"
