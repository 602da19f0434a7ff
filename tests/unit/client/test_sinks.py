from __future__ import annotations

import asyncio

import pytest

from holdfast.errors import Gap
from holdfast.frames import Missed, Output
from holdfast.reader import FULL_BYTES
from holdfast.sinks import Collector, Iteration, Readers

GAP = Missed(from_=2, to=9, reason="dropped")


def nothing() -> None:
    pass


async def test_each_stream_has_its_reader() -> None:
    readers = Readers(nothing, {})
    await readers.take(Output("stdout", 0, b"out"))
    await readers.take(Output("stderr", 3, b"err"))
    readers.end(None)
    assert await readers.streams["stdout"].read() == b"out"
    assert await readers.streams["stderr"].read() == b"err"


async def test_what_is_kept_begins_with_the_first_byte_of_either_stream() -> None:
    readers = Readers(nothing, {})
    await readers.take(Output("stdout", 0, b"out"))
    await readers.take(Output("stderr", 3, b"err"))
    assert readers.kept == 0
    await readers.streams["stdout"].read(3)
    assert readers.kept == 3
    await readers.streams["stderr"].read(3)
    assert readers.kept is None


async def test_a_full_reader_holds_up_the_attachment_until_it_is_read() -> None:
    readers = Readers(nothing, {})
    stdout = readers.streams["stdout"]
    stdout.wanted = True
    taking = asyncio.create_task(readers.take(Output("stdout", 0, b"x" * FULL_BYTES)))
    await asyncio.sleep(0)
    assert not taking.done()
    await stdout.read(1)
    await taking


async def test_a_stream_nobody_asked_for_holds_up_nothing() -> None:
    readers = Readers(nothing, {})
    readers.streams["stdout"].wanted = True
    for at in range(4):
        await readers.take(Output("stderr", at * FULL_BYTES, b"x" * FULL_BYTES))


async def test_a_gap_reaches_both_readers() -> None:
    readers = Readers(nothing, {})
    await readers.take(GAP)
    for reader in readers.streams.values():
        with pytest.raises(Gap):
            await reader.read()


async def test_callbacks_get_the_bytes_and_may_be_async() -> None:
    got: list[bytes] = []

    async def later(content: bytes) -> None:
        await asyncio.sleep(0)
        got.append(content)

    readers = Readers(nothing, {"stdout": got.append, "stderr": later})
    await readers.take(Output("stdout", 0, b"a"))
    await readers.take(Output("stderr", 1, b"b"))
    assert got == [b"a", b"b"]
    assert readers.kept is None


async def test_with_callbacks_a_gap_is_raised_or_told() -> None:
    with pytest.raises(Gap):
        await Readers(nothing, {"stdout": print}).take(GAP)
    told: list[Gap] = []
    await Readers(nothing, {"stdout": print}, told.append).take(GAP)
    assert [(gap.from_, gap.to) for gap in told] == [(2, 9)]


async def test_an_iteration_yields_both_streams_in_order() -> None:
    sink = Iteration(nothing, yield_gaps=False)
    frames = [Output("stdout", 0, b"a"), Output("stderr", 1, b"b")]
    for frame in frames:
        await sink.take(frame)
    assert sink.kept == 0
    sink.end(None)
    assert [await sink.next(), await sink.next(), await sink.next()] == [*frames, None]


async def test_an_iteration_raises_a_gap_or_yields_it() -> None:
    raising = Iteration(nothing, yield_gaps=False)
    await raising.take(GAP)
    with pytest.raises(Gap):
        await raising.next()
    yielding = Iteration(nothing, yield_gaps=True)
    await yielding.take(GAP)
    assert isinstance(await yielding.next(), Gap)


async def test_a_full_iteration_holds_up_the_attachment() -> None:
    sink = Iteration(nothing, yield_gaps=False)
    taking = asyncio.create_task(sink.take(Output("stdout", 0, b"x" * FULL_BYTES)))
    await asyncio.sleep(0)
    assert not taking.done()
    await sink.next()
    await taking


async def test_a_collector_keeps_everything_and_refuses_a_gap() -> None:
    sink = Collector()
    await sink.take(Output("stdout", 0, b"a"))
    await sink.take(Output("stderr", 1, b"b"))
    await sink.take(Output("stdout", 2, b"c"))
    assert (sink.collected("stdout"), sink.collected("stderr")) == (b"ac", b"b")
    with pytest.raises(Gap):
        await sink.take(GAP)
