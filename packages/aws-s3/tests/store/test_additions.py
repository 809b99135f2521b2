"""Users on which others have put something: it goes with them, or is named, and the bucket goes in any case."""

from __future__ import annotations

import re
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
import urllib3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

from libbucket import RetrySoon, StoreRefused, Throttled
from libbucket.testing.certificates import Authority
from libbucket.testing.conformance.environment import Environment
from testkit.aws_s3.backend import AwsBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testkit.aws_s3.backend import AwsAdministrator
    from testkit.aws_s3.emulators import AwsServer

GROUP = "denied-everything"
DOCUMENT = '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}'
SSH_KEY = (
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDHRLgUOHSZjjMxGhJq3kGGq7jhJ4S8qUeJZ0J3dJ0qg8PqvyC8g9gkUu0b3mT3mFXyXvqC9mJt "
    "auditor@example.com"
)

ADDITIONS: dict[str, Callable[[Any, str], object]] = {
    "group": lambda iam, user: iam.add_user_to_group(GroupName=GROUP, UserName=user),
    "password": lambda iam, user: iam.create_login_profile(UserName=user, Password="an-unlikely-1-Password!"),
    "MFA device": lambda iam, user: enable_device(iam, user),  # noqa: PLW0108 - it is defined below
    "signing certificate": lambda iam, user: iam.upload_signing_certificate(
        UserName=user, CertificateBody=a_certificate()
    ),
    "SSH key": lambda iam, user: iam.upload_ssh_public_key(UserName=user, SSHPublicKeyBody=SSH_KEY),
    "inline policy": lambda iam, user: iam.put_user_policy(
        UserName=user, PolicyName="by-hand", PolicyDocument=DOCUMENT
    ),
    "access key": lambda iam, user: iam.create_access_key(UserName=user),
}
LISTS = {
    "list_groups_for_user": "Groups",
    "list_mfa_devices": "MFADevices",
    "list_ssh_public_keys": "SSHPublicKeys",
    "list_signing_certificates": "Certificates",
    "list_user_policies": "PolicyNames",
    "list_attached_user_policies": "AttachedPolicies",
    "list_access_keys": "AccessKeyMetadata",
}


@pytest.fixture
def environment(lenient_server: AwsServer) -> Iterator[Environment]:
    environment = Environment(AwsBackend(lenient_server))
    environment.backend.administrator.iam.create_group(GroupName=GROUP)  # type: ignore[attr-defined]
    yield environment
    environment.clean_up()
    environment.backend.administrator.iam.delete_group(GroupName=GROUP)  # type: ignore[attr-defined]


@pytest.fixture
def administrator(environment: Environment) -> AwsAdministrator:
    assert isinstance(environment.backend, AwsBackend)
    return environment.backend.administrator


@contextmanager
def strict_iam(
    administrator: AwsAdministrator, *refused: str, code: str = "AccessDenied", has_credential: bool = False
) -> Iterator[list[str]]:
    """IAM as AWS has it: a user that still has anything is not removed; moto checks policies only.

    Args:
        administrator: past the provisioner.
        refused: actions that are answered with `code`.
        code: of the refusal.
        has_credential: whether the user has a service-specific credential, as for Git.

    Yields:
        The actions that were asked for.
    """
    send, asked = URLLib3Session.send, list[str]()
    credentials = ["ACCA1234567890EXAMPLE"] if has_credential else []

    def sent(self: URLLib3Session, request: AWSPreparedRequest) -> AWSResponse:
        body = request.body if isinstance(request.body, bytes) else str(request.body or "").encode()
        form = parse_qs(body.decode("utf-8", "replace"))
        action = form.get("Action", [""])[0]
        asked.append(action)
        if action in refused:
            return _answer(request, 403 if code == "AccessDenied" else 400, code)
        if action.endswith(("ServiceSpecificCredentials", "ServiceSpecificCredential")):  # which moto has not
            if action.startswith("Delete"):
                credentials.remove(form["ServiceSpecificCredentialId"][0])
            return _list_of_credentials(request, credentials)
        if action == "DeleteUser":
            with pytest.MonkeyPatch.context() as inner:
                inner.setattr(URLLib3Session, "send", send)
                if credentials or has_anything(administrator.iam, form["UserName"][0]):
                    # https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteUser.html
                    return _answer(request, 409, "DeleteConflict")
        return send(self, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(URLLib3Session, "send", sent)
        yield asked


def has_anything(iam: Any, user: str) -> bool:
    if any(getattr(iam, look)(UserName=user)[several] for look, several in LISTS.items()):
        return True
    try:
        iam.get_login_profile(UserName=user)
    except ClientError:
        return False
    return True


def _answer(request: AWSPreparedRequest, status: int, code: str) -> AWSResponse:
    body = f"<ErrorResponse><Error><Code>{code}</Code></Error><RequestId>4442587FB7D0A2F9</RequestId></ErrorResponse>"
    raw = urllib3.HTTPResponse(body=BytesIO(body.encode()), status=status, preload_content=False)
    return AWSResponse(request.url, status, HTTPHeaders(), raw)


def _list_of_credentials(request: AWSPreparedRequest, names: list[str]) -> AWSResponse:
    members = "".join(
        f"<member><ServiceSpecificCredentialId>{each}</ServiceSpecificCredentialId></member>" for each in names
    )
    result = f"<ServiceSpecificCredentials>{members}</ServiceSpecificCredentials>"
    name = "ListServiceSpecificCredentials"
    body = f"<{name}Response><{name}Result>{result}</{name}Result></{name}Response>"
    raw = urllib3.HTTPResponse(body=BytesIO(body.encode()), status=200, preload_content=False)
    return AWSResponse(request.url, 200, HTTPHeaders(), raw)


def a_certificate() -> str:
    return Authority().certificate_pem.decode()


def enable_device(iam: Any, user: str) -> None:
    made = iam.create_virtual_mfa_device(VirtualMFADeviceName=f"device-of-{user}")["VirtualMFADevice"]
    codes = {"AuthenticationCode1": "123456", "AuthenticationCode2": "234567"}
    iam.enable_mfa_device(UserName=user, SerialNumber=made["SerialNumber"], **codes)


@pytest.mark.parametrize("what", ADDITIONS)
@pytest.mark.parametrize("greenfield", [True, False], ids=["delete", "revoke"])
def test_what_others_put_on_a_user_goes_with_it(
    environment: Environment, administrator: AwsAdministrator, what: str, greenfield: bool
) -> None:
    tenant = environment.tenant(greenfield=greenfield)
    ADDITIONS[what](administrator.iam, tenant.request.user_id)
    with strict_iam(administrator):
        if greenfield:
            environment.provisioner.delete(tenant.record)
        else:
            environment.provisioner.revoke(tenant.record)
    assert not administrator.user_exists(tenant.request.user_id)
    assert administrator.iam.get_group(GroupName=GROUP)["Group"]["GroupName"] == GROUP, "the group itself stays"
    assert administrator.bucket_exists(tenant.bucket) != greenfield


def test_a_service_specific_credential_goes_with_its_user(
    environment: Environment, administrator: AwsAdministrator
) -> None:
    tenant = environment.greenfield()
    with (
        strict_iam(administrator, "DeleteServiceSpecificCredential", has_credential=True),
        pytest.raises(StoreRefused, match="service-specific credential ACCA1234567890EXAMPLE"),
    ):
        environment.provisioner.delete(tenant.record)
    with strict_iam(administrator, has_credential=True):
        environment.provisioner.delete(tenant.record)
    assert not administrator.user_exists(tenant.request.user_id)


def test_a_user_that_is_untouched_is_removed_without_a_check(
    environment: Environment, administrator: AwsAdministrator
) -> None:
    tenant = environment.greenfield()
    with strict_iam(administrator) as asked:
        environment.provisioner.delete(tenant.record)
    assert not [action for action in asked if re.match("List(?!AccessKeys|AllMy)|GetLogin", action)]


@pytest.mark.parametrize(
    ("what", "removal", "named"),
    [
        ("group", "RemoveUserFromGroup", f"group {GROUP} (iam:RemoveUserFromGroup)"),
        ("password", "DeleteLoginProfile", "(iam:DeleteLoginProfile)"),
        ("MFA device", "DeactivateMFADevice", "(iam:DeactivateMFADevice)"),
        ("SSH key", "DeleteSSHPublicKey", "(iam:DeleteSSHPublicKey)"),
        ("group", "ListGroupsForUser", "perhaps a group (not looked for: iam:ListGroupsForUser)"),
    ],
)
def test_what_may_not_be_removed_is_named_and_the_bucket_goes_meanwhile(
    environment: Environment, administrator: AwsAdministrator, what: str, removal: str, named: str
) -> None:
    tenant = environment.greenfield()
    tenant.application.put(tenant.bucket, "key", b"data")
    user = tenant.request.user_id
    ADDITIONS[what](administrator.iam, user)
    with strict_iam(administrator, removal):
        for _ in range(2):
            with pytest.raises(StoreRefused, match=re.escape(named)) as caught:
                environment.provisioner.delete(tenant.record)
    assert caught.value.request_id == "4442587FB7D0A2F9"
    assert not administrator.bucket_exists(tenant.bucket)
    assert administrator.keys(user) == [], "the credentials are withdrawn"
    with strict_iam(administrator):
        environment.provisioner.delete(tenant.record)
    assert not administrator.user_exists(user)


def test_an_api_that_does_not_know_a_kind_has_none_of_it(
    environment: Environment, administrator: AwsAdministrator
) -> None:
    tenant = environment.greenfield()
    ADDITIONS["group"](administrator.iam, tenant.request.user_id)
    with strict_iam(administrator, "ListSSHPublicKeys", "ListSigningCertificates", code="InvalidAction"):
        environment.provisioner.delete(tenant.record)
    assert not administrator.user_exists(tenant.request.user_id)


@pytest.mark.parametrize("code", ["Throttling", "ServiceFailure"])
def test_an_iam_that_can_not_now_is_asked_again(
    environment: Environment, administrator: AwsAdministrator, code: str
) -> None:
    tenant = environment.greenfield()
    ADDITIONS["group"](administrator.iam, tenant.request.user_id)
    with strict_iam(administrator, "ListGroupsForUser", code=code), pytest.raises(RetrySoon) as caught:
        environment.provisioner.revoke(tenant.record)
    assert isinstance(caught.value, Throttled) == (code == "Throttling")
    with strict_iam(administrator):
        environment.provisioner.revoke(tenant.record)
    assert not administrator.user_exists(tenant.request.user_id)


def test_an_empty_bucket_goes_although_its_user_is_kept(
    environment: Environment, administrator: AwsAdministrator
) -> None:
    tenant = environment.greenfield()
    ADDITIONS["group"](administrator.iam, tenant.request.user_id)
    with strict_iam(administrator, "RemoveUserFromGroup"), pytest.raises(StoreRefused, match=GROUP):
        environment.provisioner.delete_empty(tenant.record)  # type: ignore[attr-defined]
    assert not administrator.bucket_exists(tenant.bucket)
    with strict_iam(administrator):
        environment.provisioner.delete_empty(tenant.record)  # type: ignore[attr-defined]
    assert not administrator.user_exists(tenant.request.user_id)
