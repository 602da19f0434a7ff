"""Routes of sessions, control, events and numbers, against a real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.system.daemon import Daemon

SLEEP = ["sleep", "1000"]


@pytest.fixture
def client(daemon: Daemon) -> Iterator[httpx.Client]:
    with daemon.client() as client:
        yield client


def create(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post("/v1/sessions", json={"command": SLEEP, **body})


def ended(client: httpx.Client, ref: str) -> dict[str, Any]:
    answer = client.post(f"/v1/sessions/{ref}/wait", json={"for": ["ended"]}).json()
    assert answer["reason"] == "met"
    session: dict[str, Any] = answer["session"]
    return session


def test_the_same_id_with_the_same_spec_is_the_same_session(client: httpx.Client) -> None:
    first = create(client, id="one", labels={"a": "b"}, base_env={"X": "1"})
    again = create(client, id="one", labels={"c": "d"}, base_env={"X": "2"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["created"] is True
    assert again.json()["created"] is False
    assert again.json()["session"]["pid"] == first.json()["session"]["pid"]
    other = create(client, id="one", tty=True)
    assert other.status_code == 409
    assert "tty" in other.json()["error"]["details"]["differing"]


def test_a_name_is_held_by_the_living(client: httpx.Client) -> None:
    first = create(client, name="web").json()["session"]
    assert create(client, name="web").json()["session"]["id"] == first["id"]
    taken = create(client, name="web", command=["sleep", "2000"])
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "NAME_IN_USE")
    assert taken.json()["error"]["details"]["session_id"] == first["id"]
    assert client.get("/v1/sessions/web").json()["id"] == first["id"]
    newer = create(client, name="web", command=["sleep", "2000"], replace=True)
    assert newer.status_code == 201
    assert client.get("/v1/sessions/web").json()["id"] == newer.json()["session"]["id"]
    assert ended(client, first["id"])["state"] == "exited"


def test_no_answer_ever_holds_a_value_of_the_environment(client: httpx.Client) -> None:
    made = create(client, id="s", env={"SECRET_A": "hunter2"}, base_env={"SECRET_B": "hunter3"})
    answers = [made, client.get("/v1/sessions"), client.get("/v1/sessions/s")]
    answers += [client.get("/v1/events"), client.post("/v1/sessions/s/kill", json={})]
    assert made.json()["session"]["env_names"] == ["SECRET_A", "SECRET_B"]
    assert not [answer.text for answer in answers if "hunter" in answer.text]


def test_the_list_shows_what_has_changed(client: httpx.Client) -> None:
    create(client, id="one", name="first", labels={"team": "a"})
    create(client, id="two")
    listed = client.get("/v1/sessions").json()
    assert [item["id"] for item in listed["items"]] == ["one", "two"]
    assert listed["next_cursor"] is None
    client.patch("/v1/sessions/one", json={"name": None, "labels": {"team": "b"}})
    client.post("/v1/sessions/two/kill", json={})
    (one,) = client.get("/v1/sessions", params={"label": "team=b"}).json()["items"]
    assert (one["id"], one["name"]) == ("one", None)
    (two,) = client.get("/v1/sessions", params={"state": "exited"}).json()["items"]
    assert (two["id"], two["outcome"], two["exit_code"]) == ("two", "killed", 137)
    missed = client.get("/v1/events", params={"after": listed["event_cursor"], "session": "two"})
    assert "session.exited" in [event["type"] for event in missed.json()["items"]]


def test_only_the_finished_are_removed_unless_forced(client: httpx.Client) -> None:
    create(client, id="one")
    refused = client.delete("/v1/sessions/one")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "CONFLICT")
    assert client.delete("/v1/sessions/one", params={"force": "true"}).status_code == 204
    assert client.get("/v1/sessions/one").status_code == 404
    assert create(client, id="one").status_code == 201
    client.post("/v1/sessions/one/kill", json={})
    assert client.post("/v1/prune").json() == {"removed": ["one"]}
    gone = create(client, id="one")
    assert gone.status_code == 410
    assert gone.json()["error"]["details"]["exit_code"] == 137


def test_a_control_request_leaves_one_receipt(client: httpx.Client) -> None:
    create(client, id="one")
    body = {"command_id": "k1", "reason": "enough"}
    receipt = client.post("/v1/sessions/one/kill", json=body)
    assert receipt.status_code == 200
    told = receipt.json()
    assert (told["verb"], told["state"], told["reason"]) == ("kill", "done", "enough")
    assert told["by"]["client"].startswith("pid ")
    assert client.get("/v1/commands/k1").json() == told
    repeated = client.post("/v1/sessions/one/kill", headers={"Idempotency-Key": "k1"})
    assert repeated.json() == told
    other = client.post("/v1/sessions/one/stop", json={"command_id": "k1"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "CONFLICT")


def test_what_is_not_waited_for_is_accepted(client: httpx.Client) -> None:
    create(client, id="one")
    assert client.post("/v1/sessions/one/signal", json={"signal": "CONT"}).status_code == 202
    stopped = client.post("/v1/sessions/one/stop", json={"wait": False, "command_id": "s"})
    assert stopped.status_code == 202
    assert ended(client, "one")["signal"] == "SIGTERM"


def test_events_are_streamed_and_resumed_after_the_last_one_seen(client: httpx.Client) -> None:
    create(client, id="one")
    headers = {"Accept": "text/event-stream", "Last-Event-ID": "0"}
    with client.stream("GET", "/v1/events", headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        seen = until(lines, "session.started")
    headers["Last-Event-ID"] = seen
    with client.stream("GET", "/v1/events?session=one", headers=headers) as stream:
        client.post("/v1/sessions/one/kill", json={})
        assert int(until(stream.iter_lines(), "session.exited")) > int(seen)


def until(lines: Iterator[str], kind: str) -> str:
    """Read server-sent events up to one of that type; return its ID."""
    last = ""
    for line in lines:
        if line.startswith("id: "):
            last = line.removeprefix("id: ")
        if line == f"event: {kind}":
            return last
    pytest.fail(f"the stream ended before {kind}")


def test_a_number_beyond_what_is_kept_is_taken_as_it_is(client: httpx.Client) -> None:
    page = client.get("/v1/events", params={"after": "999999"}).json()
    assert page == {"items": [], "next": 999999}


def test_the_numbers_tell_what_happened(client: httpx.Client) -> None:
    create(client, id="one", command=["sh", "-c", "printf 12345; exit 3"])
    ended(client, "one")
    create(client, id="two")
    headers = {"Accept": "text/event-stream", "Last-Event-ID": "0"}
    with client.stream("GET", "/v1/events?session=two", headers=headers) as stream:
        until(stream.iter_lines(), "session.started")
    client.get("/v1/sessions/none")
    text = client.get("/metrics").text
    assert 'holdfast_sessions{state="running"} 1.0' in text
    assert 'holdfast_session_ends_total{outcome="exited"} 1.0' in text
    assert 'holdfast_requests_total{status="404"} 1.0' in text
    assert "holdfast_output_bytes_total 5.0" in text
    assert "holdfast_spawn_seconds_count 2.0" in text


def test_the_routes_describe_themselves(client: httpx.Client) -> None:
    assert client.get("/openapi.json").json()["openapi"] == "3.1.0"
    assert client.get("/docs").headers["content-type"].startswith("text/html")
    assert client.get("/readyz").json() == {"ready": True, "degraded": []}
