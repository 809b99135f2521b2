"""The suite as its users see it: the order of its guarantees, a sentence for each failure, and its reports."""

from __future__ import annotations

import ast
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import libbucket.testing.conformance as suite

FOLDER = Path(suite.__file__).parent
BACKEND = """
from contextlib import contextmanager

from libbucket.testing.memory import MemoryProvisioner
from libbucket.testing.memory_backend import MemoryBackend


class KeepsBuckets(MemoryProvisioner):
    def delete(self, ob):
        self.revoke(ob)


class Silent(MemoryBackend):
    "Declares that it has a network, and says nothing of it."
    from dataclasses import replace

    capabilities = replace(MemoryBackend.capabilities, cannot={})


@contextmanager
def opened():
    yield MemoryBackend()


def broken():
    return MemoryBackend(KeepsBuckets)


def nothing():
    return None
"""


def run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "mine.py").write_text(BACKEND)
    command = [sys.executable, "-m", "libbucket.testing.conformance", *arguments]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)


def test_every_assertion_of_the_suite_has_a_sentence() -> None:
    bare = [
        f"{path.name}:{node.lineno}"
        for path in FOLDER.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert) and node.msg is None and path.name != "__main__.py"
    ]
    raised = [path.name for path in FOLDER.glob("*.py") if "with pytest.raises(" in path.read_text()]

    assert bare == []
    assert raised == [], "use `raises`, which has a sentence"


def test_binding_withdrawal_and_ownership_run_first(tmp_path: Path) -> None:
    done = run(tmp_path, "mine:opened", "--collect-only")
    names = [line.rpartition("::test_")[2].partition("[")[0] for line in done.stdout.splitlines() if "::test_" in line]
    order = [_group_of(name) for name in dict.fromkeys(names)]

    assert list(dict.fromkeys(order))[:4] == ["Binding", "Withdrawal", "Ownership", "Leadership"]
    assert order == sorted(order, key=list(dict.fromkeys(order)).index), "each group is together"


def _group_of(name: str) -> str:
    return next(base.__name__ for base in suite.Conformance.__mro__ if f"test_{name}" in vars(base))


def test_a_backend_is_named_on_the_command_line_and_a_context_manager_is_entered(tmp_path: Path) -> None:
    done = run(tmp_path, "mine:opened", "-k", "revoking")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "a withdrawn identity" not in done.stdout
    assert "revoking again is success" in done.stdout


def test_a_broken_guarantee_is_a_sentence_with_what_was_tried_in_all_three_reports(tmp_path: Path) -> None:
    reports = ["--junit-xml=junit.xml", "--conformance-html=page.html"]
    done = run(tmp_path, "mine:broken", "-k", "deleting_removes_bucket_objects or revoking_again", *reports)
    sentence = "deleting removes bucket objects and identity"
    page = (tmp_path / "page.html").read_text()
    cases = {case.attrib["name"]: case for case in ET.parse(tmp_path / "junit.xml").iter("testcase")}
    properties = {
        each.attrib["name"]: each.attrib["value"]
        for each in cases["test_deleting_removes_bucket_objects_and_identity"].iter("property")
    }

    assert done.returncode == 1
    told = f"Backend: BROKEN: {sentence}: the bucket is still there (tried: provision, delete)"
    assert told in " ".join(done.stdout.split())
    assert f"<strong>Backend: {sentence}</strong><br>Tried: provision, delete<br>Came back: the bucket is" in page
    assert 'class="broken"' in page
    assert "revoking again is success" in page
    assert properties | {"guarantee": sentence, "tried": "provision, delete"} == properties


def test_a_backend_without_misled_is_told_so_loudly(tmp_path: Path) -> None:
    done = run(tmp_path, "mine:Silent", "-k", "no_server_listens")

    assert done.returncode == 1
    assert "Backend.misled is missing" in done.stdout
    assert "declare Ability.NETWORK as missing" in done.stdout


def test_what_is_no_backend_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for name, said in (("mine", "must be PACKAGE.MODULE:FACTORY"), ("mine:nowhere", "cannot be loaded")):
        done = run(tmp_path, name, "-k", "revoking_again")
        assert done.returncode != 0
        assert f"--backend {name} {said}" in done.stdout + done.stderr
    assert run(tmp_path).returncode == 2
