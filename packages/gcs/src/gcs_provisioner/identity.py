"""The service account of a claim: made, found, removed.

Used by `provisioner`, `hmac_keys` and `key_files`, as the administrator. Knows nothing of buckets and keys. Every call
is idempotent: what is there already is taken up, what is gone already is success.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from google.api_core import exceptions as api

from gcs_provisioner.account_names import describe, project_of
from gcs_provisioner.client import ask_iam
from gcs_provisioner.errors import Call, translated
from gcs_provisioner.refusals import DENIED_REASONS, id_of, reason_of, retry_delay_of
from gcs_provisioner.unfinished import MOST_ENTRIES, YOUNG
from libbucket import (
    NotReady,
    ProvisionerError,
    QuotaExceeded,
    Reason,
    RetrySlowly,
    StoreRefused,
)

if TYPE_CHECKING:
    from gcs_provisioner.client import Clients
    from gcs_provisioner.unfinished import Unfinished
    from libbucket import Owner

MOST_KEYS: Final = 10
"""Of each kind, per account: https://cloud.google.com/storage/docs/authentication/hmackeys#restrictions and
https://cloud.google.com/iam/quotas."""

_LIMIT_REASONS: Final = frozenset({"RATE_LIMIT_EXCEEDED", "userRateLimitExceeded"})
_MOST_PAGES: Final = 100
_FULL_WAIT: Final = 45.0
_LONGEST_RATE: Final = 600.0
"""Seconds: where Google says to retry sooner, a rate is exceeded, and no quota is used up."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The service account of one claim, or the one that all claims of a class share.

    Attributes:
        clients: of this verb.
        email: address of the account.
        owner: whose claim it is.
        title: tells this claim's bindings of a shared account from those of others; empty for an account of its own.
        unfinished: remembers which accounts are minutes old.
        was_bound: whether an earlier call has answered; the account is older than minutes then.
    """

    clients: Clients
    email: str
    owner: Owner
    unfinished: Unfinished
    was_bound: bool
    title: str = ""

    @property
    def is_shared(self) -> bool:
        """Whether all claims of the class use this account: then it is neither made nor removed here."""
        return bool(self.title)

    @property
    def project(self) -> str:
        """The project that the account belongs to, which a class that was edited may no longer name."""
        return project_of(self.email, self.clients.project)

    @property
    def is_fresh(self) -> bool:
        """Whether the account may have been made in the last minutes: Google may not know it everywhere yet."""
        made = self.unfinished.find(self.email, self.owner.uid)
        return self.unfinished.is_fresh(made.account_at) or (self._may_be_forgotten and not self.is_shared)

    @property
    def _may_be_forgotten(self) -> bool:
        return not self.was_bound and self.unfinished.may_be_forgotten(self.owner.uid)

    def ensure(self) -> bool:
        """The account is there; True where it was made just now.

        IAM answers 403 for an account that is not there, or was made seconds ago, as it does to those who may not
        ask (https://github.com/GoogleCloudPlatform/magic-modules/pull/11811). Making it harms nothing, and tells.

        Raises:
            StoreRefused: an administrator has disabled the account. It stays so, and nothing is made for the claim: to
                disable an account is how an incident is contained, and no new key may undo that.
            RetrySlowly: the account was made for another claim, or the class names one that is not there.
            QuotaExceeded: the project has as many accounts as it may have.
            NotReady: Google does not know the account everywhere yet, or makes no more of them in this minute.
        """
        with translated(self.iam_call("iam.serviceAccounts.get")):
            try:
                found = self._find()
            except api.Forbidden as refusal:
                if reason_of(refusal.response) not in DENIED_REASONS:
                    raise
                return self._ensure_hidden(refusal)
        if found is None:
            if self.is_shared:
                raise RetrySlowly(f"parameter serviceAccount names {self.email}, which does not exist")
            self._create()
            return True
        if not self.is_shared and not self._is_ours(found):
            raise RetrySlowly(
                f"service account {self.email} exists and was not made for this claim: it stays as it is",
                reason=Reason.OBJECT_BUCKET_CONFLICT,
            )
        if found.get("disabled"):
            raise StoreRefused(
                f"service account {self.email} is disabled, and stays so: no credentials are made or replaced until an "
                "administrator enables it"
            )
        return False

    def _ensure_hidden(self, refusal: api.Forbidden) -> bool:
        """What `ensure` does where IAM does not say whether the account is there."""
        if self.is_shared:
            raise refusal
        with translated(self.iam_call("iam.serviceAccounts.create")):
            try:
                self._ask_to_create()
            except api.Conflict:
                # So it is there, and may not be read, or an earlier process made it seconds ago.
                if not self._is_listed():
                    raise self.not_known_yet(refusal) from refusal
            else:
                return True
        raise refusal

    def is_there(self) -> bool:
        """Whether there is an account of this name, whosever it is.

        Raises:
            AccessDenied: the administrator may not read it, though it is there.
        """
        return self._find_listed() is not None

    def is_own(self) -> bool:
        """Whether there is an account of this name that was made for this claim."""
        found = self._find_listed()
        return found is not None and self._is_ours(found)

    def remove(self) -> None:
        """Removes the account with its keys and its policy; one that is gone is fine.

        Raises:
            NotReady: Google says that it does not exist, and lists it.
        """
        with translated(self.iam_call("iam.serviceAccounts.delete")):
            try:
                self.ask_settled("DELETE", "", "iam.serviceAccounts.delete")
            except (api.NotFound, api.Forbidden) as refusal:
                self._check_unlisted(refusal)
        self.unfinished.forget(self.email, self.owner.uid)

    def ask(self, method: str, path: str, permission: str, body: object = None) -> dict[str, Any]:
        """One request about the account, or what belongs to it: see `ask_iam`."""
        whole = f"{self._accounts}/{self.email}{path}"
        return ask_iam(self.clients, method, whole, permission=permission, body=body)

    def ask_settled(
        self,
        method: str,
        path: str,
        permission: str,
        body: object = None,
        *,
        hidden: tuple[type[api.GoogleAPICallError], ...] = (api.NotFound, api.Forbidden),
    ) -> dict[str, Any]:
        """As `ask`; an account that is minutes old, and `hidden` (403, 404), is one to be asked for later.

        A 403 counts where it says no more than that the account may be missing: not for billing, a disabled API, or
        a perimeter.
        """
        try:
            return self.ask(method, path, permission, body)
        except hidden as refusal:
            is_hidden = isinstance(refusal, api.NotFound) or reason_of(refusal.response) in DENIED_REASONS
            made = self.unfinished.find(self.email, self.owner.uid)
            if is_hidden and self.unfinished.is_fresh(made.account_at, YOUNG):
                raise self.not_known_yet(refusal) from refusal
            raise

    def check_room(self) -> None:
        """Before an account or a key is made: what is made must be remembered until it works.

        Raises:
            NotReady: as many claims as are remembered wait for theirs.
        """
        if not self.unfinished.has_room(self.email, self.owner.uid):
            raise NotReady(
                f"{MOST_ENTRIES:,} claims wait for new accounts and keys that Google does not know everywhere yet: "
                f"service account {self.email} has its turn when one of them is done",
                delay=_FULL_WAIT,
            )

    def iam_call(self, permission: str) -> Call:
        """What a request to IAM is for."""
        return Call(url=self.clients.parameters.iam_endpoint, permission=permission)

    def not_known_yet(self, refusal: Exception) -> NotReady:
        """The error for an account that Google does not know everywhere yet."""
        text = f"Google does not know the new service account {self.email} everywhere yet"
        request_id = refusal.request_id if isinstance(refusal, ProvisionerError) else id_of(refusal)
        return NotReady(text, delay=10, request_id=request_id)

    def _find(self) -> dict[str, Any] | None:
        """The account; None where IAM says that there is none.

        Raises:
            google.api_core.exceptions.Forbidden: it is not there, or was made just now, or may not be read.
        """
        try:
            return self.ask_settled("GET", "", "iam.serviceAccounts.get", hidden=(api.Forbidden,))
        except api.NotFound:
            return None

    def _find_listed(self) -> dict[str, Any] | None:
        """The account; None where IAM does not show it, and the project's list of accounts does not have it.

        Raises:
            AccessDenied: it is there, and the administrator may not read it.
            NotReady: it is listed, and IAM says that it does not exist.
        """
        with translated(self.iam_call("iam.serviceAccounts.get")):
            try:
                return self.ask_settled("GET", "", "iam.serviceAccounts.get")
            except (api.Forbidden, api.NotFound) as refusal:
                self._check_unlisted(refusal)
                return None

    def _check_unlisted(self, refusal: api.GoogleAPICallError) -> None:
        check_unlisted(f"service account {self.email}", refusal, is_listed=self._is_listed())
        if self._may_be_forgotten:
            # An earlier process may have made it seconds ago: then neither IAM nor its list shows it yet.
            raise self.not_known_yet(refusal) from refusal

    def _is_listed(self) -> bool:
        """Whether the project's list of service accounts has this one."""
        permission, token = "iam.serviceAccounts.list", ""
        with translated(self.iam_call(permission)):
            for _ in range(_MOST_PAGES):
                query = f"?pageSize=100&pageToken={quote(token, safe='')}" if token else "?pageSize=100"
                answer = ask_iam(self.clients, "GET", self._accounts + query, permission=permission)
                if any(each.get("email") == self.email for each in answer.get("accounts", [])):
                    return True
                token = str(answer.get("nextPageToken", ""))
                if not token:
                    return False
        raise NotReady(f"project {self.project} does not end its list of service accounts")

    def _create(self) -> None:
        permission = "iam.serviceAccounts.create"
        with translated(self.iam_call(permission)):
            try:
                self._ask_to_create()
            except api.Conflict as refusal:
                raise self.not_known_yet(refusal) from refusal  # made by another worker just now, or seen late

    def _ask_to_create(self) -> None:
        """Sends the request.

        Raises:
            google.api_core.exceptions.Conflict: there is one of that name.
        """
        self.check_room()
        permission, owner = "iam.serviceAccounts.create", self.owner
        shown = {"displayName": f"{owner.namespace}/{owner.name}"[:100], "description": describe(owner)}
        body = {"accountId": self.email.partition("@")[0], "serviceAccount": shown}
        try:
            ask_iam(self.clients, "POST", self._accounts, permission=permission, body=body)
        except api.NotFound as refusal:
            raise self.clients.no_such_project(refusal) from refusal
        except api.TooManyRequests as refusal:
            if reason_of(refusal.response) in _LIMIT_REASONS:
                raise
            raise self._too_many(refusal) from refusal
        self.unfinished.note_account(self.email, owner.uid)

    def _too_many(self, refusal: api.TooManyRequests) -> NotReady | QuotaExceeded:
        """The error for 429: so Google answers to more new accounts in a minute than it makes, and at the quota."""
        named, request_id = f"429 {reason_of(refusal.response) or 'no reason given'}", id_of(refusal)
        delay = retry_delay_of(refusal.response)
        if delay is not None and delay <= _LONGEST_RATE:
            return NotReady(
                f"Google makes a limited number of service accounts a minute in project {self.project} ({named}): "
                "that of this claim is made when it takes more",
                delay=delay,
                request_id=request_id,
            )
        return QuotaExceeded(
            f"project {self.project} has as many service accounts as its quota allows ({named}; 100 unless "
            "Google raised it): have it raised, or let all claims of the class use one account, which parameter "
            "serviceAccount names",
            request_id=request_id,
        )

    def _is_ours(self, found: dict[str, Any]) -> bool:
        return found.get("description") == describe(self.owner)

    @property
    def _accounts(self) -> str:
        return f"projects/{self.project}/serviceAccounts"


def check_unlisted(what: str, refusal: api.GoogleAPICallError, *, is_listed: bool) -> None:
    """Makes sure of what Google has said to be gone: no single answer ends a deletion.

    Args:
        what: is gone.
        refusal: the answer that says so: 404, or 403 from where both may be meant.
        is_listed: whether Google's list has it.

    Raises:
        google.api_core.exceptions.Forbidden: it is there, and the administrator may not do that, or Google has refused
            for another reason.
        NotReady: it is listed, and Google has said that it does not exist.
    """
    says_denied = isinstance(refusal, api.Forbidden)
    if says_denied and reason_of(refusal.response) not in DENIED_REASONS:
        raise refusal  # it says nothing of what it was asked for: billing, a disabled API, a perimeter
    if not is_listed:
        return
    if says_denied:
        raise refusal
    raise NotReady(
        f"Google says that {what} does not exist, and lists it: it counts as there",
        delay=10,
        request_id=id_of(refusal),
    ) from refusal


def too_many_keys(email: str, others: int, what: str, refusal: Exception | None = None) -> QuotaExceeded:
    """The error for an account that has as many keys as it may have."""
    return QuotaExceeded(
        f"service account {email} has {others} {what}, and Google allows {MOST_KEYS}: use "
        "credentials: workload-identity-federation, which needs none, or another serviceAccount, or none",
        request_id=id_of(refusal) if refusal else "",
    )
