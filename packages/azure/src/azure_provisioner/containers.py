"""A verb's view of Azure, and what several verbs do with a container: find it, make it, remove it.

Used by `provisioner`, as the administrator. Knows nothing of who is let in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from azure_provisioner.delegation import Delegation
from azure_provisioner.identity import StoredPolicies
from azure_provisioner.policy import build_prefix
from libbucket import (
    Authentication,
    BucketExists,
    BucketLost,
    BucketNotEmpty,
    BucketNotFound,
    BucketOptions,
    Connection,
    Endpoint,
    InvalidClaim,
    NotReady,
    ObjectBucket,
    ReclaimPolicy,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from azure_provisioner.client import Clients
    from azure_provisioner.parameters import Parameters
    from azure_provisioner.storage import Found, Storage

_CONTAINER_NAME: Final = re.compile(r"[a-z0-9](-?[a-z0-9])*")
_SHORTEST_NAME, _LONGEST_NAME = 3, 63
_SPECIAL_NAMES: Final = frozenset({"$root", "$web"})
"""Containers that Azure makes, and that claims may be granted: "Naming and referencing containers"."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One verb's view of Azure: who, what and where."""

    of: BucketOptions | ObjectBucket
    clients: Clients
    storage: Storage

    @property
    def parameters(self) -> Parameters:
        """Of the class."""
        return self.clients.parameters

    @property
    def container(self) -> str:
        """Its name."""
        return self.of.bucket_name

    @property
    def policies(self) -> StoredPolicies:
        """Access by stored access policies."""
        prefix = build_prefix(self.of.user_id)
        return StoredPolicies(clients=self.clients, prefix=prefix, try_sas=self.storage.try_sas)

    @property
    def delegation(self) -> Delegation:
        """Access by user-delegation SAS."""
        return Delegation(clients=self.clients, try_sas=self.storage.try_sas)

    def owns(self, found: Found) -> bool:
        """Whether the container is the claim's."""
        return self.of.owner.owns(found.metadata, taken_over=self.of.taken_over)


def is_name(container: str) -> bool:
    """Whether a container that a claim asks for can have that name."""
    return _SHORTEST_NAME <= len(container) <= _LONGEST_NAME and _CONTAINER_NAME.fullmatch(container) is not None


def may_exist(container: str) -> bool:
    """Whether there can be a container of that name."""
    return container in _SPECIAL_NAMES or is_name(container)


def check_name(container: str) -> None:
    """Refuses a name that no container can have.

    Raises:
        InvalidClaim: with the rule.
    """
    if not is_name(container):
        raise InvalidClaim(
            f"spec.bucketName {container[:_LONGEST_NAME]!r} is not a name that Azure takes for a container: 3 to 63 "
            "lower-case letters, digits and single hyphens, beginning and ending with a letter or digit"
        )


def check_exists(request: Request) -> None:
    """Refuses a container that the class names and that is not there.

    Raises:
        BucketNotFound: it is not.
    """
    if request.container.startswith("$") and not may_exist(request.container):
        raise BucketNotFound(
            f"{request.container[:_LONGEST_NAME]!r}, which the StorageClass names, is no container that claims can be "
            f"let into: of those that Azure makes, {' and '.join(sorted(_SPECIAL_NAMES))} are"
        )
    found, missing_id = request.storage.look(request.container) if may_exist(request.container) else (None, "")
    if found is None:
        raise BucketNotFound(
            f"container {request.container}, which the StorageClass names, does not exist", request_id=missing_id
        )


def ensure_container(request: Request, *, is_known: bool) -> tuple[Found, bool]:
    """The claim's container exists and has ownership tags: Azure tags it in the call that makes it.

    Returns:
        The container, and whether it was made just now.

    Raises:
        BucketExists: it is another's.
        BucketLost: it was there, and is gone.
    """
    (found, missing_id), is_new = request.storage.look(request.container), False
    if found is None and is_known:
        request.storage.confirm_gone(request.container)
        raise BucketLost(f"container {request.container} is gone, with everything in it", request_id=missing_id)
    if found is None:
        request.storage.check_flat()
        # Refused where it was made since: by another tenant, or by another worker of ours.
        refusal_id = request.storage.create(request.container, request.of.owner.ownership_tags())
        is_new = refusal_id is None
        found, missing_id = request.storage.look(request.container)
        if found is None:
            raise _deleted_meanwhile(request.container, refusal_id or missing_id)
    if not request.owns(found):
        raise not_ours(request.container)
    if not request.of.owner.matches(found.metadata):
        found = _take_over(request)
    return found, is_new


def _deleted_meanwhile(container: str, request_id: str) -> NotReady:
    return NotReady(f"container {container} was deleted concurrently", request_id=request_id)


def _take_over(request: Request) -> Found:
    """Writes ownership tags onto a container of another program.

    Of several clusters that do so at once the first wins: Azure writes metadata without If-Match, but with a lease.
    """
    with request.policies.acl.leased(request.container) as lease:
        found, missing_id = request.storage.look(request.container)
        if found is None:
            raise _deleted_meanwhile(request.container, missing_id)
        if not request.owns(found):
            raise not_ours(request.container)
        request.storage.tag(request.container, {**found.metadata, **request.of.owner.ownership_tags()}, lease)
    return found


def warn_of_deletion(container: str, found: Found, options: BucketOptions) -> tuple[str, ...]:
    """Warns, before there is data in it, of a container that can't be deleted with its claim."""
    if not found.keeps_versions or options.reclaim_policy is not ReclaimPolicy.DELETE:
        return ()
    warning = (
        f"container {container} has version-level immutability support, as every container has of an account with it: "
        "it can't be deleted with its claim, only by `az storage container-rm delete`; use another storage "
        "account, or reclaimPolicy: Retain"
    )
    return (warning,)


def find_to_delete(request: Request) -> Found | None:
    """The container; None where there is none for certain.

    A name that no container can have is of a claim that was refused: there is nothing to remove.
    """
    if not is_name(request.container):
        return None
    found = request.storage.find(request.container)
    if found is None:
        request.storage.confirm_gone(request.container)
    return found


def remove(request: Request, found: Found) -> None:
    """Removes the container, and before it the policies of claims where there may be some."""
    if not request.parameters.needs_identity:
        modified = request.policies.remove_all(request.container, found.modified)
        found = replace(found, modified=modified)
    request.storage.remove(request.container, found)


def check_empty(request: Request) -> None:
    """Refuses a container that holds anything.

    Raises:
        BucketNotEmpty: it does.
    """
    if not request.storage.is_empty(request.container):
        raise BucketNotEmpty(f"container {request.container} holds blobs, older versions or unfinished uploads")


def not_ours(container: str) -> BucketExists:
    """What is said of a container that is not the claim's."""
    return BucketExists(f"container {container} exists and was not made for this claim: it stays as it is")


def build_answer(request: Request, authentication: Authentication, state: Mapping[str, str]) -> ObjectBucket:
    """What `provision` and `grant` give: where the container is, and how it is reached."""
    parameters = request.parameters
    address = urlsplit(parameters.url)
    endpoint = Endpoint(
        bucket_host=address.hostname or "",
        bucket_port=address.port or (443 if parameters.secure else 80),
        bucket_name=request.container,
        additional_config={"AZURE_STORAGE_BLOB_ENDPOINT": parameters.url},
    )
    return ObjectBucket(
        connection=Connection(endpoint=endpoint, authentication=authentication, additional_state=state),
        warnings=parameters.warnings,
    )
