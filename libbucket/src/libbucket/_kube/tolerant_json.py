"""Decodes responses of the API server, also if one object in them makes JSON decoders reject the whole.

Under `client` and `informer`. A custom resource may be nested up to ten thousand levels deep by its author, and must
not prevent the decoding of others in the same list. If decoding fails, unused deep parts are removed and invalid
characters replaced, and it is repeated. Pure: no I/O, no log.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

MAX_DEPTH: Final = 64
"""Levels of nesting that are kept: more than any used field has, and less than the limit of any decoder."""

_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_ESCAPE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)


def decode(body: bytes, kind: type[T]) -> T:
    """Decodes JSON, also with deep nesting, invalid UTF-8 or lone surrogates.

    Raises:
        msgspec.ValidationError: it is JSON of another type.
        msgspec.DecodeError: it is not JSON.
    """
    return decode_with(msgspec.json.Decoder(kind), body)


def decode_with(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """As `decode`, with an existing decoder."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError:
        raise
    except (RecursionError, UnicodeDecodeError, msgspec.DecodeError):
        return decoder.decode(repair(body))


def repair(body: bytes) -> bytes:
    """The same JSON in a form that every decoder accepts: values that are nested too deep become `null`."""
    text = _ESCAPE.sub(_whole, body.decode("utf-8", errors="replace").encode())
    return b"".join(_shallow(text))


def _whole(found: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if found.group(1) else found.group()


def _shallow(text: bytes) -> Iterator[bytes]:
    depth = kept = 0
    for found in _TOKEN.finditer(text):
        token = found.group()
        if token in b"[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                yield text[kept : found.start()] + b"null"
        elif token in b"]}":
            if depth == MAX_DEPTH + 1:
                kept = found.end()
            depth -= 1
    if depth <= MAX_DEPTH:  # else it ends within the removed part
        yield text[kept:]
