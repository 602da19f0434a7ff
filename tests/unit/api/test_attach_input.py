from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import MutableMapping
from typing import Any

import pytest

from api.attach_input import Incoming
from api.attach_output import NOTES, Ending, Outgoing
from api.attach_wire import HEAD, Frames
from supervisor.attachments import Attach, Role
from supervisor.commands import Command
from supervisor.errors import NotFound
from supervisor.records import By, Verb
from tests.fake_session import FakeSession, VirtualClock, turns


class Commanded:
    """A supervisor that remembers commands, or refuses them."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.commands: list[Command] = []
        self.refuses = False

    async def control(self, command: Command, *, wait: bool = True) -> None:
        assert not wait
        if self.refuses:
            raise NotFound("no such session")
        self.commands.append(command)


class Client:
    """One attached client of a fake session: what it says, and what it is told."""

    def __init__(self, *, role: Role = Role.WRITER) -> None:
        self.session = FakeSession()
        self.supervisor = Commanded()
        self.outgoing = Outgoing(
            self.session,  # type: ignore[arg-type]
            0,
            "gap",
            self.supervisor.clock,
            Frames(),
        )
        request = Attach(client="c", by=By(user="me"), at_us=0, role=role, lossless=True)
        attached = self.session.attachments.attach(request, self.outgoing.tell)
        self.incoming = Incoming(
            self.session,  # type: ignore[arg-type]
            attached,
            self.outgoing,
            self.supervisor,  # type: ignore[arg-type]
        )

    async def says(self, *messages: bytes | str | dict[str, Any]) -> Ending | None:
        """Send messages, then leave; return how the server ends the connection."""
        waiting = deque(map(received, messages))

        async def receive() -> MutableMapping[str, Any]:
            return waiting.popleft() if waiting else {"type": "websocket.disconnect"}

        return await self.incoming.run(receive)

    def told(self) -> list[Any]:
        return [json.loads(one) for one in self.outgoing.notes if isinstance(one, str)]


def received(message: bytes | str | dict[str, Any]) -> MutableMapping[str, Any]:
    if isinstance(message, bytes):
        return {"type": "websocket.receive", "bytes": message}
    text = message if isinstance(message, str) else json.dumps(message)
    return {"type": "websocket.receive", "text": text}


def keys(offset: int, data: bytes, kind: int = 0) -> bytes:
    return HEAD.pack(kind, offset) + data


async def test_keys_are_accepted_at_their_offset() -> None:
    client = Client()
    assert await client.says(keys(0, b"ab"), keys(2, b"c")) is None
    assert client.session.input.content == b"abc"


async def test_a_repeat_of_what_was_accepted_is_accepted_once() -> None:
    client = Client()
    assert await client.says(keys(0, b"ab"), keys(0, b"abc")) is None
    assert client.session.input.content == b"abc"


@pytest.mark.parametrize(
    ("message", "code", "error"),
    [
        (b"", 1007, "BAD_REQUEST"),
        (b"\0\0\0", 1007, "BAD_REQUEST"),
        (keys(0, b"x", kind=1), 1003, "BAD_REQUEST"),
        (keys(0, b"x", kind=255), 1003, "BAD_REQUEST"),
        (keys(1, b"x"), 1008, "CONFLICT"),
        (keys(0, b"x" * 1025), 4413, "CONFLICT"),
        (keys(1 << 63, b"x"), 4413, "CONFLICT"),
        ("", 1007, "BAD_REQUEST"),
        ("ls\n", 1007, "BAD_REQUEST"),
        ("[]", 1007, "VALIDATION_FAILED"),
        ("{}", 1007, "VALIDATION_FAILED"),
        ({"type": "nonsense"}, 1003, "VALIDATION_FAILED"),
        ({"type": "kill", "sig": 9}, 1007, "VALIDATION_FAILED"),
        ({"type": "resize", "rows": 0, "cols": 1}, 1007, "VALIDATION_FAILED"),
        ({"type": "resize", "rows": 70000, "cols": 1}, 1007, "VALIDATION_FAILED"),
        ({"type": "resize", "rows": 24}, 1007, "VALIDATION_FAILED"),
        ({"type": "ack", "offset": -1}, 1007, "VALIDATION_FAILED"),
        ({"type": "ack", "offset": 1}, 1008, "BAD_REQUEST"),
        ({"type": "ack"}, 1007, "VALIDATION_FAILED"),
        ({"type": "signal", "target": "world"}, 1007, "VALIDATION_FAILED"),
    ],
)
async def test_what_no_client_sends_ends_the_connection(
    message: bytes | str | dict[str, Any], code: int, error: str
) -> None:
    client = Client()
    ending = await client.says(message, keys(0, b"never read"))
    assert ending is not None
    assert ending.code == code
    assert json.loads(ending.error or "")["code"] == error
    assert client.session.input.content == b""
    assert client.supervisor.commands == []


async def test_other_bytes_at_an_old_offset_are_a_conflict_with_the_next_offset() -> None:
    client = Client()
    ending = await client.says(keys(0, b"ab"), keys(0, b"xy"))
    assert ending is not None
    assert json.loads(ending.error or "")["details"] == {"next": 2}


@pytest.mark.parametrize(
    ("message", "verb", "arguments"),
    [
        ({"type": "resize", "rows": 5, "cols": 6}, Verb.RESIZE, {"rows": 5, "cols": 6}),
        (
            {"type": "signal", "signal": "int", "target": "group"},
            Verb.SIGNAL,
            {"signal": "SIGINT", "target": "group"},
        ),
        ({"type": "signal"}, Verb.SIGNAL, {"signal": "SIGTERM", "target": "leader"}),
        ({"type": "stop", "grace": 2}, Verb.STOP, {"signal": None, "grace": 2.0}),
        ({"type": "stop", "signal": 15}, Verb.STOP, {"signal": "SIGTERM", "grace": None}),
        ({"type": "kill"}, Verb.KILL, {}),
    ],
)
async def test_control_messages_become_commands(
    message: dict[str, Any], verb: Verb, arguments: dict[str, Any]
) -> None:
    client = Client()
    more = {"command_id": "cmd1", "generation": 1, "reason": "why"}
    assert await client.says(message | more) is None
    (command,) = client.supervisor.commands
    assert (command.verb, dict(command.args)) == (verb, arguments)
    assert (command.session, command.command_id) == ("s1", "cmd1")
    assert (command.generation, command.reason) == (1, "why")
    assert command.by == By(user="me", client="c", via="websocket")


async def test_each_command_without_an_id_gets_its_own() -> None:
    client = Client()
    await client.says({"type": "kill"}, {"type": "kill"})
    first, second = client.supervisor.commands
    assert first.command_id != second.command_id


async def test_an_unknown_signal_is_refused_and_the_connection_goes_on() -> None:
    client = Client()
    assert await client.says({"type": "signal", "signal": "SIGNOPE"}, keys(0, b"x")) is None
    assert [one["code"] for one in client.told()] == ["VALIDATION_FAILED"]
    assert client.session.input.content == b"x"


async def test_a_refused_command_is_told() -> None:
    client = Client()
    client.supervisor.refuses = True
    assert await client.says({"type": "kill"}) is None
    assert [one["code"] for one in client.told()] == ["NOT_FOUND"]


async def test_an_observer_neither_types_nor_resizes_but_may_control() -> None:
    client = Client(role=Role.OBSERVER)
    size = {"type": "resize", "rows": 5, "cols": 6}
    ending = await client.says(keys(0, b"x"), size, {"type": "input_end"}, {"type": "kill"})
    assert ending is None
    assert [one["code"] for one in client.told()] == ["CONFLICT"] * 3
    assert client.session.input.content == b""
    assert client.session.input_ends == 0
    assert [command.verb for command in client.supervisor.commands] == [Verb.KILL]


async def test_a_session_without_input_says_so() -> None:
    client = Client()
    client.session.input = None
    assert await client.says(keys(0, b"x")) is None
    assert [one["code"] for one in client.told()] == ["BAD_REQUEST"]


async def test_keys_after_the_end_of_input_are_refused() -> None:
    client = Client()
    assert await client.says({"type": "input_end"}, keys(0, b"x")) is None
    assert client.session.input_ends == 1
    assert [one["code"] for one in client.told()] == ["BAD_REQUEST"]


async def test_an_acknowledgement_of_a_lossless_client_is_passed_on() -> None:
    client = Client()
    client.outgoing.offset = 10
    await client.says({"type": "ack", "offset": 4}, {"type": "ack", "offset": 4})
    assert client.session.takens == [4]


async def test_detach_closes_in_good_order() -> None:
    assert await Client().says({"type": "detach"}) == Ending(1000, "detached")


async def test_a_client_that_reads_no_refusals_is_closed() -> None:
    client = Client(role=Role.OBSERVER)
    ending = await client.says(*[keys(0, b"x")] * (NOTES + 1))
    assert ending is not None
    assert ending.code == 1008
    assert len(client.outgoing.notes) <= NOTES


async def test_while_the_journal_is_replaced_keys_wait_and_are_not_lost() -> None:
    client = Client()
    client.session.input.limit = 0
    client.session.input.delivered = 0
    client.session.input.renewing = True
    renewing = client.session.input

    class Renewing(type(renewing)):  # type: ignore[misc]
        @property
        def room(self) -> int:
            return 0 if self.renewing else 10

    renewing.__class__ = Renewing
    renewing.limit = 10
    saying = asyncio.create_task(client.says(keys(0, b"x")))
    await turns()
    assert not saying.done()
    renewing.renewing = False
    client.session.changes.notify()
    assert await saying is None
    assert renewing.content == b"x"
