"""Records for the pure tests: a session that runs `true`, and what may be asked of it."""

from __future__ import annotations

from typing import Any

from supervisor.records import By, Cause, Receipt, SessionRecord, Spec, State, Verb

ME = By(user="ann", via="unix")


def record(state: State = State.RUNNING, **fields: Any) -> SessionRecord:
    spec = fields.pop("spec", Spec(command=("true",)))
    made = SessionRecord(
        id=fields.pop("id", "x"),
        spec=spec,
        spec_hash=spec.digest(),
        kind="start",
        node="n1",
        created_by="ann",
        created_at_us=1,
        state=state,
    )
    return made.but(**fields)


def cause(kind: str, command_id: str = "c1", *, signal: int = 15, grace_s: float = 10.0) -> Cause:
    number, which = 9 if kind == "kill" else signal, "run" if kind == "timeout" else None
    return Cause(kind, ME, number, command_id, grace_s, which)


def receipt(command_id: str = "c1", **fields: Any) -> Receipt:
    given = {"verb": Verb.STOP, "session": "x", "generation": 1, "by": ME, "at_us": 1, **fields}
    return Receipt(command_id=command_id, **given)
