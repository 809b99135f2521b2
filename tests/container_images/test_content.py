"""What is in an image, what is not, and what it says about itself."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from images.__main__ import LIMIT, LIMITS, MEGABYTE, unpacked_size
from testkit.container_images.pods import run_to_end

from .conftest import python_in

if TYPE_CHECKING:
    from pathlib import Path

    from images.__main__ import Provisioner
    from images.builders import Builder

    from .conftest import Entry

HOME = "/opt/libbucket/"
SHELLS = {"sh", "bash", "dash", "ash", "busybox"}
TOOLS = {"pip", "pip3", "uv", "apt", "apt-get", "dpkg", "gcc", "cc", "ld", "perl", "curl", "wget"}
# Its metadata names the licence ("3-Clause BSD License") neither as an SPDX expression nor as a classifier.
WITHOUT_SPDX_LICENCE = {"protobuf"}
# A container engine writes these when a container starts.
FROM_THE_ENGINE = {"/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf"}


def programs(entries: dict[str, Entry]) -> set[str]:
    return {path.rpartition("/")[2] for path in entries if "bin/" in path}


def names(entries: dict[str, Entry]) -> set[str]:
    return {path.rpartition("/")[2] for path in entries}


def test_size_is_within_the_limit(archive: Path, provisioner: Provisioner) -> None:
    assert 10 * MEGABYTE < unpacked_size(archive) <= LIMITS.get(provisioner.store, LIMIT) * MEGABYTE


def test_provisioner_runs_as_a_user_without_privileges(
    inspected: dict[str, Any], entries: dict[str, Entry], provisioner: Provisioner
) -> None:
    config = inspected["Config"]

    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == [f"{HOME}bin/provisioner"]
    assert entries[f"{HOME}bin/provisioner"].target == f"{provisioner.store}-provisioner"
    assert not config.get("Cmd")
    assert list(config["ExposedPorts"]) == ["8080/tcp"]


def test_no_shell_compiler_or_package_manager(entries: dict[str, Entry]) -> None:
    assert programs(entries) & (SHELLS | TOOLS) == set()
    assert not [path for path in entries if "/site-packages/pip" in path]
    assert "python3" in programs(entries)  # the control


def test_user_can_change_nothing_and_gain_no_privileges(entries: dict[str, Entry]) -> None:
    own = {path: entry for path, entry in entries.items() if not entry.target and path not in FROM_THE_ENGINE}

    assert [path for path, entry in own.items() if entry.owner != (0, 0)] == []
    assert [path for path, entry in own.items() if entry.mode & 0o022 and not path.endswith("/tmp")] == []
    assert [path for path, entry in own.items() if entry.mode & 0o6000] == []


def test_test_support_is_left_out(entries: dict[str, Entry]) -> None:
    assert [path for path in entries if path.endswith("site-packages/libbucket/run.py")]
    assert [path for path in entries if re.search("site-packages/libbucket/(testing|_cli)", path)] == []
    assert not names(entries) & {"pytest", "_pytest", "conftest.py"}


def test_bytecode_is_that_of_what_a_start_imports(entries: dict[str, Entry]) -> None:
    compiled = {path for path in entries if path.endswith(".pyc")}

    assert [path for path in compiled if not path.startswith(f"{HOME}bytecode/")] == []
    assert [path for path in compiled if "/libbucket/_run/" in path]
    assert [path for path in compiled if "/usr/lib/python3.13/json/" in path]
    assert "/usr/lib/python3.13/unittest/mock.py" in entries
    assert not [path for path in compiled if "/unittest/" in path]


def test_other_stores_are_left_out(entries: dict[str, Entry], provisioner: Provisioner) -> None:
    modules = {path.rpartition("/")[2] for path in entries if path.endswith("_provisioner")}

    assert modules == {provisioner.name.replace("-", "_")}


def test_labels_name_package_version_and_commit(inspected: dict[str, Any], provisioner: Provisioner) -> None:
    every = inspected["Config"]["Labels"]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in every.items()}

    assert labels["title"] == provisioner.name
    assert labels["version"] == provisioner.version
    assert labels["licenses"] == "Apache-2.0"
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels["revision"])


def test_sbom_lists_what_is_installed_with_licences(
    engine: Builder, provisioner: Provisioner, entries: dict[str, Entry]
) -> None:
    show = f"print(open('{HOME}sbom.cdx.json').read())"
    sbom = json.loads(run_to_end(engine, python_in(provisioner, show)).output)
    parts = {normal(part["name"]): part for part in [sbom["metadata"]["component"], *sbom["components"]]}
    metadata = [path for path in entries if path.endswith(".dist-info")]

    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    assert {normal(path.rpartition("/")[2].partition("-")[0]) for path in metadata} == set(parts)
    assert {"libbucket", provisioner.name} <= set(parts)
    assert {name for name, part in parts.items() if not part.get("licenses")} <= WITHOUT_SPDX_LICENCE
    assert "kubernetes" not in parts  # of 126 MB, and for tests


def normal(name: str) -> str:
    """The name of a distribution as its package URL spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()
