"""Everything that AWS, its SDK and the network raise, translated into the core's errors: once, here.

`storage`, `settings` and `identity` wrap every call in `translated`; nothing passes through it untranslated. Decides by
codes, types and status; a text only adds what kind of policy denied. No message of ours repeats one of AWS's or the
SDK's, which could hold a credential.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore import exceptions as sdk
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from aws_s3_provisioner.request_ids import request_id_of
from libbucket import (
    AccessDenied,
    BucketExists,
    BucketNotEmpty,
    InvalidClaim,
    NotReady,
    ProvisionerError,
    QuotaExceeded,
    Reason,
    RetrySlowly,
    RetrySoon,
    StoreRefused,
    StoreUnavailable,
    Throttled,
    parse_retry_after,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BAD_KEY: Final = frozenset(
    {
        "AccessKeyDisabled",
        "AuthFailure",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "NotSignedUp",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""Codes that say: this access key does not exist, is disabled, or its secret is another one."""

DENIED: Final = frozenset({"403", "AccessDenied", "AccessDeniedException", "UnauthorizedAccess"})
"""Codes that say: this caller is not permitted to do this."""

THROTTLING: Final = frozenset(
    {
        "429",
        "503",
        "BandwidthLimitExceeded",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
    }
)
"""Codes that ask for fewer requests."""

_LONGEST_CODE: Final = 100
_LONGEST_MESSAGE: Final = 2000

_Answer = tuple[type[ProvisionerError], str]


class Elsewhere(RetrySlowly):
    """The bucket is in another region than the class says: it may be the account's own, or anybody's.

    Args:
        message: see `ProvisionerError`.
        region: where it is; "" where AWS did not say.
        request_id: see `ProvisionerError`.
    """

    def __init__(self, message: str, *, region: str = "", request_id: str = "") -> None:
        super().__init__(message, request_id=request_id)
        self.region = region


class _RefusedForNow(RetrySoon):
    """An answer by its status, with a code that says that the same request may pass later: no outage."""

    default_reason = Reason.STORE_REFUSED


_DENIED_TEXT: Final = "the administrator's credentials lack the permission {permission} at {where} ({code})"
_DENIED_BY_TEXT: Final = (
    "{denier} denies {permission} at {where} ({code}), whatever the administrator's own policies allow: its owner has "
    "to allow it"
)
# Parts of AWS's sentences about denials, as documented:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html,
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html.
_DENIERS: Final[Mapping[str, str]] = {
    "service control policy": "a service control policy of the organisation",
    "resource control policy": "a resource control policy of the organisation",
    "permissions boundary": "a permissions boundary of the administrator's identity",
    "vpc endpoint policy": "the policy of a VPC endpoint",
    "session policy": "a policy of the administrator's session",
    "resource-based policy": "the policy of the bucket",
}
_BAD_KEY_TEXT: Final = (
    "{where} does not accept the administrator's credentials ({code}): fix {source}, or enable the region for the "
    "account"
)
_EXPIRED: Final = "the administrator's credentials have ended ({code}): renew {source}"
_REGION_OR_SESSION: Final = (
    "the administrator's session token is not valid in this region ({code}): renew {source}, or enable the region for "
    "the account"
)
_CLOCK: Final = "{where} refuses the request's time: a clock is wrong, there or here ({code})"
_ACCOUNT: Final = "the AWS account can't be used for this: its owner has to ask AWS why ({code})"
_REGION: Final = "the bucket is in another region than parameter region says: nothing was changed ({code})"
_OPT_IN: Final = "the region in parameter region is not enabled for this account, or does not exist ({code})"
_BUSY: Final = "{where} asks for fewer requests ({code})"
_DOWN: Final = "{where} can't answer now ({code})"
_UNSETTLED: Final = "{where} is still busy with an earlier change of the same thing ({code})"
_FULL: Final = (
    "a limit of the AWS account is reached at {permission} ({code}): ask AWS to raise it, or remove something"
)
_TAKEN: Final = "the bucket's name is taken in the whole of AWS: another name is needed ({code})"
_NAME: Final = "AWS takes no bucket of that name: 3 to 63 lower-case letters, digits, dots and hyphens ({code})"
_LOCKED: Final = "an object is locked, archived or under a hold ({code})"
_VANISHED: Final = "the bucket was deleted concurrently ({code})"
_REFILLED: Final = "something was written into the bucket while it was being emptied ({code})"
_IDENTITY: Final = "the user, its key or its policy was changed concurrently ({code})"
_IN_USE: Final = "a manually added attachment prevents {permission}: remove it first ({code})"
_REFUSED: Final = "{where} refuses what parameters or additionalConfig ask for at {permission} ({code})"
_NOT_SENT: Final = "the AWS SDK can't send what parameters or additionalConfig ask for at {permission} ({code})"
_KEY: Final = "the key in parameter kmsKeyId can't be used: it must exist, be enabled, and allow it ({code})"
_MISSING: Final = "{where} can't do {permission} ({code})"
_WEB_IDENTITY: Final = "AWS does not accept the pod's own identity: fix its role's trust policy ({code})"
_OTHER: Final = "{where} answers {permission} with {code}"


def _all(codes: str, answer: _Answer) -> dict[str, _Answer]:
    return dict.fromkeys(codes.split(), answer)


# Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html,
# https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html, and the SDK's own models.
_ANSWERS: Final[Mapping[str, _Answer]] = {
    **dict.fromkeys(DENIED, (AccessDenied, _DENIED_TEXT)),
    **dict.fromkeys(BAD_KEY, (AccessDenied, _BAD_KEY_TEXT)),
    **_all(
        "CredentialsNotSupported InvalidSecurity MissingAuthenticationToken MissingSecurityHeader "
        "MissingAuthenticationTokenException",
        (AccessDenied, _BAD_KEY_TEXT),
    ),
    **_all(
        "ExpiredToken ExpiredTokenException ExpiredTradeInTokenException TokenRefreshRequired",
        (AccessDenied, _EXPIRED),
    ),
    # Of a region that the account has not enabled, too: https://github.com/aws/aws-cli/issues/8413.
    "InvalidToken": (AccessDenied, _REGION_OR_SESSION),
    **_all("RequestExpired RequestTimeTooSkewed", (AccessDenied, _CLOCK)),
    **_all("AccountProblem AllAccessDisabled InvalidPayer OptInRequired", (AccessDenied, _ACCOUNT)),
    **_all(
        "AccountNotManagementOrDelegatedAdministratorException CallerIsNotManagementAccountException "
        "InvalidAuthenticationCode OrganizationNotFoundException OrganizationNotInAllFeaturesModeException "
        "OutboundWebIdentityFederationDisabledException PasswordPolicyViolation ServiceAccessNotEnabledException "
        "SessionDurationEscalationException",
        (AccessDenied, _DENIED_TEXT),
    ),
    **_all(
        "IDPRejectedClaim InvalidIdentityToken JWTPayloadSizeExceededException PackedPolicyTooLarge",
        (AccessDenied, _WEB_IDENTITY),
    ),
    **_all(
        "AuthorizationHeaderMalformed IncorrectEndpoint InvalidRegion PermanentRedirect Redirect 301",
        (RetrySlowly, _REGION),
    ),
    **_all(
        "IllegalLocationConstraintException InvalidLocationConstraint RegionDisabledException", (RetrySlowly, _OPT_IN)
    ),
    **dict.fromkeys(THROTTLING, (Throttled, _BUSY)),
    **_all(
        "IDPCommunicationError InternalError InternalFailure InternalServerError KMS.KMSInternalException "
        "OpenIdIdpCommunicationError RequestTimeout RequestTimeoutException ServiceFailure ServiceUnavailable "
        "500 502 504",
        (StoreUnavailable, _DOWN),
    ),
    **_all(
        "302 307 ConcurrentModification ConcurrentModificationException ConditionalRequestConflict "
        "EntityTemporarilyUnmodifiable IdempotencyParameterMismatch OperationAborted ReportInProgress "
        "TemporaryRedirect",
        (NotReady, _UNSETTLED),
    ),
    **_all(
        "AnnotationLimitExceeded LimitExceeded LimitExceededException ReportGenerationLimitExceeded TooManyBuckets "
        "TooManyParts",
        (QuotaExceeded, _FULL),
    ),
    "BucketAlreadyExists": (BucketExists, _TAKEN),
    "InvalidBucketName": (InvalidClaim, _NAME),
    "BucketAlreadyOwnedByYou": (NotReady, _UNSETTLED),
    **_all(
        "InvalidObjectState InvalidRetentionPeriod ObjectAlreadyInActiveTierError ObjectLocked "
        "ObjectNotInActiveTierError",
        (BucketNotEmpty, _LOCKED),
    ),
    **_all("NoSuchAnnotation NoSuchBucket NoSuchKey NoSuchUpload NoSuchVersion 404", (NotReady, _VANISHED)),
    "BucketNotEmpty": (NotReady, _REFILLED),
    **_all("EntityAlreadyExists NameConflict NoSuchEntity RoleModified", (NotReady, _IDENTITY)),
    **_all("DeleteConflict UnmodifiableEntity", (StoreRefused, _IN_USE)),
    **_all(
        "AnnotationNameTooLong DuplicateCertificate DuplicateSSHPublicKey EncryptionTypeMismatch "
        "InvalidAnnotationName InvalidArgument InvalidAuthorizationMessageException InvalidCertificate InvalidInput "
        "InvalidParameterValue InvalidPolicyDocument InvalidPrefix InvalidPublicKey InvalidRequest InvalidTag "
        "InvalidUserType InvalidWriteOffset KeyPairMismatch MalformedCertificate MalformedPolicy "
        "MalformedPolicyDocument MalformedXML PolicyEvaluation PolicyNotAttachable RoleTemplateDisabled "
        "UnrecognizedPublicKeyEncoding UnsupportedMediaType ValidationError",
        (StoreRefused, _REFUSED),
    ),
    **_all(
        "KMS.DisabledException KMS.InvalidStateException KMS.KMSInvalidStateException KMS.NotFoundException",
        (RetrySlowly, _KEY),
    ),
    **_all(
        "FeatureDisabled FeatureEnabled MethodNotAllowed NotImplemented NotSupportedService ReportExpired "
        "ReportNotPresent InvalidAction",
        (StoreRefused, _MISSING),
    ),
}
"""What each code of S3, IAM and STS means to a claim; for any other the status decides."""

_NO_IDENTITY: Final = (
    "there are no credentials for AWS: name a Secret in parameters secretName and secretNamespace, or give the pod an "
    "identity (IRSA or EKS Pod Identity)"
)
_ENVIRONMENT: Final = "the provisioner's own AWS settings (environment, ~/.aws) can't be used ({code})"
_NOT_S3: Final = (
    "{where} answers with something that is not AWS's: parameters s3Endpoint and iamEndpoint must be addresses of APIs"
)

# The first that fits counts: some are kinds of others.
_TYPES: Final[tuple[tuple[tuple[type[BaseException], ...], _Answer], ...]] = (
    ((sdk.NoCredentialsError, sdk.NoAuthTokenError), (RetrySlowly, _NO_IDENTITY)),
    (
        (sdk.CredentialRetrievalError, sdk.MetadataRetrievalError, sdk.TokenRetrievalError),
        (StoreUnavailable, "the pod's own identity can't be asked for now ({code})"),
    ),
    (
        (sdk.SSLError,),
        (RetrySlowly, "no TLS connection with {where}: its certificate is not trusted, or it speaks no TLS ({code})"),
    ),
    ((sdk.EndpointConnectionError,), (StoreUnavailable, "{where} does not answer: no connection ({code})")),
    ((sdk.ProxyConnectionError,), (StoreUnavailable, "{where} can't be reached through the proxy ({code})")),
    ((sdk.ConnectTimeoutError,), (StoreUnavailable, "no connection with {where} within the time limit")),
    ((sdk.ReadTimeoutError,), (StoreUnavailable, "no answer from {where} within the time limit")),
    ((sdk.InvalidProxiesConfigError,), (RetrySlowly, _ENVIRONMENT)),
    (
        (sdk.HTTPClientError, sdk.IncompleteReadError, sdk.ChecksumError, sdk.FlexibleChecksumError, HTTPError),
        (StoreUnavailable, "the connection with {where} was cut ({code})"),
    ),
    (
        (sdk.UnknownRegionError, sdk.InvalidRegionError, sdk.BaseEndpointResolverError, sdk.ServiceNotInRegionError),
        (RetrySlowly, "parameter region names no region that AWS has, or one without this service ({code})"),
    ),
    (
        (sdk.EndpointProviderError, sdk.InvalidEndpointConfigurationError, sdk.InvalidHostLabelError),
        (RetrySlowly, "parameters region and s3Endpoint don't go together ({code})"),
    ),
    ((sdk.ParamValidationError, sdk.ValidationError), (RetrySlowly, _NOT_SENT)),
    ((ResponseParserError,), (RetrySlowly, _NOT_S3)),
    ((BotoCoreError, sdk.UndefinedModelAttributeError), (RetrySlowly, _ENVIRONMENT)),
    ((OSError,), (StoreUnavailable, "{where} can't be reached ({code})")),
    ((LookupError, ValueError), (RetrySlowly, _NOT_S3)),
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """What was being done, for messages.

    Attributes:
        where: who was asked.
        permission: what AWS calls the permission that the call needs.
        source: where the administrator's credentials come from.
    """

    where: str
    permission: str
    source: str = "the Secret that secretName names"


@contextmanager
def translated(call: Call) -> Iterator[None]:
    """Turns whatever a call of the SDK raises into the core's errors.

    Raises:
        ProvisionerError: never anything else of the SDK's, the network's or the parser's.
    """
    try:
        yield
    except ProvisionerError:
        raise
    except ClientError as error:
        raise _from_code(error, call) from error
    except (
        BotoCoreError,
        sdk.UndefinedModelAttributeError,
        ResponseParserError,
        HTTPError,
        LookupError,  # of the SDK's parsers, where something answers that is XML and not AWS's
        OSError,
        ValueError,
    ) as error:
        raise _from_type(error, call) from error


@contextmanager
def tolerated(*codes: str) -> Iterator[None]:
    """Lets a call of the SDK fail with one of these codes: what it should bring about is so already."""
    try:
        yield
    except ClientError as error:
        if code_of(error) not in codes:
            raise


def code_of(error: ClientError) -> str:
    """AWS's own code for `error` (`NoSuchBucket`); for an answer without a body its status."""
    return str(error.response.get("Error", {}).get("Code", ""))[:_LONGEST_CODE]


def is_denial(error: ClientError) -> bool:
    """Whether the caller is known, and not permitted: by a code that says so, or by 401 or 403 with an unknown one."""
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return (_ANSWERS.get(code_of(error)) or _from_status(status))[1] is _DENIED_TEXT


def refused_in_batch(code: str, call: Call, *, request_id: str = "") -> ProvisionerError:
    """The core's error for one refusal in an answer to a request about several objects."""
    answer = _as_answer(_ANSWERS.get(code, (StoreRefused, _OTHER)), status=200)
    return _answer(answer, call, code=code, delay=None, request_id=request_id)


def _from_code(error: ClientError, call: Call) -> ProvisionerError:
    code, metadata = code_of(error), error.response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    delay = parse_retry_after(metadata.get("HTTPHeaders", {}).get("retry-after"))
    answer = _as_answer(_ANSWERS.get(code) or _from_status(status), status)
    if status in {429, 503} and issubclass(answer[0], RetrySoon):
        answer = (Throttled, _BUSY)
    told = {"code": code or f"HTTP {status}"}
    denier = _denier_in(error) if answer[1] is _DENIED_TEXT else ""
    if denier:
        answer, told = (answer[0], _DENIED_BY_TEXT), {**told, "denier": denier}
    return _answer(answer, call, delay=delay, request_id=request_id_of(error.response), **told)


def _denier_in(error: ClientError) -> str:
    """What kind of policy AWS says to have denied a request, in words of ours; "" where it does not say."""
    told = str(error.response.get("Error", {}).get("Message", ""))[:_LONGEST_MESSAGE].lower()
    return next((words for part, words in _DENIERS.items() if part in told), "")


def _from_status(status: int) -> _Answer:
    if status in {429, 503}:
        return Throttled, _BUSY
    if status in {401, 403}:
        return AccessDenied, _DENIED_TEXT
    return (StoreUnavailable if status in {0, 408} or status >= 500 else StoreRefused), _OTHER


def _as_answer(answer: _Answer, status: int) -> _Answer:
    """Below 500 AWS has answered, whatever the code says of a failure: only that claim has to wait."""
    kind, text = answer
    has_answered = 0 < status < 500 and status not in {408, 429}
    return (_RefusedForNow, text) if has_answered and kind is StoreUnavailable else answer


def _from_type(error: Exception, call: Call) -> ProvisionerError:
    answer = next(answer for kinds, answer in _TYPES if isinstance(error, kinds))
    return _answer(answer, call, code=type(error).__name__, delay=None, request_id="")


def _answer(answer: _Answer, call: Call, *, delay: float | None, request_id: str, **told: str) -> ProvisionerError:
    kind, text = answer
    message = text.format(where=call.where, permission=call.permission, source=call.source, **told)
    extra: dict[str, Any] = {"delay": delay} if issubclass(kind, RetrySoon) else {}
    return kind(message, request_id=request_id, **extra)
