"""What others have put on a claim's user, and what has to go before IAM removes the user.

Used by `identity`, for a user that is the claim's and is being removed. The provisioner may lack the permission for
what it never makes itself: then that is named, and an administrator removes it. Source of the kinds:
https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteUser.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from aws_s3_provisioner.errors import code_of, translated
from libbucket import AccessDenied, StoreRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_s3_provisioner.client import Clients

_GONE: Final = "NoSuchEntity"


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """One kind of things that a user can have.

    Attributes:
        what: one of them, for messages.
        listing: permission to list them.
        removal: permission to remove one.
        find: their names.
        remove: removes one.
        is_absent_alone: `NoSuchEntity` to the listing means that there is none; else, that IAM does not find the user.
    """

    what: str
    listing: str
    removal: str
    find: Callable[[Any, str], list[str]]
    remove: Callable[[Any, str, str], object]
    is_absent_alone: bool = False


_KINDS: Final = (
    _Kind(
        what="access key",
        listing="iam:ListAccessKeys",
        removal="iam:DeleteAccessKey",
        find=lambda iam, user: _named(iam.list_access_keys(UserName=user), "AccessKeyMetadata", "AccessKeyId"),
        remove=lambda iam, user, name: iam.delete_access_key(UserName=user, AccessKeyId=name),
    ),
    _Kind(
        what="inline policy",
        listing="iam:ListUserPolicies",
        removal="iam:DeleteUserPolicy",
        find=lambda iam, user: list(iam.list_user_policies(UserName=user)["PolicyNames"]),
        remove=lambda iam, user, name: iam.delete_user_policy(UserName=user, PolicyName=name),
    ),
    _Kind(
        what="attached policy",
        listing="iam:ListAttachedUserPolicies",
        removal="iam:DetachUserPolicy",
        find=lambda iam, user: _named(iam.list_attached_user_policies(UserName=user), "AttachedPolicies", "PolicyArn"),
        remove=lambda iam, user, name: iam.detach_user_policy(UserName=user, PolicyArn=name),
    ),
    _Kind(
        what="group",
        listing="iam:ListGroupsForUser",
        removal="iam:RemoveUserFromGroup",
        find=lambda iam, user: _named(iam.list_groups_for_user(UserName=user), "Groups", "GroupName"),
        remove=lambda iam, user, name: iam.remove_user_from_group(UserName=user, GroupName=name),
    ),
    _Kind(
        what="password of user",
        listing="iam:GetLoginProfile",
        removal="iam:DeleteLoginProfile",
        find=lambda iam, user: [iam.get_login_profile(UserName=user)["LoginProfile"]["UserName"]],
        remove=lambda iam, user, _: iam.delete_login_profile(UserName=user),
        is_absent_alone=True,
    ),
    _Kind(
        what="MFA device",
        listing="iam:ListMFADevices",
        removal="iam:DeactivateMFADevice",
        find=lambda iam, user: _named(iam.list_mfa_devices(UserName=user), "MFADevices", "SerialNumber"),
        remove=lambda iam, user, name: iam.deactivate_mfa_device(UserName=user, SerialNumber=name),
    ),
    _Kind(
        what="SSH key",
        listing="iam:ListSSHPublicKeys",
        removal="iam:DeleteSSHPublicKey",
        find=lambda iam, user: _named(iam.list_ssh_public_keys(UserName=user), "SSHPublicKeys", "SSHPublicKeyId"),
        remove=lambda iam, user, name: iam.delete_ssh_public_key(UserName=user, SSHPublicKeyId=name),
    ),
    _Kind(
        what="service-specific credential",
        listing="iam:ListServiceSpecificCredentials",
        removal="iam:DeleteServiceSpecificCredential",
        find=lambda iam, user: _named(
            iam.list_service_specific_credentials(UserName=user),
            "ServiceSpecificCredentials",
            "ServiceSpecificCredentialId",
        ),
        remove=lambda iam, user, name: iam.delete_service_specific_credential(
            UserName=user, ServiceSpecificCredentialId=name
        ),
    ),
    _Kind(
        what="signing certificate",
        listing="iam:ListSigningCertificates",
        removal="iam:DeleteSigningCertificate",
        find=lambda iam, user: _named(iam.list_signing_certificates(UserName=user), "Certificates", "CertificateId"),
        remove=lambda iam, user, name: iam.delete_signing_certificate(UserName=user, CertificateId=name),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Additions:
    """What `remove_additions` came to.

    Attributes:
        left: what may not be removed, and with which permission it could be: the end of a message.
        disputed: what IAM did not find, in one of two answers that contradict each other.
    """

    left: list[str]
    disputed: list[str]


def remove_additions(clients: Clients, user: str) -> Additions:
    """Removes what a user has, as far as the provisioner may.

    Raises:
        ProvisionerError: IAM did not answer, or asks for fewer requests.
    """
    left: list[str] = []
    disputed: list[str] = []
    for kind in _KINDS:
        try:
            found = _find(clients, user, kind)
        except (AccessDenied, StoreRefused):
            left.append(f"perhaps a {kind.what} (not looked for: {kind.listing})")
            continue
        if found is None:
            disputed.append(kind.what)
        for name in found or []:
            try:
                if not _remove(clients, user, kind, name):
                    disputed.append(f"{kind.what} {name}")
            except (AccessDenied, StoreRefused):
                left.append(f"{kind.what} {name} ({kind.removal})")
    return Additions(left=left, disputed=disputed)


def _find(clients: Clients, user: str, kind: _Kind) -> list[str] | None:
    """Their names; None where IAM does not find the user."""
    with translated(clients.call(kind.listing)):
        try:
            return kind.find(clients.iam, user)
        except ClientError as error:
            if code_of(error) != _GONE:
                raise
            return [] if kind.is_absent_alone else None


def _remove(clients: Clients, user: str, kind: _Kind, name: str) -> bool:
    """Removes one; False where IAM says that there is none."""
    with translated(clients.call(kind.removal)):
        try:
            kind.remove(clients.iam, user, name)
        except ClientError as error:
            if code_of(error) != _GONE:
                raise
            return False
    return True


def _named(answer: Any, several: str, name: str) -> list[str]:
    return [str(each[name]) for each in answer.get(several, [])]
