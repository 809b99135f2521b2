"""Loads the installed `libbucket` before any test, and keeps every test of this workspace off the real internet.

Test folders are no packages, so pytest names a module after its path: `libbucket.tests.test_types`. Importing that
would make the folder `libbucket/` a package of that name, in the place of the one that is to be tested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

import libbucket  # noqa: F401 - see above

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["libbucket.testing.offline"]

# The first text that is generated on a new machine takes seconds: tables of Unicode are made then.
settings.register_profile("any-machine", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fails a run in which everything was skipped: it has shown nothing."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    is_collecting = session.config.option.collectonly
    if exitstatus == 0 and reporter is not None and not is_collecting and not reporter.stats.get("passed"):
        session.exitstatus = 5  # as if no test had been collected
