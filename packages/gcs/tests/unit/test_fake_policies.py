"""Members and limits of the fake's allow policies: each test names the page that its behaviour is from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from testkit.gcs.fake.server import PROJECT
from testkit.gcs.raw import BUCKET, Caller

if TYPE_CHECKING:
    from testkit.gcs.fake import FakeGcs

VIEWER = "roles/storage.objectViewer"
WORKFORCE = "principal://iam.googleapis.com/locations/global/workforcePools/staff/subject/jane@example.com"


@pytest.fixture
def admin(admin: Caller) -> Caller:
    """Who may do everything; there is a bucket with uniform access."""
    uniform = {"uniformBucketLevelAccess": {"enabled": True}}
    made = admin.ask("POST", f"/storage/v1/b?project={PROJECT}", {"name": BUCKET, "iamConfiguration": uniform})
    assert made.status_code == 200
    return admin


def members(admin: Caller, role: str = VIEWER) -> list[str]:
    bindings = admin.iam(optionsRequestedPolicyVersion="3").json()["bindings"]
    return [member for each in bindings if each["role"] == role for member in each["members"]]


def write(admin: Caller, *bindings: dict[str, Any]) -> requests.Response:
    """The policy with these bindings and those of a new bucket."""
    before = admin.iam(optionsRequestedPolicyVersion="3").json()
    own = [each for each in before["bindings"] if each["role"] != VIEWER]
    return admin.iam({"etag": before["etag"], "version": 3, "bindings": [*own, *bindings]})


def of(*found: str, **condition: str) -> dict[str, Any]:
    return {"role": VIEWER, "members": list(found), **({"condition": condition} if condition else {})}


class TestDeletedMembers:
    """https://cloud.google.com/iam/docs/principal-identifiers and /iam/docs/allow-policies#handle-deleted-members."""

    @pytest.mark.parametrize(
        "member",
        [
            "deleted:user:jane@example.com?uid=123456789012345678901",
            "deleted:group:team@example.com?uid=123456789012345678901",
            "deleted:serviceAccount:gone@another-project.iam.gserviceaccount.com?uid=123456789012345678901",
            f"deleted:{WORKFORCE}",
        ],
    )
    def test_one_of_any_kind_is_written_back_as_it_is(self, fake: FakeGcs, admin: Caller, member: str) -> None:
        fake.store.buckets[BUCKET].policy.bindings.append(of(member))
        assert write(admin, of(member, "user:joe@example.com")).status_code == 200
        assert members(admin) == [member, "user:joe@example.com"]

    def test_one_that_the_policy_does_not_name_is_not_added(self, fake: FakeGcs, admin: Caller) -> None:
        """The first page: deleted principals are not to be added when a policy is created or modified."""
        member = "deleted:user:jane@example.com?uid=123456789012345678901"
        assert write(admin, of(member)).status_code == 400
        fake.store.buckets[BUCKET].policy.bindings.append(of(member))
        assert write(admin, of(member)).status_code == 200

    def test_a_new_account_of_that_name_is_another_member(self, admin: Caller) -> None:
        """The second page: a role that is granted to the name goes to the new account, and the old one stays."""
        email = admin.accounts("", "POST", {"accountId": "an-account"}).json()["email"]
        assert write(admin, of(f"serviceAccount:{email}")).status_code == 200
        admin.accounts(f"/{email}", "DELETE")
        admin.accounts("", "POST", {"accountId": "an-account"})
        (left,) = members(admin)
        assert write(admin, of(left, f"serviceAccount:{email}")).status_code == 200
        assert members(admin) == [left, f"serviceAccount:{email}"]

    def test_an_account_is_not_named_as_there_once_it_is_gone(self, admin: Caller) -> None:
        """https://github.com/hashicorp/terraform-provider-google/issues/17737: 400, whatever else is changed."""
        email = admin.accounts("", "POST", {"accountId": "an-account"}).json()["email"]
        admin.accounts(f"/{email}", "DELETE")
        assert write(admin, of(f"serviceAccount:{email}", "user:joe@example.com")).status_code == 400
        assert write(admin, of("user:joe@example.com")).status_code == 200


class TestPoolsThatAreGone:
    """https://cloud.google.com/iam/docs/reference/rest/v1/projects.locations.workloadIdentityPools#State."""

    def test_their_members_are_let_in_nowhere_until_the_pool_is_back(self, fake: FakeGcs, admin: Caller) -> None:
        """The page of `delete`: no access by a deleted pool, and access again when it is undeleted."""
        pod = fake.principal("shop", "photos")
        assert write(admin, of(pod)).status_code == 200
        for exists, status in ((True, 200), (False, 403), (True, 200)):
            fake.knobs.workload_pool = exists
            headers = {"Authorization": f"Bearer {fake.token_of('shop', 'photos')}"}
            listing = requests.get(f"{fake.url}/storage/v1/b/{BUCKET}/o", headers=headers, timeout=10)
            assert listing.status_code == status

    def test_their_members_are_shown_as_they_were_and_not_written_back(self, fake: FakeGcs, admin: Caller) -> None:
        """No page has `deleted:` for them, nor a word on what is written back: the strict reading."""
        pod = fake.principal("shop", "photos")
        assert write(admin, of(pod)).status_code == 200
        fake.knobs.workload_pool = False
        assert members(admin) == [pod]
        refused = write(admin, of(pod, "user:joe@example.com"))
        assert (refused.status_code, "Identity Pool does not exist" in refused.text) == (400, True)
        assert write(admin, of("user:joe@example.com")).status_code == 200


class TestLimits:
    """https://cloud.google.com/iam/quotas#limits."""

    def test_each_group_counts_once_and_each_domain_wherever_it_is(self, admin: Caller) -> None:
        groups = [f"group:team-{number}@example.com" for number in range(248)]
        again = of(*groups, title="t", expression="true")
        for domains, status in ((2, 200), (3, 400)):
            found = [f"domain:{number}.example.com" for number in range(domains)]
            answer = write(admin, of(*groups, *found), again)
            assert answer.status_code == status
            assert "250" in answer.text or status == 200

    def test_an_expression_has_twelve_logic_operators_at_most(self, admin: Caller) -> None:
        for operators, status in ((12, 200), (13, 400)):
            expression = " || ".join(["true"] * (operators + 1))
            answer = write(admin, of("user:joe@example.com", title="t", expression=expression))
            assert answer.status_code == status

    def test_there_are_a_hundred_conditional_bindings_at_most(self, admin: Caller) -> None:
        """https://cloud.google.com/iam/docs/conditions-overview: more may exceed the largest size of a policy."""
        for count, status in ((100, 200), (101, 400)):
            bindings = [of(f"user:{n}@example.com", title=f"t{n}", expression="true") for n in range(count)]
            answer = write(admin, *bindings)
            assert answer.status_code == status

    @pytest.mark.parametrize("member", ["allUsers", "allAuthenticatedUsers"])
    def test_what_is_open_to_all_has_no_condition(self, admin: Caller, member: str) -> None:
        """https://cloud.google.com/iam/docs/conditions-overview."""
        assert write(admin, of(member, title="t", expression="true")).status_code == 400
        assert write(admin, of(member)).status_code == 200
