"""The examples: a real API server accepts every manifest, and related objects have the same names."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from libbucket import Services

from .conftest import ROOT, commands

if TYPE_CHECKING:
    from pathlib import Path

    from libbucket.testing.admin import KubeAdmin

EXAMPLES = ROOT / "examples"
FOLDERS = sorted(path for path in EXAMPLES.iterdir() if path.is_dir())
VALUES = "values.yaml"
"""Values of the chart, and no manifest."""
MANIFESTS = sorted(path for path in EXAMPLES.glob("*/*.yaml") if path.name != VALUES)

Manifest = dict[str, Any]


def named(path: Path) -> str:
    return str(path.relative_to(EXAMPLES))


each_folder = pytest.mark.parametrize("folder", FOLDERS, ids=named)


def documents(file: Path) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(file.read_text()) if each]


def of_kind(folder: Path, kind: str) -> list[Manifest]:
    found = [each for file in MANIFESTS if file.parent == folder for each in documents(file)]
    return [each for each in found if each["kind"] == kind]


def names(manifests: list[Manifest]) -> set[str]:
    return {each["metadata"]["name"] for each in manifests}


def sources(pod: Manifest, reference: str) -> set[str]:
    """Names of the Secrets or ConfigMaps that a pod takes its environment from."""
    containers = pod["spec"]["containers"]
    return {each[reference]["name"] for one in containers for each in one.get("envFrom", ()) if reference in each}


def test_there_are_examples() -> None:
    assert {folder.name for folder in FOLDERS} >= {"custom-backend", "minio"}
    assert MANIFESTS


@pytest.mark.parametrize("file", MANIFESTS, ids=named)
def test_the_api_server_accepts(file: Path, kube_admin: KubeAdmin) -> None:
    for body in documents(file):
        collection = kube_admin.path_of(body).rpartition("/")[0]
        # Strict: an unknown field is refused, not dropped.
        assert kube_admin.create(f"{collection}?dryRun=All&fieldValidation=Strict", body)["kind"] == body["kind"]


@each_folder
def test_every_claim_names_a_class_of_its_folder(folder: Path) -> None:
    claims = of_kind(folder, "ObjectBucketClaim")

    assert claims
    assert {claim["spec"]["storageClassName"] for claim in claims} == names(of_kind(folder, "StorageClass"))


@each_folder
def test_every_claim_asks_for_a_bucket_in_the_one_way_that_its_class_has(folder: Path) -> None:
    classes = {each["metadata"]["name"]: each for each in of_kind(folder, "StorageClass")}
    for claim in of_kind(folder, "ObjectBucketClaim"):
        is_brownfield = "bucketName" in classes[claim["spec"]["storageClassName"]]["parameters"]
        asks = {"bucketName", "generateBucketName"} & claim["spec"].keys()

        assert bool(asks) != is_brownfield


@each_folder
def test_every_pod_mounts_the_secret_and_the_config_map_of_one_claim(folder: Path) -> None:
    for pod in of_kind(folder, "Pod"):
        used = sources(pod, "secretRef")

        assert used == sources(pod, "configMapRef")
        assert len(used) == 1
        assert used <= names(of_kind(folder, "ObjectBucketClaim"))


@each_folder
def test_all_classes_of_a_folder_name_one_provisioner(folder: Path) -> None:
    assert len({each["provisioner"] for each in of_kind(folder, "StorageClass")}) == 1


@pytest.mark.parametrize("package", [folder.name for folder in FOLDERS if (ROOT / "packages" / folder.name).is_dir()])
def test_a_package_knows_every_parameter_and_the_name_of_its_classes(package: str) -> None:
    module = importlib.import_module(f"{package.replace('-', '_')}_provisioner.parameters")
    entry = (
        ROOT / "packages" / package / "src" / f"{package.replace('-', '_')}_provisioner" / "__main__.py"
    ).read_text()
    classes = of_kind(EXAMPLES / package, "StorageClass")

    assert [module.parse_parameters(each["parameters"]).warnings for each in classes] == [()] * len(classes)
    assert [len(module.parse_parameters({**each["parameters"], "regoin": ""}).warnings) for each in classes] == [
        1
    ] * len(classes)
    assert [each["provisioner"] for each in classes if f'"{each["provisioner"]}"' not in entry] == []


@pytest.fixture
def directory_example() -> Any:
    spec = importlib.util.spec_from_file_location("directory_example", EXAMPLES / "custom-backend" / "provisioner.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_custom_backend_knows_the_parameters_of_its_class(directory_example: Any, tmp_path: Path) -> None:
    (given,) = [each["parameters"] for each in of_kind(EXAMPLES / "custom-backend", "StorageClass")]

    services = Services(read_secret=lambda _namespace, _name: {})

    # The directory itself is on the reader's machine.
    assert directory_example.Store({**given, "root": str(tmp_path)}, services).warnings == ()


def test_the_readme_of_the_custom_backend_applies_files_that_are_there() -> None:
    folder = EXAMPLES / "custom-backend"
    lines = commands(folder / "README.md", "kubectl")
    applied = [word for line in lines if " apply " in line for word in line.split() if word.endswith((".yaml", "/"))]

    assert len(applied) >= 3
    assert [name for name in applied if not (folder / name).exists()] == []


def test_the_readme_shows_what_the_examples_say() -> None:
    readme = (ROOT / "README.md").read_text()
    (shown,) = [name for name in names(of_kind(EXAMPLES / "minio", "ObjectBucketClaim")) if f"obc/{name}" in readme]

    assert f"name: {shown}" in readme
