"""The conformance suite finds planted mistakes, and names the promise that is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PLANTED = Path(__file__).with_name("planted_mistakes.py")

BROKEN_PROMISES = {
    "KeysSurviveRevoke": "test_revoking_one_grant_leaves_the_others_in",
    "SecondProvisionRotatesKeys": "test_the_same_call_again_leaves_credentials_and_data_unchanged[greenfield]",
    "OldKeysStayWhenNewOnesAreIssued": "test_lost_credentials_are_replaced_and_the_old_ones_stop_working[greenfield]",
    "DeletesWithoutStamp": "test_a_bucket_without_a_stamp_is_never_deleted",
    "TakesOverWhatExists": "test_a_bucket_of_another_claim_is_refused_and_its_owner_stays_in",
    "GrantDropsOthers": "test_a_grant_leaves_others_grants_alone",
    "GrantStampsTheBucket": "test_a_grant_changes_neither_the_bucket_nor_its_data",
    "GrantMakesTheBucket": "test_a_bucket_that_the_class_names_must_exist",
    "NotFoundOnDeleteIsAnError": "test_deleting_again_is_success",
    "BucketStaysAfterDelete": "test_deleting_removes_bucket_objects_and_identity",
    "IdentityStaysAfterDelete": "test_deleting_shuts_out_even_from_a_new_bucket_of_that_name",
    "NeighbourMayRead": "test_a_claim_may_use_its_own_bucket_and_no_other[reading an object-greenfield]",
    "NamesThatBeginAlikeAreOpen": "test_a_bucket_whose_name_begins_like_ones_own_is_closed",
    "EverybodyMayRead": "test_a_bucket_is_closed_to_the_public_until_its_administrator_opens_it",
    "HostHasAScheme": "test_the_host_is_a_bare_name_and_the_port_a_port",
    "SecretInTheState": "test_no_secret_is_in_what_everybody_may_read[greenfield]",
    "QuotaIsNeverReset": "test_a_setting_that_leaves_the_claim_is_reset",
    "AbsentKeyIsCleared": "test_a_setting_that_the_claim_never_had_is_left_as_it_is",
    "ErrorIsSwallowed": "test_a_bucket_of_another_claim_is_never_deleted",
    "OneIdentityForAllClaims": "test_every_claim_has_an_identity_of_its_own",
    "DeleteTakesOthersIdentities": "test_deleting_leaves_the_neighbour_alone",
    "CopySourceIsOpen": "test_a_claim_may_use_its_own_bucket_and_no_other[copying from it-greenfield]",
    "ListingOfAllBucketsIsAllowed": "test_a_claim_sees_no_other_claims_bucket_in_a_listing",
    "AdministratorsKeysAreReturned": "test_every_claim_has_an_identity_of_its_own",
    "VersionsAreLeftBehind": "test_deleting_removes_older_versions_and_delete_markers",
    "RegionIsIgnored": "test_the_region_of_the_class_is_where_the_bucket_is_and_what_an_application_is_told",
    "SecretInAnErrorText": "test_no_error_and_no_log_line_holds_a_secret",
    "LookSeesNothing": "test_a_look_finds_what_is_broken[identity-greenfield]",
    "TakesOverAnothersBucket": "test_a_bucket_of_another_claim_is_never_taken_over",
    "PurgesWhatIsNotEmpty": "test_deleting_what_is_empty_leaves_a_bucket_with_an_object_and_its_credentials_alone",
    "TakesCredentialsThenLooks": "test_deleting_what_is_empty_leaves_a_bucket_with_an_object_and_its_credentials_alone",
    "VersionsAreNothing": "test_older_versions_are_not_nothing",
    "UploadsAreNothing": "test_unfinished_uploads_are_not_nothing",
    "IdentityStaysWithWhatWasEmpty": "test_deleting_what_is_empty_removes_bucket_and_identity",
    "AnythingMayBeHadBack": "test_a_bucket_is_given_back_to_no_claim_whose_record_does_not_prove_it",
    "NothingIsGivenBack": "test_a_bucket_that_a_later_claim_of_its_name_gets_back_keeps_its_data_and_nobody_elses_keys",
    "EarlierStampStays": "test_a_bucket_that_a_later_claim_of_its_name_gets_back_keeps_its_data_and_nobody_elses_keys",
    "StepsBeginAnew": "test_a_purge_is_done_in_steps_and_goes_on_where_it_was",
}


def run_planted(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, mistake: str) -> set[str]:
    """Names of the promises that fail with this mistake; every other one passes or is skipped."""
    monkeypatch.setenv("LIBBUCKET_PLANTED", mistake)
    recorder = pytester.inline_run("--import-mode=importlib", "-p", "no:cacheprovider", str(PLANTED))
    passed, _, failed = recorder.listoutcomes()
    assert len(passed) + len(failed) > 100, "the suite ran"
    assert all(report.when == "call" for report in failed), "clean-up does not depend on the provisioner"
    return {report.nodeid.rpartition("::")[2] for report in failed}


@pytest.mark.parametrize(("mistake", "promise"), BROKEN_PROMISES.items(), ids=BROKEN_PROMISES)
def test_a_planted_mistake_fails_the_suite_by_the_name_of_the_promise(
    mistake: str, promise: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert promise in run_planted(pytester, monkeypatch, mistake)


def test_without_a_mistake_the_suite_passes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_planted(pytester, monkeypatch, "NoMistake") == set()
