"""The four verbs for AWS S3, as recipes to be read from top to bottom.

Called by the core, from several threads; holds configuration and no state of a request. The steps are in `ownership`,
`storage`, `contents` and `settings` (buckets) and in `identity` (users); what may be granted is in `policy`.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Final

from aws_s3_provisioner.access import ensure_access, resumed_access
from aws_s3_provisioner.client import Clients, Connector
from aws_s3_provisioner.contents import Contents
from aws_s3_provisioner.creations import Creations
from aws_s3_provisioner.credentials import accepted_trials
from aws_s3_provisioner.identity import Identity
from aws_s3_provisioner.listing import list_owned
from aws_s3_provisioner.ownership import ensure_bucket, has_bucket, is_foreign_kind, is_name, is_reserved
from aws_s3_provisioner.parameters import (
    LIFECYCLE_KEY,
    POLICY_KEY,
    VERSIONING_KEY,
    Admin,
    Parameters,
    check_policy_length,
    parse_admin,
    parse_parameters,
    server_of,
    shown,
)
from aws_s3_provisioner.pending import PendingKeys
from aws_s3_provisioner.request import Patience, Request, withdraw
from aws_s3_provisioner.sdk_clients import Limits
from aws_s3_provisioner.settings import parse_settings
from aws_s3_provisioner.stamps import STAMP, Stamps, stamped_path
from aws_s3_provisioner.storage import Storage
from aws_s3_provisioner.trials import Trials
from aws_s3_provisioner.users import UserInUse
from libbucket import (
    AccessKeys,
    Authentication,
    BucketLister,
    BucketNotEmpty,
    BucketNotFound,
    BucketOptions,
    Connection,
    EmptyBucketDeleter,
    Endpoint,
    Inspector,
    InvalidAdminSecret,
    InvalidClaim,
    InvalidConfig,
    InvalidParameters,
    ObjectBucket,
    Provisioner,
    Services,
    drain,
    warn_unapplied,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from aws_s3_provisioner.access import Access
    from aws_s3_provisioner.settings import Settings

_MANAGED_POLICY: Final = re.compile(r"arn:[a-z-]+:iam::\d{12}:policy/(?P<name>[\w+=,.@-]+)")

_STATE_USER: Final = "UserName"
_STATE_ARN: Final = "ARN"
_STATE_KEY: Final = "AccessKeyId"


class AwsS3Provisioner(Provisioner, Inspector, EmptyBucketDeleter, BucketLister):
    """Buckets in AWS S3, each with an IAM user of its own.

    Args:
        services: of the core: reads the administrator's Secret.
        limits: of every request.
        patience: of every verb.
        pending: keys that were made and do not work yet; empty by default.
    """

    supported_config: ClassVar[frozenset[str]] = frozenset({POLICY_KEY, LIFECYCLE_KEY, VERSIONING_KEY})
    tracks_requests: ClassVar[bool] = True

    def __init__(
        self,
        services: Services,
        *,
        limits: Limits | None = None,
        patience: Patience | None = None,
        pending: PendingKeys | None = None,
    ) -> None:
        self._services = services
        self._connector = Connector(limits or Limits(), services.before_request)
        self._patience = patience or Patience()
        self._pending = pending or PendingKeys()
        self._creations = Creations()

    def provision(self, options: BucketOptions) -> ObjectBucket:
        """Makes the bucket, a user and a policy; see `Provisioner.provision`."""
        _check_name(options)
        with self._request(options, is_greenfield=True) as request:
            _check_prefix(options, request.parameters.bucket_name_prefix)
            check_policy_length(request.parameters)
            settings = parse_settings(options, request.parameters, request.clients)
            _check_handed_out(request)
            resumed = resumed_access(request, options)
            if resumed is not None:
                return _answer_with(request, resumed, warnings=request.parameters.warnings)
            ensure_bucket(request)
            _check_lifecycle(request, settings)
            for key in settings.apply(request.clients, request.bucket):
                request.note(key)
            return _ensure_access(request, options, warnings=request.parameters.warnings)

    def delete(self, ob: ObjectBucket) -> None:
        """Withdraws the credentials, then removes the bucket with everything in it; see `Provisioner.delete`."""
        with self._request(ob, is_greenfield=True) as request:
            if not has_bucket(request):
                withdraw(request)
                return
            request.contents.check_unlocked(request.bucket)
            kept = _withdraw_or_why(request)
            drain(request.contents.purge(request.bucket), self._patience.purge, clock=self._patience.clock)
            request.storage.remove(request.bucket)
            if kept is not None:
                raise kept

    def delete_empty(self, ob: ObjectBucket) -> None:
        """The same for a bucket that holds nothing; see `EmptyBucketDeleter.delete_empty`."""
        with self._request(ob, is_greenfield=True) as request:
            is_there = has_bucket(request)
            if is_there and not request.contents.is_empty(request.bucket):
                raise BucketNotEmpty(f"bucket {request.bucket} holds objects, older versions or unfinished uploads")
            kept = _withdraw_or_why(request)
            if is_there:
                request.storage.remove(request.bucket)
            if kept is not None:
                raise kept

    def grant(self, options: BucketOptions) -> ObjectBucket:
        """Lets the claim into the bucket that the class names; see `Provisioner.grant`."""
        with self._request(options) as request:
            check_policy_length(request.parameters)
            _check_handed_out(request)
            _check_kind(request.bucket)
            if not is_name(request.bucket):
                raise BucketNotFound(f"bucket {request.bucket}, which the StorageClass names, can't exist")
            request.storage.check_exists(request.bucket)
            warnings = request.parameters.warnings + warn_unapplied(options.claim, self.supported_config)
            resumed = resumed_access(request, options)
            if resumed is not None:
                return _answer_with(request, resumed, warnings=warnings)
            return _ensure_access(request, options, warnings=warnings)

    def revoke(self, ob: ObjectBucket) -> None:
        """Withdraws the credentials and leaves the bucket as it is; see `Provisioner.revoke`."""
        with self._request(ob) as request:
            withdraw(request)

    def is_intact(self, options: BucketOptions) -> bool:
        """Lists the bucket once with the claim's own credentials; see `Inspector.is_intact`."""
        keys = options.credentials.access_keys if options.credentials else None
        if keys is None or options.additional_state.get(_STATE_KEY, keys.access_key_id) != keys.access_key_id:
            return False  # another claim's key can open the same existing bucket
        with self._request(options) as request:
            return request.trials.attempt(keys, request.bucket).trial in accepted_trials(request.parameters)

    def list_buckets(self, parameters: Mapping[str, str]) -> Iterator[tuple[str, Mapping[str, str]]]:
        """The buckets in the class's region; see `BucketLister` and `listing`."""
        parsed = parse_parameters(parameters)
        with self._connector.connect(parsed, self._admin(parsed)) as clients:
            storage = Storage(clients=clients, stamps=Stamps(clients))
            yield from list_owned(storage, region=parsed.region, prefix=parsed.bucket_name_prefix)

    def store_id(self, parameters: Mapping[str, str]) -> Hashable:
        """Host and port of the store, or AWS and the region; see `Provisioner.store_id`."""
        return server_of(parameters)

    @contextmanager
    def _request(self, of: BucketOptions | ObjectBucket, *, is_greenfield: bool = False) -> Iterator[Request]:
        parameters = parse_parameters(of.parameters)
        admin = self._admin(parameters)
        with self._connector.connect(parameters, admin, is_greenfield=is_greenfield) as clients:
            stamps = Stamps(clients)
            yield Request(
                parameters=parameters,
                admin=admin,
                clients=clients,
                storage=Storage(clients=clients, stamps=stamps),
                contents=Contents(clients=clients, now=self._services.now, stamps=stamps),
                trials=Trials(clients=clients),
                identity=_identity(clients, parameters, of),
                bucket=of.bucket_name,
                owner=of.owner,
                taken_over=of.taken_over,
                is_greenfield=is_greenfield,
                # One that a class without users finds recorded is from before the class was changed.
                has_user=parameters.create_user or bool(of.additional_state.get(_STATE_USER)),
                was_bound=of.was_bound if isinstance(of, BucketOptions) else bool(of.additional_state),
                repairs=[],
                patience=self._patience,
                pending=self._pending,
                creations=self._creations,
            )

    def _admin(self, parameters: Parameters) -> Admin | None:
        if not parameters.secret_name:
            return None
        secret = self._services.read_secret(parameters.secret_namespace, parameters.secret_name)
        return parse_admin(secret, named=f"{parameters.secret_namespace}/{parameters.secret_name}")


def _identity(clients: Clients, parameters: Parameters, of: BucketOptions | ObjectBucket) -> Identity:
    """Recorded names win over derived ones: the Go provisioner's were random."""
    recorded = of.additional_state.get(_STATE_USER, "")
    name = recorded or of.user_id
    policy = _MANAGED_POLICY.fullmatch(of.additional_state.get(_STATE_ARN, ""))
    # The Go provisioner named the policy for the user, and before that for the bucket.
    is_the_claims = policy is not None and policy["name"] in {name, of.bucket_name}
    return Identity(
        clients=clients,
        name=name,
        owner=of.owner,
        path=parameters.iam_path if parameters.is_aws else stamped_path(parameters.iam_path, of.owner),
        path_is_stamp=not parameters.is_aws,
        boundary=parameters.permissions_boundary,
        tags=parameters.tags,
        managed_policy=policy[0] if policy and is_the_claims else "",
        taken_over=of.taken_over and bool(recorded),
        is_recorded=recorded == of.user_id,
        # The Go provisioner's record may be of a claim that nobody has proven to be this one.
        may_be_adopted=recorded not in {"", of.user_id},
    )


def _withdraw_or_why(request: Request) -> UserInUse | None:
    """Withdraws the credentials; why their user is kept, if it is: the bucket goes nevertheless."""
    try:
        withdraw(request)
    except UserInUse as kept:
        return kept
    return None


def _check_name(options: BucketOptions) -> None:
    bucket = options.bucket_name
    if not is_name(bucket) or (is_reserved(bucket) and not options.taken_over):
        raise InvalidClaim(
            f"spec.bucketName {shown(bucket)} is not a name that S3 takes: 3 to 63 lower-case letters, digits, hyphens "
            "and single dots, beginning and ending with a letter or digit, no IP address, and with no beginning or end "
            "that AWS reserves (xn--, -s3alias, ...)"
        )


def _check_kind(bucket: str) -> None:
    if is_foreign_kind(bucket):
        problem = "names a directory or table bucket or an access point, and must name a general purpose bucket"
        raise InvalidParameters([f"bucketName {shown(bucket)} {problem}"])


def _check_prefix(options: BucketOptions, prefix: str) -> None:
    """Refuses other names for new buckets; what is there already, an edit of the class does not reach."""
    if not options.bucket_name.startswith(prefix) and not options.taken_over and not options.was_bound:
        raise InvalidClaim(
            f"the bucket's name {shown(options.bucket_name)} does not begin with {prefix}, as parameter "
            "bucketNamePrefix of the StorageClass wants it: change spec.bucketName or spec.generateBucketName"
        )


def _ensure_access(request: Request, options: BucketOptions, *, warnings: tuple[str, ...]) -> ObjectBucket:
    if not request.parameters.create_user:
        if request.has_user:
            request.identity.withdraw()
        return _answer(request, _admins_own(request), state={_STATE_USER: "", _STATE_ARN: ""}, warnings=warnings)
    return _answer_with(request, ensure_access(request, options), warnings=warnings)


def _answer_with(request: Request, access: Access, *, warnings: tuple[str, ...]) -> ObjectBucket:
    state = {
        _STATE_USER: request.identity.name,
        _STATE_ARN: request.identity.managed_policy or access.user_arn,
        _STATE_KEY: access.keys.access_key_id,
    }
    return _answer(request, access.keys, state=state, warnings=warnings + access.warnings)


def _check_lifecycle(request: Request, settings: Settings) -> None:
    """Rules would remove the stamp with the objects that they are about."""
    if settings.lifecycle and request.storage.stamps.are_used:
        raise InvalidConfig(
            f"additionalConfig.{LIFECYCLE_KEY} can't be used at {request.clients.where}, which has no tags of buckets: "
            f"its rules could remove the object {STAMP}, which says whose the bucket is"
        )


def _check_handed_out(request: Request) -> None:
    if not request.parameters.create_user:
        _admins_own(request)


def _admins_own(request: Request) -> AccessKeys:
    """What a class with `createBucketUser: "no"` hands out, because it says so."""
    admin = request.admin
    if admin is None or admin.token:
        raise InvalidAdminSecret(
            "parameter createBucketUser is no: the administrator's Secret must hold a key that does not end by itself, "
            "so without AWS_SESSION_TOKEN"
        )
    return AccessKeys(access_key_id=admin.access_key, secret_access_key=admin.secret_key)


def _answer(request: Request, keys: AccessKeys, *, state: Mapping[str, str], warnings: tuple[str, ...]) -> ObjectBucket:
    public = request.clients.public
    endpoint = Endpoint(
        bucket_host=public.host,
        bucket_port=public.port,
        bucket_name=request.bucket,
        region=request.parameters.region,
        additional_config={"BUCKET_SSL": "true" if public.secure else "false", "BUCKET_ENDPOINT": public.url},
    )
    return ObjectBucket(
        connection=Connection(
            endpoint=endpoint,
            authentication=Authentication(access_keys=keys),
            additional_state=state,
        ),
        warnings=warnings,
        repairs=tuple(request.repairs),
    )
