"""Mistakes that an author of a provisioner could make, each planted into the package that `libbucket new` writes.

Pure data: a file of the package, what is replaced in it, and the promise of the conformance suite that must be broken
then. `test_planted_mistakes.py` plants them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Mistake:
    """One mistake.

    Attributes:
        sentence: what is wrong, for people.
        file: below `src/depot_provisioner`.
        was: what stands there once.
        becomes: what the mistake makes of it.
        promise: the case of the suite that fails.
    """

    sentence: str
    file: str
    was: str
    becomes: str
    promise: str


_CLOSED: Final = "withdrawn_credentials_are_refused_though_bucket_and_data_stay[reading an object-greenfield]"
_FENCED: Final = "nothing_is_sent_and_nothing_changes_once_leadership_is_lost"
_READ_ANEW: Final = "the_administrators_credentials_are_read_anew_for_each_call"
_BODY: Final = "no_error_and_no_log_line_repeats_the_body_of_an_answer"

_FIND: Final = '    found = store.find("buckets", name) if is_name(name) else None\n'
_FOUND: Final = "    found = None if answer.status == 404 else answer.json()\n"
_FIND_ANYTHING: Final = '    answer = store.request("GET", "buckets", name, accept=range(400, 500))\n'
_OPENED: Final = "return api.connect(parameters.endpoint, services.before_request, headers=headers)"
_SEND: Final = "answer = self._exchange(method, target, body, _revealed(sent))"
_OWN: Final = "return found if has_own_bucket(of, found.tags if found else None) else None"
_NOT_OWN: Final = """\
if found is None or {condition}:
        return found
    raise __import__("libbucket").BucketExists("not the claim's")"""
_PURGE: Final = """\
            bucket = storage.find_own(store, ob)
            if bucket is not None:
                drain(storage.purge_bucket(store, bucket), self._purge_seconds)
                storage.delete_bucket(store, bucket)
"""
_FIND_TO_PURGE: Final = "\n".join(_PURGE.splitlines()[:3])
_DELETE_USER: Final = '    store.request("DELETE", "users", of.user_id, accept={404})\n'

MISTAKES: Final = (
    # Errors and log lines.
    Mistake(
        "An error repeats the body of the store's answer",
        "storage.py",
        _FIND,
        _FIND_ANYTHING
        + '    if answer.status not in {200, 404}:\n        raise NotReady(f"the store says {answer.body!r}")\n'
        + _FOUND,
        f"{_BODY}[provision]",
    ),
    Mistake(
        "A DEBUG line repeats the body of the store's answer",
        "storage.py",
        _FIND,
        _FIND_ANYTHING + '    __import__("logging").getLogger(__name__).debug("found %s", answer.body)\n' + _FOUND,
        f"{_BODY}[grant]",
    ),
    Mistake(
        "The output has the body of the store's answer",
        "identity.py",
        _DELETE_USER,
        '    print(store.request("DELETE", "users", of.user_id, accept=range(400, 500)).body)\n',
        f"{_BODY}[revoke]",
    ),
    Mistake(
        "A line on standard error has the administrator's token",
        "client.py",
        "    headers = bearer(read(ADMIN_KEY))\n",
        '    headers = bearer(read(ADMIN_KEY))\n    __import__("sys").stderr.write(read(ADMIN_KEY).reveal())\n',
        "no_error_and_no_log_line_holds_a_secret",
    ),
    Mistake(
        "An INFO line has a claim's secret",
        "client.py",
        "    # TODO: how applications of your store authenticate (guide: Credentials)\n",
        '    __import__("logging").getLogger(__name__).info(keys.secret_access_key.reveal())\n',
        "no_error_and_no_log_line_holds_a_secret",
    ),
    Mistake(
        "The claim's secret is in the state that everybody may read",
        "provisioner.py",
        'state = {"UserName": options.user_id,',
        'state = {"UserName": keys.secret_access_key.reveal(),',
        "no_secret_is_in_what_everybody_may_read[greenfield]",
    ),
    Mistake(
        "The request id of an answer is not passed on",
        "client.py",
        'request_id_header="X-Request-Id"',
        'request_id_header="X-Amz-Request-Id"',
        "an_answer_that_is_unknown_does_not_stop_other_claims[403-delete]",
    ),
    # Leadership.
    Mistake(
        "Leadership is never asked for",
        "client.py",
        _OPENED,
        _OPENED.replace("services.before_request", "lambda: None"),
        f"{_FENCED}[delete]",
    ),
    Mistake(
        "Leadership is asked for once a verb",
        "client.py",
        _OPENED,
        "services.before_request()\n    " + _OPENED.replace("services.before_request", "lambda: None"),
        "leadership_is_checked_before_each_request[provision]",
    ),
    # Whose bucket it is.
    Mistake(
        "A bucket that exists is taken without a look at its owner",
        "storage.py",
        _OWN,
        "return found",
        "a_bucket_that_exists_without_tags_is_refused_and_not_touched",
    ),
    Mistake(
        "A bucket without tags counts as taken over",
        "storage.py",
        _OWN,
        _NOT_OWN.format(condition="of.owner.owns(found.tags, taken_over=True)"),
        "a_bucket_that_exists_without_tags_is_refused_and_not_touched",
    ),
    Mistake(
        "The owner is told by namespace and name",
        "storage.py",
        _OWN,
        _NOT_OWN.format(condition='found.tags.get("objectbucket_claim_name") == of.owner.name'),
        "a_claim_made_again_under_the_same_name_is_another_owner",
    ),
    Mistake(
        "The owner is told by uid, whatever the cluster",
        "storage.py",
        _OWN,
        _NOT_OWN.format(condition='found.tags.get("objectbucket_claim_uid") == of.owner.uid'),
        "a_claim_of_another_cluster_is_another_owner",
    ),
    Mistake(
        "A bucket that another claim made in between counts as made",
        "storage.py",
        '"PUT", "buckets", options.bucket_name, json=build_bucket(options, settings))',
        '"PUT", "buckets", options.bucket_name, json=build_bucket(options, settings), accept={409})',
        "of_two_claims_that_want_one_bucket_at_once_only_one_gets_it",
    ),
    Mistake(
        "A bucket is made without ownership tags",
        "policy.py",
        '"tags": options.owner.ownership_tags(), ',
        "",
        "the_same_call_again_leaves_credentials_and_data_unchanged[greenfield]",
    ),
    Mistake(
        "A bucket is deleted without a look at its owner",
        "provisioner.py",
        _FIND_TO_PURGE,
        _FIND_TO_PURGE.replace("find_own(store, ob)", "find_bucket(store, ob.bucket_name)"),
        "a_bucket_without_tags_is_never_deleted",
    ),
    Mistake(
        "Errors of delete are swallowed",
        "provisioner.py",
        _FIND_TO_PURGE,
        "            try:\n                storage.find_own(store, ob)\n"
        "            except Exception:\n                return\n" + _FIND_TO_PURGE,
        "a_bucket_of_another_claim_is_never_deleted",
    ),
    Mistake(
        "A reclaimed bucket keeps the tags of the earlier claim",
        "policy.py",
        "not options.owner.matches(bucket.tags) or ",
        "",
        "a_bucket_that_a_later_claim_of_its_name_gets_back_keeps_its_data_and_no_other_claims_keys",
    ),
    Mistake(
        "Bucket names are not checked",
        "provisioner.py",
        "        check_name(options.bucket_name)\n",
        "",
        "a_name_that_no_store_takes_is_refused_and_its_claim_can_be_deleted",
    ),
    Mistake(
        "A bucket that is gone is made again, empty",
        "storage.py",
        "    found = find_bucket(store, of.bucket_name)\n",
        "    found = find_bucket(store, of.bucket_name)\n    if found is None:\n        return None\n",
        "a_bucket_that_was_removed_manually_is_reported_as_lost_and_not_recreated",
    ),
    Mistake(
        "A refusal is taken for a bucket that is gone",
        "storage.py",
        _FIND,
        _FIND_ANYTHING + _FOUND.replace("== 404", ">= 400"),
        "an_answer_that_is_unknown_does_not_stop_other_claims[403-provision]",
    ),
    # Credentials.
    Mistake(
        "Keys are replaced because a request with them was refused",
        "identity.py",
        "options.credentials_unchanged or ",
        "",
        "working_credentials_are_never_replaced_on_doubt[greenfield]",
    ),
    Mistake(
        "An edited Secret is believed",
        "identity.py",
        "is_open(store, options.bucket_name, held)",
        "bool(is_open)",
        "credentials_that_do_not_work_are_replaced[greenfield]",
    ),
    Mistake(
        "Every call makes new keys",
        "identity.py",
        "if held is None or held.access_key_id != find_key(store, options):",
        "if held is None or held:",
        "the_same_call_again_leaves_credentials_and_data_unchanged[brownfield]",
    ),
    Mistake(
        "Keys of another claim on the same bucket are taken for the claim's own",
        "identity.py",
        "if held is None or held.access_key_id != find_key(store, options):",
        "if held is None or find_key(store, options) is None:",
        "credentials_of_another_claim_on_the_same_bucket_are_never_taken_for_ones_own",
    ),
    Mistake(
        "The drift check takes any keys that work for the claim's own",
        "provisioner.py",
        "held is None or held.access_key_id != options.additional_state.get(KEY_ID)",
        "held is None",
        "a_drift_check_never_takes_anothers_credentials_for_the_claims_own",
    ),
    Mistake(
        "The drift check fails where it should say no",
        "storage.py",
        "{401, 403, 404}",
        "{404}",
        "a_drift_check_finds_what_is_broken[identity-greenfield]",
    ),
    Mistake(
        "All claims of a namespace share a user",
        "provisioner.py",
        "    def grant(self, options",
        '    def generate_user_id(self, claim: object, ob: object) -> str:\n        return "everybody"\n\n'
        "    def grant(self, options",
        "every_claim_has_an_identity_of_its_own",
    ),
    Mistake(
        "Revoking does nothing",
        "provisioner.py",
        "        with self._open(parse_parameters(ob.parameters)) as store:\n"
        "            identity.delete_user(store, ob)\n\n    def delete(",
        "        return\n\n    def delete(",
        _CLOSED,
    ),
    Mistake(
        "Revoking twice is an error",
        "identity.py",
        '"users", of.user_id, accept={404})',
        '"users", of.user_id)',
        "revoking_again_is_success[greenfield]",
    ),
    # Deletion.
    Mistake(
        "Deleting leaves the user",
        "provisioner.py",
        "            identity.delete_user(store, ob)\n" + _FIND_TO_PURGE,
        _FIND_TO_PURGE,
        "deleting_removes_bucket_objects_and_identity",
    ),
    Mistake(
        "Content goes before the credentials do",
        "provisioner.py",
        "            identity.delete_user(store, ob)\n" + _PURGE,
        _PURGE + "            identity.delete_user(store, ob)\n",
        "a_purge_is_done_in_steps_and_goes_on_where_it_was",
    ),
    Mistake(
        "A bucket is emptied by one page",
        "storage.py",
        '    while removed := store.request("POST", "buckets", bucket.name, "purge").json()["removed"]:\n',
        '    if removed := store.request("POST", "buckets", bucket.name, "purge").json()["removed"]:\n',
        "deleting_empties_a_bucket_of_thousands_of_objects",
    ),
    Mistake(
        "A bucket with content loses its user before it is refused",
        "provisioner.py",
        "            if bucket is not None and not bucket.is_empty:\n",
        "            identity.delete_user(store, ob)\n            if bucket is not None and not bucket.is_empty:\n",
        "deleting_what_is_empty_leaves_a_bucket_with_an_object_and_its_credentials_alone",
    ),
    # The administrator's credentials.
    Mistake(
        "The administrator's Secret is read once",
        "client.py",
        "    headers = bearer(read(ADMIN_KEY))\n",
        "    headers = vars(services).setdefault('_headers', bearer(read(ADMIN_KEY)))\n",
        f"{_READ_ANEW}[revoke]",
    ),
    Mistake(
        "The client of an endpoint is kept, whatever the administrator's Secret holds now",
        "client.py",
        _OPENED,
        _OPENED.replace("return ", "made = ")
        + "\n    return vars(services).setdefault('_clients', {}).setdefault(parameters.endpoint, made)",
        f"{_READ_ANEW}[grant]",
    ),
    # Settings and parameters.
    Mistake(
        "A setting that a grant does not apply is not warned about",
        "provisioner.py",
        ", warn_unapplied(options.claim, SETTINGS))",
        ")",
        "a_setting_that_a_grant_does_not_apply_is_warned_about",
    ),
    Mistake(
        "A setting that the claim never had is cleared",
        "provisioner.py",
        "        settings = read_quantities(options, SETTINGS)",
        "        settings = {**dict.fromkeys(SETTINGS), **read_quantities(options, SETTINGS)}",
        "a_setting_that_the_claim_never_had_is_left_as_it_is",
    ),
    Mistake(
        "A setting that left the claim stays",
        "policy.py",
        "for key, limit in settings.items()}",
        "for key, limit in settings.items() if limit is not None}",
        "a_setting_that_leaves_the_claim_is_reset",
    ),
    Mistake(
        "A wrong value is refused without the name of its key",
        "provisioner.py",
        "        settings = read_quantities(options, SETTINGS)",
        "        try:\n            settings = read_quantities(options, SETTINGS)\n"
        "        except Exception:\n"
        '            raise __import__("libbucket").InvalidConfig("a quantity is wrong") from None\n',
        "a_value_that_makes_no_sense_is_refused_by_name_and_the_claim_goes_on",
    ),
    Mistake(
        "A grant changes the bucket",
        "provisioner.py",
        "            if storage.find_bucket(store, name) is None:\n",
        '            store.request("PATCH", "buckets", name, json={"max_objects": 9}, accept={404})\n'
        "            if storage.find_bucket(store, name) is None:\n",
        "a_grant_changes_neither_the_bucket_nor_its_data",
    ),
    Mistake(
        "A class may name a bucket that does not exist",
        "provisioner.py",
        "if storage.find_bucket(store, name) is None:",
        "if not name:",
        "a_bucket_that_the_class_names_must_exist",
    ),
    Mistake(
        "An unknown parameter is not warned about",
        "provisioner.py",
        "warnings=(*parameters.warnings, *warnings)",
        "warnings=warnings",
        "an_unknown_parameter_is_warned_about_and_not_an_error[greenfield]",
    ),
    Mistake(
        "The host has a scheme",
        "provisioner.py",
        "Endpoint.from_url(parameters.endpoint, bucket_name=options.bucket_name)",
        "Endpoint(bucket_host=parameters.endpoint, bucket_port=1, bucket_name=options.bucket_name)",
        "the_host_is_a_bare_name_and_the_port_a_port",
    ),
    # A store that is down, busy, or none at all.
    Mistake(
        "The time limit is a fixed one, and long",
        "provisioner.py",
        "        self._api = api\n",
        '        self._api = __import__("dataclasses").replace(api, seconds=12.0)\n',
        "a_store_that_never_answers_is_given_up_within_the_time_limit[revoke]",
    ),
    Mistake(
        "The store is asked again where the core would",
        "identity.py",
        _DELETE_USER,
        '    try:\n        store.request("DELETE", "users", of.user_id, accept={404})\n    except Exception:\n'
        '        store.request("DELETE", "users", of.user_id, accept={404})\n',
        "a_store_that_fails_is_asked_once_and_retried_soon[revoke]",
    ),
    Mistake(
        "The delay that the store asks for is dropped",
        "identity.py",
        _DELETE_USER,
        "    from libbucket import RetrySoon, Throttled\n\n    try:\n"
        '        store.request("DELETE", "users", of.user_id, accept={404})\n    except RetrySoon:\n'
        '        raise Throttled("later") from None\n',
        "a_busy_store_is_asked_once_and_its_delay_is_handed_on[429-revoke]",
    ),
    Mistake(
        "Every refusal is an outage",
        "client.py",
        "errors=CODES",
        'errors={"NobodyKnowsThisCode": __import__("libbucket").StoreUnavailable}',
        "an_answer_that_is_unknown_does_not_stop_other_claims[409-provision]",
    ),
    Mistake(
        "A page of any web server is taken for an answer",
        "client.py",
        "seconds=20,",
        'seconds=20, media_type="text/html",',
        "what_is_no_store_is_a_mistake_in_the_configuration[revoke]",
    ),
    # Costs, and several threads at once.
    Mistake(
        "The drift check costs two requests",
        "storage.py",
        '    query, refused = {"limit": "1"}, {401, 403, 404}\n',
        '    query, refused = {"limit": "1"}, {401, 403, 404}\n    find_bucket(store, bucket)\n',
        "a_drift_check_of_a_bound_claim_costs_one_request_at_most[greenfield]",
    ),
    Mistake(
        "The provisioner remembers the request of the last call",
        "provisioner.py",
        "            bucket = storage.find_own(store, options)\n            if bucket is None:\n",
        "            self._options = options\n            bucket = storage.find_own(store, options)\n"
        "            options = self._options\n            if bucket is None:\n",
        "claims_bound_at_once_each_get_their_own_bucket_and_no_others",
    ),
)
