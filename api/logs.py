"""The daemon's log: one JSON object a line, bounded on disk, without what is nobody's business.

Rules
- In the foreground to stderr (readable where that is a terminal), else to `daemon.log`, which is
  kept to two files of `FILE_BYTES` each, 0600.
- Arguments, environments and tokens are never logged: their keys are taken out here, whoever put
  them in.
- A log that cannot be written stops nobody.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final

import structlog

__all__ = ["FILE_BYTES", "configure"]

FILE_BYTES: Final = 8 * 1024 * 1024

_WITHHELD: Final = frozenset(
    {"argv", "authorization", "base_env", "command", "env", "environment", "secret", "token"}
)


def configure(path: Path | None) -> None:
    """Send all logging of the process, uvicorn's and the supervisor's too, to `path` or stderr."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _withhold,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    output = _output(path)
    output.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(for_people=path is None and sys.stderr.isatty()),
            ],
        )
    )
    logging.raiseExceptions = False
    root = logging.getLogger()
    for former in root.handlers[:]:
        root.removeHandler(former)
        former.close()
    root.addHandler(output)
    root.setLevel(logging.INFO)
    # It logs every WebSocket with its query, and its own life, which the daemon tells itself.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_is_news)


class _PrivateFile(RotatingFileHandler):
    """A rotating file that is 0600 from its first instant, whatever the umask."""

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return TextIOWrapper(os.fdopen(descriptor, "ab"), encoding=self.encoding)


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a line of uvicorn's says something.

    websockets_sansio_impl.py does not count an HTTP answer before the upgrade as the end of the
    handshake, and calls each refusal a failure of the application.
    """
    return record.msg != "ASGI callable returned without completing handshake."


def _output(path: Path | None) -> logging.Handler:
    if path is None:
        return logging.StreamHandler(sys.stderr)
    return _PrivateFile(path, maxBytes=FILE_BYTES, backupCount=1, encoding="utf-8")


def _renderers(*, for_people: bool) -> list[structlog.typing.Processor]:
    if for_people:
        return [structlog.dev.ConsoleRenderer()]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _withhold(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace what must not be logged."""
    for key in _WITHHELD & event.keys():
        event[key] = "withheld"
    return event
