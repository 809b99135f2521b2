"""AWS S3 as the conformance suite sees it: applications, the administrator's view, and what a test starts from.

Used by this package's tests. Everything goes to the server through boto3, past the provisioner.
"""

from __future__ import annotations

import json
import re
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, ClassVar

import boto3
import pytest
import urllib3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session
from botocore.loaders import Loader, create_loader
from botocore.session import Session

from aws_s3_provisioner.provisioner import AwsS3Provisioner
from aws_s3_provisioner.request import Patience
from aws_s3_provisioner.sdk_clients import Limits
from libbucket import Services
from libbucket.testing.application import Application, Refused
from libbucket.testing.conformance import Administrator, Backend, Capabilities
from libbucket.testing.conformance.backend import REFUSAL_TEXT, REQUEST_ID
from libbucket.testing.misbehaving import Answer
from testkit.admin_secrets import constant, rotated
from testkit.repository import ROOT
from testkit.sigv4 import access_key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from libbucket import Authentication, Endpoint, ObjectBucket
    from testkit.aws_s3.emulators import AwsServer

REGION = "us-west-2"
REFUSALS = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403"})
README = ROOT / "packages/aws-s3/README.md"


def _as_emulated(policy: str) -> str:
    """The policy without what ministack does not know: variables in policies, and `iam:PermissionsBoundary`."""
    document = json.loads(policy.replace("${aws:PrincipalAccount}", "000000000000"))
    for statement in document["Statement"]:
        if "iam:PermissionsBoundary" in statement.get("Condition", {}).get("StringEquals", {}):
            del statement["Condition"]
    return json.dumps(document)


def as_for_versitygw(policy: str) -> str:
    """The policy as the README has it for a gateway that knows no key of its conditions, and no ARN of who is gone.

    Source: iamapi/internal/iammiddleware/policy.go of github.com/versity/versitygw, `existingUserResource`.
    """
    document = json.loads(policy)
    for statement in document["Statement"]:
        statement.pop("Condition", None)
        if all(action.startswith("iam:") for action in statement["Action"]):
            statement["Resource"] = "*"
    return json.dumps(document)


README_POLICY = _as_emulated(re.findall("```json\n(.*?)```", README.read_text(), re.DOTALL)[0])
USER = "arn:aws:iam::000000000000:user/auditor"
QUICK = Patience(settle=0.0, replica=1.0, poll=0.05)


def a_policy(effect: str) -> str:
    """A bucket policy as a claim writes it: Resource is left to the provisioner."""
    statement = {"Sid": "Audit", "Effect": effect, "Principal": {"AWS": USER}, "Action": "s3:GetObject"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, sort_keys=True)


def rules(days: int) -> str:
    """Lifecycle rules as a claim writes them."""
    expiry = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": days}}
    return json.dumps({"Rules": [expiry]}, sort_keys=True)


def a_client(service: Any, *, url: str, access_key: str, secret_key: str, region: str = REGION, token: str = "") -> Any:
    """A client of boto3's that waits for nothing."""
    config = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 1}, max_pool_connections=10)
    core = Session()
    core.register_component("data_loader", _loader())
    return boto3.session.Session(region_name=region, botocore_session=core).client(
        service,
        endpoint_url=url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=token or None,
        config=config.merge(
            Config(s3={"addressing_style": "path"}, signature_version="v4" if service != "s3" else "s3v4")
        ),
    )


@cache
def _loader() -> Loader:
    """Reading the SDK's data takes a fifth of a second, which no test is about."""
    return create_loader()


@contextmanager
def refusals() -> Iterator[None]:
    """The server's refusals, and only those, become `Refused`."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] in REFUSALS:
            raise Refused(error.response["Error"]["Code"]) from error
        raise


class AwsApplication(Application):
    """An application with boto3."""

    def __init__(self, *, url: str, access_key: str, secret_key: str, region: str = REGION) -> None:
        self.url = url
        self.client = a_client("s3", url=url, access_key=access_key, secret_key=secret_key, region=region)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        with refusals():
            self.client.put_object(Bucket=bucket, Key=key, Body=data)

    def get(self, bucket: str, key: str) -> bytes:
        with refusals():
            found: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
            return found

    def list_keys(self, bucket: str) -> list[str]:
        with refusals():
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            return sorted(found["Key"] for page in pages for found in page.get("Contents", []))

    def delete(self, bucket: str, key: str) -> None:
        with refusals():
            self.client.delete_object(Bucket=bucket, Key=key)

    def batch_delete(self, bucket: str, keys: Sequence[str]) -> None:
        with refusals():
            answer = self.client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
        for error in answer.get("Errors", []):
            assert error["Code"] in REFUSALS, error
            raise Refused(error["Code"])

    def copy(self, source_bucket: str, source_key: str, bucket: str, key: str) -> None:
        with refusals():
            self.client.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": source_bucket, "Key": source_key})

    def multipart(self, bucket: str, key: str, parts: Sequence[bytes]) -> None:
        with refusals():
            upload = self.client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
            named = {"Bucket": bucket, "Key": key, "UploadId": upload}
            done = [
                {"PartNumber": n, "ETag": self.client.upload_part(**named, PartNumber=n, Body=part)["ETag"]}
                for n, part in enumerate(parts, start=1)
            ]
            self.client.complete_multipart_upload(**named, MultipartUpload={"Parts": done})

    def start_multipart(self, bucket: str, key: str) -> None:
        with refusals():
            upload = self.client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
            self.client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"begun")

    def presigned_get(self, bucket: str, key: str) -> bytes:
        return _plain("GET", self.client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}))

    def presigned_put(self, bucket: str, key: str, data: bytes) -> None:
        url = self.client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": key})
        _plain("PUT", url, data)

    def anonymous_get(self, bucket: str, key: str) -> bytes:
        return _plain("GET", f"{self.url}/{bucket}/{key}")

    def list_all(self) -> list[str]:
        with refusals():
            return [bucket["Name"] for bucket in self.client.list_buckets()["Buckets"]]

    def make_public(self, bucket: str) -> None:
        everybody = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{bucket}/*",
        }
        with refusals():
            _found(
                lambda: self.client.delete_public_access_block(Bucket=bucket), "NoSuchPublicAccessBlockConfiguration"
            )
            document = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
            self.client.put_bucket_policy(Bucket=bucket, Policy=document)

    def remove_bucket(self, bucket: str) -> None:
        with refusals():
            self.client.delete_bucket(Bucket=bucket)


class AwsAdministrator(Administrator):
    """The root user's view of a server."""

    def __init__(self, server: AwsServer) -> None:
        self.server = server
        keys = {"url": server.url, "access_key": server.access_key, "secret_key": server.secret_key}
        self._application = AwsApplication(**keys)
        self.s3 = self._application.client
        self.iam = a_client("iam", **{**keys, "url": server.iam_url, "region": "us-east-1"})
        self.sts = a_client("sts", **keys)

    def application(self) -> AwsApplication:
        return self._application

    def make_bucket(self, name: str, *, region: str = REGION) -> None:
        server = self.server
        keys = {"access_key": server.access_key, "secret_key": server.secret_key}
        with closing(a_client("s3", url=server.url, region=region, **keys)) as s3:
            where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            s3.create_bucket(Bucket=name, **where)

    def purge_bucket(self, name: str) -> None:
        if not self.bucket_exists(name):
            return
        for page in self.s3.get_paginator("list_object_versions").paginate(Bucket=name):
            for found in page.get("Versions", []) + page.get("DeleteMarkers", []):
                self.remove_version(name, found["Key"], found["VersionId"])
        for upload in self.s3.list_multipart_uploads(Bucket=name).get("Uploads", []):
            self.s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
        self.s3.delete_bucket(Bucket=name)

    def remove_version(self, bucket: str, key: str, version: str) -> None:
        """Removes one version, whatever locks it."""
        named = {"Bucket": bucket, "Key": key, "VersionId": version}
        try:
            self.s3.delete_object(**named)
        except ClientError:
            self.s3.put_object_legal_hold(**named, LegalHold={"Status": "OFF"})
            self.s3.delete_object(**named, BypassGovernanceRetention=True)

    def bucket_exists(self, name: str) -> bool:
        return any(bucket["Name"] == name for bucket in self.s3.list_buckets()["Buckets"])

    def identity_exists(self, record: ObjectBucket) -> bool:
        return self.user_exists(record.user_id)

    def user_exists(self, name: str) -> bool:
        return _found(lambda: self.iam.get_user(UserName=name), "NoSuchEntity") is not None

    def remove_identity(self, record: ObjectBucket) -> None:
        self.remove_user(record.user_id)

    def remove_user(self, name: str) -> None:
        """Removes a user with all that it has; one that is not there is fine."""
        if not self.user_exists(name):
            return
        for key in self.keys(name):
            self.iam.delete_access_key(UserName=name, AccessKeyId=key)
        for policy in self.iam.list_user_policies(UserName=name)["PolicyNames"]:
            self.iam.delete_user_policy(UserName=name, PolicyName=policy)
        # Some stores have no managed policies.
        found = _found(lambda: self.iam.list_attached_user_policies(UserName=name)["AttachedPolicies"], "InvalidAction")
        for attached in found or []:
            self.iam.detach_user_policy(UserName=name, PolicyArn=attached["PolicyArn"])
        self.iam.delete_user(UserName=name)

    def make_user(self, name: str, policy: str) -> dict[str, str]:
        """Makes a user with this policy and a key, which is given as a Secret holds it."""
        self.remove_user(name)
        self.iam.create_user(UserName=name)
        self.iam.put_user_policy(UserName=name, PolicyName="its-own", PolicyDocument=policy)
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def region(self, bucket: str) -> str:
        found: str | None = self.s3.get_bucket_location(Bucket=bucket).get("LocationConstraint")
        return found or "us-east-1"

    def keys(self, user: str) -> list[str]:
        """Ids of the user's access keys."""
        return [key["AccessKeyId"] for key in self.iam.list_access_keys(UserName=user)["AccessKeyMetadata"]]

    def settings(self, bucket: str) -> Mapping[str, object]:
        encryption = _found(
            lambda: self.s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"],
            "ServerSideEncryptionConfigurationNotFoundError",
        )
        return {
            "tags": self.tags(bucket),
            "encryption": encryption,
            "versioning": self.config(bucket, "bucketVersioning"),
            "policy": self.config(bucket, "bucketPolicy"),
            "lifecycle": self.config(bucket, "bucketLifecycle"),
            "public access": _found(
                lambda: self.s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"],
                "NoSuchPublicAccessBlockConfiguration",
            ),
        }

    def tags(self, bucket: str) -> dict[str, str]:
        """The bucket's tags."""
        found = _found(lambda: self.s3.get_bucket_tagging(Bucket=bucket)["TagSet"], "NoSuchTagSet")
        return {tag["Key"]: tag["Value"] for tag in found or []}

    def enable_versioning(self, bucket: str) -> None:
        self.set_config(bucket, "bucketVersioning", "Enabled")

    def stored_versions(self, bucket: str) -> int:
        pages = self.s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
        return sum(len(page.get("Versions", [])) + len(page.get("DeleteMarkers", [])) for page in pages)

    def unfinished_uploads(self, bucket: str) -> int:
        return len(self.s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []))

    def config(self, bucket: str, key: str) -> str | None:
        if key == "bucketVersioning":
            found: str | None = self.s3.get_bucket_versioning(Bucket=bucket).get("Status")
            return found
        if key == "bucketLifecycle":
            lifecycle = _found(
                lambda: self.s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"],
                "NoSuchLifecycleConfiguration",
            )
            return None if lifecycle is None else json.dumps({"Rules": lifecycle}, sort_keys=True)
        policy = _found(lambda: self.s3.get_bucket_policy(Bucket=bucket)["Policy"], "NoSuchBucketPolicy")
        return None if policy is None else _without_resources(policy)

    def set_config(self, bucket: str, key: str, value: str) -> None:
        if key == "bucketVersioning":
            self.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": value})
        elif key == "bucketLifecycle":
            self.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=json.loads(value))
        else:
            document = json.loads(value)
            for statement in document["Statement"]:
                statement["Resource"] = f"arn:aws:s3:::{bucket}/*"
            self.s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))


class AwsBackend(Backend):
    """A running server, ready for the suite: the provisioner may do what its README says, and nothing else.

    Args:
        server: it.
        policy: of the provisioner's user; empty for a store without policies for administrators, where it is root.
    """

    regions: ClassVar[Mapping[str, str]] = {
        "us-east-1": "us-east-1",
        "us-west-2": "us-west-2",
        "eu-central-1": "eu-central-1",
    }

    capabilities = Capabilities(
        config={
            "bucketPolicy": {a_policy("Allow"): a_policy("Allow"), a_policy("Deny"): a_policy("Deny")},
            "bucketLifecycle": {rules(3): rules(3), rules(30): rules(30)},
            "bucketVersioning": {"Enabled": "Enabled", "Suspended": "Suspended"},
        },
        silent=frozenset({"bucketPolicy", "bucketLifecycle"}),
        reset={"bucketVersioning": "Suspended"},  # S3 can't take it back to never-was
    )

    def __init__(self, server: AwsServer, *, policy: str = README_POLICY) -> None:
        self.server = server
        self._administrator = AwsAdministrator(server)
        root = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
        self._steward = self._administrator.make_user("steward", policy) if policy else root

    @property
    def secrets(self) -> list[str]:
        return [self.server.secret_key, self._steward["AWS_SECRET_ACCESS_KEY"]]

    def broken_provisioners(self) -> Mapping[str, AwsS3Provisioner]:
        return {"wrong secret": self.rotating(lambda: True)}

    def rotating(self, is_spoilt: Callable[[], bool]) -> AwsS3Provisioner:
        spoilt = {**self._steward, "AWS_SECRET_ACCESS_KEY": self._steward["AWS_SECRET_ACCESS_KEY"][::-1]}
        services = Services(read_secret=rotated(self._steward, spoilt, is_spoilt))
        return AwsS3Provisioner(services, patience=QUICK)

    def misled(self, url: str, seconds: float) -> tuple[AwsS3Provisioner, Mapping[str, str]]:
        hasty = a_provisioner(self.server, limits=Limits(connect=seconds, read=seconds))
        return hasty, {**self.parameters, "s3Endpoint": url, "iamEndpoint": url}

    def refusal(self, status: int, code: str) -> Answer:
        # In the form of IAM's answers, which the SDK's parser for S3 takes as well. S3's own is in test_answers.py.
        body = (
            f"<ErrorResponse><Error><Code>{code}</Code><Message>{REFUSAL_TEXT}</Message></Error>"
            f"<RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
        )
        headers = {"x-amz-request-id": REQUEST_ID, "Content-Type": "text/xml"}
        return Answer(status=status, headers=headers, body=body.encode())

    @property
    def administrators_keys(self) -> list[str]:
        """Ids of the access keys of the provisioner's own user, and of root."""
        return [self._steward["AWS_ACCESS_KEY_ID"], self.server.access_key]

    @contextmanager
    def distrusting(self) -> Iterator[AwsS3Provisioner]:
        with distrust_all_but(*self.administrators_keys):
            yield self.provisioner()

    @property
    def parameters(self) -> Mapping[str, str]:
        return {
            "region": REGION,
            "secretName": "admin",
            "secretNamespace": "aws",
            "s3Endpoint": self.server.url,
            "iamEndpoint": self.server.iam_url,
        }

    @property
    def administrator(self) -> AwsAdministrator:
        return self._administrator

    def client(self, service: str, *, access_key: str, secret_key: str, token: str = "") -> Any:
        """A client of boto3's with these credentials."""
        return a_client(service, url=self.server.url, access_key=access_key, secret_key=secret_key, token=token)

    def provisioner(self) -> AwsS3Provisioner:
        return a_provisioner(self.server, secret=self._steward)

    def fenced(self, before_request: Callable[[], None]) -> AwsS3Provisioner:
        return a_provisioner(self.server, secret=self._steward, before_request=before_request)

    def stepwise_provisioner(self) -> AwsS3Provisioner:
        return a_provisioner(self.server, secret=self._steward, patience=replace(QUICK, purge=0.0))

    def application(self, endpoint: Endpoint, credentials: Authentication) -> AwsApplication:
        keys = credentials.access_keys
        assert keys is not None
        return AwsApplication(
            url=endpoint.additional_config["BUCKET_ENDPOINT"],
            access_key=keys.access_key_id,
            secret_key=keys.secret_access_key.reveal(),
            region=endpoint.region,
        )


def a_provisioner(
    server: AwsServer,
    *,
    limits: Limits | None = None,
    patience: Patience = QUICK,
    secret: Mapping[str, str] | None = None,
    before_request: Callable[[], None] = lambda: None,
) -> AwsS3Provisioner:
    """A provisioner whose administrator's Secret is root's, or what is given."""
    held = secret or {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    services = Services(read_secret=constant(held), before_request=before_request)
    return AwsS3Provisioner(services, limits=limits, patience=patience)


@contextmanager
def distrust_all_but(*access_keys: str, code: str = "InvalidAccessKeyId") -> Iterator[list[str]]:
    """Within the block, requests that are signed with any other key than these are refused; yields whose were.

    As S3 does where it has not heard of a key: 403, and nothing of it reaches the server.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList
    """
    refused: list[str] = []
    send = URLLib3Session.send
    body = f"<Error><Code>{code}</Code><Message>no</Message><RequestId>{REQUEST_ID}</RequestId></Error>"

    def sent(self: URLLib3Session, request: AWSPreparedRequest) -> AWSResponse:
        access_key = access_key_of({name.lower(): str(value) for name, value in request.headers.items()})
        assert access_key, "a request without a signature"
        if access_key in access_keys:
            return send(self, request)
        refused.append(access_key)
        headers = HTTPHeaders()
        headers["x-amz-request-id"] = REQUEST_ID
        raw = urllib3.HTTPResponse(body=BytesIO(body.encode()), status=403, preload_content=False)
        return AWSResponse(request.url, 403, headers, raw)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(URLLib3Session, "send", sent)
        yield refused


def _plain(method: str, url: str, data: bytes | None = None) -> bytes:
    with urllib3.PoolManager(timeout=20, retries=False) as pool:
        response = pool.request(method, url, body=data)
    if response.status == 403:
        raise Refused(f"HTTP {response.status}")
    assert response.status == 200, response.data
    return response.data


def _found(look: Callable[[], Any], absent: str) -> Any:
    """What there is, or None where the server says that it is absent, or that it has no such thing at all."""
    try:
        return look()
    except ClientError as error:
        if error.response["Error"]["Code"] not in {absent, "NotImplemented"}:
            raise
        return None


def _without_resources(policy: str) -> str:
    document = json.loads(policy)
    for statement in document["Statement"]:
        del statement["Resource"]
    return json.dumps(document, sort_keys=True)
