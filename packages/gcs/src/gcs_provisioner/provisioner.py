"""The four verbs for Google Cloud Storage, as recipes to be read from top to bottom.

Called by the core, from several threads; holds configuration and no state of a request. The steps are in `buckets`,
`access` (bindings), `identity` (service accounts), `keys` (what the Secret holds) and `withdrawal`; what is returned is
in `answer`, the drift check in `drift`, and what may be granted in `policy`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from gcs_provisioner.access import check_uniform, find_impersonators, find_member, open_bucket
from gcs_provisioner.account_names import ACCOUNT_STATE, build_account_id, build_email, is_own_name, project_of
from gcs_provisioner.account_policy import AccountPolicy
from gcs_provisioner.admin_secret import parse_admin
from gcs_provisioner.answer import build_answer
from gcs_provisioner.bucket_policy import BucketPolicies
from gcs_provisioner.buckets import (
    PROJECT_ID_STATE,
    check_bucket_name,
    check_ours,
    check_project,
    check_still_ours,
    ensure_bucket,
    find_to_delete,
    is_bucket_name,
)
from gcs_provisioner.client import Patience
from gcs_provisioner.connector import Connector
from gcs_provisioner.contents import Contents
from gcs_provisioner.drift import has_access
from gcs_provisioner.identity import Identity
from gcs_provisioner.keys import PROJECT_KEY, Keys
from gcs_provisioner.listing import list_owned
from gcs_provisioner.parameters import (
    DEFAULT_ENDPOINT,
    KUBERNETES_KEY,
    VERSIONING_KEY,
    Kind,
    Parameters,
    parse_kubernetes_account,
    parse_parameters,
    parse_versioning,
)
from gcs_provisioner.policy import account_member
from gcs_provisioner.request import Request
from gcs_provisioner.storage import Storage
from gcs_provisioner.unfinished import Unfinished
from gcs_provisioner.withdrawal import Withdrawal, has_own_account
from libbucket import (
    Authentication,
    BucketExists,
    BucketLister,
    BucketNotEmpty,
    BucketNotFound,
    BucketOptions,
    EmptyBucketDeleter,
    Inspector,
    NotReady,
    ObjectBucket,
    Provisioner,
    ProvisionerError,
    SecretStr,
    Services,
    Withdrawals,
    drain,
    warn_unapplied,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from google.cloud.storage import Bucket

    from gcs_provisioner.admin_secret import Admin
    from gcs_provisioner.client import Clients
    from libbucket import Claim

_GRANT_SECONDS: Final = 60.0
"""How long a permission takes that can't be tried from here: https://cloud.google.com/storage/docs/consistency."""


class GcsProvisioner(Provisioner, Inspector, EmptyBucketDeleter, BucketLister):
    """Buckets in Google Cloud Storage, each with a service account of its own or a federated identity.

    Args:
        services: of the core: reads the administrator's Secret, tells the time.
        patience: time limits.
    """

    supported_config: ClassVar[frozenset[str]] = frozenset({VERSIONING_KEY, KUBERNETES_KEY})
    tracks_requests: ClassVar[bool] = True

    def __init__(self, services: Services, *, patience: Patience | None = None) -> None:
        self._services = services
        self._patience = patience or Patience()
        self._connector = Connector(self._patience, services.before_request, services.now)
        self._unfinished = Unfinished(services.now)
        self._withdrawals = Withdrawals(services.now)

    def provision(self, options: BucketOptions) -> ObjectBucket:
        """Makes the bucket, a service account and its keys; see `Provisioner.provision`."""
        check_bucket_name(options.bucket_name)
        parse_kubernetes_account(options.claim.additional_config)
        with self._request(options) as request:
            versioning = _decide_versioning(options, request.parameters)
            with self._noting_refusals(request):
                found = ensure_bucket(request, versioning=bool(versioning), is_known=options.was_bound)
            if versioning is not None and request.storage.set_versioning(found, enabled=versioning):
                request.note("versioning")
            authentication = self._ensure_access(request, found, options)
            answer = build_answer(request, options, found, authentication)
            if PROJECT_ID_STATE not in request.state and not self._unfinished.has_bucket(request.owner.uid):
                return answer  # an adopted bucket: it may be in any project
            state = {**answer.additional_state, PROJECT_ID_STATE: request.storage.project}
            return replace(answer, connection=replace(answer.connection, additional_state=state))

    def delete(self, ob: ObjectBucket) -> None:
        """Withdraws the credentials, then removes the bucket with everything in it; see `Provisioner.delete`."""
        with self._request(ob) as request:
            found = find_to_delete(request)
            if found is None:
                self._withdrawal(request).run(has_bucket=False)
                return
            check_ours(request, found)
            if not self._unfinished.is_checked(request.owner.uid):
                request.contents.check_unlocked(request.bucket)
                self._unfinished.note_checked(request.owner.uid)
            if self._withdrawal(request).run():
                found = check_still_ours(request)
            purge = request.contents.purge(request.bucket, lambda: check_still_ours(request))
            drain(purge, self._patience.purge)
            request.storage.remove(found, with_folders=True)

    def delete_empty(self, ob: ObjectBucket) -> None:
        """The same for a bucket that holds nothing; see `EmptyBucketDeleter.delete_empty`."""
        with self._request(ob) as request:
            found = find_to_delete(request)
            if found is not None:
                check_ours(request, found)
                if not request.contents.is_empty(request.bucket):
                    raise BucketNotEmpty(
                        f"bucket {request.bucket} holds objects, older versions, managed folders or uploads"
                    )
            is_changed = self._withdrawal(request).run(has_bucket=found is not None)
            if found is not None:
                request.storage.remove(check_still_ours(request) if is_changed else found, with_folders=False)

    def grant(self, options: BucketOptions) -> ObjectBucket:
        """Lets the claim into the bucket that the class names; see `Provisioner.grant`."""
        parse_kubernetes_account(options.claim.additional_config)
        with self._request(options) as request:
            with self._noting_refusals(request):
                if not is_bucket_name(request.bucket, dots=True):
                    raise BucketNotFound(f"bucket {request.bucket}, which the StorageClass names, can't exist")
                found = request.storage.get(request.bucket)
            check_project(request, found)
            authentication = self._ensure_access(request, found, options)
            answer = build_answer(request, options, found, authentication)
            unapplied = warn_unapplied(options.claim, {VERSIONING_KEY})
            return replace(answer, warnings=answer.warnings + unapplied)

    def revoke(self, ob: ObjectBucket) -> None:
        """Withdraws the credentials and leaves the bucket as it is; see `Provisioner.revoke`."""
        with self._request(ob) as request:
            self._withdrawal(request).run()

    def is_intact(self, options: BucketOptions) -> bool:
        """One request by each of the claim's own keys, or the bucket's policy where it has none."""
        with self._request(options) as request:
            if options.credentials is None:
                return False
            return has_access(request, options.credentials)

    def list_buckets(self, parameters: Mapping[str, str]) -> Iterator[tuple[str, Mapping[str, str]]]:
        """The project's buckets; see `BucketLister` and `listing`."""
        parsed = parse_parameters(parameters)
        with self._connector.connect(parsed, self._admin(parsed)) as clients:
            yield from list_owned(clients)

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
    def _noting_refusals(self, request: Request) -> Iterator[None]:
        """Around what is done before an account is made: a claim that is refused here has none."""
        try:
            yield
        except (BucketExists, BucketNotFound):
            self._unfinished.note_refused(request.owner.uid)
            raise

    @contextmanager
    def _request(self, of: BucketOptions | ObjectBucket) -> Iterator[Request]:
        parameters = parse_parameters(of.parameters)
        with self._connector.connect(parameters, self._admin(parameters)) as clients:
            identity, earlier = _identities(clients, of, self._unfinished)
            request = Request(
                parameters=parameters,
                clients=clients,
                storage=Storage(clients=clients, project=_project_of_bucket(clients, of), tenant=of.owner.namespace),
                contents=Contents(clients=clients),
                policies=BucketPolicies(clients=clients),
                identity=identity,
                earlier=earlier,
                title=f"objectbucket-{of.user_id}",
                bucket=of.bucket_name,
                owner=of.owner,
                taken_over=of.taken_over,
                state=of.additional_state,
            )
            try:
                yield request
            except ProvisionerError as error:
                error.request_id = error.request_id or "".join(request.overlooked[-1:])
                raise

    def _admin(self, parameters: Parameters) -> Admin | None:
        """The key that the class names; None where it names none, and only then."""
        if not parameters.secret_name:
            return None
        secret = self._services.read_secret(parameters.secret_namespace, parameters.secret_name)
        return parse_admin(secret, named=f"{parameters.secret_namespace}/{parameters.secret_name}")

    def _withdrawal(self, request: Request) -> Withdrawal:
        return Withdrawal(
            request=request, unfinished=self._unfinished, withdrawals=self._withdrawals, now=self._services.now
        )

    def _ensure_access(self, request: Request, found: Bucket, options: BucketOptions) -> Authentication:
        """The claim's account, with its permission and its keys: those that the claim holds, or new ones that work."""
        if request.identity.is_shared or request.parameters.kind is Kind.FEDERATION:
            check_uniform(request, found)
        if request.parameters.kind is Kind.FEDERATION:
            return self._ensure_federated(request, found, options)
        is_new = request.identity.ensure()
        if is_new:
            request.note("service account")
        keys = Keys(
            clients=request.clients,
            identity=request.identity,
            bucket=request.bucket,
            # What the claim holds of another account is no key of this one, whether it works or not.
            held=options.credentials if request.earlier is None else None,
            state=options.additional_state if request.earlier is None else {},
            unchanged=options.credentials_unchanged and request.earlier is None,
            was_bound=options.was_bound and request.earlier is None,
            is_new=is_new,
            unfinished=self._unfinished,
            now=self._services.now,
        )
        if keys.has_lost_file():
            request.identity.remove()
            keys = replace(keys, is_new=request.identity.ensure())
        open_bucket(request, account_member(request.identity.email))
        members = find_impersonators(request, options)
        if members is not None and AccountPolicy(identity=request.identity).let_act(members):
            request.note("who may act as the service account")
        authentication = keys.ensure()
        self._withdrawal(request).run_for_earlier()
        return authentication

    def _ensure_federated(self, request: Request, found: Bucket, options: BucketOptions) -> Authentication:
        """The permission of a Kubernetes service account, which needs no account and no key of Google's."""
        changed = open_bucket(request, find_member(request, options, str(found.project_number)))
        if has_own_account(request, request.identity):
            request.identity.remove()  # of an earlier class, with its keys: its permission is withdrawn
        self._withdrawal(request).run_for_earlier()
        if changed and not request.was_bound:
            raise NotReady(
                f"the Kubernetes service account is let into bucket {request.bucket}, and Google may take a minute to "
                "know it everywhere",
                delay=_GRANT_SECONDS,
            )
        return Authentication(additional_secret_data={PROJECT_KEY: SecretStr(request.clients.project)})


def _identities(
    clients: Clients, of: BucketOptions | ObjectBucket, unfinished: Unfinished
) -> tuple[Identity, Identity | None]:
    """The account that the class has the claim use, and the one that an earlier class gave it, if that is another one.

    A recorded name of an account of the claim's own wins over a derived one, whose project may be another one now.
    """
    shared, recorded = clients.parameters.service_account, of.additional_state.get(ACCOUNT_STATE, "")
    is_own, title = is_own_name(recorded, of.user_id), f"objectbucket-{of.user_id}"
    email = shared or (recorded if is_own else build_email(of.user_id, clients.project))
    has_another = recorded not in {"", email}
    current = Identity(
        clients=clients,
        email=email,
        owner=of.owner,
        unfinished=unfinished,
        was_bound=bool(of.additional_state) and not has_another,
        title=title if shared else "",
    )
    if not has_another:
        return current, None
    return current, replace(current, email=recorded, was_bound=True, title="" if is_own else title)


def _project_of_bucket(clients: Clients, of: BucketOptions | ObjectBucket) -> str:
    """The project that the claim's bucket was made in: as recorded, or by the account that was made with it."""
    recorded, account = (of.additional_state.get(each, "") for each in (PROJECT_ID_STATE, ACCOUNT_STATE))
    is_own = is_own_name(account, of.user_id)
    return recorded or (project_of(account, clients.project) if is_own else clients.project)


def _decide_versioning(options: BucketOptions, parameters: Parameters) -> bool | None:
    """What to set on the bucket; None leaves it as it is."""
    asked = parse_versioning(options.claim.additional_config)
    if asked is not None:
        return asked
    if parameters.versioning:
        return True
    return False if VERSIONING_KEY in options.previous_config else None
