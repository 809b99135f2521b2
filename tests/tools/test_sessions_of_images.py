"""Plain nox skips the images where none can be built, and says why; sessions that were asked for by name fail."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import nox.registry
import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
WHY = "images are run with podman or docker, and none is installed"


class Ended(Exception):
    """How a session ended before its work began."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """As much of a session as is asked."""

    bin: str

    def skip(self, why: str) -> NoReturn:
        raise Ended("skipped", why)

    def error(self, why: str) -> NoReturn:
        raise Ended("failed", why)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The noxfile, with one session under way in this checkout."""
    spec = importlib.util.spec_from_file_location("tried_noxfile", ROOT / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(sys.modules, spec.name, made)
    monkeypatch.delenv("NOXSESSION", raising=False)
    monkeypatch.setattr(nox.registry, "_REGISTRY", {})
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """One on a machine with nothing that builds images."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return Session(bin=str(Path(sys.executable).parent))


def ended(runner: Any, session: Session) -> tuple[str, str]:
    with pytest.raises(Ended) as how:
        runner.needs_images(session, "run")
    return how.value.args[0], how.value.args[1]


def test_plain_nox_skips_with_the_reason(runner: Any, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["nox"])
    how, why = ended(runner, session)

    assert how == "skipped"
    assert why.startswith(WHY)


@pytest.mark.parametrize("option", ["-s", "-e", "--session", "--sessions"])
def test_a_session_that_was_asked_for_by_name_fails_with_the_reason(
    option: str, runner: Any, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["nox", option, "e2e"])

    how, why = ended(runner, session)

    assert how == "failed"
    assert why.startswith(WHY)
