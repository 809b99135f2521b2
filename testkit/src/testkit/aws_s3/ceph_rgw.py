"""Starts the Ceph Object Gateway (RGW) of the system's packages for tests: on 127.0.0.1 only, leaves nothing behind.

A cluster of one monitor and one OSD that keeps everything in memory. Knows nothing of the provisioner.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from libbucket.testing.problems import SetupFailed
from libbucket.testing.processes import HOST, Program, free_ports, fresh_directory, http_ready, running
from testkit.aws_s3.emulators import AwsServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAMS: Final = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
_SECONDS: Final = 60
_SETTINGS: Final = """
[global]
fsid = {cluster}
mon host = [v2:{host}:{mon_port}]
public addr = {host}
cluster addr = {host}
run dir = {home}
admin socket = {home}/$name.asok
keyring = {home}/keyring
mon data = {home}/mon
osd data = {home}/osd
log file =
log to stderr = true
debug mon = 0
debug rocksdb = 0
osd objectstore = memstore
memstore device bytes = 2147483648
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
rgw frontends = beast endpoint={host}:{rgw_port}
rgw gc obj min wait = 1
"""


def missing_programs() -> list[str]:
    """Which of the packages' programs this machine lacks: Debian has them in ceph-mon, ceph-osd and radosgw."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


@contextmanager
def ceph_rgw() -> Iterator[AwsServer]:
    """Runs the cluster until the block ends."""
    with fresh_directory("ceph-") as home:
        mon_port, rgw_port = free_ports(2)
        cluster, osd = str(uuid.uuid4()), str(uuid.uuid4())
        settings = {"cluster": cluster, "host": HOST, "home": home, "mon_port": mon_port, "rgw_port": rgw_port}
        (home / "ceph.conf").write_text(_SETTINGS.format(**settings))
        _make_keys(home)
        _run(home, "monmaptool", "--create", "--addv", "a", f"[v2:{HOST}:{mon_port}]", "--fsid", cluster, "monmap")
        _run(home, "ceph-mon", "--mkfs", "--id", "a", "--monmap", "monmap", "--keyring", "keyring")
        server = AwsServer(url=f"http://{HOST}:{rgw_port}")
        with running(_program(home, "ceph-mon", "--id", "a"), ready=lambda: _answers(home)):
            _run(home, "ceph", "osd", "new", osd)
            _run(home, "ceph-osd", "--mkfs", "--id", "0", "--osd-uuid", osd)
            with running(_program(home, "ceph-osd", "--id", "0"), ready=lambda: "1 up" in _stat(home)):
                _run(home, "radosgw-admin", "user", "create", "--uid=root", "--display-name=root", *_keys_of(server))
                with running(_program(home, "radosgw", "--name", "client.admin"), ready=http_ready(server.url)):
                    yield server


def _make_keys(home: Path) -> None:
    for name in ("mon", "osd"):
        (home / name).mkdir()
    everything = [part for service in ("mon", "osd", "mgr") for part in ("--cap", service, "allow *")]
    for each, caps in (("mon.", everything[:3]), ("client.admin", everything), ("osd.0", everything)):
        created = [] if (home / "keyring").exists() else ["--create-keyring"]
        _run(home, "ceph-authtool", "keyring", *created, "--gen-key", "--name", each, *caps)


def _keys_of(server: AwsServer) -> list[str]:
    return [f"--access-key={server.access_key}", f"--secret-key={server.secret_key}"]


def _stat(home: Path) -> str:
    return _run(home, "ceph", "osd", "stat")


def _answers(home: Path) -> bool:
    try:
        _run(home, "ceph", "--connect-timeout", "2", "mon", "stat")
    except SetupFailed:
        return False
    return True


def _program(home: Path, *command: str) -> Program:
    return Program(name=command[0], command=[*command, "--foreground"], directory=home, environment=_environment(home))


def _environment(home: Path) -> dict[str, str]:
    return {"CEPH_CONF": str(home / "ceph.conf"), "HOME": str(home), "TMPDIR": str(home)}


def _run(home: Path, *command: str) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=home,
        env={**os.environ, **_environment(home)},
        timeout=_SECONDS,
    )
    if done.returncode:
        raise SetupFailed(f"{' '.join(command[:2])} failed: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout
