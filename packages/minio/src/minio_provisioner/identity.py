"""Users and policies, through MinIO's admin API.

Used by `access`, as the administrator. Knows nothing of buckets but their names in policy documents. Every call is
idempotent: what is there already is replaced, what is gone already is success.

Rotating gives a claim a user of another name: "<policy>", "<policy>-2", "<policy>-3". MinIO's temporary credentials
(`AssumeRole`) live for up to a year and are bound to the *name* of a user: neither another secret nor the removal of
the user ends them where a user of that name is there again, with a policy. Source: MinIO's `cmd/iam.go`,
`IsAllowedSTS`, and `cmd/iam-store.go`, `DeleteUser`, which does not find them.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from minio.error import MinioAdminException

from libbucket import AccessKeys, NotReady, SecretStr, parse_json
from minio_provisioner.errors import Call, code_of, translated
from minio_provisioner.policy import Note, build_access, build_intent, is_intent, note_in

if TYPE_CHECKING:
    from minio_provisioner.client import Clients
    from minio_provisioner.parameters import Locks
    from minio_provisioner.policy import Document

_NO_USER: Final = "XMinioAdminNoSuchUser"
_NO_POLICY: Final = "XMinioAdminNoSuchPolicy"
_ALREADY_APPLIED: Final = "XMinioAdminPolicyChangeAlreadyApplied"
_DISABLED: Final = "disabled"

_LAG_SECONDS: Final = 10.0
"""Delay after an answer of a node that lags behind: such a node reads all of IAM again after 5 to 15 minutes."""

_SUFFIX: Final = re.compile(r"-([1-9][0-9]{0,8})")


@dataclass(frozen=True, kw_only=True)
class User:
    """A user that MinIO knows.

    Attributes:
        is_disabled: an administrator locked it out: `mc admin user disable`.
    """

    is_disabled: bool


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The user of one claim, and the policy that is attached to it.

    Attributes:
        clients: of this verb.
        user: name of the MinIO user, which is the access key too.
        policy: name of the canned policy, and of the claim's first user.
    """

    clients: Clients
    user: str
    policy: str

    @property
    def generation(self) -> int:
        """1 for the claim's first user, 2 for the one after the first rotation, and so on."""
        found = _SUFFIX.fullmatch(self.user.removeprefix(self.policy)) if self.user.startswith(self.policy) else None
        return int(found[1]) if found else 1

    def of_generation(self, generation: int) -> Identity:
        """The same claim's user of that generation."""
        return replace(self, user=self.policy if generation == 1 else f"{self.policy}-{generation}")

    @property
    def successor(self) -> Identity:
        """The user after this one."""
        return self.of_generation(self.generation + 1)

    @property
    def predecessor(self) -> Identity | None:
        """The user before this one; None for the first."""
        return self.of_generation(self.generation - 1) if self.generation > 1 else None

    def declare_intent(self, bucket: str) -> None:
        """Notes in MinIO, under the policy's name, that this claim is about to make `bucket`."""
        self.write_policy(build_intent(bucket))

    def has_declared_intent(self, bucket: str) -> bool:
        """Whether that note is there: a creation began and did not end."""
        document = self.find_policy()
        return document is not None and is_intent(document, bucket)

    def withdraw_intent(self, bucket: str) -> None:
        """Removes the note, if it is one: never a policy that grants something."""
        if self.has_declared_intent(bucket):
            self.remove_policy()

    def find_policy(self) -> dict[str, Any] | None:
        """The policy as MinIO has it; None where there is none."""
        with translated(self._call("admin:GetPolicy")):
            try:
                document = parse_json(self.clients.admin.policy_info(self.policy))
            except MinioAdminException as error:
                if code_of(error) != _NO_POLICY:
                    raise
                return None
            return document if isinstance(document, dict) else {}

    def latest(self, document: Document | None) -> Identity:
        """This user, or the later one that the policy was written for: a rotation began, and its end was lost."""
        noted = note_in(document).generation
        return self.of_generation(noted) if noted > self.generation else self

    def wanted_policy(self, bucket: str, *, locks: Locks | None, fingerprint: str) -> Document:
        """The policy that limits the user to `bucket`, and notes which secret key was set last."""
        note = Note(generation=self.generation, fingerprint=fingerprint)
        return build_access(bucket, locks=locks, note=note)

    def write_policy(self, document: Document) -> None:
        """Writes the policy, whatever it was."""
        with translated(self._call("admin:CreatePolicy")):
            self.clients.admin.policy_add(self.policy, policy=document)

    def remove_policy(self) -> None:
        """Removes the policy, which is attached to no user any more; one that is gone is fine."""
        with translated(self._call("admin:DeletePolicy")):
            try:
                self.clients.admin.policy_remove(self.policy)
            except MinioAdminException as error:
                if code_of(error) != _NO_POLICY:
                    raise

    def find(self) -> User | None:
        """The user as MinIO's identity system has it; None where it says that there is none."""
        with translated(self._call("admin:GetUser")):
            try:
                found = parse_json(self.clients.admin.user_info(self.user))
            except MinioAdminException as error:
                if code_of(error) != _NO_USER:
                    raise
                return None
            return User(is_disabled=isinstance(found, dict) and found.get("status") == _DISABLED)

    def is_there(self) -> bool:
        """Whether MinIO knows one of the claim's users, this one or the one that a rotation was cut off at."""
        latest = self.latest(self.find_policy())
        return latest.find() is not None or (latest.user != self.user and self.find() is not None)

    def create_keys(self) -> AccessKeys:
        """Makes the user, which must not be there: no node can lag behind in a secret that was set once.

        One that is there gets another secret, and is enabled.
        """
        secret = SecretStr(secrets.token_urlsafe(30))
        with translated(self._call("admin:CreateUser")):
            self.clients.admin.user_add(self.user, secret.reveal())
        return AccessKeys(access_key_id=self.user, secret_access_key=secret)

    def attach(self) -> bool:
        """Attaches the policy to the user; False where it was already.

        Raises:
            NotReady: the node that answers has not heard of user or policy, or the user was removed or disabled since
                it was found: the next call sees which.
        """
        with translated(self._call("admin:AttachUserOrGroupPolicy")):
            try:
                self.clients.admin.attach_policy([self.policy], user=self.user)
            except MinioAdminException as error:
                if code_of(error) in {_NO_USER, _NO_POLICY}:
                    raise NotReady(
                        f"MinIO at {self.clients.url} does not find user {self.user} or its policy to attach "
                        f"({code_of(error)}), which it has just confirmed: a node lags behind, or they were changed",
                        delay=_LAG_SECONDS,
                    ) from error
                if code_of(error) != _ALREADY_APPLIED:
                    raise
                return False
        return True

    def remove_user(self) -> None:
        """Removes the user with its service accounts and attachments; one that is gone is fine.

        Raises:
            NotReady: MinIO still knows the user.
        """
        with translated(self._call("admin:DeleteUser")):
            try:
                self.clients.admin.user_remove(self.user)
            except MinioAdminException as error:
                if code_of(error) != _NO_USER:
                    raise
        if self.find() is not None:
            raise NotReady(f"MinIO still lists user {self.user}, which was removed", delay=1)

    def withdraw(self) -> None:
        """Removes the claim's users, then the policy: MinIO removes none that is still attached."""
        latest = self.latest(self.find_policy())
        for one in (latest, latest.predecessor):
            if one is not None:
                one.remove_user()
        self.remove_policy()

    def _call(self, permission: str) -> Call:
        return Call(url=self.clients.url, permission=permission)
