"""Starts the real VersityGW for tests, on a directory: on 127.0.0.1 only, and leaves nothing behind.

Two processes: the S3 gateway, and its IAM service, which it asks over a socket. Knows nothing of the provisioner.
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

_HEALTH: Final = "/healthz"


def versitygw_binary() -> Path:
    """A `versitygw` on PATH, or one that is built once per machine."""
    found = shutil.which("versitygw")
    if found:
        return Path(found)
    return go_binary(name="versitygw", module="github.com/versity/versitygw/cmd/versitygw", version="v1.8.0")


@contextmanager
def versitygw(binary: Path, *, region: str) -> Iterator[AwsServer]:
    """Runs both until the block ends."""
    with fresh_directory("versitygw-") as home:
        s3_port, iam_port = free_ports(2)
        server = AwsServer(url=f"http://{HOST}:{s3_port}", separate_iam_url=f"http://{HOST}:{iam_port}")
        socket = home / "iam.sock"
        for name in ("users", "buckets", "versions"):
            (home / name).mkdir()
        common: list[str | Path] = [binary, "--access", server.access_key, "--secret", server.secret_key]
        common += ["--health", _HEALTH, "--region", region]
        users: list[str | Path] = ["iam", "--dir", home / "users", "--private-ports", socket]
        iam = Program(name="versitygw-iam", command=[*common, "--port", f"{HOST}:{iam_port}", *users], directory=home)
        asking: list[str | Path] = ["--port", f"{HOST}:{s3_port}", "--iam-standalone-endpoint", socket]
        files: list[str | Path] = ["posix", "--versioning-dir", home / "versions", home / "buckets"]
        s3 = Program(name="versitygw", command=[*common, *asking, *files], directory=home)
        with (
            running(iam, ready=http_ready(f"{server.iam_url}{_HEALTH}")),
            running(s3, ready=http_ready(f"{server.url}{_HEALTH}")),
        ):
            yield server
