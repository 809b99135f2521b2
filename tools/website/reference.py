"""The pages of the site that are made from code: resources, flags, metrics, parameters, reasons, and the API.

Each function gives the text of one page. Reads code and CRDs; writes nothing.
"""

from __future__ import annotations

import importlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

import libbucket
from libbucket import InvalidParameters, ParameterReader, Reason
from libbucket._cli.advice import ADVICE
from libbucket._metrics import ClaimState, Metrics
from libbucket._outcomes import MEANINGS
from libbucket._queue import QueueState
from libbucket._run.cli import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import Metric

ROOT: Final = Path(__file__).parents[2]
STORES: Final = ("minio", "aws_s3", "gcs", "azure")
TESTING: Final = (
    "application",
    "builders",
    "conformance.backend",
    "misbehaving",
    "http_store",
    "memory",
    "fixtures",
    "controlplane",
    "admin",
    "provisioner_process",
)
"""Modules of `libbucket.testing` for authors of provisioners."""


def resources() -> str:
    """Every field of both CRDs."""
    text = "# Custom resources\n\nFrom the CRDs. Group `objectbucket.io`, version `v1alpha1`.\n"
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        crd = yaml.safe_load(path.read_text())
        (version,) = crd["spec"]["versions"]
        text += f"\n## {crd['spec']['names']['kind']}\n\n{crd['spec']['scope']}. Short names: "
        text += ", ".join(f"`{name}`" for name in crd["spec"]["names"]["shortNames"]) + ".\n\n"
        rows = _fields(version["schema"]["openAPIV3Schema"], "")
        text += _table(("field", "type", "content"), rows)
    return text


def _fields(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    for name, field in schema.get("properties", {}).items():
        below = f"{path}.{name}" if path else name
        kind = field.get("type", "any")
        if values := field.get("enum"):
            kind = ", ".join(f"`{value}`" for value in values)
        yield f"`{below}`", kind, " ".join(field.get("description", "").split())
        yield from _fields(field, below)
        yield from _fields(field.get("items", {}), f"{below}[]")


def flags() -> str:
    """Every flag of a provisioner's command line."""
    rows = [
        (
            ", ".join(f"`{flag}`" for flag in option.flags),
            ", ".join(f"`{variable}`" for variable in option.variables),
            f"`{option.default}`" if option.default else "",
            option.help,
        )
        for option in OPTIONS
    ]
    rows[0] = (*rows[0][:2], "the package's", rows[0][3])
    text = (
        "# Flags\n\nThe same for every provisioner; [Operating](../operating.md#flags-and-environment) explains them. "
    )
    text += "A flag takes precedence over its environment variable.\n\n"
    return text + _table(("flag", "environment", "default", "meaning"), rows)


def metrics() -> str:
    """Every metric of a process."""
    rows = [
        (
            f"`{family.name}{'_total' if family.type == 'counter' else ''}`",
            family.type,
            ", ".join(f"`{label}`" for label in _labels(family)),
            family.documentation,
        )
        for family in sorted(_used().registry.collect(), key=lambda family: family.name)
        if family.name.startswith("libbucket_")
    ]
    text = "# Metrics\n\nOn `/metrics` of every provisioner, beside those of the process (`process_*`). "
    text += (
        "[Operating](../operating.md#metrics-health-logs) explains them, [alerts](../operating.md#alerts) use them.\n\n"
    )
    return text + _table(("metric", "type", "labels", "content"), rows)


def _used() -> Metrics:
    """Metrics with one sample of each, so that their labels can be read."""
    made = Metrics()
    made.reconciled("bound", 1.0)
    made.backend_call("provision", 1.0, Reason.NOT_READY)
    made.watch_claims(lambda: [ClaimState(phase="Pending", storage_class="x", waits_for=Reason.NOT_READY)])
    made.watch_queue(lambda: QueueState(ready=0, delayed=0, working=0, longest_wait=0.0))
    return made


def _labels(family: Metric) -> list[str]:
    found = dict.fromkeys(label for sample in family.samples for label in sample.labels)
    return [label for label in found if label not in {"le", "quantile"}]


def parameters() -> str:
    """Every parameter of a StorageClass, by store."""
    text = "# Parameters of a StorageClass\n\nAs each provisioner reads them; its page explains them. "
    text += "`bucketName`, `deletionPolicy`, `purgeByAnnotation` and `purgeAfter` are the core's, for every store.\n"
    for store in STORES:
        name = store.replace("_", "-")
        text += f"\n## {name}\n\n[Explanations](../stores/{name}.md#storageclass-parameters)\n\n"
        text += _table(("parameter", "type", "default"), _read_by(store))
    return text


def _read_by(store: str) -> list[tuple[str, str, str]]:
    """The parameters that a provisioner's parser asks for, in this order, with type and default."""
    module = importlib.import_module(f"{store}_provisioner.parameters")
    found: dict[str, tuple[str, str]] = {}

    class Recording(ParameterReader):
        def text(self, name: str, *, default: str = "", required: bool = False) -> str:
            found.setdefault(name, ("text", "required" if required else f"`{default}`" if default else ""))
            return super().text(name, default=default, required=required)

        def flag(self, name: str, *, default: bool) -> bool:
            found[name] = ("true or false", f"`{str(default).lower()}`")
            return super().flag(name, default=default)

        def number(self, name: str, *, default: int, minimum: int = 0) -> int:
            found[name] = ("number", f"`{default}`" if default >= minimum else "")
            return super().number(name, default=default, minimum=minimum)

        def choice(self, name: str, choices: frozenset[str], *, default: str) -> str:
            kind = ", ".join(f"`{each}`" for each in sorted(choices) if each)
            found[name] = (f"one of {kind}", f"`{default}`" if default else "")
            return super().choice(name, choices, default=default)

        def url(self, name: str, *, required: bool = False) -> str:
            found[name] = ("URL", "required" if required else "")
            return super().url(name, required=required)

    usual = module.ParameterReader
    vars(module)["ParameterReader"] = Recording
    try:
        with suppress(InvalidParameters):
            module.parse_parameters({})
    finally:
        vars(module)["ParameterReader"] = usual
    return [(f"`{name}`", *facts) for name, facts in found.items()]


def reasons() -> str:
    """Every reason, with what the core makes of it, and what it asks of people."""
    rows = []
    for reason in Reason:
        meaning, (waits_for, next_step) = MEANINGS[reason], ADVICE.get(reason, ("", ""))
        retry = meaning.retry.name.lower().replace("_", " ") if meaning.retry else "progress"
        rows.append((f"`{reason}`", retry, meaning.actor.name.lower(), waits_for, next_step))
    text = "# Reasons\n\nOf conditions and Events: a closed list. "
    text += "[Troubleshooting by reason](../operating.md#troubleshooting-by-reason) describes each.\n\n"
    return text + _table(("reason", "retry", "who acts", "waits for", "next"), rows)


def api() -> str:
    """The public names, from their docstrings."""
    text = "# Python API\n\n`import libbucket`: these names, and no others, are the public interface.\n\n"
    text += f"```{{eval-rst}}\n.. automodule:: libbucket\n   :members: {', '.join(libbucket.__all__)}\n```\n"
    return text


def testing_api() -> str:
    """The modules of `libbucket.testing` for authors of provisioners."""
    text = "# Test support\n\nModules of `libbucket.testing`, for the tests of a provisioner. "
    text += "[Testing](../testing.md#tests-for-a-store-of-your-own) shows their use.\n"
    for name in TESTING:
        text += f"\n## libbucket.testing.{name}\n\n```{{eval-rst}}\n.. automodule:: libbucket.testing.{name}\n```\n"
    return text


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "resources": resources,
    "flags": flags,
    "metrics": metrics,
    "parameters": parameters,
    "reasons": reasons,
    "api": api,
    "testing-api": testing_api,
}
"""The pages, by the names of their files."""
