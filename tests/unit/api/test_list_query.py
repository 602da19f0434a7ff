"""Filters, order and cursor of the list, on records without a daemon."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import pytest

from api.errors import BadRequest
from api.list_query import parse, select
from supervisor.records import Outcome, OutcomeKind, SessionRecord, Spec, State


@dataclass
class Listed:
    """As much of a session as the query looks at."""

    record: SessionRecord


def listed(number: int, **fields: object) -> Listed:
    defaults: dict[str, object] = {
        "id": f"s{number}",
        "spec": Spec(command=("sleep", str(number))),
        "spec_hash": "",
        "kind": "start",
        "node": "here",
        "created_by": "root",
        "created_at_us": 1_000_000 * number,
    }
    return Listed(SessionRecord(**{**defaults, **fields}))  # type: ignore[arg-type]


SESSIONS = [
    listed(1, name="web", labels={"team": "a"}, state=State.RUNNING),
    listed(2, name="db", labels={"team": "b", "tier": "1"}, state=State.DRAINING),
    listed(
        3,
        name="web",
        kind="exec",
        state=State.EXITED,
        ended_at_us=9_000_000,
        outcome=Outcome(OutcomeKind.KILLED, 137, "SIGKILL", "Killed."),
    ),
    listed(4, state=State.LOST, created_by="ci", outcome=Outcome(OutcomeKind.LOST, None, None, "")),
]


def ids(*pairs: tuple[str, str]) -> list[str]:
    page, _ = select(SESSIONS, parse(pairs))
    return [session.record.id for session in page]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], ["s1", "s2", "s3", "s4"]),
        ([("state", "running")], ["s1"]),
        ([("state", "stopping")], ["s2"]),
        ([("state", "running"), ("state", "lost")], ["s1", "s4"]),
        ([("state", "running"), ("name", "db")], []),
        ([("name", "web")], ["s1", "s3"]),
        ([("label", "team")], ["s1", "s2"]),
        ([("label", "team=b")], ["s2"]),
        ([("outcome", "killed")], ["s3"]),
        ([("exit_code", "137")], ["s3"]),
        ([("kind", "exec")], ["s3"]),
        ([("created_by", "ci")], ["s4"]),
        ([("machine", "local"), ("node", "here")], ["s1", "s2", "s3", "s4"]),
        ([("q", "SLEEP 2")], ["s2"]),
        ([("since", "1970-01-01T00:00:03Z")], ["s3", "s4"]),
        ([("ended_since", "1970-01-01T01:00:09+01:00")], ["s3"]),
        ([("sort", "-created_at")], ["s4", "s3", "s2", "s1"]),
        ([("sort", "name")], ["s4", "s2", "s1", "s3"]),
        ([("sort", "-ended_at"), ("limit", "1")], ["s3"]),
    ],
)
def test_filters_and_order(pairs: list[tuple[str, str]], expected: list[str]) -> None:
    assert ids(*pairs) == expected


def pages(sort: str, limit: int) -> Iterator[str]:
    cursor: str | None = ""
    while cursor is not None:
        query = [("sort", sort), ("limit", str(limit))] + ([("cursor", cursor)] if cursor else [])
        page, cursor = select(SESSIONS, parse(query))
        yield from (session.record.id for session in page)


@pytest.mark.parametrize(
    ("sort", "limit"),
    list(product(["created_at", "-created_at", "name", "-name", "ended_at", "state"], [1, 2, 4])),
)
def test_the_pages_together_are_the_list(sort: str, limit: int) -> None:
    assert list(pages(sort, limit)) == ids(("sort", sort))


def test_a_session_that_goes_between_two_pages_hides_no_other() -> None:
    first, cursor = select(SESSIONS, parse([("limit", "2")]))
    assert cursor is not None
    rest, _ = select(SESSIONS[2:], parse([("limit", "2"), ("cursor", cursor)]))
    assert [session.record.id for session in (*first, *rest)] == ["s1", "s2", "s3", "s4"]


@pytest.mark.parametrize(
    "pair",
    [
        ("colour", "red"),
        ("state", "runing"),
        ("state", "draining"),
        ("outcome", "success"),
        ("kind", "service"),
        ("sort", "spec"),
        ("sort", "__class__"),
        ("limit", "0"),
        ("limit", "-1"),
        ("limit", "many"),
        ("limit", "10001"),
        ("limit", "²"),
        ("since", "yesterday"),
        ("since", "2026-01-01T00:00:00"),
        ("cursor", "!"),
        ("cursor", "e30"),
        ("cursor", "WyJuYW1lIiwiYSIsImIiXQ"),
    ],
)
def test_a_bad_query_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(BadRequest):
        parse([pair])


def test_a_typo_is_answered_with_the_values_there_are() -> None:
    with pytest.raises(BadRequest, match="starting, running, stopping, exited, lost") as caught:
        parse([("state", "foo")])
    assert caught.value.details == {"query": "state"}
