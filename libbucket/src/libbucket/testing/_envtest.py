"""The release archives of envtest: etcd, kube-apiserver and kubectl, built by Kubernetes' controller-tools.

Which archive fits, and how it is unpacked. `envtest.json` has the addresses and hashes, as published in
controller-tools' `envtest-releases.yaml`. Used by `binaries`, which downloads and keeps them. An archive has no
kube-controller-manager.
"""

from __future__ import annotations

import gzip
import json
import platform
import shutil
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

_RELEASES: Final = Path(__file__).with_name("envtest.json")
_FOLDER: Final = PurePosixPath("controller-tools/envtest")
_PROGRAMS: Final = frozenset({"etcd", "kube-apiserver", "kubectl"})
_NEEDED: Final = frozenset({"etcd", "kube-apiserver"})
_MACHINES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_MEMBERS: Final = 1000
_MEMBER_BYTES: Final = 2**30


class UnusableArchive(Exception):
    """An archive that is not a release of envtest; the message says which member."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One archive.

    Attributes:
        version: of Kubernetes, without a `v`.
        url: where it is published.
        sha512: hexadecimal digest.
    """

    version: str
    url: str
    sha512: str


def release_for(version: str) -> Release | None:
    """The newest release for this machine that is not newer than `version`; None if there is none.

    Args:
        version: of Kubernetes: "1.37.2".
    """
    system = f"{platform.system()}-{_MACHINES.get(platform.machine().lower(), platform.machine())}".lower()
    published = json.loads(_RELEASES.read_text())
    fitting = [each for each, files in published.items() if system in files and _numbers(each) <= _numbers(version)]
    if not fitting:
        return None
    newest = max(fitting, key=_numbers)
    return Release(version=newest, **published[newest][system])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def unpack(archive: Path, target: Path) -> None:
    """Unpacks the programs of an archive, and nothing else of it, into an existing directory.

    Raises:
        UnusableArchive: it is damaged, lacks a program, or has a member that no release has.
        OSError: a program can't be written.
    """
    try:
        with tarfile.open(archive, "r:gz") as opened:
            for program, member in _programs(opened).items():
                _write(opened, member, target / program)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UnusableArchive(f"{archive.name} is damaged: {error}") from None


def _programs(opened: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    found: dict[str, tarfile.TarInfo] = {}
    for number, member in enumerate(opened):
        if number >= _MEMBERS:
            raise UnusableArchive(f"the archive has more than {_MEMBERS} members")
        _refuse_unsafe(member)
        path = PurePosixPath(member.name)
        if member.isfile() and path.parent == _FOLDER and path.name in _PROGRAMS:
            found[path.name] = member
    if missing := _NEEDED - found.keys():
        raise UnusableArchive(f"the archive lacks {', '.join(sorted(missing))}")
    return found


def _refuse_unsafe(member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise UnusableArchive(f"the archive has the member {member.name!r}, which leads out of it")
    if not (member.isfile() or member.isdir()):
        raise UnusableArchive(f"the archive's member {member.name!r} is neither a file nor a directory")
    if member.size > _MEMBER_BYTES:
        raise UnusableArchive(f"the archive's member {member.name!r} has {member.size} bytes")


def _write(opened: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = opened.extractfile(member)
    assert source is not None
    with source, target.open("xb") as file:
        shutil.copyfileobj(source, file)
    target.chmod(0o755)
