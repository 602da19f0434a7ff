from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.component.api.live.attached import Heard
from tests.component.api.live.conftest import Node


async def refused(node: Node, session_id: str, query: str = "", **options: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refusal:
        async with node.attach(session_id, query, **options):
            pass
    response = refusal.value.response
    return response.status_code, json.loads(response.body or b"")["error"]["code"]


async def test_a_finished_session_is_replayed_and_closed_in_good_order(node: Node) -> None:
    session_id = await node.start("echo out; echo err >&2; exit 3")
    await node.ended(session_id)
    async with node.attach(session_id) as connection:
        heard = Heard(connection)
        assert await heard.to_the_end() == 1000
    assert (bytes(heard.streams[1]), bytes(heard.streams[2])) == (b"out\n", b"err\n")
    assert heard.types_of_messages() == ["attached", "live", "eof", "exit"]
    attached, live, eof, exit_ = heard.messages
    assert attached["session"]["id"] == session_id
    assert (attached["oldest"], attached["next"], attached["role"]) == (0, 8, "writer")
    assert live == {"type": "live", "offset": 8}
    assert eof == {"type": "eof", "offset": 8, "complete": True}
    assert exit_ == {
        "type": "exit",
        "outcome": "exited",
        "exit_code": 3,
        "signal": None,
        "final": True,
    }


async def test_replay_from_any_offset_is_equal(node: Node) -> None:
    session_id = await node.start("seq 1 20000; seq 1 200 >&2; seq 5")
    session = await node.ended(session_id)
    async with node.attach(session_id) as connection:
        whole = Heard(connection)
        await whole.to_the_end()
    size = session.reader.next
    assert len(whole.output) == size
    for offset in (0, 1, 65535, 65536, 65537, size // 2, size - 1, size):
        async with node.attach(session_id, f"offset={offset}") as connection:
            heard = Heard(connection)
            assert await heard.to_the_end() == 1000
        assert heard.output == whole.output[offset:]


async def test_output_comes_as_it_is_printed_and_input_goes_in(node: Node) -> None:
    session_id = await node.start("while read -r line; do echo got $line; done", stdin="pipe")
    async with node.attach(session_id) as connection:
        heard = Heard(connection)
        attached = await heard.until("attached")
        await heard.until("input")
        await heard.types(b"one\n", attached["input_next"])
        await heard.until_output(b"got one\n")
        await heard.types(b"one\ntwo\n", 0)  # a repeat, and more
        await heard.until_output(b"got two\n")
        # The last confirmation may have come before the echo, or is still to come.
        while max(told["next"] for told in heard.messages if told["type"] == "input") < 8:
            await heard.until("input")
        await heard.says(type="input_end")
        assert await heard.to_the_end() == 1000
    assert bytes(heard.output) == b"got one\ngot two\n"


async def test_a_terminal_is_typed_on_and_resized(node: Node) -> None:
    session_id = await node.start(
        "stty size; read -r x; stty size", tty=True, size={"rows": 10, "cols": 20}
    )
    async with node.attach(session_id) as connection:
        heard = Heard(connection)
        await heard.until_output(b"10 20\r\n")
        await heard.says(type="resize", rows=30, cols=40)
        resized = await heard.until("resized")
        assert (resized["rows"], resized["cols"]) == (30, 40)
        await heard.types(b"\r", 0)
        await heard.until_output(b"30 40\r\n")
        assert await heard.to_the_end() == 1000


@pytest.mark.parametrize(
    ("message", "signal"),
    [
        ({"type": "kill"}, "SIGKILL"),
        ({"type": "stop"}, "SIGTERM"),
        ({"type": "signal", "signal": "HUP"}, "SIGHUP"),
    ],
)
async def test_control_leaves_a_receipt(node: Node, message: dict[str, Any], signal: str) -> None:
    session_id = await node.start("exec sleep 1000")
    async with node.attach(session_id) as connection:
        heard = Heard(connection)
        await heard.says(**message, command_id="cmd1")
        exit_ = await heard.until("exit")
        assert exit_["signal"] == signal
        assert await heard.to_the_end() == 1000
    receipt = (await node.http.get("/v1/commands/cmd1")).json()
    assert receipt["state"] == "done"
    assert receipt["by"]["via"] == "websocket"


async def test_a_child_that_reads_nothing_can_be_interrupted_through_the_same_socket(
    node: Node,
) -> None:
    session_id = await node.start("exec sleep 1000", stdin="pipe")
    async with node.attach(session_id) as connection:
        heard = Heard(connection)
        limit = (await heard.until("input"))["limit"]
        sent = 0
        while sent < limit:
            piece = min(65536, limit - sent)
            await heard.types(b"x" * piece, sent)
            sent += piece
            limit = max([limit, *(m["limit"] for m in heard.messages if m["type"] == "input")])
        await heard.says(type="signal", signal="INT")
        assert (await heard.until("exit"))["signal"] == "SIGINT"


async def test_input_beyond_the_limit_closes(node: Node) -> None:
    session_id = await node.start("exec sleep 1000", stdin="pipe")
    async with node.attach(session_id) as connection:
        heard = Heard(connection)
        await heard.types(b"x" * 1_500_000, 0)
        assert await heard.to_the_end() == 4413
    assert heard.messages[-1]["type"] == "error"
    session = node.session(session_id)
    assert session.input is not None
    assert session.input.next == 0
    assert not session.final


async def test_there_is_one_writer(node: Node) -> None:
    session_id = await node.start("exec cat", stdin="pipe")
    async with node.attach(session_id, "client=a") as first:
        a = Heard(first)
        assert (await a.until("attached"))["role"] == "writer"
        async with node.attach(session_id, "client=b") as second:
            b = Heard(second)
            assert (await b.until("attached"))["role"] == "observer"
            await b.types(b"x", 0)
            assert (await b.until("error"))["code"] == "CONFLICT"
        async with node.attach(session_id, "client=b&role=writer") as third:
            b = Heard(third)
            assert await b.to_the_end() == 4409
            assert b.types_of_messages() == ["error"]
        async with node.attach(session_id, "client=b&role=writer&takeover=true") as fourth:
            b = Heard(fourth)
            assert (await b.until("attached"))["role"] == "writer"
            changed = await a.until("role_changed")
            assert (changed["role"], changed["by"]) == ("observer", "b")
            listed = (await node.http.get(f"/v1/sessions/{session_id}")).json()["attachments"]
            assert [(one["client"], one["role"]) for one in listed] == [
                ("a", "observer"),
                ("b", "writer"),
            ]
            await b.types(b"typed\n", 0)
            await a.until_output(b"typed\n")


async def test_the_same_client_replaces_its_connection(node: Node) -> None:
    session_id = await node.start("exec sleep 1000")
    async with node.attach(session_id, "client=a") as first:
        a = Heard(first)
        await a.until("attached")
        async with node.attach(session_id, "client=a") as second:
            again = Heard(second)
            assert (await again.until("attached"))["role"] == "writer"
            assert await a.to_the_end() == 4001
        assert len(node.session(session_id).attachments) <= 1
    await node.until(session_id, lambda session: len(session.attachments) == 0)


async def test_detach_leaves_the_session_running(node: Node) -> None:
    session_id = await node.start("exec sleep 1000")
    async with node.attach(session_id) as connection:
        heard = Heard(connection)
        await heard.says(type="detach")
        assert await heard.to_the_end() == 1000
    assert not node.session(session_id).final


async def test_a_restart_is_told_between_two_generations(node: Node) -> None:
    session_id = await node.start("echo up; exec sleep 1000")
    async with node.attach(session_id) as connection:
        heard = Heard(connection)
        await heard.until_output(b"up\n")
        await node.http.post(f"/v1/sessions/{session_id}/restart", json={})
        exit_ = await heard.until("exit")
        assert (exit_["signal"], exit_["final"]) == ("SIGTERM", False)
        restarted = await heard.until("restarted")
        assert (restarted["generation"], restarted["offset"]) == (2, 3)
        await heard.until_output(b"up\nup\n")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("offset=1000", 400, "BAD_REQUEST"),
        ("offset=-1", 400, "BAD_REQUEST"),
        ("offset=x", 400, "BAD_REQUEST"),
        ("offset=0&tail_bytes=1", 400, "BAD_REQUEST"),
        ("role=root", 400, "BAD_REQUEST"),
        ("on_slow=block", 400, "BAD_REQUEST"),
        ("on_slow=never", 400, "BAD_REQUEST"),
        ("takeover=perhaps", 400, "BAD_REQUEST"),
        ("client=%20", 400, "BAD_REQUEST"),
        ("clent=a", 400, "BAD_REQUEST"),
    ],
)
async def test_a_bad_query_is_refused_before_the_upgrade(
    node: Node, query: str, status: int, code: str
) -> None:
    session_id = await node.start("true")
    assert await refused(node, session_id, query) == (status, code)
    assert len(node.session(session_id).attachments) == 0


async def test_what_is_not_there_is_refused_before_the_upgrade(node: Node) -> None:
    assert await refused(node, "nothing") == (404, "NOT_FOUND")
    session_id = await node.start("true")
    assert await refused(node, session_id, subprotocols=None) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\0\0", 1007),
        (b"\1" + bytes(8) + b"x", 1003),
        (bytes(8), 1007),
        (bytes(8) + b"\x09x", 1008),
        ("typed as text\n", 1007),
        ('{"type": "nonsense"}', 1003),
        ('{"type": "ack", "offset": 99}', 1008),
    ],
)
async def test_what_no_client_sends_closes_and_leaves_nothing(
    node: Node, message: bytes | str, code: int
) -> None:
    session_id = await node.start("exec cat", stdin="pipe")
    async with node.attach(session_id) as connection:
        heard = Heard(connection)
        await heard.until("live")
        await connection.send(message)
        assert await heard.to_the_end() == code
    assert heard.messages[-1]["type"] == "error"
    session = await node.until(session_id, lambda one: len(one.attachments) == 0)
    assert not session.final


async def test_a_client_that_vanishes_is_detached(node: Node) -> None:
    session_id = await node.start("exec sleep 1000")
    async with node.attach(session_id) as connection:
        await Heard(connection).until("live")
        connection.transport.abort()
        await node.until(session_id, lambda session: len(session.attachments) == 0)


FLOOD = "head -c 30000000 /dev/zero"


async def test_a_stuck_client_holds_up_nobody_and_is_told_its_gap(node: Node) -> None:
    options = {"stdin": "pipe", "output": {"capacity": 1 << 20}}
    session_id = await node.start(f"echo first; read -r x; {FLOOD}; echo end", **options)
    async with node.attach(session_id, "client=stuck", max_queue=1) as connection:
        stuck = Heard(connection)
        await stuck.until_output(b"first\n")  # from then on what it misses is its own slowness
        async with node.attach(session_id, "client=brisk&role=observer") as other:
            brisk = Heard(other)
            await brisk.until_output(b"first\n")
            await node.http.post(f"/v1/sessions/{session_id}/input", content=b"\n")
            assert await brisk.to_the_end() == 1000
        await node.ended(session_id)
        assert await stuck.to_the_end() == 1000
    for heard in (stuck, brisk):
        missing = sum(to - from_ for from_, to, _ in heard.gaps)
        assert len(heard.output) + missing == 30_000_010
        assert heard.output.endswith(b"end\n")
    assert stuck.gaps
    assert {reason for _, _, reason in stuck.gaps} == {"slow"}


async def test_a_slow_client_can_ask_to_be_disconnected(node: Node) -> None:
    options = {"stdin": "pipe", "output": {"capacity": 1 << 20}}
    session_id = await node.start(f"echo first; read -r x; {FLOOD}; echo end", **options)
    async with node.attach(session_id, "on_slow=disconnect", max_queue=1) as connection:
        stuck = Heard(connection)
        await stuck.until_output(b"first\n")
        await node.http.post(f"/v1/sessions/{session_id}/input", content=b"\n")
        await node.ended(session_id)
        assert await stuck.to_the_end() == 4408
    assert stuck.gaps == []
    await node.until(session_id, lambda session: len(session.attachments) == 0)


async def test_what_the_ring_dropped_before_is_a_gap_of_its_own_reason(node: Node) -> None:
    session_id = await node.start(f"{FLOOD}; echo end", output={"capacity": 1 << 20})
    session = await node.ended(session_id)
    async with node.attach(session_id, "offset=0") as connection:
        heard = Heard(connection)
        assert await heard.to_the_end() == 1000
    assert heard.gaps == [(0, session.reader.oldest, "dropped")]


async def test_a_lossless_client_gets_every_byte_through_a_small_ring(node: Node) -> None:
    options = {"output": {"capacity": 1 << 20, "on_full": "block"}}
    session_id = await node.start(f"{FLOOD}; echo end", **options)
    async with node.attach(session_id, "on_slow=block") as connection:
        heard = Heard(connection)
        acked = 0
        while await heard.next() is not None:
            if (heard.offset or 0) - acked >= 262144:
                acked = heard.offset or 0
                await heard.says(type="ack", offset=acked)
    assert heard.close_code == 1000
    assert heard.gaps == []
    assert len(heard.output) == 30_000_004


async def test_many_clients_on_one_flood_all_get_the_same(node: Node) -> None:
    session_id = await node.start("read -r x; seq 1 300000", stdin="pipe")
    expected = b"".join(b"%d\n" % number for number in range(1, 300001))

    async def one() -> bytes:
        async with node.attach(session_id, "role=observer") as connection:
            heard = Heard(connection)
            await heard.until("live")
            ready.release()
            assert await heard.to_the_end() == 1000
            return bytes(heard.output)

    ready = asyncio.Semaphore(0)
    clients = [asyncio.create_task(one()) for _ in range(30)]
    for _ in clients:
        await ready.acquire()
    await node.http.post(f"/v1/sessions/{session_id}/input", content=b"\n")
    assert set(await asyncio.gather(*clients)) == {expected}
