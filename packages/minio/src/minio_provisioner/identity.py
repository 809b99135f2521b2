"""Users and policies, through MinIO's admin API.

Used by `provisioner`, as the administrator. Knows nothing of buckets but their names in policy documents. Every
call may come again: what is there already is replaced, what is gone already is success.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minio.error import MinioAdminException

from libbucket import AccessKeys, NotReady, SecretStr
from minio_provisioner.errors import Call, code_of, translated
from minio_provisioner.policy import build_access, build_intent, is_intent, is_same

if TYPE_CHECKING:
    from minio_provisioner.client import Clients
    from minio_provisioner.policy import Document

_NO_USER = "XMinioAdminNoSuchUser"
_NO_POLICY = "XMinioAdminNoSuchPolicy"
_ALREADY_APPLIED = "XMinioAdminPolicyChangeAlreadyApplied"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The user of one claim, and the policy that is attached to it.

    Attributes:
        clients: of this verb.
        user: name of the MinIO user, which is the access key too.
        policy: name of the canned policy.
    """

    clients: Clients
    user: str
    policy: str

    def declare_intent(self, bucket: str) -> None:
        """Notes in MinIO, under the policy's name, that this claim is about to make `bucket`."""
        self._write_policy(build_intent(bucket))

    def has_declared_intent(self, bucket: str) -> bool:
        """Whether that note is there: a creation began and did not end."""
        document = self._find_policy()
        return document is not None and is_intent(document, bucket)

    def withdraw_intent(self, bucket: str) -> None:
        """Removes the note, if it is one: never a policy that grants something."""
        if self.has_declared_intent(bucket):
            self._remove_policy()

    def ensure_policy(self, bucket: str, *, object_locking: bool) -> bool:
        """The policy that limits the user to `bucket` is there; False where it was already."""
        wanted, found = build_access(bucket, object_locking=object_locking), self._find_policy()
        if found is not None and is_same(found, wanted):
            return False
        self._write_policy(wanted)
        return True

    def exists(self) -> bool:
        """Whether the user is there."""
        with translated(self._call("admin:GetUser")):
            try:
                self.clients.admin.user_info(self.user)
            except MinioAdminException as error:
                if code_of(error) != _NO_USER:
                    raise
                return False
        return True

    def create_keys(self) -> AccessKeys:
        """Makes the user, or gives the one that is there a new secret; its old secret stops working."""
        secret = SecretStr(secrets.token_urlsafe(30))
        with translated(self._call("admin:CreateUser")):
            self.clients.admin.user_add(self.user, secret.reveal())
        return AccessKeys(access_key_id=self.user, secret_access_key=secret)

    def attach(self) -> bool:
        """Attaches the policy to the user; False where it was already."""
        with translated(self._call("admin:AttachUserOrGroupPolicy")):
            try:
                self.clients.admin.attach_policy([self.policy], user=self.user)
            except MinioAdminException as error:
                if code_of(error) != _ALREADY_APPLIED:
                    raise
                return False
        return True

    def withdraw(self) -> None:
        """Removes the user with everything that was derived from it, then the policy.

        The user goes first: MinIO removes a user's service accounts, temporary credentials and attachments
        with it, and removes no policy that is still attached.

        Raises:
            NotReady: MinIO still knows the user.
        """
        with translated(self._call("admin:DeleteUser")):
            try:
                self.clients.admin.user_remove(self.user)
            except MinioAdminException as error:
                if code_of(error) != _NO_USER:
                    raise
        if self.exists():
            raise NotReady(f"MinIO still knows user {self.user}, which was removed", delay=1)
        self._remove_policy()

    def _call(self, permission: str) -> Call:
        return Call(url=self.clients.url, permission=permission)

    def _find_policy(self) -> dict[str, Any] | None:
        with translated(self._call("admin:GetPolicy")):
            try:
                document: dict[str, Any] = json.loads(self.clients.admin.policy_info(self.policy))
            except MinioAdminException as error:
                if code_of(error) != _NO_POLICY:
                    raise
                return None
            return document

    def _write_policy(self, document: Document) -> None:
        with translated(self._call("admin:CreatePolicy")):
            self.clients.admin.policy_add(self.policy, policy=document)

    def _remove_policy(self) -> None:
        with translated(self._call("admin:DeletePolicy")):
            try:
                self.clients.admin.policy_remove(self.policy)
            except MinioAdminException as error:
                if code_of(error) != _NO_POLICY:
                    raise
