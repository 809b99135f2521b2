"""The four verbs for Google Cloud Storage, as recipes to be read from top to bottom.

Called by the core, from several threads; holds configuration and no state of a request. The steps are in `storage`
(buckets and their policies), `identity` (service accounts) and `keys` (what the Secret holds); what may be granted is
in `policy`.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from gcs_provisioner.client import Connector, Patience, Verdict
from gcs_provisioner.errors import PermissionDenied
from gcs_provisioner.identity import Identity, build_account_id, build_email
from gcs_provisioner.keys import FILE_KEY, HMAC_STATE, KEY_STATE, Keys, own_key, remembered
from gcs_provisioner.parameters import (
    DEFAULT_ENDPOINT,
    KUBERNETES_KEY,
    VERSIONING_KEY,
    Kind,
    Parameters,
    parse_admin,
    parse_kubernetes_account,
    parse_parameters,
    parse_versioning,
)
from gcs_provisioner.policy import grant, grant_shared, is_same, withdraw, withdraw_shared, workload_member
from gcs_provisioner.storage import PolicyRefused, Storage, UnknownMember, build_stamp
from gcs_provisioner.unfinished import Unfinished
from libbucket import (
    Authentication,
    BucketExists,
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
    RetrySlowly,
    Services,
    drain,
    warn_unapplied,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping
    from typing import Any

    from google.cloud.storage import Bucket

    from gcs_provisioner.client import Clients
    from gcs_provisioner.parameters import Admin
    from gcs_provisioner.policy import Binding
    from libbucket import Claim, Owner

# https://cloud.google.com/storage/docs/buckets#naming; names with dots need a domain that is proven to be one's own.
_BUCKET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]")
_ACCOUNT_STATE: Final = "ServiceAccount"


@dataclass(frozen=True, kw_only=True)
class _Request:
    """One verb's view of Google: who, what and where."""

    parameters: Parameters
    clients: Clients
    storage: Storage
    identity: Identity
    bucket: str
    owner: Owner
    taken_over: bool
    was_bound: bool
    repairs: list[str]

    def note(self, what: str) -> None:
        """Something had been changed out of band, and is repaired."""
        if self.was_bound:
            self.repairs.append(what)


class GcsProvisioner(Provisioner, Inspector, EmptyBucketDeleter):
    """Buckets in Google Cloud Storage, each with a service account of its own.

    Args:
        services: of the core: reads the administrator's Secret, tells the time.
        patience: how long a verb waits for Google.
    """

    supported_config: ClassVar[frozenset[str]] = frozenset({VERSIONING_KEY, KUBERNETES_KEY})
    tracks_requests: ClassVar[bool] = True

    def __init__(self, services: Services, *, patience: Patience | None = None) -> None:
        self._services = services
        self._patience = patience or Patience()
        self._connector = Connector(self._patience, services.before_request)
        self._unfinished = Unfinished(services.now)

    def provision(self, options: BucketOptions) -> ObjectBucket:
        """Makes the bucket, a service account and its keys; see `Provisioner.provision`."""
        _check_name(options.bucket_name)
        parse_kubernetes_account(options.claim.additional_config)
        with self._request(options) as request:
            versioning = _decide_versioning(options, request.parameters)
            found = _ensure_bucket(request, versioning=bool(versioning), is_known=options.was_bound)
            if versioning is not None and request.storage.set_versioning(found, enabled=versioning):
                request.note("versioning")
            authentication = self._ensure_access(request, found, options)
            return _answer(request, found, authentication)

    def delete(self, ob: ObjectBucket) -> None:
        """Withdraws the credentials, then removes the bucket with everything in it; see `Provisioner.delete`."""
        with self._request(ob) as request:
            found = _find_to_delete(request)
            if found is None:
                self._withdraw(request, ob)
                return
            _check_ours(request, found)
            request.storage.check_unlocked(request.bucket)
            self._withdraw(request, ob)
            drain(request.storage.purge(request.bucket), self._patience.purge)
            request.storage.remove(request.bucket, with_folders=True)

    def delete_empty(self, ob: ObjectBucket) -> None:
        """The same for a bucket that holds nothing; see `EmptyBucketDeleter.delete_empty`."""
        with self._request(ob) as request:
            found = _find_to_delete(request)
            if found is not None:
                _check_ours(request, found)
                if not request.storage.is_empty(request.bucket):
                    raise BucketNotEmpty(
                        f"bucket {request.bucket} holds objects, older versions, managed folders or uploads"
                    )
            self._withdraw(request, ob)
            if found is not None:
                request.storage.remove(request.bucket, with_folders=False)

    def grant(self, options: BucketOptions) -> ObjectBucket:
        """Lets the claim into the bucket that the class names; see `Provisioner.grant`."""
        parse_kubernetes_account(options.claim.additional_config)
        with self._request(options) as request:
            if not _is_name(request.bucket, dots=True):
                raise BucketNotFound(f"bucket {request.bucket}, which the StorageClass names, can't exist")
            found = request.storage.get(request.bucket)
            authentication = self._ensure_access(request, found, options)
            return _answer(request, found, authentication, warn_unapplied(options.claim, {VERSIONING_KEY}))

    def revoke(self, ob: ObjectBucket) -> None:
        """Withdraws the credentials and leaves the bucket as it is; see `Provisioner.revoke`."""
        with self._request(ob) as request:
            self._withdraw(request, ob)

    def is_intact(self, options: BucketOptions) -> bool:
        """One request by the claim's own key, or a look at the bucket's policy where it has none."""
        with self._request(options) as request:
            if options.credentials is None:
                return False
            return _is_intact(request, options.credentials)

    def store_id(self, parameters: Mapping[str, str]) -> Hashable:
        """The endpoint and the project, to which Google's rate limits apply: see `Provisioner.store_id`.

        Where the class names no project, the administrator's key does.
        """
        endpoint = parameters.get("endpoint", "").strip().rstrip("/").lower() or DEFAULT_ENDPOINT
        key = (parameters.get("secretNamespace", "").strip(), parameters.get("secretName", "").strip())
        return endpoint, parameters.get("project", "").strip() or key

    def generate_user_id(self, claim: Claim, ob: ObjectBucket | None) -> str:
        """A name that Google takes for a service account; see `Provisioner.generate_user_id`."""
        if ob is not None and ob.user_id:
            return ob.user_id
        return build_account_id(f"{claim.namespace}/{claim.name}/{claim.uid}")

    @contextmanager
    def _request(self, of: BucketOptions | ObjectBucket) -> Iterator[_Request]:
        parameters = parse_parameters(of.parameters)
        with self._connector.connect(parameters, self._admin(parameters)) as clients:
            yield _Request(
                parameters=parameters,
                clients=clients,
                storage=Storage(clients=clients),
                identity=_identity(clients, of, self._unfinished),
                bucket=of.bucket_name,
                owner=of.owner,
                taken_over=of.taken_over,
                was_bound=bool(of.additional_state),
                repairs=[],
            )

    def _admin(self, parameters: Parameters) -> Admin | None:
        """The key that the class names; None where it names none, and only then."""
        if not parameters.secret_name:
            return None
        secret = self._services.read_secret(parameters.secret_namespace, parameters.secret_name)
        return parse_admin(secret, named=f"{parameters.secret_namespace}/{parameters.secret_name}")

    def _ensure_access(self, request: _Request, found: Bucket, options: BucketOptions) -> Authentication:
        """The claim's account, with its permission and its keys: those that the claim holds, or new ones that work."""
        if request.identity.is_shared and not found.iam_configuration.uniform_bucket_level_access_enabled:
            raise RetrySlowly(
                f"bucket {request.bucket} has no uniform bucket-level access, which parameter serviceAccount needs: "
                "without it Google takes no conditions, by which claims that share an account are told apart"
            )
        is_new = request.identity.ensure()
        if is_new:
            request.note("service account")
        keys = Keys(
            clients=request.clients,
            identity=request.identity,
            bucket=request.bucket,
            held=options.credentials,
            state=options.additional_state,
            unchanged=options.credentials_unchanged,
            was_bound=options.was_bound,
            is_new=is_new,
            unfinished=self._unfinished,
            now=self._services.now,
        )
        if keys.has_lost_file():
            request.identity.remove()
            keys = replace(keys, is_new=request.identity.ensure())
        _open_bucket(request)
        members = _decide_workload(request, options)
        if members is not None and request.identity.let_act(members):
            request.note("who may act as the service account")
        return keys.ensure()

    def _withdraw(self, request: _Request, ob: ObjectBucket) -> None:
        """The claim is out, in an order that leaves no door open: permission, keys, account.

        The permission goes first, because tokens that were minted outlive their key by up to an hour.
        """
        was_open = _close_bucket(request)
        self._unfinished.forget(request.identity.email, request.owner.uid)
        if request.identity.is_shared:
            self._withdraw_from_shared(request, ob.additional_state)
        elif _has_own_account(request):
            for key_id in request.identity.key_states():
                request.identity.delete_key(key_id)
            self._stop_hmac(request, None)
        else:
            return
        if was_open and request.was_bound and request.parameters.revocation_seconds:
            # Only this call knows when the permission went: the next one finds it gone, and goes on.
            raise NotReady(
                f"the permission of service account {request.identity.email} is withdrawn, and Google may take "
                f"{request.parameters.revocation_seconds} seconds to refuse it everywhere",
                delay=float(request.parameters.revocation_seconds),
            )
        if not request.identity.is_shared:
            request.identity.remove()

    def _withdraw_from_shared(self, request: _Request, state: Mapping[str, str]) -> None:
        if not request.identity.is_there():
            return
        request.identity.let_act(())
        if KEY_STATE in state:
            request.identity.delete_key(state[KEY_STATE])
        if HMAC_STATE in state:
            self._stop_hmac(request, state[HMAC_STATE])

    def _stop_hmac(self, request: _Request, only: str | None) -> None:
        keys = [each for each in request.identity.hmac_keys() if only in {None, each.access_id}]
        pending = request.identity.withdraw_hmac(keys, self._services.now())
        if pending:
            raise NotReady(
                f"the HMAC key of service account {request.identity.email} is inactive, and Google may take "
                f"{request.parameters.revocation_seconds} seconds to refuse it everywhere",
                delay=pending,
            )


def _identity(clients: Clients, of: BucketOptions | ObjectBucket, unfinished: Unfinished) -> Identity:
    """Recorded names win over derived ones: how they are derived may change between releases."""
    shared = clients.parameters.service_account
    own = of.additional_state.get(_ACCOUNT_STATE) or build_email(of.user_id, clients.project)
    title = f"objectbucket-{of.user_id}" if shared else ""
    return Identity(clients=clients, email=shared or own, owner=of.owner, unfinished=unfinished, title=title)


def _is_name(bucket: str, *, dots: bool = False) -> bool:
    if dots and "." in bucket:  # an existing bucket may be called for a domain
        return all(_BUCKET_NAME.fullmatch(each) or len(each) == 1 for each in bucket.split("."))
    return _BUCKET_NAME.fullmatch(bucket) is not None and not bucket.startswith("goog") and "google" not in bucket


def _check_name(bucket: str) -> None:
    if not _is_name(bucket):
        raise InvalidClaim(
            f"spec.bucketName {bucket[:100]!r} is not a name that Google Cloud Storage takes: 3 to 63 lower-case "
            "letters, digits, hyphens and underscores, beginning and ending with a letter or digit, not beginning "
            "with 'goog' and without 'google'"
        )


def _decide_versioning(options: BucketOptions, parameters: Parameters) -> bool | None:
    """What to set on the bucket; None leaves it as it is."""
    asked = parse_versioning(options.claim.additional_config)
    if asked is not None:
        return asked
    if parameters.versioning:
        return True
    return False if VERSIONING_KEY in options.previous_config else None


def _ensure_bucket(request: _Request, *, versioning: bool, is_known: bool) -> Bucket:
    """The claim's bucket is there and stamped: by the very call that makes it, so that no crash leaves one without."""
    found = None
    try:
        found = request.storage.get(request.bucket)
    except BucketNotFound as missing:
        if is_known:
            raise BucketLost(
                f"bucket {request.bucket} is gone, with everything in it", request_id=missing.request_id
            ) from missing
    except PermissionDenied:
        # So Google answers for a bucket of somebody else's project too. Making it harms nothing, and tells.
        if request.was_bound:
            raise
    if found is None:
        made = request.storage.create(request.bucket, build_stamp(request.owner), versioning=versioning)
        if made is not None:
            return made
        found = _find_taken(request)
    _check_ours(request, found)
    if not request.owner.matches(found.labels):
        request.storage.stamp(found, build_stamp(request.owner))
    return found


def _find_taken(request: _Request) -> Bucket:
    """The bucket that somebody made since we looked: it may be another worker of ours."""
    try:
        found = request.storage.find(request.bucket)
    except PermissionDenied as refusal:
        raise BucketExists(
            f"bucket {request.bucket} exists and belongs to another project: names are shared by all users of Google "
            "Cloud Storage (or the administrator lacks storage.buckets.get on it)",
            request_id=refusal.request_id,
        ) from refusal
    if found is None:
        raise NotReady(f"bucket {request.bucket} exists and can't be seen yet", delay=2)
    return found


def _check_ours(request: _Request, found: Bucket) -> None:
    if not request.owner.owns(found.labels, taken_over=request.taken_over):
        raise BucketExists(f"bucket {request.bucket} exists and was not made for this claim: it stays as it is")


def _open_bucket(request: _Request) -> None:
    """The claim's account may use the bucket; a fresh account is waited for until Google knows it."""
    email, title = request.identity.email, request.identity.title
    edit = (
        partial(grant_shared, email=email, title=title, bucket=request.bucket) if title else partial(grant, email=email)
    )

    changed = False

    def noted(bindings: Iterable[Mapping[str, Any]]) -> list[Binding]:
        nonlocal changed
        wanted = edit(bindings)
        changed = changed or not is_same(wanted, bindings)
        return wanted

    def is_open() -> bool:
        try:
            is_there = request.storage.edit_policy(request.bucket, noted)
        except UnknownMember as unknown:
            if not request.identity.is_fresh:
                raise unknown.refusal from unknown
            return False
        if not is_there:
            raise NotReady(f"bucket {request.bucket} was deleted concurrently")
        return True

    if not request.clients.patience.until(is_open, request.clients.patience.account):
        raise NotReady(f"Google does not know the new service account {email} everywhere yet", delay=5)
    if changed:
        request.note("permission on the bucket")


def _close_bucket(request: _Request) -> bool:
    """The claim's account may no longer use the bucket; whether it could until now."""
    email, title = request.identity.email, request.identity.title
    if not _is_name(request.bucket, dots=True):
        return False
    edit = partial(withdraw_shared, email=email, title=title) if title else partial(withdraw, email=email)
    changed = False

    def noted(bindings: Iterable[Mapping[str, Any]]) -> list[Binding]:
        nonlocal changed
        wanted = edit(bindings)
        changed = not is_same(wanted, bindings)
        return wanted

    try:
        request.storage.edit_policy(request.bucket, noted)
    except PermissionDenied:
        # A claim that asked for a bucket of somebody else's project never got in, and must be able to go.
        if request.was_bound or not _has_rights_in_project(request):
            raise
        return False
    except UnknownMember as unknown:
        if title:
            raise unknown.refusal from unknown
        return False
    except PolicyRefused:
        # To write a policy is to write the bindings of all, and may be refused for one of others. An account of the
        # claim's own is removed next, which ends its access as well.
        if title:
            raise
        return False
    return changed


def _has_own_account(request: _Request) -> bool:
    """Whether there is an account of the claim's own to withdraw."""
    try:
        return request.identity.is_own()
    except PermissionDenied:
        # IAM says nothing at all about that project, which may not exist. A claim that was never bound has handed out
        # no key, and its permission is gone: at worst an account stays that can do nothing.
        if request.was_bound:
            raise
        return False


def _find_to_delete(request: _Request) -> Bucket | None:
    """The claim's bucket; None where there is none, or none that can be the claim's."""
    if not _is_name(request.bucket):
        return None  # of a claim that was refused: there is nothing to remove
    try:
        return request.storage.find(request.bucket)
    except PermissionDenied:
        # So Google answers for a stranger's bucket, too, for which a claim was refused. It is none where the
        # administrator may read its policy, and lacks one permission, or has lost every right in the project.
        is_ours = request.was_bound or request.storage.has_readable_policy(request.bucket)
        if is_ours or not _has_rights_in_project(request):
            raise
        return None


def _has_rights_in_project(request: _Request) -> bool:
    """Whether the administrator has what its role gives in the whole project, so that it would see its own buckets."""
    try:
        request.identity.hmac_keys()
    except PermissionDenied:
        return False
    return True


def _decide_workload(request: _Request, options: BucketOptions) -> list[str] | None:
    """Which Kubernetes service accounts may act as the claim's; None leaves that as it is.

    The namespace is always the claim's own: a claim can't let another namespace in.
    """
    asked = parse_kubernetes_account(options.claim.additional_config)
    if asked is None and request.parameters.kind is Kind.WORKLOAD_IDENTITY:
        asked = "default"
    if asked is None:
        return [] if KUBERNETES_KEY in options.previous_config else None
    pool = request.parameters.workload_pool or f"{request.clients.project}.svc.id.goog"
    return [workload_member(pool, options.claim.namespace, asked)]


def _is_intact(request: _Request, held: Authentication) -> bool:
    kind, clients, email = request.parameters.kind, request.clients, request.identity.email
    if kind.has_hmac:
        keys = held.access_keys
        return keys is not None and clients.try_hmac(request.bucket, keys) is Verdict.WORKS
    if kind.has_json_key:
        fields = own_key(held.additional_secret_data.get(FILE_KEY), email, clients.token_uri)
        return fields is not None and clients.try_signed(request.bucket, email, fields) is Verdict.WORKS
    bindings = request.storage.find_bindings(request.bucket)
    if bindings is None:
        return False
    title = request.identity.title
    wanted = grant_shared(bindings, email, title=title, bucket=request.bucket) if title else grant(bindings, email)
    return is_same(wanted, bindings)


def _answer(
    request: _Request, found: Bucket, authentication: Authentication, warnings: tuple[str, ...] = ()
) -> ObjectBucket:
    parameters = request.parameters
    endpoint = Endpoint(
        bucket_host=parameters.host,
        bucket_port=parameters.port,
        bucket_name=request.bucket,
        region=(found.location or "").lower(),
        additional_config={
            "BUCKET_SSL": "true" if parameters.is_secure else "false",
            "BUCKET_ENDPOINT": parameters.endpoint,
        },
    )
    state = {_ACCOUNT_STATE: request.identity.email}
    if request.identity.is_shared:
        state |= remembered(authentication)
    return ObjectBucket(
        connection=Connection(endpoint=endpoint, authentication=authentication, additional_state=state),
        warnings=parameters.warnings + warnings,
        repairs=tuple(request.repairs),
    )
