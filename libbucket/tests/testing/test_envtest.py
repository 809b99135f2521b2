"""A control plane is downloaded where that is enough and possible, unpacked safely, and else built."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from libbucket.testing import _downloads, _envtest, progress
from libbucket.testing._downloads import Limits
from libbucket.testing._envtest import UnusableArchive, release_for, unpack
from libbucket.testing.binaries import control_plane_binaries
from libbucket.testing.processes import free_ports
from testkit.file_server import FileServer, file_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER = "controller-tools/envtest"
PROGRAMS = {f"{FOLDER}/{name}": name.encode() for name in ("etcd", "kube-apiserver", "kubectl")}
GO = """#!/bin/sh
if [ "$1" = env ]; then echo go1.99.0; exit; fi
echo built >> "{calls}"
while [ "$1" != -o ]; do shift; done
echo "#!/bin/sh" > "$2"
"""
GET = """
from pathlib import Path
from libbucket.testing import _envtest, binaries
_envtest._RELEASES = Path({releases!r})
print(binaries.control_plane_binaries(needs_controller_manager=False).etcd)
"""


def an_archive(members: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """A .tar.gz of files with that content, or of members made by hand."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                archive.addfile(content)
            else:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return whole.getvalue()


def a_link(kind: bytes, to: str) -> tarfile.TarInfo:
    link = tarfile.TarInfo()
    link.type, link.linkname = kind, to
    return link


class Machine:
    """A machine with a cache of its own, a `go` that builds at once, and an archive that is published for it."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.cache = root / "cache" / "libbucket"
        self.calls = root / "calls"
        self.releases = root / "envtest.json"
        go = root / "bin" / "go"
        go.parent.mkdir()
        go.write_text(GO.format(calls=self.calls))
        go.chmod(0o755)
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        patch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
        patch.setenv("no_proxy", "*")
        for variable in ("KUBEBUILDER_ASSETS", "LIBBUCKET_ENVTEST"):
            patch.delenv(variable, raising=False)
        patch.setattr(_envtest, "_RELEASES", self.releases)

    def has_published(self, url: str, body: bytes) -> None:
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        file = {"url": url, "sha512": hashlib.sha512(body).hexdigest()}
        self.releases.write_text(json.dumps({"1.36.2": {f"{platform.system()}-{machine}".lower(): file}}))

    @property
    def builds(self) -> int:
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0

    def kept(self) -> list[str]:
        return sorted(path.name for path in self.cache.iterdir() if not path.name.endswith(".lock"))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.fixture
def server(machine: Machine) -> Iterator[FileServer]:
    with file_server(an_archive(PROGRAMS)) as running:
        machine.has_published(running.url, running.body)
        yield running


@pytest.fixture
def printed() -> Iterator[io.StringIO]:
    output, before = io.StringIO(), progress.console.file
    progress.console.file = output
    yield output
    progress.console.file = before


def etcd() -> Path:
    return control_plane_binaries(needs_controller_manager=False).etcd


def test_the_archive_is_downloaded_once_and_nothing_is_built(machine: Machine, server: FileServer) -> None:
    first, again = (control_plane_binaries(needs_controller_manager=False) for _ in range(2))

    assert first == again
    assert first.etcd.read_bytes() == b"etcd"
    assert first.api_server.read_bytes() == b"kube-apiserver"
    assert os.access(first.etcd, os.X_OK)
    assert first.controller_manager is None
    assert (len(server.requests), machine.builds) == (1, 0)
    assert machine.kept() == [first.directory.name]


def test_a_controller_manager_is_built_because_no_archive_has_one(machine: Machine, server: FileServer) -> None:
    found = control_plane_binaries()

    assert found.controller_manager is not None
    assert (len(server.requests), machine.builds) == (0, 1)


def test_a_control_plane_that_is_built_already_is_not_downloaded(machine: Machine, server: FileServer) -> None:
    built = control_plane_binaries()

    assert control_plane_binaries(needs_controller_manager=False) == built
    assert (len(server.requests), machine.builds) == (0, 1)


def test_the_environment_turns_the_download_off(
    machine: Machine, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIBBUCKET_ENVTEST", "off")
    etcd()
    assert (len(server.requests), machine.builds) == (0, 1)


def test_a_host_that_can_t_be_reached_falls_back_to_the_build_within_five_seconds(
    machine: Machine, printed: io.StringIO
) -> None:
    (port,) = free_ports(1)
    machine.has_published(f"http://127.0.0.1:{port}/file.tar.gz", b"")
    started = time.monotonic()

    assert "controlplane-" in str(etcd())

    assert time.monotonic() - started < 5
    assert machine.builds == 1
    assert printed.getvalue().splitlines()[0] == (
        "envtest's archive is not used: 127.0.0.1 can't be reached: Connection refused; "
        "the control plane is built instead"
    )


def test_a_host_that_drops_packets_falls_back_to_the_build_within_five_seconds(
    machine: Machine, server: FileServer, printed: io.StringIO
) -> None:
    server.silent = True
    started = time.monotonic()

    assert "controlplane-" in str(etcd())

    assert time.monotonic() - started < 5
    assert machine.builds == 1
    assert "envtest's archive is not used: 127.0.0.1 does not answer within 4 s; " in printed.getvalue()


def without_builds(machine: Machine) -> None:
    for folder in machine.cache.glob("controlplane-*"):
        folder.rename(machine.cache.parent / folder.name)


def test_a_failed_download_is_not_retried_for_a_day(machine: Machine, server: FileServer, printed: io.StringIO) -> None:
    server.status = 404
    etcd()
    without_builds(machine)
    server.status = 200

    etcd()

    assert len(server.requests) == 1
    assert "answers 404 (not retried for a day, or until " in printed.getvalue()


def test_a_failed_download_is_retried_after_a_day(machine: Machine, server: FileServer) -> None:
    server.status = 404
    etcd()
    without_builds(machine)
    server.status = 200
    (failure,) = machine.cache.glob("*.failed")
    os.utime(failure, times=(time.time() - 90_000,) * 2)

    assert etcd().read_bytes() == b"etcd"
    assert not failure.exists()


def test_a_truncated_download_is_resumed_by_the_next_run(
    machine: Machine, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_downloads, "Limits", functools.partial(Limits, attempts=1))
    server.cut_after = 100
    assert "controlplane-" in str(etcd())
    without_builds(machine)

    assert etcd().read_bytes() == b"etcd"
    assert [asked for _, asked in server.requests] == ["", "bytes=100-"]


def test_a_wrong_hash_is_never_unpacked(machine: Machine, server: FileServer, printed: io.StringIO) -> None:
    server.body = an_archive({**PROGRAMS, f"{FOLDER}/etcd": b"another"})

    assert "controlplane-" in str(etcd())

    assert "has another SHA-512 than the release" in printed.getvalue()
    assert not list(machine.cache.glob("envtest-*[!d]/"))


def test_an_interrupted_download_is_resumed_by_the_next_run(machine: Machine, server: FileServer) -> None:
    server.drip = 0.02
    command = [sys.executable, "-c", GET.format(releases=str(machine.releases))]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as getter:
        deadline = time.monotonic() + 10
        while not any(part.stat().st_size for part in machine.cache.glob("*.part")) and time.monotonic() < deadline:
            time.sleep(0.01)
        getter.send_signal(signal.SIGINT)
    assert getter.returncode == -signal.SIGINT
    (part,) = machine.cache.glob("*.part")
    size = part.stat().st_size
    server.drip = 0

    assert etcd().read_bytes() == b"etcd"
    assert [asked for _, asked in server.requests] == ["", f"bytes={size}-"]
    assert [name for name in machine.kept() if not name.startswith("envtest-")] == []


def test_processes_at_once_download_once(machine: Machine, server: FileServer) -> None:
    server.drip = 0.001
    command = [sys.executable, "-c", GET.format(releases=str(machine.releases))]
    getters = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]

    found = {getter.communicate(timeout=60)[0].strip() for getter in getters}

    assert [getter.returncode for getter in getters] == [0, 0, 0]
    assert len(found) == 1
    assert Path(found.pop()).read_bytes() == b"etcd"
    assert (len(server.requests), machine.builds) == (1, 0)


def test_threads_at_once_download_once(machine: Machine, server: FileServer) -> None:
    server.drip = 0.001
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(etcd())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 3
    assert len(set(found)) == 1
    assert (len(server.requests), machine.builds) == (1, 0)


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"../etcd": b"x", **PROGRAMS}, "leads out of it"),
        ({f"{FOLDER}/../../../etcd": b"x", **PROGRAMS}, "leads out of it"),
        ({"/tmp/etcd": b"x", **PROGRAMS}, "leads out of it"),
        ({**PROGRAMS, f"{FOLDER}/etcd": a_link(tarfile.SYMTYPE, "/etc/passwd")}, "neither a file nor a directory"),
        ({**PROGRAMS, f"{FOLDER}/more": a_link(tarfile.LNKTYPE, "/etc/passwd")}, "neither a file nor a directory"),
        ({**PROGRAMS, f"{FOLDER}/more": a_link(tarfile.FIFOTYPE, "")}, "neither a file nor a directory"),
        ({f"{FOLDER}/etcd": b"x"}, "lacks kube-apiserver"),
        ({"etcd": b"x", "kube-apiserver": b"x"}, "lacks etcd, kube-apiserver"),
    ],
)
def test_an_unsafe_or_incomplete_archive_is_refused(
    tmp_path: Path, members: dict[str, bytes | tarfile.TarInfo], says: str
) -> None:
    archive, target = tmp_path / "a.tar.gz", tmp_path / "target"
    archive.write_bytes(an_archive(members))
    target.mkdir()

    with pytest.raises(UnusableArchive, match=says):
        unpack(archive, target)

    assert list(target.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "target"]


def test_only_the_known_programs_are_unpacked(tmp_path: Path) -> None:
    archive, target = tmp_path / "a.tar.gz", tmp_path / "target"
    archive.write_bytes(an_archive({f"./{FOLDER}/LICENSE": b"x", "etcd": b"another", **PROGRAMS}))
    target.mkdir()

    unpack(archive, target)

    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        name: name.encode() for name in ("etcd", "kube-apiserver", "kubectl")
    }


@pytest.mark.parametrize(
    "damage", [lambda body: body[: len(body) // 2], lambda _: gzip.compress(b"no tar"), lambda _: b"no gzip"]
)
def test_a_damaged_archive_is_refused(tmp_path: Path, damage: object) -> None:
    archive = tmp_path / "a.tar.gz"
    assert callable(damage)
    archive.write_bytes(damage(an_archive(PROGRAMS)))
    with pytest.raises(UnusableArchive, match=r"a\.tar\.gz is damaged"):
        unpack(archive, tmp_path)


def test_an_archive_that_is_refused_falls_back_to_the_build(
    machine: Machine, server: FileServer, printed: io.StringIO
) -> None:
    server.body = an_archive({"../etcd": b"x", **PROGRAMS})
    machine.has_published(server.url, server.body)

    assert "controlplane-" in str(etcd())

    assert "leads out of it; the control plane is built instead" in printed.getvalue()
    assert machine.builds == 1


@pytest.mark.parametrize(
    ("wanted", "chosen"), [("1.37.2", "1.36.2"), ("1.36.2", "1.36.2"), ("1.36.1", "1.35.0"), ("1.33.0", None)]
)
@pytest.mark.parametrize(
    ("system", "machine", "suffix"), [("Linux", "x86_64", "linux-amd64"), ("Darwin", "arm64", "darwin-arm64")]
)
def test_the_newest_release_that_is_not_newer_is_chosen(
    wanted: str, chosen: str | None, system: str, machine: str, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)

    found = release_for(wanted)

    assert (found.version if found else None) == chosen
    assert found is None or found.url.endswith(f"/envtest-v{chosen}-{suffix}.tar.gz")


@pytest.mark.parametrize(("system", "machine"), [("Linux", "riscv64"), ("FreeBSD", "amd64")])
def test_a_machine_without_archives_has_no_release(system: str, machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert release_for("1.37.2") is None


def test_every_published_archive_has_an_https_address_and_a_sha512() -> None:
    published = json.loads(_envtest._RELEASES.read_text())
    files = [(version, name, file) for version, files in published.items() for name, file in files.items()]
    assert files
    for version, name, file in files:
        assert file["url"].startswith("https://")
        assert file["url"].endswith(f"/envtest-v{version}-{name}.tar.gz")
        assert re.fullmatch("[0-9a-f]{128}", file["sha512"])
