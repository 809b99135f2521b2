"""Runs inside the build of an image: installs the wheels, leaves out what nobody needs, and fixes every date.

Called by docker/Dockerfile as `assemble.py CONTEXT TARGET`, by the Python of the base, which may have neither pip nor a
shell: so it needs nothing but the standard library and the wheels of the context. What it leaves in TARGET is laid over
the base as one layer, the same to the last bit for the same context.
"""

from __future__ import annotations

import importlib.util
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from contents import ContentsError, leave_out, read_contents

HOME: Final = Path("/opt/libbucket")
_LOADED: Final = (
    "import sys, importlib; [importlib.import_module(name) for name in sys.argv[1:]];"
    "print(*sorted({m.__file__ for m in sys.modules.values() if str(getattr(m, '__file__', '')).endswith('.py')}))"
)


def main() -> int:
    """Fills the target folder; the store, its module and its script come from the environment."""
    context, target = Path(sys.argv[1]), Path(sys.argv[2])
    store, module, script = (os.environ[name] for name in ("STORE", "MODULE", "SCRIPT"))
    try:
        site_packages = install(context)
        leave_out(site_packages, read_contents(context / "contents.toml").site_packages(store))
    except ContentsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    keep_programs(HOME / "bin", {script, "python", "python3"})
    files = loaded_files(module)
    take(HOME, target)
    compile_files(files, target)
    normalise(target, int(os.environ["SOURCE_DATE_EPOCH"]))
    return 0


def install(context: Path) -> Path:
    """Makes an environment of the wheels alone; every one that is not ours is checked against its hash once more."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", HOME], check=True)
    pip = next((context / "pip").glob("pip-*.whl"))
    command: list[str | Path] = [
        HOME / "bin" / "python",
        "-B",
        pip / "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
    ]
    command += ["--no-compile", "--no-cache-dir", "--disable-pip-version-check", "--root-user-action=ignore"]
    wheels: list[str | Path] = ["--find-links", context / "wheels"]
    subprocess.run([*command, *wheels, "--require-hashes", "-r", context / "requirements.txt"], check=True)
    subprocess.run([*command, *sorted((context / "ours").glob("*.whl"))], check=True)
    return next((HOME / "lib").glob("python3.*/site-packages"))


def keep_programs(directory: Path, names: set[str]) -> None:
    """Removes all programs but these: other packages bring some, and the environment its activation scripts."""
    for path in directory.iterdir():
        if path.name not in names:
            path.unlink()


def loaded_files(module: str) -> list[Path]:
    """The sources of all modules that a start imports, ours and the standard library's."""
    modules = [f"{module}.__main__", "libbucket._run.main"]
    command: list[str | Path] = [HOME / "bin" / "python", "-B", "-I", "-c", _LOADED, *modules]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return [Path(path) for path in found]


def take(source: Path, target: Path) -> None:
    """Moves a folder to the same place under the target."""
    place = target / source.relative_to("/")
    place.parent.mkdir(parents=True)
    shutil.move(source, place)


def compile_files(files: list[Path], target: Path) -> None:
    """Writes bytecode for these, and for nothing else.

    It is never checked against its source: neither can change, and dates would make two builds differ.
    """
    for file in files:
        source = target / file.relative_to("/")
        py_compile.compile(
            str(source if source.is_file() else file),
            cfile=str(target / Path(importlib.util.cache_from_source(str(file))).relative_to("/")),
            dfile=str(file),
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


def normalise(folder: Path, epoch: int) -> None:
    """Gives everything the same date, and rights that follow from what it is."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            runs = path.is_dir() or path.parent == folder / "opt/libbucket/bin"
            path.chmod(0o755 if runs else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


if __name__ == "__main__":
    sys.exit(main())
