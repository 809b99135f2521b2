"""Creates the TLS context for an API server from memory: no key and no certificate stays in a file.

Under `transport`. OpenSSL reads authorities from memory, but a client's certificate and key only from a path: an
anonymous file in memory, or, if the system has none, a file in a private directory that is removed before the first
connection.
"""

from __future__ import annotations

import os
import re
import ssl
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from urllib3.util.ssl_ import create_urllib3_context

from libbucket._kube.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libbucket._kube.client_config import TlsSettings

_CERTIFICATE: Final = re.compile(rb"-----BEGIN (X509 )?CERTIFICATE-----.+?-----END (X509 )?CERTIFICATE-----", re.DOTALL)


def build_context(tls: TlsSettings) -> ssl.SSLContext:
    """The context for connections to the API server.

    Raises:
        Misconfigured: a certificate or key is invalid; the message names it.
    """
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE)
    if tls.authorities:
        _trust(context, tls.authorities)
    else:
        context.load_default_certs()
    if tls.certificate:
        _present(context, tls)
    return context


def _trust(context: ssl.SSLContext, authorities: bytes) -> None:
    # Trusted as given, as Go does: each certificate of a configured bundle is an anchor, also one of a private
    # authority without the extensions that Python 3.13 demands by default (key usage, key identifiers). Chain, dates
    # and host name are verified as always.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    certificates = b"\n".join(found.group() for found in _CERTIFICATE.finditer(authorities))
    if not certificates:
        raise Misconfigured("the certificate authority holds no certificate in PEM format")
    try:
        context.load_verify_locations(cadata=certificates.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise Misconfigured(f"the certificate authority can't be read ({_brief(error)})") from error


def _present(context: ssl.SSLContext, tls: TlsSettings) -> None:
    try:
        with _private_file(tls.certificate + b"\n" + tls.key) as path:
            context.load_cert_chain(path, password=_no_password)
    except ssl.SSLError as error:
        reason = "the key does not belong to it" if error.reason == "KEY_VALUES_MISMATCH" else _brief(error)
        raise Misconfigured(f"the client certificate and its key can't be used ({reason})") from error
    except OSError as error:
        raise Misconfigured(
            f"the client certificate cannot be loaded: no private file can be created ({_brief(error)}); "
            "give the process a TMPDIR that it may write to"
        ) from error


def _no_password() -> str:
    raise Misconfigured("the client key is encrypted; use an unencrypted key")


@contextmanager
def _private_file(content: bytes) -> Iterator[str]:
    """A path at which only this process can read the content, until the block ends."""
    descriptor = _file_in_memory()
    if descriptor is not None:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor is no path
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
        return
    with tempfile.TemporaryDirectory(prefix="libbucket-") as directory:  # mode 0700
        path = Path(directory) / "client.pem"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
            file.write(content)
        yield str(path)


def _file_in_memory() -> int | None:
    """A descriptor; None if the system has no such files, or they cannot be opened by a path."""
    try:
        descriptor = os.memfd_create("client.pem", os.MFD_CLOEXEC)
    except (AttributeError, OSError):
        return None
    if os.access(f"/proc/self/fd/{descriptor}", os.R_OK):
        return descriptor
    os.close(descriptor)
    return None


def _brief(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
