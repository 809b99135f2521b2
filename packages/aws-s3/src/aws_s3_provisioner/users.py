"""Calls of IAM about one user: almost one function of the SDK each, and idempotent where IAM is not.

Used by `identity`, as the administrator. What is there already is replaced, what is gone already is success. Knows
nothing of whose the user is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from botocore.exceptions import ClientError

from aws_s3_provisioner.additions import remove_additions
from aws_s3_provisioner.errors import code_of, tolerated, translated
from aws_s3_provisioner.policy import written
from aws_s3_provisioner.request_ids import Answered, request_id_of
from libbucket import AccessKeys, NotReady, SecretStr, StoreRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_s3_provisioner.client import Clients
    from aws_s3_provisioner.policy import Document

_GONE: Final = "NoSuchEntity"
_CONFLICT: Final = "DeleteConflict"
_MOST_NAMED: Final = 10


class UserInUse(StoreRefused):
    """Nothing of the claim's credentials works any more, and IAM keeps the user for what others have put on it."""


@dataclass(frozen=True, kw_only=True)
class User:
    """A user as IAM has it.

    Attributes:
        arn: its ARN.
        tags: on it.
        boundary: ARN of the policy that it gets no further than; empty for none.
        path: of it.
        is_bare: IAM tells no more than its name, not even an id, and so has kept nothing that it was made with.
    """

    arn: str
    tags: Mapping[str, str]
    boundary: str
    path: str = ""
    is_bare: bool = False

    @property
    def account(self) -> str:
        """Number of the account."""
        return self.arn.split(":")[4]


@dataclass(frozen=True, kw_only=True)
class NewUser:
    """What a user is made with.

    Attributes:
        path: of it.
        tags: on it.
        boundary: ARN of a managed policy; empty for none.
    """

    path: str
    tags: Mapping[str, str]
    boundary: str


@dataclass(frozen=True, kw_only=True)
class IamUser:
    """The user of one name, whether or not it is there, for one verb.

    Attributes:
        clients: of this verb.
        name: of the user.
    """

    clients: Clients
    name: str

    def find(self) -> Answered[User | None]:
        """The user; None where IAM finds none."""
        with translated(self.clients.call("iam:GetUser")):
            try:
                found = self.clients.iam.get_user(UserName=self.name)
            except ClientError as error:
                if code_of(error) != _GONE:
                    raise
                return Answered(value=None, request_id=request_id_of(error.response))
            return Answered(value=_user(found["User"]), request_id=request_id_of(found))

    def listed_tags(self) -> dict[str, str]:
        """The tags of a user at a store that does not tell them with the user."""
        with translated(self.clients.call("iam:ListUserTags")):
            answer = self.clients.iam.list_user_tags(UserName=self.name)
        return {tag["Key"]: tag["Value"] for tag in answer.get("Tags", [])}

    def create(self, new: NewUser) -> Answered[User | None]:
        """A new user, as IAM tells of it; None where there is one of that name."""
        tags: Any = [{"Key": key, "Value": value} for key, value in new.tags.items()]
        boundary: Any = {"PermissionsBoundary": new.boundary} if new.boundary else {}
        with translated(self.clients.call("iam:CreateUser and iam:TagUser")):
            try:
                made = self.clients.iam.create_user(Path=new.path, UserName=self.name, Tags=tags, **boundary)
            except ClientError as error:
                if code_of(error) != "EntityAlreadyExists":
                    raise
                return Answered(value=None, request_id=request_id_of(error.response))
        return Answered(value=_user(made["User"]), request_id=request_id_of(made))

    def bind(self, boundary: str) -> None:
        """Sets the permissions boundary."""
        with translated(self.clients.call("iam:PutUserPermissionsBoundary")):
            self.clients.iam.put_user_permissions_boundary(UserName=self.name, PermissionsBoundary=boundary)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Adds tags; one of the same key is replaced."""
        with translated(self.clients.call("iam:TagUser")):
            self.clients.iam.tag_user(UserName=self.name, Tags=[{"Key": k, "Value": v} for k, v in tags.items()])

    def untag(self, key: str) -> None:
        """Removes a tag."""
        with translated(self.clients.call("iam:UntagUser")), tolerated(_GONE):
            self.clients.iam.untag_user(UserName=self.name, TagKeys=[key])

    def policy(self, name: str) -> Document | None:
        """An inline policy; None where there is none."""
        with translated(self.clients.call("iam:GetUserPolicy")):
            try:
                found: Any = self.clients.iam.get_user_policy(UserName=self.name, PolicyName=name)
            except ClientError as error:
                if code_of(error) != _GONE:
                    raise
                return None
            stored = found["PolicyDocument"]
            document: Document = json.loads(unquote(stored)) if isinstance(stored, str) else stored
            return document

    def put_policy(self, name: str, document: Document) -> None:
        """Writes an inline policy; replaces what was there."""
        with translated(self.clients.call("iam:PutUserPolicy")):
            self.clients.iam.put_user_policy(UserName=self.name, PolicyName=name, PolicyDocument=written(document))

    def delete_policy(self, name: str) -> None:
        """Removes an inline policy."""
        with translated(self.clients.call("iam:DeleteUserPolicy")), tolerated(_GONE):
            self.clients.iam.delete_user_policy(UserName=self.name, PolicyName=name)

    def policies(self) -> list[str]:
        """Names of all inline policies, and ARNs of all attached ones."""
        with translated(self.clients.call("iam:ListUserPolicies")):
            inline = self.clients.iam.list_user_policies(UserName=self.name)["PolicyNames"]
        with translated(self.clients.call("iam:ListAttachedUserPolicies")):
            attached = self.clients.iam.list_attached_user_policies(UserName=self.name)["AttachedPolicies"]
        return [*inline, *(policy["PolicyArn"] for policy in attached)]

    def detach(self, arn: str) -> None:
        """Takes an attached policy off."""
        with translated(self.clients.call("iam:DetachUserPolicy")), tolerated(_GONE):
            self.clients.iam.detach_user_policy(UserName=self.name, PolicyArn=arn)

    def keys(self) -> Answered[dict[str, str]]:
        """Ids of all keys, each with its status, `Active` or `Inactive`; none for a user that IAM does not find."""
        with translated(self.clients.call("iam:ListAccessKeys")):
            try:
                answer = self.clients.iam.list_access_keys(UserName=self.name)
            except ClientError as error:
                if code_of(error) != _GONE:
                    raise
                return Answered(value={}, request_id=request_id_of(error.response))
        statuses: dict[str, str] = {key["AccessKeyId"]: key["Status"] for key in answer["AccessKeyMetadata"]}
        return Answered(value=statuses, request_id=request_id_of(answer))

    def create_key(self) -> Answered[AccessKeys | None]:
        """A new key; None where the user has as many as it may have."""
        with translated(self.clients.call("iam:CreateAccessKey")):
            try:
                answer = self.clients.iam.create_access_key(UserName=self.name)
            except ClientError as error:
                if code_of(error) != "LimitExceeded":
                    raise
                return Answered(value=None, request_id=request_id_of(error.response))
        made = answer["AccessKey"]
        keys = AccessKeys(access_key_id=made["AccessKeyId"], secret_access_key=SecretStr(made["SecretAccessKey"]))
        return Answered(value=keys, request_id=request_id_of(answer))

    def delete_key(self, access_key_id: str) -> None:
        """Removes a key."""
        with translated(self.clients.call("iam:DeleteAccessKey")), tolerated(_GONE):
            self.clients.iam.delete_access_key(UserName=self.name, AccessKeyId=access_key_id)

    def delete(self) -> None:
        """Removes the user, and first what others have put on it.

        Raises:
            NotReady: IAM does not find everywhere what it says that the user has.
            UserInUse: something has to be removed manually.
        """
        call = self.clients.call("iam:DeleteUser")
        with translated(call), tolerated(_GONE):
            if self._is_deleted():
                return
            found = remove_additions(self.clients, self.name)
            try:
                self.clients.iam.delete_user(UserName=self.name)
            except ClientError as error:
                if code_of(error) != _CONFLICT:
                    raise
                request_id = request_id_of(error.response)
                if found.disputed:
                    raise NotReady(
                        f"IAM knows user {self.name}, and does not find its {found.disputed[0]} everywhere yet",
                        request_id=request_id,
                    ) from error
                raise _in_use(self.name, found.left, request_id) from error

    def _is_deleted(self) -> bool:
        """Whether IAM removed the user: it does not as long as that has what others have put on it."""
        try:
            self.clients.iam.delete_user(UserName=self.name)
        except ClientError as error:
            if code_of(error) != _CONFLICT:
                raise
            return False
        return True


def delete_managed_policy(clients: Clients, arn: str) -> None:
    """Removes a policy of the account; IAM removes none that is attached to others: then an administrator decides."""
    with translated(clients.call("iam:DeletePolicy")), tolerated(_GONE):
        clients.iam.delete_policy(PolicyArn=arn)


def _in_use(user: str, left: list[str], request_id: str) -> UserInUse:
    what = ", ".join(left[:_MOST_NAMED]) or "something that IAM does not name"
    return UserInUse(
        f"the credentials are withdrawn, and IAM keeps user {user} because it has {what}: remove it manually, or let "
        "the provisioner do it with the permission in brackets",
        request_id=request_id,
    )


def _user(found: Any) -> User:
    boundary = (found.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn", "")
    tags = {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}
    path, is_bare = found.get("Path", ""), not found.get("UserId")
    return User(arn=found["Arn"], tags=tags, boundary=boundary, path=path, is_bare=is_bare)
