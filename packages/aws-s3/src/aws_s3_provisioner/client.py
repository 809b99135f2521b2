"""Connections to AWS: clients with the administrator's and with a claim's credentials.

Opened once per verb by `provisioner` and closed after it, so that no state of a request outlives it. What is kept
between verbs is what costs: the SDK's data files, the pod's own identity with its tokens, and the numbers of accounts.
How one client is made is in `sdk_clients`. Knows nothing of buckets and identities.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from botocore.exceptions import NoCredentialsError
from botocore.loaders import create_loader

from aws_s3_provisioner.errors import Call, code_of, translated
from aws_s3_provisioner.pacing import Pacers
from aws_s3_provisioner.parameters import is_region
from aws_s3_provisioner.partitions import check_fips, destination, partition_of, suffix_of
from aws_s3_provisioner.sdk_clients import ClientMaker, Keys, PodSession, SharedSession
from libbucket import Address, ProvisionerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.credentials import Credentials
    from botocore.exceptions import ClientError
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_s3 import S3Client

    from aws_s3_provisioner.parameters import Admin, Parameters
    from aws_s3_provisioner.sdk_clients import Limits
    from libbucket import AccessKeys

_TO_BE_ONESELF: Final = "sts:AssumeRoleWithWebIdentity, by the trust policy of the pod's role,"
_ASK_AGAIN: Final = 300.0


@dataclass(frozen=True, kw_only=True)
class Clients:
    """What one verb works with.

    Attributes:
        s3: bucket calls, as the administrator.
        iam: identity calls, as the administrator.
        where: who is asked, for messages.
        source: where the administrator's credentials come from, for messages.
        partition: `aws`, `aws-cn`, ...: the second part of an ARN.
        public: what applications are told.
        account: number of the administrator's account; "" where it is not known.
        s3_service: name of S3 in policies, such as `s3.eu-west-1.amazonaws.com`.
    """

    s3: S3Client
    iam: IAMClient
    where: str
    source: str
    partition: str
    public: Address
    account: str
    s3_service: str
    _maker: ClientMaker
    _stack: ExitStack
    _credentials: Keys

    @property
    def is_aws(self) -> bool:
        """Whether the store is AWS itself."""
        return self._maker.parameters.is_aws

    def lacks(self, error: ClientError) -> bool:
        """Whether the store says that it has no such thing, as Cloudflare R2 has no tags of buckets and no versions.

        AWS has all of it, so that the same answer there is a failure, from which nothing follows.
        """
        return code_of(error) == "NotImplemented" and not self.is_aws

    def bucket_arn(self, bucket: str) -> str:
        """The bucket's ARN."""
        return f"arn:{self.partition}:s3:::{bucket}"

    def call(self, permission: str) -> Call:
        """What is being done, for messages."""
        return Call(where=self.where, permission=permission, source=self.source)

    def in_region(self, region: str) -> Clients | None:
        """The same, for a bucket that is in another region of AWS; None where only one is within reach."""
        parameters = self._maker.parameters
        if parameters.s3_endpoint or not is_region(region):
            return None
        maker = replace(self._maker, parameters=replace(parameters, region=region))
        return replace(self, s3=self._stack.enter_context(closing(maker.s3(self._credentials))))

    def s3_as(self, keys: AccessKeys) -> S3Client:
        """An S3 client with a claim's own keys."""
        credentials = Keys(keys.access_key_id, keys.secret_access_key.reveal(), "")
        return self._stack.enter_context(closing(self._maker.s3(credentials)))


class Connector:
    """Makes the clients of a verb. One per process; its methods may be called from several threads.

    Args:
        limits: of every request.
        fence: asked before each request; see `Services.before_request`.
    """

    def __init__(self, limits: Limits, fence: Callable[[], None]) -> None:
        self._limits = limits
        self._fence = fence
        # Reading the SDK's data takes 100 ms, and a session 20; with both at hand a client takes 4.
        self._loader = create_loader()
        self._session = SharedSession(self._loader)
        self._ambient: dict[tuple[str, str], Credentials] = {}
        self._accounts: dict[tuple[str, str], tuple[str, float]] = {}
        self._pacers = Pacers()
        self._lock = threading.Lock()

    @contextmanager
    def connect(self, parameters: Parameters, admin: Admin | None, *, is_greenfield: bool = False) -> Iterator[Clients]:
        """Clients for one verb; their connections are closed at the end, whatever happens.

        Args:
            parameters: where to connect to.
            admin: who connects; None for the pod's own identity.
            is_greenfield: buckets of other accounts are refused.

        Raises:
            RetrySlowly: the region is unknown, or there are no credentials.
            StoreUnavailable: the pod's identity can't be asked for now.
        """
        source = "the Secret that secretName names" if admin else "the pod's own identity"
        with ExitStack() as stack:
            with translated(Call(where="AWS", permission=_TO_BE_ONESELF, source=source)):
                credentials = _from_secret(admin) if admin else self._from_pod(parameters)
                maker = ClientMaker(self._session, parameters, self._limits, self._fence)
                partition = partition_of(self._session, parameters)
                if parameters.fips:
                    check_fips(self._loader, partition, parameters.region)
                account = self._account(maker, credentials, admin, asks=is_greenfield)
                # IAM throttles an account as a whole. Only AWS is known to throttle what a few workers send.
                pacer = self._pacers.of((partition, account or admin_id(admin))) if parameters.is_aws else None
                maker = replace(maker, pacer=pacer, bucket_owner=account if is_greenfield else "")
                s3 = stack.enter_context(closing(maker.s3(credentials)))
                iam = stack.enter_context(closing(maker.iam(credentials)))
            public = Address.from_url(parameters.s3_endpoint or destination(s3))
            yield Clients(
                s3=s3,
                iam=iam,
                where=_where(parameters, public),
                source=source,
                partition=partition,
                public=public,
                account=account,
                s3_service=f"s3.{parameters.region}.{suffix_of(self._loader, partition)}",
                _maker=maker,
                _stack=stack,
                _credentials=credentials,
            )

    def _account(self, maker: ClientMaker, credentials: Keys, admin: Admin | None, *, asks: bool) -> str:
        """The number of the administrator's account, which STS tells without any permission.

        It only adds a condition to requests, and has them share a pace. So where STS can't be reached, as in a private
        network, it is "", and is asked for again some minutes later.

        Args:
            maker: of a client of STS.
            credentials: the administrator's.
            admin: the administrator.
            asks: whether it is asked for if it is not known.
        """
        if not maker.parameters.reaches_sts:
            return ""
        which = admin_id(admin), maker.parameters.region
        with self._lock:
            found, asked = self._accounts.get(which, ("", -_ASK_AGAIN))
        if found or not asks or time.monotonic() - asked < _ASK_AGAIN:
            return found
        call = Call(where="STS", permission="sts:GetCallerIdentity")
        with suppress(ProvisionerError), translated(call), closing(maker.sts(credentials)) as sts:
            found = sts.get_caller_identity()["Account"]
        with self._lock:
            self._accounts[which] = found, time.monotonic()
        return found

    def _from_pod(self, parameters: Parameters) -> Keys:
        """The pod's own identity through the SDK's chain: IRSA, EKS Pod Identity, or what else is there.

        Its tokens are kept and renewed by the SDK, because each costs a request.
        """
        which = (parameters.region, parameters.sts_endpoint)
        with self._lock:
            found = self._ambient.get(which)
            if found is None:
                session = PodSession(self._loader, *which, self._limits)
                found = session.get_credentials()
                if found is None:
                    raise NoCredentialsError
                self._ambient[which] = found
        frozen = found.get_frozen_credentials()
        return Keys(frozen.access_key or "", frozen.secret_key or "", frozen.token or "")


def admin_id(admin: Admin | None) -> str:
    """What tells the administrator's credentials from others; no secret."""
    return admin.access_key if admin else ""


def _where(parameters: Parameters, public: Address) -> str:
    return public.url if parameters.s3_endpoint else f"AWS in {parameters.region}"


def _from_secret(admin: Admin) -> Keys:
    return Keys(admin.access_key, admin.secret_key.reveal(), admin.token.reveal())
