"""Raw requests to the fake, without any of Google's clients: for the tests of the fake itself."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

import requests
from google.auth import crypt, jwt

if TYPE_CHECKING:
    from testkit.gcs.fake import FakeGcs

BUCKET: Final = "a-bucket"
_AUDIENCE: Final = "https://oauth2.googleapis.com/token"
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"


class Caller:
    """Raw requests with one token."""

    def __init__(self, fake: FakeGcs, key: str) -> None:
        self.fake, self.key = fake, json.loads(key)
        self.email: str = self.key["client_email"]
        self.token = mint(fake, self.key).json().get("access_token", "")

    def ask(self, method: str, path: str, body: object = None, **query: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        url = self.fake.url + path
        return requests.request(method, url, params=query, json=body, headers=headers, timeout=10)

    def accounts(self, path: str = "", method: str = "GET", body: object = None) -> requests.Response:
        return self.ask(method, f"/v1/projects/{self.fake.project}/serviceAccounts{path}", body)

    def hmac(self, path: str = "", method: str = "GET", body: object = None, **query: str) -> requests.Response:
        return self.ask(method, f"/storage/v1/projects/{self.fake.project}/hmacKeys{path}", body, **query)

    def iam(self, body: object = None, **query: str) -> requests.Response:
        return self.ask("PUT" if body else "GET", f"/storage/v1/b/{BUCKET}/iam", body, **query)


def mint(fake: FakeGcs, key: dict[str, str], **claims: object) -> requests.Response:
    now = int(time.time())
    payload = {"iss": key["client_email"], "aud": _AUDIENCE, "iat": now, "exp": now + 3600, "scope": _SCOPE, **claims}
    signer = crypt.RSASigner.from_service_account_info(key)
    assertion = jwt.encode(signer, payload)
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    return requests.post(fake.token_uri, {"grant_type": grant, "assertion": assertion}, timeout=10)
