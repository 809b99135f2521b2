"""The four verbs for Azure Blob Storage, as recipes to be read from top to bottom.

Called by the core, from several threads; holds configuration and no state of a request. The steps are in `containers`
and `storage`, `identity` and `delegation` (SAS of either kind) and `management` (role assignments); what they are made
of is in `policy`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from azure_provisioner.admin_secret import Admin, parse_admin
from azure_provisioner.client import Network, connect
from azure_provisioner.clocks import AHEAD
from azure_provisioner.containers import (
    Request,
    build_answer,
    check_empty,
    check_exists,
    check_name,
    ensure_container,
    find_to_delete,
    may_exist,
    not_ours,
    remove,
    warn_of_deletion,
)
from azure_provisioner.delegation import EXPIRY_STATE, check_ended
from azure_provisioner.identity import POLICY_STATE
from azure_provisioner.listing import list_owned
from azure_provisioner.management import ROLE_SECONDS, AccountKeys, Management, management
from azure_provisioner.parameters import (
    PRINCIPAL_KEY,
    ROLE_ASSIGNMENT,
    Parameters,
    build_store_id,
    parse_parameters,
    parse_principal,
)
from azure_provisioner.policy import build_identity_secret, build_prefix, build_secret, parse_held, parse_time
from azure_provisioner.storage import Storage, check_deletable, try_sas
from azure_provisioner.tokens import Tokens
from libbucket import (
    Authentication,
    BucketLister,
    BucketOptions,
    EmptyBucketDeleter,
    ExpiresLater,
    Inspector,
    InvalidAdminSecret,
    ObjectBucket,
    Provisioner,
    Services,
    Withdrawals,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_UNUSED_PRINCIPAL: Final = (
    f"additionalConfig.{PRINCIPAL_KEY} is ignored: the class does not say credentials: {ROLE_ASSIGNMENT}"
)
ROLE_STATE: Final = "RoleAssignee"
"""The identity that has a role on the claim's container."""


class AzureProvisioner(Provisioner, Inspector, EmptyBucketDeleter, BucketLister):
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
        self._keys = AccountKeys()
        self._withdrawals = Withdrawals(services.now)

    def store_id(self, parameters: Mapping[str, str]) -> str:
        """The account's address; see `Provisioner.store_id`."""
        return build_store_id(parameters)

    def provision(self, options: BucketOptions) -> ObjectBucket:
        """Makes the container and a SAS for it; see `Provisioner.provision`."""
        check_name(options.bucket_name)
        with self._request(options) as request:
            found, is_new = ensure_container(request, is_known=options.was_bound)
            answer = self._give_access(request, options, is_new=is_new)
            warnings = warn_of_deletion(request.container, found, options)
            return replace(answer, warnings=(*answer.warnings, *warnings))

    def delete(self, ob: ObjectBucket) -> None:
        """Removes the container with everything in it; see `Provisioner.delete`.

        The container goes by one call of Azure's, and all access with it. Before that the stored access policies of
        claims are removed: a container that is restored has its policies again, and their SAS would work.
        """
        with self._request(ob) as request:
            found = find_to_delete(request)
            if found is None:
                return
            if not request.owns(found):
                raise not_ours(request.container)
            check_deletable(request.container, found)
            if _has_role(ob, request.parameters):  # it would be valid again in a container that is restored
                self._revoke_role(ob, request.parameters)
            remove(request, found)

    def delete_empty(self, ob: ObjectBucket) -> None:
        """Removes a container that holds nothing; see `EmptyBucketDeleter.delete_empty`.

        Azure has no call that refuses a container because something is in it. So the claim's SAS ends in between: it is
        revoked, or, where it can't be revoked, waited for; and the container is listed once more.
        """
        with self._request(ob) as request:
            found = find_to_delete(request)
            if found is None:
                return
            if not request.owns(found):
                raise not_ours(request.container)
            check_deletable(request.container, found)
            check_empty(request)
            self._withdraw(ob, request.parameters)
            check_ended(ob.additional_state, self._services.now())
            check_empty(request)
            found = request.storage.find(request.container) or found  # its own change must not be in the way
            remove(request, found)

    def grant(self, options: BucketOptions) -> ObjectBucket:
        """Lets the claim into the container that the class names; see `Provisioner.grant`."""
        with self._request(options) as request:
            check_exists(request)
            if not options.was_bound:
                request.storage.check_flat()
            return self._give_access(request, options)

    def revoke(self, ob: ObjectBucket) -> None:
        """Revokes the credentials and leaves the container as it is; see `Provisioner.revoke`.

        A user-delegation SAS can't be revoked: then this raises NotReady until the last one has ended.
        """
        if may_exist(ob.bucket_name):
            self._withdraw(ob, parse_parameters(ob.parameters))
        check_ended(ob.additional_state, self._services.now())

    def is_intact(self, options: BucketOptions) -> bool:
        """Tries the claim's own SAS once; see `Inspector.is_intact`."""
        parameters = parse_parameters(options.parameters)
        if parameters.assigns_roles:
            return self._has_intact_role(options, parameters)
        held = parse_held(options.credentials)
        if held is None or options.credentials is None or not may_exist(options.bucket_name):
            return False
        given = options.credentials.additional_secret_data
        is_of_its_kind = held.policy == ("" if parameters.delegated else options.additional_state.get(POLICY_STATE))
        wanted = build_secret(parameters, options.bucket_name, held.token)
        if not is_of_its_kind or any(given.get(name) != value for name, value in wanted.items()):
            return False
        return try_sas(parameters, options.bucket_name, held.token, self._network, is_cheap=True) is None

    def list_buckets(self, parameters: Mapping[str, str]) -> Iterator[tuple[str, Mapping[str, str]]]:
        """The account's containers; see `BucketLister` and `listing`."""
        parsed = parse_parameters(parameters)
        with (
            self._keys.forgotten_when_refused(parsed),
            connect(parsed, self._admin(parsed), self._network, self._tokens) as clients,
        ):
            yield from list_owned(clients)

    def _give_access(self, request: Request, options: BucketOptions, *, is_new: bool = False) -> ObjectBucket:
        if request.parameters.assigns_roles:
            return self._give_role(request, options)
        answer = self._give_sas(request, options, is_new=is_new)
        if ROLE_STATE in options.additional_state:  # the class was another when the claim was bound
            self._revoke_role(options, request.parameters)
        return answer

    def _give_role(self, request: Request, options: BucketOptions) -> ObjectBucket:
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
        answer = build_answer(request, authentication, {ROLE_STATE: principal, **kept})
        return replace(answer, repairs=repairs)

    def _give_sas(self, request: Request, options: BucketOptions, *, is_new: bool = False) -> ObjectBucket:
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
            if ends is not None and ends + AHEAD > now:  # the same, the other way round: `revoke` has to wait for it
                granted = replace(granted, state={**granted.state, EXPIRY_STATE: state[EXPIRY_STATE]})
        repairs = ("stored access policy",) if granted.is_restored and options.was_bound else ()
        data = build_secret(request.parameters, request.container, granted.sas)
        authentication = Authentication(additional_secret_data=data, renew_at=granted.renew_at)
        unused = (_UNUSED_PRINCIPAL,) if PRINCIPAL_KEY in options.claim.additional_config else ()
        answer = build_answer(request, authentication, granted.state)
        return replace(answer, repairs=repairs, warnings=(*answer.warnings, *granted.warnings, *unused))

    def _withdraw(self, ob: ObjectBucket, parameters: Parameters) -> None:
        """All that can be revoked is revoked.

        Raises:
            ExpiresLater: a role assignment was removed, and Azure may take minutes to know it.
        """
        if POLICY_STATE in ob.additional_state or not parameters.needs_identity:
            self._revoke_policy(ob, parameters)
        if _has_role(ob, parameters):
            self._withdraw_role(ob, parameters)

    def _withdraw_role(self, ob: ObjectBucket, parameters: Parameters) -> None:
        uid = ob.owner.uid
        with self._withdrawals.withdrawing(uid):
            had_one = self._revoke_role(ob, parameters)
        if had_one:
            self._withdrawals.note(uid)
        left = self._withdrawals.seconds_left(uid, ROLE_SECONDS)
        if left > 0 and (had_one or ROLE_STATE in ob.additional_state):
            raise ExpiresLater(
                f"the role assignment on container {ob.bucket_name} was removed, and Azure may take ten minutes to "
                "refuse the identity",
                delay=left,
            )

    def _has_intact_role(self, options: BucketOptions, parameters: Parameters) -> bool:
        held = options.credentials.additional_secret_data if options.credentials is not None else {}
        principal = parse_principal(options.claim.additional_config)
        if options.additional_state.get(ROLE_STATE) != principal or not may_exist(options.bucket_name):
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
    def _request(self, of: BucketOptions | ObjectBucket) -> Iterator[Request]:
        with self._connected(of, parse_parameters(of.parameters)) as request:
            yield request

    @contextmanager
    def _connected(self, of: BucketOptions | ObjectBucket, parameters: Parameters) -> Iterator[Request]:
        with (
            self._keys.forgotten_when_refused(parameters),
            connect(parameters, self._admin(parameters), self._network, self._tokens) as clients,
        ):
            yield Request(of=of, clients=clients, storage=Storage(clients=clients))

    @contextmanager
    def _management(self, parameters: Parameters) -> Iterator[Management]:
        # An identity, also where the class names a Secret with the account's key.
        with management(parameters, self._read_admin(parameters), self._network, self._tokens) as managed:
            yield managed

    def _admin(self, parameters: Parameters) -> Admin:
        if not parameters.reads_keys:
            return self._read_admin(parameters)
        key = self._keys.get(parameters)
        if key is None:
            with self._management(parameters) as managed:
                key = self._keys.keep(parameters, managed.account_key())
        return Admin(key=key, named=f"the account's {parameters.account_key}")

    def _read_admin(self, parameters: Parameters) -> Admin:
        if not parameters.secret_name:
            return Admin()
        secret = self._services.read_secret(parameters.secret_namespace, parameters.secret_name)
        return parse_admin(secret, parameters)


def _has_role(ob: ObjectBucket, parameters: Parameters) -> bool:
    return parameters.assigns_roles or ROLE_STATE in ob.additional_state
