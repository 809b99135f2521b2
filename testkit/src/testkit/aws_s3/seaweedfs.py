"""Starts the real SeaweedFS for tests, with S3 and IAM on one port: on 127.0.0.1 only, and leaves nothing behind.

One process with all of its parts. Knows nothing of the provisioner.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from libbucket.testing.binaries import go_binary
from libbucket.testing.processes import HOST, Program, free_ports, fresh_directory, http_ready, running
from testkit.aws_s3.emulators import AwsServer

if TYPE_CHECKING:
    from collections.abc import Iterator

# The Go module proxy knows this commit and no release: the major version of the tags is not in the module's path.
_VERSION: Final = "v0.0.0-20261109003541-7506e5f91cd6"
_PARTS: Final = ("master", "volume", "filer", "s3")


def seaweedfs_binary() -> Path:
    """A `weed` on PATH, or one that is built once per machine."""
    found = shutil.which("weed")
    if found:
        return Path(found)
    return go_binary(name="weed", module="github.com/seaweedfs/seaweedfs", version=_VERSION, package="weed")


@contextmanager
def seaweedfs(binary: Path) -> Iterator[AwsServer]:
    """Runs a server until the block ends."""
    with fresh_directory("seaweedfs-") as home:
        ports = dict(zip(_PARTS, zip(*[iter(free_ports(2 * len(_PARTS)))] * 2, strict=True), strict=True))
        server = AwsServer(url=f"http://{HOST}:{ports['s3'][0]}")
        environment = {
            "HOME": str(home),
            "TMPDIR": str(home),
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }
        program = Program(
            name="weed", command=[binary, *_arguments(home, ports)], directory=home, environment=environment
        )
        with running(program, ready=http_ready(f"{server.url}/healthz")):
            yield server


def _arguments(home: Path, ports: dict[str, tuple[int, int]]) -> list[str]:
    listening = [
        f"-{part}.port{kind}={port}" for part in _PARTS for kind, port in zip(("", ".grpc"), ports[part], strict=True)
    ]
    return [
        "server",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        f"-dir={home}",
        "-s3",
        *listening,
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.localSocket={home}/s3.sock",
        f"-filer.localSocket={home}/filer.sock",
        # Its default lets nobody change users and keys.
        "-s3.iam.readOnly=false",
        # Its default sends statistics to its makers.
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=100",
        "-volume.preStopSeconds=0",
    ]
