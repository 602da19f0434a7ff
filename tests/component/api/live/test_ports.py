"""Ports and usage over HTTP: in a list, in a single answer, as a filter, as events."""

from __future__ import annotations

from typing import Any

import pytest

from tests.component.api.live.conftest import Node
from tests.listening import listener


async def listed(node: Node, **query: Any) -> list[dict[str, Any]]:
    answer = await node.http.get("/v1/sessions", params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def started(node: Node, address: str = "127.0.0.1") -> tuple[str, int]:
    """A session that listens; its ID and its port."""
    session_id = await node.start(listener(address), stdin="pipe")
    answer = await node.http.post(
        f"/v1/sessions/{session_id}/wait", json={"for": [{"port": "any"}]}
    )
    port: int = answer.json()["evidence"]["port"]
    return session_id, port


async def test_a_single_answer_shows_the_ports_and_usage_of_this_moment(node: Node) -> None:
    session_id, port = await started(node, "::1")
    view = (await node.http.get(f"/v1/sessions/{session_id}")).json()
    (shown,) = view["ports"]
    assert (shown["port"], shown["address"]) == (port, "::1")
    assert shown["since"] >= view["started_at"]
    assert view["usage"].keys() == {"cpu_seconds", "memory_bytes", "processes", "at"}
    assert view["usage"]["processes"] >= 1


async def test_a_port_finds_the_session_that_listens_on_it(node: Node) -> None:
    session_id, port = await started(node)
    other_id, _ = await started(node)
    (found,) = await listed(node, port=port)
    assert found["id"] == session_id
    assert [one["port"] for one in found["ports"]] == [port]
    await node.http.post(f"/v1/sessions/{session_id}/kill", json={})
    assert await listed(node, port=port) == []
    assert (await node.http.get(f"/v1/sessions/{session_id}")).json()["ports"] == []
    assert [one["id"] for one in await listed(node, state="running")] == [other_id]


async def test_a_list_shows_usage_only_when_asked(node: Node) -> None:
    session_id = await node.start("exec sleep 600")
    (plain,) = await listed(node)
    assert "usage" not in plain
    (full,) = await listed(node, usage="true")
    assert (full["id"], full["usage"]["processes"]) == (session_id, 1)
    assert {**full, "usage": None} == {**plain, "usage": None}
    assert "usage" not in (await listed(node))[0]


async def test_ports_are_told_as_events(node: Node) -> None:
    session_id, port = await started(node)
    await listed(node, port=port)
    await node.until(session_id, lambda session: bool(session.record.ports))
    await node.http.post(f"/v1/sessions/{session_id}/kill", json={})
    query = {"type": ["port.opened", "port.closed"], "session": session_id}
    events = (await node.http.get("/v1/events", params=query)).json()["items"]
    assert [(one["type"], one["data"]["port"]) for one in events] == [
        ("port.opened", port),
        ("port.closed", port),
    ]
    assert events[0]["data"].keys() == {"port", "address", "pid"}


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("port=0", "1 to 65535"),
        ("port=65536", "1 to 65535"),
        ("port=08080", "1 to 65535"),
        ("port=http", "1 to 65535"),
        ("port=", "1 to 65535"),
        ("port=-1", "1 to 65535"),
        ("port=%C2%B2", "1 to 65535"),
        ("usage=yes", "true or false"),
        ("usage=", "true or false"),
    ],
)
async def test_a_bad_query_is_refused_in_words(node: Node, query: str, told: str) -> None:
    answer = await node.http.get(f"/v1/sessions?{query}")
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]
