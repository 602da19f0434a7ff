"""Records to rows and back, without a database."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from store.codec import read, rows_of
from supervisor.errors import StoreFailed
from supervisor.ports import Change
from supervisor.records import SessionRecord, State
from tests.component.store.samples import event, filled, receipt, session, token, tombstone


def stored(record: SessionRecord) -> dict[str, Any]:
    (row,) = rows_of(Change(sessions=(record,)))
    raw: dict[str, Any] = json.loads(row.record or "")
    return raw


def test_a_change_becomes_its_deletions_then_its_records() -> None:
    rows = rows_of(
        Change(
            sessions=(session("a"),),
            receipts=(receipt("b", at_us=5),),
            events=(event(1),),
            removed=("c",),
            tombstones=(tombstone("d", ended_at_us=6),),
            freed=("e",),
            tokens=(token("f"),),
            tokens_removed=("g",),
        )
    )
    assert [(row.kind, row.id, row.at_us, row.state, row.record is None) for row in rows] == [
        ("session", "c", None, None, True),
        ("tombstone", "e", None, None, True),
        ("token", "g", None, None, True),
        ("session", "a", None, None, False),
        ("receipt", "b", 5, "done", False),
        ("event", 1, None, None, False),
        ("tombstone", "d", 6, None, False),
        ("token", "f", None, None, False),
    ]


def test_a_row_of_an_older_version_takes_the_defaults() -> None:
    raw = stored(session("a"))
    del raw["state"], raw["labels"], raw["spec"]["stdin"]
    back = read(SessionRecord, json.dumps(raw))
    assert (back.state, back.labels, back.spec.stdin) == (State.STARTING, {}, "null")


@pytest.mark.parametrize(
    "inside",
    [
        lambda raw: raw,
        lambda raw: raw["spec"],
        lambda raw: raw["spec"]["output"],
        lambda raw: raw["spec"]["size"],
        lambda raw: raw["cause"]["by"],
        lambda raw: raw["outcome"],
    ],
)
def test_an_unknown_field_is_refused_at_every_depth(inside: Callable[[Any], Any]) -> None:
    raw = stored(filled(SessionRecord))
    inside(raw)["surprise"] = 1
    with pytest.raises(StoreFailed, match="surprise"):
        read(SessionRecord, json.dumps(raw))


def test_free_form_mappings_keep_any_key() -> None:
    raw = stored(filled(SessionRecord))
    raw["containment"]["surprise"] = {"spec": 1}
    back = read(SessionRecord, json.dumps(raw))
    assert back.containment == raw["containment"]


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"id": 1}', '{"id": "a"}'])
def test_what_is_not_a_record_is_refused(text: str) -> None:
    with pytest.raises(StoreFailed, match="SessionRecord"):
        read(SessionRecord, text)


def test_an_unknown_state_is_refused() -> None:
    raw = stored(session("a")) | {"state": "sleeping"}
    with pytest.raises(StoreFailed, match="sleeping"):
        read(SessionRecord, json.dumps(raw))
