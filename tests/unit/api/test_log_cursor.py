from __future__ import annotations

import base64

import pytest

from api.errors import BadRequest
from api.lanes import Place
from api.log_cursor import KEPT_FINISHED, Cursor, Told, advanced, parse_cursor

PLACES = (Place(3), Place(7, 2))


def test_a_cursor_comes_back_as_it_was() -> None:
    cursor = Cursor(5, {"a-b": PLACES, "c": (Place(0), Place(0))})
    assert parse_cursor(cursor.word()) == cursor
    assert cursor.word().replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"{}",
        b"[0]",
        b"[0,{}",
        b"[-1,{}]",
        b'[0,{"a":[1]}]',
        b'[0,{"a":[1,2,3,-4]}]',
        b"[1.5,{}]",
    ],
)
def test_what_is_no_cursor_is_refused(packed: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_cursor(base64.urlsafe_b64encode(packed).decode())


def test_a_word_that_is_no_base64_is_refused() -> None:
    for word in ("%", "a", "ü"):
        with pytest.raises(BadRequest):
            parse_cursor(word)


def test_sessions_that_are_over_leave_the_cursor_behind_its_time() -> None:
    over = [Told(f"o{number}", PLACES, 1000 + number) for number in range(KEPT_FINISHED + 2)]
    cursor = advanced(9, [Told("live", PLACES, None), *reversed(over)])
    assert cursor.floor_us == 1002
    assert set(cursor.places) == {"live", *(one.session for one in over[2:])}
    assert advanced(9, over[:KEPT_FINISHED]).floor_us == 9
