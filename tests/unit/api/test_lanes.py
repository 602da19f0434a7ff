"""However output is cut into chunks, the same lines come; and each place goes on exactly there."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

import pytest

from api.errors import BadRequest
from api.lanes import FIELDS, Filters, Lanes, Place, parse_filters
from api.lines import LINE_BYTES, Line
from api.query import Query
from supervisor.output.reader import Span, Stream

START = (Place(0), Place(0))
Run = tuple[int, bytes]


def filters(query: bytes) -> Filters:
    return parse_filters(Query(query, FIELDS))


def spans_of(runs: Sequence[Run], cuts: Sequence[int] = ()) -> list[Span]:
    """Runs of (stream, bytes) as spans, cut again at these offsets."""
    found, at = [], 0
    for stream, data in runs:
        end = at + len(data)
        borders = [at, *(cut for cut in cuts if at < cut < end), end]
        for start, stop in itertools.pairwise(borders):
            found.append(Span(start, Stream(stream), data[start - at : stop - at], 1))
        at = end
    return found


def whole(lanes: Lanes, spans: Sequence[Span]) -> list[Line]:
    return [*lanes.feed(spans), *lanes.end()]


MIXED: list[Run] = [
    (1, b"a\x1b[1m1\n\xe2"),
    (2, b"E\x1b]0;"),
    (1, b"\x82\xacb\r"),
    (2, b"t\x1b\\1\nE2"),
    (1, b"x\nc"),
]
QUERIES = [
    b"",
    b"clean=ansi",
    b"clean=cr",
    b"clean=ansi,cr",
    b"grep=x",
    b"grep=E.*1&clean=ansi",
    b"grep=b&context=1",
    b"stream=stderr",
    b"stream=stdout&clean=ansi,cr&grep=x&context=2",
]


def every_cut(size: int, most: int = 2) -> Iterator[tuple[int, ...]]:
    for count in range(most + 1):
        yield from itertools.combinations(range(1, size), count)
    yield tuple(range(1, size))


@pytest.mark.parametrize("query", QUERIES)
def test_chunk_borders_never_matter(query: bytes) -> None:
    wanted = filters(query)
    expected = whole(Lanes(wanted, START), spans_of(MIXED))
    size = sum(len(data) for _, data in MIXED)
    for cuts in every_cut(size):
        assert whole(Lanes(wanted, START), spans_of(MIXED, cuts)) == expected, cuts


def after_place(runs: Sequence[Run], places: tuple[Place, Place]) -> list[Span]:
    """What a reader that goes on at these places is given."""
    low = min(place.offset for place in places)
    found = []
    for span in spans_of(runs):
        skipped = max(0, low - span.offset)
        if skipped < len(span.data):
            data = span.data[skipped:]
            found.append(Span(span.offset + skipped, span.stream, data, span.time_ns))
    return found


@pytest.mark.parametrize("query", QUERIES)
def test_a_reader_goes_on_exactly_behind_any_line(query: bytes) -> None:
    wanted = filters(query)
    expected = whole(Lanes(wanted, START), spans_of(MIXED))
    for stop in range(len(expected)):
        lanes = Lanes(wanted, START)
        given: list[Line] = []
        for line in itertools.chain(lanes.feed(spans_of(MIXED)), lanes.end()):
            given.append(line)
            if len(given) > stop:
                break
        places = lanes.places()
        rest = whole(Lanes(wanted, places), after_place(MIXED, places))
        assert sorted_lines(given + rest) == sorted_lines(expected)


def test_random_text_with_context_goes_on_anywhere_without_loss_or_repetition() -> None:
    chance = random.Random(7)
    for _ in range(300):
        runs = [
            (chance.choice((1, 2)), bytes(chance.choices(b"ab\n\n\r", k=chance.randint(1, 9))))
            for _ in range(8)
        ]
        wanted = filters(b"grep=aa&context=%d&clean=cr" % chance.randint(0, 3))
        expected = whole(Lanes(wanted, START), spans_of(runs))
        lanes = Lanes(wanted, START)
        given: list[Line] = []
        size = sum(len(data) for _, data in runs)
        cuts = sorted(chance.sample(range(1, size), 3)) if size > 4 else []
        stop = chance.randint(0, len(runs) + 3)
        for count, span in enumerate(spans_of(runs, cuts)):
            given += lanes.feed([span])
            if count == stop:
                break
        places = lanes.places()
        rest = whole(Lanes(wanted, places), after_place(runs, places))
        assert sorted_lines(given + rest) == sorted_lines(expected)


def sorted_lines(lines: Sequence[Line]) -> list[Line]:
    """Lines of two streams may come in another order when an unfinished one was read again."""
    return sorted(lines, key=lambda line: (line.stream, line.offset))


def test_context_is_shown_once_and_of_the_same_stream() -> None:
    runs = [(1, b"1\n2\nhit\n"), (2, b"other\n"), (1, b"4\nhit\n6\n7\n8\n")]
    shown = whole(Lanes(filters(b"grep=hit&context=1"), START), spans_of(runs))
    assert [line.data for line in shown] == [b"2\n", b"hit\n", b"4\n", b"hit\n", b"6\n"]


def test_a_line_that_never_ends_comes_in_parts_that_split_nothing() -> None:
    for piece in ("x€".encode(), b"x\x1b[31m"):
        data = piece * (LINE_BYTES // len(piece) * 2 + 7)
        parts = whole(Lanes(filters(b"clean=ansi"), START), spans_of([(1, data)]))
        assert len(parts) == 3
        assert b"".join(part.data for part in parts) == data.replace(b"\x1b[31m", b"")
        assert [part.next for part in parts[:-1]] == [part.offset for part in parts[1:]]
        for part in parts:
            part.data.decode()


def test_a_progress_bar_of_any_length_is_one_line() -> None:
    states = b"".join(b"\r\x1b[2K%6d%%" % number for number in range(20_000))
    for step in (1000, 4096, LINE_BYTES * 3):
        cuts = range(step, len(states), step)
        lanes = Lanes(filters(b"clean=ansi,cr"), START)
        lines = whole(lanes, spans_of([(1, states + b"\ndone\n")], cuts))
        assert [line.data for line in lines] == [b" 19999%\n", b"done\n"]
        assert lines[0].offset == 0


def test_a_gap_ends_the_line_that_it_cut() -> None:
    lanes = Lanes(filters(b""), START)
    lines = [*lanes.feed(spans_of([(1, b"one\ntw")])), *lanes.skip(100)]
    assert [line.data for line in lines] == [b"one\n", b"tw"]
    assert lanes.places() == (Place(100), Place(100))


@pytest.mark.parametrize(
    "query",
    [
        b"clean=",
        b"clean=ansi,",
        b"clean=bold",
        b"grep=",
        b"grep=(",
        b"grep=(%3F%3Da)",
        b"context=1",
        b"grep=x&context=101",
        b"grep=x&context=-1",
        b"stream=both",
    ],
)
def test_filters_that_cannot_be_meant_are_refused(query: bytes) -> None:
    with pytest.raises(BadRequest):
        filters(query)
