"""What a create request means, given what is there already: new, the same again, or a conflict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from supervisor.clock import Clock
from supervisor.errors import Conflict, Gone, NameInUse, Refused
from supervisor.ids import new_id
from supervisor.output.segments import MIN_CAPACITY_BYTES
from supervisor.records import By, SessionRecord, Spec, Tombstone

__all__ = ["CreateSession", "differing_fields", "new_record", "same_or_conflict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSession:
    """Start a command as a new session, unless the same one is there already.

    `id` is the caller's idempotency key. `replace` stops a live session of the same name first.
    """

    spec: Spec
    by: By
    id: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    base_env: Mapping[str, str] = field(default_factory=dict)
    kind: str = "start"
    replace: bool = False
    tombstone: Tombstone | None = None


def same_or_conflict(
    request: CreateSession, by_id: SessionRecord | None, records: Iterable[SessionRecord]
) -> SessionRecord | None:
    """Return the session that already is what was asked for; None when a new one may start.

    Raises Conflict (same ID, other spec), Gone (the ID was pruned), NameInUse.
    """
    if by_id is not None:
        if by_id.spec_hash != request.spec.digest():
            differing = differing_fields(by_id.spec, request.spec)
            message = f"session {by_id.id} is already another command; choose another ID"
            raise Conflict(message, session_id=by_id.id, differing=differing)
        return by_id
    if request.tombstone is not None:
        _refuse_pruned(request.tombstone, request.spec.digest())
    name = request.spec.name
    if name is None:
        return None
    holder = next((one for one in records if one.name == name and not one.state.ended), None)
    if holder is None:
        return None
    if holder.spec_hash == request.spec.digest():
        return holder
    differing = differing_fields(holder.spec, request.spec)
    message = f"the name {name} is in use by session {holder.id}; stop it, or replace it"
    raise NameInUse(message, session_id=holder.id, name=name, differing=differing)


def new_record(request: CreateSession, clock: Clock, node: str) -> SessionRecord:
    """Return the record of a session that is about to start.

    Raises Refused for a log that could not hold two segments: its actor would crash on it.
    """
    spec = request.spec
    if spec.output.capacity < MIN_CAPACITY_BYTES:
        message = f"output.capacity is {spec.output.capacity} bytes, and {MIN_CAPACITY_BYTES} is"
        raise Refused(f"{message} the least", least=MIN_CAPACITY_BYTES)
    who = request.by.user or request.by.token or request.by.via
    return SessionRecord(
        id=request.id or new_id(clock),
        spec=spec,
        spec_hash=spec.digest(),
        kind=request.kind,
        node=node,
        created_by=who,
        created_at_us=clock.wall_us(),
        name=spec.name,
        labels=dict(request.labels),
        base_env=dict(request.base_env),
        timeouts=spec.timeouts,
        on_full=spec.output.on_full,
        size=spec.size,
    )


def differing_fields(one: Spec, other: Spec) -> list[str]:
    """Return the names of the fields in which two specs differ; never their values."""
    first: Mapping[str, Any] = one.canonical()
    second: Mapping[str, Any] = other.canonical()
    return sorted(key for key in {*first, *second} if first.get(key) != second.get(key))


def _refuse_pruned(tombstone: Tombstone, digest: str) -> None:
    if tombstone.spec_hash != digest:
        message = f"session {tombstone.id} was another command; choose another ID"
        raise Conflict(message, session_id=tombstone.id, differing=[])
    message = f"session {tombstone.id} has run and is no longer kept; it does not start again"
    raise Gone(
        message,
        session_id=tombstone.id,
        outcome=tombstone.outcome,
        exit_code=tombstone.exit_code,
    )
