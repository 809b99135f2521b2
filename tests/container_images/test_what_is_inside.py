"""What is in an image, what is not, and what it says about itself."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from images import LIMIT, LIMITS, MEGABYTE

if TYPE_CHECKING:
    from pathlib import Path

    from archive import ImageArchive
    from context import Provisioner

HOME = "opt/libbucket/"
SHELLS = {"sh", "bash", "dash", "ash", "busybox"}
TOOLS = {"pip", "pip3", "uv", "apt", "apt-get", "dpkg", "gcc", "cc", "ld", "perl", "curl", "wget"}


def programs(image: ImageArchive) -> set[str]:
    return {path.rpartition("/")[2] for path in image.entries if "bin/" in path}


def names(image: ImageArchive) -> set[str]:
    return {path.rpartition("/")[2] for path in image.entries}


def test_it_is_not_larger_than_promised(image: ImageArchive, provisioner: Provisioner) -> None:
    assert image.unpacked <= LIMITS.get(provisioner.store, LIMIT) * MEGABYTE


def test_it_runs_the_provisioner_as_a_user_without_rights(image: ImageArchive, provisioner: Provisioner) -> None:
    assert image.config["User"] == "65532:65532"
    assert image.config["Entrypoint"] == [f"/{HOME}bin/{provisioner.script}"]
    assert not image.config.get("Cmd")
    assert list(image.config["ExposedPorts"]) == ["8080/tcp"]


def test_it_has_no_shell_no_compiler_and_nothing_that_installs(image: ImageArchive) -> None:
    assert programs(image) & (SHELLS | TOOLS) == set()
    assert not [path for path in image.entries if "/site-packages/pip" in path or "/ensurepip" in path]
    assert "python3" in programs(image)  # or the names would not be what they seem


def test_nothing_in_it_can_be_changed_by_its_user_or_runs_with_more_rights(image: ImageArchive) -> None:
    plain = {path: entry for path, entry in image.entries.items() if not entry.target}

    assert [path for path, entry in plain.items() if entry.owner != (0, 0)] == []
    assert [path for path, entry in plain.items() if entry.mode & 0o022 and path != "tmp"] == []
    assert [path for path, entry in plain.items() if entry.mode & 0o6000] == []


def test_what_only_tests_and_backend_authors_need_is_not_in_it(image: ImageArchive) -> None:
    package = [path for path in image.entries if "/site-packages/libbucket" in path]

    assert [path for path in package if path.endswith("libbucket/run.py")]
    assert [path for path in package if "libbucket/testing" in path] == []
    assert not names(image) & {"pytest", "_pytest", "conftest.py"}


def test_bytecode_is_there_for_what_a_start_imports_and_for_nothing_else(image: ImageArchive) -> None:
    compiled = {path for path in image.entries if path.endswith(".pyc")}
    sources = {path for path in image.entries if path.endswith(".py")}

    assert [path for path in compiled if "/libbucket/_run/" in path]
    assert len(compiled) < len(sources)
    assert "usr/lib/python3.13/unittest/mock.py" in sources
    assert not [path for path in compiled if "/unittest/" in path]


def test_no_other_store_is_in_it(image: ImageArchive, provisioner: Provisioner) -> None:
    modules = {"aws_s3_provisioner", "azure_provisioner", "gcs_provisioner", "minio_provisioner"}

    assert names(image) & modules == {provisioner.module}


def test_its_labels_say_what_it_is(image: ImageArchive, provisioner: Provisioner) -> None:
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in image.config["Labels"].items()}

    assert labels["title"] == provisioner.name
    assert labels["version"] == provisioner.version
    assert labels["licenses"] == "Apache-2.0"
    assert re.fullmatch(r"[0-9a-f]{40}", labels.get("revision", "0" * 40))


def test_beside_it_is_a_list_of_everything_in_it_with_licences_and_hashes(
    image: ImageArchive, provisioner: Provisioner, folder: Path
) -> None:
    found = json.loads((folder / f"{provisioner.name}-{provisioner.version}.cdx.json").read_text())
    components = {part["name"]: part for part in found["components"]}
    installed = {
        re.sub(r"[-_.]+", "-", path.rpartition("/")[2].partition("-")[0]).lower()
        for path in image.entries
        if path.endswith(".dist-info")
    }

    assert found["bomFormat"] == "CycloneDX"
    assert installed
    assert installed <= set(components)
    assert {"libbucket", provisioner.name, "libc6", "python3.13-minimal"} <= set(components)
    assert [name for name, part in components.items() if not part.get("licenses") or not part.get("hashes")] == []
    assert "aiohttp" not in components  # pinned, and left out
