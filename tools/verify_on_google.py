"""Asks a real Google Cloud project what no emulator answers, and prints what it says beside what is expected.

Run once, with credentials of a project, as `docs/first-hour-on-google.md` says. Makes buckets and service accounts
whose names begin with `obc-verify-`, and removes them in the end, whatever happens. Uses plain requests with
google-auth, and of this repository the policy of a claim and the signed URL that tries its key. It refuses to run in a
project that is not named on the command line.
"""

from __future__ import annotations

import argparse
import base64
import json
import secrets
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import google.auth
import requests
from google.auth import exceptions as auth
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2 import service_account

from gcs_provisioner.policy import MOST_CONDITIONS, OBJECTS_ROLE, federated_member, grant, grant_titled
from gcs_provisioner.refusals import constraint_of, reason_of
from gcs_provisioner.signing import presign_listing
from libbucket import AccessKeys, SecretStr
from questions import Check, ask_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from google.auth.credentials import Credentials

_PREFIX: Final = "obc-verify-"
_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
_WORKS: Final = "works"
_LISTING: Final = {"list-type": "2", "max-keys": "1"}
_IN_A_ROW: Final = 3


@dataclass(kw_only=True)
class Project:
    """The project under test, and what the checks have made in it.

    Attributes:
        id: of the project.
        credentials: of the caller.
        location: of buckets.
        foreign_bucket: of another customer.
        repeats: of what is counted.
        patience: seconds that a permission or a key is waited for.
        storage: address of Cloud Storage.
        iam: address of IAM.
        token_uri: address where tokens are requested.
        sleep: waits.
        clock: seconds.
        buckets: made.
        accounts: made, by their addresses.
    """

    id: str
    credentials: Credentials
    location: str
    foreign_bucket: str
    repeats: int
    patience: float
    storage: str = "https://storage.googleapis.com"
    iam: str = "https://iam.googleapis.com"
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    buckets: list[str] = field(default_factory=list)
    accounts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.session = AuthorizedSession(self.credentials)

    def ask(self, method: str, url: str, body: object = None) -> requests.Response:
        """One request as the caller, without any retry."""
        answer: requests.Response = self.session.request(method, url, json=body, timeout=(5, 30))
        return answer

    def in_storage(self, method: str, path: str, body: object = None) -> requests.Response:
        """One request to the JSON API."""
        return self.ask(method, f"{self.storage}/storage/v1/{path}", body)

    def in_iam(self, method: str, path: str = "", body: object = None) -> requests.Response:
        """One request to IAM, about the project's service accounts."""
        return self.ask(method, f"{self.iam}/v1/projects/{self.id}/serviceAccounts{path}", body)

    def new_name(self) -> str:
        """A name that nobody has."""
        return f"{_PREFIX}{secrets.token_hex(8)}"

    def make_bucket(self, **settings: object) -> str:
        """A bucket as the provisioner makes them, at Google's rate of one in two seconds."""
        name = self.new_name()
        self.sleep(3)
        _need(self.insert(name, **settings))
        return name

    def insert(self, name: str, **settings: object) -> requests.Response:
        """The request that makes a bucket."""
        uniform = {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "enforced"}
        body = {"name": name, "location": self.location, "iamConfiguration": uniform, **settings}
        answer = self.in_storage("POST", f"b?project={self.id}", body)
        if answer.ok:
            self.buckets.append(name)
        return answer

    def make_account(self) -> str:
        """A service account without any permission; gives its address."""
        answer = _need(self.in_iam("POST", body={"accountId": self.new_name()}))
        email = str(answer.json()["email"])
        self.accounts.append(email)
        return email

    def make_hmac(self, email: str) -> AccessKeys:
        """An HMAC key of an account that Cloud Storage knows by then."""
        path = f"projects/{self.id}/hmacKeys?serviceAccountEmail={quote(email)}"
        made = _need(self.until_works(lambda: self.in_storage("POST", path))).json()
        return AccessKeys(access_key_id=made["metadata"]["accessId"], secret_access_key=SecretStr(made["secret"]))

    def make_file(self, email: str) -> dict[str, Any]:
        """A key file of an account that IAM knows by then."""
        made = _need(self.until_works(lambda: self.in_iam("POST", f"/{email}/keys", {})))
        file: dict[str, Any] = json.loads(base64.b64decode(made.json()["privateKeyData"]))
        return {**file, "token_uri": self.token_uri}

    def policy_of(self, bucket: str) -> dict[str, Any]:
        """Of a bucket, as version 3."""
        found: dict[str, Any] = _need(self.in_storage("GET", f"b/{bucket}/iam?optionsRequestedPolicyVersion=3")).json()
        return found

    def write_policy(self, bucket: str, bindings: object, *, etag: str = "") -> requests.Response:
        """Writes the bindings of a bucket, as version 3."""
        self.sleep(2)
        etag = etag or str(self.policy_of(bucket)["etag"])
        return self.in_storage("PUT", f"b/{bucket}/iam", {"etag": etag, "version": 3, "bindings": bindings})

    def let_in(self, bucket: str, email: str) -> requests.Response:
        """Gives an account what a claim's account gets, as soon as Google knows it."""
        return self.until_works(lambda: self.write_policy(bucket, grant(self.policy_of(bucket)["bindings"], email)))

    def lists(self, bucket: str, keys: AccessKeys) -> str:
        """What a listing with an HMAC key is answered."""
        url = presign_listing(self.storage, bucket, keys, query=_LISTING)
        return answer_of(requests.get(url, timeout=(5, 30)))

    def lists_by(self, bucket: str, credentials: Credentials) -> str:
        """What a listing with a token is answered."""
        try:
            if not credentials.valid:
                credentials.refresh(Request())
        except auth.RefreshError as error:
            return f"no token: {str(error.args[0])[:60]}"
        headers = {"Authorization": f"Bearer {credentials.token}"}
        url = f"{self.storage}/{bucket}?list-type=2&max-keys=1"
        return answer_of(requests.get(url, headers=headers, timeout=(5, 30)))

    def until_works(self, call: Callable[[], requests.Response]) -> requests.Response:
        """The first answer that is no refusal, or the last one."""
        began = self.clock()
        while True:
            answer = call()
            if answer.ok or self.clock() - began > self.patience or constraint_of(answer):
                return answer
            self.sleep(2)

    def seconds_until(self, call: Callable[[], str], wanted: Callable[[str], bool]) -> str:
        """After how many seconds an answer is as wanted for the first time, and for the last time is not."""
        began, seen = self.clock(), list[tuple[float, str]]()
        while not seen or self.clock() - began < self.patience:
            seen.append((self.clock() - began, call()))
            if len(seen) >= _IN_A_ROW and all(wanted(answer) for _, answer in seen[-_IN_A_ROW:]):
                break
            self.sleep(2)
        first = next((at for at, answer in seen if wanted(answer)), None)
        if first is None:
            return f"never within {self.patience:.0f} s: {seen[-1][1]}"
        last = max((at for at, answer in seen if not wanted(answer)), default=0.0)
        return f"after {first:.0f} s, otherwise for the last time after {last:.0f} s ({seen[0][1]}, then {seen[-1][1]})"

    def clean_up(self) -> list[str]:
        """Removes everything; gives what is left."""
        left = [f"service account {email}" for email in self.accounts if not self._is_without(email)]
        return left + [f"bucket {name}" for name in self.buckets if not self._is_removed(name)]

    def _is_without(self, email: str) -> bool:
        return self.in_iam("DELETE", f"/{email}").status_code in {200, 403, 404}

    def _is_removed(self, name: str) -> bool:
        for each in self.in_storage("GET", f"b/{name}/o?versions=true").json().get("items", []):
            path = f"b/{name}/o/{quote(each['name'], safe='')}?generation={each['generation']}"
            self.in_storage("DELETE", path)
        for each in self.in_storage("GET", f"b/{name}/managedFolders").json().get("items", []):
            self.in_storage("DELETE", f"b/{name}/managedFolders/{quote(each['name'], safe='')}")
        answer = self.until_works(lambda: self.in_storage("DELETE", f"b/{name}"))
        return answer.ok or answer.status_code == 404


class UnexpectedRefusal(Exception):
    """What a check needs first could not be made."""


def answer_of(answer: requests.Response) -> str:
    """`works`, or status and reason of the refusal."""
    if answer.ok:
        return _WORKS
    named = constraint_of(answer)
    return f"{answer.status_code} {reason_of(answer) or 'no reason'}" + (f" ({named})" if named else "")


def _need(answer: requests.Response) -> requests.Response:
    if not answer.ok:
        raise UnexpectedRefusal(f"{answer.request.method} {answer.url.partition('?')[0]}: {answer_of(answer)}")
    return answer


def _account_policy(body: object) -> Callable[[Project], str]:
    def ask(project: Project) -> str:
        email = project.make_account()
        path = f"/{email}:getIamPolicy" + ("" if body else "?options.requestedPolicyVersion=3")
        return answer_of(project.until_works(lambda: project.in_iam("POST", path, body)))

    return ask


def _account_of_nobody(project: Project) -> str:
    email = f"{project.new_name()}@{project.id}.iam.gserviceaccount.com"
    return answer_of(project.in_iam("GET", f"/{email}"))


def _new_account(project: Project) -> str:
    email = project.make_account()
    return project.seconds_until(lambda: answer_of(project.in_iam("GET", f"/{email}")), _is_works)


def _account_listed(project: Project) -> str:
    email = project.make_account()

    def listed() -> str:
        found = project.in_iam("GET", "?pageSize=100").json().get("accounts", [])
        return _WORKS if any(each["email"] == email for each in found) else "not listed"

    return project.seconds_until(listed, _is_works)


def _removed_account(project: Project) -> str:
    email = project.make_account()
    _need(project.until_works(lambda: project.in_iam("GET", f"/{email}")))
    _need(project.in_iam("DELETE", f"/{email}"))
    return project.seconds_until(lambda: answer_of(project.in_iam("GET", f"/{email}")), _is_refused)


def _bucket_of_nobody(project: Project) -> str:
    return answer_of(project.in_storage("GET", f"b/{project.new_name()}"))


def _foreign_bucket(project: Project) -> str:
    read = answer_of(project.in_storage("GET", f"b/{project.foreign_bucket}"))
    project.sleep(3)
    return f"{read}; made: {answer_of(project.insert(project.foreign_bucket))}"


def _second_creation(project: Project) -> str:
    name = project.make_bucket(labels={"verify": "first"})
    project.sleep(3)
    second = answer_of(project.in_storage("POST", f"b?project={project.id}", {"name": name}))
    labels = project.in_storage("GET", f"b/{name}").json()["labels"]
    return f"{second}, labels of the {labels['verify']} creation"


def _listed_buckets(project: Project) -> str:
    name, path = project.make_bucket(), f"b?project={project.id}&prefix={_PREFIX}&fields=items(name)"

    def is_listed() -> bool:
        return name in [each["name"] for each in project.in_storage("GET", path).json().get("items", [])]

    after_creation = is_listed()
    project.sleep(3)
    _need(project.in_storage("DELETE", f"b/{name}"))
    return f"listed after creation: {after_creation}, after deletion: {is_listed()}"


def _name_anew(project: Project) -> str:
    name = project.make_bucket()
    project.sleep(3)
    _need(project.in_storage("DELETE", f"b/{name}"))
    project.sleep(3)
    return answer_of(project.insert(name))


def _burst(project: Project) -> str:
    answers = [answer_of(project.insert(project.new_name())) for _ in range(project.repeats)]
    refused = sorted({each for each in answers if each != _WORKS})
    return f"{answers.count(_WORKS)} of {len(answers)} work" + (
        f", the others: {', '.join(refused)}" if refused else ""
    )


def _fresh_member(project: Project) -> str:
    bucket, email = project.make_bucket(), project.make_account()

    def let_in() -> str:
        return answer_of(project.write_policy(bucket, grant(project.policy_of(bucket)["bindings"], email)))

    return project.seconds_until(let_in, _is_works)


def _federated(project: Project) -> str:
    bucket = project.make_bucket()
    number = str(project.in_storage("GET", f"b/{bucket}").json()["projectNumber"])
    member = federated_member(number, f"{project.id}.svc.id.goog", "shop", "default")
    bindings = grant_titled(project.policy_of(bucket)["bindings"], member, title="verify", bucket=bucket)
    written = answer_of(project.write_policy(bucket, bindings))
    if written != _WORKS:
        return written
    found = [each for each in project.policy_of(bucket)["bindings"] if member in each["members"]]
    titled = [each["condition"]["title"] for each in found if each["role"] == OBJECTS_ROLE]
    for count in range(MOST_CONDITIONS):
        bindings = grant_titled(bindings, member, title=f"verify {count}", bucket=bucket)
    full = answer_of(project.write_policy(bucket, bindings))
    return f"works, reads back the title {titled[0]!r}; {MOST_CONDITIONS + 1} titles of one member: {full}"


def _stale_etag(project: Project) -> str:
    bucket = project.make_bucket()
    before = project.policy_of(bucket)
    owner = {"role": "roles/storage.objectViewer", "members": [f"projectViewer:{project.id}"]}
    _need(project.write_policy(bucket, [*before["bindings"], owner]))
    count = _need(project.in_storage("GET", f"b/{bucket}?fields=metageneration")).json()["metageneration"]
    stale = answer_of(project.write_policy(bucket, before["bindings"], etag=before["etag"]))
    return f"{stale}; metageneration after one policy: {count}"


def _no_bindings(project: Project) -> str:
    return answer_of(project.write_policy(project.make_bucket(), []))


def _hmac_spreads(project: Project) -> str:
    bucket, email = project.make_bucket(), project.make_account()
    _need(project.let_in(bucket, email))
    keys = project.make_hmac(email)
    return project.seconds_until(lambda: project.lists(bucket, keys), _is_works)


def _hmac_ends(project: Project) -> str:
    bucket, email = project.make_bucket(), project.make_account()
    _need(project.let_in(bucket, email))
    keys = project.make_hmac(email)
    project.seconds_until(lambda: project.lists(bucket, keys), _is_works)
    path = f"projects/{project.id}/hmacKeys/{keys.access_key_id}"
    _need(project.in_storage("PUT", path, {"state": "INACTIVE"}))
    deleted = answer_of(project.in_storage("DELETE", path))
    ended = project.seconds_until(lambda: project.lists(bucket, keys), _is_refused)
    return f"deleted at once: {deleted}; refused {ended}"


def _file_spreads(project: Project) -> str:
    bucket, email = project.make_bucket(), project.make_account()
    _need(project.let_in(bucket, email))
    file = project.make_file(email)
    return project.seconds_until(lambda: project.lists_by(bucket, _credentials(file)), _is_works)


def _file_names(project: Project) -> str:
    email = project.make_account()
    made = project.until_works(lambda: project.in_iam("POST", f"/{email}/keys", {}))
    if not made.ok:
        return answer_of(made)
    file = json.loads(base64.b64decode(made.json()["privateKeyData"]))
    return f"token_uri {file['token_uri']}, validBeforeTime {made.json().get('validBeforeTime')}"


def _withdrawn(project: Project) -> str:
    bucket, email = project.make_bucket(), project.make_account()
    before = project.policy_of(bucket)["bindings"]
    _need(project.let_in(bucket, email))
    credentials = _credentials(project.make_file(email))
    project.seconds_until(lambda: project.lists_by(bucket, credentials), _is_works)
    _need(project.write_policy(bucket, before))
    return project.seconds_until(lambda: project.lists_by(bucket, credentials), _is_refused)


def _disabled(project: Project) -> str:
    bucket, email = project.make_bucket(), project.make_account()
    _need(project.let_in(bucket, email))
    keys, file = project.make_hmac(email), project.make_file(email)
    project.seconds_until(lambda: project.lists(bucket, keys), _is_works)
    _need(project.in_iam("POST", f"/{email}:disable", {}))
    ended = project.seconds_until(lambda: project.lists(bucket, keys), _is_refused)
    return f"HMAC key refused {ended}; key file: {project.lists_by(bucket, _credentials(file))}"


def _folder(project: Project) -> str:
    bucket = project.make_bucket()
    _need(project.in_storage("POST", f"b/{bucket}/managedFolders", {"name": "empty/"}))
    project.sleep(3)
    return answer_of(project.in_storage("DELETE", f"b/{bucket}"))


def _odd_name(project: Project) -> str:
    bucket = project.make_bucket()
    url = f"{project.storage}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(chr(1))}"
    _need(project.session.post(url, data=b"x", timeout=(5, 30)))
    listing = f"{project.storage}/{bucket}?list-type=2&encoding-type=url"
    answer = project.ask("GET", listing)
    return answer_of(answer) + (", name encoded" if b"%01" in answer.content else ", name as it is")


def _condition_on_account(project: Project) -> str:
    email = project.make_account()
    member = f"serviceAccount:{project.id}.svc.id.goog[shop/default]"
    condition = {"title": "verify", "expression": "true"}
    binding = {"role": "roles/iam.workloadIdentityUser", "members": [member], "condition": condition}
    policy = {"version": 3, "bindings": [binding]}
    return answer_of(project.until_works(lambda: project.in_iam("POST", f"/{email}:setIamPolicy", {"policy": policy})))


def _credentials(file: Mapping[str, Any]) -> Credentials:
    made: Credentials = service_account.Credentials.from_service_account_info(dict(file), scopes=_SCOPES)
    return made


def _is_works(answer: str) -> bool:
    return answer == _WORKS


def _is_refused(answer: str) -> bool:
    return answer != _WORKS


_NO_POOL: Final = "400 "
_FORBIDDEN: Final = ("POST ",)

CHECKS: Final[tuple[Check[Project], ...]] = (
    Check(what=":getIamPolicy without a body, version in the query", expected=(_WORKS,), ask=_account_policy(None)),
    Check(
        what=":getIamPolicy with options in the body",
        expected=(_WORKS, "400"),
        ask=_account_policy({"options": {"requestedPolicyVersion": 3}}),
    ),
    Check(what="GET of an account that never was", expected=("404", "403"), ask=_account_of_nobody),
    Check(what="seconds until a new account can be read", expected=("after",), ask=_new_account),
    Check(what="seconds until a new account is listed", expected=("after",), ask=_account_listed),
    Check(what="seconds until a removed account is not read", expected=("after",), ask=_removed_account),
    Check(what="GET of a bucket that nobody has", expected=("404 notFound",), ask=_bucket_of_nobody),
    Check(
        what="GET and creation of another customer's bucket",
        expected=("403 forbidden; made: 409",),
        ask=_foreign_bucket,
    ),
    Check(what="creation of a bucket twice", expected=("409 conflict, labels of the first",), ask=_second_creation),
    Check(
        what="list of buckets after creation and deletion",
        expected=("listed after creation: True, after deletion: False",),
        ask=_listed_buckets,
    ),
    Check(what="creation of a name that was just deleted", expected=(_WORKS,), ask=_name_anew),
    Check(what="creation of buckets as fast as possible", expected=("",), ask=_burst),
    Check(what="seconds until a policy takes a new account", expected=("after",), ask=_fresh_member),
    Check(what="principal:// with a condition", expected=("works, reads", _NO_POOL), ask=_federated),
    Check(what="policy with an etag of before", expected=("412",), ask=_stale_etag),
    Check(what="policy without any binding", expected=(_WORKS,), ask=_no_bindings),
    Check(what="seconds until a new HMAC key works", expected=("after", *_FORBIDDEN), ask=_hmac_spreads),
    Check(what="HMAC key made inactive", expected=("deleted at once", *_FORBIDDEN), ask=_hmac_ends),
    Check(what="seconds until a new key file works", expected=("after", *_FORBIDDEN), ask=_file_spreads),
    Check(what="what a key file says", expected=("token_uri https://oauth2.googleapis.com/token",), ask=_file_names),
    Check(what="seconds until a withdrawn permission ends", expected=("after", *_FORBIDDEN), ask=_withdrawn),
    Check(what="account that is disabled", expected=("HMAC key refused after", *_FORBIDDEN), ask=_disabled),
    Check(what="DELETE of a bucket with an empty managed folder", expected=("409", _WORKS), ask=_folder),
    Check(what="listing of a name that XML can't hold", expected=("works, name encoded",), ask=_odd_name),
    Check(
        what="condition in the policy of an account",
        expected=(_WORKS, _NO_POOL),
        ask=_condition_on_account,
    ),
)


def run(project: Project, tell: Callable[[str], None] = print) -> bool:
    """Asks everything; gives whether all answers were expected and nothing is left.

    Args:
        project: that was named.
        tell: prints a line.
    """
    return ask_all(CHECKS, project, _asked, tell=tell)


def _asked(check: Check[Project], project: Project) -> str:
    try:
        return check.ask(project)
    except UnexpectedRefusal as refusal:
        return str(refusal)
    except (requests.RequestException, auth.GoogleAuthError) as error:
        return type(error).__name__


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the command line and runs the checks: 0 where all is as expected."""
    parser = argparse.ArgumentParser(prog="verify_on_google", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--project", required=True, help="id of the project")
    parser.add_argument("--region", default="europe-west3", help="location of buckets")
    parser.add_argument("--foreign-bucket", default="my-bucket", help="a bucket of another customer")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--patience", type=float, default=600.0, help="seconds that a key is waited for")
    given = parser.parse_args(arguments)
    credentials, found = google.auth.default(scopes=_SCOPES)
    if found != given.project:
        sys.stderr.write(f"these are credentials of project {found}, not of {given.project}: nothing was done\n")
        return 2
    project = Project(
        id=given.project,
        credentials=credentials,
        location=given.region,
        foreign_bucket=given.foreign_bucket,
        repeats=given.repeats,
        patience=given.patience,
    )
    return 0 if run(project) else 1


if __name__ == "__main__":
    sys.exit(main())
