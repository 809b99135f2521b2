"""What a provisioner loads: a longer chain of imports costs every replica memory and time at its start.

Measured as in an image: whatever is not in `requirements/STORE.txt` can't be imported here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest

from testkit.repository import ROOT

_LIST = """
import importlib.metadata, json, re, sys

pins = open(sys.argv[1]).read()
normal = lambda name: re.sub(r"[-_.]+", "-", name).lower()
pinned = {normal(name) for name in re.findall(r"(?m)^([\\w.-]+)==", pins)}
of = importlib.metadata.packages_distributions()
left_out = {
    top for top, names in of.items()
    if not {normal(name) for name in names} & pinned and "provisioner" not in top and top != "libbucket"
}

class NotInTheImage:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in left_out:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInTheImage())
for module in sys.argv[2:]:
    __import__(module)
tops = {name.partition(".")[0] for name in sys.modules}
loaded = {normal(one) for top in tops for one in of.get(top, ())} & pinned
print(json.dumps({"distributions": sorted(loaded), "modules": len(sys.modules)}))
"""
"""Imports modules, and prints the distributions and the number of modules that are loaded then."""


@dataclass(frozen=True, kw_only=True)
class Chain:
    """What a provisioner loads.

    Attributes:
        store: whose requirements are installed.
        distributions: loaded beside those of the core.
        modules: at most so many, the standard library's included: some more than now, for the next versions.
    """

    store: str
    distributions: frozenset[str]
    modules: int

    @property
    def package(self) -> str:
        """Its provisioner."""
        return f"{self.store.replace('-', '_')}_provisioner.__main__"


CORE = frozenset({"durationpy", "msgspec", "prometheus-client", "pyyaml", "structlog", "urllib3"})
REQUESTS = frozenset({"certifi", "charset-normalizer", "idna", "requests"})
CHAINS = [
    Chain(
        store="minio",
        distributions=frozenset(
            {"argon2-cffi", "argon2-cffi-bindings", "certifi", "cffi", "minio", "pycparser", "pycryptodome"}
        )
        | {"typing-extensions"},
        modules=550,
    ),
    Chain(store="aws-s3", distributions=frozenset({"botocore", "jmespath", "python-dateutil", "six"}), modules=590),
    Chain(
        store="gcs",
        distributions=REQUESTS
        | {"cffi", "cryptography", "google-api-core", "google-auth", "google-cloud-core", "google-cloud-storage"}
        | {"google-resumable-media", "googleapis-common-protos", "opentelemetry-api", "protobuf", "typing-extensions"},
        modules=815,
    ),
    Chain(
        store="azure",
        distributions=REQUESTS
        | {"azure-core", "azure-identity", "azure-storage-blob", "cffi", "cryptography", "isodate", "msal"}
        | {"typing-extensions"},
        modules=835,
    ),
]


def loaded_by(store: str, *modules: str) -> tuple[set[str], int]:
    """The distributions and the number of modules that importing these loads."""
    pins = ROOT / "requirements" / f"{store}.txt"
    command = [sys.executable, "-c", _LIST, str(pins), *modules]
    done = subprocess.run(command, check=True, timeout=120, capture_output=True, text=True)
    loaded = json.loads(done.stdout)
    return set(loaded["distributions"]), loaded["modules"]


def test_the_core_loads_these_distributions_and_no_others() -> None:
    distributions, modules = loaded_by("libbucket", "libbucket._run.main")
    assert distributions == CORE
    assert modules <= 455


@pytest.mark.parametrize("chain", CHAINS, ids=[each.store for each in CHAINS])
def test_a_provisioner_loads_these_distributions_and_no_others(chain: Chain) -> None:
    distributions, modules = loaded_by(chain.store, "libbucket._run.main", chain.package)
    assert distributions - CORE == chain.distributions
    assert modules <= chain.modules
