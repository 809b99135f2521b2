"""Looks into an image that was written as an archive: its files, layers and configuration.

Reads the layout of OCI, which podman, buildah and docker (from 25 on) all write. Unpacks nothing.
"""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from libbucket.testing.problems import SetupFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WHITEOUT: Final = ".wh."


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file in an image.

    Attributes:
        size: bytes, unpacked; 0 for what is no plain file.
        mode: its rights.
        owner: user and group.
        layer: which layer it is from, counted from the base.
        target: of a link.
    """

    size: int
    mode: int
    owner: tuple[int, int]
    layer: int
    target: str = ""


class ImageArchive:
    """An image, as a whole.

    Attributes:
        path: the archive.
        entries: by path without a leading slash.
        layers: digests of the layers, unpacked, from the base up: equal where their content is.
        config: the image's configuration: user, entry point, labels.
        created: its date, in seconds.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        self._texts: dict[str, bytes] = {}
        with tarfile.open(path) as archive:
            manifest = _blob(archive, _json(archive, "index.json")["manifests"][0]["digest"])
            self._manifest = json.loads(manifest)
            whole = json.loads(_blob(archive, self._manifest["config"]["digest"]))
            for number, layer in enumerate(self._manifest["layers"]):
                self._read_layer(number, _blob(archive, layer["digest"]))
        self.layers: list[str] = whole["rootfs"]["diff_ids"]
        self.config: dict[str, Any] = whole["config"]
        self.created = int(datetime.fromisoformat(whole["created"]).timestamp())

    def _read_layer(self, number: int, blob: bytes) -> None:
        with tarfile.open(fileobj=io.BytesIO(blob)) as layer:
            for member in layer:
                name = member.name.removeprefix("./").strip("/")
                folder, _, last = name.rpartition("/")
                if last.startswith(_WHITEOUT):
                    self.entries.pop(f"{folder}/{last.removeprefix(_WHITEOUT)}", None)
                    continue
                size = member.size if member.isfile() else 0
                owner = (member.uid, member.gid)
                self.entries[name] = Entry(
                    size=size, mode=member.mode, owner=owner, layer=number, target=member.linkname
                )
                content = layer.extractfile(member) if _is_description(name) and member.isfile() else None
                if content is not None:
                    self._texts[name] = content.read()

    @property
    def unpacked(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries.values())

    @property
    def compressed(self) -> int:
        """Bytes that a registry would hold and a node fetch."""
        return sum(layer["size"] for layer in self._manifest["layers"])

    def descriptions(self, suffix: str) -> dict[str, str]:
        """The texts of those files that say what is in the image, by path."""
        found = {path: text for path, text in sorted(self._texts.items()) if path.endswith(suffix)}
        return {path: text.decode(errors="replace") for path, text in found.items()}

    def parts(self) -> list[tuple[str, int]]:
        """What the image is made of, the largest first: packages, libraries, programs."""
        sizes: dict[str, int] = {}
        for path, entry in self.entries.items():
            part = part_of(path)
            sizes[part] = sizes.get(part, 0) + entry.size
        return sorted(sizes.items(), key=lambda each: -each[1])

    def files_under(self, folder: str) -> Iterator[str]:
        """Paths of the files below a folder."""
        return (path for path, entry in self.entries.items() if entry.size and path.startswith(folder))


def part_of(path: str) -> str:
    """The part of the image that a file belongs to, as people would name it."""
    before, found, after = path.partition("/site-packages/")
    if found:
        return after.partition("/")[0].partition("-")[0]
    if path.startswith("usr/lib/python3"):
        return "the standard library"
    if "/python3" in path:
        return "Python itself"
    return before if path.startswith("usr/lib/x86_64-linux-gnu/") else before.partition("/")[0]


def _is_description(name: str) -> bool:
    return name.endswith((".dist-info/METADATA", "/copyright")) or name.startswith("var/lib/dpkg/status.d/")


def _blob(archive: tarfile.TarFile, digest: str) -> bytes:
    return _content(archive, f"blobs/{digest.replace(':', '/')}")


def _json(archive: tarfile.TarFile, name: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(_content(archive, name))
    return parsed


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    found = archive.extractfile(name)
    if found is None:
        raise SetupFailed(f"{name} is no file in the archive, which is then no image in the layout of OCI")
    return found.read()
