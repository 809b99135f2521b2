# ruff: noqa: E402 - assertions are rewritten before the guarantees are imported

"""The one suite that every store passes: what the core and the users of a claim rely on, one guarantee a test.

For authors of a backend. Three steps, in a test module of your own:

1. Write `Application` (`libbucket.testing.application`) on the client that applications of your store use; where that
   is plain HTTP, `HttpApplication`.
2. Write `Administrator` and `Backend`, and declare in `Capabilities` what the store can't do, with the reason. For a
   provisioner that is built on `HttpApi`, `HttpBackend` has most of the second.
3. Subclass:

       class TestMyStore(Conformance):
           @pytest.fixture
           def backend(self) -> Backend:
               return MyBackend()

Each test is one guarantee and is named for it. A guarantee that something is refused also shows, in the same test, that
the same request succeeds for whom it should. The suite knows no store; it needs pytest and nothing else.
"""

import pytest

# Before they are imported: a failing guarantee then shows the values that it compared.
_MODULES = (
    "environment",
    "binding",
    "access",
    "withdrawal",
    "ownership",
    "leadership",
    "administration",
    "deletion",
    "settings",
    "concurrency",
    "cost",
    "crashes",
    "failures",
)
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _MODULES))

from libbucket.testing.application import AccessOnly, Application, Refused
from libbucket.testing.conformance.access import Access
from libbucket.testing.conformance.administration import Administration
from libbucket.testing.conformance.backend import (
    REFUSAL_TEXT,
    REQUEST_ID,
    Ability,
    Administrator,
    Backend,
    Capabilities,
    Check,
)
from libbucket.testing.conformance.binding import Binding
from libbucket.testing.conformance.concurrency import Concurrency
from libbucket.testing.conformance.cost import Cost
from libbucket.testing.conformance.crashes import Crashes
from libbucket.testing.conformance.deletion import Deletion
from libbucket.testing.conformance.failures import Failures
from libbucket.testing.conformance.http_backend import HttpBackend
from libbucket.testing.conformance.leadership import Leadership
from libbucket.testing.conformance.ownership import Ownership
from libbucket.testing.conformance.settings import Settings
from libbucket.testing.conformance.withdrawal import Withdrawal
from libbucket.testing.http_application import HttpApplication


class Conformance(  # pytest begins with the last base: what everything else needs, and what is worst, comes first
    Failures,
    Crashes,
    Cost,
    Concurrency,
    Settings,
    Deletion,
    Access,
    Administration,
    Leadership,
    Ownership,
    Withdrawal,
    Binding,
):
    """All guarantees. Subclass it with a fixture `backend`.

    They run in the order binding, withdrawal, ownership, leadership, then the others: a provisioner that does not bind
    fails nearly everything, and the first failures say why.
    """


__all__ = [
    "REFUSAL_TEXT",
    "REQUEST_ID",
    "Ability",
    "AccessOnly",
    "Administrator",
    "Application",
    "Backend",
    "Capabilities",
    "Check",
    "Conformance",
    "HttpApplication",
    "HttpBackend",
    "Refused",
]
