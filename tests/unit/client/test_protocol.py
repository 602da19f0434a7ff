from __future__ import annotations

import json
import random
from typing import Any

import pytest

from holdfast.errors import Conflict, NotWriter, ProtocolBroken
from holdfast.frames import Ended, Missed, Output, Refused, Restarted
from holdfast.protocol import ACK_BYTES, AttachProtocol
from tests.unit.client.messages import attached, exits, prints, says


def connected(*, role: str = "writer", input_next: int = 0, **options: Any) -> AttachProtocol:
    protocol = AttachProtocol("me", **options)
    protocol.receive(attached(role=role, input_next=input_next))
    if role == "writer":
        protocol.receive(says("input", next=input_next, limit=1 << 20))
    return protocol


def to_send(protocol: AttachProtocol) -> list[str | bytes]:
    found = []
    while (message := protocol.next_message()) is not None:
        found.append(message)
    return found


def types(messages: list[str | bytes]) -> list[str]:
    return [json.loads(one)["type"] if isinstance(one, str) else "input" for one in messages]


def test_the_first_query_asks_for_the_first_byte() -> None:
    assert AttachProtocol("me").query() == {"client": "me", "on_slow": "gap", "offset": "0"}


def test_a_query_carries_role_and_takeover() -> None:
    query = AttachProtocol("me", offset=7, role="writer", takeover=True).query()
    assert (query["offset"], query["role"], query["takeover"]) == ("7", "writer", "true")


def test_with_tail_bytes_the_server_chooses_where_to_begin() -> None:
    protocol = connected(offset=None, tail_bytes=100)
    assert protocol.query()["tail_bytes"] == "100"
    assert protocol.receive(prints(900, b"abc")) == Output("stdout", 900, b"abc")
    assert protocol.query()["offset"] == "903"


def test_without_output_live_says_where_the_tail_begins() -> None:
    protocol = connected(offset=None, tail_bytes=100)
    protocol.receive(says("live", offset=50))
    assert protocol.query()["offset"] == "50"


def test_output_is_passed_on_in_order() -> None:
    protocol = connected()
    assert protocol.receive(prints(0, b"ab")) == Output("stdout", 0, b"ab")
    assert protocol.receive(prints(2, b"c", kind=2)) == Output("stderr", 2, b"c")
    assert protocol.position == 3


def test_a_repeated_frame_is_dropped() -> None:
    protocol = connected()
    protocol.receive(prints(0, b"abc"))
    assert protocol.receive(prints(0, b"abc")) is None
    assert protocol.receive(prints(1, b"b")) is None


def test_a_repeated_beginning_is_cut_off() -> None:
    protocol = connected()
    protocol.receive(prints(0, b"abc"))
    assert protocol.receive(prints(1, b"bcde")) == Output("stdout", 3, b"de")


def test_a_hole_that_nobody_announced_breaks_the_protocol() -> None:
    protocol = connected()
    protocol.receive(prints(0, b"abc"))
    with pytest.raises(ProtocolBroken, match="output from 3 to 5 is missing"):
        protocol.receive(prints(5, b"x"))


def test_an_announced_gap_is_passed_on_and_output_goes_on_behind_it() -> None:
    protocol = connected()
    assert protocol.receive(says("gap", from_=0, to=10, reason="dropped")) == Missed(
        from_=0, to=10, reason="dropped"
    )
    assert protocol.receive(prints(10, b"x")) == Output("stdout", 10, b"x")


def test_a_gap_over_bytes_had_before_names_only_the_missing_ones() -> None:
    protocol = connected()
    protocol.receive(prints(0, b"abc"))
    assert protocol.receive(says("gap", from_=1, to=10, reason="slow")) == Missed(
        from_=3, to=10, reason="slow"
    )


def test_a_gap_that_was_had_completely_is_no_news() -> None:
    protocol = connected()
    protocol.receive(prints(0, b"abc"))
    assert protocol.receive(says("gap", from_=0, to=3)) is None


def test_a_gap_that_begins_too_late_breaks_the_protocol() -> None:
    with pytest.raises(ProtocolBroken):
        connected().receive(says("gap", from_=1, to=3))


@pytest.mark.parametrize(
    "message",
    [
        says("live", offset=1),
        says("eof", offset=1, complete=True),
        says("restarted", generation=2, offset=1),
    ],
)
def test_what_says_that_all_came_is_not_believed_when_bytes_are_missing(message: str) -> None:
    with pytest.raises(ProtocolBroken):
        connected().receive(message)


def test_the_server_must_begin_with_attached() -> None:
    with pytest.raises(ProtocolBroken):
        AttachProtocol("me").receive(prints(0, b"x"))


def test_a_refusal_to_attach_is_raised() -> None:
    with pytest.raises(Conflict):
        AttachProtocol("me").receive(says("error", code="CONFLICT", message="held"))


def test_attached_comes_once_per_connection() -> None:
    protocol = connected()
    with pytest.raises(ProtocolBroken):
        protocol.receive(attached())
    protocol.lost()
    protocol.receive(attached())


def test_a_new_connection_asks_for_the_first_byte_not_had() -> None:
    protocol = connected()
    protocol.receive(prints(0, b"abc"))
    protocol.lost()
    assert protocol.query()["offset"] == "3"


def test_a_takeover_is_not_repeated_by_itself() -> None:
    protocol = connected(takeover=True, role="writer")
    protocol.lost()
    assert "takeover" not in protocol.query()


def test_a_final_exit_finishes() -> None:
    protocol = connected()
    protocol.receive(says("eof", offset=0, complete=True))
    ended = protocol.receive(exits())
    assert isinstance(ended, Ended)
    assert protocol.finished


def test_an_exit_that_is_not_final_is_followed_by_the_next_generation() -> None:
    protocol = connected()
    protocol.receive(exits(final=False))
    assert not protocol.finished
    assert isinstance(protocol.receive(says("restarted", generation=2, offset=0)), Restarted)
    assert protocol.receive(prints(0, b"again")) == Output("stdout", 0, b"again")


def test_a_refusal_is_passed_on() -> None:
    frame = connected().receive(says("error", code="CONFLICT", message="no"))
    assert isinstance(frame, Refused)


def test_input_is_sent_at_its_offset() -> None:
    protocol = connected(input_next=5)
    protocol.write(b"hi")
    assert to_send(protocol) == [b"\0" + (5).to_bytes(8, "big") + b"hi"]


def test_control_overtakes_input_that_the_server_does_not_take() -> None:
    protocol = AttachProtocol("me")
    protocol.receive(attached())
    protocol.write(b"stuck")
    protocol.control("signal", signal="SIGINT")
    assert types(to_send(protocol)) == ["signal"]
    protocol.receive(says("input", next=0, limit=100))
    assert types(to_send(protocol)) == ["input"]


def test_control_goes_before_waiting_input() -> None:
    protocol = connected()
    protocol.write(b"first")
    protocol.control("kill")
    assert types(to_send(protocol)) == ["kill", "input"]


def test_control_is_dropped_with_its_connection() -> None:
    protocol = connected()
    protocol.control("resize", rows=1, cols=1)
    protocol.lost()
    protocol.receive(attached())
    assert to_send(protocol) == []


def test_nothing_is_sent_while_not_connected() -> None:
    protocol = AttachProtocol("me")
    protocol.write(b"x")
    protocol.end_input()
    assert to_send(protocol) == []


def test_the_end_of_input_follows_the_last_byte() -> None:
    protocol = connected()
    protocol.write(b"x")
    protocol.end_input()
    assert types(to_send(protocol)) == ["input", "input_end"]


def test_the_end_of_input_waits_for_bytes_beyond_the_limit() -> None:
    protocol = AttachProtocol("me")
    protocol.receive(attached())
    protocol.receive(says("input", next=0, limit=1))
    protocol.write(b"xy")
    protocol.end_input()
    assert types(to_send(protocol)) == ["input"]
    protocol.receive(says("input", next=1, limit=2))
    assert types(to_send(protocol)) == ["input", "input_end"]


def test_the_end_of_input_is_said_again_on_a_new_connection() -> None:
    protocol = connected()
    protocol.end_input()
    assert types(to_send(protocol)) == ["input_end"]
    protocol.lost()
    protocol.receive(attached())
    assert types(to_send(protocol)) == ["input_end"]


def test_input_is_done_when_all_is_confirmed_and_the_end_was_said() -> None:
    protocol = connected()
    protocol.write(b"x")
    protocol.end_input()
    to_send(protocol)
    assert not protocol.input_done
    protocol.receive(says("input", next=1, limit=9))
    assert protocol.input_done


def test_an_observer_cannot_write() -> None:
    with pytest.raises(NotWriter):
        connected(role="observer").write(b"x")


def test_who_asked_to_observe_cannot_write_even_before_the_connection() -> None:
    with pytest.raises(NotWriter):
        AttachProtocol("me", role="observer").write(b"x")


def test_an_observer_sends_no_input() -> None:
    protocol = AttachProtocol("me")
    protocol.write(b"x")
    protocol.receive(attached(role="observer"))
    assert to_send(protocol) == []


def test_who_becomes_the_writer_sends_what_waited() -> None:
    protocol = AttachProtocol("me")
    protocol.write(b"x")
    protocol.receive(attached(role="observer"))
    protocol.receive(says("role_changed", role="writer", by="other"))
    protocol.receive(says("input", next=0, limit=9))
    assert types(to_send(protocol)) == ["input"]


def test_abandoned_input_is_not_sent_and_not_ended() -> None:
    protocol = connected()
    protocol.write(b"x")
    protocol.end_input()
    protocol.abandon_input()
    assert to_send(protocol) == []


def test_only_a_lossless_reader_acknowledges() -> None:
    protocol = connected()
    assert not protocol.taken(10 * ACK_BYTES)
    assert to_send(protocol) == []


def test_a_lossless_reader_acknowledges_every_64_kib() -> None:
    protocol = connected(on_slow="block")
    assert not protocol.taken(ACK_BYTES - 1)
    assert protocol.taken(ACK_BYTES)
    assert not protocol.taken(ACK_BYTES + 1)
    assert to_send(protocol) == [f'{{"type":"ack","offset":{ACK_BYTES}}}']


def test_a_new_daemon_is_told_at_once_what_was_taken() -> None:
    protocol = connected(on_slow="block")
    protocol.receive(prints(0, b"x" * ACK_BYTES))
    protocol.taken(ACK_BYTES + 5)
    protocol.lost()
    protocol.receive(attached())
    assert to_send(protocol) == [f'{{"type":"ack","offset":{ACK_BYTES + 5}}}']


@pytest.mark.parametrize("seed", range(50))
def test_output_arrives_once_through_connections_lost_anywhere(seed: int) -> None:
    chance = random.Random(seed)
    whole = chance.randbytes(100_000)
    protocol, had = AttachProtocol("me"), b""
    while len(had) < len(whole):
        at = max(0, int(protocol.query()["offset"]) - chance.randrange(3000))
        protocol.receive(attached())
        while at < len(whole) and chance.random() > 0.1:
            size = chance.randrange(1, 5000)
            frame = protocol.receive(prints(at, whole[at : at + size]))
            had += frame.data if isinstance(frame, Output) else b""
            at += size
        protocol.lost()
    assert had == whole
