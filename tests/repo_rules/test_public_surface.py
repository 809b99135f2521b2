"""The public surface as a list. A change to it determines the next version number."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import libbucket
from libbucket.testing import conformance

SURFACE = [
    "AccessDenied",
    "AccessKeys",
    "Address",
    "AdminSecretMissing",
    "Authentication",
    "BucketExists",
    "BucketLister",
    "BucketLost",
    "BucketNotEmpty",
    "BucketNotFound",
    "BucketOptions",
    "Claim",
    "Connection",
    "EmptyBucketDeleter",
    "Endpoint",
    "ExpiresLater",
    "Flag",
    "HttpAnswer",
    "HttpApi",
    "HttpClient",
    "Inspector",
    "InvalidAdminSecret",
    "InvalidClaim",
    "InvalidConfig",
    "InvalidParameters",
    "Misconfigured",
    "NotReady",
    "ObjectBucket",
    "Owner",
    "ParameterReader",
    "Provisioner",
    "ProvisionerError",
    "ProvisionerFactory",
    "PurgeUnfinished",
    "QuotaExceeded",
    "Reason",
    "ReclaimPolicy",
    "RetrySlowly",
    "RetrySoon",
    "SecretReader",
    "SecretStr",
    "Services",
    "StoreRefused",
    "StoreUnavailable",
    "Terminal",
    "Throttled",
    "Withdrawals",
    "basic",
    "bearer",
    "drain",
    "fence_requests",
    "has_own_bucket",
    "has_ownership_tags",
    "is_stamped",
    "parse_json",
    "parse_quantity",
    "parse_retry_after",
    "read_quantities",
    "run",
    "wait_until",
    "warn_unapplied",
]

CONFORMANCE = [
    "Ability",
    "AccessOnly",
    "Administrator",
    "Application",
    "Backend",
    "Capabilities",
    "Check",
    "Conformance",
    "HttpApplication",
    "HttpBackend",
    "REFUSAL_TEXT",
    "REQUEST_ID",
    "Refused",
]
"""Of `libbucket.testing.conformance`, for the tests of a provisioner."""

HEAVY = {"email", "http.client", "kubernetes", "msgspec", "prometheus_client", "ssl", "structlog", "urllib3", "yaml"}
"""Modules that take longer to import than all of libbucket, and that importing it must not load."""
PARTS = [
    *("bounds", "errors", "fencing", "headers", "http_client", "limits"),
    *("parameters", "provisioner", "run", "types", "withdrawals"),
]
LOADED = {"libbucket", "libbucket._clock", *(f"libbucket.{part}" for part in PARTS)}
"""Everything of the package that importing it loads."""


def test_the_public_surface_is_this_list() -> None:
    assert sorted(libbucket.__all__) == SURFACE


def test_the_guide_names_everything_that_is_public() -> None:
    guide = (Path(__file__).parents[2] / "docs/writing-a-provisioner.md").read_text()
    assert [name for name in SURFACE if not re.search(rf"\b{name}\b", guide)] == []


def test_what_the_tests_of_a_provisioner_import_is_this_list() -> None:
    assert sorted(conformance.__all__) == CONFORMANCE


def test_nothing_else_can_be_imported_by_accident() -> None:
    others = {name for name, value in vars(libbucket).items() if not isinstance(value, ModuleType)} - set(SURFACE)

    assert [name for name in others if not name.startswith("_")] == []


def test_every_public_name_is_described() -> None:
    assert [name for name in SURFACE if not (getattr(libbucket, name).__doc__ or "").strip()] == []


def test_importing_it_loads_no_client_and_no_parser_of_the_network() -> None:
    code = "import sys, libbucket; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)

    assert HEAVY & set(loaded.stdout.split()) == set()
    assert {name for name in loaded.stdout.split() if name.startswith("libbucket")} <= LOADED


def test_importing_it_loads_no_test_tools_and_starts_nothing() -> None:
    code = (
        "import sys, threading, libbucket\n"
        "assert 'pytest' not in sys.modules, 'pytest'\n"
        "assert 'libbucket.testing' not in sys.modules, 'libbucket.testing'\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
