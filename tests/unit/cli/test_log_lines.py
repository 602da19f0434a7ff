"""Lines of many sessions: read once through broken connections, printed behind their names."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import pytest

from holdfast.cli.connection import Connection
from holdfast.cli.log_lines import LinePrinter, told_lines
from holdfast.errors import NotReachable


def line(content: bytes, **fields: Any) -> dict[str, Any]:
    text = base64.b64encode(content).decode()
    base = {"time": "T", "session": "id1", "name": "web", "stream": "stdout", "offset": 0}
    return {**base, "line": text, **fields}


class Answers:
    """A connection whose answers break off, or end well (the last one)."""

    was_reached = True

    def __init__(self, *answers: list[dict[str, Any]]) -> None:
        self._answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    @contextmanager
    def stream(self, path: str, query: dict[str, Any]) -> Iterator[Any]:
        assert path == "/v1/logs"
        self.asked.append(query)
        content = b"".join(json.dumps(one).encode() + b"\n" for one in self._answers.pop(0))
        response = io.BytesIO(content)
        response.length = None  # type: ignore[attr-defined]
        yield response
        if self._answers:
            raise NotReachable("gone")


def test_lines_come_once_through_a_broken_connection() -> None:
    first = [{"cursor": "c0"}, line(b"a", cursor="c1"), line(b"b", offset=2)]
    answers = Answers(first, [line(b"b", offset=2), line(b"c", offset=4)])
    told = list(told_lines(cast("Connection", answers), {"session": ["id1"], "since": "x"}))
    assert [base64.b64decode(one["line"]) for one in told] == [b"a", b"b", b"c"]
    assert answers.asked[0]["since"] == "x"
    assert (answers.asked[1]["since"], answers.asked[1]["cursor"]) == (None, "c1")


def shown(
    capfdbinary: pytest.CaptureFixture[bytes], *lines: dict[str, Any], **how: bool
) -> tuple[bytes, bytes]:
    printer = LinePrinter(**{"names": True, "timestamps": False, "safe": False, **how})
    for one in lines:
        printer.show(one)
    captured = capfdbinary.readouterr()
    return captured.out, captured.err


def test_each_line_stands_behind_its_name_on_its_own_stream(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    lines = line(b"\xff"), line(b"no end", session="longid", name=None, partial=True)
    out, err = shown(capfdbinary, *lines, line(b"bad", stream="stderr"))
    assert out == b"web | \xff\nlongid | no end\n"
    assert err == b"web    | bad\n"


def test_one_session_has_no_name_and_its_bytes_are_unchanged(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    lines = line(b"\x1b[1m\xff"), line(b"end", partial=True)
    assert shown(capfdbinary, *lines, names=False)[0] == b"\x1b[1m\xff\nend"
    out, _ = shown(capfdbinary, *lines, names=False, safe=True, timestamps=True)
    assert out == b"T \\e[1m\\xff\nT end"


def test_a_gap_names_its_session(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    gap = {"gap": {"session": "id1", "name": "web", "from": 2, "to": 12}}
    assert b"web: 10 bytes of output are no longer kept" in shown(capfdbinary, gap)[1]


def all_of(master: int) -> bytes:
    """What a terminal was given in all; a read may bring a part, and the end is EIO."""
    found = b""
    with suppress(OSError):
        while piece := os.read(master, 1000):
            found += piece
    return found


@pytest.mark.parametrize("no_color", ["", "1"])
def test_names_have_one_colour_each_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, no_color: str
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    master, slave = os.openpty()
    try:
        with os.fdopen(slave, "w") as terminal:
            monkeypatch.setattr("sys.stdout", terminal)
            printer = LinePrinter(names=True, timestamps=False, safe=False)
            for one in (line(b"a"), line(b"b", session="id2", name="api"), line(b"c")):
                printer.show(one)
        out = all_of(master)
    finally:
        os.close(master)
    if no_color:
        assert out == b"web | a\r\napi | b\r\nweb | c\r\n"
    else:
        assert [part[:3] for part in out.split(b"\x1b[") if b"|" in part] == [
            b"36m",
            b"33m",
            b"36m",
        ]
        assert out.count(b"\x1b[m\r\n") == 3
