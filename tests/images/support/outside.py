"""Which server each store's conformance suite needs, and how it is handed to the suite that runs inside an image.

The servers run outside, beside the container, because an image has nothing to run them with.
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

ROOT: Final = Path(__file__).parents[3]


@dataclass(frozen=True, kw_only=True)
class Outside:
    """A server as a package's `tests/support` starts it.

    Attributes:
        module: in that folder.
        starter: the function that runs it for the length of a block.
        kind: the dataclass that says where it is.
        program: the function that finds what to start, if there is one; inside nobody has to.
    """

    module: str
    starter: str
    kind: str
    program: str = ""

    @contextmanager
    def running(self) -> Iterator[dict[str, Any]]:
        """Starts it; gives what a suite inside needs to know."""
        module = importlib.import_module(self.module)
        given = [getattr(module, self.program)()] if self.program else []
        with getattr(module, self.starter)(*given) as server:
            yield {**asdict(self), "server": asdict(server)}


# Google's double runs inside, in the suite's own process.
SERVERS: Final = {
    "aws-s3": Outside(module="testkit.aws_s3.emulators", starter="ministack", kind="AwsServer"),
    "azure": Outside(module="testkit.azure.azurite", starter="azurite_server", kind="AzuriteServer"),
    "minio": Outside(module="testkit.minio.server", starter="minio_server", kind="MinioServer", program="minio_binary"),
}


@contextmanager
def servers_outside(store: str, count: int) -> Iterator[str]:
    """Runs what the store's suite needs, once for each of `count` workers; gives it as text."""
    outside = SERVERS.get(store)
    with ExitStack() as running:
        found = [running.enter_context(outside.running()) for _ in range(count)] if outside is not None else []
        yield json.dumps(found)


def use_server_outside(text: str, worker: int) -> None:
    """Inside: lets the package's own fixtures find the server that runs already for this worker."""
    every = json.loads(text)
    if not every:
        return
    said = every[worker]
    module = importlib.import_module(said["module"])
    server = getattr(module, said["kind"])(**said["server"])
    setattr(module, said["starter"], lambda *_args, **_more: nullcontext(server))
    if said["program"]:
        setattr(module, said["program"], lambda: Path("outside"))
