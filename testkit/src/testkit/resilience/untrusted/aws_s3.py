"""AWS S3: an application that tries IAM and STS."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from libbucket.testing.application import Refused
from testkit.aws_s3.backend import AwsApplication, AwsBackend, a_client
from testkit.resilience.untrusted.base import Peek, UntrustedApplication, nothing_of
from testkit.stores.aws_s3 import AwsStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from libbucket.testing.application import Application

_REFUSALS: Final = frozenset({"AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "403"})
_ROLE: Final = "arn:aws:iam::000000000000:role/administrators"
_EVERYTHING: Final = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
)
_HOUR: Final = 3600


class UntrustedAwsApplication(UntrustedApplication):
    """Knows its own user's name, which `sts:GetCallerIdentity` tells every caller."""

    capabilities = AwsBackend.capabilities

    def applications(self) -> Mapping[str, AwsApplication]:
        return {"boto3": self._application(self._keys)}

    def signed_urls(self, key: str) -> Mapping[str, str]:
        client = self._application(self._keys).client
        what = {"Bucket": self.bound.bucket, "Key": key}
        return {"presigned": client.generate_presigned_url("get_object", Params=what, ExpiresIn=_HOUR)}

    def peeks(self) -> Mapping[str, Peek]:
        mine, root = self._clients(self._keys), self._clients(self._root)
        user, bucket = {"UserName": self._user}, {"Bucket": self.bound.bucket}

        def peek(service: str, operation: str, **what: str) -> Peek:
            return Peek(
                attempt=lambda: _ask(mine[service], operation, what),
                control=lambda: _ask(root[service], operation, what),
            )

        return {
            "iam:ListUsers": peek("iam", "list_users"),
            "iam:GetUser": peek("iam", "get_user", **user),
            "iam:ListUserPolicies": peek("iam", "list_user_policies", **user),
            "iam:ListAttachedUserPolicies": peek("iam", "list_attached_user_policies", **user),
            "iam:ListAccessKeys": peek("iam", "list_access_keys", **user),
            "iam:ListRoles": peek("iam", "list_roles"),
            "s3:ListAllMyBuckets": peek("s3", "list_buckets"),
            "s3:GetBucketPolicy": peek("s3", "get_bucket_policy", **bucket),
            "s3:GetBucketTagging": peek("s3", "get_bucket_tagging", **bucket),
        }

    def makers(self) -> Mapping[str, Callable[[], Application | None]]:
        iam, sts = self._clients(self._keys)["iam"], self._clients(self._keys)["sts"]
        user = self._user

        def make_key() -> AwsApplication:
            made = _ask(iam, "create_access_key", {"UserName": user})["AccessKey"]
            return self._application((made["AccessKeyId"], made["SecretAccessKey"], ""))

        def widen() -> None:
            _ask(iam, "put_user_policy", {"UserName": user, "PolicyName": "more", "PolicyDocument": _EVERYTHING})

        def session(operation: str, **what: Any) -> AwsApplication:
            made = _ask(sts, operation, what)["Credentials"]
            return self._application((made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"]))

        return {
            "iam:CreateAccessKey": make_key,
            "iam:PutUserPolicy": widen,
            "iam:CreateUser": lambda: nothing_of(_ask(iam, "create_user", {"UserName": f"{user}-2"})),
            "sts:GetSessionToken": lambda: session("get_session_token"),
            "sts:GetFederationToken": lambda: session("get_federation_token", Name="more", Policy=_EVERYTHING),
            "sts:AssumeRole": lambda: session("assume_role", RoleArn=_ROLE, RoleSessionName="more"),
        }

    @property
    def _keys(self) -> tuple[str, str, str]:
        found = self.bound.environment
        return found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"], ""

    @property
    def _root(self) -> tuple[str, str, str]:
        assert isinstance(self.store, AwsStore)
        return self.store.server.access_key, self.store.server.secret_key, ""

    @property
    def _user(self) -> str:
        return self.bound.state["UserName"]

    def _application(self, keys: tuple[str, str, str]) -> AwsApplication:
        found = self.bound.environment
        url, region = found["BUCKET_ENDPOINT"], found["BUCKET_REGION"]
        made = AwsApplication(url=url, access_key=keys[0], secret_key=keys[1], region=region)
        if keys[2]:
            made.client = self._client("s3", keys)
        return made

    def _clients(self, keys: tuple[str, str, str]) -> dict[str, Any]:
        return {service: self._client(service, keys) for service in ("s3", "iam", "sts")}

    def _client(self, service: str, keys: tuple[str, str, str]) -> Any:
        found = self.bound.environment
        url, region = found["BUCKET_ENDPOINT"], found["BUCKET_REGION"]
        return a_client(service, url=url, access_key=keys[0], secret_key=keys[1], token=keys[2], region=region)


def _ask(client: Any, operation: str, what: Mapping[str, Any]) -> Any:
    with _refusals():
        return getattr(client, operation)(**what)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _REFUSALS:
            raise Refused(code) from error
        if not code.startswith("NoSuch"):  # an answer, if an empty one
            raise
