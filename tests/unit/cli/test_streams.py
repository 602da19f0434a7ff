"""Output, events and keys pass through unchanged, whatever pieces they come in."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import click
import pytest

from holdfast.cli.commands.events import line_of, parse_events
from holdfast.cli.commands.logs import Printer, pieces, since_of
from holdfast.cli.connection import Connection
from holdfast.cli.failure import Failure
from holdfast.cli.keyboard import Keyboard
from holdfast.cli.screen import Screen
from holdfast.errors import Gone, NotReachable
from holdfast.frames import Output

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Answer:
    """What `lines_of` reads: some content, in pieces, and nothing missing."""

    length = None

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read1(self, n: int) -> bytes:
        piece, self.content = self.content[: min(n, 7)], self.content[min(n, 7) :]
        return piece


class Breaking:
    """A connection whose answers are given, each a list of lines and how it ended."""

    was_reached = True

    def __init__(self, *answers: tuple[list[bytes], Exception | None]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def stream(self, _path: str, query: dict[str, Any]) -> AbstractContextManager[Answer]:
        self.asked.append(query)
        return self._answer()

    @contextmanager
    def _answer(self) -> Iterator[Answer]:
        lines, error = self.answers.pop(0)
        yield Answer(b"".join(lines))
        if error is not None:
            raise error


def line(offset: int, content: bytes, stream: str = "stdout") -> bytes:
    text = base64.b64encode(content).decode()
    return (
        f'{{"offset":{offset},"time":"2026-01-02T03:04:05Z","stream":"{stream}","text":"{text}"}}\n'
    ).encode()


def read(connection: Breaking) -> list[dict[str, Any]]:
    query = {"tail_lines": 5, "offset": None}
    return list(pieces(cast("Connection", connection), "id", query))


@pytest.mark.parametrize("content", [b"a", b"ab", b"abc", b"abcd", b"\xff\x00"])
def test_logs_go_on_behind_the_last_byte_after_a_broken_connection(content: bytes) -> None:
    connection = Breaking(
        ([line(10, content)], NotReachable("gone")), ([line(10 + len(content), b"z")], None)
    )
    assert len(read(connection)) == 2
    assert connection.asked[0]["tail_lines"] == 5
    assert connection.asked[1]["offset"] == 10 + len(content)
    assert connection.asked[1]["tail_lines"] is None


def test_logs_say_what_was_dropped_meanwhile() -> None:
    connection = Breaking(
        ([line(0, b"abc")], NotReachable("gone")),
        ([], Gone("gone", details={"oldest": 9})),
        ([line(9, b"z")], None),
    )
    assert read(connection)[1] == {"gap": {"from": 3, "to": 9}}
    assert connection.asked[2]["offset"] == 9


def shown(
    capfdbinary: pytest.CaptureFixture[bytes], *lines: bytes, **how: bool
) -> tuple[bytes, bytes]:
    printer = Printer(**{"timestamps": False, "safe": False, **how})
    for piece in pieces(cast("Connection", Breaking((list(lines), None))), "id", {}):
        printer.show(piece)
    printer.end()
    captured = capfdbinary.readouterr()
    return captured.out, captured.err


def test_logs_keep_streams_apart_and_bytes_as_they_are(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    out = shown(capfdbinary, line(0, b"\x1b[31m\xff\n"), line(6, b"err\r", "stderr"))
    assert out == (b"\x1b[31m\xff\n", b"err\r")


def test_safe_logs_escape_controls_and_keep_lines(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    out, _ = shown(capfdbinary, line(0, b"a\x1b[3"), line(5, b"1m\xff\nlast"), safe=True)
    assert out == b"a\\e[31m\\xff\nlast"


def test_times_stand_before_whole_lines(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    out, _ = shown(capfdbinary, line(0, b"on"), line(2, b"e\ntwo\n"), timestamps=True)
    assert out == b"2026-01-02T03:04:05Z one\n2026-01-02T03:04:05Z two\n"


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("90s", "2026-01-02T03:02:35+00:00"),
        ("10m", "2026-01-02T02:54:05+00:00"),
        ("1d", "2026-01-01T03:04:05+00:00"),
        ("2026-01-01T00:00:00Z", None),
    ],
)
def test_since_is_a_time_or_an_age(text: str, since: str | None) -> None:
    found = datetime.fromisoformat(since_of(text, NOW))
    assert found == datetime.fromisoformat(since or text)


def test_since_refuses_what_is_neither() -> None:
    for wrong in ("", "yesterday", "5", "-5m"):
        with pytest.raises(click.UsageError):
            since_of(wrong, NOW)


def test_events_are_read_from_a_stream() -> None:
    stream = [b": hello\n", b"\n", b"id: 1\n", b"event: a.b\n", b'data: {"id":1}\n', b"\n"]
    assert list(parse_events(iter(stream))) == [{"id": 1}]


def test_a_cursor_that_is_too_old_ends_the_stream_in_words() -> None:
    stream = [b"event: gone\n", b'data: {"message":"Too old."}\n', b"\n"]
    with pytest.raises(Failure, match="Too old"):
        list(parse_events(iter(stream)))


def test_an_event_is_one_line_without_controls() -> None:
    event = {"time": "2026-01-02T03:04:05.678901Z", "type": "session.exited", "name": "w\x1b",
             "session": "id", "node": "n", "data": {"exit_code": 1}}  # fmt: skip
    assert line_of(event) == "03:04:05.678 session.exited w\\e exit_code=1"


async def collected(fd: int) -> bytes:
    """All that a Keyboard reads, with room again only when it is resumed."""
    found: list[bytes] = []
    changed = asyncio.Event()
    room = True

    def typed(content: bytes) -> None:
        nonlocal room
        found.append(content)
        room = False
        changed.set()

    keyboard = Keyboard(typed, lambda: room, fd)
    while not found or found[-1]:
        room = True
        changed.clear()
        keyboard.resume()
        await changed.wait()
    keyboard.close()
    return b"".join(found)


async def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    content = os.urandom(200_000)
    (tmp_path / "input").write_bytes(content)
    fd = os.open(tmp_path / "input", os.O_RDONLY)
    try:
        assert await collected(fd) == content
    finally:
        os.close(fd)


async def test_a_pipe_is_read_to_its_end_and_stays_blocking() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"x" * 1000)
    os.close(writer)
    try:
        assert await collected(reader) == b"x" * 1000
        assert os.get_blocking(reader)
    finally:
        os.close(reader)


async def test_a_closed_stdin_is_an_empty_one() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    os.close(reader)
    assert await collected(reader) == b""


async def shown_on_screen(
    capfdbinary: pytest.CaptureFixture[bytes], *outputs: Output, **how: bool
) -> tuple[bytes, bytes]:
    screen = Screen(**{"is_terminal": True, **how})
    for output in outputs:
        await screen.show(output)
    await screen.live()
    screen.close()
    captured = capfdbinary.readouterr()
    return captured.out, captured.err


async def test_a_replay_on_a_terminal_asks_nothing(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    out = await shown_on_screen(capfdbinary, Output("stdout", 0, b"a\x1b[6nb\x1b["))
    assert out == (b"ab\x1b[", b"")


async def test_a_replay_in_a_pipe_is_unchanged(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    outputs = Output("stdout", 0, b"a\x1b[6n"), Output("stderr", 5, b"err")
    out = await shown_on_screen(capfdbinary, *outputs, is_terminal=False)
    assert out == (b"a\x1b[6n", b"err")


async def test_a_replay_begins_at_a_line(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    outputs = Output("stdout", 7, b"cut"), Output("stdout", 10, b" off\nwhole")
    out, _ = await shown_on_screen(capfdbinary, *outputs, cut_first_line=True)
    assert out == b"whole"


async def test_a_replay_of_everything_is_not_cut(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    out, _ = await shown_on_screen(capfdbinary, Output("stdout", 0, b"one"), cut_first_line=True)
    assert out == b"one"


async def test_what_is_live_may_ask(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    screen = Screen(is_terminal=True)
    await screen.live()
    await screen.show(Output("stdout", 0, b"\x1b[6n"))
    screen.close()
    assert capfdbinary.readouterr().out == b"\x1b[6n"
