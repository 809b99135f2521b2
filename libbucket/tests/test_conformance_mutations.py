"""Mutation tests of the conformance suite: each injected fault fails the guarantee that it violates, by name."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from libbucket.testing.conformance import Conformance
from libbucket.testing.misbehaving import Answer, scripted_server

FAULTS = Path(__file__).with_name("injected_faults.py")

GREENFIELD, BROWNFIELD = "[greenfield]", "[brownfield]"
VIOLATED_GUARANTEES = {
    "ALibraryLogsNewKeys": ["no_error_and_no_log_line_holds_a_secret"],
    "AbsentKeyIsCleared": ["a_setting_that_the_claim_never_had_is_left_as_it_is"],
    "AdministratorsKeysAreReturned": [
        "every_claim_has_an_identity_of_its_own",
        "a_bucket_that_no_claim_has_is_closed_to_every_claim[reading an object]",
        "a_claim_may_not_open_anothers_bucket_to_the_public",
        f"a_claim_may_not_open_its_bucket_to_the_public{GREENFIELD}",
        f"a_claim_may_not_remove_its_bucket_but_only_its_objects{GREENFIELD}",
    ],
    "AdministratorsSecretIsReadOnce": [
        f"the_administrators_credentials_are_read_anew_for_each_call[{verb}]"
        for verb in ("provision", "grant", "delete", "revoke")
    ],
    "AnyKeysThatWorkAreTheClaims": [
        "credentials_of_another_claim_are_never_taken_for_ones_own",
        "credentials_of_another_claim_on_the_same_bucket_are_never_taken_for_ones_own",
        "a_drift_check_never_takes_anothers_credentials_for_the_claims_own",
    ],
    "BucketIsMadeOnce": ["a_bucket_that_was_removed_manually_is_reported_as_lost_and_not_recreated"],
    "BucketStaysAfterDelete": [
        "deleting_removes_bucket_objects_and_identity",
        "claims_deleted_at_once_are_all_gone",
        "a_bucket_that_was_to_be_taken_over_is_deleted_with_its_claim",
    ],
    "BucketsHoldOneObject": [f"what_is_written_in_parts_is_read_as_one{GREENFIELD}"],
    "CopySourceIsOpen": ["a_claim_may_use_its_own_bucket_and_no_other[copying from it-greenfield]"],
    "DeleteLooksForTheIdentityFirst": ["deleting_after_the_identity_has_gone_removes_the_bucket"],
    "DeleteNeedsWhatWasRemembered": ["deleting_by_the_record_of_an_unfinished_call_removes_all_of_it"],
    "DeleteStopsAtAPage": ["deleting_empties_a_bucket_of_thousands_of_objects"],
    "DeleteTakesOthersIdentities": ["deleting_leaves_the_other_tenant_alone"],
    "DeletesWithoutTags": ["a_bucket_without_tags_is_never_deleted"],
    "EditedSecretIsBelieved": [f"credentials_that_do_not_work_are_replaced{GREENFIELD}"],
    "ErrorIsSwallowed": ["a_bucket_of_another_claim_is_never_deleted"],
    "EveryCallWarnsOfEveryKey": ["a_setting_that_a_grant_does_not_apply_is_warned_about"],
    "EverybodyMayRead": ["a_bucket_is_closed_to_the_public_until_its_administrator_opens_it"],
    "GrantAppliesSettings": ["a_grant_leaves_the_settings_of_the_bucket_alone"],
    "GrantDropsOthers": ["a_grant_leaves_others_grants_alone", "claims_granted_at_once_on_one_bucket_are_all_let_in"],
    "GrantMakesTheBucket": [
        "a_bucket_that_the_class_names_must_exist",
        "a_granted_bucket_that_was_removed_manually_is_reported",
    ],
    "GrantTagsTheBucket": ["a_grant_changes_neither_the_bucket_nor_its_data"],
    "GrantTurnsAwayTheOwner": ["a_grant_on_a_claimed_bucket_leaves_the_owner_in"],
    "GrantWarnsOfNothing": [
        "a_setting_that_a_grant_does_not_apply_is_warned_about",
        f"an_unknown_parameter_is_warned_about_and_not_an_error{BROWNFIELD}",
    ],
    "HalfOfAKeyIsLogged": ["no_error_and_no_log_line_holds_a_secret"],
    "HalfOfAKeyIsRecorded": [f"no_secret_is_in_what_everybody_may_read{GREENFIELD}"],
    "HostHasAScheme": ["the_host_is_a_bare_name_and_the_port_a_port"],
    "IdentityIsMadeOnce": [f"an_identity_that_was_removed_manually_is_recreated{GREENFIELD}"],
    "IdentityStaysAfterDelete": [
        "deleting_shuts_out_even_from_a_new_bucket_of_that_name",
        "deleting_after_the_bucket_has_gone_removes_the_identity",
    ],
    "KeyIsNotTried": ["every_supported_key_is_tried_by_this_suite"],
    "KeysSurviveRevoke": [
        "revoking_one_grant_leaves_the_others_in",
        f"withdrawn_credentials_are_refused_though_bucket_and_data_stay[reading an object-{GREENFIELD[1:]}",
        f"a_withdrawn_identity_is_gone{GREENFIELD}",
        f"revoking_again_is_success{GREENFIELD}",
        "grants_revoked_at_once_leave_the_last_one_in",
    ],
    "LargeLimitsAreCut": ["a_setting_is_applied_and_changed_with_credentials_unchanged"],
    "LetsNobodyIn": [f"the_answer_has_what_an_application_needs{GREENFIELD}"],
    "ListingOfAllBucketsIsAllowed": ["a_claim_sees_no_other_claims_bucket_in_a_listing"],
    "ListsBucketsOfOthers": ["a_list_of_buckets_has_those_with_ownership_tags_and_no_others"],
    "LookIsNeverContent": [f"a_drift_check_of_a_bound_claim_finds_it_intact{GREENFIELD}"],
    "LookSeesNothing": ["a_drift_check_finds_what_is_broken[identity-greenfield]"],
    "NamesAreMadeToFit": ["a_name_that_no_store_takes_is_refused_and_its_claim_can_be_deleted"],
    "NamesThatBeginAlikeAreOpen": ["a_bucket_whose_name_begins_like_ones_own_is_closed"],
    "NeighbourMayRead": [
        "a_claim_may_use_its_own_bucket_and_no_other[reading an object-greenfield]",
        "claims_bound_at_once_each_get_their_own_bucket_and_no_others",
    ],
    "NewKeysAreLogged": ["no_error_and_no_log_line_holds_a_secret"],
    "NewKeysBesideTheOld": ["two_replicas_on_one_claim_end_with_one_working_set_of_credentials"],
    "NonsenseIsIgnored": ["a_value_that_makes_no_sense_is_refused_by_name_and_the_claim_goes_on"],
    "NotFoundOnDeleteIsAnError": ["deleting_again_is_success", "deleting_what_was_never_begun_is_success"],
    "OldKeysStayWhenNewOnesAreIssued": [
        f"lost_credentials_are_replaced_and_the_old_ones_stop_working{GREENFIELD}",
        f"an_answer_that_never_arrived_leaves_no_working_credentials_behind{GREENFIELD}",
    ],
    "OneIdentityForAllClaims": [
        "every_claim_has_an_identity_of_its_own",
        "a_claim_that_was_refused_a_bucket_leaves_its_owner_alone_when_it_is_revoked",
    ],
    "QuotaIsNeverReset": ["a_setting_that_leaves_the_claim_is_reset"],
    "RegionIsIgnored": ["the_region_of_the_class_is_where_the_bucket_is_and_what_an_application_is_told"],
    "RevokeEmptiesTheBucket": [f"revoking_after_the_identity_has_gone_is_success{GREENFIELD}"],
    "RevokeGivesTheBucketUp": [
        "a_retained_bucket_is_taken_up_again_by_its_owner",
        f"revoking_changes_nothing_about_the_bucket{GREENFIELD}",
    ],
    "RevokeLooksForTheBucketFirst": [f"revoking_after_the_bucket_has_gone_removes_the_identity{GREENFIELD}"],
    "ReplacesKeysOnDoubt": [
        f"working_credentials_are_never_replaced_on_doubt{GREENFIELD}",
        f"working_credentials_are_never_replaced_on_doubt{BROWNFIELD}",
    ],
    "RevokeNeedsWhatWasRemembered": [f"revoking_by_the_record_of_an_unfinished_call_shuts_out{GREENFIELD}"],
    "RevokeWantsTheIdentity": [
        f"revoking_after_the_identity_has_gone_is_success{BROWNFIELD}",
        f"revoking_again_is_success{BROWNFIELD}",
    ],
    "SecondProvisionRotatesKeys": [
        f"the_same_call_again_leaves_credentials_and_data_unchanged{GREENFIELD}",
        f"another_replica_gives_the_same_answer{GREENFIELD}",
        "a_setting_is_applied_and_changed_with_credentials_unchanged",
    ],
    "SecretInAnErrorText": ["no_error_and_no_log_line_holds_a_secret"],
    "SecretInTheState": [f"no_secret_is_in_what_everybody_may_read{GREENFIELD}"],
    "SettingsAreAppliedOnce": ["a_setting_that_was_changed_manually_is_applied_again"],
    "TakesOverAnothersBucket": ["a_bucket_of_another_claim_is_never_taken_over"],
    "TakesOverWhatExists": [
        "a_bucket_of_another_claim_is_refused_and_its_owner_stays_in",
        "a_bucket_that_exists_without_tags_is_refused_and_not_touched",
        "a_claim_made_again_under_the_same_name_is_another_owner",
        "a_claim_of_another_cluster_is_another_owner",
        "a_claim_that_was_refused_a_bucket_gets_another_by_another_name",
    ],
    "TakesOverWithoutTags": ["a_bucket_that_another_program_made_for_the_claim_is_taken_over_and_tagged"],
    "UnknownParametersAreSilent": [f"an_unknown_parameter_is_warned_about_and_not_an_error{GREENFIELD}"],
    "UploadsAreLeftBehind": ["deleting_removes_unfinished_uploads"],
    "UserIdsAreRandom": ["a_user_id_is_the_same_for_ever_and_another_for_a_claim_recreated"],
    "VersionsAreLeftBehind": ["deleting_removes_older_versions_and_delete_markers"],
    # Deletion that is safe.
    "AnythingMayBeHadBack": ["a_bucket_is_given_back_to_no_claim_whose_record_does_not_prove_it"],
    "DeleteForgetsEarlierClaims": ["a_bucket_that_was_to_be_given_back_is_deleted_with_its_claim"],
    "EarlierTagsStay": ["a_bucket_that_a_later_claim_of_its_name_gets_back_keeps_its_data_and_no_other_claims_keys"],
    "IdentityStaysWithWhatWasEmpty": [
        "deleting_what_is_empty_removes_bucket_and_identity",
        "deleting_what_is_empty_after_the_bucket_has_gone_removes_the_identity",
        "deleting_what_is_empty_by_the_record_of_an_unfinished_call_removes_all_of_it",
        "what_its_owner_has_emptied_can_be_deleted",
    ],
    "LooksIntoOthersBuckets": ["a_bucket_of_another_claim_is_not_read_before_it_is_refused"],
    "OtherClustersNeverCount": [
        "a_bucket_of_another_cluster_is_adopted_only_if_the_record_names_its_claim_and_cluster"
    ],
    "EveryClusterCounts": ["a_bucket_of_another_cluster_is_adopted_only_if_the_record_names_its_claim_and_cluster"],
    "NothingIsGivenBack": ["a_bucket_that_a_later_claim_of_its_name_gets_back_keeps_its_data_and_no_other_claims_keys"],
    "PurgesWhatIsNotEmpty": ["deleting_what_is_empty_leaves_a_bucket_with_an_object_and_its_credentials_alone"],
    "StepsBeginAnew": ["a_purge_is_done_in_steps_and_goes_on_where_it_was"],
    "TakesCredentialsThenLooks": ["deleting_what_is_empty_leaves_a_bucket_with_an_object_and_its_credentials_alone"],
    "UploadsAreNothing": ["unfinished_uploads_are_not_nothing"],
    "VersionsAreNothing": ["older_versions_are_not_nothing"],
    # Those that a process has to die for, or requests to be counted.
    "DeleteRemovesTheTagsFirst": ["a_deletion_that_was_cut_off_is_finished_by_the_next_call[before]"],
    "DropsTheRequestId": ["an_answer_that_is_unknown_does_not_stop_other_claims[422-provision]"],
    "DoneIsDoneAgain": ["a_call_that_finds_everything_done_costs_no_more_than_the_first"],
    "ForgetsTheDelay": ["a_busy_store_is_asked_once_and_its_delay_is_handed_on[503-provision]"],
    "GivesUpForGood": ["a_store_where_no_server_listens_is_retried_soon[revoke]"],
    "IdentityIsNamedByChance": ["a_grant_that_was_cut_off_is_undone_by_revoke[before]"],
    "KeysOfADeadCallStay": [
        "a_replacement_of_lost_credentials_that_was_cut_off_is_finished_by_the_next_call[greenfield-before]"
    ],
    "LookAsksTwice": [f"a_drift_check_of_a_bound_claim_costs_one_request_at_most{GREENFIELD}"],
    "RevokeTakesItsFirstStepForAll": ["a_revocation_that_was_cut_off_is_finished_by_the_next_call[greenfield-before]"],
    "TagsComeLater": [
        "a_binding_that_was_cut_off_is_finished_by_the_next_call[greenfield-before]",
        "a_provision_that_was_cut_off_is_undone_by_delete[before]",
    ],
    "TakesWhatWasMadeInBetween": ["of_two_claims_that_want_one_bucket_at_once_only_one_gets_it"],
    "NeverAsksForLeadership": [
        "nothing_is_sent_and_nothing_changes_once_leadership_is_lost[provision]",
        "nothing_is_sent_and_nothing_changes_once_leadership_is_lost[delete]",
        "leadership_is_checked_before_each_request[revoke]",
    ],
    "AsksForLeadershipOnce": ["leadership_is_checked_before_each_request[grant]"],
    "HidesLostLeadership": ["nothing_is_sent_and_nothing_changes_once_leadership_is_lost[grant]"],
    "RepeatsTheBody": ["no_error_and_no_log_line_repeats_the_body_of_an_answer[provision]"],
    "LogsTheBody": ["no_error_and_no_log_line_repeats_the_body_of_an_answer[grant]"],
    "ALibraryLogsTheBody": ["no_error_and_no_log_line_repeats_the_body_of_an_answer[revoke]"],
    "PrintsTheBody": ["no_error_and_no_log_line_repeats_the_body_of_an_answer[delete]"],
    "TakesAPageForAnAnswer": ["what_is_no_store_is_a_mistake_in_the_configuration[provision]"],
    "TriesAgainByItself": ["a_store_that_fails_is_asked_once_and_retried_soon[grant]"],
    "UnknownAnswersAreOutages": [
        "an_answer_that_is_unknown_does_not_stop_other_claims[400-provision]",
        "an_answer_that_is_unknown_does_not_stop_other_claims[409-revoke]",
    ],
    "WaitsForEver": ["a_store_that_never_answers_is_given_up_within_the_time_limit[delete]"],
    "LostBucketsAreMadeAgain": ["a_bucket_that_was_removed_manually_is_reported_as_lost_and_not_recreated"],
    "RepairsAreReportedAlways": [f"nothing_is_reported_as_repaired_where_nothing_was_changed{GREENFIELD}"],
    "RepairsAreSilent": [f"an_identity_that_was_removed_manually_is_reported_once{GREENFIELD}"],
}
MUTATIONS = [(fault, guarantee) for fault, guarantees in VIOLATED_GUARANTEES.items() for guarantee in guarantees]
CONTROLS = {"NoMistake": 140, "OverAWire": 185}
"""Provisioners without a fault, and the minimum number of guarantees that they pass."""


_BAD = {"failure", "error", "skipped"}


@dataclass
class Outcomes:
    """The result of each guarantee, by fault and guarantee: `passed`, or one of `_BAD`."""

    found: dict[tuple[str, str], str] = field(default_factory=dict)

    def of(self, fault: str) -> dict[str, str]:
        """Results by guarantee."""
        return {guarantee: outcome for (name, guarantee), outcome in self.found.items() if name == fault}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """In one process, because loading the suite takes longer than one guarantee."""
    report = tmp_path_factory.mktemp("mutations") / "report.xml"
    selected = [f"{FAULTS}::Test{control}" for control in CONTROLS]
    selected += [f"{FAULTS}::Test{fault}::test_{guarantee}" for fault, guarantee in MUTATIONS]
    command = [sys.executable, "-P", "-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider"]
    with scripted_server(Answer()) as server:
        environment = {**os.environ, "LIBBUCKET_WIRE": server.url}
        run = [*command, f"--junit-xml={report}", *selected]
        done = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    cases = ET.parse(report).iter("testcase")
    return Outcomes({_name_of(case): next((each.tag for each in case if each.tag in _BAD), "passed") for case in cases})


def _name_of(case: ET.Element) -> tuple[str, str]:
    return case.attrib["classname"].rpartition(".Test")[2], case.attrib["name"].removeprefix("test_")


@pytest.mark.parametrize(("fault", "guarantee"), MUTATIONS)
def test_an_injected_fault_fails_the_suite_by_the_name_of_the_guarantee(
    fault: str, guarantee: str, outcomes: Outcomes
) -> None:
    # "error" would be a failure of the clean-up, which must not depend on the provisioner.
    assert outcomes.of(fault).get(guarantee) == "failure"


@pytest.mark.parametrize(("control", "passed"), CONTROLS.items())
def test_without_a_fault_the_suite_passes(control: str, passed: int, outcomes: Outcomes) -> None:
    found = outcomes.of(control)
    assert {name: outcome for name, outcome in found.items() if outcome in {"failure", "error"}} == {}
    assert list(found.values()).count("passed") > passed, "the suite ran"


def test_every_guarantee_has_an_injected_fault() -> None:
    guarantees = {name.removeprefix("test_") for name in dir(Conformance) if name.startswith("test_")}
    assert guarantees - {guarantee.partition("[")[0] for _, guarantee in MUTATIONS} == set()
