"""What the fake shows of Google's delays, rates and federated identities: each test names where Google says so."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
import requests

from testkit.gcs.applications import JsonApplication
from testkit.gcs.fake.server import PROJECT
from testkit.gcs.raw import BUCKET, Caller, mint

if TYPE_CHECKING:
    from testkit.gcs.fake import FakeGcs

UNIFORM = {"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}}


def make_bucket(admin: Caller, name: str = BUCKET, **settings: Any) -> requests.Response:
    return admin.ask("POST", f"/storage/v1/b?project={PROJECT}", {"name": name, **settings})


def test_buckets_are_made_and_deleted_one_each_two_seconds(fake: FakeGcs, admin: Caller) -> None:
    """https://cloud.google.com/storage/quotas#buckets, https://github.com/googleapis/google-cloud-python/pull/2161."""
    fake.knobs.bucket_seconds = 2.0
    assert make_bucket(admin).status_code == 200
    busy = make_bucket(admin, "another")
    assert busy.status_code == 429
    assert busy.json()["error"]["errors"][0]["reason"] == "rateLimitExceeded"
    assert "Retry-After" not in busy.headers
    assert admin.ask("DELETE", f"/storage/v1/b/{BUCKET}").status_code == 429
    fake.clock.turn(2)
    assert admin.ask("DELETE", f"/storage/v1/b/{BUCKET}").status_code == 204


def test_a_bucket_is_updated_once_a_second(fake: FakeGcs, admin: Caller) -> None:
    """https://cloud.google.com/storage/quotas#buckets, GoogleCloudPlatform/python-docs-samples#4033."""
    make_bucket(admin)
    fake.knobs.update_seconds = 1.0
    patch = ("PATCH", f"/storage/v1/b/{BUCKET}", {"versioning": {"enabled": True}})
    assert admin.ask(*patch).status_code == 200
    assert admin.ask(*patch).status_code == 429
    assert admin.iam(admin.iam().json()).status_code == 429
    fake.clock.turn(1)
    assert admin.iam(admin.iam().json()).status_code == 200


def test_iam_takes_a_number_of_writes_a_minute(fake: FakeGcs, admin: Caller) -> None:
    """https://cloud.google.com/iam/quotas."""
    fake.knobs.iam_writes = 1
    assert admin.accounts("", "POST", {"accountId": "account-1"}).status_code == 200
    busy = admin.accounts("", "POST", {"accountId": "account-2"}).json()["error"]
    assert (busy["status"], busy["details"][0]["reason"]) == ("RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED")
    fake.clock.turn(60)
    assert admin.accounts("", "POST", {"accountId": "account-2"}).status_code == 200


def test_a_number_of_accounts_is_made_a_minute(fake: FakeGcs, admin: Caller) -> None:
    """See `limits`; at the quota https://github.com/kubeflow/pipelines/issues/1052."""
    fake.knobs.accounts_per_minute = 1
    assert admin.accounts("", "POST", {"accountId": "account-1"}).status_code == 200

    def refused() -> tuple[str, str, str]:
        error = admin.accounts("", "POST", {"accountId": "account-2"}).json()["error"]
        return error["status"], error["errors"][0]["reason"], error["details"][0]["retryDelay"]

    assert refused() == ("RESOURCE_EXHAUSTED", "rateLimitExceeded", "60s")
    fake.knobs.account_limit = 1
    assert refused() == ("RESOURCE_EXHAUSTED", "rateLimitExceeded", "86401s")
    fake.knobs.account_limit = 2
    fake.clock.turn(60)
    assert admin.accounts("", "POST", {"accountId": "account-2"}).status_code == 200


def test_a_fresh_account_becomes_known_with_time(fake: FakeGcs, admin: Caller) -> None:
    """https://github.com/hashicorp/terraform-provider-google/issues/11208."""
    fake.knobs.turn_on()
    email = admin.accounts("", "POST", {"accountId": "account-1"}).json()["email"]
    assert admin.accounts(f"/{email}").status_code == 403
    make_bucket(admin)
    bound = {"bindings": [{"role": "roles/storage.objectUser", "members": [f"serviceAccount:{email}"]}]}
    assert admin.iam(bound).status_code == 400
    fake.clock.turn(5)
    assert admin.accounts(f"/{email}").status_code == 200
    fake.clock.turn(10)
    assert admin.iam(bound).status_code == 200


def test_lists_lag_behind(fake: FakeGcs, admin: Caller) -> None:
    """https://cloud.google.com/iam/docs/overview#consistency."""
    fake.knobs.list_lag_seconds = 5.0
    email = admin.accounts("", "POST", {"accountId": "account-1"}).json()["email"]
    admin.accounts(f"/{email}/keys", "POST", {})
    admin.hmac("", "POST", serviceAccountEmail=email)

    def listed() -> tuple[int, int]:
        files = admin.accounts(f"/{email}/keys?keyTypes=USER_MANAGED").json().get("keys", [])
        return len(files), len(admin.hmac("", serviceAccountEmail=email).json()["items"])

    assert listed() == (0, 0)
    fake.clock.turn(5)
    assert listed() == (1, 1)


def test_keys_end_where_a_policy_says_so(fake: FakeGcs, admin: Caller) -> None:
    """https://cloud.google.com/resource-manager/docs/organization-policy/restricting-service-accounts#limit_key_expiry."""
    email = admin.accounts("", "POST", {"accountId": "account-1"}).json()["email"]
    assert admin.accounts(f"/{email}/keys", "POST", {}).json()["validBeforeTime"] == "9999-12-31T23:59:59Z"
    fake.knobs.key_expiry_seconds = 3600
    made = admin.accounts(f"/{email}/keys", "POST", {}).json()
    assert not made["validBeforeTime"].startswith("9999")
    key = json.loads(b64decode(made["privateKeyData"]))
    assert key["token_uri"] == "https://oauth2.googleapis.com/token"
    assert mint(fake, key).status_code == 200
    fake.clock.turn(3601)
    assert mint(fake, key).status_code == 400


def test_a_bucket_names_the_number_of_its_project(fake: FakeGcs, admin: Caller) -> None:
    """https://cloud.google.com/storage/docs/json_api/v1/buckets#resource-representations."""
    own = make_bucket(admin).json()["projectNumber"]
    fake.add_foreign_bucket("foreign", labels={})
    assert admin.ask("GET", "/storage/v1/b/foreign").json()["projectNumber"] != own


def test_names_that_xml_can_not_carry_need_an_encoding(fake: FakeGcs, admin: Caller) -> None:
    """https://cloud.google.com/storage/docs/xml-api/get-bucket-list, https://www.w3.org/TR/xml/#charsets."""
    make_bucket(admin)
    JsonApplication(endpoint=fake.url, key=json.dumps(admin.key), project=PROJECT).put(BUCKET, "a\x01", b"x")
    with pytest.raises(ET.ParseError):
        ET.fromstring(admin.ask("GET", f"/{BUCKET}", **{"list-type": "2"}).content)
    encoded = admin.ask("GET", f"/{BUCKET}", **{"list-type": "2", "encoding-type": "url"})
    assert b"<Key>a%01</Key>" in encoded.content


class TestFederation:
    """https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity, and what `federation` names."""

    def let_in(self, fake: FakeGcs, admin: Caller, **settings: Any) -> requests.Response:
        make_bucket(admin, **settings)
        member = fake.principal("shop", "photos")
        policy = admin.iam().json()
        policy["bindings"].append({"role": "roles/storage.objectUser", "members": [member]})
        return admin.iam(policy)

    def ask(self, fake: FakeGcs, token: str, path: str) -> int:
        return requests.get(fake.url + path, headers={"Authorization": f"Bearer {token}"}, timeout=10).status_code

    def test_a_pod_is_let_in_as_its_kubernetes_service_account(self, fake: FakeGcs, admin: Caller) -> None:
        assert self.let_in(fake, admin, **UNIFORM).status_code == 200
        assert self.ask(fake, fake.token_of("shop", "photos"), f"/storage/v1/b/{BUCKET}/o") == 200
        assert self.ask(fake, fake.token_of("shop", "photos"), f"/{BUCKET}?list-type=2") == 200
        assert self.ask(fake, fake.token_of("shop", "other"), f"/storage/v1/b/{BUCKET}/o") == 403
        assert self.ask(fake, fake.token_of("other", "photos"), f"/storage/v1/b/{BUCKET}/o") == 403
        assert self.ask(fake, fake.token_of("shop", "photos"), f"/storage/v1/b/{BUCKET}") == 403

    def test_a_bucket_without_uniform_access_lets_no_principal_in(self, fake: FakeGcs, admin: Caller) -> None:
        """https://github.com/grafana/tempo/issues/3556."""
        assert self.let_in(fake, admin).status_code == 200
        assert self.ask(fake, fake.token_of("shop", "photos"), f"/storage/v1/b/{BUCKET}/o") == 403

    def test_a_pool_that_does_not_exist_is_refused(self, fake: FakeGcs, admin: Caller) -> None:
        fake.knobs.workload_pool = False
        refused = self.let_in(fake, admin, **UNIFORM)
        assert (refused.status_code, "Identity Pool" in refused.text) == (400, True)

    def exchange(self, fake: FakeGcs, subject: str) -> requests.Response:
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "subject_token": subject,
            "audience": "//iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/p/providers/x",
            "scope": "https://www.googleapis.com/auth/cloud-platform",
        }
        return requests.post(f"{fake.url}/v1/token", form, timeout=10)

    def test_a_token_of_another_provider_is_exchanged(self, fake: FakeGcs) -> None:
        fake.add_external("subject-1")
        token = self.exchange(fake, "subject-1").json()["access_token"]
        assert self.ask(fake, token, f"/storage/v1/b?project={PROJECT}") == 200
        assert self.exchange(fake, "subject-2").json()["error"] == "invalid_grant"

    def test_an_account_is_impersonated_by_who_may(self, fake: FakeGcs) -> None:
        """https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken."""
        member = fake.add_external("subject-1", ())
        email = json.loads(fake.add_admin("steward"))["client_email"]
        headers = {"Authorization": f"Bearer {self.exchange(fake, 'subject-1').json()['access_token']}"}
        url = f"{fake.url}/v1/projects/-/serviceAccounts/{email}:generateAccessToken"
        assert requests.post(url, json={}, headers=headers, timeout=10).status_code == 403
        binding = {"role": "roles/iam.workloadIdentityUser", "members": [member]}
        fake.store.accounts[email].policy.bindings.append(binding)
        token = requests.post(url, json={}, headers=headers, timeout=10).json()["accessToken"]
        assert self.ask(fake, token, f"/storage/v1/b?project={PROJECT}") == 200
