"""Google Cloud Storage for the conformance suite: the backend, on the fake in `fake`.

Knows how a class and a provisioner for the fake are made; applications and administrator are modules of their own.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from gcs_provisioner.client import Patience
from gcs_provisioner.provisioner import GcsProvisioner
from libbucket import Services
from libbucket.testing.conformance import Ability, Backend, Capabilities
from libbucket.testing.conformance.backend import REFUSAL_TEXT, REQUEST_ID
from libbucket.testing.misbehaving import Answer
from testkit.admin_secrets import constant, rotated
from testkit.gcs.administrator import GcsAdministrator
from testkit.gcs.applications import HmacApplication, JsonApplication

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from libbucket import Authentication, Endpoint, Provisioner
    from libbucket.testing.application import Application
    from testkit.gcs.fake import FakeGcs

FILE_KEY = "GOOGLE_APPLICATION_CREDENTIALS_JSON"
QUICK = Patience()
"""Time limits of the tests."""


class GcsBackend(Backend):
    """A running fake, ready for the suite; what claims get is as `credentials` says."""

    capabilities = Capabilities(
        cannot={
            Ability.DELETE_MARKERS: "a deleted object becomes noncurrent, and nothing else is kept of the deletion",
            Ability.LISTED_UPLOADS: "resumable uploads of the JSON API can't be listed; those in parts are",
        },
        config={
            "bucketVersioning": {"Enabled": "Enabled", "Suspended": "Suspended"},
            "kubernetesServiceAccount": {"uploader": "uploader", "viewer": "viewer"},
        },
        reset={"bucketVersioning": "Suspended"},
        public_data=frozenset({"GOOGLE_CLOUD_PROJECT", "GOOGLE_SERVICE_ACCOUNT_EMAIL"}),
    )

    regions: ClassVar[Mapping[str, str]] = {"europe-west3": "EUROPE-WEST3", "us-east1": "US-EAST1"}

    def __init__(self, fake: FakeGcs, *, credentials: str = "hmac") -> None:
        self.fake = fake
        self._credentials = credentials
        self._administrator = GcsAdministrator(fake)
        self.admin_key = fake.add_admin("provisioner")

    @property
    def parameters(self) -> Mapping[str, str]:
        return {**class_parameters(self.fake), "credentials": self._credentials}

    @property
    def administrator(self) -> GcsAdministrator:
        return self._administrator

    @property
    def secrets(self) -> Sequence[str]:
        return [json.loads(self.admin_key)["private_key"], *self.fake.store.tokens]

    def provisioner(self) -> Provisioner:
        return a_provisioner(self.fake, self.admin_key)

    def fenced(self, before_request: Callable[[], None]) -> Provisioner:
        return a_provisioner(self.fake, self.admin_key, before_request=before_request)

    def stepwise_provisioner(self) -> Provisioner:
        return a_provisioner(self.fake, self.admin_key, patience=replace(QUICK, purge=0.0))

    def misled(self, url: str, seconds: float) -> tuple[Provisioner, Mapping[str, str]]:
        """The APIs are elsewhere; for claims with a service-account key, the token endpoint as well."""
        moved = {"token_uri": f"{url}/token"} if self._credentials == "json-key" else {}
        key = json.dumps({**json.loads(self.admin_key), **moved})
        hasty = a_provisioner(self.fake, key, patience=replace(QUICK, connect=seconds, read=seconds))
        return hasty, {**self.parameters, "endpoint": url, "iamEndpoint": url}

    def refusal(self, status: int, code: str) -> Answer:
        """As the JSON API, IAM and others of Google's APIs spell an error: `_reason_of_json` reads either form."""
        one = {"domain": "global", "reason": code, "message": REFUSAL_TEXT}
        error = {"code": status, "message": REFUSAL_TEXT, "errors": [one], "status": code}
        headers = {"Content-Type": "application/json; charset=UTF-8", "X-GUploader-UploadID": REQUEST_ID}
        return Answer(status=status, headers=headers, body=json.dumps({"error": error}).encode())

    @contextmanager
    def distrusting(self) -> Iterator[Provisioner]:
        self.fake.knobs.distrusts = True
        try:
            yield a_provisioner(self.fake, self.admin_key)
        finally:
            self.fake.knobs.distrusts = False

    def broken_provisioners(self) -> Mapping[str, Provisioner]:
        unknown = self._unknown_key()
        return {
            "a key that Google does not know": a_provisioner(self.fake, json.dumps(unknown)),
            "a key that is no key": a_provisioner(self.fake, json.dumps({**unknown, "private_key": "no key"})),
            "no permission": a_provisioner(self.fake, self.fake.add_admin("may-nothing", ())),
        }

    def rotating(self, is_spoilt: Callable[[], bool]) -> Provisioner:
        right, wrong = {FILE_KEY: self.admin_key}, {FILE_KEY: json.dumps(self._unknown_key())}
        services = Services(read_secret=rotated(right, wrong, is_spoilt), now=self.fake.clock.now)
        return GcsProvisioner(services, patience=QUICK)

    def _unknown_key(self) -> dict[str, str]:
        """A key of an account that was removed since."""
        unknown: dict[str, str] = json.loads(self.fake.add_admin("removed-since"))
        del self.fake.store.accounts[unknown["client_email"]]
        return unknown

    def application(self, endpoint: Endpoint, credentials: Authentication) -> Application:
        url = endpoint.additional_config["BUCKET_ENDPOINT"]
        keys = credentials.access_keys
        if keys is not None:
            secret = keys.secret_access_key.reveal()
            return HmacApplication(endpoint=url, access_key=keys.access_key_id, secret_key=secret)
        key = credentials.additional_secret_data[FILE_KEY].reveal()
        return JsonApplication(endpoint=url, key=key, project=self.fake.project)

    def pause(self, delay: float | None) -> None:
        self.fake.clock.turn(delay or 0)


def class_parameters(fake: FakeGcs) -> dict[str, str]:
    """What a class for the fake has to say."""
    places = {"endpoint": fake.url, "iamEndpoint": fake.url, "secretName": "admin", "secretNamespace": "gcs"}
    return {**places, "secondsPerBucket": "0"}


def a_provisioner(
    fake: FakeGcs,
    admin_key: str,
    *,
    patience: Patience = QUICK,
    before_request: Callable[[], None] = lambda: None,
) -> GcsProvisioner:
    """A provisioner whose administrator's Secret holds this key."""
    read_secret = constant({FILE_KEY: admin_key})
    services = Services(read_secret=read_secret, now=fake.clock.now, before_request=before_request)
    return GcsProvisioner(services, patience=patience)
