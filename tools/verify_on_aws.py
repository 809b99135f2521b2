"""Asks a real AWS account the questions that no emulator answers, and prints what it says beside what is expected.

Run once, with credentials of an account, as `docs/first-hour-on-aws.md` says. Makes buckets, users and keys whose names
begin with `libbucket-verify-`, and removes them in the end, whatever happens. Uses the SDK, and of this repository the
policy of a claim's user only. It refuses to run in an account that is not named on the command line.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from aws_s3_provisioner.policy import Scope, build_access, written
from questions import Check, ask_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Sleep = Callable[[float], None]

_PREFIX: Final = "libbucket-verify-"
_PATH: Final = "/objectbucket/"
_WORKS: Final = "works"
_OPTIONS: Final[Any] = {
    "connect_timeout": 5,
    "read_timeout": 20,
    "retries": {"total_max_attempts": 1},
    "s3": {"us_east_1_regional_endpoint": "regional"},
}


@dataclass(kw_only=True)
class Account:
    """The account under test, and what the checks have made in it.

    Attributes:
        number: of the account.
        region: other than us-east-1.
        closed_region: that the account has not enabled; "" for none.
        repeats: of what is counted.
        patience: seconds that a key or a policy is waited for.
        sleep: waits.
        buckets: made, by name, with their regions.
        users: made.
    """

    number: str
    region: str
    closed_region: str
    repeats: int
    patience: float
    sleep: Sleep = time.sleep
    session: Session = field(default_factory=Session)
    buckets: dict[str, str] = field(default_factory=dict)
    users: list[str] = field(default_factory=list)

    def client(self, service: str, region: str = "", keys: dict[str, str] | None = None) -> Any:
        """A client that tries each request once, with the caller's credentials or a user's."""
        options: Any = (
            {"aws_access_key_id": keys["AccessKeyId"], "aws_secret_access_key": keys["SecretAccessKey"]} if keys else {}
        )
        if keys and "SessionToken" in keys:
            options["aws_session_token"] = keys["SessionToken"]
        return self.session.create_client(
            service, region_name=region or self.region, config=Config(**_OPTIONS), **options
        )

    def new_name(self) -> str:
        """A name that nobody has."""
        return f"{_PREFIX}{secrets.token_hex(8)}"

    def make_bucket(self, name: str, region: str, tag: str) -> None:
        """As the provisioner does: with its tags, and with a location where the region has a name."""
        configuration: Any = {"Tags": [{"Key": "verify", "Value": tag}]}
        if region != "us-east-1":
            configuration["LocationConstraint"] = region
        self.client("s3", region).create_bucket(Bucket=name, CreateBucketConfiguration=configuration)
        self.buckets[name] = region

    def make_user(self) -> tuple[str, dict[str, str]]:
        """A user with a key, and no policy."""
        name, iam = self.new_name(), self.client("iam")
        iam.create_user(UserName=name, Path=_PATH)
        self.users.append(name)
        return name, iam.create_access_key(UserName=name)["AccessKey"]

    def limit(self, user: str, bucket: str, *, allows_sessions: bool = False) -> None:
        """Gives a user the policy that a claim's user gets."""
        partition = self.session.get_partition_for_region(self.region)
        scope = Scope(bucket_arn=f"arn:{partition}:s3:::{bucket}", account=self.number, allows_sessions=allows_sessions)
        document = written(build_access(scope, template=None))
        self.client("iam").put_user_policy(UserName=user, PolicyName="objectbucket", PolicyDocument=document)

    def clean_up(self) -> list[str]:
        """Removes everything; gives what is left."""
        left = [f"bucket {name}" for name, region in self.buckets.items() if not self._is_removed(name, region)]
        return left + [f"user {name}" for name in self.users if not self._is_without_user(name)]

    def _is_removed(self, name: str, region: str) -> bool:
        s3 = self.client("s3", region)
        with suppress(ClientError, BotoCoreError):
            for version in s3.list_object_versions(Bucket=name).get("Versions", []):
                s3.delete_object(Bucket=name, Key=version["Key"], VersionId=version["VersionId"])
        return answer_of(lambda: s3.delete_bucket(Bucket=name)) in {_WORKS, "NoSuchBucket"}

    def _is_without_user(self, name: str) -> bool:
        iam = self.client("iam")
        with suppress(ClientError, BotoCoreError):
            for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
                iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        with suppress(ClientError, BotoCoreError):
            iam.delete_user_policy(UserName=name, PolicyName="objectbucket")
        return answer_of(lambda: iam.delete_user(UserName=name)) in {_WORKS, "NoSuchEntity"}


def answer_of(call: Callable[[], object]) -> str:
    """`works`, or the code of the refusal."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    except BotoCoreError as error:
        return type(error).__name__
    return _WORKS


def _user_of_nobody(account: Account) -> str:
    return answer_of(lambda: account.client("iam").get_user(UserName=f"obc-{account.new_name()}"))


def _bucket_of_nobody(account: Account) -> str:
    return answer_of(lambda: account.client("s3").get_bucket_tagging(Bucket=account.new_name()))


def _new_bucket(region: str) -> Callable[[Account], str]:
    return lambda account: answer_of(lambda: account.make_bucket(account.new_name(), region or account.region, "first"))


def _second_creation(account: Account) -> str:
    name = account.new_name()
    account.make_bucket(name, "us-east-1", "first")
    second = answer_of(lambda: account.make_bucket(name, "us-east-1", "second"))
    account.sleep(5)
    tags = account.client("s3", "us-east-1").get_bucket_tagging(Bucket=name)["TagSet"]
    return f"{second}, tags of the {tags[0]['Value']} creation"


def _tags_at_once(account: Account) -> str:
    answers = []
    for _ in range(account.repeats):
        name = account.new_name()
        account.make_bucket(name, "us-east-1", "first")
        s3 = account.client("s3", "us-east-1")
        answers.append(answer_of(lambda s3=s3, name=name: s3.get_bucket_tagging(Bucket=name)))  # type: ignore[misc]
    refused = sorted(set(answers) - {_WORKS})
    return f"{answers.count(_WORKS)} of {len(answers)} work" + (
        f", the others: {', '.join(refused)}" if refused else ""
    )


def _wrong_owner(account: Account) -> str:
    name = account.new_name()
    account.make_bucket(name, account.region, "first")
    s3 = account.client("s3")
    return answer_of(lambda: s3.get_bucket_tagging(Bucket=name, ExpectedBucketOwner="999999999999"))


def _key_spreads(region: str) -> Callable[[Account], str]:
    return lambda account: _spreads(account, region or account.region)


def _spreads(account: Account, region: str) -> str:
    bucket = account.new_name()
    account.make_bucket(bucket, region, "first")
    user, keys = account.make_user()
    account.limit(user, bucket)
    began = time.monotonic()
    answers: list[tuple[float, str]] = []
    while time.monotonic() - began < account.patience:
        s3 = account.client("s3", region, keys)
        answers.append((time.monotonic() - began, answer_of(lambda s3=s3: s3.list_objects_v2(Bucket=bucket))))  # type: ignore[misc]
        if [answer for _, answer in answers[-10:]] == [_WORKS] * 10:
            break
        account.sleep(1)
    works = [at for at, answer in answers if answer == _WORKS]
    if not works:
        return f"never within {account.patience:.0f} s: {answers[-1][1]}"
    refused = [at for at, answer in answers if answer != _WORKS]
    return f"works after {works[0]:.0f} s, last refusal after {max(refused, default=0):.0f} s"


def _session(*, allowed: bool) -> Callable[[Account], str]:
    def ask(account: Account) -> str:
        bucket = account.new_name()
        account.make_bucket(bucket, account.region, "first")
        user, keys = account.make_user()
        account.limit(user, bucket, allows_sessions=allowed)
        account.sleep(20)
        session = account.client("sts", keys=keys).get_session_token()["Credentials"]
        s3, own = account.client("s3", keys=session), account.client("s3", keys=keys)
        listed = answer_of(lambda: s3.list_objects_v2(Bucket=bucket))
        return f"{listed}; with the key itself: {answer_of(lambda: own.list_objects_v2(Bucket=bucket))}"

    return ask


def _odd_name(account: Account) -> str:
    bucket, s3 = account.new_name(), account.client("s3")
    account.make_bucket(bucket, account.region, "first")
    s3.put_object(Bucket=bucket, Key="a\x01b", Body=b"x")
    (found,) = s3.list_object_versions(Bucket=bucket)["Versions"]
    return answer_of(lambda: s3.delete_object(Bucket=bucket, Key=found["Key"], VersionId=found["VersionId"]))


def _acl(account: Account) -> str:
    bucket = account.new_name()
    account.make_bucket(bucket, account.region, "first")
    user, keys = account.make_user()
    account.limit(user, bucket)
    account.sleep(20)
    s3 = account.client("s3", keys=keys)
    return answer_of(lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="bucket-owner-full-control"))


def _long_policy(account: Account) -> str:
    user, _ = account.make_user()
    actions = [f"s3:{chr(97 + n) * 60}" for n in range(26)] * 2
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    text = written({"Version": "2012-10-17", "Statement": [statement]})
    iam = account.client("iam")
    return answer_of(lambda: iam.put_user_policy(UserName=user, PolicyName="objectbucket", PolicyDocument=text))


def _tags_by_case(account: Account) -> str:
    name = account.new_name()
    account.users.append(name)
    tags = [{"Key": "Team", "Value": "a"}, {"Key": "team", "Value": "b"}]
    return answer_of(lambda: account.client("iam").create_user(UserName=name, Path=_PATH, Tags=tags))


def _name_anew(account: Account) -> str:
    name, s3 = account.new_name(), account.client("s3")
    account.make_bucket(name, account.region, "first")
    s3.delete_bucket(Bucket=name)
    return answer_of(lambda: account.make_bucket(name, account.region, "second"))


def _closed_region(account: Account) -> str:
    if not account.closed_region:
        return "not asked: --closed-region"
    return answer_of(lambda: account.client("s3", account.closed_region).get_bucket_tagging(Bucket=account.new_name()))


def _burst(account: Account) -> str:
    iam = account.client("iam")
    began = time.monotonic()
    answers = [answer_of(lambda: iam.get_user(UserName="obc-nobody")) for _ in range(account.repeats * 4)]
    rate = len(answers) / max(time.monotonic() - began, 0.001)
    return f"{answers.count('Throttling')} throttled of {len(answers)} at {rate:.0f} a second"


CHECKS: Final[tuple[Check[Account], ...]] = (
    Check(what="GetUser of a user that nobody has", expected=("NoSuchEntity",), ask=_user_of_nobody),
    Check(what="GetBucketTagging of a name that nobody has", expected=("NoSuchBucket",), ask=_bucket_of_nobody),
    Check(what="CreateBucket with tags, us-east-1", expected=(_WORKS, "MalformedXML"), ask=_new_bucket("us-east-1")),
    Check(what="CreateBucket with tags, --region", expected=(_WORKS, "UnsupportedArgument"), ask=_new_bucket("")),
    Check(
        what="CreateBucket twice with other tags, us-east-1",
        expected=("works, tags of the first", "BucketAlreadyOwnedByYou, tags of the first"),
        ask=_second_creation,
    ),
    Check(what="GetBucketTagging immediately after CreateBucket, us-east-1", expected=("",), ask=_tags_at_once),
    Check(what="GetBucketTagging, another owner expected", expected=("AccessDenied",), ask=_wrong_owner),
    Check(what="CreateBucket immediately after DeleteBucket", expected=(_WORKS, "OperationAborted"), ask=_name_anew),
    Check(what="seconds until a new key works, us-east-1", expected=("works",), ask=_key_spreads("us-east-1")),
    Check(what="seconds until a new key works, --region", expected=("works",), ask=_key_spreads("")),
    Check(
        what="temporary credentials of a claim's user",
        expected=("AccessDenied; with the key itself: works",),
        ask=_session(allowed=False),
    ),
    Check(
        what="the same with allowSessions",
        expected=("works; with the key itself: works",),
        ask=_session(allowed=True),
    ),
    Check(what="DeleteObject of a name that XML can't hold", expected=(_WORKS,), ask=_odd_name),
    Check(what="PutObject with an ACL by a claim's user", expected=("AccessDenied", _WORKS), ask=_acl),
    Check(what="PutUserPolicy beyond 2,048 characters", expected=("LimitExceeded",), ask=_long_policy),
    Check(what="CreateUser with tags that differ in case", expected=("InvalidInput",), ask=_tags_by_case),
    Check(
        what="GetBucketTagging in a region that is not enabled",
        expected=("not asked", "InvalidToken", "InvalidAccessKeyId"),
        ask=_closed_region,
    ),
    Check(what="GetUser many times", expected=("",), ask=_burst),
)


def run(account: Account, tell: Callable[[str], None] = print) -> bool:
    """Asks everything; gives whether all answers were expected and nothing is left.

    Args:
        account: whose number was named.
        tell: prints a line.
    """
    return ask_all(CHECKS, account, _asked, tell=tell, width=55)


def _asked(check: Check[Account], account: Account) -> str:
    try:
        return check.ask(account)
    except ClientError as error:
        return f"{error.operation_name}: {error.response['Error']['Code']}"
    except BotoCoreError as error:
        return type(error).__name__


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the command line and runs the checks: 0 where all is as expected."""
    parser = argparse.ArgumentParser(prog="verify_on_aws", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--account", required=True, help="number of the account: 12 digits")
    parser.add_argument("--region", default="eu-central-1", help="a region other than us-east-1")
    parser.add_argument("--closed-region", default="", help="a region that the account has not enabled")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--patience", type=float, default=180.0, help="seconds that a key is waited for")
    given = parser.parse_args(arguments)
    account = Account(
        number=given.account,
        region=given.region,
        closed_region=given.closed_region,
        repeats=given.repeats,
        patience=given.patience,
    )
    found = account.client("sts").get_caller_identity()["Account"]
    if found != given.account:
        sys.stderr.write(f"these are credentials of account {found}, not of {given.account}: nothing was done\n")
        return 2
    return 0 if run(account) else 1


if __name__ == "__main__":
    sys.exit(main())
