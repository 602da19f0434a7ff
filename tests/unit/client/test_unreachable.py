"""A daemon that does not answer is told of in words, with the way to start one."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.address import resolve
from holdfast.transport import Transport


def test_the_own_daemon_is_one_that_a_command_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HOLDFAST_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path))
    missing = FileNotFoundError(2, "No such file or directory")
    message = Transport(resolve()).unreachable(missing).message
    assert message.endswith("No such file or directory; any `hold` command starts one")
    assert "Errno" not in message


def test_another_daemon_is_not() -> None:
    message = Transport(resolve("unix:///elsewhere")).unreachable(TimeoutError()).message
    assert message == "no daemon answers at unix:///elsewhere: TimeoutError"
