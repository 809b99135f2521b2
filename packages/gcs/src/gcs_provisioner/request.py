"""One verb's view of Google: who asks for what, where; shared by `provisioner`, `access` and `buckets`.

Pure data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcs_provisioner.bucket_policy import BucketPolicies
    from gcs_provisioner.client import Clients
    from gcs_provisioner.contents import Contents
    from gcs_provisioner.identity import Identity
    from gcs_provisioner.parameters import Parameters
    from gcs_provisioner.storage import Storage
    from libbucket import Owner


@dataclass(frozen=True, kw_only=True)
class Request:
    """The call of one verb.

    Attributes:
        parameters: of the class.
        clients: of this verb.
        storage: the buckets.
        contents: what they hold.
        policies: of the buckets.
        identity: the claim's service account; of a claim with a federated identity the one that an earlier class gave.
        earlier: the account that the claim has of an earlier class, where the class names another one now.
        title: of the claim's own binding where it shares its member with other claims.
        bucket: name of the bucket.
        owner: the claim.
        taken_over: see `BucketOptions.taken_over`.
        state: what an earlier call asked to remember.
        overlooked: request ids of refusals that the verb goes on after: told with what it waits for next.
        repairs: what had been changed out of band, and is repaired.
    """

    parameters: Parameters
    clients: Clients
    storage: Storage
    contents: Contents
    policies: BucketPolicies
    identity: Identity
    earlier: Identity | None
    title: str
    bucket: str
    owner: Owner
    taken_over: bool
    state: Mapping[str, str]
    overlooked: list[str] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)

    @property
    def identities(self) -> tuple[Identity, ...]:
        """All accounts that the claim may have something of."""
        return (self.identity,) if self.earlier is None else (self.earlier, self.identity)

    @property
    def was_bound(self) -> bool:
        """Whether an earlier call has answered."""
        return bool(self.state)

    def note(self, what: str) -> None:
        """Something had been changed out of band, and is repaired."""
        if self.was_bound:
            self.repairs.append(what)
