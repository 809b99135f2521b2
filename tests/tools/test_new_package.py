"""`libbucket new` as a new author uses it: wheels only, an empty folder; the package passes everything as it stands."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST = 100
"""Guarantees that the package keeps as it stands, at least."""
USE = """\
import libbucket
from libbucket.testing import application, builders, conformance, http_store, memory, misbehaving

names: list[str] = list(libbucket.__all__)
request = builders.options(parameters={"endpoint": "https://store.invalid"})
answer: libbucket.ObjectBucket = memory.MemoryProvisioner().provision(request)
again: libbucket.BucketOptions = builders.again(request, answer)
record: libbucket.ObjectBucket = builders.recorded(answer, request)
api = libbucket.HttpApi(name="Depot", errors={"Full": libbucket.QuotaExceeded})
headers = {"Authorization": libbucket.SecretStr("x")}
with api.connect("http://127.0.0.1:1", lambda: None, headers=headers) as client:
    kind: type[libbucket.HttpClient] = type(client)
flag = libbucket.Flag(name="zone", help="zone", check=int)
missing: dict[conformance.Ability, str] = {conformance.Ability.OBJECTS: "none"}
capabilities = conformance.Capabilities(cannot=missing)
refused: type[Exception] = application.Refused
one = misbehaving.Answer(status=503)
with http_store.http_store() as store:
    url: str = store.url
"""


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with libbucket's wheel, its pins, and the tools of an author."""
    folder = tmp_path_factory.mktemp("author")
    pins = ["--build-constraints", ROOT / "requirements/build.txt"]
    run("uv", "build", "--quiet", "--wheel", "--out-dir", folder / "wheels", *pins, ROOT / "libbucket", cwd=folder)
    run("uv", "venv", "--quiet", "--python", sys.executable, folder / "environment", cwd=folder)
    found = folder / "environment" / Path(sys.executable).parent.name
    install = ["uv", "pip", "install", "--quiet", "--python", found / "python"]
    run(*install, "--require-hashes", "--requirements", ROOT / "requirements/test.txt", cwd=folder)
    (wheel,) = (folder / "wheels").glob("*.whl")
    run(*install, "--no-deps", wheel, cwd=folder)
    run(*install, "--constraints", ROOT / "requirements/dev.txt", "minio", "mypy", "ruff", cwd=folder)
    run(*install, "--require-hashes", "--requirements", ROOT / "requirements/pyright.txt", cwd=folder)
    return found


@pytest.fixture(scope="module")
def package(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package that is written into an empty folder, installed."""
    folder = tmp_path_factory.mktemp("empty")
    run(programs / "libbucket", "new", "depot", cwd=folder)
    made = folder / "depot-provisioner"
    install = ["uv", "pip", "install", "--quiet", "--python", programs / "python", "--no-deps"]
    run(*install, "--build-constraints", ROOT / "requirements/build.txt", "--editable", made, cwd=folder)
    return made


def test_it_passes_its_linter(programs: Path, package: Path) -> None:
    run(programs / "ruff", "check", cwd=package)
    run(programs / "ruff", "format", "--check", cwd=package)


def test_it_passes_mypy_strict_and_so_does_a_use_of_the_public_surface(programs: Path, package: Path) -> None:
    (package.parent / "use.py").write_text(USE)

    run(programs / "mypy", "src", "tests", cwd=package)
    run(programs / "mypy", "--strict", "use.py", cwd=package.parent)


def test_it_passes_pyright_strict_and_so_do_the_guide_the_examples_and_a_use_of_the_public_surface(
    programs: Path, package: Path, tmp_path: Path
) -> None:
    guide = (ROOT / "docs" / "writing-a-provisioner.md").read_text()
    (tmp_path / "guide.py").write_text("\n\n".join(re.findall(r"(?ms)^```python\n(.*?)^```$", guide)))
    (tmp_path / "use.py").write_text(USE)
    shutil.copy(ROOT / "examples" / "custom-backend" / "provisioner.py", tmp_path / "directory.py")
    shutil.copytree(ROOT / "examples" / "s3-compatible" / "garage_provisioner", tmp_path / "garage_provisioner")
    for folder in ("src", "tests"):
        shutil.copytree(package / folder, tmp_path / folder)
    settings = {"typeCheckingMode": "strict", "extraPaths": ["src", "tests/store"], "pythonVersion": "3.11"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))

    told = run(programs / "basedpyright", "--pythonpath", programs / "python", cwd=tmp_path)

    assert "0 errors, 0 warnings" in told


def test_it_passes_its_tests_and_the_conformance_suite(programs: Path, package: Path) -> None:
    told = run(programs / "python", "-m", "pytest", "-q", cwd=package)

    kept = re.search(r"Depot: (\d+) guarantees kept", told)

    assert kept is not None
    assert int(kept[1]) >= MOST
    assert "BROKEN" not in told


def test_its_command_knows_its_flags(programs: Path, package: Path) -> None:
    assert "--leader-elect" in run(programs / "depot-provisioner", "--help", cwd=package)
