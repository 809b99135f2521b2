"""Google Cloud Storage: an application that tries the IAM API with its service account."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage
from google.oauth2 import credentials as oauth

from libbucket.testing.application import Application, Refused
from testkit.gcs.applications import HmacApplication, JsonApplication
from testkit.gcs.backend import GcsBackend
from testkit.resilience.untrusted.base import Peek, UntrustedApplication, nothing_of
from testkit.stores.gcs import GcsStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_HOUR: Final = 3600
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_TIMEOUT: Final = 20


class UntrustedGcsApplication(UntrustedApplication):
    """With either of its keys: the service account's own, and the HMAC key."""

    capabilities = GcsBackend.capabilities

    def applications(self) -> Mapping[str, Application]:
        return {"google-cloud-storage": self._by_key, "boto3": self._by_hmac}

    def signed_urls(self, key: str) -> Mapping[str, str]:
        what = {"Bucket": self.bound.bucket, "Key": key}
        by_hmac = self._by_hmac.client.generate_presigned_url("get_object", Params=what, ExpiresIn=_HOUR)
        blob = self._by_key.client.bucket(self.bound.bucket).blob(key)
        by_key = blob.generate_signed_url(
            version="v4",
            expiration=timedelta(hours=1),
            credentials=self._by_key.credentials,
            api_access_endpoint=self._url,
        )
        return {"signed by the HMAC key": by_hmac, "signed by the account's key": by_key}

    def peeks(self) -> Mapping[str, Peek]:
        accounts = f"/v1/projects/{self._project}/serviceAccounts"
        email, bucket = self.bound.state["ServiceAccount"], self.bound.bucket
        paths = {
            "its own account": f"{accounts}/{email}",
            "its own keys": f"{accounts}/{email}/keys",
            "HMAC keys": f"/storage/v1/projects/{self._project}/hmacKeys",
            "all buckets": f"/storage/v1/b?project={self._project}",
            "who may use the bucket": f"/storage/v1/b/{bucket}/iam?optionsRequestedPolicyVersion=3",
        }
        root = self.store.administrator()
        assert isinstance(root, JsonApplication)
        return {
            what: Peek(
                attempt=lambda path=path: self._ask(self._by_key, "GET", path),  # type: ignore[misc]
                control=lambda path=path: self._ask(root, "GET", path),  # type: ignore[misc]
            )
            for what, path in paths.items()
        }

    def makers(self) -> Mapping[str, Callable[[], Application | None]]:
        accounts, email = f"/v1/projects/{self._project}/serviceAccounts", self.bound.state["ServiceAccount"]
        hmac = f"/storage/v1/projects/{self._project}/hmacKeys?serviceAccountEmail={email}"

        def make_hmac() -> Application:
            made = self._post(hmac)
            key = made["metadata"]["accessId"], made["secret"]
            return HmacApplication(endpoint=self._url, access_key=key[0], secret_key=key[1])

        return {
            "a key of its account": lambda: nothing_of(self._post(f"{accounts}/{email}/keys", {})),
            "an HMAC key": make_hmac,
            "an account": lambda: nothing_of(self._post(accounts, {"accountId": "more-of-it"})),
            "another's key": lambda: nothing_of(self._post(f"{accounts}/{self._administrator}/keys", {})),
            "a token": self._keep_a_token,
        }

    def _keep_a_token(self) -> Application:
        """What every holder of a key may do: Google gives a token for an hour, which needs no key any more."""
        application = self._by_key
        application.list_keys(self.bound.bucket)  # has the token fetched
        kept = JsonApplication(endpoint=self._url, key="{}", project=self._project)
        token: Any = oauth.Credentials(token=application.client._credentials.token)
        kept.client = storage.Client(
            project=self._project, credentials=token, client_options={"api_endpoint": self._url}
        )
        return kept

    @property
    def _by_key(self) -> JsonApplication:
        key = self.bound.environment["GOOGLE_APPLICATION_CREDENTIALS_JSON"]
        return JsonApplication(endpoint=self._url, key=key, project=self._project)

    @property
    def _by_hmac(self) -> HmacApplication:
        found = self.bound.environment
        return HmacApplication(
            endpoint=self._url, access_key=found["AWS_ACCESS_KEY_ID"], secret_key=found["AWS_SECRET_ACCESS_KEY"]
        )

    @property
    def _url(self) -> str:
        return self.bound.environment["BUCKET_ENDPOINT"]

    @property
    def _project(self) -> str:
        return self.bound.environment["GOOGLE_CLOUD_PROJECT"]

    @property
    def _administrator(self) -> str:
        assert isinstance(self.store, GcsStore)
        return f"provisioner@{self._project}.iam.gserviceaccount.com"

    def _post(self, path: str, body: Any = None) -> Any:
        return self._ask(self._by_key, "POST", path, body)

    def _ask(self, who: JsonApplication, method: str, path: str, body: Any = None) -> Any:
        credentials: Any = who.credentials
        session = AuthorizedSession(credentials.with_scopes([_SCOPE]))
        answer = session.request(method, self._url + path, json=body, timeout=_TIMEOUT)
        if answer.status_code in {401, 403}:
            raise Refused(f"HTTP {answer.status_code}")
        assert answer.status_code < 300, answer.text
        return answer.json()
