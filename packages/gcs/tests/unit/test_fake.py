"""The fake is never more permissive than Google: each test names the page that its behaviour is from."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from testkit.gcs.applications import HmacApplication, JsonApplication
from testkit.gcs.fake.server import PROJECT
from testkit.gcs.raw import BUCKET, Caller, mint

if TYPE_CHECKING:
    from testkit.gcs.fake import FakeGcs

PLAIN = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})


@pytest.fixture
def unauthorized(fake: FakeGcs) -> Caller:
    return Caller(fake, fake.add_admin("unauthorized", ()))


@pytest.fixture
def bucket(admin: Caller) -> dict[str, Any]:
    uniform = {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "enforced"}
    answer = admin.ask("POST", f"/storage/v1/b?project={PROJECT}", {"name": BUCKET, "iamConfiguration": uniform})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def hmac_key(admin: Caller) -> dict[str, Any]:
    found: dict[str, Any] = admin.hmac("", "POST", serviceAccountEmail=admin.email).json()
    return found


def s3(fake: FakeGcs, key: dict[str, Any], **options: Any) -> Any:
    options = {"request_checksum_calculation": "when_required", **options}
    return boto3.client(
        "s3",
        endpoint_url=fake.url,
        aws_access_key_id=key["metadata"]["accessId"],
        aws_secret_access_key=options.pop("secret", key["secret"]),
        region_name="auto",
        config=PLAIN.merge(Config(**options)),
    )


class TestTokens:
    """https://developers.google.com/identity/protocols/oauth2/service-account and RFC 7523, section 3."""

    @pytest.mark.parametrize(
        "claims",
        [
            {"aud": "https://example.com"},
            {"exp": 1, "iat": 0},
            {"exp": int(time.time()) + 7200},
            {"iat": int(time.time()) + 1800, "exp": int(time.time()) + 3600},
            {"iss": "nobody@example.com"},
            {"scope": ""},
        ],
        ids=["audience", "expired", "too long", "future", "issuer", "scope"],
    )
    def test_every_claim_of_an_assertion_is_checked(self, fake: FakeGcs, claims: dict[str, object]) -> None:
        key = json.loads(fake.add_admin("an-account"))
        assert mint(fake, key).status_code == 200
        refused = mint(fake, key, **claims)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")

    def test_the_signature_is_checked_with_the_key_that_is_registered(self, fake: FakeGcs) -> None:
        key, other = (json.loads(fake.add_admin(name)) for name in ("one", "other"))
        assert mint(fake, {**key, "private_key": other["private_key"]}).status_code == 400
        del fake.store.accounts[key["client_email"]].keys[key["private_key_id"]]
        assert mint(fake, key).status_code == 400

    def test_a_token_ends_after_its_time(self, fake: FakeGcs, admin: Caller) -> None:
        assert admin.ask("GET", "/storage/v1/b", project=PROJECT).status_code == 200
        fake.clock.turn(3601)
        assert admin.ask("GET", "/storage/v1/b", project=PROJECT).status_code == 401

    def test_a_token_outlives_its_key_unless_it_is_told_not_to_but_not_its_account(
        self, fake: FakeGcs, admin: Caller
    ) -> None:
        """https://cloud.google.com/iam/docs/service-account-creds"""
        fake.store.accounts[admin.email].keys.clear()
        assert admin.ask("GET", "/storage/v1/b", project=PROJECT).status_code == 200
        fake.knobs.tokens_outlive_keys = False
        assert admin.ask("GET", "/storage/v1/b", project=PROJECT).status_code == 401
        fake.knobs.tokens_outlive_keys = True
        fake.add_admin("admin")  # again, under the same name
        assert admin.ask("GET", "/storage/v1/b", project=PROJECT).status_code == 401


class TestAccounts:
    """https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts"""

    @pytest.mark.parametrize("name", ["short", "Upper-case", "a" * 31, "1-begins-with-a-digit", "ends-with-"])
    def test_names_have_a_form(self, admin: Caller, name: str) -> None:
        assert admin.accounts("", "POST", {"accountId": name}).status_code == 400

    def test_a_name_is_given_once_and_a_key_file_shown_once(self, admin: Caller, fake: FakeGcs) -> None:
        made = admin.accounts("", "POST", {"accountId": "an-account"})
        assert made.status_code == 200
        again = admin.accounts("", "POST", {"accountId": "an-account"})
        assert (again.status_code, again.json()["error"]["status"]) == (409, "ALREADY_EXISTS")
        path = f"/{made.json()['email']}/keys"
        assert "privateKeyData" in admin.accounts(path, "POST", {}).json()
        (listed,) = admin.accounts(path + "?keyTypes=USER_MANAGED").json()["keys"]
        assert set(listed) == {"name", "keyType", "validAfterTime", "validBeforeTime"}
        assert fake.store.accounts[made.json()["email"]].keys

    def test_there_are_ten_keys_at_most(self, admin: Caller) -> None:
        """https://cloud.google.com/iam/quotas, and googleapis/google-api-dotnet-client issue 2027 for the refusal"""
        answers = [admin.accounts(f"/{admin.email}/keys", "POST", {}) for _ in range(10)]
        assert [each.status_code for each in answers] == [200] * 9 + [400]
        assert answers[-1].json()["error"]["status"] == "FAILED_PRECONDITION"

    def test_who_may_nothing_is_refused_whether_it_exists_or_not(self, admin: Caller, unauthorized: Caller) -> None:
        assert admin.accounts("/nobody@example.com").status_code == 404
        assert unauthorized.accounts("/nobody@example.com").status_code == 403
        assert unauthorized.accounts(f"/{admin.email}").status_code == 403
        assert unauthorized.accounts("", "POST", {"accountId": "an-account"}).status_code == 403
        assert requests.get(f"{admin.fake.url}/v1/projects/p/serviceAccounts/x", timeout=10).status_code == 401

    def test_a_policy_with_an_old_etag_is_a_conflict(self, admin: Caller) -> None:
        """https://cloud.google.com/iam/docs/retry-strategy"""
        policy = admin.accounts(f"/{admin.email}:getIamPolicy", "POST").json()
        member = f"serviceAccount:{admin.fake.project}.svc.id.goog[shop/default]"
        policy["bindings"] = [{"role": "roles/iam.workloadIdentityUser", "members": [member]}]
        first, second = (
            admin.accounts(f"/{admin.email}:setIamPolicy", "POST", {"policy": policy}).status_code for _ in range(2)
        )
        assert (first, second) == (200, 409)


@pytest.mark.usefixtures("bucket")
class TestBuckets:
    """https://cloud.google.com/storage/docs/json_api/v1/buckets"""

    def test_a_bucket_that_is_not_there_is_404_only_with_access(self, admin: Caller, unauthorized: Caller) -> None:
        assert admin.ask("GET", "/storage/v1/b/no-such-bucket").status_code == 404
        assert unauthorized.ask("GET", "/storage/v1/b/no-such-bucket").status_code == 403
        assert unauthorized.ask("GET", f"/storage/v1/b/{BUCKET}").status_code == 403
        assert requests.get(f"{admin.fake.url}/storage/v1/b/{BUCKET}", timeout=10).status_code == 401

    @pytest.mark.parametrize(
        "labels", [{"Team": "x"}, {"team": "The StoreEnvironment"}, {"team": "x" * 64}, {"a.b": "x"}]
    )
    def test_labels_have_a_form(self, admin: Caller, labels: dict[str, str]) -> None:
        """https://cloud.google.com/storage/docs/tags-and-labels"""
        assert admin.ask("PATCH", f"/storage/v1/b/{BUCKET}", {"labels": {"team": "shop"}}).status_code == 200
        assert admin.ask("PATCH", f"/storage/v1/b/{BUCKET}", {"labels": labels}).status_code == 400

    def test_a_name_is_taken_once_and_freed_by_an_empty_bucket(self, admin: Caller) -> None:
        assert admin.ask("POST", f"/storage/v1/b?project={PROJECT}", {"name": BUCKET}).status_code == 409
        application = JsonApplication(endpoint=admin.fake.url, key=json.dumps(admin.key), project="p")
        application.put(BUCKET, "key", b"x")
        assert admin.ask("DELETE", f"/storage/v1/b/{BUCKET}").status_code == 409
        application.delete(BUCKET, "key")
        assert admin.ask("DELETE", f"/storage/v1/b/{BUCKET}").status_code == 204

    def test_a_policy_with_an_old_etag_fails_its_precondition(self, admin: Caller) -> None:
        """https://cloud.google.com/storage/docs/json_api/v1/buckets/setIamPolicy"""
        policy = admin.iam().json()
        assert [admin.iam(policy).status_code for _ in range(2)] == [200, 412]
        assert admin.iam({**policy, "etag": None}).status_code == 200, "without one it is written blindly"

    def test_a_policy_and_settings_of_a_bucket_are_counted_together(self, admin: Caller) -> None:
        """https://github.com/hashicorp/terraform-provider-google/issues/20838"""
        path, policy = f"/storage/v1/b/{BUCKET}", admin.iam().json()
        assert admin.ask("PATCH", path, {"labels": {"team": "shop"}}).json()["metageneration"] == "2"
        assert admin.iam(policy).status_code == 412
        assert admin.iam(admin.iam().json()).status_code == 200
        assert admin.ask("GET", path).json()["metageneration"] == "3"

    @pytest.mark.parametrize(("role", "most"), [("objectViewer", 1500), ("legacyBucketReader", 100)])
    def test_a_policy_has_room_for_a_number_of_principals(self, admin: Caller, role: str, most: int) -> None:
        """https://cloud.google.com/storage/quotas#buckets"""
        before = admin.iam().json()
        legacy = role.startswith("legacy")
        taken = sum(len(b["members"]) for b in before["bindings"] if not legacy or "/storage.legacy" in b["role"])
        for count, status in ((most - taken + 1, 400), (most - taken, 200)):
            members = [f"user:person-{number}@example.com" for number in range(count)]
            bindings = [*before["bindings"], {"role": f"roles/storage.{role}", "members": members}]
            answer = admin.iam({"etag": before["etag"], "bindings": bindings})
            assert answer.status_code == status
            assert f"{most:,}" in answer.text or status == 200

    def test_a_bucket_is_deleted_as_it_was_seen(self, admin: Caller) -> None:
        """https://cloud.google.com/storage/docs/json_api/v1/buckets/delete"""
        path = f"/storage/v1/b/{BUCKET}"
        assert admin.ask("DELETE", path, ifMetagenerationMatch="2").status_code == 412
        assert admin.ask("DELETE", path, ifMetagenerationMatch="1").status_code == 204

    def test_a_policy_names_only_who_exists_and_never_none(self, admin: Caller) -> None:
        policy = {"bindings": [{"role": "roles/storage.objectViewer", "members": ["serviceAccount:x@example.com"]}]}
        assert admin.iam(policy).status_code == 400
        assert admin.iam({"bindings": []}).status_code == 400

    def test_a_fresh_account_is_unknown_to_policies_for_some_calls(self, admin: Caller, fake: FakeGcs) -> None:
        """https://cloud.google.com/iam/docs/service-accounts-create (eventual consistency)"""
        fake.knobs.unknown_account_calls = 1
        email = admin.accounts("", "POST", {"accountId": "an-account"}).json()["email"]
        policy = {"bindings": [{"role": "roles/storage.objectViewer", "members": [f"serviceAccount:{email}"]}]}
        assert [admin.iam(policy).status_code for _ in range(2)] == [400, 200]

    def test_a_removed_account_shows_as_deleted_and_its_successor_inherits_nothing(self, admin: Caller) -> None:
        """https://cloud.google.com/iam/docs/reference/rest/v1/Policy#Binding"""
        email = admin.accounts("", "POST", {"accountId": "an-account"}).json()["email"]
        admin.iam({"bindings": [{"role": "roles/storage.objectViewer", "members": [f"serviceAccount:{email}"]}]})
        admin.accounts(f"/{email}", "DELETE")
        admin.accounts("", "POST", {"accountId": "an-account"})
        (member,) = admin.iam().json()["bindings"][0]["members"]
        assert member.startswith(f"deleted:serviceAccount:{email}?uid=")

    def test_conditions_need_version_3_and_uniform_access(self, admin: Caller, fake: FakeGcs) -> None:
        """https://cloud.google.com/storage/docs/access-control/iam#conditions"""
        member = f"serviceAccount:{admin.email}"
        condition = {"title": "t", "expression": "true"}
        binding = {"role": "roles/storage.objectViewer", "members": [member], "condition": condition}
        assert admin.iam({"bindings": [binding]}).status_code == 400
        assert admin.iam({"bindings": [binding], "version": 3}).status_code == 200
        assert "condition" in admin.iam(optionsRequestedPolicyVersion="3").json()["bindings"][0]
        assert "_withcond_" in admin.iam().json()["bindings"][0]["role"]
        fake.store.buckets[BUCKET].resource["iamConfiguration"] = {}
        assert admin.iam({"bindings": [binding], "version": 3}).status_code == 412

    def test_public_access_prevention_keeps_everybody_out(self, admin: Caller) -> None:
        """https://cloud.google.com/storage/docs/public-access-prevention"""
        public = {"bindings": [{"role": "roles/storage.objectViewer", "members": ["allUsers"]}]}
        assert admin.iam(public).status_code == 412
        inherited = {"iamConfiguration": {"publicAccessPrevention": "inherited"}}
        assert admin.ask("PATCH", f"/storage/v1/b/{BUCKET}", inherited).status_code == 200
        assert admin.iam(public).status_code == 200

    def test_a_batch_has_a_hundred_calls_at_most(self, admin: Caller) -> None:
        """https://cloud.google.com/storage/docs/batch"""

        def batch(calls: int) -> int:
            part = f"Content-Type: application/http\r\n\r\nDELETE /storage/v1/b/{BUCKET}/o/x HTTP/1.1\r\n\r\n\r\n"
            body = f"--x\r\n{part}" * calls + "--x--"
            headers = {"Authorization": f"Bearer {admin.token}", "Content-Type": "multipart/mixed; boundary=x"}
            return requests.post(f"{admin.fake.url}/batch/storage/v1", body, headers=headers, timeout=10).status_code

        assert (batch(100), batch(101)) == (200, 400)


@pytest.mark.usefixtures("bucket")
class TestHmacKeys:
    """https://cloud.google.com/storage/docs/authentication/hmackeys"""

    def test_an_active_key_can_not_be_deleted(self, admin: Caller, hmac_key: dict[str, Any]) -> None:
        """https://cloud.google.com/storage/docs/json_api/v1/projects/hmacKeys/delete"""
        path = f"/{hmac_key['metadata']['accessId']}"
        assert admin.hmac(path, "DELETE").status_code == 400
        assert admin.hmac(path, "PUT", {"state": "INACTIVE", "etag": "old"}).status_code == 412
        assert admin.hmac(path, "PUT", {"state": "INACTIVE"}).status_code == 200
        assert admin.hmac(path, "DELETE").status_code == 204
        assert admin.hmac(path).status_code == 404
        assert "secret" not in json.dumps(admin.hmac(showDeletedKeys="true").json())

    def test_there_are_ten_keys_at_most_and_deleted_ones_do_not_count(self, admin: Caller) -> None:
        made = [admin.hmac("", "POST", serviceAccountEmail=admin.email) for _ in range(11)]
        assert [each.status_code for each in made] == [200] * 10 + [403]
        path = f"/{made[0].json()['metadata']['accessId']}"
        admin.hmac(path, "PUT", {"state": "INACTIVE"})
        admin.hmac(path, "DELETE")
        assert admin.hmac("", "POST", serviceAccountEmail=admin.email).status_code == 200

    def test_a_change_of_state_takes_its_time(self, admin: Caller, fake: FakeGcs, hmac_key: dict[str, Any]) -> None:
        fake.knobs.hmac_stop_seconds = 180
        admin.hmac(f"/{hmac_key['metadata']['accessId']}", "PUT", {"state": "INACTIVE"})
        s3(fake, hmac_key).list_objects_v2(Bucket=BUCKET)
        fake.clock.turn(181)
        with pytest.raises(ClientError, match="InvalidAccessKeyId"):
            s3(fake, hmac_key).list_objects_v2(Bucket=BUCKET)

    def test_it_is_no_key_for_the_json_api(self, fake: FakeGcs, hmac_key: dict[str, Any]) -> None:
        url = s3(fake, hmac_key).generate_presigned_url("list_objects_v2", Params={"Bucket": BUCKET})
        assert requests.get(url, timeout=10).status_code == 200
        query = url.partition("?")[2]
        assert requests.get(f"{fake.url}/storage/v1/b/{BUCKET}/o?{query}", timeout=10).status_code == 401


@pytest.mark.usefixtures("bucket")
class TestSignatures:
    """https://cloud.google.com/storage/docs/authentication/signatures"""

    def test_another_secret_is_refused(self, fake: FakeGcs, hmac_key: dict[str, Any]) -> None:
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            s3(fake, hmac_key, secret=hmac_key["secret"][::-1]).list_objects_v2(Bucket=BUCKET)

    def test_a_url_is_good_for_what_was_signed_and_no_longer_than_it_says(
        self, fake: FakeGcs, hmac_key: dict[str, Any]
    ) -> None:
        client = s3(fake, hmac_key)
        client.put_object(Bucket=BUCKET, Key="key", Body=b"x")
        url = client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "key"})
        assert requests.get(url, timeout=10).content == b"x"
        assert requests.put(url, b"y", timeout=10).status_code == 403
        assert requests.get(url.replace("/key", "/other"), timeout=10).status_code == 403
        assert requests.get(url.replace("Expires=3600", "Expires=36000"), timeout=10).status_code == 403
        assert requests.get(url.replace("Signature=", "Signature=0"), timeout=10).status_code == 403

    def test_checksums_of_newer_clients_are_not_understood(self, fake: FakeGcs, hmac_key: dict[str, Any]) -> None:
        """https://cloud.google.com/storage/docs/aws-simple-migration"""
        with pytest.raises(ClientError, match="ExcessHeaderValues"):
            s3(fake, hmac_key, request_checksum_calculation="when_supported").put_object(
                Bucket=BUCKET, Key="key", Body=b"x"
            )
        s3(fake, hmac_key).put_object(Bucket=BUCKET, Key="key", Body=b"x")

    def test_deleting_many_needs_a_digest(self, fake: FakeGcs, admin: Caller) -> None:
        """https://cloud.google.com/storage/docs/xml-api/post-bucket"""
        body = b"<Delete><Object><Key>x</Key></Object></Delete>"
        headers = {"Authorization": f"Bearer {admin.token}"}
        refused = requests.post(f"{fake.url}/{BUCKET}?delete", body, headers=headers, timeout=10)
        assert refused.status_code == 400
        assert b"Content-MD5" in refused.content

    def test_the_source_of_a_copy_is_read_with_the_same_credentials(
        self, fake: FakeGcs, admin: Caller, hmac_key: dict[str, Any]
    ) -> None:
        """https://cloud.google.com/storage/docs/access-control/iam-xml"""
        s3(fake, hmac_key).put_object(Bucket=BUCKET, Key="key", Body=b"x")
        admin.ask("POST", f"/storage/v1/b?project={PROJECT}", {"name": "own-bucket"})
        email = admin.accounts("", "POST", {"accountId": "an-account"}).json()["email"]
        own = {"bindings": [{"role": "roles/storage.objectAdmin", "members": [f"serviceAccount:{email}"]}]}
        assert admin.ask("PUT", "/storage/v1/b/own-bucket/iam", own).status_code == 200
        other = s3(fake, admin.hmac("", "POST", serviceAccountEmail=email).json())
        other.put_object(Bucket="own-bucket", Key="mine", Body=b"y")
        other.copy_object(Bucket="own-bucket", Key="copy", CopySource={"Bucket": "own-bucket", "Key": "mine"})
        with pytest.raises(ClientError, match="AccessDenied"):
            other.copy_object(Bucket="own-bucket", Key="copy", CopySource={"Bucket": BUCKET, "Key": "key"})

    def test_parts_are_five_mebibytes_but_the_last(self, fake: FakeGcs, hmac_key: dict[str, Any]) -> None:
        """https://cloud.google.com/storage/docs/multipart-uploads"""
        keys = {"access_key": hmac_key["metadata"]["accessId"], "secret_key": hmac_key["secret"]}
        application = HmacApplication(endpoint=fake.url, **keys)
        application.multipart(BUCKET, "large", [b"a" * 5 * 1024 * 1024, b"b"])
        with pytest.raises(ClientError, match="EntityTooSmall"):
            application.multipart(BUCKET, "large", [b"a", b"b"])


def test_too_many_requests_say_how_long_to_wait(fake: FakeGcs, admin: Caller) -> None:
    """https://cloud.google.com/storage/docs/retry-strategy"""
    fake.knobs.throttled_calls = 1
    busy = admin.ask("GET", "/storage/v1/b", project=PROJECT)
    assert (busy.status_code, busy.headers["Retry-After"]) == (429, "7")
    assert admin.ask("GET", "/storage/v1/b", project=PROJECT).status_code == 200


def test_a_listing_has_pages(fake: FakeGcs, admin: Caller) -> None:
    """https://cloud.google.com/storage/docs/json_api/v1/objects/list"""
    fake.knobs.page_size = 3
    application = JsonApplication(endpoint=fake.url, key=json.dumps(admin.key), project=fake.project)
    application.client.create_bucket(BUCKET)
    names = [f"{number:02}" for number in range(7)]
    for name in names:
        application.put(BUCKET, name, b"x")
    assert application.list_keys(BUCKET) == names
    key = admin.hmac("", "POST", serviceAccountEmail=admin.email).json()
    pages = s3(fake, key).get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    assert [each["Key"] for page in pages for each in page["Contents"]] == names
    pages = s3(fake, key).get_paginator("list_objects").paginate(Bucket=BUCKET)
    assert [each["Key"] for page in pages for each in page["Contents"]] == names


class TestRefusals:
    """What Google answers where one expects something else; each is a public report of it."""

    def test_an_account_that_is_absent_or_seconds_old_can_be_forbidden(self, admin: Caller, fake: FakeGcs) -> None:
        """https://github.com/GoogleCloudPlatform/magic-modules/pull/11811"""
        fake.knobs.absent_is_forbidden, fake.knobs.hidden_account_calls = True, 1
        assert admin.accounts("/nobody@example.com").status_code == 403
        email = admin.accounts("", "POST", {"accountId": "an-account"}).json()["email"]
        assert [admin.accounts(f"/{email}").status_code for _ in range(2)] == [403, 200]
        refused = admin.accounts("/nobody@example.com", "DELETE").json()["error"]
        assert (refused["status"], refused["errors"][0]["reason"]) == ("PERMISSION_DENIED", "forbidden")
        assert refused["details"][0]["reason"] == "IAM_PERMISSION_DENIED"

    def test_accounts_are_listed_in_pages(self, admin: Caller) -> None:
        """https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts/list"""
        for number in range(3):
            admin.accounts("", "POST", {"accountId": f"account-{number}"})
        first = admin.ask("GET", f"/v1/projects/{PROJECT}/serviceAccounts", pageSize="2").json()
        token = first["nextPageToken"]
        rest = admin.ask("GET", f"/v1/projects/{PROJECT}/serviceAccounts", pageSize="2", pageToken=token).json()
        assert (len(first["accounts"]), len(rest["accounts"]), "nextPageToken" in rest) == (2, 2, False)

    def test_a_policy_of_an_account_is_asked_for_without_a_body(self, admin: Caller) -> None:
        """https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts/getIamPolicy"""
        path = f"/{admin.email}:getIamPolicy"
        assert admin.accounts(path, "POST").status_code == 200
        assert admin.accounts(path, "POST", {"options": {"requestedPolicyVersion": 3}}).status_code == 400

    def test_organisation_policies_look_like_failed_preconditions(self, admin: Caller, fake: FakeGcs) -> None:
        """https://github.com/googleapis/java-storage/issues/1240 and
        https://github.com/GoogleCloudDataproc/spark-bigquery-connector/issues/231"""
        fake.knobs.keys_forbidden, fake.knobs.allowed_locations = True, frozenset({"EU"})
        answers = [
            admin.hmac("", "POST", serviceAccountEmail=admin.email),
            admin.ask("POST", f"/storage/v1/b?project={PROJECT}", {"name": BUCKET}),
        ]
        assert [each.status_code for each in answers] == [412, 412]
        assert {each.json()["error"]["errors"][0]["reason"] for each in answers} == {"conditionNotMet"}
        key = admin.accounts(f"/{admin.email}/keys", "POST", {})
        violation = key.json()["error"]["details"][0]["violations"][0]
        assert (key.status_code, violation["type"]) == (400, "constraints/iam.disableServiceAccountKeyCreation")

    @pytest.mark.usefixtures("bucket")
    def test_members_of_other_customers_are_kept_out_of_policies(self, admin: Caller, fake: FakeGcs) -> None:
        """https://github.com/googleapis/java-storage/pull/2444"""
        fake.knobs.foreign_members = ("user:",)
        binding = {"role": "roles/storage.objectViewer", "members": ["user:jane@example.com"]}
        assert admin.iam({"bindings": [binding]}).status_code == 412

    def test_a_disabled_account_gets_no_token_and_its_tokens_open_nothing(self, admin: Caller, fake: FakeGcs) -> None:
        """https://cloud.google.com/iam/docs/service-accounts-disable-enable"""
        fake.store.accounts[admin.email].disabled = True
        assert mint(fake, admin.key).json()["error_description"] == "Robot is disabled."
        assert admin.ask("GET", "/storage/v1/b", project=PROJECT).status_code == 403

    def test_a_disabled_key_gets_no_token_and_is_listed_as_such(self, admin: Caller, fake: FakeGcs) -> None:
        """https://cloud.google.com/iam/docs/keys-disable-enable"""
        fake.store.accounts[admin.email].keys[admin.key["private_key_id"]].disabled = True
        assert mint(fake, admin.key).status_code == 400
        (listed,) = admin.accounts(f"/{admin.email}/keys?keyTypes=USER_MANAGED").json()["keys"]
        assert listed["disabled"]

    @pytest.mark.usefixtures("bucket")
    def test_a_grant_and_a_withdrawal_take_their_time(self, admin: Caller, unauthorized: Caller, fake: FakeGcs) -> None:
        """https://cloud.google.com/iam/docs/access-change-propagation"""
        fake.knobs.grant_seconds, fake.knobs.withdraw_seconds = 60, 120
        before = admin.iam().json()["bindings"]
        member = {"role": "roles/storage.objectViewer", "members": [f"serviceAccount:{unauthorized.email}"]}

        def listing() -> int:
            return unauthorized.ask("GET", f"/storage/v1/b/{BUCKET}/o").status_code

        admin.iam({"bindings": [*before, member]})
        assert listing() == 403
        fake.clock.turn(61)
        assert listing() == 200
        admin.iam({"bindings": before})
        assert listing() == 200
        fake.clock.turn(121)
        assert listing() == 403

    @pytest.mark.usefixtures("bucket")
    def test_an_hmac_key_is_not_deleted_while_its_deactivation_is_on_its_way(
        self, admin: Caller, fake: FakeGcs, hmac_key: dict[str, Any]
    ) -> None:
        """https://cloud.google.com/storage/docs/authentication/managing-hmackeys"""
        fake.knobs.hmac_stop_seconds = 180
        path = f"/{hmac_key['metadata']['accessId']}"
        admin.hmac(path, "PUT", {"state": "INACTIVE"})
        assert admin.hmac(path, "DELETE").status_code == 400
        fake.clock.turn(181)
        assert admin.hmac(path, "DELETE").status_code == 204

    @pytest.mark.usefixtures("bucket")
    def test_managed_folders_keep_their_bucket_and_unfinished_uploads_do_not(
        self, admin: Caller, fake: FakeGcs, hmac_key: dict[str, Any]
    ) -> None:
        """https://cloud.google.com/storage/docs/xml-api/delete-bucket; of folders no page says it."""
        s3(fake, hmac_key).create_multipart_upload(Bucket=BUCKET, Key="begun")
        path = f"/storage/v1/b/{BUCKET}/managedFolders"
        assert admin.ask("POST", path, {"name": "a/b"}).status_code == 200
        assert [each["name"] for each in admin.ask("GET", path).json()["items"]] == ["a/b/"]
        assert admin.ask("DELETE", f"/storage/v1/b/{BUCKET}").status_code == 409
        assert admin.ask("DELETE", f"{path}/a%2Fb%2F").status_code == 204
        assert admin.ask("DELETE", f"/storage/v1/b/{BUCKET}").status_code == 204

    def test_every_answer_has_an_id(self, admin: Caller) -> None:
        """https://cloud.google.com/storage/docs/troubleshooting"""
        answers = [
            admin.ask("GET", "/storage/v1/b", project=PROJECT),
            admin.accounts("/nobody@example.com"),
            admin.ask("GET", "/none"),
        ]
        assert len({each.headers["X-GUploader-UploadID"] for each in answers}) == 3

    def test_a_project_that_does_not_exist_is_forbidden_or_invalid(self, admin: Caller) -> None:
        path = "/v1/projects/no-such-project/serviceAccounts"
        assert admin.ask("POST", path, {"accountId": "an-account"}).status_code == 403
        assert admin.ask("POST", "/storage/v1/b?project=no-such-project", {"name": BUCKET}).status_code == 400
        listed = admin.ask("GET", "/storage/v1/b?project=no-such-project")
        assert (listed.status_code, listed.json()["error"]["errors"][0]["reason"]) == (403, "forbidden")
        assert admin.ask("GET", "/storage/v1/projects/no-such-project/hmacKeys").status_code == 403
