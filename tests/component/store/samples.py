"""Records for the tests of the store."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from msgspec import Struct

from supervisor.records import (
    By,
    Event,
    Receipt,
    ReceiptState,
    SessionRecord,
    Spec,
    Token,
    Tombstone,
    Verb,
)

Record = TypeVar("Record")


def session(session_id: str, *, generation: int = 1) -> SessionRecord:
    spec = Spec(command=("true",))
    return SessionRecord(
        id=session_id,
        spec=spec,
        spec_hash=spec.digest(),
        kind="start",
        node="n1",
        created_by="uid:0",
        created_at_us=1_700_000_000_000_000,
        generation=generation,
    )


def filled(kind: type[Record]) -> Record:
    """A record with no field left at its default, also in the records that it holds."""
    hints = get_type_hints(kind)
    return kind(**{name: _value(name, hint) for name, hint in hints.items()})


def _value(name: str, hint: Any) -> Any:
    inner = get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Struct):
        return filled(hint)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return list(hint)[-1]
    if get_origin(hint) is tuple:
        return (_value(name, inner[0]), _value(name, inner[0]))
    if get_origin(hint) is Mapping:
        return {"k\u00f6": _value(name, inner[1])}
    if inner:
        return _value(name, inner[0])
    return VALUES.get(hint, {"list": [1, {"none": None}], "text": "\x00\n\U0001f600"})


VALUES = {str: "größe\x00", int: 2**53 + 1, bool: True, float: 0.25}


def receipt(command_id: str, *, at_us: int = 1, state: ReceiptState = ReceiptState.DONE) -> Receipt:
    return Receipt(
        command_id=command_id,
        verb=Verb.KILL,
        session="s1",
        generation=1,
        by=By(user="uid:0"),
        at_us=at_us,
        args={"signal": "SIGKILL"},
        reason="because",
        state=state,
        effect={"tree_gone": True},
    )


def event(event_id: int) -> Event:
    return Event(
        id=event_id,
        time_us=event_id * 10,
        type="session.created",
        node="n1",
        session="s1",
        labels={"a": "b"},
        generation=1,
        data={"pid": 1},
    )


def tombstone(session_id: str, *, ended_at_us: int = 1) -> Tombstone:
    return Tombstone(session_id, "ab" * 32, "exited", 0, ended_at_us)


def token(accessor: str) -> Token:
    return Token(accessor, "cd" * 32, "laptop", 7)
