"""Servers that the conformance suite of a store needs, running beside the container that the suite runs in.

An image has nothing to run them with.
"""

from __future__ import annotations

import importlib
import json
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class Outside:
    """A server as the testkit starts it.

    Attributes:
        module: of the testkit.
        starter: the function that runs it for the length of a block.
        kind: the dataclass with its address and credentials.
        program: the function that finds its program, if there is one; not called inside.
    """

    module: str
    starter: str
    kind: str
    program: str = ""

    @contextmanager
    def running(self) -> Iterator[dict[str, Any]]:
        """Starts it; gives what a suite inside has to know."""
        module = importlib.import_module(self.module)
        given = [getattr(module, self.program)()] if self.program else []
        with getattr(module, self.starter)(*given) as server:
            yield {**asdict(self), "server": asdict(server)}


# The fake of Google Cloud Storage runs inside, in the process of the suite.
SERVERS: Final = {
    "aws-s3": Outside(module="testkit.aws_s3.emulators", starter="ministack", kind="AwsServer"),
    "azure": Outside(module="testkit.azure.azurite", starter="azurite_server", kind="AzuriteServer"),
    "minio": Outside(module="testkit.minio.server", starter="minio_server", kind="MinioServer", program="minio_binary"),
}


@contextmanager
def servers_outside(store: str, count: int) -> Iterator[str]:
    """Runs the servers of a store, one for each of `count` workers; gives them as JSON."""
    outside = SERVERS.get(store)
    with ExitStack() as running:
        found = [running.enter_context(outside.running()) for _ in range(count)] if outside is not None else []
        yield json.dumps(found)


def use_server_outside(servers: str, worker: int) -> None:
    """Inside: makes the fixtures of a package use the server that runs already for this worker."""
    every = json.loads(servers)
    if not every:
        return
    given = every[worker]
    module = importlib.import_module(given["module"])
    server = getattr(module, given["kind"])(**given["server"])
    setattr(module, given["starter"], lambda *_args, **_more: nullcontext(server))
    if given["program"]:
        setattr(module, given["program"], lambda: Path("outside"))
