from __future__ import annotations

import pytest

from holdfast.errors import ProtocolBroken
from holdfast.frames import (
    Attached,
    Ended,
    InputAccepted,
    Live,
    Missed,
    Output,
    OutputEnded,
    Refused,
    Resized,
    Restarted,
    RoleChanged,
    input_frame,
    parse,
    text,
)
from tests.unit.client.messages import attached, exits, prints, says


def test_a_frame_of_kind_1_is_stdout_and_of_kind_2_stderr() -> None:
    assert parse(prints(7, b"out")) == Output("stdout", 7, b"out")
    assert parse(prints(1 << 40, b"err", kind=2)) == Output("stderr", 1 << 40, b"err")


def test_a_frame_may_carry_any_bytes_and_none() -> None:
    assert parse(prints(0, bytes(range(256)))) == Output("stdout", 0, bytes(range(256)))
    assert parse(prints(0, b"")) == Output("stdout", 0, b"")


@pytest.mark.parametrize("message", [b"", b"\1", b"\1" + b"\0" * 7, prints(0, b"x", 0), b"\3" * 9])
def test_half_a_head_and_an_unknown_kind_break_the_protocol(message: bytes) -> None:
    with pytest.raises(ProtocolBroken):
        parse(message)


@pytest.mark.parametrize("message", ["", "{", "[]", "{}", '{"type": 1}', '{"type": "live"}'])
def test_text_that_is_no_message_breaks_the_protocol(message: str) -> None:
    with pytest.raises(ProtocolBroken):
        parse(message)


def test_a_type_of_a_newer_server_is_passed_over() -> None:
    assert parse(says("weather", sunny=True)) is None


def test_a_field_of_a_newer_server_is_passed_over() -> None:
    assert parse(says("live", offset=3, mood="good")) == Live(offset=3)


def test_every_text_message_becomes_its_type() -> None:
    first = parse(attached(input_next=5, role="observer"))
    assert isinstance(first, Attached)
    assert (first.session.id, first.input_next, first.role) == ("s1", 5, "observer")
    assert parse(says("gap", from_=1, to=9, reason="slow")) == Missed(from_=1, to=9, reason="slow")
    assert parse(says("input", next=1, limit=2)) == InputAccepted(next=1, limit=2)
    assert parse(says("resized", rows=24, cols=80)) == Resized(rows=24, cols=80)
    assert parse(says("role_changed", role="observer", by="x")) == RoleChanged(
        role="observer", by="x"
    )
    assert parse(says("eof", offset=4, complete=True)) == OutputEnded(offset=4, complete=True)
    assert parse(says("restarted", generation=2, offset=4)) == Restarted(generation=2, offset=4)
    assert parse(says("error", code="CONFLICT", message="no")) == Refused(
        code="CONFLICT", message="no"
    )


def test_an_exit_has_the_status_in_both_spellings() -> None:
    ended = parse(exits(exit_code=137, signal="SIGKILL"))
    assert isinstance(ended, Ended)
    assert (ended.exit_code, ended.returncode) == (137, -9)


def test_input_is_kind_0_with_its_offset() -> None:
    assert input_frame(258, b"hi") == b"\0" + b"\0" * 6 + b"\1\2" + b"hi"


def test_a_text_message_names_its_type() -> None:
    assert text("resize", rows=1, cols=2) == '{"type":"resize","rows":1,"cols":2}'
