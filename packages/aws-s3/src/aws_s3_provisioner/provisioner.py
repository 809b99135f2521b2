"""The four verbs for AWS S3, as recipes to be read from top to bottom.

Called by the core, from several threads; holds configuration and no state of a request. The steps are in `storage` and
`settings` (buckets) and `identity` (users); what may be granted is in `policy`.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from aws_s3_provisioner.client import Clients, Connector, Limits
from aws_s3_provisioner.identity import Identity
from aws_s3_provisioner.parameters import (
    LIFECYCLE_KEY,
    POLICY_KEY,
    VERSIONING_KEY,
    Admin,
    Parameters,
    parse_admin,
    parse_parameters,
)
from aws_s3_provisioner.policy import build_access, may_list
from aws_s3_provisioner.settings import parse_settings
from aws_s3_provisioner.storage import NewBucket, Storage, Trial
from libbucket import (
    AccessKeys,
    Authentication,
    BucketExists,
    BucketNotFound,
    BucketOptions,
    Connection,
    Endpoint,
    Inspector,
    InvalidAdminSecret,
    InvalidClaim,
    NotReady,
    ObjectBucket,
    Provisioner,
    Services,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from aws_s3_provisioner.identity import User
    from libbucket import Owner

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IP_ADDRESS: Final = re.compile(r"\d+\.\d+\.\d+\.\d+")
_RESERVED_STARTS: Final = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_ENDS: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3", "-an")
_MANAGED_POLICY: Final = re.compile(r"arn:[a-z-]+:iam::\d{12}:policy/(?P<name>[\w+=,.@-]+)")

_TOLERANT_REGION: Final = "us-east-1"
"""Where making a bucket that is the account's already is no error."""

_STATE_USER: Final = "UserName"
_STATE_ARN: Final = "ARN"


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a verb works or waits, in seconds, before it lets the core call again.

    Attributes:
        credentials: for new credentials to work: IAM needs seconds to tell all of S3 about them.
        replica: for another replica that is making the same bucket.
        poll: between two looks.
        purge: removing objects.
        sleep: waits.
        clock: seconds that never run backwards.
    """

    credentials: float = 30.0
    replica: float = 5.0
    poll: float = 0.5
    purge: float = 20.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, kw_only=True)
class _Request:
    """One verb's view of AWS: who, what and where."""

    parameters: Parameters
    admin: Admin | None
    clients: Clients
    storage: Storage
    identity: Identity
    bucket: str
    owner: Owner
    taken_over: bool
    has_user: bool
    patience: Patience


class AwsS3Provisioner(Provisioner, Inspector):
    """Buckets in AWS S3, each with an IAM user of its own.

    Args:
        services: of the core: reads the administrator's Secret.
        limits: of every request.
        patience: of every verb.
    """

    supported_config: ClassVar[frozenset[str]] = frozenset({POLICY_KEY, LIFECYCLE_KEY, VERSIONING_KEY})

    def __init__(
        self,
        services: Services,
        *,
        limits: Limits | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._services = services
        self._connector = Connector(limits or Limits())
        self._patience = patience or Patience()

    def provision(self, options: BucketOptions) -> ObjectBucket:
        """Makes the bucket, a user and a policy; see `Provisioner.provision`."""
        _check_name(options.bucket_name)
        with self._request(options) as request:
            settings = parse_settings(options, request.parameters, request.clients)
            _check_handed_out(request)
            _ensure_bucket(request)
            settings.apply(request.clients, request.bucket)
            return _ensure_access(request, options.credentials, warnings=request.parameters.warnings)

    def delete(self, ob: ObjectBucket) -> None:
        """Withdraws the credentials, then removes the bucket with everything in it; see `Provisioner.delete`."""
        with self._request(ob) as request:
            if not _has_bucket(request):
                _withdraw(request)
                return
            request.storage.check_unlocked(request.bucket)
            _withdraw(request)
            _purge(request)
            request.storage.remove(request.bucket)

    def grant(self, options: BucketOptions) -> ObjectBucket:
        """Lets the claim into the bucket that the class names; see `Provisioner.grant`."""
        with self._request(options) as request:
            _check_handed_out(request)
            if not _is_name(request.bucket) or not request.storage.exists(request.bucket):
                raise BucketNotFound(f"bucket {request.bucket}, which the StorageClass names, does not exist")
            unmanaged = tuple(
                f"additionalConfig.{key} is not applied: the bucket was not made for this claim"
                for key in sorted(self.supported_config & options.claim.additional_config.keys())
            )
            return _ensure_access(request, options.credentials, warnings=request.parameters.warnings + unmanaged)

    def revoke(self, ob: ObjectBucket) -> None:
        """Withdraws the credentials and leaves the bucket as it is; see `Provisioner.revoke`."""
        with self._request(ob) as request:
            _withdraw(request)

    def is_intact(self, options: BucketOptions) -> bool:
        """Lists the bucket once with the claim's own credentials; see `Inspector.is_intact`."""
        keys = options.credentials.access_keys if options.credentials else None
        if keys is None:
            return False
        with self._request(options) as request:
            return request.storage.attempt(keys, request.bucket) in _accepted(request.parameters)

    @contextmanager
    def _request(self, of: BucketOptions | ObjectBucket) -> Iterator[_Request]:
        parameters = parse_parameters(of.parameters)
        admin = self._admin(parameters)
        with self._connector.connect(parameters, admin) as clients:
            yield _Request(
                parameters=parameters,
                admin=admin,
                clients=clients,
                storage=Storage(clients=clients, now=self._services.now),
                identity=_identity(clients, parameters, of),
                bucket=of.bucket_name,
                owner=of.owner,
                taken_over=of.taken_over,
                # One that a class without users finds recorded is from before the class was changed.
                has_user=parameters.create_user or bool(of.additional_state.get(_STATE_USER)),
                patience=self._patience,
            )

    def _admin(self, parameters: Parameters) -> Admin | None:
        if not parameters.secret_name:
            return None
        secret = self._services.read_secret(parameters.secret_namespace, parameters.secret_name)
        return parse_admin(secret, named=f"{parameters.secret_namespace}/{parameters.secret_name}")


def _identity(clients: Clients, parameters: Parameters, of: BucketOptions | ObjectBucket) -> Identity:
    """Recorded names win over derived ones: the Go provisioner's were random."""
    name = of.additional_state.get(_STATE_USER) or of.user_id
    policy = _MANAGED_POLICY.fullmatch(of.additional_state.get(_STATE_ARN, ""))
    # The Go provisioner named the policy for the user, and before that for the bucket.
    is_the_claims = policy is not None and policy["name"] in {name, of.bucket_name}
    return Identity(
        clients=clients,
        name=name,
        owner=of.owner,
        path=parameters.iam_path,
        boundary=parameters.permissions_boundary,
        tags=parameters.tags,
        managed_policy=policy[0] if policy and is_the_claims else "",
        taken_over=of.taken_over and bool(of.additional_state.get(_STATE_USER)),
    )


def _is_name(bucket: str) -> bool:
    has_form = _BUCKET_NAME.fullmatch(bucket) is not None and not _IP_ADDRESS.fullmatch(bucket)
    is_reserved = bucket.startswith(_RESERVED_STARTS) or bucket.endswith(_RESERVED_ENDS)
    return has_form and not is_reserved and ".." not in bucket


def _check_name(bucket: str) -> None:
    if not _is_name(bucket):
        raise InvalidClaim(
            f"spec.bucketName {bucket!r} is not a name that S3 takes: 3 to 63 lower-case letters, digits, hyphens and "
            "single dots, beginning and ending with a letter or digit, no IP address, and with no beginning or end "
            "that AWS reserves (xn--, -s3alias, ...)"
        )


def _ensure_bucket(request: _Request) -> None:
    """The claim's bucket is there and stamped.

    AWS stamps a bucket in the call that makes it, and where it would take a bucket for made that was there, the stamp
    is read. A store that only speaks S3 may leave the stamp out, so that a crash
    before the next call leaves a bucket without one; to know it again, a note is left on the user before it is made.
    """
    if _settle(request):
        return
    tags = {**request.parameters.tags, **request.owner.stamp()}
    new = NewBucket(region=request.parameters.region, tags=tags, object_ownership=request.parameters.object_ownership)
    if not request.parameters.stamps_on_creation:
        _create_with_note(request, new)
        return
    made = request.storage.create(request.bucket, new)
    if not (made and new.region != _TOLERANT_REGION) and not _is_ours(request):
        raise _not_ours(request.bucket)


def _create_with_note(request: _Request, new: NewBucket) -> None:
    """Makes the bucket at a store that may leave the stamp out.

    Raises:
        BucketExists: somebody made it since we looked.
    """
    if request.parameters.create_user:
        request.identity.ensure()
        request.identity.declare_intent(request.bucket)
    made = request.storage.create(request.bucket, new)
    found = request.storage.find_tags(request.bucket)
    if made and found == {} and request.storage.is_empty(request.bucket):
        request.storage.stamp(request.bucket, new.tags)
        found = new.tags
    # Without any tag, another worker of ours may have made it, and be about to stamp it.
    is_ours = request.owner.is_stamped_on(found or {}) or (
        not found and _wait(request.patience, request.patience.replica, lambda: _is_ours(request))
    )
    if request.parameters.create_user:
        request.identity.withdraw_intent()
    if not is_ours:
        raise _not_ours(request.bucket)


def _settle(request: _Request) -> bool:
    """Whether the bucket is there and ours; the end of a creation that was cut short is done first.

    Raises:
        BucketExists: it is there, and not ours.
    """
    tags = request.storage.find_tags(request.bucket)
    if tags is None:
        return False
    if request.owner.is_stamped_on(tags):
        return True
    if not _may_stamp(request, tags):
        raise _not_ours(request.bucket)
    request.storage.stamp(request.bucket, {**tags, **request.parameters.tags, **request.owner.stamp()})
    return True


def _has_bucket(request: _Request) -> bool:
    """Whether there is a bucket of this claim to remove.

    Raises:
        BucketExists: there is one, and it is not ours; the claim's own credentials are withdrawn by then.
    """
    if not _is_name(request.bucket):  # of a claim that was refused
        return False
    try:
        return _settle(request)
    except BucketExists:
        _withdraw(request)
        raise


def _may_stamp(request: _Request, tags: Mapping[str, str]) -> bool:
    """Whether a bucket that is not stamped as ours is so nevertheless."""
    if "objectbucket_claim_uid" in tags:
        return False
    if request.taken_over:
        return True
    if tags or request.parameters.stamps_on_creation or not request.parameters.create_user:
        return False
    # What remains: a neighbour who makes an empty bucket of that very name, by hand and without tags, between our
    # note and our next call, finds it adopted.
    is_ours = request.identity.has_declared_intent(request.bucket) and request.storage.is_empty(request.bucket)
    request.identity.withdraw_intent()
    return is_ours


def _is_ours(request: _Request) -> bool:
    return request.owner.is_stamped_on(request.storage.find_tags(request.bucket) or {})


def _not_ours(bucket: str) -> BucketExists:
    return BucketExists(f"bucket {bucket} exists and was not made for this claim: it stays as it is")


def _ensure_access(request: _Request, held: Authentication | None, *, warnings: tuple[str, ...]) -> ObjectBucket:
    """The claim's user, limited to its bucket, and credentials that work: those that the claim holds, or new ones."""
    if not request.parameters.create_user:
        if request.has_user:
            request.identity.withdraw()
        return _answer(request, _admins_own(request), state={_STATE_USER: "", _STATE_ARN: ""}, warnings=warnings)
    user = request.identity.ensure()
    request.identity.limit(
        build_access(
            request.clients.bucket_arn(request.bucket),
            template=request.parameters.iam_policy,
            key_arn=_key_arn(request, user),
        )
    )
    keys = _working(request, held.access_keys if held is not None else None) or _new_keys(request)
    state = {_STATE_USER: request.identity.name, _STATE_ARN: request.identity.managed_policy or user.arn}
    return _answer(request, keys, state=state, warnings=warnings)


def _working(request: _Request, keys: AccessKeys | None) -> AccessKeys | None:
    if keys is None or not request.identity.has_only(keys.access_key_id):
        return None
    return keys if request.storage.attempt(keys, request.bucket) in _accepted(request.parameters) else None


def _new_keys(request: _Request) -> AccessKeys:
    new, accepted, patience = request.identity.create_keys(), _accepted(request.parameters), request.patience
    if not _wait(patience, patience.credentials, lambda: request.storage.attempt(new, request.bucket) in accepted):
        raise NotReady(
            f"the new credentials of user {request.identity.name} do not work yet; if this stays so, the bucket's own "
            "policy may keep them out",
            delay=5,
        )
    return new


def _wait(patience: Patience, seconds: float, is_so: Callable[[], bool]) -> bool:
    """Whether it became so within the bound."""
    deadline = patience.clock() + seconds
    while not is_so():
        if patience.clock() > deadline:
            return False
        patience.sleep(patience.poll)
    return True


def _accepted(parameters: Parameters) -> frozenset[Trial]:
    """What a trial by listing has to show: where the class lets nobody list, that S3 knows the key is all."""
    return frozenset({Trial.WORKS} if may_list(parameters.iam_policy) else {Trial.WORKS, Trial.DENIED})


def _check_handed_out(request: _Request) -> None:
    if not request.parameters.create_user:
        _admins_own(request)


def _admins_own(request: _Request) -> AccessKeys:
    """What a class with `createBucketUser: "no"` hands out, because it says so."""
    admin = request.admin
    if admin is None or admin.token:
        raise InvalidAdminSecret(
            "parameter createBucketUser is no: the administrator's Secret must hold a key that does not end by itself, "
            "so without AWS_SESSION_TOKEN"
        )
    return AccessKeys(access_key_id=admin.access_key, secret_access_key=admin.secret_key)


def _withdraw(request: _Request) -> None:
    """Withdraws what the claim got; where that was the administrator's own key, there is nothing to withdraw."""
    if request.has_user:
        request.identity.withdraw()


def _purge(request: _Request) -> None:
    removed, deadline = 0, request.patience.clock() + request.patience.purge
    while batch := request.storage.purge_batch(request.bucket):
        removed += batch
        if request.patience.clock() > deadline:
            raise NotReady(f"bucket {request.bucket} is being emptied: {removed} objects removed just now", delay=1)


def _key_arn(request: _Request, user: User) -> str:
    key = request.parameters.kms_key_id
    if not key or key.startswith("arn:"):
        return key
    return f"arn:{request.clients.partition}:kms:{request.parameters.region}:{user.account}:key/{key}"


def _answer(
    request: _Request, keys: AccessKeys, *, state: Mapping[str, str], warnings: tuple[str, ...]
) -> ObjectBucket:
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
    )
