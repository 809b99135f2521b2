"""Loads the installed `libbucket` before any test, and keeps every test of this workspace off the real internet.

Test folders are no packages, so pytest names a module after its path: `libbucket.tests.test_types`. Importing that
would make the folder `libbucket/` a package of that name, in the place of the one that is to be tested.
"""

import libbucket  # noqa: F401 - see above

pytest_plugins = ["libbucket.testing.offline"]
