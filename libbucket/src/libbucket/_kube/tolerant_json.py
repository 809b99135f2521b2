"""Decodes what the API server sends, also where one object in it is such that JSON decoders give up on the whole.

Under `client` and `informer`. A custom resource may hold what its author nests, up to ten thousand levels deep, and no
claim may stop the decoding of those beside it. What nobody reads is cut out or replaced, and decoded again; answers
that decode at once, all but every one, are not touched. Pure: no I/O, no log.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

MAX_DEPTH: Final = 64
"""Brackets in brackets that are kept: more than any field that is read has, and less than any decoder's limit."""

_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_ESCAPE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)


def decode(body: bytes, kind: type[T]) -> T:
    """The value; deep nesting, bytes that are no text and halves of characters do not hinder it.

    Raises:
        msgspec.ValidationError: it is JSON, and not of this kind.
        msgspec.DecodeError: it is no JSON, even then.
    """
    return decode_with(msgspec.json.Decoder(kind), body)


def decode_with(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """As `decode`, with a decoder that is kept."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError:
        raise
    except (RecursionError, UnicodeDecodeError, msgspec.DecodeError):
        return decoder.decode(repair(body))


def repair(body: bytes) -> bytes:
    """The same JSON as text that every decoder takes: what is nested too deep becomes `null`."""
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
    if depth <= MAX_DEPTH:  # or else it breaks off in the middle of what is cut out
        yield text[kept:]
