from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from supervisor.log_search import LogSearch, Search
from tests.fake_session import FakeReader


def pattern(text: bytes) -> Search:
    compiled = re.compile(text, re.MULTILINE)

    def search(lines: bytes) -> tuple[int, int] | None:
        found = compiled.search(lines)
        return found and found.span()

    return search


def search_all(reader: Any, text: bytes, **options: Any) -> Mapping[str, Any] | None:
    search = LogSearch(reader, pattern(text), options.pop("offset", 0), **options)
    found = search.look()
    while found is None and search.behind:
        found = search.look()
    return found


@pytest.mark.parametrize("cut", range(1, 28))
def test_a_match_is_found_wherever_the_output_was_cut(cut: int) -> None:
    text = b"starting\nready on port 80\r\nbye\n"
    reader = FakeReader()
    search = LogSearch(reader, pattern(rb"port \d+"), 0)  # type: ignore[arg-type]
    found = None
    for piece in (text[:cut], text[cut:]):
        reader.append(piece)
        found = found or search.look()
    assert found is not None
    assert found["offset"] == text.index(b"port")
    assert found["match"].startswith("port 8")


def test_the_evidence_holds_the_whole_line() -> None:
    reader = FakeReader()
    reader.append("ä first\nlistening on 80 now\r\nlater\n".encode())
    found = search_all(reader, rb"on \d+")
    assert found == {
        "offset": len("ä first\nlistening ".encode()),
        "line": "listening on 80 now",
        "match": "on 80",
        "stream": "stdout",
    }


def test_lines_of_two_streams_do_not_mix() -> None:
    reader = FakeReader()
    for data, stream in ((b"rea", 1), (b"xx\n", 2), (b"dy\n", 1)):
        reader.append(data, stream)
    found = search_all(reader, rb"ready")
    assert found is not None
    assert (found["offset"], found["line"]) == (0, "ready")
    assert search_all(reader, rb"reaxx") is None


def test_one_stream_can_be_asked_for() -> None:
    reader = FakeReader()
    reader.append(b"ready\n", 1)
    assert search_all(reader, rb"ready", stream=2) is None
    reader.append(b"ready\n", 2)
    found = search_all(reader, rb"ready", stream=2)
    assert found is not None
    assert (found["offset"], found["stream"]) == (6, "stderr")


def test_a_prompt_is_found_before_its_line_ends() -> None:
    reader = FakeReader()
    reader.append(b"password: ")
    assert search_all(reader, rb"password: ") is not None


def test_it_begins_at_its_offset() -> None:
    reader = FakeReader()
    reader.append(b"ready\nready\n")
    found = search_all(reader, rb"ready", offset=1)
    assert found is not None
    assert found["offset"] == 6


def test_it_ends_at_its_limit() -> None:
    reader = FakeReader()
    reader.append(b"one\nready\n")
    search = LogSearch(reader, pattern(rb"ready"), 0)  # type: ignore[arg-type]
    search.limit = 6
    assert search.look() is None
    assert not search.behind


def test_what_the_ring_dropped_is_passed_over() -> None:
    reader = FakeReader()
    reader.append(b"one\ntwo\nready\n")
    reader.drop(8)
    found = search_all(reader, rb"ready")
    assert found is not None
    assert found["offset"] == 8


def test_one_look_reads_a_bounded_part() -> None:
    reader = FakeReader()
    reader.append(b"x" * 1_000_000 + b"\nready\n")
    search = LogSearch(reader, pattern(rb"^ready"), 0)  # type: ignore[arg-type]
    assert search.look() is None
    assert search.behind
    assert search_all(reader, rb"^ready") is not None


def test_a_line_without_end_keeps_a_bounded_rest() -> None:
    reader = FakeReader()
    search = LogSearch(reader, pattern(rb"ready"), 0)  # type: ignore[arg-type]
    for _ in range(40):
        reader.append(b"x" * 65536)
        assert search.look() is None
    assert sum(map(len, search._lines.values())) <= 65536
