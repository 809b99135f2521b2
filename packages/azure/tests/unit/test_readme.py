"""The README names what the code knows: parameters, keys of the Secret, the actions of a call."""

from __future__ import annotations

import json
import re
from pathlib import Path

from azure_provisioner.parameters import parse_parameters
from azure_provisioner.policy import build_secret
from libbucket import InvalidParameters, SecretStr

README = (Path(__file__).parents[2] / "README.md").read_text()
LEAST = {"storageAccount": "account", "secretName": "a", "secretNamespace": "b"}


def section(title: str) -> str:
    return README.partition(f"## {title}")[2].partition("\n## ")[0]


def test_every_parameter_in_the_table_is_known_and_none_is_left_out() -> None:
    rows = re.findall(r"(?m)^\| (`[^|]*`) \|[^|]*\|[^|]*\|$", section("StorageClass parameters"))
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert len(named) == 16
    for name in named:
        try:
            warnings = parse_parameters({**LEAST, name: "?"}).warnings
        except InvalidParameters as error:
            warnings = error.mistakes
        assert not any("unknown" in warning for warning in warnings), name
    (warning,) = parse_parameters({**LEAST, "endPoint": "?"}).warnings
    assert "unknown" in warning


def test_every_key_of_the_secret_is_described() -> None:
    described = set(re.findall(r"(?m)^\| `(AZURE_\w+)`", section("Secret and ConfigMap")))
    assert described == set(build_secret(parse_parameters(LEAST), "photos", SecretStr("sig=x")))


def test_the_role_has_what_the_calls_name() -> None:
    role = json.loads(re.findall("```json\n(.*?)```", README, re.DOTALL)[0])
    sources = Path(__file__).parents[2] / "src" / "azure_provisioner"
    called = {
        name
        for file in ("access_policies.py", "delegation.py", "identity.py", "listing.py", "storage.py")
        for name in re.findall(r'clients\.call\("([^"]+)"\)', (sources / file).read_text())
    }
    of_policies = {"containers/getAcl/action", "containers/setAcl/action"}  # which need the key, not a role
    prefix = "Microsoft.Storage/storageAccounts/blobServices/"
    of_blobs = {name for name in called if name.startswith("containers/blobs/")}
    assert {f"{prefix}{name}" for name in called - of_policies - of_blobs} == set(role["Actions"])
    # The others are for clients with a SAS that is signed by us; the provisioner only checks for any blob.
    assert {f"{prefix}{name}" for name in of_blobs} <= set(role["DataActions"])
    assert of_blobs
