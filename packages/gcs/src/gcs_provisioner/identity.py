"""The service account of a claim, and the keys of it: made, listed, stopped, removed.

Used by `provisioner` and `keys`, as the administrator. Knows nothing of buckets. Every call may come again: what is
there already is taken up, what is gone already is success.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from google.api_core import exceptions as api

from gcs_provisioner.client import ask_iam
from gcs_provisioner.errors import Call, reason_of, translated
from gcs_provisioner.policy import impersonate, is_same
from libbucket import AccessKeys, NotReady, QuotaExceeded, Reason, RetrySlowly, SecretStr

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from google.cloud.storage.hmac_key import HMACKeyMetadata

    from gcs_provisioner.client import Clients
    from libbucket import Owner

MOST_KEYS: Final = 10
"""Of each kind, per account: https://cloud.google.com/storage/docs/authentication/hmackeys#restrictions and
https://cloud.google.com/iam/quotas."""

_ID: Final = re.compile(r"[a-z][-a-z0-9]{4,28}[a-z0-9]")
_POLICY_ATTEMPTS: Final = 8
_LIMIT_REASONS: Final = frozenset({"RATE_LIMIT_EXCEEDED", "userRateLimitExceeded"})


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The service account of one claim, or the one that all claims of a class share.

    Attributes:
        clients: of this verb.
        email: address of the account.
        owner: whose claim it is.
        title: tells this claim's bindings of a shared account from those of others; empty for an account of its own.
    """

    clients: Clients
    email: str
    owner: Owner
    title: str = ""

    @property
    def is_shared(self) -> bool:
        """Whether all claims of the class use this account: then it is neither made nor removed here."""
        return bool(self.title)

    def ensure(self) -> bool:
        """The account is there; True where it was made just now.

        Raises:
            RetrySlowly: the account was made for somebody else, or the class names one that is not there.
            QuotaExceeded: the project has as many accounts as it may have.
        """
        found = self._find()
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
        return False

    def is_there(self) -> bool:
        """Whether there is an account of this name, whosever it is."""
        return self._find() is not None

    def is_anothers(self) -> bool:
        """Whether there is an account of this name that was not made for this claim."""
        found = self._find()
        return found is not None and not self._is_ours(found)

    def remove(self) -> None:
        """Removes the account with its keys and its policy; one that is gone is fine."""
        with translated(self._iam_call("iam.serviceAccounts.delete")):
            try:
                self._ask("DELETE", "", "iam.serviceAccounts.delete")
            except api.NotFound:
                return

    def let_act(self, members: Iterable[str]) -> bool:
        """Lets exactly these Kubernetes service accounts act as the account, as far as this claim is concerned.

        Returns:
            Whether others could before.

        Raises:
            RetrySlowly: the workload identity pool does not exist.
            NotReady: others write the account's policy all the time.
        """
        wanted = sorted(members)
        for attempt in range(_POLICY_ATTEMPTS):
            policy = self._read_policy()
            before = policy.get("bindings", [])
            bindings = impersonate(before, wanted, title=self.title)
            if is_same(before, bindings):
                return False
            if self._write_policy({**policy, "version": 3, "bindings": bindings}):
                return True
            self.clients.patience.step_back(attempt)
        raise NotReady(f"the policy of service account {self.email} is being written by others all the time", delay=2)

    def hmac_keys(self) -> list[HMACKeyMetadata]:
        """The account's HMAC keys but the deleted ones; none where there is no account."""
        with translated(self._storage_call("storage.hmacKeys.list")):
            try:
                return list(
                    self.clients.storage.list_hmac_keys(
                        service_account_email=self.email, project_id=self.clients.project, **self.clients.bounds
                    )
                )
            except api.NotFound:
                return []

    def create_hmac(self) -> AccessKeys:
        """Makes an HMAC key.

        Raises:
            NotReady: Google does not know the account yet.
        """
        with translated(self._storage_call("storage.hmacKeys.create")):
            try:
                made, secret = self.clients.storage.create_hmac_key(
                    self.email, project_id=self.clients.project, **self.clients.bounds
                )
            except (api.NotFound, api.BadRequest) as refusal:
                raise self._not_known_yet() from refusal
        return AccessKeys(access_key_id=made.access_id, secret_access_key=SecretStr(secret))

    def stop_hmac(self, key: HMACKeyMetadata) -> None:
        """Makes an HMAC key inactive, which it must be before it can be deleted."""
        if key.state != "ACTIVE":
            return
        key.state = "INACTIVE"
        with translated(self._storage_call("storage.hmacKeys.update")):
            try:
                key.update(**self.clients.bounds)
            except api.NotFound:
                return

    def delete_hmac(self, key: HMACKeyMetadata) -> None:
        """Deletes an inactive HMAC key; one that is gone is fine."""
        with translated(self._storage_call("storage.hmacKeys.delete")):
            try:
                key.delete(**self.clients.bounds)
            except api.NotFound:
                return

    def withdraw_hmac(self, keys: Iterable[HMACKeyMetadata], now: datetime) -> float:
        """Stops these keys, and deletes those that have stopped for certain.

        Google writes down when it made a key inactive, so that nothing needs to be remembered here.

        Returns:
            After how many seconds the last one will have stopped; 0 if all have.
        """
        pending = 0.0
        limit = timedelta(seconds=self.clients.parameters.revocation_seconds)
        for key in keys:
            self.stop_hmac(key)
            since = key.updated or now
            left = (since + limit - now).total_seconds()
            if limit and left > 0:
                pending = max(pending, left)
            else:
                self.delete_hmac(key)
        return pending

    def key_ids(self) -> list[str]:
        """Ids of the account's keys that people or programs made; none where there is no account."""
        with translated(self._iam_call("iam.serviceAccountKeys.list")):
            try:
                answer = self._ask("GET", "/keys?keyTypes=USER_MANAGED", "iam.serviceAccountKeys.list")
            except api.NotFound:
                return []
        return [str(each["name"]).rpartition("/")[2] for each in answer.get("keys", [])]

    def create_key(self) -> SecretStr:
        """Makes a service-account key; gives its key file.

        Raises:
            NotReady: Google does not know the account yet.
        """
        permission = "iam.serviceAccountKeys.create"
        with translated(self._iam_call(permission)):
            try:
                answer = self._ask("POST", "/keys", permission, {})
            except api.NotFound as refusal:
                raise self._not_known_yet() from refusal
            return SecretStr(base64.b64decode(answer["privateKeyData"]).decode())

    def delete_key(self, key_id: str) -> None:
        """Deletes a service-account key; one that is gone is fine."""
        with translated(self._iam_call("iam.serviceAccountKeys.delete")):
            try:
                self._ask("DELETE", f"/keys/{key_id}", "iam.serviceAccountKeys.delete")
            except api.NotFound:
                return

    def _find(self) -> dict[str, Any] | None:
        with translated(self._iam_call("iam.serviceAccounts.get")):
            try:
                return self._ask("GET", "", "iam.serviceAccounts.get")
            except api.NotFound:
                return None

    def _create(self) -> None:
        permission, owner = "iam.serviceAccounts.create", self.owner
        shown = {"displayName": f"{owner.namespace}/{owner.name}"[:100], "description": describe(owner)}
        body = {"accountId": self.email.partition("@")[0], "serviceAccount": shown}
        with translated(self._iam_call(permission)):
            try:
                ask_iam(self.clients, "POST", self._accounts, permission=permission, body=body)
            except api.Conflict as refusal:
                raise self._not_known_yet() from refusal  # made by another worker just now, or seen late
            except api.TooManyRequests as refusal:
                if reason_of(refusal.response) in _LIMIT_REASONS:
                    raise
                raise self._too_many() from refusal

    def _too_many(self) -> QuotaExceeded:
        return QuotaExceeded(
            f"project {self.clients.project} has as many service accounts as its quota allows (100 unless Google raised"
            " it): have it raised, or let all claims of the class use one account, which parameter serviceAccount names"
        )

    def _is_ours(self, found: dict[str, Any]) -> bool:
        return found.get("description") == describe(self.owner)

    def _read_policy(self) -> dict[str, Any]:
        permission = "iam.serviceAccounts.getIamPolicy"
        body = {"options": {"requestedPolicyVersion": 3}}
        with translated(self._iam_call(permission)):
            return self._ask("POST", ":getIamPolicy", permission, body)

    def _write_policy(self, policy: dict[str, Any]) -> bool:
        """False where somebody else wrote since."""
        permission = "iam.serviceAccounts.setIamPolicy"
        with translated(self._iam_call(permission)):
            try:
                self._ask("POST", ":setIamPolicy", permission, {"policy": policy})
            except api.Conflict:
                return False
            except api.BadRequest as refusal:
                raise RetrySlowly(
                    "Google does not take the Kubernetes service account: Workload Identity is not enabled for a "
                    "cluster of the project, or parameter workloadIdentityPool names another pool than the cluster's"
                ) from refusal
        return True

    def _not_known_yet(self) -> NotReady:
        return NotReady(f"Google does not know the new service account {self.email} everywhere yet", delay=5)

    def _ask(self, method: str, path: str, permission: str, body: object = None) -> dict[str, Any]:
        whole = f"{self._accounts}/{self.email}{path}"
        return ask_iam(self.clients, method, whole, permission=permission, body=body)

    @property
    def _accounts(self) -> str:
        return f"projects/{self.clients.project}/serviceAccounts"

    def _iam_call(self, permission: str) -> Call:
        return Call(url=self.clients.parameters.iam_endpoint, permission=permission)

    def _storage_call(self, permission: str) -> Call:
        return Call(url=self.clients.parameters.endpoint, permission=permission)


def describe(owner: Owner) -> str:
    """What an account says about itself: by this it is known again, so it must never change."""
    return json.dumps({"objectbucket_cluster_id": owner.cluster_id, "objectbucket_claim_uid": owner.uid})


def build_account_id(text: str) -> str:
    """A name for an account, of 28 characters; the same for the same text.

    Google takes 6 to 30 lower-case letters, digits and hyphens: https://cloud.google.com/iam/docs/service-accounts-create.
    """
    return f"obc-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def build_email(user_id: str, project: str) -> str:
    """The address of the account of that name; `example.com:name` is how projects of a domain are called."""
    account_id = user_id if _ID.fullmatch(user_id) else build_account_id(user_id)
    return f"{account_id}@{'.'.join(reversed(project.split(':')))}.iam.gserviceaccount.com"
