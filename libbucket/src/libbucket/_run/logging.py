"""The log of the process: text or JSON on one stream, without secrets.

Configured by `main` while the provisioner runs. Other modules use structlog loggers, and bind context variables
(namespace, name, reconcile id), which are on every line. Logs of libraries are included from WARNING on, at any
verbosity: below it they have requests and answers, with secrets in them. Tracebacks never show local variables.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, cast

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from libbucket._run.log_values import one_line, plain, without_queries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TextIO

    from structlog.typing import Processor

DEBUG_VERBOSITY: Final = 4  # Kubernetes' convention: up to 3 for operators, from 4 on for debugging
_RETRIES: Final = "urllib3.connectionpool"  # warns of each retry; a final failure is logged once by libbucket
_CONNECTIONS: Final = "urllib3.connection"  # repeats what it could not parse of an answer, with the URL and its query


@contextmanager
def logging_to(stream: TextIO, *, log_format: str, verbosity: int) -> Iterator[None]:
    """Configures logging to a stream until the block ends.

    Args:
        stream: usually standard error; colours only on a terminal.
        log_format: `text` or `json`.
        verbosity: from 4 on, includes DEBUG.
    """
    level = logging.DEBUG if verbosity >= DEBUG_VERBOSITY else logging.INFO
    rendering = _rendering(log_format, colors=stream.isatty())
    steady = _Steady(stream)
    structlog.configure(
        processors=[*_common(), *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.WriteLogger(cast("TextIO", steady)),
        cache_logger_on_first_use=False,  # else a logger would outlive this block
    )
    handler = _library_handler(steady, rendering)
    root, retries, connections = map(logging.getLogger, (None, _RETRIES, _CONNECTIONS))
    before = root.level, retries.level, connections.level
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    retries.setLevel(logging.WARNING if level == logging.DEBUG else logging.ERROR)
    connections.setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        root.removeHandler(handler)
        root.setLevel(before[0])
        retries.setLevel(before[1])
        connections.setLevel(before[2])
        structlog.reset_defaults()


def _common() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _rendering(log_format: str, *, colors: bool) -> Sequence[Processor]:
    if log_format == "json":
        exceptions = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
        return [exceptions, plain, structlog.processors.JSONRenderer()]
    console = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
    return [structlog.processors.format_exc_info, plain, one_line, console]


def _library_handler(stream: _Steady, rendering: Sequence[Processor]) -> logging.Handler:
    handler = _LibraryHandler(stream)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_common(), structlog.stdlib.add_logger_name, without_queries],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    return handler


class _Steady:
    """A stream that never raises: a log that cannot be written must not end a worker."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # ValueError: it is closed
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self._stream.write(text.encode("ascii", errors="backslashreplace").decode())

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


class _LibraryHandler(logging.StreamHandler[_Steady]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base's name
        """Logs one line; the base class prints the arguments, which may contain tenants' data or secrets."""
        structlog.get_logger().warning("a log line of a library could not be formatted", logger=record.name)
