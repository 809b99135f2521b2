"""Sanitises logged values: plain data of bounded size, without secrets, that cannot forge lines or fields.

Tenants control some of the values: names of classes, keys and values of `additionalConfig`, responses of a store. The
processors here run before the renderer. They never raise.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from libbucket.types import SecretStr

if TYPE_CHECKING:
    from collections.abc import Iterable

    from structlog.typing import EventDict, WrappedLogger

MAX_LENGTH: Final = 2048
"""Characters of one value, including the keys and items of a structure."""

MAX_TRACEBACK: Final = 16 * 1024
_MAX_DEPTH: Final = 8
_LARGEST_NUMBER: Final = 10**64
_HIDDEN: Final = "**********"
_MORE: Final = "…"
_QUERY: Final = re.compile(r"\?[^\s'\"<>?]*=[^\s'\"<>]*")


def plain(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The processor that converts values to plain, bounded data, and every `SecretStr` to asterisks."""
    return {
        key: _plain(value, _Value(MAX_TRACEBACK, hides_queries=True) if key == "exception" else _Value(MAX_LENGTH))
        for key, value in event.items()
    }


def without_queries(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The processor for messages of libraries: the query of a URL may be a credential, such as a signature."""
    return {**event, "event": _without_queries(str(event["event"]))}


def _without_queries(text: str) -> str:
    return _QUERY.sub("?...", text) if "?" in text else text


def one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The processor that prevents additional lines in the text format.

    Line breaks of every kind, colour codes and characters that change the direction of text are escaped, as in Python
    strings. Lines of a traceback are indented, so that none can look like a line of the log. A message that could be
    read as fields is quoted; the renderer quotes values.
    """
    escaped = {key: _escaped(value) if isinstance(value, str) else value for key, value in event.items()}
    if "=" in str(escaped.get("event")):
        escaped["event"] = repr(escaped["event"])
    if isinstance(event.get("exception"), str):
        escaped["exception"] = "\n".join(f"    {_escaped(line)}" for line in event["exception"].splitlines())
    return escaped


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _plain(value: Any, converter: _Value) -> Any:
    try:
        return converter.of(value)
    except Exception as error:  # noqa: BLE001 - a line must not be lost, nor a thread end, because of what is in it
        return f"<{type(value).__name__} without a representation: {type(error).__name__}>"


class _Value:
    """Converts one value to plain data, up to a total length.

    Args:
        length: maximum number of characters.
        hides_queries: whether the queries of URLs are left out, as in a traceback: libraries name URLs in errors.
    """

    def __init__(self, length: int, *, hides_queries: bool = False) -> None:
        self._left = length
        self._hides_queries = hides_queries

    def of(self, value: Any, depth: int = _MAX_DEPTH) -> Any:
        """The value as JSON data."""
        if isinstance(value, SecretStr):
            return self._cut(_HIDDEN)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._cut(str(value))
        if isinstance(value, (int, float)):
            return self._number(value)
        if isinstance(value, dict):
            return self._dict(value, depth - 1) if depth else _MORE
        if isinstance(value, (list, tuple, set, frozenset)):
            return self._list(value, depth - 1) if depth else _MORE
        return self._cut(repr(value))

    def _cut(self, text: str) -> str:
        text = _without_queries(text) if self._hides_queries else text
        kept = text[: max(self._left, 0)]
        self._left -= len(kept)
        if len(kept) < len(text):
            kept += f"{_MORE} (+{len(text) - len(kept):,} characters)"
        return kept.encode(errors="backslashreplace").decode()  # a lone surrogate cannot be encoded

    def _number(self, value: float) -> Any:
        self._left -= 1
        if isinstance(value, int):
            return value if abs(value) < _LARGEST_NUMBER else "a number of more than 64 digits"
        return value if math.isfinite(value) else repr(value)

    def _list(self, items: Iterable[Any], depth: int) -> list[Any]:
        found: list[Any] = []
        for item in items:
            if self._left <= 0:
                found.append(_MORE)
                break
            self._left -= 1
            found.append(self.of(item, depth))
        return found

    def _dict(self, items: dict[Any, Any], depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in items.items():
            if self._left <= 0:
                found[_MORE] = _MORE
                break
            self._left -= 1
            found[str(self.of(key, depth))] = self.of(item, depth)
        return found
