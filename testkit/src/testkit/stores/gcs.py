"""The fake of Google Cloud Storage for the demo: there is no server of Google's that runs on one's own machine."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from libbucket.testing.application import Application, Refused

# The fake, and the clients as Google's documentation has them, are those of that package's own tests.
from testkit.gcs.applications import HmacApplication, JsonApplication
from testkit.gcs.fake import FakeGcs, fake_gcs
from testkit.stores.base import Bound, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Answer = TypeVar("Answer")


class BothApplications(Application):
    """Does everything twice: google-cloud-storage with the service-account key, boto3 with the HMAC key.

    It is refused only where both are; where they disagree, the demo fails.
    """

    def __init__(self, by_key: JsonApplication, by_hmac: HmacApplication) -> None:
        self._by_key, self._by_hmac = by_key, by_hmac

    def put(self, bucket: str, key: str, data: bytes) -> None:
        _both(lambda: self._by_key.put(bucket, key, data), lambda: self._by_hmac.put(bucket, key, data))

    def get(self, bucket: str, key: str) -> bytes:
        one, other = _both(lambda: self._by_key.get(bucket, key), lambda: self._by_hmac.get(bucket, key))
        assert one == other
        return one

    def list_keys(self, bucket: str) -> list[str]:
        one, other = _both(lambda: self._by_key.list_keys(bucket), lambda: self._by_hmac.list_keys(bucket))
        assert one == other
        return one

    def delete(self, bucket: str, key: str) -> None:
        content = self._by_hmac.get(bucket, key) if key in _listed(self._by_hmac, bucket) else b""

        def again() -> None:
            self._by_key.put(bucket, key, content)
            self._by_key.delete(bucket, key)

        _both(lambda: self._by_hmac.delete(bucket, key), again)

    def remove_bucket(self, bucket: str) -> None:
        _both(lambda: self._by_key.remove_bucket(bucket), lambda: self._by_hmac.remove_bucket(bucket))


def _listed(application: Application, bucket: str) -> list[str]:
    try:
        return application.list_keys(bucket)
    except Refused:
        return []


def _both(one: Callable[[], Answer], other: Callable[[], Answer]) -> list[Answer]:
    answers, refusals = [], []
    for ask in (one, other):
        try:
            answers.append(ask())
        except Refused as refused:
            refusals.append(str(refused))
    if refusals:
        assert len(refusals) == 2, f"one of two keys was refused: {refusals}"
        raise Refused(" and ".join(refusals))
    return answers


class GcsStore(Store):
    title = "Google Cloud Storage (a fake of it)"
    program = "gcs-provisioner"
    provisioner_name = "gcs.io/bucket"
    brownfield_bucket = "reports"
    module = "gcs_provisioner"
    config = ("bucketVersioning", "Enabled", "Suspended")

    def __init__(self, fake: FakeGcs) -> None:
        self._fake = fake
        self.address = fake.url
        # At Google a deactivated HMAC key may work for three minutes, which is waited for. The fake stops it at once.
        self.parameters = {"endpoint": fake.url, "iamEndpoint": fake.url, "revocationSeconds": "0"}
        # So is Google's rate of two seconds for each bucket: the fake has none, unless it is told to.
        self.parameters["secondsPerBucket"] = "0"
        self.admin_secret = {"key.json": fake.add_admin("provisioner")}
        self._administrator = JsonApplication(
            endpoint=fake.url, key=fake.add_admin("administrator"), project=fake.project
        )

    def application(self, bound: Bound) -> BothApplications:
        environment = bound.environment
        by_key = JsonApplication(
            endpoint=environment["BUCKET_ENDPOINT"],
            key=environment["GOOGLE_APPLICATION_CREDENTIALS_JSON"],
            project=environment["GOOGLE_CLOUD_PROJECT"],
        )
        by_hmac = HmacApplication(
            endpoint=environment["BUCKET_ENDPOINT"],
            access_key=environment["AWS_ACCESS_KEY_ID"],
            secret_key=environment["AWS_SECRET_ACCESS_KEY"],
        )
        return BothApplications(by_key, by_hmac)

    def administrator(self) -> JsonApplication:
        return self._administrator

    def make_bucket(self, name: str) -> None:
        self._administrator.client.create_bucket(name, retry=None)

    def what_is_there(self, bound: Bound) -> list[str]:
        store, email = self._fake.store, bound.state["ServiceAccount"]
        found = {
            "bucket": bound.bucket in store.buckets,
            "service account": email in store.accounts,
            "key": email in store.accounts and bool(store.accounts[email].keys),
            "HMAC key": any(each.email == email and each.state != "DELETED" for each in store.hmac_keys.values()),
        }
        return [name for name, is_there in found.items() if is_there]

    def census(self) -> frozenset[str]:
        store, found = self._fake.store, set[str]()
        with store.lock:
            for email, account in store.accounts.items():
                found |= {f"account {email}", *(f"key {key} of {email}" for key in account.keys)}
            # Those of an account that is gone are gone with it, and an inactive one opens nothing: Google keeps it for
            # three minutes before it can be deleted, which a later reconcile or the claim's deletion does.
            alive = [
                each
                for each in store.hmac_keys.values()
                if each.state == "ACTIVE" and store.account_of(each.email, each.uid)
            ]
            found |= {f"HMAC key {each.access_id} of {each.email}" for each in alive}
            for name, bucket in store.buckets.items():
                found |= {f"bucket {name}"}
                pairs = ((each["role"], member) for each in bucket.policy.bindings for member in each["members"])
                # Those of the project's owners are part of every bucket.
                own = ((role, member) for role, member in pairs if "serviceAccount:" in member)
                found |= {f"binding of {role} to {member} on {name}" for role, member in own}
        return frozenset(found)

    def setting(self, bucket: str) -> str:
        is_on = self._fake.store.buckets[bucket].resource.get("versioning", {}).get("enabled")
        return {True: "Enabled", False: "Suspended", None: ""}[is_on]

    def remove_ownership_tags(self, bound: Bound) -> None:
        with self._fake.store.lock:
            self._fake.store.buckets[bound.bucket].resource["labels"] = {}


@contextmanager
def gcs() -> Iterator[GcsStore]:
    """Starts a fake on a free port."""
    with fake_gcs() as fake:
        # Every claim has an account. Google allows a project 100, and raises that for who has more claims.
        fake.knobs.account_limit = 5000
        yield GcsStore(fake)
