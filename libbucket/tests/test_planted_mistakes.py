"""The package that `libbucket new` writes, with one mistake at a time: the suite finds each, and names its promise."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from libbucket._cli.scaffold import render

from .planted_mistakes import MISTAKES, Mistake

if TYPE_CHECKING:
    from pathlib import Path

FEWEST = 30
MODULE = """\
import importlib.util
from pathlib import Path

import pytest

from libbucket.testing.conformance import Conformance
from libbucket.testing.http_store import http_store


def load(path):
    spec = importlib.util.spec_from_file_location(f"backend_of_{path.parents[2].name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return next(each for name, each in vars(module).items() if name.endswith("Backend") and name != "HttpBackend")


def suite_over(path):
    class Planted(Conformance):
        @pytest.fixture(scope="class")
        def server(self):
            with http_store() as store:
                yield store

        @pytest.fixture
        def backend(self, server):
            return load(path)(server.url, server.token)

    return Planted


for path in Path(__file__).parent.glob("m*/tests/store/backend.py"):
    globals()[f"Test{path.parents[2].name}"] = suite_over(path)
"""


def write(folder: Path, number: int, mistake: Mistake) -> None:
    """Writes the package with one mistake, as m<number>."""
    path = f"src/m{number}_provisioner/{mistake.file}"
    files = dict(render(f"m{number}"))
    assert files[path].count(mistake.was) == 1, f"{mistake.sentence}: not once in {mistake.file}"
    files[path] = files[path].replace(mistake.was, mistake.becomes)
    for name, text in files.items():
        target = folder / f"m{number}" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What came of each mistake's promise, by the name of its case; in one process, because loading takes longest."""
    folder = tmp_path_factory.mktemp("mistakes")
    for number, mistake in enumerate(MISTAKES):
        write(folder, number, mistake)
    (folder / "test_mistakes.py").write_text(MODULE)
    chosen = [f"test_mistakes.py::Testm{number}::test_{each.promise}" for number, each in enumerate(MISTAKES)]
    sources = os.pathsep.join([*map(str, folder.glob("m*/src")), *filter(None, [os.environ.get("PYTHONPATH")])])
    options = ["-q", "--import-mode=importlib", "-p", "no:cacheprovider", "--junit-xml=report.xml"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", *options, *chosen],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": sources},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    cases = ET.parse(folder / "report.xml").iter("testcase")
    return {case.attrib["classname"].rpartition("Test")[2]: outcome_of(case) for case in cases}


def outcome_of(case: ET.Element) -> str:
    """The result of a case, with the sentence of its failure."""
    for kind in ("failure", "error", "skipped"):
        found = case.find(kind)
        if found is not None:
            return f"{kind}: {found.get('message', '').partition(chr(10))[0]}"
    return "passed"


@pytest.mark.parametrize(("number", "mistake"), list(enumerate(MISTAKES)), ids=[each.sentence for each in MISTAKES])
def test_a_planted_mistake_breaks_its_promise(number: int, mistake: Mistake, outcomes: dict[str, str]) -> None:
    assert outcomes[f"m{number}"].startswith("failure: "), f"{mistake.promise}: {outcomes[f'm{number}']}"


def test_there_are_enough_mistakes_and_each_is_another() -> None:
    assert len({(each.file, each.was, each.becomes) for each in MISTAKES}) == len(MISTAKES) >= FEWEST
