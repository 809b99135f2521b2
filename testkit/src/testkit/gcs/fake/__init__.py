"""A fake of Google Cloud Storage, IAM and the token endpoint: verifies what Google verifies.

For tests and the demo. No emulator enforces anything, so this one does: tokens, signatures, permissions, etags, key
states. It is never more permissive than Google; where the reference leaves something open, it takes the stricter
reading. Each module names the pages of the reference that it was written from. It runs in threads of this process, on
127.0.0.1, keeps everything in memory, and never sleeps: what takes time at Google goes by a clock that tests turn, or
by counted calls (`Knobs`).

    with fake_gcs() as fake:
        key = fake.add_admin("provisioner")     # a service-account key, as JSON
        fake.url                                # parameter `endpoint`, and `iamEndpoint`
"""

from testkit.gcs.fake.model import Knobs
from testkit.gcs.fake.server import FakeGcs, fake_gcs

__all__ = ["FakeGcs", "Knobs", "fake_gcs"]
