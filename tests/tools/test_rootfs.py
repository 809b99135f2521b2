"""The pins of the base are read strictly, and what the base needs to be made is said when it is missing."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pytest

from contents import read_contents
from libbucket.testing.problems import SetupFailed
from rootfs import Pin, _plain, pinned_packages, read_pins

DOCKER = Path(__file__).parents[2] / "docker"
A_PIN = Pin(name="libc6", version="1:2.41-12+deb13u5", sha256="0" * 64)


def test_every_package_of_the_base_is_pinned_once() -> None:
    pins = read_pins(DOCKER / "debian.txt")

    assert tuple(pin.name for pin in pins) == read_contents(DOCKER / "contents.toml").packages


def test_pins_are_written_as_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "pins").write_text(f"# a remark\n{A_PIN}\n")

    assert read_pins(tmp_path / "pins") == [A_PIN]


@pytest.mark.parametrize("line", ["libc6", "libc6=1", "libc6=1 sha256:0", "libc6 1 sha256:" + "0" * 64])
def test_a_pin_without_version_or_hash_is_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / "pins").write_text(line)
    with pytest.raises(SetupFailed, match="is not NAME=VERSION sha256:HASH"):
        read_pins(tmp_path / "pins")


def test_pins_of_other_packages_are_refused() -> None:
    with pytest.raises(SetupFailed, match=re.escape("pins other packages than docker/contents.toml names")):
        pinned_packages(read_contents(DOCKER / "contents.toml"), [A_PIN])


def test_without_mmdebstrap_one_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    contents = read_contents(DOCKER / "contents.toml")
    with pytest.raises(SetupFailed, match=r"mmdebstrap, which is not on the PATH: install it .* or name an image"):
        pinned_packages(contents, read_pins(DOCKER / "debian.txt"))


def test_nothing_in_the_base_runs_with_the_rights_of_another_or_can_be_written_to() -> None:
    entry = tarfile.TarInfo("usr/bin/su")
    entry.mode, entry.uid, entry.uname, entry.mtime = 0o4777, 1000, "somebody", 1
    plain = _plain(entry, 86400)

    assert (plain.mode, plain.uid, plain.uname, plain.mtime) == (0o755, 0, "", 86400)


def test_the_folder_for_temporary_files_is_everybody_s() -> None:
    assert _plain(tarfile.TarInfo("tmp"), 0).mode == 0o1777
