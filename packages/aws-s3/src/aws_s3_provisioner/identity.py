"""The IAM user of one claim: its tags, its inline policy, its access keys.

Used by `provisioner`, as the administrator. Knows nothing of buckets but their ARNs in policy documents. Every call is
idempotent: what is there already is replaced, what is gone already is success. A user that does not carry the claim's
ownership tags is never touched.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from botocore.exceptions import ClientError

from aws_s3_provisioner.additions import remove_additions
from aws_s3_provisioner.errors import code_of, request_id_of, tolerated, translated
from aws_s3_provisioner.policy import is_same, written
from libbucket import (
    AccessDenied,
    AccessKeys,
    NotReady,
    Reason,
    RetrySlowly,
    SecretStr,
    StoreRefused,
    has_ownership_tags,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aws_s3_provisioner.client import Clients
    from aws_s3_provisioner.policy import Document
    from libbucket import Owner

_GONE: Final = "NoSuchEntity"
_CONFLICT: Final = "DeleteConflict"
_MOST_NAMED: Final = 10
_POLICY_NAME: Final = "objectbucket"
_INTENT: Final = "objectbucket_being_made"
"""Tag of a user whose claim's bucket was about to be made, with the bucket's name."""
_INTENT_POLICY: Final = "objectbucket-being-made"
"""The same for a user that has no tags."""


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
class Ensured:
    """The claim's user, as `Identity.ensure` left it.

    Attributes:
        user: it.
        is_new: it was made just now.
        is_bound_anew: its permissions boundary was another than the class's, and is that now.
    """

    user: User
    is_new: bool
    is_bound_anew: bool


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The user of one claim.

    Attributes:
        clients: of this verb.
        name: of the user.
        owner: whose user it is: its ownership tags.
        path: of a user that is made.
        path_is_stamp: the path is this claim's alone, and says whose a user without tags is: some stores keep no tags.
        boundary: ARN of a managed policy; empty for none.
        tags: further tags of a user that is made.
        managed_policy: ARN of the policy that the Go provisioner made for this claim; empty for none.
        taken_over: a user without ownership tags is this claim's: the Go provisioner made it.
        is_recorded: an earlier call for this claim has answered with this user.
        may_be_adopted: its name is recorded, and is another program's: an earlier call may have answered with it.
    """

    clients: Clients
    name: str
    owner: Owner
    path: str
    path_is_stamp: bool
    boundary: str
    tags: Mapping[str, str]
    managed_policy: str
    taken_over: bool
    is_recorded: bool
    may_be_adopted: bool

    def ensure(self) -> Ensured:
        """The user is there, and is this claim's; a note that a bucket is being made, from a call before, is removed.

        A user that no earlier call has answered with is made without looking for it first: nearly always it is new.

        Raises:
            NotReady: IAM says that it is there, and that it is not.
            RetrySlowly: there is one of that name, and it is not this claim's.
        """
        known = self._find() if self.is_recorded or self.taken_over else None
        made, request_id = (None, "") if known else self._create()
        found = known or made or self._find()
        if found is None:
            raise NotReady(
                f"IAM knows user {self.name}, and does not find it everywhere yet",
                delay=2,
                request_id=request_id,
            )
        is_stamped, is_unmarked = self._is_stamped(found), self._is_unmarked(found)
        if not is_unmarked and not self._is_ours(found):
            raise RetrySlowly(
                f"IAM has a user {self.name} that was not made for this claim: it stays as it is; remove it manually",
                reason=Reason.ACCESS_DENIED,
            )
        if is_unmarked:
            self._tag({**self.tags, **self.owner.ownership_tags()})
        elif not is_stamped and not has_ownership_tags(found.tags):
            self._tag(self.owner.ownership_tags())
        if is_stamped:
            self._delete_policy(_INTENT_POLICY)
        if _INTENT in found.tags:
            self.withdraw_intent()
        # A boundary that the class does not name may be the organisation's: it stays.
        is_bound_anew = bool(self.boundary) and found.boundary != self.boundary
        if is_bound_anew:
            self._bind(self.boundary)
        return Ensured(user=found, is_new=made is not None, is_bound_anew=is_bound_anew)

    def further_policies(self) -> list[str]:
        """Names of policies that the user has beside those that the provisioner wrote."""
        with translated(self.clients.call("iam:ListUserPolicies")):
            inline = self.clients.iam.list_user_policies(UserName=self.name)["PolicyNames"]
        with translated(self.clients.call("iam:ListAttachedUserPolicies")):
            attached = self.clients.iam.list_attached_user_policies(UserName=self.name)["AttachedPolicies"]
        arns = [policy["PolicyArn"] for policy in attached]
        return [name for name in inline if name != _POLICY_NAME] + [arn for arn in arns if arn != self.managed_policy]

    def is_limited(self, document: Document) -> bool:
        """Whether the one policy of the user is this one."""
        return is_same(self._policy(), document)

    def _policy(self, name: str = _POLICY_NAME) -> Document | None:
        """A policy of the user, which only the provisioner writes; None where there is none."""
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

    def limit(self, document: Document) -> None:
        """Writes the one policy of the user; replaces what was there."""
        self._put_policy(_POLICY_NAME, document)

    def _put_policy(self, name: str, document: Document) -> None:
        with translated(self.clients.call("iam:PutUserPolicy")):
            self.clients.iam.put_user_policy(UserName=self.name, PolicyName=name, PolicyDocument=written(document))

    def _intent(self, bucket: str) -> Document:
        """A policy that only tells the name of a bucket: no claim's user makes buckets anyway."""
        deny = {"Effect": "Deny", "Action": "s3:CreateBucket", "Resource": self.clients.bucket_arn(bucket)}
        return {"Version": "2012-10-17", "Statement": [deny]}

    def keys(self) -> dict[str, str]:
        """Ids of all keys of the user, each with its status, `Active` or `Inactive`."""
        return self._listed_keys()[0]

    def _listed_keys(self) -> tuple[dict[str, str], str]:
        """The keys, and the id of the request for them."""
        with translated(self.clients.call("iam:ListAccessKeys")):
            try:
                answer = self.clients.iam.list_access_keys(UserName=self.name)
            except ClientError as error:
                if code_of(error) != _GONE:
                    raise
                return {}, request_id_of(error.response)
        return {key["AccessKeyId"]: key["Status"] for key in answer["AccessKeyMetadata"]}, request_id_of(answer)

    def _check_gone(self) -> None:
        """Makes sure that a user that IAM did not find keeps no key: a part of IAM may not know it for a moment.

        Raises:
            NotReady: IAM lists some.
        """
        keys, request_id = self._listed_keys()
        if keys:
            raise NotReady(
                f"IAM lists access keys of user {self.name}, and does not find it", delay=5, request_id=request_id
            )

    def create_keys(self, *, spared: str = "") -> AccessKeys:
        """Makes a key beside the one that is spared.

        Others are left by a crash between making one and storing it, and by a request that was sent again because its
        answer was lost. A user can have two keys, so that they have to go first only where there are two of them.

        Raises:
            NotReady: another replica was making one at the same time.
        """
        made, request_id = self._create_key()
        if made is None:
            self.delete_keys(self.keys().keys() - {spared})
            made, request_id = self._create_key()
        if made is None:
            raise NotReady(f"user {self.name} received other keys concurrently", delay=1, request_id=request_id)
        return made

    def delete_keys(self, access_key_ids: Iterable[str]) -> None:
        """Removes keys of the user; those that are gone are fine."""
        for one in access_key_ids:
            self._delete_key(one)

    def declare_intent(self, bucket: str) -> None:
        """Notes on the user that this claim is about to make `bucket`: in a tag, or in a policy where it has none."""
        try:
            self._tag({_INTENT: bucket})
        except StoreRefused:
            if not self.path_is_stamp:
                raise
            self._put_policy(_INTENT_POLICY, self._intent(bucket))

    def has_declared_intent(self, bucket: str) -> bool:
        """Whether that note is there: a creation began and did not end."""
        found = self._find()
        if found is None or not (self._is_stamped(found) or self.owner.matches(found.tags)):
            return False
        is_noted = found.tags.get(_INTENT) == bucket
        return is_noted or (self._is_stamped(found) and is_same(self._policy(_INTENT_POLICY), self._intent(bucket)))

    def withdraw_intent(self) -> None:
        """Removes the note; a user that is gone has none."""
        try:
            with translated(self.clients.call("iam:UntagUser")), tolerated(_GONE):
                self.clients.iam.untag_user(UserName=self.name, TagKeys=[_INTENT])
        except StoreRefused:
            if not self.path_is_stamp:
                raise
            self._delete_policy(_INTENT_POLICY)

    def withdraw(self, *, is_expected: bool = False) -> None:
        """Removes the keys, then the policies, then the user.

        Args:
            is_expected: the user was made moments ago: that IAM does not find it means nothing yet.

        Raises:
            NotReady: IAM still knows the user, or does not know it yet.
            UserInUse: something that was added to the user has to be removed manually; the keys and policies are gone.
        """
        found = self._find()
        if found is None and is_expected:
            raise NotReady(f"IAM does not find user {self.name}, which was made moments ago", delay=5)
        if found is None:
            self._check_gone()
        elif not self._is_ours(found) and not self._is_unmarked(found):
            self._check_tags(found)
            return
        else:
            self.delete_keys(self.keys())
            self._delete_policy(_POLICY_NAME)
            if self.managed_policy:
                self._detach(self.managed_policy)
            self._delete_user()
            if self._find() is not None:
                raise NotReady(f"IAM still lists user {self.name}, which was removed", delay=1)
        if self.managed_policy:
            self._remove_managed_policy()

    def _check_tags(self, found: User) -> None:
        """A user that was this claim's, and is not tagged as another's, is not left behind with keys that work.

        Raises:
            RetrySlowly: it is such a one.
        """
        if self.owner.ownership_tags().keys() <= found.tags.keys():  # another's: a part of them would say of nobody
            return
        if not self.is_recorded and not (self.may_be_adopted and self._was_adopted()):
            return
        raise RetrySlowly(
            f"IAM user {self.name} has lost the tags that say whose it is: nothing of it is removed, and its "
            f"access keys work on; restore {', '.join(self.owner.ownership_tags())}, or remove the user manually",
            reason=Reason.ACCESS_DENIED,
        )

    def _was_adopted(self) -> bool:
        try:
            return self._policy() is not None
        except AccessDenied:  # what may not read it has not written it
            return False

    def _is_ours(self, found: User) -> bool:
        return self._is_stamped(found) or self.owner.owns(found.tags, taken_over=self.taken_over)

    def _is_stamped(self, found: User) -> bool:
        return self.path_is_stamp and found.path == self.path and not has_ownership_tags(found.tags)

    def _is_unmarked(self, found: User) -> bool:
        """Whether it was made and not tagged yet, at a store that makes all users without tags: nobody has its key."""
        return self.path_is_stamp and found.is_bare and not found.tags and not self.keys()

    def _find(self) -> User | None:
        with translated(self.clients.call("iam:GetUser")):
            try:
                found = _user(self.clients.iam.get_user(UserName=self.name)["User"])
            except ClientError as error:
                if code_of(error) != _GONE:
                    raise
                return None
        return replace(found, tags=self._listed_tags()) if found.is_bare and self.path_is_stamp else found

    def _listed_tags(self) -> dict[str, str]:
        """The tags of a user at a store that does not tell them with the user."""
        with translated(self.clients.call("iam:ListUserTags")):
            answer = self.clients.iam.list_user_tags(UserName=self.name)
        return {tag["Key"]: tag["Value"] for tag in answer.get("Tags", [])}

    def _create(self) -> tuple[User | None, str]:
        """A new user; None where there is one of that name, with the id of the request that told so."""
        wanted = {**self.tags, **self.owner.ownership_tags()}
        tags: Any = [{"Key": key, "Value": value} for key, value in wanted.items()]
        boundary: Any = {"PermissionsBoundary": self.boundary} if self.boundary else {}
        with translated(self.clients.call("iam:CreateUser and iam:TagUser")):
            try:
                made = self.clients.iam.create_user(Path=self.path, UserName=self.name, Tags=tags, **boundary)["User"]
            except ClientError as error:
                if code_of(error) != "EntityAlreadyExists":
                    raise
                return None, request_id_of(error.response)
        if not self.path_is_stamp:  # AWS has taken all of it
            return replace(_user(made), tags=wanted, boundary=self.boundary), ""
        user = _user(made)
        if not user.tags and not self._is_stamped(user):
            self._tag(wanted)
        return replace(user, tags=wanted), ""

    def _bind(self, boundary: str) -> None:
        with translated(self.clients.call("iam:PutUserPermissionsBoundary")):
            self.clients.iam.put_user_permissions_boundary(UserName=self.name, PermissionsBoundary=boundary)

    def _tag(self, tags: Mapping[str, str]) -> None:
        with translated(self.clients.call("iam:TagUser")):
            self.clients.iam.tag_user(UserName=self.name, Tags=[{"Key": k, "Value": v} for k, v in tags.items()])

    def _create_key(self) -> tuple[AccessKeys | None, str]:
        """A new key; None where the user has as many as it may have, with the id of the request that told so."""
        with translated(self.clients.call("iam:CreateAccessKey")):
            try:
                made = self.clients.iam.create_access_key(UserName=self.name)["AccessKey"]
            except ClientError as error:
                if code_of(error) != "LimitExceeded":
                    raise
                return None, request_id_of(error.response)
        keys = AccessKeys(access_key_id=made["AccessKeyId"], secret_access_key=SecretStr(made["SecretAccessKey"]))
        return keys, ""

    def _delete_key(self, access_key_id: str) -> None:
        with translated(self.clients.call("iam:DeleteAccessKey")), tolerated(_GONE):
            self.clients.iam.delete_access_key(UserName=self.name, AccessKeyId=access_key_id)

    def _delete_policy(self, name: str) -> None:
        with translated(self.clients.call("iam:DeleteUserPolicy")), tolerated(_GONE):
            self.clients.iam.delete_user_policy(UserName=self.name, PolicyName=name)

    def _delete_user(self) -> None:
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

    def _remove_managed_policy(self) -> None:
        """Removes the policy that the Go provisioner made for this claim.

        IAM removes no policy that is attached to others too: then an administrator decides.
        """
        with translated(self.clients.call("iam:DeletePolicy")), tolerated(_GONE):
            self.clients.iam.delete_policy(PolicyArn=self.managed_policy)

    def _detach(self, arn: str) -> None:
        with translated(self.clients.call("iam:DetachUserPolicy")), tolerated(_GONE):
            self.clients.iam.detach_user_policy(UserName=self.name, PolicyArn=arn)


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
