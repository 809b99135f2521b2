"""What is laid over the base follows from its content alone, and has bytecode for what is loaded only."""

from __future__ import annotations

import sys
from pathlib import Path

from archive import part_of
from assemble import compile_files, keep_programs, normalise


def test_all_dates_and_rights_are_alike(tmp_path: Path) -> None:
    (tmp_path / "opt/libbucket/bin").mkdir(parents=True)
    files = {"opt/libbucket/bin/run": 0o700, "opt/data": 0o777}
    for name, mode in files.items():
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    (tmp_path / "link").symlink_to("nowhere")
    normalise(tmp_path, 86400)

    assert {path.lstat().st_mtime for path in tmp_path.rglob("*")} == {86400}
    assert (tmp_path / "opt/libbucket/bin/run").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "opt/data").stat().st_mode & 0o7777 == 0o644


def test_only_the_programs_that_are_named_stay(tmp_path: Path) -> None:
    for name in ("ours", "theirs", "activate"):
        (tmp_path / name).touch()
    keep_programs(tmp_path, {"ours", "python"})

    assert [path.name for path in tmp_path.iterdir()] == ["ours"]


def test_bytecode_is_the_same_whenever_it_is_written(tmp_path: Path) -> None:
    written = []
    for target in (tmp_path / "first", tmp_path / "second"):
        source = target / "app/module.py"
        source.parent.mkdir(parents=True)
        source.write_text("answer = 42\n")
        compile_files([Path("/app/module.py")], target)
        (compiled,) = target.rglob("*.pyc")
        written.append(compiled.read_bytes())

    assert written[0] == written[1]
    assert b"/app/module.py" in written[0]
    assert str(tmp_path).encode() not in written[0]
    assert compiled.name == f"module.{sys.implementation.cache_tag}.pyc"


def test_files_are_counted_to_what_people_would_name() -> None:
    lib = "opt/libbucket/lib/python3.13/site-packages"

    assert part_of(f"{lib}/minio/api.py") == "minio"
    assert part_of(f"{lib}/minio-7.2.20.dist-info/METADATA") == "minio"
    assert part_of("usr/lib/python3.13/json/__init__.py") == "the standard library"
    assert part_of("usr/bin/python3.13") == "Python itself"
    assert part_of("usr/lib/x86_64-linux-gnu/libssl.so.3") == "usr/lib/x86_64-linux-gnu/libssl.so.3"
    assert part_of("etc/passwd") == "etc"
