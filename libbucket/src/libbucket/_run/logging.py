"""The log of the process: text for people, JSON for machines, on one stream, without secrets.

Set up once by `main` for as long as the provisioner runs, and taken down after it. Everybody else asks structlog
for a logger and binds context variables (namespace, name, reconcile id), which every line then carries. The
libraries' own logs come through here too, from WARNING on. Tracebacks never show local variables.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import structlog

from libbucket.types import SecretStr

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping, Sequence
    from typing import TextIO

    from structlog.typing import EventDict, Processor, WrappedLogger

DEBUG_VERBOSITY: Final = 4  # Kubernetes' convention: up to 3 is for operators, from 4 on for whoever looks for a bug
_RETRIES: Final = "urllib3.connectionpool"  # warns of each retry; what fails in the end is said by us, once
_DEPTH: Final = 8
_HIDDEN: Final = "**********"


@contextmanager
def logging_to(stream: TextIO, *, log_format: str, verbosity: int) -> Iterator[None]:
    """Sends every log line to a stream until the block ends.

    Args:
        stream: usually standard error; colours only where it is a terminal.
        log_format: `text` or `json`.
        verbosity: from 4 on with what is logged at DEBUG.
    """
    level = logging.DEBUG if verbosity >= DEBUG_VERBOSITY else logging.INFO
    rendering = _rendering(log_format, colors=stream.isatty())
    structlog.configure(
        processors=[*_common(), *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,  # or a logger would outlive this block
    )
    handler = _library_handler(stream, rendering)
    root, retries = logging.getLogger(), logging.getLogger(_RETRIES)
    before = root.level, retries.level
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    retries.setLevel(logging.WARNING if level == logging.DEBUG else logging.ERROR)
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        root.removeHandler(handler)
        root.setLevel(before[0])
        retries.setLevel(before[1])
        structlog.reset_defaults()


def _common() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
    ]


def _rendering(log_format: str, *, colors: bool) -> Sequence[Processor]:
    if log_format == "json":
        transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        return [structlog.processors.ExceptionRenderer(transformer), structlog.processors.JSONRenderer(default=repr)]
    return [printable, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]


def _library_handler(stream: TextIO, rendering: Sequence[Processor]) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_common(), structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    return handler


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The processor that puts asterisks in the place of every `SecretStr`, however deep."""
    return {key: _hidden(value, _DEPTH) for key, value in event.items()}


def printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The processor that keeps a line of text one line, whatever is in it: tenants choose some of the words.

    Line breaks of every kind, colours and what turns the direction of writing are escaped, as Python writes them.
    Tracebacks are not: they have lines, and are ours.
    """
    return {key: _escaped(value) if isinstance(value, str) else value for key, value in event.items()}


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _hidden(value: Any, depth: int) -> Any:
    if isinstance(value, SecretStr):
        return _HIDDEN
    if depth and isinstance(value, dict):
        return _hidden_dict(value, depth - 1)
    if depth and type(value) in {list, tuple, set, frozenset}:
        return [_hidden(item, depth - 1) for item in value]
    return value


def _hidden_dict(value: MutableMapping[Any, Any], depth: int) -> dict[Any, Any]:
    return {_hidden(key, depth): _hidden(item, depth) for key, item in value.items()}
