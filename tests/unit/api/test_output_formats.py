from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from api.errors import BadRequest
from api.output import FIELDS, _Asked, _pieces, _shown, understand
from api.query import Query
from api.stream import StreamBroken
from supervisor.errors import Gone
from supervisor.output.reader import Span, Stream
from tests.fake_session import FakeSession


def asked(query: bytes, session: FakeSession) -> _Asked:
    return understand(Query(query, FIELDS), session)  # type: ignore[arg-type]


def shape(format_: str, stream: int | None = None, *, b64: bool = False) -> Any:
    return _shown(_Asked(0, None, stream, format_, base64=b64))


def lines(content: bytes) -> list[Any]:
    return [json.loads(line) for line in content.splitlines()]


def spans(*pieces: tuple[int, bytes]) -> list[Span]:
    at, found = 0, []
    for stream, data in pieces:
        found.append(Span(at, Stream(stream), data, 1_500_000_000))
        at += len(data)
    return found


def test_raw_is_the_bytes_of_both_streams_in_order() -> None:
    both = spans((1, b"o\xff"), (2, b"e"), (1, b"p"))
    assert b"".join(shape("raw").all(both)) == b"o\xffep"
    assert b"".join(shape("raw", 2).all(both)) == b"e"


def test_text_joins_a_character_that_another_stream_interrupted() -> None:
    both = spans((1, b"\xe2\x82"), (2, b"e\xff"), (1, b"\xac"), (1, b"\xc3"))
    assert b"".join(shape("text").all(both)).decode() == "e\ufffd€\ufffd"


def test_jsonl_says_where_when_and_what() -> None:
    both = spans((1, b"one\n"), (2, b"\xff"))
    first, second = lines(b"".join(shape("jsonl").all(both)))
    assert first == {
        "offset": 0,
        "time": "1970-01-01T00:00:01.500000Z",
        "stream": "stdout",
        "text": "one\n",
    }
    assert (second["offset"], second["stream"], second["text"]) == (4, "stderr", "\ufffd")


def test_jsonl_lines_begin_where_their_first_character_does() -> None:
    shown = lines(b"".join(shape("jsonl").all(spans((1, b"a\xe2"), (1, b"\x82"), (1, b"\xac!")))))
    assert [(one["offset"], one["text"]) for one in shown] == [(0, "a"), (1, "€!")]


def test_base64_keeps_every_byte() -> None:
    shown = lines(b"".join(shape("jsonl", b64=True).all(spans((1, b"a\xe2"), (2, b"\xff")))))
    assert [base64.b64decode(one["text"]) for one in shown] == [b"a\xe2", b"\xff"]


def test_a_gap_is_a_line_and_nothing_elsewhere() -> None:
    assert lines(shape("jsonl").gap(3, 9)) == [{"gap": {"from": 3, "to": 9}}]
    assert lines(shape("jsonl", b64=True).gap(3, 9)) == [{"gap": {"from": 3, "to": 9}}]
    assert shape("raw").gap(3, 9) is None
    assert shape("text").gap(3, 9) is None


def test_without_a_range_everything_that_is_kept_is_meant() -> None:
    session = FakeSession()
    session.prints(b"0123456789")
    session.reader.drop(3)
    found = asked(b"", session)
    assert (found.start, found.end) == (3, 10)


@pytest.mark.parametrize(
    ("query", "range_"),
    [
        (b"offset=4", (4, 10)),
        (b"offset=10", (10, 10)),
        (b"offset=4&max_bytes=3", (4, 7)),
        (b"offset=4&max_bytes=300", (4, 10)),
        (b"tail_bytes=2", (8, 10)),
        (b"follow=true", (0, None)),
        (b"offset=2&follow", (2, None)),
    ],
)
def test_ranges(query: bytes, range_: tuple[int, int | None]) -> None:
    session = FakeSession()
    session.prints(b"0123456789")
    found = asked(query, session)
    assert (found.start, found.end) == range_


@pytest.mark.parametrize(
    "query",
    [
        b"offset=11",
        b"offset=-1",
        b"offset=x",
        b"offset=1&tail_bytes=1",
        b"max_bytes=0",
        b"max_bytes=1&follow",
        b"stream=stdin",
        b"format=html",
        b"encoding=base64",
        b"encoding=base64&format=text",
        b"since=yesterday",
        b"follow=perhaps",
    ],
)
def test_what_cannot_be_meant_is_refused(query: bytes) -> None:
    session = FakeSession()
    session.prints(b"0123456789")
    with pytest.raises(BadRequest):
        asked(query, session)


def test_what_is_gone_is_refused_with_the_oldest() -> None:
    session = FakeSession()
    session.prints(b"0123456789")
    session.reader.drop(5)
    with pytest.raises(Gone) as gone:
        asked(b"offset=4", session)
    assert gone.value.details == {"oldest": 5}


@pytest.mark.parametrize(("format_", "end"), [("raw", 3), ("text", 1), ("jsonl", 1)])
def test_a_page_of_text_ends_at_a_character(format_: str, end: int) -> None:
    session = FakeSession()
    session.prints("a€".encode())
    assert asked(b"max_bytes=3&format=" + format_.encode(), session).end == end


def test_an_incomplete_character_at_the_very_end_is_shown() -> None:
    session = FakeSession()
    session.prints(b"a\xe2")
    session.exits(0)
    assert asked(b"format=text", session).end == 2


async def test_a_follow_ends_with_the_session() -> None:
    session = FakeSession()
    session.prints(b"one")
    following = _pieces(session, _Asked(0, None, None, "raw", base64=False))  # type: ignore[arg-type]
    assert await anext(following) == b"one"
    session.prints(b"two")
    session.exits(0)
    assert [piece async for piece in following if piece] == [b"two"]


async def test_a_follow_that_is_overtaken_names_the_gap() -> None:
    session = FakeSession()
    session.prints(b"one")
    session.prints(b"two")
    session.reader.drop(3)
    session.exits(0)
    asked_ = _Asked(0, None, None, "jsonl", base64=False)
    content = b"".join([piece async for piece in _pieces(session, asked_)])  # type: ignore[arg-type]
    gap, line = lines(content)
    assert gap == {"gap": {"from": 0, "to": 3}}
    assert (line["offset"], line["text"]) == (3, "two")


async def test_raw_bytes_that_cannot_name_a_gap_break_off() -> None:
    session = FakeSession()
    session.prints(b"onetwo")
    session.reader.drop(3)
    following = _pieces(session, _Asked(0, None, None, "raw", base64=False))  # type: ignore[arg-type]
    with pytest.raises(StreamBroken):
        await anext(following)
