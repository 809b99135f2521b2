"""IAM and STS of one account, in memory: slow to tell S3, strict about limits, and throttled.

Part of `RegionalS3`, which asks it whether a key may list a bucket. Time is a test's own. Each behaviour names its
source; an action that the provisioner does not send is refused.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Answer = tuple[int, dict[str, str], str]

_MADE = "AKIAFAKE"
_MOST_KEYS = 2
_LONGEST_POLICY = 2048
_OF_OTHERS = {
    "ListGroupsForUser": "Groups",
    "ListMFADevices": "MFADevices",
    "ListSSHPublicKeys": "SSHPublicKeys",
    "ListServiceSpecificCredentials": "ServiceSpecificCredentials",
    "ListSigningCertificates": "Certificates",
}
"""What nobody has put on a user here, by the request that lists it."""
_STATUS = {"NoSuchEntity": 404, "EntityAlreadyExists": 409, "DeleteConflict": 409, "LimitExceeded": 409}
_REQUEST_ID = "6a4a1a3e-0000-4000-8000-4442587fb7d0"


class IamRefusal(Exception):
    """An answer that is no success.

    Args:
        code: IAM's own.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(kw_only=True)
class Key:
    """An access key.

    Attributes:
        user: whose it is.
        made: when.
        is_session: temporary credentials, which outlive the key that they were got with. Source:
            https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html.
        status: `Active` or `Inactive`.
    """

    user: str
    made: float
    is_session: bool = False
    status: str = "Active"


@dataclass(kw_only=True)
class FakeUser:
    """A user.

    Attributes:
        arn: its ARN.
        tags: on it.
        boundary: ARN of its permissions boundary; "" for none.
        policies: its inline policies, each with the time since when S3 goes by it.
        attached: ARNs of managed policies.
        made: when.
    """

    arn: str
    tags: dict[str, str]
    boundary: str = ""
    policies: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)
    attached: list[str] = field(default_factory=list)
    made: float = 0.0


class FakeIam:
    """IAM and STS.

    Attributes:
        account: number of the account.
        users: by name.
        keys: by id.
        keys_after: seconds until S3 knows a new key, 0 to some minutes. Source:
            https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency,
            https://github.com/hashicorp/vault/issues/8413.
        policies_after: seconds until S3 goes by a new policy. Source: https://github.com/aws/aws-sdk-js/issues/850.
        users_after: seconds until GetUser finds a new user. Source: the same page of IAM's.
        per_second: requests that are answered, with a burst of as many; 0 for no limit. The rest is refused as
            `Throttling`, with status 400 and no `Retry-After`. Source:
            https://github.com/cloud-custodian/cloud-custodian/issues/6351.
        actions: the name of each request that was answered.
        throttled: how many were refused.
        sts_is_away: STS answers nobody, as in a network without a way to it.
        newest_key: id of the key that was made last.
    """

    def __init__(self, account: str, clock: Callable[[], float]) -> None:
        self.account = account
        self.clock = clock
        self.users: dict[str, FakeUser] = {}
        self.keys: dict[str, Key] = {}
        self.keys_after = self.policies_after = self.users_after = self.per_second = 0.0
        self.actions: list[str] = []
        self.throttled = 0
        self.sts_is_away = False
        self.newest_key = ""
        self._tokens, self._filled = 0.0, clock()

    def answer(self, body: bytes, caller: str = "") -> Answer:
        """Answers a request of the query protocol.

        Args:
            body: of the request.
            caller: id of the key that it is signed with.
        """
        given = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        action = given["Action"]
        if not self._takes_one_more():
            self.throttled += 1
            return _refused("Throttling", 400)
        self.actions.append(action)
        try:
            content = self._actions()[action]({**given, "caller": caller})
        except IamRefusal as refusal:
            return _refused(refusal.code, _STATUS.get(refusal.code, 400))
        return 200, {"x-amzn-requestid": _REQUEST_ID}, _document(action, content)

    def refuses(
        self, key_id: str, bucket: str, account: str, *, action: str = "s3:ListBucket", object_key: str = ""
    ) -> str:
        """The code with which S3 refuses this key an action on a bucket of `account`; "" where it does not.

        Args:
            key_id: of an access key.
            bucket: its name.
            account: whose bucket it is.
            action: as policies name it.
            object_key: of an object in it; empty for the bucket itself.
        """
        key = self.keys.get(key_id)
        if key is None or key.status != "Active" or self.clock() < key.made + self.keys_after:
            return "InvalidAccessKeyId"
        user = self.users.get(key.user)
        known = user.policies.values() if user else ()
        statements = [s for since, document in known if since <= self.clock() for s in document["Statement"]]
        resource = f"arn:aws:s3:::{bucket}" + (f"/{object_key}" if object_key else "")
        said = {one["Effect"] for one in statements if _concerns(one, action, resource) and _applies(one, account, key)}
        return "" if said == {"Allow"} else "AccessDenied"

    def has_made(self, key_id: str) -> bool:
        """Whether this key is, or was, a user's, and not an administrator's."""
        return key_id.startswith(_MADE)

    def _get_session_token(self, given: dict[str, str]) -> str:
        session = self.get_session(given["caller"])
        keys = f"<AccessKeyId>{session}</AccessKeyId><SecretAccessKey>{secret_of(session)}</SecretAccessKey>"
        return f"<Credentials>{keys}<SessionToken>token</SessionToken></Credentials>"

    def get_session(self, key_id: str) -> str:
        """The id of temporary credentials, as everyone who holds a key gets them."""
        assert self.keys[key_id].status == "Active"
        session = f"{_MADE}SESSION{len(self.keys):09}"
        self.keys[session] = Key(user=self.keys[key_id].user, made=self.clock() - self.keys_after, is_session=True)
        return session

    def _takes_one_more(self) -> bool:
        if not self.per_second:
            return True
        now = self.clock()
        self._tokens = min(self.per_second, self._tokens + (now - self._filled) * self.per_second)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _actions(self) -> dict[str, Callable[[dict[str, str]], str]]:
        return {
            "CreateUser": self._create_user,
            "GetUser": self._get_user,
            "TagUser": self._tag_user,
            "UntagUser": self._untag_user,
            "PutUserPermissionsBoundary": self._put_boundary,
            "PutUserPolicy": self._put_policy,
            "GetUserPolicy": self._get_policy,
            "ListUserPolicies": lambda given: _listed("PolicyNames", list(self._user(given).policies)),
            "DeleteUserPolicy": self._delete_policy,
            "ListAttachedUserPolicies": self._list_attached,
            "CreateAccessKey": self._create_key,
            "ListAccessKeys": self._list_keys,
            "DeleteAccessKey": self._delete_key,
            "DeleteUser": self._delete_user,
            **dict.fromkeys(_OF_OTHERS, self._list_of_others),
            "GetLoginProfile": self._get_login_profile,
            "GetSessionToken": self._get_session_token,
            "GetCallerIdentity": lambda _: f"<Account>{self.account}</Account>",
        }

    def _get_user(self, given: dict[str, str]) -> str:
        return _user_xml(given["UserName"], self._user(given))

    def _user(self, given: dict[str, str]) -> FakeUser:
        name = given["UserName"]
        if name not in self.users or self.clock() < self.users[name].made + self.users_after:
            raise IamRefusal("NoSuchEntity")
        return self.users[name]

    def _create_user(self, given: dict[str, str]) -> str:
        name, tags = given["UserName"], _tags(given)
        if name in self.users:
            raise IamRefusal("EntityAlreadyExists")
        # https://github.com/kubernetes/kops/issues/11727
        if len({key.casefold() for key in tags}) < len(tags):
            raise IamRefusal("InvalidInput")
        arn = f"arn:aws:iam::{self.account}:user{given['Path']}{name}"
        boundary = given.get("PermissionsBoundary", "")
        self.users[name] = FakeUser(arn=arn, tags=tags, boundary=boundary, made=self.clock())
        return _user_xml(name, self.users[name])

    def _tag_user(self, given: dict[str, str]) -> str:
        self._user(given).tags.update(_tags(given))
        return ""

    def _untag_user(self, given: dict[str, str]) -> str:
        user = self._user(given)
        for key in _members(given, "TagKeys"):
            user.tags.pop(key, None)
        return ""

    def _put_boundary(self, given: dict[str, str]) -> str:
        self._user(given).boundary = given["PermissionsBoundary"]
        return ""

    def _put_policy(self, given: dict[str, str]) -> str:
        user = self.users.get(given["UserName"])
        if user is None:
            raise IamRefusal("NoSuchEntity")
        name, text = given["PolicyName"], given["PolicyDocument"]
        others = [json.dumps(document) for key, (_, document) in user.policies.items() if key != name]
        # Of all inline policies, without white space: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
        if len("".join("".join([text, *others]).split())) > _LONGEST_POLICY:
            raise IamRefusal("LimitExceeded")
        user.policies[name] = self.clock() + self.policies_after, json.loads(text)
        return ""

    def _get_policy(self, given: dict[str, str]) -> str:
        found = self._user(given).policies.get(given["PolicyName"])
        if found is None:
            raise IamRefusal("NoSuchEntity")
        return f"<PolicyDocument>{quote(json.dumps(found[1]))}</PolicyDocument>"

    def _delete_policy(self, given: dict[str, str]) -> str:
        if self._user(given).policies.pop(given["PolicyName"], None) is None:
            raise IamRefusal("NoSuchEntity")
        return ""

    def _list_attached(self, given: dict[str, str]) -> str:
        attached = "".join(f"<member><PolicyArn>{arn}</PolicyArn></member>" for arn in self._user(given).attached)
        return f"<AttachedPolicies>{attached}</AttachedPolicies><IsTruncated>false</IsTruncated>"

    def _create_key(self, given: dict[str, str]) -> str:
        name = given["UserName"]
        if name not in self.users:
            raise IamRefusal("NoSuchEntity")
        if len(list(self._keys_of(name))) >= _MOST_KEYS:
            raise IamRefusal("LimitExceeded")
        key_id = f"{_MADE}{len(self.actions):016}"
        self.keys[key_id] = Key(user=name, made=self.clock())
        self.newest_key = key_id
        secret = f"<SecretAccessKey>{secret_of(key_id)}</SecretAccessKey>"
        return f"<AccessKey><AccessKeyId>{key_id}</AccessKeyId>{secret}</AccessKey>"

    def _list_keys(self, given: dict[str, str]) -> str:
        self._user(given)
        keys = "".join(
            f"<member><AccessKeyId>{key_id}</AccessKeyId><Status>{self.keys[key_id].status}</Status></member>"
            for key_id in self._keys_of(given["UserName"])
        )
        return f"<AccessKeyMetadata>{keys}</AccessKeyMetadata><IsTruncated>false</IsTruncated>"

    def _delete_key(self, given: dict[str, str]) -> str:
        if self.keys.pop(given["AccessKeyId"], None) is None:
            raise IamRefusal("NoSuchEntity")
        return ""

    def _delete_user(self, given: dict[str, str]) -> str:
        user, name = self._user(given), given["UserName"]
        # https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteUser.html
        if user.policies or user.attached or list(self._keys_of(name)):
            raise IamRefusal("DeleteConflict")
        del self.users[name]
        return ""

    def _list_of_others(self, given: dict[str, str]) -> str:
        self._user(given)
        return f"<{_OF_OTHERS[given['Action']]}/><IsTruncated>false</IsTruncated>"

    def _get_login_profile(self, given: dict[str, str]) -> str:
        self._user(given)
        raise IamRefusal("NoSuchEntity")

    def _keys_of(self, user: str) -> Iterator[str]:
        return (key_id for key_id, key in self.keys.items() if key.user == user and not key.is_session)


def secret_of(key_id: str) -> str:
    """The secret of a key that was made here."""
    return f"secret-of-{key_id}"


def _concerns(statement: dict[str, Any], action: str, resource: str) -> bool:
    return _matches(statement["Action"], action) and _matches(statement["Resource"], resource)


def _matches(patterns: str | list[str], name: str) -> bool:
    """Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html."""
    return any(fnmatchcase(name, each) for each in ([patterns] if isinstance(patterns, str) else patterns))


def _applies(statement: dict[str, Any], account: str, key: Key) -> bool:
    """Whether the conditions hold. Source: IAM's reference_policies_elements_condition_operators.html."""
    for operator, wanted in statement.get("Condition", {}).items():
        (name, value), *_ = wanted.items()
        match operator, name:
            case "StringNotEquals", "aws:ResourceAccount":
                holds = account != value
            case "Null", "aws:TokenIssueTime":
                holds = key.is_session is (value == "false")
            case _:
                raise NotImplementedError(f"{operator} of {name}")
        if not holds:
            return False
    return True


def _tags(given: dict[str, str]) -> dict[str, str]:
    keys, values = _members(given, "Tags", ".Key"), _members(given, "Tags", ".Value")
    return dict(zip(keys, values, strict=True))


def _members(given: dict[str, str], name: str, part: str = "") -> list[str]:
    form = re.compile(rf"{name}\.member\.\d+{re.escape(part)}")
    return [value for key, value in given.items() if form.fullmatch(key)]


def _user_xml(name: str, user: FakeUser) -> str:
    tags = "".join(f"<member><Key>{escape(k)}</Key><Value>{escape(v)}</Value></member>" for k, v in user.tags.items())
    boundary = (
        f"<PermissionsBoundary><PermissionsBoundaryArn>{user.boundary}</PermissionsBoundaryArn></PermissionsBoundary>"
    )
    bound = boundary if user.boundary else ""
    path = f"<Path>{user.arn.partition(':user')[2].removesuffix(name)}</Path>"
    named = f"{path}<UserName>{name}</UserName><UserId>AIDA{name.upper()}</UserId>"
    return f"<User>{named}<Arn>{user.arn}</Arn><Tags>{tags}</Tags>{bound}</User>"


def _listed(what: str, names: list[str]) -> str:
    return f"<{what}>{''.join(f'<member>{name}</member>' for name in names)}</{what}><IsTruncated>false</IsTruncated>"


def _document(action: str, content: str) -> str:
    return (
        f"<{action}Response><{action}Result>{content}</{action}Result>"
        f"<ResponseMetadata><RequestId>{_REQUEST_ID}</RequestId></ResponseMetadata></{action}Response>"
    )


def _refused(code: str, status: int) -> Answer:
    body = (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error>"
        f"<RequestId>{_REQUEST_ID}</RequestId></ErrorResponse>"
    )
    return status, {"x-amzn-requestid": _REQUEST_ID}, body
