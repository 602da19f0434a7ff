from __future__ import annotations

from typing import Any

from holdfast.log_place import LogPlace


def line(offset: int, **more: Any) -> dict[str, Any]:
    return {"session": "s", "stream": "stdout", "offset": offset, "line": "x", **more}


def test_the_first_request_says_where_to_begin_and_later_ones_the_cursor() -> None:
    place = LogPlace({"since": "5", "label": "a"})
    assert place.query == {"since": "5", "label": "a"}
    assert not place.take({"cursor": "c0"})
    assert place.query == {"since": None, "tail_lines": None, "label": "a", "cursor": "c0"}
    assert place.take(line(0, cursor="c1"))
    assert place.query["cursor"] == "c1"


def test_what_was_told_behind_the_last_cursor_is_taken_once() -> None:
    place = LogPlace({})
    gap = {"gap": {"session": "s", "from": 4, "to": 9}}
    assert place.take({"cursor": "c0"}) is False
    told = [line(0), line(2, stream="stderr"), gap]
    assert all(place.take(one) for one in told)
    assert not any(place.take(one) for one in told)
    assert place.take(line(9))
    place.take({"cursor": "c1"})
    assert place.take(line(0, session="other"))
