"""Starts the real Garage for tests: one node, on 127.0.0.1 only, in a fresh directory; leaves nothing behind.

Built once per machine, from its crate. Knows nothing of the provisioner.
"""

from __future__ import annotations

import json
import secrets
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import urllib3

from libbucket.testing.binaries import cargo_binary
from libbucket.testing.processes import HOST, Program, free_ports, fresh_directory, http_ready, running

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION: Final = "2.5.0"
TOKEN: Final = "only-for-the-tests"
_CONFIGURATION: Final = """
metadata_dir = "{home}/meta"
data_dir = "{home}/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "{host}:{rpc}"
rpc_public_addr = "{host}:{rpc}"
rpc_secret = "{secret}"
[s3_api]
s3_region = "garage"
api_bind_addr = "{host}:{s3}"
[admin]
api_bind_addr = "{host}:{admin}"
admin_token = "{token}"
"""


@dataclass(frozen=True, kw_only=True)
class GarageServer:
    """A running server, real or not.

    Attributes:
        s3_url: for applications.
        admin_url: for the provisioner.
        token: of the administrator.
        region: `s3_region` of the configuration.
    """

    s3_url: str
    admin_url: str
    token: str = TOKEN
    region: str = "garage"

    def call(self, method: str, name: str, body: object = None, **query: str) -> Any:
        """A call of the admin API; None where there is no such thing."""
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"{self.admin_url}/v2/{name}?{urlencode(query)}"
        with urllib3.PoolManager(retries=False, timeout=20) as pool:
            answer = pool.request(method, url, headers=headers, body=None if body is None else json.dumps(body))
        assert answer.status in {200, 404}, f"{name}: HTTP {answer.status}"
        return answer.json() if answer.status == 200 else None


def garage_binary() -> Path:
    """A `garage` on PATH, or one that is built once per machine, without what one node does not need."""
    found = shutil.which("garage")
    features = ("sqlite", "bundled-libs")
    return Path(found) if found else cargo_binary(name="garage", version=VERSION, features=features)


@contextmanager
def real_garage(binary: Path) -> Iterator[GarageServer]:
    """Runs a server until the block ends."""
    with fresh_directory("garage-") as home:
        rpc, s3, admin = free_ports(3)
        values = {"home": home, "host": HOST, "rpc": rpc, "s3": s3, "admin": admin, "token": TOKEN}
        configuration = home / "garage.toml"
        configuration.write_text(_CONFIGURATION.format(secret=secrets.token_hex(32), **values))
        configuration.chmod(0o600)
        server = GarageServer(s3_url=f"http://{HOST}:{s3}", admin_url=f"http://{HOST}:{admin}")
        command = [str(binary), "-c", str(configuration), "server"]
        program = Program(name="garage", command=command, directory=home, environment={"HOME": str(home)})
        # `/health` says 503 until there is a layout, and `/metrics` is not built in.
        with running(program, ready=http_ready(f"{server.admin_url}/v2/GetClusterStatus", token=server.token)):
            _lay_out(server)
            yield server


def _lay_out(server: GarageServer) -> None:
    """Gives the one node a role: without a layout nothing is stored."""
    (node,) = server.call("GET", "GetClusterStatus")["nodes"]
    role = {"id": node["id"], "zone": "one", "capacity": 10**9, "tags": []}
    server.call("POST", "UpdateClusterLayout", {"roles": [role]})
    server.call("POST", "ApplyClusterLayout", {"version": 1})
