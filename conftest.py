"""Loads the installed `libbucket` before any test, for all tests of this workspace.

Test folders are no packages, so pytest names a module after its path: `libbucket.tests.test_types`. Importing that
would make the folder `libbucket/` a package of that name, in the place of the one that is to be tested.
"""

import libbucket  # noqa: F401 - see above
