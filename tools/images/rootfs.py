"""The default base: a root file system of Debian's packages, at the versions and hashes that docker/debian.txt pins.

Packages are fetched, and their signatures checked, by mmdebstrap; unpacked by dpkg-deb; what is left out is said in
docker/contents.toml. No script of a package runs. Knows nothing of provisioners.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from contents import leave_out
from libbucket.testing.binaries import cache_directory
from libbucket.testing.problems import SetupFailed
from libbucket.testing.processes import fresh_directory
from libbucket.testing.progress import waiting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from contents import Contents

PINS: Final = Path(__file__).parents[2] / "docker/debian.txt"
USER: Final = 65532
_LINE: Final = re.compile(r"(?P<name>\S+)=(?P<version>\S+) sha256:(?P<sha256>[0-9a-f]{64})")
_ACCOUNTS: Final = {
    "etc/passwd": "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:{0}:{0}:nonroot:/:/sbin/nologin\n",
    "etc/group": "root:x:0:\nnonroot:x:{0}:\n",
}
_NAMES: Final = "hosts: files dns\n"  # without it glibc asks for more than there is
_FOLDERS: Final = ("dev", "etc", "proc", "sys", "tmp", "run", "var/run", "var/lib/dpkg/status.d")


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One package, as it was when the pins were written."""

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name}={self.version} sha256:{self.sha256}"


def read_pins(path: Path) -> list[Pin]:
    """Reads docker/debian.txt.

    Raises:
        SetupFailed: a line can't be read.
    """
    pins = []
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            found = _LINE.fullmatch(line)
            if not found:
                raise SetupFailed(f"{path}: {line!r} is not NAME=VERSION sha256:HASH")
            pins.append(Pin(**found.groupdict()))
    return pins


def newest_pins(contents: Contents) -> list[Pin]:
    """What Debian has now: for writing new pins."""
    with _downloaded(contents.suite, contents.packages) as found:
        return [_pin_of(path) for path in found]


def pinned_packages(contents: Contents, pins: Sequence[Pin]) -> list[Path]:
    """The files of the pinned packages, from this machine's cache or from Debian.

    Raises:
        SetupFailed: pins and contents name different packages, or Debian has other versions by now.
    """
    if tuple(sorted(pin.name for pin in pins)) != contents.packages:
        raise SetupFailed(
            "docker/debian.txt pins other packages than docker/contents.toml names: "
            "`nox -s lock -- --upgrade` pins what it names"
        )
    kept = cache_directory() / "debian"
    if not all((kept / pin.sha256).is_file() for pin in pins):
        with _downloaded(contents.suite, [f"{pin.name}={pin.version}" for pin in pins]) as found:
            _keep(kept, pins, found)
    return [kept / pin.sha256 for pin in pins]


def _keep(kept: Path, pins: Sequence[Pin], found: Iterable[Path]) -> None:
    kept.mkdir(exist_ok=True)
    downloaded = {_pin_of(path): path for path in found}
    for pin in pins:
        if pin not in downloaded:
            raise SetupFailed(f"Debian has no {pin} any more: run `nox -s lock -- --upgrade`, which pins what it has")
        shutil.move(downloaded[pin], kept / pin.sha256)


def _pin_of(package: Path) -> Pin:
    name, version = (_field(package, field) for field in ("Package", "Version"))
    return Pin(name=name, version=version, sha256=hashlib.sha256(package.read_bytes()).hexdigest())


def _field(package: Path, *fields: str) -> str:
    command = ["dpkg-deb", "--field", str(package), *fields]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def _downloaded(suite: str, packages: Sequence[str]) -> Iterator[list[Path]]:
    """The files of these packages, and no others, until the end of the block."""
    if shutil.which("mmdebstrap") is None:
        raise SetupFailed(
            "the default base is made with mmdebstrap, which is not on the PATH: install it (on Debian and Ubuntu "
            "`apt-get install mmdebstrap`), or name an image that has Python with --base"
        )
    command = ["mmdebstrap", "--quiet", "--variant=extract", "--format=directory"]
    command += ["--skip=essential/unlink,cleanup/apt", f"--include={','.join(packages)}", suite]
    with fresh_directory("mmdebstrap-", parent=cache_directory()) as folder:
        with waiting("fetching Debian's packages"):
            done = subprocess.run([*command, str(folder / "root")], check=False, capture_output=True, text=True)
        if done.returncode:
            said = re.findall(r"(?m)^E: (.*)$", done.stderr) or [done.stderr.strip()[-300:]]
            raise SetupFailed(
                f"Debian's packages can't be had ({said[0]}); if it has other versions by now, "
                f"`nox -s lock -- --upgrade` pins those"
            )
        wanted = {package.partition("=")[0] for package in packages}
        archives = sorted((folder / "root/var/cache/apt/archives").glob("*.deb"))
        yield [path for path in archives if path.name.partition("_")[0] in wanted]


def write_rootfs(packages: Sequence[Path], contents: Contents, target: Path) -> int:
    """Writes the file system as an archive that is the same whenever and wherever it is made.

    Returns:
        The date of its newest file, which is that of the base.
    """
    with fresh_directory("rootfs-") as root:
        for package in packages:
            subprocess.run(["dpkg-deb", "--extract", str(package), str(root)], check=True)
        newest = max(int(path.lstat().st_mtime) for path in root.rglob("*") if path.is_file())
        authorities = _authorities(root)
        leave_out(root, contents.base)
        shutil.rmtree(root / "usr/share/ca-certificates")
        for folder in _FOLDERS:
            (root / folder).mkdir(parents=True, exist_ok=True)
        _write_files(root, contents.python, authorities)
        for package in packages:
            # Where scanners look in images that have no package manager.
            status = _field(package) + "\nStatus: install ok installed\n"
            (root / "var/lib/dpkg/status.d" / _field(package, "Package")).write_text(status)
        _write_archive(root, target, newest)
    return newest


def _authorities(root: Path) -> str:
    found = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    return "".join(path.read_text().rstrip("\n") + "\n" for path in found)


def _write_files(root: Path, python: str, authorities: str) -> None:
    for name, text in _ACCOUNTS.items():
        (root / name).write_text(text.format(USER))
    (root / "etc/nsswitch.conf").write_text(_NAMES)
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    bundle.write_text(authorities)
    (root / "usr/bin/python3").symlink_to(f"python{python}")


def _write_archive(root: Path, target: Path, date: int) -> None:
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            archive.add(path, str(path.relative_to(root)), recursive=False, filter=lambda each: _plain(each, date))


def _plain(entry: tarfile.TarInfo, date: int) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = date
    entry.mode = 0o1777 if entry.name == "tmp" else entry.mode & 0o755  # nothing runs with another's rights
    return entry
