from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.component.api.live.conftest import Node

SERVER = (
    'exec python3 -S -c \'import socket as s; x = s.create_server(("127.0.0.1", 0));'
    ' print("port", x.getsockname()[1], flush=True); x.accept()\''
)


async def wait(node: Node, session_id: str, *conditions: Any, **fields: Any) -> Any:
    body = {"for": list(conditions), **fields}
    answer = await node.http.post(f"/v1/sessions/{session_id}/wait", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_exit_is_waited_for(node: Node) -> None:
    session_id = await node.start("read -r x; exit 7", stdin="pipe")
    waiting = asyncio.create_task(wait(node, session_id, "exit"))
    await node.http.post(f"/v1/sessions/{session_id}/input", content=b"\n")
    answer = await waiting
    assert (answer["met"], answer["reason"]) == (0, "met")
    assert answer["evidence"]["exit_code"] == 7
    assert answer["session"]["state"] == "exited"


async def test_a_line_is_waited_for_and_shown(node: Node) -> None:
    session_id = await node.start("echo starting; read -r x; echo Ready on 80", stdin="pipe")
    waiting = asyncio.create_task(wait(node, session_id, {"log": "(?i)^ready on [0-9]+"}))
    await node.http.post(f"/v1/sessions/{session_id}/input", content=b"\n")
    answer = await waiting
    assert answer["evidence"]["line"] == "Ready on 80"
    assert answer["evidence"]["offset"] == 9
    assert answer["next_offset"] >= 20


async def test_a_port_of_the_tree_is_found_and_the_one_of_a_stranger_named(node: Node) -> None:
    own = await node.start(SERVER)
    stranger = await node.start("exec sleep 1000")
    line = (await wait(node, own, {"log": "port [0-9]+"}))["evidence"]["match"]
    port = int(line.split()[1])
    answer = await wait(node, own, {"port": port})
    assert answer["evidence"]["port"] == port
    assert answer["evidence"]["pid"] in node.session(own).pids()
    assert (await wait(node, own, {"port": "any"}))["met"] == 0
    answer = await wait(node, stranger, {"port": port}, timeout=0.2)
    assert (answer["met"], answer["reason"]) == (None, "timeout")
    assert answer["evidence"]["foreign"]["pid"] in node.session(own).pids()
    assert answer["evidence"]["foreign"]["command"].startswith("python3")


async def test_a_port_that_opens_later_is_found(node: Node) -> None:
    session_id = await node.start(f"read -r x; {SERVER}", stdin="pipe")
    waiting = asyncio.create_task(wait(node, session_id, {"port": "any"}))
    await node.http.post(f"/v1/sessions/{session_id}/input", content=b"\n")
    assert (await waiting)["met"] == 0


async def test_our_own_port_is_no_port_of_the_tree(node: Node) -> None:
    session_id = await node.start("exec sleep 1000")
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
        answer = await wait(node, session_id, {"port": port}, timeout=0.1)
        assert answer["met"] is None
        assert answer["evidence"]["port"] == port


async def test_the_end_comes_first_and_says_how(node: Node) -> None:
    session_id = await node.start("echo no; exit 1")
    answer = await wait(node, session_id, {"log": "yes"}, {"port": 1})
    assert (answer["met"], answer["reason"]) == (None, "ended")
    assert answer["evidence"]["exit_code"] == 1


async def test_silence_and_change_and_end(node: Node) -> None:
    session_id = await node.start("echo x; exec sleep 1000")
    assert (await wait(node, session_id, {"idle": 0.2}))["met"] == 0
    waiting = asyncio.create_task(wait(node, session_id, "ended", "change"))
    await node.waited_for(session_id, by_anyone=True)
    await node.http.patch(f"/v1/sessions/{session_id}", json={"name": "new"})
    assert (await waiting)["reason"] == "met"
    await node.http.post(f"/v1/sessions/{session_id}/kill", json={})
    assert (await wait(node, session_id, "ended"))["evidence"]["signal"] == "SIGKILL"


async def test_simple_conditions_fit_into_a_query(node: Node) -> None:
    session_id = await node.start("echo hello")
    path = f"/v1/sessions/{session_id}/wait"
    answer = await node.http.get(path, params={"for": ["log:h.llo", "port:80"], "timeout": "5"})
    assert answer.json()["met"] == 0
    answer = await node.http.get(path, params={"for": "exit"})
    assert answer.json()["evidence"]["exit_code"] == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"for": []}, 422),
        ({}, 422),
        ({"for": ["ready"]}, 422),
        ({"for": ["exit"], "timeout": 51}, 422),
        ({"for": ["exit"], "timeout": -1}, 422),
        ({"for": [{"log": "("}]}, 422),
        ({"for": [{"port": 70000}]}, 422),
        ({"for": ["exit"] * 17}, 422),
        ({"for": ["exit"], "from_offset": 10**9}, 400),
        ({"for": ["exit"], "generation": 2}, 409),
        ({"for": ["exit"], "until": 1}, 422),
    ],
)
async def test_bad_questions_are_refused(node: Node, body: Any, status: int) -> None:
    session_id = await node.start("true")
    answer = await node.http.post(f"/v1/sessions/{session_id}/wait", json=body)
    assert answer.status_code == status, answer.text
    for query in ("", "for=ready", "for=exit&timeout=51", "for=exit&x=1"):
        got = await node.http.get(f"/v1/sessions/{session_id}/wait?{query}")
        assert got.status_code in (400, 422)
