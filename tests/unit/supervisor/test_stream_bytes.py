from __future__ import annotations

import random

from supervisor.stream_bytes import StreamBytes


def test_a_run_without_breaks_counts_on() -> None:
    kept = StreamBytes()
    kept.append(100, b"abc")
    kept.append(103, b"de")
    assert [kept.offset_at(at) for at in range(6)] == [100, 101, 102, 103, 104, 105]


def test_a_break_moves_the_offset_of_what_follows() -> None:
    kept = StreamBytes()
    kept.append(0, b"ab")
    kept.append(10, b"cd")
    assert [kept.offset_at(at) for at in range(5)] == [0, 1, 10, 11, 12]


def test_any_pieces_dropped_anywhere_keep_their_offsets() -> None:
    chance = random.Random(1)
    kept, offsets, at = StreamBytes(), list[int](), 0
    for _ in range(3000):
        at += chance.choice((0, 0, 1, 5))
        chunk = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 4)))
        kept.append(at, chunk)
        offsets += range(at, at + len(chunk))
        at += len(chunk)
        if chance.random() < 0.3:
            gone = chance.randrange(len(kept) + 1)
            kept.drop(gone)
            del offsets[:gone]
        assert len(kept) == len(offsets)
        assert [kept.offset_at(place) for place in range(len(offsets))] == offsets
        if offsets:
            assert kept.offset_at(len(offsets)) == offsets[-1] + 1
