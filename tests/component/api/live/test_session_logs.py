"""Lines of many sessions by time, to the end or on and on, from any cursor."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from api.session_logs import FEW_SESSIONS
from tests.component.api.live.conftest import Node


async def logs(node: Node, **query: Any) -> list[Any]:
    answer = await node.http.get("/v1/logs", params=query)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def shown(told: list[Any]) -> list[str]:
    return [one["line"] for one in told if "line" in one]


@asynccontextmanager
async def following(node: Node, **query: Any) -> AsyncIterator[AsyncIterator[Any]]:
    """The objects of a follow as they come, without cursors that come by themselves."""

    async def told(lines: AsyncIterator[str]) -> AsyncIterator[Any]:
        async for line in lines:
            one = json.loads(line)
            if set(one) != {"cursor"}:
                yield one

    query = {"follow": "true", **query}
    async with node.http.stream("GET", "/v1/logs", params=query) as answer:
        assert answer.status_code == 200
        yield told(answer.aiter_lines())


async def finished(node: Node, script: str, **fields: Any) -> str:
    session_id = await node.start(script, **fields)
    await node.ended(session_id)
    return session_id


async def test_lines_of_chosen_sessions_come_by_time(node: Node) -> None:
    one = await node.start("echo 1; read -r x; echo 3", stdin="pipe", name="a", labels={"app": "w"})
    await node.until(one, lambda session: session.reader.next == 2)
    await finished(node, "echo 2 >&2", labels={"app": "w"})
    await finished(node, "echo other")
    await node.http.post(f"/v1/sessions/{one}/input", content=b"\n")
    await node.ended(one)
    told = await logs(node, label="app=w")
    assert sorted(shown(told)) == ["1", "2", "3"]
    assert shown(told)[0] == "1"
    first = next(one for one in told if "line" in one)
    del first["cursor"], first["time"]
    expected = {"session": one, "name": "a", "node": "n1", "stream": "stdout", "offset": 0}
    assert first == {**expected, "line": "1"}
    assert shown(await logs(node, session=one, tail_lines=1)) == ["3"]
    assert shown(await logs(node, session=["a", one], since=3600, stream="stdout")) == ["1", "3"]
    assert shown(await logs(node, grep="^[13]$")) == ["1", "3"]


async def test_a_stream_is_resumed_behind_any_of_its_lines(node: Node) -> None:
    for name in "abc":
        await finished(node, f"printf '{name}1\\n{name}2\\n'; printf '{name}3' >&2")
    told = await logs(node)
    lines = [one for one in told if "line" in one]
    assert {one["line"]: one.get("partial", False) for one in lines}["a3"]
    for number, one in enumerate(lines, 1):
        rest = shown(await logs(node, cursor=one["cursor"]))
        assert sorted(rest) == sorted(shown(lines[number:]))
    assert shown(await logs(node, cursor=told[-1]["cursor"])) == []
    assert sorted(shown(await logs(node, cursor=told[0]["cursor"]))) == sorted(shown(told))


async def test_many_sessions_have_their_cursor_behind_each_batch(node: Node) -> None:
    for number in range(FEW_SESSIONS + 1):
        await finished(node, f"echo {number}")
    told = await logs(node)
    assert len(shown(told)) == FEW_SESSIONS + 1
    assert all("cursor" not in one for one in told if "line" in one)
    assert shown(await logs(node, cursor=told[-1]["cursor"])) == []


async def test_sessions_that_start_later_join_a_follow(node: Node) -> None:
    await finished(node, "echo early", labels={"app": "w"})
    async with following(node, label="app") as told:
        assert (await anext(told))["line"] == "early"
        await node.start("echo other")
        late = await node.start(
            "printf 'la'; read -r x; echo te", stdin="pipe", labels={"app": "x"}
        )
        await node.http.post(f"/v1/sessions/{late}/input", content=b"\n")
        one = await anext(told)
        assert (one["session"], one["line"]) == (late, "late")
    await node.waited_for(late, by_anyone=False)


async def test_a_follow_of_named_sessions_ends_with_them(node: Node) -> None:
    session_id = await node.start("echo one; read -r x; printf two", stdin="pipe", name="web")
    async with following(node, session="web", encoding="base64") as told:
        assert (await anext(told))["line"] == "b25l"
        await node.http.post(f"/v1/sessions/{session_id}/input", content=b"\n")
        assert [one["line"] async for one in told] == ["dHdv"]


async def test_a_session_that_is_started_again_goes_on_in_a_follow(node: Node) -> None:
    session_id = await finished(node, "echo again", labels={"app": "w"})
    async with following(node, label="app=w") as told:
        assert (await anext(told))["offset"] == 0
        await node.http.post(f"/v1/sessions/{session_id}/restart", json={})
        assert (await anext(told))["offset"] == 6


async def test_server_sent_events_carry_their_place_as_id(node: Node) -> None:
    session_id = await finished(node, r"printf 'one\ntwo\n'")
    headers = {"Accept": "text/event-stream"}
    query = {"session": session_id}
    answer = await node.http.get("/v1/logs", params=query, headers=headers)
    assert answer.headers["content-type"] == "text/event-stream"
    events = [
        dict(field.split(": ", 1) for field in block.splitlines())
        for block in answer.text.strip().split("\n\n")
    ]
    assert [event.get("event") for event in events] == ["cursor", None, None, "cursor"]
    assert json.loads(events[1]["data"])["line"] == "one"
    headers["Last-Event-ID"] = events[1]["id"]
    answer = await node.http.get("/v1/logs", params=query, headers=headers)
    assert '"one"' not in answer.text
    assert '"two"' in answer.text


async def test_what_the_ring_dropped_is_a_gap(node: Node) -> None:
    session_id = await node.start("echo one; read -r x; exec head -c 3000000 /dev/zero",
                                  stdin="pipe", output={"capacity": 524288})  # fmt: skip
    await node.until(session_id, lambda session: session.reader.next == 4)
    place = (await logs(node, session=session_id))[-1]["cursor"]
    await node.http.post(f"/v1/sessions/{session_id}/input", content=b"\n")
    session = await node.ended(session_id)
    told = await logs(node, session=session_id, cursor=place)
    gap = next(one["gap"] for one in told if "gap" in one)
    assert (gap["session"], gap["from"], gap["to"]) == (session_id, 4, session.reader.oldest)
    assert sum(len(line) for line in shown(told)) == 3000004 - session.reader.oldest


@pytest.mark.parametrize(
    "query",
    [
        {"colour": "red"},
        {"state": "asleep"},
        {"since": "yesterday"},
        {"since": 5, "tail_lines": 1},
        {"grep": "("},
        {"clean": "x"},
        {"cursor": "zzz"},
        {"encoding": "hex"},
        {"follow": "perhaps"},
        {"tail_lines": -1},
    ],
)
async def test_a_bad_query_is_refused_in_words(node: Node, query: dict[str, Any]) -> None:
    answer = await node.http.get("/v1/logs", params=query)
    assert answer.status_code == 400
    assert len(answer.json()["error"]["message"]) > 10


async def test_a_session_that_is_not_there_is_404(node: Node) -> None:
    assert (await node.http.get("/v1/logs", params={"session": "nobody"})).status_code == 404


async def test_too_many_sessions_are_refused_with_what_to_do(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.session_logs.MOST_SESSIONS", 1)
    for _ in range(2):
        await finished(node, "echo x")
    answer = await node.http.get("/v1/logs")
    assert answer.status_code == 400
    assert "narrow" in answer.json()["error"]["message"]
