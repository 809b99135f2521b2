"""How to reach and authenticate to one API server, entirely in memory. Pure data.

Built by `config`, used by `transport`. Holds contents of files instead of paths; `files` detects changes. It contains
keys and tokens, so that it must never be printed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class FileReader:
    """Reads files, and remembers which version of each was read."""

    def __init__(self) -> None:
        self._versions: dict[Path, tuple[int, ...]] = {}

    def read(self, path: Path) -> bytes:
        """The content of a file.

        Raises:
            OSError: it cannot be read.
        """
        self._versions.setdefault(path, _version_of(path))  # before reading, so that a concurrent change is detected
        return path.read_bytes()

    def exists(self, path: Path) -> bool:
        """Whether the file exists; its changes are detected in either case."""
        return bool(self._versions.setdefault(path, _version_of(path)))

    def have_changed(self) -> bool:
        """Whether one of the files has changed since it was read."""
        return any(_version_of(path) != version for path, version in self._versions.items())


def _version_of(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """TLS towards the API server.

    Attributes:
        authorities: certificates to trust, as PEM; empty for those of the system.
        certificate: of the client, as PEM; empty for none.
        key: of that certificate, as PEM.
        server_name: for SNI and verification; "" for the host's.
        verify: whether the server's certificate is verified.
    """

    authorities: bytes = b""
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    server_name: str = ""
    verify: bool = True


@dataclass(frozen=True, kw_only=True)
class Address:
    """Address, TLS and proxy of an API server. Equal ones share their connections.

    Attributes:
        host: URL of the API server, without a trailing slash.
        tls: for https.
        proxy: URL of an HTTP proxy; "" for none.
    """

    host: str
    tls: TlsSettings = TlsSettings()
    proxy: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class ClientConfig:
    """Address and credentials for one API server.

    Attributes:
        address: of the API server.
        authorization: value of the Authorization header; "" for none.
        expires_at: seconds since the epoch at which the credentials expire; None if unknown.
        files: the files that were read.
    """

    address: Address
    authorization: str = field(default="", repr=False)
    expires_at: float | None = None
    files: FileReader = field(default_factory=FileReader, repr=False, compare=False)
