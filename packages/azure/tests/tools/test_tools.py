"""What applications reach Blob Storage with, run with a claim's real Secret and ConfigMap and nothing else.

Each tool is a process whose environment is that of a pod with `envFrom` of both. The account has its address in the
public cloud, so that no tool is told an endpoint. A row of the README's table stands for each.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from azure_provisioner.client import Network
from azure_provisioner.provisioner import AzureProvisioner
from libbucket import SecretStr
from testkit.api_server import config_map_path, secret_path
from testkit.azure.azurite import AzuriteServer, azurite_server
from testkit.azure.backend import AzureAdministrator
from testkit.azure.npm_packages import node_program, npm_directory
from testkit.azure.public_cloud import PublicCloud, public_cloud
from testkit.core import Core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

HERE: Final = Path(__file__).parent
PROGRAMS: Final = HERE / "programs"
README: Final = (HERE.parents[1] / "README.md").read_text()
TEXT: Final = "written by a tool"
REFUSED: Final = re.compile(r"\b403\b|AuthorizationFailure")
SECONDS: Final = 120
"""After which a tool is stopped that does not end: none takes as long."""

Command = list[str]


@dataclass(frozen=True, kw_only=True)
class World:
    """An account with two claims.

    Attributes:
        own: the environment of a pod of the one.
        neighbour: container of the other.
        administrator: of the account.
        home: of every tool.
        modules: what is installed from the npm registry.
    """

    own: Mapping[str, str]
    neighbour: str
    administrator: AzureAdministrator
    home: Path
    modules: Path

    @property
    def container(self) -> str:
        return self.own["BUCKET_NAME"]

    def run(self, tool: Tool, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a tool: operation, container, and what else the operation needs."""
        environment = {name: value for name, value in self.own.items() if name not in tool.without}
        command = tool.command(self, *arguments)
        return subprocess.run(
            command, env=environment, cwd=self.home, capture_output=True, text=True, check=False, timeout=SECONDS
        )


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool.

    Attributes:
        name: of this test.
        row: what its row in the README names.
        command: for operation, container, and what else the operation needs.
        without: variables that it does not need.
    """

    name: str
    row: str
    command: Callable[..., Command]
    without: frozenset[str] = frozenset()


def python(program: str) -> Callable[..., Command]:
    return lambda _world, *arguments: [sys.executable, str(PROGRAMS / f"{program}.py"), *arguments]


def javascript(world: World, *arguments: str) -> Command:
    # Modules are looked for beside the program.
    shutil.copy(PROGRAMS / "storage_blob.mjs", world.home)
    modules = world.home / "node_modules"
    if not modules.exists():
        modules.symlink_to(world.modules / "node_modules")
    return [node_program(), str(world.home / "storage_blob.mjs"), *arguments]


def container_url(world: World, container: str, key: str = "") -> str:
    """The claim's own, for another container or a blob."""
    url, _, sas = world.own["AZURE_STORAGE_CONTAINER_URL"].partition("?")
    return f"{url.replace(world.container, container)}{key and f'/{key}'}?{sas}"


def rclone(world: World, operation: str, container: str, key: str = "", text: str = "") -> Command:
    program = [str(Path(sys.executable).with_name("rclone")), "--config=", "--retries=1"]
    remote = f":azureblob,sas_url='{container_url(world, container)}':{container}"
    if operation == "write":
        (world.home / "sent").write_text(text)
        return [*program, "copyto", "sent", f"{remote}/{key}"]
    return [*program, *(["lsf", remote] if operation == "list" else ["cat", f"{remote}/{key}"])]


def azcopy(world: World, operation: str, container: str, key: str = "", text: str = "") -> Command:
    shipped = world.modules / "node_modules/@azure-tools/azcopy-linux/dist/bin/azcopy_linux_amd64"
    if not shipped.exists():
        pytest.skip("the registry has AzCopy for Linux only")
    program = world.home / "azcopy"
    if not program.exists():  # the package has it without permission to be executed
        shutil.copy(shipped, program)
        program.chmod(0o755)
    url = container_url(world, container, key)
    if operation == "list":
        return [str(program), "list", url]
    if operation == "write":
        (world.home / "sent").write_text(text)
        return [str(program), "copy", "sent", url]
    return ["sh", "-c", '"$1" copy "$2" got && cat got', "sh", str(program), url]


OF_THE_SECRET: Final = frozenset(
    {
        "AZURE_STORAGE_ACCOUNT",
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_CONTAINER_URL",
        "AZURE_STORAGE_SAS_TOKEN",
    }
)
NAME_AND_SAS: Final = OF_THE_SECRET - {"AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_SAS_TOKEN"}
CONNECTION_STRING: Final = OF_THE_SECRET - {"AZURE_STORAGE_CONNECTION_STRING"}
URL: Final = OF_THE_SECRET - {"AZURE_STORAGE_CONTAINER_URL"}

TOOLS: Final = (
    Tool(name="sdk-python", row="Azure SDKs", command=python("azure_sdk"), without=CONNECTION_STRING),
    Tool(name="sdk-python-url", row="from_container_url", command=python("container_url"), without=URL),
    Tool(name="sdk-javascript", row="Azure SDKs", command=javascript, without=CONNECTION_STRING),
    Tool(name="adlfs", row="adlfs", command=python("with_adlfs"), without=NAME_AND_SAS),
    Tool(name="adlfs-connection-string", row="adlfs", command=python("with_adlfs"), without=CONNECTION_STRING),
    Tool(name="obstore", row="object_store", command=python("with_obstore"), without=NAME_AND_SAS),
    Tool(name="polars", row="polars", command=python("with_polars"), without=NAME_AND_SAS),
    Tool(name="deltalake", row="delta-rs", command=python("with_deltalake"), without=NAME_AND_SAS),
    Tool(name="rclone", row="rclone", command=rclone, without=URL),
    Tool(name="azcopy", row="AzCopy", command=azcopy, without=URL),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    modules = npm_directory("azure-tools", HERE / "npm")
    with azurite_server(tls=True) as server, public_cloud(server) as cloud:
        home = tmp_path_factory.mktemp("home")
        machine = {"PATH": os.environ["PATH"], "HOME": str(home), **cloud.environment}
        own, neighbour = bound_pods(server, cloud)
        administrator = AzureAdministrator(server)
        yield World(
            own={**machine, **own},
            neighbour=neighbour["BUCKET_NAME"],
            administrator=administrator,
            home=home,
            modules=modules,
        )
        administrator.service.close()


def bound_pods(server: AzuriteServer, cloud: PublicCloud) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The variables of pods of two claims, for which the provisioner has reached the public cloud."""
    held = {"AZURE_STORAGE_KEY": SecretStr(server.key)}
    core = Core(lambda services: AzureProvisioner(services, Network()), secrets=lambda *_: held)
    core.clock.now = datetime.now(UTC)
    parameters = {"storageAccount": server.account, "secretName": "admin", "secretNamespace": "azure"}
    core.create_class("blobs", parameters=parameters)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.environment.items():
            patch.setenv(name, value)
        return pod(core, "own"), pod(core, "neighbour")


def pod(core: Core, name: str) -> Mapping[str, str]:
    """The variables of a pod with Secret and ConfigMap of a new claim."""
    key = core.create_claim(name, storage_class="blobs", bucketName=f"{name}-of-the-tools")
    core.reconcile(key, times=2)
    assert core.phase(key) == "Bound", core.condition(key)
    secret, config_map = core.find(secret_path(key)), core.find(config_map_path(key))
    assert secret is not None
    assert config_map is not None
    of_secret = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
    assert set(of_secret) == OF_THE_SECRET
    return {**of_secret, **config_map["data"]}


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_tool_lists_writes_and_reads_with_the_variables_that_the_readme_names(world: World, tool: Tool) -> None:
    written = world.run(tool, "write", world.container, tool.name, TEXT)
    assert written.returncode == 0, written.stderr
    read = world.run(tool, "read", world.container, tool.name)
    assert (read.returncode, read.stdout.splitlines()[-1:]) == (0, [TEXT]), read.stderr
    listed = world.run(tool, "list", world.container)
    assert listed.returncode == 0, listed.stderr
    assert tool.name in listed.stdout


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_tool_is_refused_in_the_container_of_another_claim(world: World, tool: Tool) -> None:
    theirs = world.administrator.application()
    theirs.put(world.neighbour, tool.name, b"of the neighbour")
    for arguments in (["list"], ["read", tool.name], ["write", f"{tool.name}-too", TEXT]):
        operation, *rest = arguments
        done = world.run(tool, operation, world.neighbour, *rest)
        said = done.stdout + done.stderr
        assert done.returncode != 0, said
        assert REFUSED.search(said), said
        assert "of the neighbour" not in said
    assert [key for key in theirs.list_keys(world.neighbour) if key.startswith(f"{tool.name}-too")] == []


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_the_readme_has_a_row_for_each_tool_with_what_it_reads(tool: Tool) -> None:
    rows = [line for line in README.splitlines() if line.startswith("|") and tool.row in line]
    needed = OF_THE_SECRET - tool.without
    assert any(all(name in row for name in needed) for row in rows), tool.row
