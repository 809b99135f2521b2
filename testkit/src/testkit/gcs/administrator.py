"""An administrator of the fake's project, for the conformance suite: makes, looks and breaks by hand.

Reads identities from the fake itself. Knows no provisioner.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from testkit.gcs.applications import JsonApplication
from testkit.gcs.by_hand import COUNTERS, AdministratorByHand

if TYPE_CHECKING:
    from collections.abc import Mapping

    from testkit.gcs.fake import FakeGcs
    from testkit.gcs.fake.model import Json


_POOL = "project-of-the-tests.svc.id.goog"


class GcsAdministrator(AdministratorByHand):
    """An administrator who may do everything in the project; identities are read from the fake itself."""

    def __init__(self, fake: FakeGcs) -> None:
        super().__init__(fake)
        self._application = JsonApplication(
            endpoint=fake.url, key=fake.add_admin("administrator-of-all"), project=fake.project
        )
        self.client = self._application.client

    def application(self) -> JsonApplication:
        return self._application

    def make_bucket(self, name: str) -> None:
        self.client.create_bucket(name, retry=None)

    def settings(self, bucket: str) -> Mapping[str, object]:
        found = self.client.get_bucket(bucket, retry=None)
        return {key: value for key, value in found._properties.items() if key not in {"kind", *COUNTERS}}

    def region(self, bucket: str) -> str:
        return str(self.client.get_bucket(bucket, retry=None).location)

    def enable_versioning(self, bucket: str) -> None:
        self.set_config(bucket, "bucketVersioning", "Enabled")

    def stored_versions(self, bucket: str) -> int:
        return len(list(self.client.list_blobs(bucket, versions=True, retry=None)))

    def unfinished_uploads(self, bucket: str) -> int:
        store = self.fake.store
        sessions = [each for each in store.sessions.values() if each.bucket == bucket]
        return len(store.buckets[bucket].uploads) + len(sessions)

    def config(self, bucket: str, key: str) -> str | None:
        if key == "bucketVersioning":
            return "Enabled" if self.client.get_bucket(bucket, retry=None).versioning_enabled else "Suspended"
        found = [each for policy in self._policies(bucket) for each in _kubernetes_accounts(policy)]
        return ",".join(sorted(found)) or None

    def set_config(self, bucket: str, key: str, value: str) -> None:
        if key == "bucketVersioning":
            target = self.client.bucket(bucket)
            target.versioning_enabled = value == "Enabled"
            target.patch(retry=None)
            return
        with self.fake.store.lock:
            for bindings in self._policies(bucket) or [self._let_another_in(bucket)]:
                member = f"serviceAccount:{_POOL}[conformance/{value}]"
                bindings[:] = [{"role": "roles/iam.workloadIdentityUser", "members": [member]}]

    def _policies(self, bucket: str) -> list[list[Json]]:
        """The policies of the accounts that may use the bucket."""
        store = self.fake.store
        members = [each for binding in store.buckets[bucket].policy.bindings for each in binding["members"]]
        emails = {each.partition(":")[2].partition("#")[0] for each in members if each.startswith("serviceAccount:")}
        return [store.accounts[each].policy.bindings for each in sorted(emails) if each in store.accounts]

    def _let_another_in(self, bucket: str) -> list[Json]:
        """An account that has nothing to do with any claim."""
        email = json.loads(self.fake.add_admin(f"made-by-hand-{len(self.fake.store.accounts)}", ()))["client_email"]
        account = self.fake.store.accounts[email]
        binding = {"role": "roles/storage.objectViewer", "members": [f"serviceAccount:{email}#{account.uid}"]}
        self.fake.store.buckets[bucket].policy.bindings.append(binding)
        return account.policy.bindings


def _kubernetes_accounts(bindings: list[Json]) -> list[str]:
    members = [each for binding in bindings for each in binding["members"] if "[" in each]
    return [each.partition("/")[2].rstrip("]") for each in members]
