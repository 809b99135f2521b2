"""Tests stay on this machine: whoever tries to leave it fails."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from libbucket.testing.offline import guarded_environment

pytest_plugins = ["pytester"]

ELSEWHERE = "192.0.2.1"  # RFC 5737: documentation, routed nowhere


def run_a_test(pytester: pytest.Pytester, body: str) -> pytest.RunResult:
    pytester.makeconftest('pytest_plugins = ["libbucket.testing.offline"]')
    pytester.makepyfile(f"import contextlib, socket\n\ndef test_it():\n    {body}\n")
    return pytester.runpytest_subprocess("-p", "no:cacheprovider")


def test_connecting_elsewhere_fails_the_test_even_if_the_error_is_taken_for_a_store_that_is_down(
    pytester: pytest.Pytester,
) -> None:
    body = f"with contextlib.suppress(OSError): socket.create_connection(('{ELSEWHERE}', 80), 0.1)"
    result = run_a_test(pytester, body)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f"*wanted to reach the real internet: {ELSEWHERE}*"])


def test_asking_for_a_name_elsewhere_fails_the_test(pytester: pytest.Pytester) -> None:
    result = run_a_test(pytester, "socket.getaddrinfo('example.com', 443)")
    result.assert_outcomes(failed=1, errors=1)


def test_this_machine_may_be_reached(pytester: pytest.Pytester) -> None:
    body = "with socket.create_server(('127.0.0.1', 0)) as s: socket.create_connection(s.getsockname()).close()"
    run_a_test(pytester, body).assert_outcomes(passed=1)


def test_a_name_that_no_host_has_is_not_found_as_ever() -> None:
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("store.invalid", 443)


@pytest.mark.parametrize(("host", "code"), [(ELSEWHERE, 70), ("127.0.0.1", 1)])
def test_a_process_that_wants_elsewhere_ends_and_says_where(host: str, code: int) -> None:
    program = f"import socket; socket.create_connection(('{host}', 1), 0.1)"
    environment = {**os.environ, **guarded_environment()}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=False)
    assert ended.returncode == code
    assert (b"wanted to reach 192.0.2.1" in ended.stderr) == (code == 70)
