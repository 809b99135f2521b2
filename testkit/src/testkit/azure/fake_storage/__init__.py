"""A fake of Blob Storage in memory, on a clock of its caller's: the operations that claims and their tests need.

For tests that need many containers or much time. What it answers is compared with azurite's answers by
`packages/azure/tests/store/test_the_fake.py`; what azurite does not know names its page.
"""

from testkit.azure.fake_storage.service import FakeStorage

__all__ = ["FakeStorage"]
