"""Readers: spans, gaps, holes, tails, lines, times, and one read for many."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.output.reader import LogReader, OffsetAhead, OffsetGone, TailCache
from supervisor.output.segments import segment_name
from tests.unit.output.logs import ERR, MS, OUT, lay, log_in

KIB = 1024


@contextmanager
def reader_of(folder: Path, cache: TailCache | None = None) -> Iterator[LogReader]:
    reader = LogReader(folder, cache)
    try:
        yield reader
    finally:
        reader.close()


def text(folder: Path, content: bytes) -> Path:
    with log_in(folder) as log:
        for start in range(0, len(content), 50_000):
            log.put(OUT, content[start : start + 50_000])
    return folder


def test_no_folder_is_an_empty_log(tmp_path: Path) -> None:
    with reader_of(tmp_path / "none") as reader:
        assert (reader.oldest, reader.next) == (0, 0)
        assert reader.spans(0, 100) == []
        assert reader.tail_offset(lines=3) == 0
        assert reader.offset_since(0) == 0


def test_spans_end_at_records_and_at_max_bytes(tmp_path: Path) -> None:
    with log_in(tmp_path) as log:
        log.put(OUT, b"hello", 1)
        log.put(ERR, b"oh", 2)
        log.put(OUT, b"world", 3)
    with reader_of(tmp_path) as reader:
        found = [(s.offset, s.stream, s.data, s.time_ns) for s in reader.spans(2, 8)]
        assert found == [(2, OUT, b"llo", 1), (5, ERR, b"oh", 2), (7, OUT, b"wor", 3)]
        assert reader.spans(12, 8) == []


def test_below_oldest_is_gone_and_above_next_is_ahead(tmp_path: Path) -> None:
    lay(tmp_path, 100, 10, [(100, 1, OUT)])
    with reader_of(tmp_path) as reader:
        with pytest.raises(OffsetGone) as gone:
            reader.spans(99, 10)
        assert (gone.value.oldest, gone.value.next) == (100, 110)
        with pytest.raises(OffsetAhead):
            reader.spans(111, 10)


def test_a_reader_follows_over_roll_overs(tmp_path: Path) -> None:
    got = b""
    with log_in(tmp_path, 512 * KIB) as log, reader_of(tmp_path) as reader:
        for number in range(10):
            log.put(OUT, bytes([number]) * 50_000)
            reader.next, reader.oldest = log.next, log.oldest
            got += b"".join(span.data for span in reader.spans(len(got), 1 << 20))
    assert got == b"".join(bytes([number]) * 50_000 for number in range(10))


def test_a_record_above_next_is_not_believed(tmp_path: Path) -> None:
    with log_in(tmp_path) as log, reader_of(tmp_path) as reader:
        log.put(OUT, b"out")
        log.put_nothing(ERR)
        reader.next = log.next
        assert [s.stream for s in reader.spans(0, 100)] == [OUT]
        log.put(OUT, b"more", 2 * MS)  # written over the record of ERR
        reader.next = log.next
        assert {s.stream for s in reader.spans(0, 100)} == {OUT}


def test_a_segment_dropped_before_it_was_announced_is_gone(tmp_path: Path) -> None:
    with log_in(tmp_path, 512 * KIB) as log:
        for _ in range(4):
            log.put(OUT, b"x" * 64 * KIB)
    with reader_of(tmp_path) as reader:
        os.unlink(tmp_path / segment_name(0))  # noqa: PTH108
        with pytest.raises(OffsetGone) as gone:
            reader.spans(5, 10)
        assert gone.value.oldest == 64 * KIB


def test_a_hole_of_power_loss_is_a_gap(tmp_path: Path) -> None:
    lay(tmp_path, 0, 10, [(0, 1, OUT)])
    lay(tmp_path, 15, 5, [(15, 1, ERR)])
    with reader_of(tmp_path) as reader:
        assert b"".join(s.data for s in reader.spans(0, 100)) == b"x" * 10
        with pytest.raises(OffsetGone) as gone:
            reader.spans(10, 100)
        assert gone.value.oldest == 15
        assert [s.stream for s in reader.spans(15, 100)] == [ERR]


def test_many_clients_cost_one_read_per_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text(tmp_path, b"x" * 200_000)
    cache = TailCache()
    with reader_of(tmp_path, cache) as reader:
        first = reader.spans(0, 1 << 20)

        def pread(_fd: int, _count: int, _offset: int) -> bytes:
            raise AssertionError

        second = [reader.spans(at.offset, len(at.data))[0] for at in first]
        monkeypatch.setattr(os, "pread", pread)
        again = reader.spans(65_536, 65_536)
    assert all(a.data is b.data for a, b in zip(first, second, strict=True))
    assert again[0].data is first[1].data


def test_two_logs_never_share_a_chunk(tmp_path: Path) -> None:
    cache = TailCache()
    for number in range(3):
        text(tmp_path / str(number), b"%d" % number * 100)
        with reader_of(tmp_path / str(number), cache) as reader:
            assert reader.spans(0, 100)[0].data == b"%d" % number * 100


def test_the_tail_cache_is_bounded() -> None:
    cache = TailCache(max_bytes=100)
    for at in range(10):
        cache.put((1, at, at + 1), b"x" * 30)
    assert [at for at in range(10) if cache.get((1, at, at + 1))] == [7, 8, 9]


LINES = b"one\ntwo\nthree\nfour"


@pytest.mark.parametrize(
    ("content", "lines", "expected"),
    [
        (LINES, 1, b"four"),
        (LINES, 2, b"three\nfour"),
        (LINES + b"\n", 1, b"four\n"),
        (LINES + b"\n", 2, b"three\nfour\n"),
        (LINES + b"\n\n", 2, b"four\n\n"),
        (LINES, 4, LINES),
        (LINES, 99, LINES),
        (LINES, 0, b""),
        (b"\n", 1, b"\n"),
        (b"x" * 150_000 + b"\nlast\n", 1, b"last\n"),
        (b"x" * 150_000 + b"\nlast\n", 2, b"x" * 150_000 + b"\nlast\n"),
    ],
)
def test_tail_lines(content: bytes, lines: int, expected: bytes, tmp_path: Path) -> None:
    with reader_of(text(tmp_path, content)) as reader:
        start = reader.tail_offset(lines=lines)
        assert b"".join(s.data for s in reader.spans(start, 1 << 20)) == expected


@pytest.mark.parametrize(
    ("max_bytes", "expected"),
    [(4, b"four"), (5, b"four"), (6, b"four"), (10, b"three\nfour"), (99, LINES), (3, b"our")],
)
def test_tail_bytes_begin_at_a_line(max_bytes: int, expected: bytes, tmp_path: Path) -> None:
    with reader_of(text(tmp_path, LINES)) as reader:
        start = reader.tail_offset(max_bytes=max_bytes)
        assert b"".join(s.data for s in reader.spans(start, 100)) == expected


def test_a_tail_keeps_to_its_generation_and_to_what_is_left(tmp_path: Path) -> None:
    with reader_of(text(tmp_path / "a", LINES)) as reader:
        assert reader.tail_offset(lines=9, from_offset=10) == 10
        assert reader.tail_offset(max_bytes=99, from_offset=18) == 18
    folder = tmp_path / "b"
    lay(folder, 7, 0)
    (folder / segment_name(7)).write_bytes(b"tial\nwhole\n")
    with reader_of(folder) as reader:
        assert reader.tail_offset(lines=9) == 12


def test_lines_and_bytes_together_take_the_shorter(tmp_path: Path) -> None:
    with reader_of(text(tmp_path, LINES)) as reader:
        assert reader.tail_offset(lines=1, max_bytes=99) == 14
        assert reader.tail_offset(lines=9, max_bytes=10) == 8


def test_since_finds_the_first_record_whatever_the_clock_did(tmp_path: Path) -> None:
    with log_in(tmp_path) as log:
        log.put(OUT, b"aa", 1000 * MS)
        log.put(OUT, b"bb", 3000 * MS)
        log.put(OUT, b"cc", 2000 * MS)  # the clock was set back
        log.put(OUT, b"dd", 4000 * MS)
    with reader_of(tmp_path) as reader:
        assert reader.offset_since(0) == 0
        assert reader.offset_since(2500 * MS) == 2
        assert reader.offset_since(2500 * MS, from_offset=3) == 3
        assert reader.offset_since(2500 * MS, from_offset=4) == 6
        assert reader.offset_since(5000 * MS) == 8
