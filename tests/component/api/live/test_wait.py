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


HTTP_SERVER = (
    "import socket, sys\n"
    "s = socket.create_server(('127.0.0.1', 0))\n"
    "print('http://localhost:%d/' % s.getsockname()[1], flush=True)\n"
    "status = b'503'\n"
    "while True:\n"
    "    c, _ = s.accept()\n"
    "    c.recv(65536)\n"
    "    c.sendall(b'HTTP/1.1 %b x\\r\\n\\r\\n' % status)\n"
    "    c.close()\n"
    "    status = b'200'\n"
)


async def test_a_url_is_asked_until_it_answers_well(node: Node) -> None:
    session_id = await node.start("", command=["python3", "-S", "-c", HTTP_SERVER])
    url = (await wait(node, session_id, {"log": "http://.*"}))["evidence"]["match"]
    answer = await wait(node, session_id, "exit", {"http": url})
    assert (answer["met"], answer["evidence"]) == (1, {"http": url, "status": 200})
    path = f"/v1/sessions/{session_id}/wait"
    found = await node.http.get(path, params={"for": f"http:{url}"})
    assert found.json()["met"] == 0
    answer = await wait(node, session_id, {"http": url, "status": 404}, timeout=0)
    assert (answer["reason"], answer["evidence"]) == ("timeout", {"http": url, "status": 200})


async def test_ready_is_what_the_session_was_started_with(node: Node) -> None:
    script = "read -r x; echo up; exec sleep 1000"
    session_id = await node.start(script, stdin="pipe", ready={"log": "^up$"})
    path = f"/v1/sessions/{session_id}"
    assert (await node.http.get(path)).json()["ready"] is False
    waiting = asyncio.create_task(wait(node, session_id, "ready"))
    await node.http.post(f"{path}/input", content=b"\n")
    answer = await waiting
    assert answer["evidence"] == {"ready": True, "generation": 1}
    assert answer["session"]["ready"] is True


async def test_who_waits_for_ready_is_told_of_an_end_at_once(node: Node) -> None:
    session_id = await node.start("exit 4", ready={"port": "any"})
    answer = await wait(node, session_id, "ready")
    assert (answer["reason"], answer["evidence"]["exit_code"]) == ("ended", 4)


async def test_of_several_conditions_the_first_that_holds_answers(node: Node) -> None:
    session_id = await node.start("echo b; exec sleep 1000")
    conditions = ({"log": "^a$"}, {"port": "any"}, {"log": "^b$"}, "exit")
    assert (await wait(node, session_id, *conditions))["met"] == 2


async def test_from_an_offset_only_what_follows_counts(node: Node) -> None:
    session_id = await node.start("while read -r x; do echo $x; done", stdin="pipe")
    path = f"/v1/sessions/{session_id}/input"
    await node.http.post(path, content=b"ok\n")
    offset = (await wait(node, session_id, {"log": "^ok$"}))["next_offset"]
    await node.http.post(path, content=b"ok\n")
    await node.until(session_id, lambda one: one.reader.next > offset)
    answer = await wait(node, session_id, {"log": "^ok$"}, from_offset=offset)
    assert answer["evidence"]["offset"] == offset


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
        ({"for": ["birth"]}, 422),
        ({"for": [{"http": "http://example.org/"}]}, 422),
        ({"for": [{"http": "http://localhost/", "status": 1}]}, 422),
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
    for query in ("", "for=birth", "for=http:http://x/", "for=exit&timeout=51", "for=exit&x=1"):
        got = await node.http.get(f"/v1/sessions/{session_id}/wait?{query}")
        assert got.status_code in (400, 422)
