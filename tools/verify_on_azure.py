"""Asks a real storage account the questions that no emulator answers, and prints what it says beside what is expected.

Run once, with a key of an account, as `docs/first-hour-on-azure.md` says. Makes containers whose names begin with
`libbucket-verify-`, and removes them in the end, whatever happens. Uses the SDK, and nothing of the
provisioner. It refuses to run in an account that is not named on the command line.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from azure.core.credentials import AzureSasCredential
from azure.core.exceptions import AzureError, HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.storage.blob import AccessPolicy, BlobServiceClient, ContainerClient, generate_container_sas

from questions import Check, ask_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Sleep = Callable[[float], None]

_PREFIX: Final = "libbucket-verify-"
_WORKS: Final = "works"
_NOT_ASKED: Final = "not asked"
_NO_LEASE: Final = "00000000-0000-0000-0000-000000000001"
_OPTIONS: Final[Any] = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 30}


@dataclass(kw_only=True)
class Account:
    """The account under test, and what the checks have made in it.

    Attributes:
        name: of the account.
        url: of its blob service.
        key: of the account.
        identity: a credential of azure-identity; None where tokens are not asked about.
        patience: seconds that a change of access is waited for.
        sleep: waits.
        seconds: that never run backwards.
        now: the time.
        containers: made.
    """

    name: str
    url: str
    key: str
    identity: Any = None
    patience: float = 60.0
    sleep: Sleep = time.sleep
    seconds: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    containers: list[str] = field(default_factory=list)

    def service(self, credential: Any = None) -> BlobServiceClient:
        """A client that tries each request once, with the key or with another credential."""
        own = {"account_name": self.name, "account_key": self.key}
        return BlobServiceClient(self.url, credential=credential or own, **_OPTIONS)

    def new_container(self) -> ContainerClient:
        """A container, as the provisioner makes it: with its metadata."""
        made = self.absent()
        made.create_container(metadata={"verify": "first"})
        self.containers.append(made.container_name)
        return made

    def absent(self) -> ContainerClient:
        """A container that nobody has."""
        return self.service().get_container_client(f"{_PREFIX}{secrets.token_hex(8)}")

    def policy(self, *, start: bool = True) -> AccessPolicy:
        """As the provisioner makes it."""
        begins = self.now() - timedelta(minutes=5)
        return AccessPolicy(permission="rl", start=begins if start else None, expiry=begins + timedelta(hours=1))

    def bound(self, container: ContainerClient, policy: str) -> AzureSasCredential:
        """A SAS that is bound to a stored access policy."""
        name = container.container_name
        return AzureSasCredential(generate_container_sas(self.name, name, account_key=self.key, policy_id=policy))

    def listed(self, container: ContainerClient, sas: AzureSasCredential) -> str:
        """What a listing over a new connection gives."""
        with self.opened(container, sas) as tenant:
            return answer_of(lambda: list(tenant.list_blobs()))

    def opened(self, container: ContainerClient, sas: AzureSasCredential) -> ContainerClient:
        """The container with a SAS, over a new connection."""
        return ContainerClient(self.url, container.container_name, credential=sas, **_OPTIONS)

    def clean_up(self) -> list[str]:
        """Removes everything; gives what is left."""
        return [f"container {name}" for name in self.containers if not self._is_removed(name)]

    def _is_removed(self, name: str) -> bool:
        client = self.service().get_container_client(name)
        with suppress(AzureError):
            client.delete_container()
        return answer_of(client.get_container_properties) == "ContainerNotFound"


def answer_of(call: Callable[[], object]) -> str:
    """`works`, or the code of the refusal."""
    try:
        call()
    except HttpResponseError as error:
        headers = getattr(error.response, "headers", None) or {}
        return str(headers.get("x-ms-error-code") or error.status_code)
    except AzureError as error:
        return type(error).__name__
    return _WORKS


def _absent(account: Account) -> str:
    return answer_of(account.absent().get_container_properties)


def _metadata_at_once(account: Account) -> str:
    return str(account.new_container().get_container_properties().metadata.get("verify"))


def _made_twice(account: Account) -> str:
    return answer_of(account.new_container().create_container)


def _made_anew(account: Account) -> str:
    container = account.new_container()
    container.delete_container()
    return answer_of(container.create_container)


def _wrong_key(account: Account) -> str:
    key = {"account_name": account.name, "account_key": "d3Jvbmc="}
    return answer_of(
        account.service(key).get_container_client(account.absent().container_name).get_container_properties
    )


def _immutability(account: Account) -> str:
    found = account.new_container().get_container_properties()
    return f"versions kept: {bool(found.immutable_storage_with_versioning_enabled)}"


def _stale_write(account: Account) -> str:
    container = account.new_container()
    since = container.get_container_properties().last_modified - timedelta(seconds=60)
    return answer_of(lambda: container.set_container_access_policy({}, if_unmodified_since=since))


def _other_lease(account: Account) -> str:
    container = account.new_container()
    lease = container.acquire_lease(15)
    wrong: Any = _NO_LEASE
    written = answer_of(lambda: container.set_container_access_policy({}, lease=wrong))
    second = answer_of(lambda: container.acquire_lease(15))
    deleted = answer_of(container.delete_container)
    lease.release()
    return f"{written}, {second}, {deleted}"


def _lease_and_time(account: Account) -> str:
    container = account.new_container()
    before = container.get_container_properties().last_modified
    account.sleep(2)
    container.acquire_lease(15).release()
    return "unchanged" if container.get_container_properties().last_modified == before else "changed"


def _spreads(account: Account) -> str:
    container = account.new_container()
    container.set_container_access_policy({"first": account.policy()})
    account.listed(container, account.bound(container, "first"))  # front ends remember the policies
    container.set_container_access_policy({"first": account.policy(), "second": account.policy()})
    return _until(account, container, "second", _WORKS)


def _removal_spreads(account: Account) -> str:
    container = account.new_container()
    container.set_container_access_policy({"first": account.policy()})
    _until(account, container, "first", _WORKS)
    container.set_container_access_policy({})
    return _until(account, container, "first", "AuthenticationFailed")


def _until(account: Account, container: ContainerClient, policy: str, wanted: str) -> str:
    """When the wanted answer came first, and when the last other one: each try over a new connection."""
    began, sas = account.seconds(), account.bound(container, policy)
    answers: list[tuple[float, str]] = []
    while account.seconds() - began < account.patience:
        answers.append((account.seconds() - began, account.listed(container, sas)))
        account.sleep(1)
    first = [at for at, answer in answers if answer == wanted]
    if not first:
        return f"never within {account.patience:.0f} s: {answers[-1][1]}"
    others = [at for at, answer in answers if answer != wanted]
    last = max(others, default=0.0)
    kind = "within 30 s" if last <= 31 else "late"
    return f"{kind}: first after {first[0]:.0f} s, last other answer after {last:.0f} s"


def _no_start(account: Account) -> str:
    container = account.new_container()
    container.set_container_access_policy({"first": account.policy(start=False)})
    account.sleep(31)
    without = account.listed(container, account.bound(container, "first"))
    container.set_container_access_policy({"first": account.policy()})
    account.sleep(31)
    return f"with a start: {account.listed(container, account.bound(container, 'first'))}, without: {without}"


@contextmanager
def _tenant(account: Account) -> Iterator[ContainerClient]:
    """A new container as its claim's SAS opens it, once all front ends know its policy."""
    container = account.new_container()
    container.set_container_access_policy({"first": account.policy()})
    account.sleep(31)
    with account.opened(container, account.bound(container, "first")) as tenant:
        yield tenant


def _absent_blob(account: Account) -> str:
    with _tenant(account) as tenant:
        return answer_of(tenant.get_blob_client("objectbucket-probe/").get_blob_properties)


def _beyond_the_claim(account: Account) -> str:
    with _tenant(account) as tenant:
        answers = [answer_of(tenant.get_container_access_policy), answer_of(tenant.delete_container)]
    return "refused" if _WORKS not in answers else f"LET IN: {answers}"


def _versions(account: Account) -> str:
    container = account.new_container()
    return answer_of(lambda: list(container.list_blobs(include=["snapshots", "uncommittedblobs", "versions"])))


def _hierarchy(account: Account) -> str:
    found: Any = account.service().get_account_information()
    return f"hierarchical: {bool(found.get('is_hns_enabled'))}"


def _restored(account: Account) -> str:
    container = account.new_container()
    container.set_container_access_policy({"first": account.policy()})
    container.delete_container()
    service, name = account.service(), container.container_name
    deleted = [one for one in service.list_containers(name_starts_with=name, include_deleted=True) if one.deleted]
    if not deleted:
        return f"{_NOT_ASKED}: the account has no soft delete for containers"
    account.sleep(31)
    service.undelete_container(name, deleted[0].version or "")
    return f"policies in the restored container: {len(container.get_container_access_policy()['signed_identifiers'])}"


def _with_token(ask: Callable[[Account, Any], str]) -> Callable[[Account], str]:
    """A check for which a token is needed."""

    def asked(account: Account) -> str:
        if account.identity is None:
            return f"{_NOT_ASKED}: --identity"
        return ask(account, account.service(account.identity))

    return asked


def _delegated(account: Account, service: Any) -> str:
    container = account.new_container()
    begins = account.now().replace(microsecond=0) - timedelta(minutes=5)
    ends = begins + timedelta(hours=1)
    key = service.get_user_delegation_key(begins, ends)
    name = container.container_name
    sas = generate_container_sas(
        account.name, name, user_delegation_key=key, permission="rl", start=begins, expiry=ends
    )
    return account.listed(container, AzureSasCredential(sas))


def _long_key(account: Account, service: Any) -> str:
    now = account.now()
    return answer_of(lambda: service.get_user_delegation_key(now, now + timedelta(days=8)))


def _policies_by_token(account: Account, service: Any) -> str:
    name = account.new_container().container_name
    return answer_of(service.get_container_client(name).get_container_access_policy)


def _hierarchy_by_token(_account: Account, service: Any) -> str:
    return answer_of(service.get_account_information)


_LEASED: Final = "LeaseIdMismatchWithContainerOperation, LeaseAlreadyPresent, LeaseIdMissing"
CHECKS: Final[tuple[Check[Account], ...]] = (
    Check(what="a container that nobody has", expected=("ContainerNotFound",), ask=_absent),
    Check(what="metadata immediately after Create Container", expected=("first",), ask=_metadata_at_once),
    Check(what="Create Container of a name that is taken", expected=("ContainerAlreadyExists",), ask=_made_twice),
    Check(
        what="Create Container immediately after Delete Container",
        expected=("ContainerBeingDeleted", _WORKS),
        ask=_made_anew,
    ),
    Check(what="another key", expected=("AuthenticationFailed",), ask=_wrong_key),
    Check(what="version-level immutability support", expected=("versions kept: False",), ask=_immutability),
    Check(what="Set Container ACL after a later change", expected=("ConditionNotMet",), ask=_stale_write),
    Check(what="a lease against writing, leasing and deletion", expected=(_LEASED,), ask=_other_lease),
    Check(what="Last-Modified after a lease", expected=("unchanged", "changed"), ask=_lease_and_time),
    Check(what="seconds until a second policy works", expected=("within 30 s",), ask=_spreads),
    Check(what="seconds until a removed policy is refused", expected=("within 30 s",), ask=_removal_spreads),
    Check(what="a SAS with a start in its policy, and without", expected=("with a start: works",), ask=_no_start),
    Check(what="HEAD of a blob that is not there, by a claim", expected=("BlobNotFound",), ask=_absent_blob),
    Check(what="container and policies, by a claim's SAS", expected=("refused",), ask=_beyond_the_claim),
    Check(what="List Blobs with versions", expected=(_WORKS,), ask=_versions),
    Check(what="Get Account Information", expected=("hierarchical: False",), ask=_hierarchy),
    Check(
        what="Restore Container",
        expected=(_NOT_ASKED, "policies in the restored container"),
        ask=_restored,
    ),
    Check(what="a user-delegation SAS", expected=(_NOT_ASKED, _WORKS), ask=_with_token(_delegated)),
    Check(
        what="a user delegation key of eight days",
        expected=(_NOT_ASKED, "InvalidXmlNodeValue"),
        ask=_with_token(_long_key),
    ),
    Check(what="Get Container ACL with a token", expected=("",), ask=_with_token(_policies_by_token)),
    Check(
        what="Get Account Information with a token",
        expected=(_NOT_ASKED, _WORKS, "AuthorizationPermissionMismatch", "AuthorizationFailure"),
        ask=_with_token(_hierarchy_by_token),
    ),
)


def run(account: Account, tell: Callable[[str], None] = print) -> bool:
    """Asks everything; gives whether all answers were expected and nothing is left.

    Args:
        account: that was named.
        tell: prints a line.
    """
    return ask_all(CHECKS, account, _asked, tell=tell)


def _asked(check: Check[Account], account: Account) -> str:
    answers: list[str] = []
    refused = answer_of(lambda: answers.append(check.ask(account)))
    return answers[0] if answers else refused


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the command line and runs the checks: 0 where all is as expected."""
    parser = argparse.ArgumentParser(prog="verify_on_azure", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--account", required=True, help="name of the storage account")
    parser.add_argument("--identity", action="store_true", help="ask with a token, too, as the Azure CLI has it")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds that a change of access is waited for")
    given = parser.parse_args(arguments)
    text = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    held = dict(part.partition("=")[::2] for part in text.split(";") if part)
    if held.get("AccountName") != given.account or not held.get("AccountKey"):
        sys.stderr.write(f"AZURE_STORAGE_CONNECTION_STRING holds no key of account {given.account}: nothing was done\n")
        return 2
    url = held.get("BlobEndpoint") or f"https://{given.account}.blob.{held.get('EndpointSuffix', 'core.windows.net')}"
    account = Account(
        name=given.account,
        url=url.rstrip("/"),
        key=held["AccountKey"],
        identity=DefaultAzureCredential() if given.identity else None,
        patience=given.patience,
    )
    return 0 if run(account) else 1


if __name__ == "__main__":
    sys.exit(main())
