"""The IAM user of one claim: whose it is, its one policy, its access keys, and how all of that ends.

Used by `provisioner`, as the administrator; the calls are in `users`. Knows nothing of buckets but their ARNs in policy
documents. A user that does not carry the claim's ownership tags is never touched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from aws_s3_provisioner.policy import is_same
from aws_s3_provisioner.users import IamUser, NewUser, User, delete_managed_policy
from libbucket import AccessDenied, AccessKeys, NotReady, Reason, RetrySlowly, StoreRefused, has_ownership_tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aws_s3_provisioner.client import Clients
    from aws_s3_provisioner.policy import Document
    from aws_s3_provisioner.request_ids import Answered
    from libbucket import Owner

_POLICY_NAME: Final = "objectbucket"
_INTENT: Final = "objectbucket_being_made"
"""Tag of a user whose claim's bucket was about to be made, with the bucket's name."""
_INTENT_POLICY: Final = "objectbucket-being-made"
"""The same for a user that has no tags."""


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
        path_is_stamp: the last part of the path is this claim's alone, and says whose a user without tags is: some
            stores keep no tags.
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
        known = self._find().value if self.is_recorded or self.taken_over else None
        made = None if known else self._create().value
        found = known or made or self._found()
        is_stamped, is_unmarked = self._is_stamped(found), self._is_unmarked(found)
        if not is_unmarked and not self._is_ours(found):
            raise RetrySlowly(
                f"IAM has a user {self.name} that was not made for this claim: it stays as it is; remove it manually",
                reason=Reason.ACCESS_DENIED,
            )
        if is_unmarked:
            self._iam.tag({**self.tags, **self.owner.ownership_tags()})
        elif not is_stamped and not has_ownership_tags(found.tags):
            self._iam.tag(self.owner.ownership_tags())
        if is_stamped:
            self._iam.delete_policy(_INTENT_POLICY)
        if _INTENT in found.tags:
            self.withdraw_intent()
        # A boundary that the class does not name may be the organisation's: it stays.
        is_bound_anew = bool(self.boundary) and found.boundary != self.boundary
        if is_bound_anew:
            self._iam.bind(self.boundary)
        return Ensured(user=found, is_new=made is not None, is_bound_anew=is_bound_anew)

    def further_policies(self) -> list[str]:
        """Names of policies that the user has beside those that the provisioner wrote."""
        return [each for each in self._iam.policies() if each not in {_POLICY_NAME, self.managed_policy}]

    def is_limited(self, document: Document) -> bool:
        """Whether the one policy of the user is this one."""
        return is_same(self._iam.policy(_POLICY_NAME), document)

    def limit(self, document: Document) -> None:
        """Writes the one policy of the user; replaces what was there."""
        self._iam.put_policy(_POLICY_NAME, document)

    def _intent(self, bucket: str) -> Document:
        """A policy that only tells the name of a bucket: no claim's user makes buckets anyway."""
        deny = {"Effect": "Deny", "Action": "s3:CreateBucket", "Resource": self.clients.bucket_arn(bucket)}
        return {"Version": "2012-10-17", "Statement": [deny]}

    def keys(self) -> Answered[dict[str, str]]:
        """Ids of all keys of the user, each with its status, `Active` or `Inactive`."""
        return self._iam.keys()

    def _check_gone(self) -> None:
        """Makes sure that a user that IAM did not find keeps no key: a part of IAM may not know it for a moment.

        Raises:
            NotReady: IAM lists some.
        """
        keys = self.keys()
        if keys.value:
            raise NotReady(
                f"IAM lists access keys of user {self.name}, and does not find it", delay=5, request_id=keys.request_id
            )

    def create_keys(self, *, spared: str = "") -> AccessKeys:
        """Makes a key beside the one that is spared.

        Others are left by a crash between making one and storing it, and by a request that was sent again because its
        answer was lost. A user can have two keys, so that they have to go first only where there are two of them.

        Raises:
            NotReady: another replica was making one at the same time.
        """
        made = self._iam.create_key()
        if made.value is None:
            self.delete_keys(self.keys().value.keys() - {spared})
            made = self._iam.create_key()
        if made.value is None:
            raise NotReady(f"user {self.name} received other keys concurrently", delay=1, request_id=made.request_id)
        return made.value

    def delete_keys(self, access_key_ids: Iterable[str]) -> None:
        """Removes keys of the user; those that are gone are fine."""
        for one in access_key_ids:
            self._iam.delete_key(one)

    def declare_intent(self, bucket: str) -> None:
        """Notes on the user that this claim is about to make `bucket`: in a tag, or in a policy where it has none."""
        try:
            self._iam.tag({_INTENT: bucket})
        except StoreRefused:
            if not self.path_is_stamp:
                raise
            self._iam.put_policy(_INTENT_POLICY, self._intent(bucket))

    def has_declared_intent(self, bucket: str) -> bool:
        """Whether that note is there: a creation began and did not end."""
        found = self._find().value
        if found is None or not (self._is_stamped(found) or self.owner.matches(found.tags)):
            return False
        is_noted = found.tags.get(_INTENT) == bucket
        return is_noted or (self._is_stamped(found) and is_same(self._iam.policy(_INTENT_POLICY), self._intent(bucket)))

    def withdraw_intent(self) -> None:
        """Removes the note; a user that is gone has none."""
        try:
            self._iam.untag(_INTENT)
        except StoreRefused:
            if not self.path_is_stamp:
                raise
            self._iam.delete_policy(_INTENT_POLICY)

    def withdraw(self, *, is_expected: bool = False) -> None:
        """Removes the keys, then the policies, then the user.

        Args:
            is_expected: the user was made moments ago: that IAM does not find it means nothing yet.

        Raises:
            NotReady: IAM still knows the user, or does not know it yet.
            UserInUse: something that was added to the user has to be removed manually; the keys and policies are gone.
        """
        answer = self._find()
        found = answer.value
        if found is None and is_expected:
            raise NotReady(
                f"IAM does not find user {self.name}, which was made moments ago",
                delay=5,
                request_id=answer.request_id,
            )
        if found is None:
            self._check_gone()
        elif not self._is_ours(found) and not self._is_unmarked(found):
            self._check_tags(found)
            return
        else:
            self.delete_keys(self.keys().value)
            self._iam.delete_policy(_POLICY_NAME)
            if self.managed_policy:
                self._iam.detach(self.managed_policy)
            self._iam.delete()
            self._check_removed()
        if self.managed_policy:
            delete_managed_policy(self.clients, self.managed_policy)

    def _check_removed(self) -> None:
        """Makes sure that a user that was removed is gone.

        Raises:
            NotReady: a part of IAM still finds it.
        """
        answer = self._find()
        if answer.value is not None:
            raise NotReady(
                f"IAM still lists user {self.name}, which was removed", delay=1, request_id=answer.request_id
            )

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
            return self._iam.policy(_POLICY_NAME) is not None
        except AccessDenied:  # what may not read it has not written it
            return False

    def _is_ours(self, found: User) -> bool:
        return self._is_stamped(found) or self.owner.owns(found.tags, taken_over=self.taken_over)

    def _is_stamped(self, found: User) -> bool:
        # Only the last part is the claim's: what is before it may have been edited in the class since.
        is_own = PurePosixPath(found.path).name == PurePosixPath(self.path).name
        return self.path_is_stamp and is_own and not has_ownership_tags(found.tags)

    def _is_unmarked(self, found: User) -> bool:
        """Whether it was made and not tagged yet, at a store that makes all users without tags: nobody has its key."""
        return self.path_is_stamp and found.is_bare and not found.tags and not self.keys().value

    @property
    def _iam(self) -> IamUser:
        return IamUser(clients=self.clients, name=self.name)

    def _find(self) -> Answered[User | None]:
        answer = self._iam.find()
        found = answer.value
        if found is None or not (found.is_bare and self.path_is_stamp):
            return answer
        return replace(answer, value=replace(found, tags=self._iam.listed_tags()))

    def _found(self) -> User:
        """The user, which IAM has just said to be there.

        Raises:
            NotReady: a part of IAM does not find it.
        """
        answer = self._find()
        if answer.value is None:
            raise NotReady(
                f"IAM knows user {self.name}, and does not find it everywhere yet",
                delay=2,
                request_id=answer.request_id,
            )
        return answer.value

    def _create(self) -> Answered[User | None]:
        """A new user, with its tags; None where there is one of that name."""
        wanted = {**self.tags, **self.owner.ownership_tags()}
        made = self._iam.create(NewUser(path=self.path, tags=wanted, boundary=self.boundary))
        user = made.value
        if user is None:
            return made
        if not self.path_is_stamp:  # AWS has taken all of it
            return replace(made, value=replace(user, tags=wanted, boundary=self.boundary))
        if not user.tags and not self._is_stamped(user):
            self._iam.tag(wanted)
        return replace(made, value=replace(user, tags=wanted))
