"""The settings of a process, typed, and the parsers of their values. Pure: no arguments, no environment.

Under `cli`, which finds the texts. Messages of `ValueError` follow the name of the flag or variable and the text in a
sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import durationpy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOG_FORMATS: Final = ("text", "json")
_MAX_WORKERS: Final = 256
_MIN_RESYNC_SECONDS: Final = 1.0
_TRUTHS: Final = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PROVISIONER: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9._/]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Address:
    """The address of the HTTP endpoint.

    Attributes:
        host: "" for every interface.
        port: TCP port; 0 for a free one.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The whole command line.

    Attributes:
        provisioner_name: which StorageClasses are served.
        kubeconfig: path; "" for the default locations.
        master: URL of the API server; "" for the one of the kubeconfig.
        namespaces: only these; empty for all.
        admin_secret_namespaces: that a class may name in secretNamespace; empty for all.
        watch_secrets: whether Secrets are listed and watched.
        workers: maximum number of concurrent reconciles.
        leader_elect: whether replicas elect a leader.
        sharding: whether all replicas are active, each for a part of the claims.
        leader_elect_namespace: of the Lease; "" for the pod's own.
        bind_address: of `/healthz`, `/readyz` and `/metrics`; None turns them off.
        allowed_config: `additionalConfig` keys that claims may use.
        resync_interval: seconds between two drift checks of a claim.
        repair_interval: seconds between two full reconciliations of a claim.
        log_format: `text` or `json`.
        verbosity: from 4 on, debug messages are logged.
        list_orphans: whether to print the buckets without a claim, and end.
        flags: of this provisioner alone, by name.
    """

    provisioner_name: str
    kubeconfig: str
    master: str
    namespaces: tuple[str, ...]
    admin_secret_namespaces: tuple[str, ...]
    watch_secrets: bool
    workers: int
    leader_elect: bool
    sharding: bool
    leader_elect_namespace: str
    bind_address: Address | None
    allowed_config: frozenset[str]
    resync_interval: float
    repair_interval: float
    log_format: str
    verbosity: int
    list_orphans: bool = False
    flags: Mapping[str, str] = field(default_factory=dict)


def parse_text(text: str) -> str:
    """Returns the text unchanged."""
    return text


def parse_truth(text: str) -> bool:
    """`true` or `false`, as Go's flags spell them."""
    if text.lower() not in _TRUTHS:
        raise ValueError("must be true or false")
    return _TRUTHS[text.lower()]


def parse_count(text: str) -> int:
    """A number of workers."""
    number = _whole_number(text)
    if not 1 <= number <= _MAX_WORKERS:
        raise ValueError(f"must be between 1 and {_MAX_WORKERS}")
    return number


def parse_verbosity(text: str) -> int:
    """A level of detail."""
    return _whole_number(text)


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("must be a whole number")
    return int(text[:9])


def parse_duration(text: str) -> float:
    """Seconds of a Go duration: `90s`, `30m`, `1h30m`."""
    try:
        seconds = durationpy.from_str(text).total_seconds()
    except ValueError:
        raise ValueError("must be a duration such as 90s, 30m or 1h30m") from None
    if seconds < _MIN_RESYNC_SECONDS:
        raise ValueError("must be at least 1s")
    return seconds


def parse_address(text: str) -> Address | None:
    """`HOST:PORT`, `:PORT`, `[IPV6]:PORT`; None for an empty text."""
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535
    if not colon or not is_port or (":" in host and "[" not in text):
        raise ValueError("must be HOST:PORT, such as 0.0.0.0:8080, [::1]:8080 or :8080")
    return Address(host=host, port=int(port))


def parse_url(text: str) -> str:
    """The URL of an API server."""
    if text and not re.match(r"https?://[^/\s]", text):
        raise ValueError("must be a URL that starts with https:// or http://")
    return text


def parse_namespace(text: str) -> str:
    """The name of a namespace; may be empty."""
    if text and not _NAMESPACE.fullmatch(text):
        raise ValueError("must be the name of a namespace")
    return text


def parse_namespaces(text: str) -> tuple[str, ...]:
    """Names of namespaces, separated by commas, each once."""
    return tuple(dict.fromkeys(parse_namespace(name) for name in split(text)))


def parse_provisioner_name(text: str) -> str:
    """The name of a provisioner, as in the field `provisioner` of a StorageClass."""
    if not _PROVISIONER.fullmatch(text):
        raise ValueError("must be a provisioner name such as example.com/bucket")
    return text


def parse_keys(text: str) -> frozenset[str]:
    """Names of keys, separated by commas."""
    return frozenset(split(text))


def parse_log_format(text: str) -> str:
    """The format of the log."""
    if text not in LOG_FORMATS:
        raise ValueError(f"must be {_either(LOG_FORMATS)}")
    return text


def split(text: str) -> list[str]:
    """The parts between commas, without the empty ones."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _either(words: Sequence[str]) -> str:
    return " or ".join(words)
