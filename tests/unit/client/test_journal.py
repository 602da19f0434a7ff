from __future__ import annotations

import random

import pytest

from holdfast.errors import ProtocolBroken
from holdfast.frames import INPUT_BYTES
from holdfast.journal import COMPARED_BYTES, InputJournal

Frames = list[tuple[int, bytes]]
FAR = 1 << 40


def frames(journal: InputJournal) -> Frames:
    found: Frames = []
    while frame := journal.next_frame():
        found.append(frame)
    return found


def connected(next_: int = 0, content: bytes = b"", limit: int = FAR) -> InputJournal:
    journal = InputJournal()
    journal.write(content)
    journal.connected(next_)
    journal.accepted(next_, limit)
    return journal


def test_nothing_is_sent_before_the_server_named_an_offset() -> None:
    journal = InputJournal()
    journal.write(b"early")
    assert journal.next_frame() is None
    assert not journal.all_sent


def test_input_begins_where_the_server_says() -> None:
    assert frames(connected(100, b"abc")) == [(100, b"abc")]


def test_each_byte_is_sent_once_per_connection() -> None:
    journal = connected(0, b"abc")
    assert frames(journal) == [(0, b"abc")]
    journal.write(b"def")
    assert frames(journal) == [(3, b"def")]
    assert journal.all_sent


def test_much_input_goes_in_frames_of_64_kib() -> None:
    sent = frames(connected(0, b"x" * (2 * INPUT_BYTES + 1)))
    assert [(offset, len(content)) for offset, content in sent] == [
        (0, INPUT_BYTES),
        (INPUT_BYTES, INPUT_BYTES),
        (2 * INPUT_BYTES, 1),
    ]


def test_nothing_goes_beyond_the_limit() -> None:
    journal = connected(0, b"abcdef", limit=4)
    assert frames(journal) == [(0, b"abcd")]
    journal.accepted(4, 5)
    assert frames(journal) == [(4, b"e")]


def test_a_limit_never_goes_back() -> None:
    journal = connected(0, b"abcdef", limit=4)
    journal.accepted(0, 2)
    assert frames(journal) == [(0, b"abcd")]


def test_confirmed_bytes_are_let_go() -> None:
    journal = connected(0, b"abcdef")
    frames(journal)
    journal.accepted(4, FAR)
    assert (len(journal), journal.base) == (2, 4)


def test_after_a_lost_connection_what_did_not_arrive_is_sent_again() -> None:
    journal = connected(0, b"abcdef")
    frames(journal)
    journal.connected(0)
    journal.accepted(0, FAR)
    assert frames(journal) == [(0, b"abcdef")]


def test_what_arrived_unconfirmed_is_repeated_at_its_offset_and_then_the_rest() -> None:
    journal = connected(0, b"abcdef")
    frames(journal)
    journal.connected(4)
    journal.accepted(4, FAR)
    assert frames(journal) == [(0, b"abcd"), (4, b"ef")]


def test_repeats_need_no_limit_since_the_server_has_them() -> None:
    journal = connected(0, b"abcdef")
    frames(journal)
    journal.connected(4)
    assert frames(journal) == [(0, b"abcd")]
    assert len(journal) == 2


def test_only_what_the_server_can_compare_is_repeated() -> None:
    size = 2 * COMPARED_BYTES
    journal = connected(0, b"x" * size)
    frames(journal)
    journal.connected(size)
    sent = frames(journal)
    assert sent[0][0] == COMPARED_BYTES
    assert sum(len(content) for _, content in sent) == COMPARED_BYTES
    assert len(journal) == 0


def test_a_confirmation_from_before_the_repeats_lets_nothing_go() -> None:
    journal = connected(0, b"abcdef")
    frames(journal)
    journal.connected(6)
    journal.accepted(6, FAR)
    assert len(journal) == 6
    assert frames(journal) == [(0, b"abcdef")]
    assert len(journal) == 0


def test_bytes_never_sent_go_behind_the_input_of_another_client() -> None:
    journal = connected(0, b"abc")
    frames(journal)
    journal.accepted(3, FAR)
    journal.write(b"def")
    journal.accepted(10, FAR)
    assert frames(journal) == [(10, b"def")]


def test_bytes_sent_keep_their_offset_though_another_client_wrote_there() -> None:
    journal = connected(0, b"abc")
    frames(journal)
    journal.write(b"def")
    journal.connected(10)
    journal.accepted(10, FAR)
    assert frames(journal) == [(0, b"abc"), (10, b"def")]


def test_a_server_that_lost_confirmed_input_breaks_the_protocol() -> None:
    journal = connected(0, b"abc")
    frames(journal)
    journal.accepted(3, FAR)
    with pytest.raises(ProtocolBroken):
        journal.connected(2)


def test_a_confirmation_without_a_connection_breaks_the_protocol() -> None:
    with pytest.raises(ProtocolBroken):
        InputJournal().accepted(1, 2)


def test_at_the_end_what_the_server_has_needs_no_comparison() -> None:
    journal = connected(0, b"abcdef")
    frames(journal)
    journal.connected(4)
    journal.settle()
    assert (len(journal), journal.base) == (2, 4)


def test_abandoned_input_is_never_sent() -> None:
    journal = connected(0, b"abc")
    journal.abandon()
    assert frames(journal) == []
    journal.connected(0)
    assert frames(journal) == []


def test_who_abandoned_input_believes_the_server_where_it_ends() -> None:
    journal = connected(0, b"abc")
    frames(journal)
    journal.abandon()
    journal.connected(1)
    journal.accepted(1, FAR)
    assert (journal.base, frames(journal)) == (1, [])


@pytest.mark.parametrize("seed", range(50))
def test_input_arrives_once_through_connections_lost_anywhere(seed: int) -> None:
    chance = random.Random(seed)
    journal = InputJournal()
    written, accepted = b"", b""
    while len(accepted) < 300_000:
        piece = chance.randbytes(chance.randrange(1, 40_000))
        written += piece
        journal.write(piece)
        journal.connected(len(accepted))
        journal.accepted(len(accepted), len(accepted) + chance.randrange(100_000))
        while (frame := journal.next_frame()) and chance.random() > 0.2:
            offset, content = frame
            assert offset <= len(accepted)
            overlap = min(len(accepted) - offset, len(content))
            assert accepted[offset : offset + overlap] == content[:overlap]
            accepted += content[overlap:]
            if chance.random() < 0.5:
                journal.accepted(len(accepted), len(accepted) + chance.randrange(100_000))
    assert written.startswith(accepted)
