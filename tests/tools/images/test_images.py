"""The command line: what is built, what is not built again, and one sentence for each refusal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import images.__main__ as program
from images.builders import Builder
from libbucket.testing.problems import SetupFailed

if TYPE_CHECKING:
    from .conftest import Programs

ROOT = Path(__file__).parents[3]
COMMIT = "4ca4b5cf0f2c1de7b1c3b3f3b1b1f3a0d2d1b5c6"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(tmp_path / "out", monkeypatch)


class Run:
    """Runs the program in a clean checkout of `COMMIT`."""

    def __init__(self, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.out = out
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(program, "commit", lambda: COMMIT)

    def __call__(self, *arguments: str) -> int:
        self._monkeypatch.setattr(sys, "argv", ["images", "--out", str(self.out), *arguments])
        return program.main()


def builds(programs: Programs) -> list[list[str]]:
    return [call for call in programs.calls("podman") if "build" in call]


def test_every_package_has_an_image() -> None:
    assert [program.read_provisioner(store).tag.partition(":")[0] for store in program.stores()] == [
        "localhost/aws-s3-provisioner",
        "localhost/azure-provisioner",
        "localhost/gcs-provisioner",
        "localhost/minio-provisioner",
    ]


def test_image_is_built_with_version_and_revision_and_saved(run: Run, programs: Programs) -> None:
    programs.install("podman")
    version = program.read_provisioner("minio").version

    assert run("minio") == 0
    (build,) = builds(programs)
    arguments = {"STORE": "minio", "VERSION": version, "REVISION": COMMIT}
    assert {f"--build-arg={name}={value}" for name, value in arguments.items()} <= set(build)
    assert build[-1] == str(ROOT)
    assert (run.out / f"minio/minio-provisioner-{version}.oci.tar").is_file()


def test_configuration_of_pip_is_passed_as_a_secret(
    run: Run, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/etc/pip.conf")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    programs.install("podman")

    assert run("minio") == 0
    assert [each for each in builds(programs)[0] if "secret" in each] == ["--secret=id=pip.conf,src=/etc/pip.conf"]


def test_all_images_are_built_by_default(run: Run, programs: Programs) -> None:
    programs.install("podman")

    assert run() == 0
    assert len(builds(programs)) == len(program.stores())


def test_image_of_this_commit_is_not_built_again(run: Run, programs: Programs) -> None:
    programs.install("podman", revision=COMMIT)

    assert run("minio") == 0
    assert builds(programs) == []
    assert run("minio", "--no-cache") == 0
    assert len(builds(programs)) == 1


def test_image_of_uncommitted_changes_is_always_built(
    run: Run, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "commit", lambda: f"{COMMIT}-dirty")
    programs.install("podman", revision=f"{COMMIT}-dirty")

    assert run("minio") == 0
    assert len(builds(programs)) == 1


def test_unknown_store_is_refused_with_the_known_ones(
    run: Run, programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    programs.install("podman")

    assert run("minio", "ceph") == 1
    assert capsys.readouterr().err == "there is no provisioner for 'ceph', only for aws-s3, azure, gcs, minio\n"
    assert programs.calls("podman") == []


@pytest.mark.usefixtures("programs")
def test_missing_builder_is_refused_with_one_sentence(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("minio") == 1
    assert capsys.readouterr().err == "images are built with podman or docker or buildah, and none is installed\n"


def test_image_over_its_limit_is_refused(run: Run, programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    programs.install("podman")
    programs.write_archive(90 * program.MEGABYTE)
    assert run("minio") == 0

    programs.write_archive(91 * program.MEGABYTE)
    assert run("gcs") == 0
    assert run("minio") == 1
    message = "the image of minio-provisioner is 91.0 MB unpacked, over its limit of 90 MB\n"
    assert capsys.readouterr().err == message


def test_images_without_a_date_are_refused(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    (programs.folder / "git").unlink()
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    with pytest.raises(SetupFailed, match=r"^images have the date of a commit: set SOURCE_DATE_EPOCH"):
        program.commit_date()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")

    assert program.commit_date() == 86400


def test_public_base_is_used_where_it_can_be_pulled(programs: Programs) -> None:
    programs.install("podman")

    assert program.choose_bases(Builder("podman")) == {}
    assert [call[-1].partition("/")[0] for call in programs.calls("podman")] == ["docker.io", "gcr.io"]


def test_base_of_debian_packages_is_used_where_no_registry_is_reached(
    programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    programs.install("podman", fails_at=("pull",))
    programs.install("mmdebstrap")

    assert set(program.choose_bases(Builder("podman"))) == {"BUILD", "BASE"}
    message = "The public base cannot be pulled (it is not allowed): using Debian packages.\n"
    assert capsys.readouterr().err == message


def test_without_registry_and_mmdebstrap_one_sentence_names_both(programs: Programs) -> None:
    programs.install("podman", fails_at=("pull",))
    with pytest.raises(SetupFailed, match=r"cannot be pulled \(it is not allowed\), and a base .* needs mmdebstrap"):
        program.choose_bases(Builder("podman"))


def test_check_prints_why_images_cannot_be_run(programs: Programs) -> None:
    command = [sys.executable, "-m", "images", "--check", "run"]
    environment = {"PATH": str(programs.folder), "PYTHONPATH": str(ROOT / "tools")}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "images are run with podman or docker, and none is installed\n"


def test_check_prints_nothing_where_images_can_be_run(
    run: Run, programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    programs.install("docker")

    assert run("--check", "run") == 0
    assert capsys.readouterr().out == "\n"
