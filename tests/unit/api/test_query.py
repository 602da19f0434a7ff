from __future__ import annotations

import pytest

from api.errors import BadRequest
from api.query import Query


def test_fields_are_read_by_their_kind() -> None:
    query = Query(b"n=12&f&w=a%20b&s=2.5&x=1", {"n", "f", "w", "s", "x"})
    assert query.number("n") == 12
    assert query.flag("f")
    assert query.flag("x")
    assert query.text("w") == "a b"
    assert query.seconds("s", most=50) == 2.5


def test_what_is_not_there_is_none() -> None:
    query = Query(b"", {"n"})
    assert query.number("n") is None
    assert query.seconds("n", most=1) is None
    assert query.time_us("n") is None
    assert query.choice("n", ("a",)) is None
    assert not query.flag("n")


@pytest.mark.parametrize("text", [b"m=1", b"n=1&n=1", b"n=%ff", b"\xff", b"&".join([b"n=1"] * 99)])
def test_a_query_that_cannot_be_meant_is_refused(text: bytes) -> None:
    with pytest.raises(BadRequest):
        Query(text, {"n"})


@pytest.mark.parametrize("text", [b"n=-1", b"n=1e3", b"n=", b"n=0x1", b"n=1_0", b"n=9" + b"9" * 19])
def test_what_is_no_plain_number_is_refused(text: bytes) -> None:
    with pytest.raises(BadRequest):
        Query(text, {"n"}).number("n")


def test_bounds_of_a_number_hold() -> None:
    assert Query(b"n=3", {"n"}).number("n", least=1, most=3) == 3
    for text in (b"n=0", b"n=4"):
        with pytest.raises(BadRequest):
            Query(text, {"n"}).number("n", least=1, most=3)


@pytest.mark.parametrize("text", [b"n=51", b"n=-1", b"n=nan", b"n=inf", b"n=x"])
def test_what_is_no_time_span_is_refused(text: bytes) -> None:
    with pytest.raises(BadRequest):
        Query(text, {"n"}).seconds("n", most=50)


def test_flags_are_true_or_false() -> None:
    assert not Query(b"f=false", {"f"}).flag("f")
    with pytest.raises(BadRequest):
        Query(b"f=yes", {"f"}).flag("f")


def test_a_time_needs_its_zone() -> None:
    assert Query(b"t=1970-01-01T00:00:01.5Z", {"t"}).time_us("t") == 1_500_000
    for text in (b"t=1970-01-01T00:00:01", b"t=now"):
        with pytest.raises(BadRequest):
            Query(text, {"t"}).time_us("t")


@pytest.mark.parametrize(
    ("text", "since"), [(b"90", 10), (b"0.5", 99.5), (b"1970-01-01T00:00:07Z", 7)]
)
def test_a_moment_is_a_time_or_seconds_ago(text: bytes, since: float) -> None:
    assert Query(b"t=" + text, {"t"}).since_us("t", 100_000_000) == since * 1_000_000


@pytest.mark.parametrize("text", [b"t=-1", b"t=1e3", b"t=", b"t=.5", b"t=5m", b"t=inf"])
def test_what_is_no_moment_is_refused(text: bytes) -> None:
    with pytest.raises(BadRequest):
        Query(text, {"t"}).since_us("t", 0)


def test_a_field_may_be_repeated_where_the_route_says_so() -> None:
    assert Query(b"for=a&for=b", {"for"}, repeated=("for",)).all("for") == ["a", "b"]
