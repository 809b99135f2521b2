"""The four verbs for Azure Blob Storage, as recipes to be read from top to bottom.

Called by the core, from several threads; holds configuration and no state of a request. The steps are in `storage`
(containers) and `identity` (access policies and signatures); what they are made of is in `policy`.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import urlsplit

from azure_provisioner.client import Network, connect
from azure_provisioner.identity import (
    EXPIRY_STATE,
    POLICY_STATE,
    Delegation,
    StoredPolicies,
    check_ended,
)
from azure_provisioner.management import ROLE_SECONDS, Management, management
from azure_provisioner.parameters import (
    PRINCIPAL_KEY,
    ROLE_ASSIGNMENT,
    Admin,
    Parameters,
    build_store_id,
    parse_admin,
    parse_parameters,
    parse_principal,
)
from azure_provisioner.policy import build_identity_secret, build_prefix, build_secret, parse_held, parse_time
from azure_provisioner.storage import Storage, check_deletable, try_sas
from azure_provisioner.tokens import Tokens
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
    ExpiresLater,
    Inspector,
    InvalidAdminSecret,
    InvalidClaim,
    NotReady,
    ObjectBucket,
    Provisioner,
    ReclaimPolicy,
    Services,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from azure_provisioner.client import Clients
    from azure_provisioner.storage import Found

_CONTAINER_NAME: Final = re.compile(r"[a-z0-9](-?[a-z0-9])*")
_SHORTEST_NAME, _LONGEST_NAME = 3, 63
_UNUSED_PRINCIPAL: Final = (
    f"additionalConfig.{PRINCIPAL_KEY} is ignored: the class does not say credentials: {ROLE_ASSIGNMENT}"
)
ROLE_STATE: Final = "RoleAssignee"
"""The identity that has a role on the claim's container."""

_SPECIAL_NAMES: Final = frozenset({"$root", "$web"})
"""Containers that Azure makes, and that claims may be granted: "Naming and referencing containers"."""


@dataclass(frozen=True, kw_only=True)
class _Request:
    """One verb's view of Azure: who, what and where."""

    of: BucketOptions | ObjectBucket
    clients: Clients
    storage: Storage

    @property
    def parameters(self) -> Parameters:
        return self.clients.parameters

    @property
    def container(self) -> str:
        return self.of.bucket_name

    @property
    def policies(self) -> StoredPolicies:
        prefix = build_prefix(self.of.user_id)
        return StoredPolicies(clients=self.clients, prefix=prefix, try_sas=self.storage.try_sas)

    @property
    def delegation(self) -> Delegation:
        return Delegation(clients=self.clients, try_sas=self.storage.try_sas)

    def owns(self, found: Found) -> bool:
        """Whether the container is the claim's."""
        return self.of.owner.owns(found.metadata, taken_over=self.of.taken_over)


class AzureProvisioner(Provisioner, Inspector, EmptyBucketDeleter):
    """Containers in Azure Blob Storage, each with a SAS of its own for its claim.

    Args:
        services: of the core: reads the administrator's Secret, and knows the time.
        network: how connections are made.
        tokens: of the administrators' identities.
    """

    supported_config: ClassVar[frozenset[str]] = frozenset({PRINCIPAL_KEY})
    tracks_requests: ClassVar[bool] = True

    def __init__(self, services: Services, network: Network | None = None, tokens: Tokens | None = None) -> None:
        self._services = services
        self._network = replace(network or Network(), fence=services.before_request)
        self._tokens = tokens or Tokens()

    def store_id(self, parameters: Mapping[str, str]) -> str:
        """The account's address; see `Provisioner.store_id`."""
        return build_store_id(parameters)

    def provision(self, options: BucketOptions) -> ObjectBucket:
        """Makes the container and a SAS for it; see `Provisioner.provision`."""
        _check_name(options.bucket_name)
        with self._request(options) as request:
            found, is_new = _ensure_container(request, is_known=options.was_bound)
            answer = self._give_access(request, options, is_new=is_new)
            warnings = _warn_of_deletion(request.container, found, options)
            return replace(answer, warnings=(*answer.warnings, *warnings))

    def delete(self, ob: ObjectBucket) -> None:
        """Removes the container with everything in it; see `Provisioner.delete`.

        The container goes by one call of Azure's, and all access with it. Before that the stored access policies of
        claims are removed: a container that is restored has its policies again, and their SAS would work.
        """
        with self._request(ob) as request:
            found = _find_to_delete(request)
            if found is None:
                return
            if not request.owns(found):
                raise _not_ours(request.container)
            check_deletable(request.container, found)
            if _has_role(ob, request.parameters):  # it would be valid again in a container that is restored
                self._revoke_role(ob, request.parameters)
            _remove(request, found)

    def delete_empty(self, ob: ObjectBucket) -> None:
        """Removes a container that holds nothing; see `EmptyBucketDeleter.delete_empty`.

        Azure has no call that refuses a container because something is in it. So the claim's SAS ends in between: it is
        revoked, or, where it can't be revoked, waited for; and the container is listed once more.
        """
        with self._request(ob) as request:
            found = _find_to_delete(request)
            if found is None:
                return
            if not request.owns(found):
                raise _not_ours(request.container)
            check_deletable(request.container, found)
            _check_empty(request)
            self._withdraw(ob, request.parameters)
            check_ended(ob.additional_state, self._services.now())
            _check_empty(request)
            found = request.storage.find(request.container) or found  # its own change must not be in the way
            _remove(request, found)

    def grant(self, options: BucketOptions) -> ObjectBucket:
        """Lets the claim into the container that the class names; see `Provisioner.grant`."""
        with self._request(options) as request:
            if not _may_exist(request.container) or request.storage.find(request.container) is None:
                raise BucketNotFound(f"container {request.container}, which the StorageClass names, does not exist")
            if not options.was_bound:
                request.storage.check_flat()
            return self._give_access(request, options)

    def revoke(self, ob: ObjectBucket) -> None:
        """Revokes the credentials and leaves the container as it is; see `Provisioner.revoke`.

        A user-delegation SAS can't be revoked: then this raises NotReady until the last one has ended.
        """
        if _may_exist(ob.bucket_name):
            self._withdraw(ob, parse_parameters(ob.parameters))
        check_ended(ob.additional_state, self._services.now())

    def is_intact(self, options: BucketOptions) -> bool:
        """Tries the claim's own SAS once; see `Inspector.is_intact`."""
        parameters = parse_parameters(options.parameters)
        if parameters.assigns_roles:
            return self._has_intact_role(options, parameters)
        held = parse_held(options.credentials)
        if held is None or options.credentials is None or not _is_name(options.bucket_name):
            return False
        given = options.credentials.additional_secret_data
        is_of_its_kind = held.policy == ("" if parameters.delegated else options.additional_state.get(POLICY_STATE))
        wanted = build_secret(parameters, options.bucket_name, held.token)
        if not is_of_its_kind or any(given.get(name) != value for name, value in wanted.items()):
            return False
        return try_sas(parameters, options.bucket_name, held.token, self._network, is_cheap=True) is None

    def _give_access(self, request: _Request, options: BucketOptions, *, is_new: bool = False) -> ObjectBucket:
        if request.parameters.assigns_roles:
            return self._give_role(request, options)
        answer = self._give_sas(request, options, is_new=is_new)
        if ROLE_STATE in options.additional_state:  # the class was another when the claim was bound
            self._revoke_role(options, request.parameters)
        return answer

    def _give_role(self, request: _Request, options: BucketOptions) -> ObjectBucket:
        """Lets the identity in that the claim names: nothing secret is given."""
        principal, state = parse_principal(options.claim.additional_config), options.additional_state
        with self._management(request.parameters) as managed:
            changed = managed.ensure_role(request.container, principal, build_prefix(options.user_id))
        if POLICY_STATE in state:  # the class was another when the claim was bound
            self._revoke_policy(options, request.parameters)
        kept = {EXPIRY_STATE: state[EXPIRY_STATE]} if EXPIRY_STATE in state else {}
        repairs = ("role assignment",) if changed and state.get(ROLE_STATE) == principal else ()
        held = build_identity_secret(request.parameters, request.container)
        authentication = Authentication(additional_secret_data=held)
        answer = _answer(request, authentication, {ROLE_STATE: principal, **kept})
        return replace(answer, repairs=repairs)

    def _give_sas(self, request: _Request, options: BucketOptions, *, is_new: bool = False) -> ObjectBucket:
        held, state, now = parse_held(options.credentials), options.additional_state, self._services.now()
        if request.parameters.delegated:
            is_unchanged = options.credentials_unchanged
            granted = request.delegation.ensure(request.container, held, state, now, is_unchanged=is_unchanged)
            if POLICY_STATE in state:  # the class was another when the claim was bound
                self._revoke_policy(options, request.parameters)
        else:
            is_lost = options.was_bound and options.credentials is None
            granted = request.policies.ensure(request.container, held, now, is_new=is_new, is_lost=is_lost)
            ends = parse_time(state.get(EXPIRY_STATE))
            if ends is not None and ends > now:  # the same, the other way round: `revoke` has to wait for it
                granted = replace(granted, state={**granted.state, EXPIRY_STATE: state[EXPIRY_STATE]})
        repairs = ("stored access policy",) if granted.is_restored and options.was_bound else ()
        data = build_secret(request.parameters, request.container, granted.sas)
        authentication = Authentication(additional_secret_data=data, renew_at=granted.renew_at)
        warnings = (_UNUSED_PRINCIPAL,) if PRINCIPAL_KEY in options.claim.additional_config else ()
        answer = _answer(request, authentication, granted.state)
        return replace(answer, repairs=repairs, warnings=(*answer.warnings, *warnings))

    def _withdraw(self, ob: ObjectBucket, parameters: Parameters) -> None:
        """All that can be revoked is revoked.

        Raises:
            ExpiresLater: a role assignment was removed, and Azure may take minutes to know it.
        """
        if POLICY_STATE in ob.additional_state or not parameters.needs_identity:
            self._revoke_policy(ob, parameters)
        if _has_role(ob, parameters) and self._revoke_role(ob, parameters):
            # Only this call knows when it went: the next one finds it gone, and goes on.
            raise ExpiresLater(
                f"the role assignment on container {ob.bucket_name} was removed, and Azure may take ten minutes to "
                "refuse the identity",
                delay=ROLE_SECONDS,
            )

    def _has_intact_role(self, options: BucketOptions, parameters: Parameters) -> bool:
        held = options.credentials.additional_secret_data if options.credentials is not None else {}
        principal = parse_principal(options.claim.additional_config)
        if options.additional_state.get(ROLE_STATE) != principal or not _is_name(options.bucket_name):
            return False
        if any(
            held.get(name) != value for name, value in build_identity_secret(parameters, options.bucket_name).items()
        ):
            return False
        with self._management(parameters) as managed:
            own = managed.assignments(options.bucket_name, build_prefix(options.user_id))
        return [(each.principal, each.role) for each in own] == [(principal, parameters.role)]

    def _revoke_role(self, of: BucketOptions | ObjectBucket, parameters: Parameters) -> bool:
        if not parameters.subscription:
            raise InvalidAdminSecret(
                f"a role assignment on container {of.bucket_name} was made when the class said so: to remove it, name "
                "subscription and resourceGroup"
            )
        with self._management(parameters) as managed:
            return managed.revoke_role(of.bucket_name, build_prefix(of.user_id))

    def _revoke_policy(self, of: BucketOptions | ObjectBucket, parameters: Parameters) -> None:
        recorded = of.additional_state.get(POLICY_STATE, "")
        if not parameters.secret_name and not parameters.subscription:
            raise InvalidAdminSecret(
                f"stored access policy {recorded} of container {of.bucket_name} was made when the class said so: to "
                "remove it, name a Secret with AZURE_STORAGE_KEY by secretName"
            )
        keyed = replace(parameters, delegated=False, assigns_roles=False)
        with self._connected(of, keyed) as request:
            if not request.policies.revoke(request.container, recorded):
                request.storage.confirm_gone(request.container)

    @contextmanager
    def _request(self, of: BucketOptions | ObjectBucket) -> Iterator[_Request]:
        with self._connected(of, parse_parameters(of.parameters)) as request:
            yield request

    @contextmanager
    def _connected(self, of: BucketOptions | ObjectBucket, parameters: Parameters) -> Iterator[_Request]:
        with connect(parameters, self._admin(parameters), self._network, self._tokens) as clients:
            yield _Request(of=of, clients=clients, storage=Storage(clients=clients))

    @contextmanager
    def _management(self, parameters: Parameters) -> Iterator[Management]:
        # An identity, also where the class names a Secret with the account's key.
        with management(parameters, self._read_admin(parameters), self._network, self._tokens) as managed:
            yield managed

    def _admin(self, parameters: Parameters) -> Admin:
        if not parameters.reads_keys:
            return self._read_admin(parameters)
        with self._management(parameters) as managed:
            return Admin(key=managed.account_key(), named=f"the account's {parameters.account_key}")

    def _read_admin(self, parameters: Parameters) -> Admin:
        if not parameters.secret_name:
            return Admin()
        secret = self._services.read_secret(parameters.secret_namespace, parameters.secret_name)
        return parse_admin(secret, parameters)


def _is_name(container: str) -> bool:
    return _SHORTEST_NAME <= len(container) <= _LONGEST_NAME and _CONTAINER_NAME.fullmatch(container) is not None


def _may_exist(container: str) -> bool:
    return container in _SPECIAL_NAMES or _is_name(container)


def _check_name(container: str) -> None:
    if not _is_name(container):
        raise InvalidClaim(
            f"spec.bucketName {container[:_LONGEST_NAME]!r} is not a name that Azure takes for a container: 3 to 63 "
            "lower-case letters, digits and single hyphens, beginning and ending with a letter or digit"
        )


def _ensure_container(request: _Request, *, is_known: bool) -> tuple[Found, bool]:
    """The claim's container exists and has ownership tags: Azure tags it in the call that makes it.

    Returns:
        The container, and whether it was made just now.

    Raises:
        BucketExists: it is another's.
        BucketLost: it was there, and is gone.
    """
    found, is_new, refusal_id = request.storage.find(request.container), False, ""
    if found is None and is_known:
        request.storage.confirm_gone(request.container)
        raise BucketLost(f"container {request.container} is gone, with everything in it")
    if found is None:
        request.storage.check_flat()
        # Refused where it was made since: by another tenant, or by another worker of ours.
        refused = request.storage.create(request.container, request.of.owner.ownership_tags())
        is_new, refusal_id = refused is None, refused or ""
        found = request.storage.find(request.container)
    if found is None:
        raise NotReady(f"container {request.container} was deleted concurrently", request_id=refusal_id)
    if not request.owns(found):
        raise _not_ours(request.container)
    if not request.of.owner.matches(found.metadata):
        found = _take_over(request)
    return found, is_new


def _take_over(request: _Request) -> Found:
    """Writes ownership tags onto a container of another program.

    Of several clusters that do so at once the first wins: Azure writes metadata without If-Match, but with a lease.
    """
    with request.policies.leased(request.container) as lease:
        found = request.storage.find(request.container)
        if found is None or not request.owns(found):
            raise _not_ours(request.container)
        request.storage.tag(request.container, {**found.metadata, **request.of.owner.ownership_tags()}, lease)
    return found


def _warn_of_deletion(container: str, found: Found, options: BucketOptions) -> tuple[str, ...]:
    """Warns, before there is data in it, of a container that can't be deleted with its claim."""
    if not found.keeps_versions or options.reclaim_policy is not ReclaimPolicy.DELETE:
        return ()
    warning = (
        f"container {container} has version-level immutability support, as every container has of an account with it: "
        "it can't be deleted with its claim, only by `az storage container-rm delete`; use another storage "
        "account, or reclaimPolicy: Retain"
    )
    return (warning,)


def _find_to_delete(request: _Request) -> Found | None:
    """The container; None where there is none for certain.

    A name that no container can have is of a claim that was refused: there is nothing to remove.
    """
    if not _is_name(request.container):
        return None
    found = request.storage.find(request.container)
    if found is None:
        request.storage.confirm_gone(request.container)
    return found


def _remove(request: _Request, found: Found) -> None:
    """Removes the container, and before it the policies of claims where there may be some."""
    if not request.parameters.needs_identity:
        modified = request.policies.remove_all(request.container, found.modified)
        found = replace(found, modified=modified)
    request.storage.remove(request.container, found)


def _check_empty(request: _Request) -> None:
    if not request.storage.is_empty(request.container):
        raise BucketNotEmpty(f"container {request.container} holds blobs, older versions or unfinished uploads")


def _not_ours(container: str) -> BucketExists:
    return BucketExists(f"container {container} exists and was not made for this claim: it stays as it is")


def _has_role(ob: ObjectBucket, parameters: Parameters) -> bool:
    return parameters.assigns_roles or ROLE_STATE in ob.additional_state


def _answer(request: _Request, authentication: Authentication, state: Mapping[str, str]) -> ObjectBucket:
    parameters = request.parameters
    address = urlsplit(parameters.url)
    endpoint = Endpoint(
        bucket_host=address.hostname or "",
        bucket_port=address.port or (443 if parameters.secure else 80),
        bucket_name=request.container,
        additional_config={"AZURE_STORAGE_BLOB_ENDPOINT": parameters.url},
    )
    return ObjectBucket(
        connection=Connection(endpoint=endpoint, authentication=authentication, additional_state=state),
        warnings=parameters.warnings,
    )
