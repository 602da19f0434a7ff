"""What tests ask a daemon for, in the words of the contract."""

from __future__ import annotations

from typing import Any

import httpx


def start(client: httpx.Client, *command: str, **spec: Any) -> dict[str, Any]:
    """Start a session; the session as it was answered."""
    answer = client.post("/v1/sessions", json={"command": list(command), **spec})
    assert answer.status_code == 201, answer.text
    session: dict[str, Any] = answer.json()["session"]
    return session


def get(client: httpx.Client, ref: str) -> dict[str, Any]:
    """One session as it is now."""
    session: dict[str, Any] = client.get(f"/v1/sessions/{ref}").raise_for_status().json()
    return session


def wait(client: httpx.Client, ref: str, *conditions: Any, **more: Any) -> dict[str, Any]:
    """Wait until one of the conditions is met; the answer."""
    body = {"for": list(conditions), "timeout": 50, **more}
    answer = client.post(f"/v1/sessions/{ref}/wait", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    assert told["reason"] == "met", told
    return told


def ended(client: httpx.Client, ref: str) -> dict[str, Any]:
    """Wait for the end; the session then."""
    session: dict[str, Any] = wait(client, ref, "ended")["session"]
    return session


def printed(client: httpx.Client, ref: str, line: str) -> None:
    """Wait until a line that matches was printed."""
    wait(client, ref, {"log": line})


def output(client: httpx.Client, ref: str, **query: Any) -> bytes:
    """What is kept of its output, raw."""
    answer = client.get(f"/v1/sessions/{ref}/output", params=query)
    assert answer.status_code == 200, answer.text
    return answer.content


def type_in(client: httpx.Client, ref: str, content: bytes) -> None:
    """Give it input."""
    answer = client.post(f"/v1/sessions/{ref}/input", content=content)
    assert answer.status_code == 200, answer.text
