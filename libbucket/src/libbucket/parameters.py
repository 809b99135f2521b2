"""Parses StorageClass parameters into typed values, and reports all mistakes at once.

Used by the `parameters` module of a provisioner. Knows types of parameters (text, choice, flag, number, URL); knows no
parameter of any store.

    reader = ParameterReader(options.parameters)
    parsed = Parameters(region=reader.text("region", default="us-east-1"), secure=reader.flag("secure", default=True))
    reader.finish()          # raises InvalidParameters with every mistake
    reader.unknown()         # one warning for each parameter that was not read
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from libbucket.errors import InvalidParameters
from libbucket.types import DEFAULT_PORTS

if TYPE_CHECKING:
    from collections.abc import Mapping

_YES: Final = frozenset({"true", "yes", "1", "on"})
_NO: Final = frozenset({"false", "no", "0", "off"})
_MOST_DIGITS: Final = 18
_LONGEST_SHOWN: Final = 100
_MOST_WARNINGS: Final = 10
_CORE: Final = frozenset({"bucketName", "deletionPolicy", "purgeByAnnotation", "purgeAfter"})
"""Parameters that the core reads."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """The parts of one endpoint.

    Attributes:
        scheme: http or https.
        host: bare host name or IP address, without brackets.
        port: TCP port; the default of the scheme if the URL has none.
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def from_url(cls, url: str) -> Address:
        """Splits a URL that `ParameterReader.url` has validated."""
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
        return cls(scheme=parts.scheme, host=parts.hostname or "", port=port)

    @property
    def secure(self) -> bool:
        """Whether the endpoint uses TLS."""
        return self.scheme == "https"

    @property
    def netloc(self) -> str:
        """Host and port, with a colon between them; an IPv6 address in brackets."""
        return f"{self._bracketed}:{self.port}"

    @property
    def url(self) -> str:
        """The URL, with its port if that is not the default of the scheme."""
        is_usual = self.port == DEFAULT_PORTS.get(self.scheme)
        return f"{self.scheme}://{self._bracketed if is_usual else self.netloc}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


class ParameterReader:
    """Reads parameters one by one and collects all mistakes.

    Every method returns a value of the right type even after a mistake, so that reading continues and `finish` can
    report all mistakes.
    """

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._parameters = parameters
        self._asked: set[str] = set(_CORE)
        self._mistakes: list[str] = []

    def text(self, name: str, *, default: str = "", required: bool = False) -> str:
        """The value without surrounding white space; `default` if it is absent or empty."""
        self._asked.add(name)
        value = self._parameters.get(name, "").strip()
        if not value and required:
            self.mistake(name, "is required")
        return value or default

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false; also yes/no, on/off, 1/0, which the Go provisioners accept."""
        value = self.text(name).lower()
        if value and value not in _YES | _NO:
            self.mistake(name, f"must be true or false, not {_shown(value)}")
        return default if value not in _YES | _NO else value in _YES

    def choice(self, name: str, choices: frozenset[str], *, default: str) -> str:
        """One of `choices`; case-sensitive."""
        value = self.text(name, default=default)
        if value in choices or value == default:
            return value
        self.mistake(name, f"must be one of {', '.join(sorted(choices))}, not {_shown(value)}")
        return default

    def number(self, name: str, *, default: int, minimum: int = 0) -> int:
        """A whole number, at least `minimum`."""
        value = self.text(name)
        if not value:
            return default
        is_number = value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS
        if not is_number or int(value) < minimum:
            self.mistake(name, f"must be a whole number of at least {minimum}, not {_shown(value)}")
            return default
        return int(value)

    def url(self, name: str, *, required: bool = False) -> str:
        """An http or https URL without path, query or user; "" if it is absent."""
        value = self.text(name, required=required).rstrip("/")
        if value and not _is_endpoint_url(value):
            self.mistake(name, f"must look like https://host or https://host:port, not {_shown(value)}")
            return ""
        return value

    def secret(self, *, required: bool = False) -> tuple[str, str]:
        """Name and namespace of the administrator's Secret; either both or two empty strings."""
        name, namespace = self.text("secretName", required=required), self.text("secretNamespace", required=required)
        if not required and bool(name) != bool(namespace):
            lacking = "secretNamespace" if name else "secretName"
            self.mistake(lacking, "is required where the other one of secretName and secretNamespace is given")
        return name, namespace

    def mistake(self, name: str, problem: str) -> None:
        """Adds a mistake that the caller found, such as two parameters that contradict each other."""
        self._mistakes.append(f"{name} {problem}")

    def finish(self) -> None:
        """Raises `InvalidParameters` with every mistake found so far, if there was one."""
        if self._mistakes:
            raise InvalidParameters(self._mistakes)

    def unknown(self) -> tuple[str, ...]:
        """A warning for each parameter that was never read: likely a typing error."""
        names = sorted(set(self._parameters) - self._asked)
        said = [f"StorageClass parameter {_shown(name)} is unknown to this provisioner and ignored" for name in names]
        if len(said) > _MOST_WARNINGS:
            said[_MOST_WARNINGS:] = [
                f"{len(said) - _MOST_WARNINGS} more StorageClass parameters are unknown and ignored"
            ]
        return tuple(said)


def _shown(value: str) -> str:
    """A value for a message: quoted and truncated."""
    return repr(value) if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]!r}..."


def _is_endpoint_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        has_valid_port = parts.port is None or 0 < parts.port < 65536
    except ValueError:
        return False
    is_bare = not (parts.path or parts.query or parts.fragment or parts.username or parts.password)
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and has_valid_port and is_bare
