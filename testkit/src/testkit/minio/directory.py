"""An LDAP directory with nobody in it: enough for a MinIO that takes its users from LDAP.

Binds succeed, and searches find what they begin at (MinIO searches its base DN at start), and nothing below it.
Only messages of less than 128 bytes are sent, so that every length is one byte.
Source: RFC 4511, sections 4.2 and 4.5. On 127.0.0.1, gone at the end of the block.
"""

from __future__ import annotations

import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_BIND, _BIND_DONE = 0x60, 0x61
_SEARCH, _ENTRY, _SEARCH_DONE = 0x63, 0x64, 0x65
_SUCCESS: Final = bytes((0x0A, 1, 0, 0x04, 0, 0x04, 0))
"""resultCode 0, no matchedDN, no diagnosticMessage."""
_BASE_OBJECT: Final = 0


class _Directory(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while message := self._message():
            size = message[1]
            number, rest = message[: 2 + size], message[2 + size :]
            done = {_BIND: _BIND_DONE, _SEARCH: _SEARCH_DONE}.get(rest[0])
            if done is None:
                return
            if done == _SEARCH_DONE:
                self._send_base(number, _content(rest))
            self._send(number, done, _SUCCESS)

    def _send_base(self, number: bytes, search: bytes) -> None:
        """The entry that a search begins at, where it asks for no other: baseObject and scope come first."""
        name, scope = search[: 2 + search[1]], search[2 + search[1] :]
        if scope[2] == _BASE_OBJECT:
            self._send(number, _ENTRY, name + bytes((0x30, 0)))

    def _send(self, number: bytes, kind: int, content: bytes) -> None:
        body = number + bytes((kind, len(content))) + content
        self.wfile.write(bytes((0x30, len(body))) + body)

    def _message(self) -> bytes:
        """What an LDAPMessage holds: its number, and the request; empty at the end."""
        head = self.rfile.read(2)
        if len(head) < 2:
            return b""
        length = head[1]
        if length & 0x80:
            length = int.from_bytes(self.rfile.read(length & 0x7F), "big")
        return self.rfile.read(length)


def _content(element: bytes) -> bytes:
    """Of a BER element, without tag and length."""
    return element[2 + (element[1] & 0x7F) :] if element[1] & 0x80 else element[2:]


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@contextmanager
def ldap_directory() -> Iterator[dict[str, str]]:
    """Runs one, and gives the environment with which a MinIO takes its users from it."""
    with _Server(("127.0.0.1", 0), _Directory) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield {
                "MINIO_IDENTITY_LDAP_SERVER_ADDR": f"127.0.0.1:{server.server_address[1]}",
                "MINIO_IDENTITY_LDAP_SERVER_INSECURE": "on",
                "MINIO_IDENTITY_LDAP_LOOKUP_BIND_DN": "cn=reader,dc=example,dc=com",
                "MINIO_IDENTITY_LDAP_LOOKUP_BIND_PASSWORD": "of-the-directory",
                "MINIO_IDENTITY_LDAP_USER_DN_SEARCH_BASE_DN": "dc=example,dc=com",
                "MINIO_IDENTITY_LDAP_USER_DN_SEARCH_FILTER": "(uid=%s)",
            }
        finally:
            server.shutdown()
