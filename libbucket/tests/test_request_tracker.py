"""The request hook serves two independent collaborators: the leadership check and the request tracker."""

from __future__ import annotations

import threading

import pytest

from libbucket._controller.services import request_hook
from libbucket._kube.errors import LeadershipLost
from libbucket._reconcile.apply.request_tracker import RequestTracker
from libbucket.provisioner import Services


def lost() -> None:
    raise LeadershipLost("another replica leads")


def test_the_hook_records_a_request_of_the_leader() -> None:
    requests = RequestTracker()
    requests.begin_call()
    request_hook(lambda: None, requests)()

    assert requests.has_sent


def test_a_request_without_leadership_is_held_back_and_not_recorded() -> None:
    requests = RequestTracker()
    requests.begin_call()
    with pytest.raises(LeadershipLost):
        request_hook(lost, requests)()

    assert not requests.has_sent


def test_requests_of_other_threads_are_not_recorded_for_this_one() -> None:
    requests = RequestTracker()
    requests.begin_call()
    thread = threading.Thread(target=requests.record_request)
    thread.start()
    thread.join()

    assert not requests.has_sent


def test_a_thread_that_began_no_call_is_taken_to_have_sent_requests() -> None:
    assert RequestTracker().has_sent


def test_the_deprecated_name_of_the_hook_is_the_hook() -> None:
    services = Services(read_secret=lambda _namespace, _name: {}, before_request=lost)

    assert services.fence is lost
