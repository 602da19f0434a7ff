"""A step whose wait lasts longer than one answer, and one whose output is gone meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from holdfast.cli.connection import Connection
from holdfast.cli.steps import Step
from holdfast.errors import Gone

WAIT: dict[str, Any] = {"met": 0, "reason": "met", "next_offset": 30}
SESSION = {"id": "s", "generation": 1, "message": "m"}


class Daemon:
    """Answers a wait, and an output of which the first 20 bytes are gone."""

    def __init__(self) -> None:
        self.waits: list[dict[str, Any]] = []

    def call(self, _method: str, _path: str, *, body: dict[str, Any], **_more: Any) -> Any:
        self.waits.append(dict(body))
        return {**WAIT, "session": SESSION}

    @contextmanager
    def stream(self, _path: str, query: dict[str, Any]) -> Iterator[Any]:
        if query["offset"] < 20:
            raise Gone("gone", details={"oldest": 20})
        headers = {"Holdfast-Offset": "20", "Holdfast-Next-Offset": "24"}
        yield SimpleNamespace(headers=headers, read=lambda: b"ok\n$")


def test_it_waits_on_and_reads_again(capsys: pytest.CaptureFixture[str]) -> None:
    daemon = Daemon()
    step = Step(({"log": "x"},), read=True, timeout=None)
    first = {"wait": {**WAIT, "met": None, "reason": "timeout", "session": SESSION}, "read": {}}
    assert step.finish(cast("Connection", daemon), first, 7, 0.0, as_json=False) == 0
    assert [body["from_offset"] for body in daemon.waits] == [7]
    shown = capsys.readouterr()
    assert shown.out == "ok\n$"
    assert shown.err.splitlines() == [
        "hold: 13 bytes of output are no longer kept",
        "hold: 6 bytes more are in `hold logs`",
    ]


def test_what_is_asked_begins_where_the_output_stood() -> None:
    query = Step(("exit",), read=True, timeout=3).query(7)
    wait = {"for": ["exit"], "from_offset": 7, "timeout": 3}
    assert {name: json.loads(text) for name, text in query.items()} == {
        "wait": wait,
        "read": {"offset": 7},
    }
    assert Step((), read=False, timeout=None).query(7) == {}
