from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from api.attach_output import Ending, Outgoing
from api.attach_wire import HEAD, Frames
from supervisor.attachments import Attach, Attached, Replaced, Role, RoleChanged
from supervisor.records import By, Size
from tests.fake_session import FakeSession, VirtualClock, turns


class Client:
    """One attached client of a fake session; `said` is everything that it is told now."""

    def __init__(
        self,
        session: FakeSession,
        offset: int = 0,
        *,
        on_slow: str = "gap",
        role: Role = Role.OBSERVER,
    ) -> None:
        self.session = session
        self.clock = VirtualClock()
        self.outgoing = Outgoing(
            session,  # type: ignore[arg-type]
            offset,
            on_slow,
            self.clock,
            Frames(),
        )
        request = Attach(client="c", by=By(), at_us=0, role=role, takeover=True)
        self.attached: Attached = session.attachments.attach(request, self.outgoing.tell)
        self.outgoing.begin(self.attached, {"id": "s1"})

    def said(self) -> list[Any]:
        """Everything to say until there is nothing more: frames as (kind, offset, bytes)."""
        told: list[Any] = []
        while (message := self.outgoing.next()) is not None:
            told.append(shown(message))
            if isinstance(message, Ending):
                break
        return told

    def kinds(self) -> list[str]:
        return [one["type"] if isinstance(one, dict) else "frame" for one in self.said()]


def shown(message: str | bytes | Ending) -> Any:
    if isinstance(message, bytes):
        kind, offset = HEAD.unpack_from(message)
        return kind, offset, message[HEAD.size :]
    return message if isinstance(message, Ending) else json.loads(message)


def test_attached_comes_first_and_live_after_the_replay() -> None:
    session = FakeSession()
    session.prints(b"one\n")
    session.prints(b"two\n", 2)
    client = Client(session)
    assert client.said() == [
        {
            "type": "attached",
            "session": {"id": "s1"},
            "oldest": 0,
            "next": 8,
            "input_next": 0,
            "role": "observer",
        },
        (1, 0, b"one\n"),
        (2, 4, b"two\n"),
        {"type": "live", "offset": 8},
    ]
    session.prints(b"three\n")
    assert client.said() == [(1, 8, b"three\n")]


def test_replay_from_every_offset_gives_the_same_bytes() -> None:
    session = FakeSession()
    text = b"".join(b"%d\n" % number for number in range(60))
    for at in range(0, len(text), 7):
        session.prints(text[at : at + 7], 1 + at % 2)
    for offset in range(len(text) + 1):
        frames = [one for one in Client(session, offset).said() if isinstance(one, tuple)]
        assert b"".join(data for _, _, data in frames) == text[offset:]
        at = offset
        for _, frame_offset, data in frames:
            assert frame_offset == at
            at += len(data)


def test_without_output_it_is_live_at_once() -> None:
    assert Client(FakeSession()).kinds() == ["attached", "live"]


def test_live_comes_at_the_offset_at_which_the_client_attached() -> None:
    session = FakeSession()
    session.prints(b"before")
    client = Client(session)
    session.prints(b"after")
    assert client.said()[1:] == [(1, 0, b"before"), {"type": "live", "offset": 6}, (1, 6, b"after")]


def test_what_was_dropped_before_is_a_gap_with_exact_bounds() -> None:
    session = FakeSession()
    session.prints(b"0123456789")
    session.reader.drop(4)
    client = Client(session, 1)
    assert client.said()[1:3] == [
        {"type": "gap", "from": 1, "to": 4, "reason": "dropped"},
        (1, 4, b"456789"),
    ]


def test_a_client_that_the_ring_overtakes_gets_a_gap_and_goes_on() -> None:
    session = FakeSession()
    client = Client(session)
    session.prints(b"0123")
    client.said()
    session.prints(b"4567")
    session.prints(b"89")
    session.reader.drop(8)
    assert client.said() == [
        {"type": "gap", "from": 4, "to": 8, "reason": "slow"},
        (1, 8, b"89"),
    ]


def test_a_client_that_asked_for_it_is_disconnected_instead() -> None:
    session = FakeSession()
    client = Client(session, on_slow="disconnect")
    session.prints(b"0123")
    client.said()
    session.prints(b"4567")
    session.reader.drop(6)
    assert client.said() == [Ending(4408, "too slow")]


def test_frames_are_at_most_64_kib() -> None:
    session = FakeSession()
    session.prints(b"x" * 200_000)
    sizes = [len(one[2]) for one in Client(session).said() if isinstance(one, tuple)]
    assert max(sizes) <= 65536
    assert sum(sizes) == 200_000


def test_the_end_is_eof_exit_and_a_normal_close() -> None:
    session = FakeSession()
    client = Client(session)
    session.prints(b"bye\n")
    session.exits(3)
    assert client.said()[1:] == [
        {"type": "live", "offset": 0},
        (1, 0, b"bye\n"),
        {"type": "eof", "offset": 4, "complete": True},
        {"type": "exit", "outcome": "exited", "exit_code": 3, "signal": None, "final": True},
        Ending(1000),
    ]


def test_of_a_finished_session_everything_is_replayed_before_the_end() -> None:
    session = FakeSession()
    session.prints(b"x")
    session.exits(0)
    assert Client(session).kinds()[:5] == ["attached", "frame", "live", "eof", "exit"]


def test_a_restart_is_told_between_the_outputs_of_two_generations() -> None:
    session = FakeSession()
    client = Client(session)
    session.prints(b"old")
    session.restarts()
    session.prints(b"new")
    assert client.said()[2:] == [
        (1, 0, b"old"),
        {"type": "eof", "offset": 3, "complete": False},
        {"type": "exit", "outcome": "exited", "exit_code": 143, "signal": None, "final": False},
        {"type": "restarted", "generation": 2, "offset": 3},
        (1, 3, b"new"),
    ]
    session.exits(0)
    assert client.kinds() == ["eof", "exit", "frame"]


def test_input_that_the_old_generation_never_took_is_named() -> None:
    session = FakeSession()
    session.input.write(b"typed ahead")
    session.input.delivered = 5
    client = Client(session, role=Role.WRITER)
    client.said()
    session.restarts()
    assert client.said()[2:] == [
        {"type": "restarted", "generation": 2, "offset": 0},
        {"type": "input_dropped", "from": 5, "to": 11},
    ]


def test_a_new_size_is_told_once() -> None:
    session = FakeSession(tty=True)
    client = Client(session)
    client.said()
    session.show(size=Size(10, 20))
    assert client.said() == [{"type": "resized", "rows": 10, "cols": 20}]
    session.show(name="x")
    assert client.said() == []


def test_changes_of_role_and_connection_are_told() -> None:
    client = Client(FakeSession())
    client.said()
    client.outgoing.tell(RoleChanged(Role.OBSERVER, "d"))
    client.outgoing.tell(Replaced())
    assert client.said() == [
        {"type": "role_changed", "role": "observer", "by": "d"},
        Ending(4001, "attached again"),
    ]


def test_a_writer_learns_first_how_far_it_may_send() -> None:
    client = Client(FakeSession(), role=Role.WRITER)
    assert client.said()[1] == {"type": "input", "next": 0, "limit": 1024}


def test_keys_are_confirmed_together_a_moment_later() -> None:
    session = FakeSession()
    client = Client(session, role=Role.WRITER)
    client.said()
    for key in (b"a", b"b"):
        session.input.write(key)
        assert client.said() == []
    assert len(client.clock.pending()) == 1
    session.prints(b"ab")
    assert client.said() == [(1, 0, b"ab")]
    client.clock.advance(1)
    assert client.said() == [{"type": "input", "next": 2, "limit": 1024}]
    assert client.said() == []


def test_much_input_is_confirmed_at_once() -> None:
    session = FakeSession()
    session.input.limit = 1 << 20
    client = Client(session, role=Role.WRITER)
    client.said()
    session.input.write(b"x" * 70_000)
    assert client.said() == [{"type": "input", "next": 70_000, "limit": 1 << 20}]
    session.input.delivered = 70_000
    assert client.said() == [{"type": "input", "next": 70_000, "limit": (1 << 20) + 70_000}]


def test_frames_are_made_once_for_all_who_are_at_the_same_place() -> None:
    session, frames = FakeSession(), Frames()
    session.prints(b"x" * 65536)
    span = session.reader.spans(0, 65536)[0]
    assert frames.frame(span) is frames.frame(span)
    other = Frames().frame(span)
    assert other == frames.frame(span)
    assert other is not frames.frame(span)


async def test_a_stuck_message_at_a_terminal_makes_it_go_on_near_the_end() -> None:
    session = FakeSession(tty=True)
    client = Client(session)
    client.said()
    session.prints(b"x" * 65536)
    taken = asyncio.Event()
    sent: list[Any] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        if not taken.is_set():
            await taken.wait()
        sent.append(shown(message.get("text") or message["bytes"]))

    running = asyncio.create_task(client.outgoing.run(send))
    await turns()
    session.prints(b"y" * 3_000_000)
    client.clock.advance(5)
    taken.set()
    await turns(50)
    assert sent[1] == {"type": "gap", "from": 65536, "to": 3_000_000, "reason": "slow"}
    assert sent[2][1] == 3_000_000
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_stuck_client_is_given_up_when_the_ring_overtakes_it() -> None:
    session = FakeSession()
    client = Client(session, on_slow="disconnect")

    async def never(message: MutableMapping[str, Any]) -> None:
        del message
        await asyncio.get_running_loop().create_future()

    session.prints(b"0123")
    running = asyncio.create_task(client.outgoing.run(never))
    await turns()
    assert not running.done()
    session.reader.drop(2)
    session.changes.notify()
    await turns()
    assert running.result() == Ending(4408, "too slow")


@pytest.mark.parametrize("on_slow", ["gap", "disconnect"])
async def test_a_cancelled_sender_leaves_nothing(on_slow: str) -> None:
    session = FakeSession()
    client = Client(session, on_slow=on_slow, role=Role.WRITER)
    session.input.write(b"x")

    async def send(message: MutableMapping[str, Any]) -> None:
        del message

    running = asyncio.create_task(client.outgoing.run(send))
    await turns()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert client.clock.pending() == []
