"""A start or an input with `wait` and `read`: one round trip for each step of an agent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.component.api.live.conftest import Node

SHELL = "while read -r x; do eval \"$x\"; echo '$ '; done"
PROMPT = {"log": r"^\$ "}


async def start(node: Node, script: str, **fields: Any) -> Any:
    body = {"command": ["/bin/sh", "-c", script], **fields}
    answer = await node.http.post("/v1/sessions", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def send(node: Node, session_id: str, content: bytes, **query: Any) -> Any:
    asked = {key: json.dumps(each) if isinstance(each, dict) else each
             for key, each in query.items()}  # fmt: skip
    path = f"/v1/sessions/{session_id}/input"
    answer = await node.http.post(path, params=asked, content=content)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_start_waits_and_reads(node: Node) -> None:
    script = "echo one; echo two; exec sleep 1000"
    answer = await start(node, script, wait={"for": [{"log": "two"}]}, read={"tail_lines": 1})
    assert answer["created"] is True
    assert answer["wait"]["met"] == 0
    assert answer["read"] == {"offset": 4, "next_offset": 8, "text": "two\n", "gap": None}
    assert answer["session"]["state"] == "running"


async def test_a_start_whose_end_comes_first_says_so_and_shows_its_output(node: Node) -> None:
    answer = await start(node, "echo no; exit 3", wait={"for": [{"port": "any"}]}, read={})
    assert (answer["wait"]["reason"], answer["wait"]["evidence"]["exit_code"]) == ("ended", 3)
    assert answer["session"]["exit_code"] == 3
    assert answer["read"]["text"] == "no\n"


async def test_the_same_start_again_waits_and_reads_again(node: Node) -> None:
    fields = {"id": "x", "wait": {"for": ["exit"]}, "read": {"format": "jsonl"}}
    first = await start(node, "echo a", **fields)
    body = {"command": ["/bin/sh", "-c", "echo a"], **fields}
    again = (await node.http.post("/v1/sessions", json=body)).json()
    assert again["created"] is False
    assert again["read"] == first["read"]
    assert json.loads(again["read"]["text"])["text"] == "a\n"


async def test_without_wait_and_read_neither_is_answered(node: Node) -> None:
    assert set(await start(node, "true")) == {"session", "created"}
    session_id = await node.start(SHELL, stdin="pipe")
    assert await send(node, session_id, b"x=1\n") == {"next": 4}


async def test_each_input_sees_what_it_caused_and_nothing_before(node: Node) -> None:
    session_id = await node.start(SHELL, stdin="pipe")
    for number in range(20):
        answer = await send(
            node, session_id, b"echo out %d\n" % number, wait={"for": [PROMPT]}, read={}
        )
        assert answer["wait"]["met"] == 0
        assert answer["read"]["text"] == f"out {number}\n$ \n"


async def test_a_read_of_an_input_goes_on_where_the_last_one_ended(node: Node) -> None:
    session_id = await node.start(SHELL, stdin="pipe")
    first = await send(node, session_id, b"echo a\n", wait={"for": [PROMPT]}, read={})
    at = first["read"]["next_offset"]
    wait = {"for": [PROMPT], "from_offset": at}
    second = await send(node, session_id, b"echo b\n", wait=wait, read={"offset": at})
    assert second["read"]["text"] == "b\n$ \n"


async def test_silence_after_an_input_counts_from_the_input(node: Node) -> None:
    session_id = await node.start(SHELL, stdin="pipe")
    quiet = {"for": [{"idle": 0.3}]}
    await send(node, session_id, b"", wait=quiet)
    answer = await send(node, session_id, b"sleep 0.1; echo late\n", wait=quiet, read={})
    assert answer["wait"]["met"] == 0
    assert answer["read"]["text"].startswith("late")


async def test_a_read_is_bounded_and_says_where_to_go_on(node: Node) -> None:
    answer = await start(node, "seq 1 1000", wait={"for": ["exit"]}, read={"max_bytes": 10})
    assert answer["read"]["text"] == "1\n2\n3\n4\n5\n"
    assert answer["read"]["next_offset"] == 10


async def test_what_the_ring_dropped_before_the_read_is_a_gap(node: Node) -> None:
    flood = "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo done"
    session_id = await node.start(SHELL, stdin="pipe", output={"capacity": 524288})
    answer = await send(node, session_id, flood.encode() + b"\n", wait={"for": [PROMPT]}, read={})
    gap = answer["read"]["gap"]
    assert gap["from"] == 0
    assert gap["to"] == answer["read"]["offset"] > 2_000_000
    assert answer["read"]["text"].endswith("done\n$ \n")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"wait": {"for": []}}, "$.wait.for"),
        ({"wait": {"for": [{"log": "("}]}}, "$.wait.for[0].log"),
        ({"wait": {"for": ["exit"], "generation": 1}}, "$.wait.generation"),
        ({"read": {"follow": True}}, "$.read"),
        ({"read": {"previous": True}}, "$.read"),
        ({"read": {"colour": 1}}, "$.read"),
        ({"read": {"max_bytes": 0}}, "$.read"),
        ({"read": {"max_bytes": 1 << 30}}, "$.read"),
        ({"read": {"format": "raw"}}, "$.read"),
        ({"read": {"offset": 0, "tail_lines": 1}}, "$.read"),
        ({"read": {"offset": -1}}, "$.read"),
        ({"read": {"grep": "("}}, "$.read"),
    ],
)
async def test_a_bad_step_starts_nothing_and_sends_nothing(
    node: Node, fields: Any, path: str
) -> None:
    session_id = await node.start(SHELL, stdin="pipe")
    body = {"command": ["true"], "id": "never", **fields}
    refused = await node.http.post("/v1/sessions", json=body)
    assert refused.status_code == 422, refused.text
    assert refused.json()["error"]["details"]["path"] == path
    assert (await node.http.get("/v1/sessions/never")).status_code == 404
    if path != "$.wait.generation":
        query = {key: json.dumps(each) for key, each in fields.items()}
        url = f"/v1/sessions/{session_id}/input"
        assert (await node.http.post(url, params=query, content=b"x")).status_code == 422
        assert node.session(session_id).input.next == 0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"wait": "{"}, 400),
        ({"read": "[]"}, 422),
        ({"wait": '{"for": ["exit"], "until": 1}'}, 422),
        ({"wait": '{"for": ["exit"], "from_offset": 99}'}, 400),
        ({"wait": '{"for": ["exit"], "generation": 2}'}, 409),
    ],
)
async def test_an_input_is_not_accepted_with_a_bad_step(
    node: Node, query: Any, status: int
) -> None:
    session_id = await node.start(SHELL, stdin="pipe")
    url = f"/v1/sessions/{session_id}/input"
    assert (await node.http.post(url, params=query, content=b"x")).status_code == status
    assert node.session(session_id).input.next == 0  # type: ignore[union-attr]
