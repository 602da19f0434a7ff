from __future__ import annotations

import asyncio

import pytest

from holdfast.errors import Gap, HoldfastError
from holdfast.reader import FULL_BYTES, Reader


def reader(*chunks: bytes, ended: bool = True) -> Reader:
    found = Reader(lambda: None)
    found.wanted = True
    offset = 0
    for chunk in chunks:
        found.feed(offset, chunk)
        offset += len(chunk)
    if ended:
        found.end()
    return found


async def test_read_gives_what_is_there_and_at_most_n() -> None:
    stream = reader(b"abc", b"def")
    assert await stream.read(2) == b"ab"
    assert await stream.read(10) == b"c"
    assert await stream.read(10) == b"def"
    assert await stream.read(10) == b""
    assert stream.at_eof()


async def test_read_without_a_number_gives_everything() -> None:
    assert await reader(b"abc", b"def").read() == b"abcdef"


async def test_read_of_nothing_is_nothing() -> None:
    assert await reader(ended=False).read(0) == b""


async def test_a_line_may_come_in_pieces_and_a_piece_hold_many_lines() -> None:
    stream = reader(b"a", b"b\nc\n\nd", b"e")
    lines = [line async for line in stream]
    assert lines == [b"ab\n", b"c\n", b"\n", b"de"]


async def test_a_line_without_end_comes_in_pieces_of_a_mebibyte() -> None:
    stream = reader(b"x" * FULL_BYTES, b"yy\n")
    assert await stream.readline() == b"x" * FULL_BYTES
    assert await stream.readline() == b"yy\n"


async def test_a_read_waits_for_bytes() -> None:
    stream = reader(ended=False)
    reading = asyncio.create_task(stream.read(5))
    await asyncio.sleep(0)
    assert not reading.done()
    stream.feed(0, b"now")
    assert await reading == b"now"


async def test_a_gap_is_raised_once_at_its_place() -> None:
    stream = reader(b"ab", ended=False)
    stream.feed_gap(Gap(2, 9, "dropped"))
    stream.feed(9, b"c\n")
    stream.end()
    assert await stream.read() == b"ab"
    with pytest.raises(Gap) as caught:
        await stream.read()
    assert (caught.value.from_, caught.value.to) == (2, 9)
    assert await stream.read() == b"c\n"


async def test_a_line_before_a_gap_is_given_before_it() -> None:
    stream = reader(b"half", ended=False)
    stream.feed_gap(Gap(4, 9, "dropped"))
    assert await stream.readline() == b"half"
    with pytest.raises(Gap):
        await stream.readline()


async def test_what_ended_the_attachment_is_raised_behind_the_last_byte() -> None:
    stream = reader(b"last", ended=False)
    stream.end(HoldfastError("gone"))
    assert await stream.read() == b"last"
    with pytest.raises(HoldfastError, match="gone"):
        await stream.read()


async def test_the_offset_of_the_first_unread_byte_moves_with_reading() -> None:
    stream = reader(b"abc", b"def")
    assert stream.first_offset == 0
    await stream.read(4)
    assert stream.first_offset == 3
    await stream.read()
    assert stream.first_offset is None


async def test_a_wanted_stream_is_full_at_a_mebibyte() -> None:
    stream = reader(b"x" * FULL_BYTES)
    assert stream.full
    await stream.read(1)
    assert not stream.full


async def test_a_stream_nobody_asked_for_keeps_its_end_and_names_what_is_missing() -> None:
    stream = Reader(lambda: None)
    half = FULL_BYTES // 2
    for at in range(5):
        stream.feed(at * half, bytes([at]) * half)
    stream.end()
    with pytest.raises(Gap) as caught:
        await stream.read()
    assert (caught.value.from_, caught.value.to) == (0, 3 * half)
    assert await stream.read() == bytes([3]) * half + bytes([4]) * half


async def test_reading_says_that_there_is_room() -> None:
    said: list[int] = []
    stream = Reader(lambda: said.append(1))
    stream.wanted = True
    stream.feed(0, b"ab")
    await stream.read(1)
    await stream.read(1)
    assert said == [1, 1]
