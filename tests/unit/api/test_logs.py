"""The log: structured, bounded, and silent about secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import pytest
import structlog

from api import logs


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """A configured log file; logging is as before afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    for handler in before[0]:
        root.removeHandler(handler)
    path = tmp_path / "daemon.log"
    logs.configure(path)
    yield path
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    for handler in before[0]:
        root.addHandler(handler)
    root.setLevel(before[1])
    logging.raiseExceptions = before[2]
    structlog.reset_defaults()


def own_handler() -> RotatingFileHandler:
    """The one that was configured; pytest has some of its own, which write nowhere."""
    handlers = logging.getLogger().handlers
    return next(one for one in handlers if isinstance(one, RotatingFileHandler))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_is_one_json_object_with_its_time_and_origin(log: Path) -> None:
    structlog.get_logger("api.x").info("ready", pid=7)
    (line,) = lines(log)
    assert (line["event"], line["pid"], line["level"], line["logger"]) == (
        "ready",
        7,
        "info",
        "api.x",
    )
    assert line["timestamp"].endswith("Z")


def test_other_libraries_write_the_same_shape(log: Path) -> None:
    logging.getLogger("supervisor").warning("careful\nnow")
    (line,) = lines(log)
    assert (line["event"], line["level"]) == ("careful\nnow", "warning")


def test_what_is_nobodys_business_is_withheld(log: Path) -> None:
    secret = "hunter2"
    structlog.get_logger("x").info("start", argv=[secret], env={"A": secret}, token=secret)
    assert secret not in log.read_text()


def test_an_exception_is_told_with_its_traceback(log: Path) -> None:
    try:
        raise RuntimeError("broken")
    except RuntimeError as error:
        structlog.get_logger("x").error("failed", exc_info=error)
    assert "RuntimeError: broken" in lines(log)[0]["exception"]


def test_it_is_private_and_two_files_at_most(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_handler(), "maxBytes", 500)
    for number in range(50):
        structlog.get_logger("x").info("line", number=number)
    assert sorted(file.name for file in log.parent.iterdir()) == ["daemon.log", "daemon.log.1"]
    assert all(file.stat().st_size <= 700 for file in log.parent.iterdir())
    assert all(file.stat().st_mode & 0o077 == 0 for file in log.parent.iterdir())


def test_websockets_are_not_logged_with_their_query(log: Path) -> None:
    logging.getLogger("uvicorn.error").info('"WebSocket /attach?client=x" [accepted]')
    assert log.read_text() == ""


def test_a_refused_websocket_is_no_error_of_ours(log: Path) -> None:
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.error("ASGI callable returned without completing handshake.")
    uvicorn.error("something else")
    assert [line["event"] for line in lines(log)] == ["something else"]
