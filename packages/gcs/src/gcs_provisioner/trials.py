"""What Google makes of a claim's own keys: one listing of the bucket, or a token and a listing, as applications do it.

Used by `keys` and `provisioner`. Nothing but the answer counts. Knows no account and no list of keys, and decides
nothing about them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

from google.auth import exceptions as auth
from google.oauth2 import service_account

from gcs_provisioner.errors import Call, TokenRefused, from_response, translated
from gcs_provisioner.refusals import SKEW_REASONS, is_by_organisation, reason_of, request_id_of
from gcs_provisioner.signing import presign_listing
from gcs_provisioner.tokens import BoundedRequest, refresh

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcs_provisioner.client import Clients
    from libbucket import AccessKeys, ProvisionerError


_READ_SCOPES: Final = ("https://www.googleapis.com/auth/devstorage.read_only",)


# Names can hold characters that XML 1.0 does not have: https://cloud.google.com/storage/docs/xml-api/get-bucket-list.
_LISTING: Final = {"encoding-type": "url", "list-type": "2", "max-keys": "1"}


_UNKNOWN_KEY: Final = frozenset({"InvalidAccessKeyId", "InvalidSecurity", "SignatureDoesNotMatch"})


class Verdict(Enum):
    """What a claim's own key can do with its bucket."""

    WORKS = auto()
    UNKNOWN = auto()
    """Google does not know the key (yet, or any more), or its secret is another one."""
    DENIED = auto()
    """Google knows the key, and lets it not into the bucket (yet)."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What a request with a claim's own key has shown.

    Attributes:
        verdict: see there.
        request_id: of the answer, if the key does not work.
        refusal: what to tell where the answer has a cause that no waiting for a permission ends: an organisation that
            keeps the key out, or a wrong clock.
    """

    verdict: Verdict
    request_id: str = ""
    refusal: ProvisionerError | None = None


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Those of one verb.

    Attributes:
        clients: of the verb; the administrator's token is sent with none of these requests.
    """

    clients: Clients

    def try_hmac(self, bucket: str, keys: AccessKeys) -> Attempt:
        """Lists the bucket by an HMAC key: one request."""
        url = presign_listing(self.clients.parameters.endpoint, bucket, keys, query=_LISTING)
        return self._try_url(url)

    def try_signed(self, bucket: str, email: str, key: Mapping[str, str]) -> Attempt:
        """Lists the bucket by a URL that a service-account key signs: one request, and no token."""
        credentials = self._credentials_of(email, key)
        if credentials is None:
            return Attempt(verdict=Verdict.UNKNOWN)
        url = self.clients.storage.bucket(bucket).generate_signed_url(
            version="v4",
            expiration=timedelta(minutes=5),
            credentials=credentials,
            api_access_endpoint=self.clients.parameters.endpoint,
            query_parameters=_LISTING,
        )
        return self._try_url(url)

    def try_key(self, bucket: str, email: str, key: Mapping[str, str]) -> Attempt:
        """Gets a token by a service-account key and lists the bucket with it, as applications do: two requests."""
        credentials = self._credentials_of(email, key)
        if credentials is None:
            return Attempt(verdict=Verdict.UNKNOWN)
        with translated(self._call()):
            try:
                refresh(credentials, BoundedRequest(self.clients.plain, self.clients.timeout))
            except auth.RefreshError:
                return Attempt(verdict=Verdict.UNKNOWN)
            except TokenRefused as refusal:
                return Attempt(verdict=Verdict.UNKNOWN, request_id=refusal.request_id)
        headers = {"Authorization": f"Bearer {credentials.token}"}
        return self._try_url(f"{self.clients.parameters.endpoint}/{bucket}?{urlencode(_LISTING)}", headers)

    def _credentials_of(self, email: str, key: Mapping[str, str]) -> service_account.Credentials | None:
        """Of a claim; where tokens come from is never taken from what a claim's Secret says."""
        own = {name: key.get(name, "") for name in ("private_key", "private_key_id")}
        info = {**own, "client_email": email, "token_uri": self.clients.token_uri}
        try:
            found: service_account.Credentials = service_account.Credentials.from_service_account_info(
                info, scopes=_READ_SCOPES
            )
        except (ValueError, auth.GoogleAuthError):
            return None
        return found

    def _try_url(self, url: str, headers: dict[str, str] | None = None) -> Attempt:
        with translated(self._call()):
            response = self.clients.plain.get(url, headers=headers, timeout=self.clients.timeout)
            if not response.ok and response.status_code not in {400, 401, 403, 404}:
                raise from_response(response, self._call())
            answer = ET.fromstring(response.content)  # noqa: S314 - what is no XML is not Google's
            if not answer.tag.endswith("ListBucketResult" if response.ok else "Error"):
                raise ValueError("not Google's")
            if response.ok:
                return Attempt(verdict=Verdict.WORKS)
            request_id = request_id_of(response.headers)
            if response.status_code == 401 or answer.findtext("Code") in _UNKNOWN_KEY:
                return Attempt(verdict=Verdict.UNKNOWN, request_id=request_id)
            if response.status_code == 400:
                raise from_response(response, self._call())
            is_told = is_by_organisation(response) or reason_of(response) in SKEW_REASONS
            refusal = from_response(response, self._call()) if is_told else None
            return Attempt(verdict=Verdict.DENIED, request_id=request_id, refusal=refusal)

    def _call(self) -> Call:
        return Call(url=self.clients.parameters.endpoint, permission="storage.objects.list")
