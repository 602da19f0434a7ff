from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from supervisor.errors import InputConflict, Refused, TooLarge
from supervisor.session_input import LIMIT_BYTES, RENEW_BYTES, REPEAT_BYTES, SessionInput


class Given(SessionInput):
    """Input on a memfd of its own; `take` is the child that reads."""

    def __init__(self, offset: int = 0) -> None:
        self.fd = journal(offset)
        self.rung = 0
        super().__init__(self.fd, self._ring)

    def _ring(self) -> None:
        self.rung += 1

    def take(self, count: int) -> bytes:
        data = os.read(self.fd, count)
        self.delivered += len(data)
        return data


def journal(offset: int) -> int:
    fd = os.memfd_create("journal", os.MFD_CLOEXEC)
    os.ftruncate(fd, offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return fd


@pytest.fixture
def given() -> Iterator[Given]:
    made = Given()
    yield made
    os.close(made.fd)


def test_input_is_appended_and_told_of(given: Given) -> None:
    assert (given.write(b"one"), given.write(b"two", 3)) == (3, 6)
    assert (given.take(6), given.rung) == (b"onetwo", 2)


def test_a_repeat_adds_nothing_and_its_new_part_counts(given: Given) -> None:
    given.write(b"onetwo")
    assert given.write(b"two", 3) == 6
    assert given.write(b"twothree", 3) == 11
    assert given.take(20) == b"onetwothree"
    assert given.rung == 2


@pytest.mark.parametrize(("data", "offset"), [(b"x", 1), (b"onX", 0), (b"onetX", 0), (b"x", 99)])
def test_what_is_neither_new_nor_a_repeat_conflicts(given: Given, data: bytes, offset: int) -> None:
    given.write(b"one")
    if offset == 0 and data == b"onetX":
        assert given.write(data, offset) == 5
        return
    with pytest.raises(InputConflict) as raised:
        given.write(data, offset)
    assert raised.value.details == {"next": 3}
    assert given.next == 3


def test_a_former_generations_bytes_are_a_hole_that_repeats_nothing() -> None:
    given = Given(1000)
    assert (given.next, given.delivered) == (1000, 1000)
    with pytest.raises(InputConflict):
        given.write(b"\0" * 10, 990)
    assert given.write(b"new", 1000) == 1003
    assert given.take(3) == b"new"
    os.close(given.fd)


def test_more_than_the_limit_undelivered_is_refused_whole(given: Given) -> None:
    given.write(b"x" * LIMIT_BYTES)
    with pytest.raises(TooLarge) as raised:
        given.write(b"y")
    assert raised.value.details["room"] == 0
    given.take(10)
    assert given.room == 10
    with pytest.raises(TooLarge):
        given.write(b"y" * 11)
    assert given.write(b"y" * 10) == LIMIT_BYTES + 10


def test_after_the_end_only_a_repeat_is_answered(given: Given) -> None:
    given.write(b"one")
    given.open = False
    assert given.write(b"one", 0) == 3
    with pytest.raises(Refused) as raised:
        given.write(b"more")
    assert raised.value.details == {"next": 3}


def test_a_worn_journal_is_replaced_and_its_last_bytes_are_known_still(given: Given) -> None:
    pieces = RENEW_BYTES // 65536 + 1
    for number in range(pieces):
        given.write(bytes([number]) * 65536)
        assert not given.worn
        given.take(65536)
    assert given.worn
    given.renewing = True
    with pytest.raises(TooLarge):
        given.write(b"y")
    fresh = journal(given.next)
    old, given.fd = given.fd, fresh
    given.renew(fresh)
    os.close(old)
    given.renewing = False
    assert (given.next, given.worn) == (pieces * 65536, False)
    last = bytes([pieces - 1]) * 65536
    assert given.write(last + b"new", given.next - 65536) == pieces * 65536 + 3
    assert given.take(10) == b"new"
    with pytest.raises(InputConflict):
        given.write(b"\0", given.next - REPEAT_BYTES - 4)
