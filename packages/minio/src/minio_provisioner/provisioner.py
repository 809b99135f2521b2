"""The four verbs for MinIO, as recipes to be read from top to bottom.

Called by the core, from several threads; holds configuration and no state of a request. The steps are in
`storage` (buckets) and `identity` (users and policies); what may be granted is in `policy`.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from libbucket import (
    Authentication,
    BucketExists,
    BucketLister,
    BucketLost,
    BucketNotEmpty,
    BucketNotFound,
    BucketOptions,
    Connection,
    EmptyBucketDeleter,
    Endpoint,
    Inspector,
    InvalidClaim,
    NotReady,
    ObjectBucket,
    Provisioner,
    Services,
    drain,
    has_ownership_tags,
    warn_unapplied,
)
from minio_provisioner import access
from minio_provisioner.client import READ_SECONDS, Clients, connect
from minio_provisioner.identity import Identity
from minio_provisioner.parameters import (
    SIZE_KEYS,
    VERSIONING_KEY,
    Admin,
    Parameters,
    parse_admin,
    parse_parameters,
    parse_quota,
    parse_store_id,
    parse_versioning,
    shown,
)
from minio_provisioner.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from libbucket import Owner

_BUCKET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_RESERVED: Final = "minio"
_IP_ADDRESS: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")

_PURGE_SECONDS: Final = 20.0


@dataclass(frozen=True, kw_only=True)
class _Request:
    """One verb's view of MinIO: who, what and where."""

    parameters: Parameters
    ca_bundle: str
    storage: Storage
    identity: Identity
    bucket: str
    owner: Owner
    taken_over: bool
    was_bound: bool
    is_name_generated: bool
    repairs: list[str]

    def note(self, what: str) -> None:
        """Something had been changed out of band, and is repaired."""
        if self.was_bound:
            self.repairs.append(what)


class MinioProvisioner(Provisioner, Inspector, EmptyBucketDeleter, BucketLister):
    """Buckets in MinIO, each with a user and a policy of its own.

    Args:
        services: of the core: reads the administrator's Secret.
        purge_seconds: how long one call of `delete` removes objects, before it lets the core call again.
        read_seconds: time limit for an answer of MinIO's.
    """

    supported_config: ClassVar[frozenset[str]] = frozenset({*SIZE_KEYS, VERSIONING_KEY})
    tracks_requests: ClassVar[bool] = True

    def __init__(
        self, services: Services, *, purge_seconds: float = _PURGE_SECONDS, read_seconds: float = READ_SECONDS
    ) -> None:
        self._services = services
        self._purge_seconds = purge_seconds
        self._read_seconds = read_seconds

    def provision(self, options: BucketOptions) -> ObjectBucket:
        """Makes the bucket, a user and a policy; see `Provisioner.provision`."""
        _check_name(options.bucket_name)
        with self._request(options) as request:
            settings = _settings(options, request.parameters)
            _ensure_bucket(request)
            for name, apply in settings:
                if apply(request.storage):
                    request.note(name)
            found = _ensure_access(request, options)
            return _answer(request, found, warnings=request.parameters.warnings)

    def delete(self, ob: ObjectBucket) -> None:
        """Withdraws the credentials, then removes the bucket with everything in it; see `Provisioner.delete`."""
        with self._request(ob) as request:
            if not _find(request):
                request.identity.withdraw()
                return
            # Once: when the user is gone, an earlier call has looked, and began to remove.
            if request.storage.has_object_lock(request.bucket) and request.identity.is_there():
                request.storage.check_unlocked(request.bucket, self._purge_seconds)
            request.identity.withdraw()
            drain(request.storage.purge(request.bucket), self._purge_seconds)
            request.storage.remove(request.bucket)

    def delete_empty(self, ob: ObjectBucket) -> None:
        """The same for a bucket that holds nothing; see `EmptyBucketDeleter.delete_empty`."""
        with self._request(ob) as request:
            is_there = _find(request)
            if is_there and not request.storage.is_empty(request.bucket):
                raise BucketNotEmpty(f"bucket {request.bucket} holds objects, older versions or unfinished uploads")
            request.identity.withdraw()
            if is_there:
                request.storage.remove(request.bucket)

    def grant(self, options: BucketOptions) -> ObjectBucket:
        """Lets the claim into the bucket that the class names; see `Provisioner.grant`."""
        with self._request(options) as request:
            if not _is_name(request.bucket) or request.storage.find_tags(request.bucket) is None:
                raise BucketNotFound(f"bucket {request.bucket}, which the StorageClass names, does not exist")
            found = _ensure_access(request, options)
            unapplied = warn_unapplied(options.claim, self.supported_config)
            return _answer(request, found, warnings=request.parameters.warnings + unapplied)

    def revoke(self, ob: ObjectBucket) -> None:
        """Withdraws the credentials and leaves the bucket as it is; see `Provisioner.revoke`."""
        with self._request(ob) as request:
            request.identity.withdraw()

    def is_intact(self, options: BucketOptions) -> bool:
        """Whether the claim's own keys reach its bucket, in one request; see `Inspector.is_intact`."""
        with self._request(options) as request:
            keys = access.own_keys(options, request.identity.user)
            return keys is not None and not request.storage.find_refusal(keys, request.bucket)

    def list_buckets(self, parameters: Mapping[str, str]) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Every bucket with ownership tags, by one request for the list and two for each; see `BucketLister`."""
        parsed = parse_parameters(parameters)
        fence = self._services.before_request
        with connect(parsed, self._admin(parsed), fence=fence, read_seconds=self._read_seconds) as clients:
            storage = Storage(clients=clients)
            for name in storage.list_names():
                tags = storage.find_tags(name)
                if tags and has_ownership_tags(tags):
                    yield name, tags

    def store_id(self, parameters: Mapping[str, str]) -> str:
        """The endpoint in one spelling; see `Provisioner.store_id`."""
        return parse_store_id(parameters)

    @contextmanager
    def _request(self, of: BucketOptions | ObjectBucket) -> Iterator[_Request]:
        parameters = parse_parameters(of.parameters)
        admin = self._admin(parameters)
        with connect(
            parameters, admin, fence=self._services.before_request, read_seconds=self._read_seconds
        ) as clients:
            yield _Request(
                parameters=parameters,
                ca_bundle=parameters.ca_bundle or admin.ca_bundle,
                storage=Storage(clients=clients),
                identity=_identity(clients, of.user_id, of.additional_state),
                bucket=of.bucket_name,
                owner=of.owner,
                taken_over=of.taken_over,
                was_bound=isinstance(of, BucketOptions) and of.was_bound,
                is_name_generated=isinstance(of, BucketOptions) and of.is_name_generated,
                repairs=[],
            )

    def _admin(self, parameters: Parameters) -> Admin:
        secret = self._services.read_secret(parameters.secret_namespace, parameters.secret_name)
        return parse_admin(secret, named=f"{parameters.secret_namespace}/{parameters.secret_name}")


def _identity(clients: Clients, user_id: str, state: Mapping[str, str]) -> Identity:
    """Recorded names win over derived ones: how they are derived may change between releases."""
    policy = state.get("PolicyName") or user_id
    return Identity(clients=clients, user=state.get("UserName") or policy, policy=policy)


def _is_name(bucket: str) -> bool:
    has_form = _BUCKET_NAME.fullmatch(bucket) is not None and not _IP_ADDRESS.fullmatch(bucket)
    return has_form and bucket != _RESERVED and not any(pair in bucket for pair in ("..", ".-", "-."))


def _check_name(bucket: str) -> None:
    if not _is_name(bucket):
        raise InvalidClaim(
            f"spec.bucketName {shown(bucket)} is not a name that MinIO takes: 3 to 63 lower-case letters, digits, "
            "hyphens and single dots, beginning and ending with a letter or digit, no IP address, and not 'minio'"
        )


def _settings(options: BucketOptions, parameters: Parameters) -> list[tuple[str, Callable[[Storage], bool]]]:
    """What to set on the bucket, each with its name; checked as a whole before anything is made."""
    config, before, bucket = options.claim.additional_config, options.previous_config, options.bucket_name
    asked = parse_versioning(config, object_locking=parameters.locks is not None)
    by_class = "Enabled" if parameters.versioning else None
    reset = "Suspended" if VERSIONING_KEY in before else None
    versioning = asked or by_class or reset
    settings: list[tuple[str, Callable[[Storage], bool]]] = []
    if versioning is not None:
        settings.append(("versioning", lambda storage: storage.set_versioning(bucket, versioning)))
    quota = parse_quota(config, parameters.quotas)
    if quota is None and any(key in before for key in SIZE_KEYS):
        quota = 0
    if quota is not None:
        size = quota
        settings.append(("quota", lambda storage: storage.set_quota(bucket, size)))
    return settings


def _find(request: _Request) -> bool:
    """Whether the bucket of a claim that is deleted is there; that it is not, two requests have to say.

    A name that no bucket can have is of a claim that was refused: there is nothing to remove.
    """
    if not _is_name(request.bucket):
        return False
    if _settle(request):
        return True
    request.storage.confirm_gone(request.bucket)
    return False


def _ensure_bucket(request: _Request) -> None:
    """The claim's bucket exists, with its ownership tags.

    MinIO can't create a bucket with tags, so a crash between the two calls leaves one without them. To recognize it,
    the intent is noted in MinIO before the creation, and only where no bucket has that name; `_settle` reads it.
    """
    if _settle(request):
        return
    if request.was_bound:
        request.storage.confirm_gone(request.bucket)
        raise BucketLost(f"bucket {request.bucket} is gone, with everything in it")
    request.identity.declare_intent(request.bucket)
    if request.storage.create(request.bucket, object_locking=request.parameters.locks is not None):
        request.storage.set_tags(request.bucket, request.owner.ownership_tags())
        return
    # It was created since it was looked for: by another party, or by another replica that is about to tag it. Or by
    # this call: a request can arrive twice, and then only its second answer comes back. With a generated name, it was.
    if request.is_name_generated and _settle(request):
        return
    _check_creator(request)


def _check_creator(request: _Request) -> None:
    """Returns if the bucket, which another call created, has this claim's ownership tags.

    Raises:
        BucketExists: it has the tags of another.
        NotReady: it has no tags yet. The next call decides; without a noted intent it does not adopt the bucket.
    """
    tags = request.storage.find_tags(request.bucket)
    if request.owner.matches(tags or {}):
        return
    request.identity.withdraw_intent(request.bucket)
    if tags:
        raise _not_ours(request.bucket)
    raise NotReady(f"bucket {request.bucket} was created by another while it was to be created for this claim", delay=5)


def _settle(request: _Request) -> bool:
    """Whether the bucket exists and is this claim's; first finishes a creation that was cut off.

    A bucket without any tag is the claim's if its intent is noted and the bucket is empty. The note is removed as soon
    as the bucket is found to be another's, so that it is not adopted when it happens to be empty later. Known limits:

    * a bucket of that very name that another party creates without tags, after the note and before the next call, and
      that is still empty then, is adopted;
    * where two claims that asked for one name at once both crash between note and tags, both may find it empty and
      without tags: the one that writes its tags last has it.

    Raises:
        BucketExists: it is not this claim's.
    """
    tags = request.storage.find_tags(request.bucket)
    if tags is None:
        return False
    if request.owner.matches(tags):
        return True
    if request.owner.owns(tags, taken_over=request.taken_over):
        request.storage.set_tags(request.bucket, {**tags, **request.owner.ownership_tags()})
        return True
    if tags or not request.identity.has_declared_intent(request.bucket) or not request.storage.is_empty(request.bucket):
        request.identity.withdraw_intent(request.bucket)
        raise _not_ours(request.bucket)
    request.storage.set_tags(request.bucket, request.owner.ownership_tags())
    return True


def _not_ours(bucket: str) -> BucketExists:
    return BucketExists(f"bucket {bucket} exists and was not made for this claim: it stays as it is")


def _ensure_access(request: _Request, options: BucketOptions) -> access.Access:
    found = access.ensure(options, request.identity, request.storage, locks=request.parameters.locks)
    for what in found.repairs:
        request.note(what)
    return found


def _answer(request: _Request, found: access.Access, *, warnings: tuple[str, ...]) -> ObjectBucket:
    public = request.parameters.public
    extra = {"BUCKET_SSL": "true" if public.secure else "false", "BUCKET_ENDPOINT": public.url}
    if public.secure and request.ca_bundle:
        extra["BUCKET_CA_CERT"] = request.ca_bundle
    endpoint = Endpoint(
        bucket_host=public.host,
        bucket_port=public.port,
        bucket_name=request.bucket,
        region=request.parameters.region,
        additional_config=extra,
    )
    return ObjectBucket(
        connection=Connection(
            endpoint=endpoint,
            authentication=Authentication(access_keys=found.keys),
            additional_state={"UserName": found.keys.access_key_id, "PolicyName": request.identity.policy},
        ),
        warnings=warnings + found.warnings,
        repairs=tuple(request.repairs),
    )
