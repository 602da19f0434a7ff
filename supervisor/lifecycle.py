"""The life of a session as one literal table.

Rules of this file
- `TRANSITIONS[state][event]` has a cell for every pair. A cell names its rule and every state
  that the rule may lead to; the diagram in docs/design.md is generated from it.
- `decide` is pure: it takes a record and returns the next one with the effects to carry out. It
  performs nothing and knows no clock.
- Refused raises IllegalEvent and changes nothing. Ignored is a duplicate or comes too late.
- The session drops events of an earlier generation before they come here.
- The first cause began the end and stays; signals that were delivered add up, so that the
  outcome can name the one that ended the leader. The last of Stop, Kill and Restart decides what
  follows: Stop and Kill clear a restart that waited. Where nobody asked, the restart policy does
  (`restart.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from signal import SIGKILL
from typing import NamedTuple

from supervisor.errors import SupervisorError
from supervisor.records import Cause, Delivered, SessionRecord, State
from supervisor.restart import by_policy

__all__ = [
    "IGNORED",
    "REFUSED",
    "TRANSITIONS",
    "BeginDrain",
    "BeginGrace",
    "Cell",
    "Conclude",
    "Effect",
    "Happening",
    "IllegalEvent",
    "KillLeftovers",
    "KillTree",
    "LifeEvent",
    "SignalTree",
    "Spawn",
    "Superseded",
    "decide",
    "next_generation",
]


class LifeEvent(StrEnum):
    """What can happen to a session; a timeout that expired is a STOP with its own cause."""

    SPAWNED = "spawned"
    SPAWN_FAILED = "spawn_failed"
    STOP = "stop"
    KILL = "kill"
    GRACE_EXPIRED = "grace_expired"
    CHILD_EXITED = "child_exited"
    DRAIN_ENDED = "drain_ended"
    KEEPER_LOST = "keeper_lost"
    BACKOFF_ELAPSED = "backoff_elapsed"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Happening:
    """One event. STOP, KILL and RESTART carry the cause that asks for the end.

    `now_s` is monotonic; only what the restart policy decides reads it.
    """

    event: LifeEvent
    cause: Cause | None = None
    now_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the child of the record's generation."""


@dataclass(frozen=True, slots=True)
class SignalTree:
    """Send a signal to every process of the tree."""

    signal: int


@dataclass(frozen=True, slots=True)
class BeginGrace:
    """Report GRACE_EXPIRED after so many seconds, unless it is due sooner already."""

    seconds: float


@dataclass(frozen=True, slots=True)
class KillTree:
    """SIGKILL every process of the tree."""


@dataclass(frozen=True, slots=True)
class BeginDrain:
    """The leader has exited: report DRAIN_ENDED when its output ended, or for too long nothing."""


@dataclass(frozen=True, slots=True)
class Conclude:
    """Kill or keep leftovers and commit the outcome; then what the new state says.

    STARTING: the next child. BACKOFF: BACKOFF_ELAPSED is reported at `backoff_until_s`.
    """


@dataclass(frozen=True, slots=True)
class KillLeftovers:
    """Kill what outlived the leader, if anything was kept."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """The receipt of this restart fails: a later request took its place."""

    command_id: str


Effect = (
    Spawn | SignalTree | BeginGrace | KillTree | BeginDrain | Conclude | KillLeftovers | Superseded
)
Step = tuple[SessionRecord, tuple[Effect, ...]]
Rule = Callable[[SessionRecord, Happening], Step]


class IllegalEvent(SupervisorError):
    """An event that cannot happen in this state; a bug, and nothing was changed."""


class Cell(NamedTuple):
    """One cell of the table: what is done, in a word or two, and where it may lead."""

    rule: Rule
    to: tuple[State, ...] = ()


def _ignored(record: SessionRecord, _: Happening) -> Step:
    return record, ()


def _refused(record: SessionRecord, happening: Happening) -> Step:
    message = f"{happening.event} cannot happen while {record.state}"
    raise IllegalEvent(message, state=record.state, event=happening.event)


def _settle_in(record: SessionRecord, _: Happening) -> Step:
    """The child runs; what was asked for meanwhile is done now."""
    if record.cause is None:
        return record.but(state=State.RUNNING), ()
    return _begin_end(record, record.cause)


def _fail_to_start(record: SessionRecord, happening: Happening) -> Step:
    return by_policy(record, State.EXITED, happening.now_s), (Conclude(),)


def _lose(record: SessionRecord, happening: Happening) -> Step:
    return by_policy(record, State.LOST, happening.now_s), (Conclude(),)


def _remember(record: SessionRecord, happening: Happening) -> Step:
    """Keep the request for the moment when the child runs; a kill outweighs a stop."""
    cause = _cause_of(happening)
    record, superseded = _what_follows(record, cause)
    if record.cause is None or record.cause.kind != "kill":
        record = record.but(cause=cause)
    return record, superseded


def _end(record: SessionRecord, happening: Happening) -> Step:
    """The first request for an end."""
    cause = _cause_of(happening)
    record, _ = _what_follows(record, cause)
    return _begin_end(record.but(cause=cause), cause)


def _hasten(record: SessionRecord, happening: Happening) -> Step:
    """A further stop: its grace counts when it ends sooner."""
    cause = _cause_of(happening)
    record, superseded = _what_follows(record, cause)
    return record, (*superseded, BeginGrace(cause.grace_s))


def _kill_now(record: SessionRecord, happening: Happening) -> Step:
    cause = _cause_of(happening)
    record, superseded = _what_follows(record, cause)
    return _deliver(record, cause, SIGKILL), (*superseded, KillTree())


def _restart_after(record: SessionRecord, happening: Happening) -> Step:
    """The end has begun already; only what follows it changes."""
    return _what_follows(record, _cause_of(happening))


def _escalate(record: SessionRecord, _: Happening) -> Step:
    cause = record.cause
    return (_deliver(record, cause, SIGKILL) if cause else record), (KillTree(),)


def _drain(record: SessionRecord, _: Happening) -> Step:
    return record.but(state=State.DRAINING), (BeginDrain(),)


def _note_end_of_output(record: SessionRecord, _: Happening) -> Step:
    """All streams ended before the leader: the drain will have nothing to wait for."""
    return record.but(drained=True), ()


def _kill_leftovers(record: SessionRecord, happening: Happening) -> Step:
    record, superseded = _what_follows(record, _cause_of(happening))
    return record, (*superseded, KillLeftovers())


def _conclude(record: SessionRecord, happening: Happening) -> Step:
    """The outcome is made now; a restart that waits makes it the next generation's start."""
    if record.restart_wanted is not None:
        return record.but(state=State.STARTING), (Conclude(),)
    state = State.EXITED if record.status is not None else State.LOST
    return by_policy(record, state, happening.now_s), (Conclude(),)


def _end_for_good(record: SessionRecord, _: Happening) -> Step:
    """No child is there to be ended; the next one is called off."""
    lost = record.lost_reason is not None and record.status is None
    return record.but(state=State.LOST if lost else State.EXITED, backoff_until_s=None), ()


def _kill_kept(record: SessionRecord, _: Happening) -> Step:
    return record, (KillLeftovers(),)


def _start_again(record: SessionRecord, happening: Happening) -> Step:
    """Somebody asks for it: the policy counts anew."""
    wanted = _cause_of(happening).command_id
    return next_generation(record.but(restart_wanted=wanted, restarted_s=())), (Spawn(),)


def _start_next(record: SessionRecord, _: Happening) -> Step:
    return next_generation(record), (Spawn(),)


def _begin_end(record: SessionRecord, cause: Cause) -> Step:
    record = _deliver(record, cause, cause.signal).but(state=State.STOPPING)
    if cause.kind == "kill":
        return record, (KillTree(),)
    return record, (SignalTree(cause.signal), BeginGrace(cause.grace_s))


def _what_follows(record: SessionRecord, cause: Cause) -> Step:
    """Set or clear the restart that waits; the receipt of one that was cleared fails."""
    wanted = cause.command_id if cause.kind == "restart" else None
    former = record.restart_wanted
    superseded = (Superseded(former),) if former is not None and former != wanted else ()
    return record.but(restart_wanted=wanted), superseded


def _deliver(record: SessionRecord, cause: Cause, signal: int) -> SessionRecord:
    entry = Delivered(int(signal), cause.by, cause.command_id or "")
    return record.but(delivered=(*record.delivered[-15:], entry))


def _cause_of(happening: Happening) -> Cause:
    if happening.cause is None:
        raise IllegalEvent(f"{happening.event} without a cause", event=happening.event)
    return happening.cause


IGNORED = Cell(_ignored)
REFUSED = Cell(_refused)

_ENDED: dict[LifeEvent, Cell] = {
    LifeEvent.SPAWNED: IGNORED,
    LifeEvent.SPAWN_FAILED: IGNORED,
    LifeEvent.STOP: Cell(_kill_kept),
    LifeEvent.KILL: Cell(_kill_kept),
    LifeEvent.GRACE_EXPIRED: IGNORED,
    LifeEvent.CHILD_EXITED: IGNORED,
    LifeEvent.DRAIN_ENDED: IGNORED,
    LifeEvent.KEEPER_LOST: IGNORED,
    LifeEvent.BACKOFF_ELAPSED: IGNORED,
    LifeEvent.RESTART: Cell(_start_again, (State.STARTING,)),
}

TRANSITIONS: dict[State, dict[LifeEvent, Cell]] = {
    State.STARTING: {
        LifeEvent.SPAWNED: Cell(_settle_in, (State.RUNNING, State.STOPPING)),
        LifeEvent.SPAWN_FAILED: Cell(_fail_to_start, (State.EXITED, State.BACKOFF)),
        LifeEvent.STOP: Cell(_remember),
        LifeEvent.KILL: Cell(_remember),
        LifeEvent.GRACE_EXPIRED: REFUSED,
        LifeEvent.CHILD_EXITED: REFUSED,
        LifeEvent.DRAIN_ENDED: REFUSED,
        LifeEvent.KEEPER_LOST: Cell(_lose, (State.LOST, State.BACKOFF)),
        LifeEvent.BACKOFF_ELAPSED: IGNORED,
        LifeEvent.RESTART: Cell(_remember),
    },
    State.RUNNING: {
        LifeEvent.SPAWNED: IGNORED,
        LifeEvent.SPAWN_FAILED: REFUSED,
        LifeEvent.STOP: Cell(_end, (State.STOPPING,)),
        LifeEvent.KILL: Cell(_end, (State.STOPPING,)),
        LifeEvent.GRACE_EXPIRED: IGNORED,
        LifeEvent.CHILD_EXITED: Cell(_drain, (State.DRAINING,)),
        LifeEvent.DRAIN_ENDED: Cell(_note_end_of_output),
        LifeEvent.KEEPER_LOST: IGNORED,
        LifeEvent.BACKOFF_ELAPSED: IGNORED,
        LifeEvent.RESTART: Cell(_end, (State.STOPPING,)),
    },
    State.STOPPING: {
        LifeEvent.SPAWNED: IGNORED,
        LifeEvent.SPAWN_FAILED: REFUSED,
        LifeEvent.STOP: Cell(_hasten),
        LifeEvent.KILL: Cell(_kill_now),
        LifeEvent.GRACE_EXPIRED: Cell(_escalate),
        LifeEvent.CHILD_EXITED: Cell(_drain, (State.DRAINING,)),
        LifeEvent.DRAIN_ENDED: Cell(_note_end_of_output),
        LifeEvent.KEEPER_LOST: IGNORED,
        LifeEvent.BACKOFF_ELAPSED: IGNORED,
        LifeEvent.RESTART: Cell(_restart_after),
    },
    State.DRAINING: {
        LifeEvent.SPAWNED: IGNORED,
        LifeEvent.SPAWN_FAILED: REFUSED,
        LifeEvent.STOP: Cell(_kill_leftovers),
        LifeEvent.KILL: Cell(_kill_leftovers),
        LifeEvent.GRACE_EXPIRED: IGNORED,
        LifeEvent.CHILD_EXITED: IGNORED,
        LifeEvent.DRAIN_ENDED: Cell(
            _conclude, (State.EXITED, State.LOST, State.BACKOFF, State.STARTING)
        ),
        LifeEvent.KEEPER_LOST: IGNORED,
        LifeEvent.BACKOFF_ELAPSED: IGNORED,
        LifeEvent.RESTART: Cell(_restart_after),
    },
    State.BACKOFF: {
        LifeEvent.SPAWNED: IGNORED,
        LifeEvent.SPAWN_FAILED: REFUSED,
        LifeEvent.STOP: Cell(_end_for_good, (State.EXITED, State.LOST)),
        LifeEvent.KILL: Cell(_end_for_good, (State.EXITED, State.LOST)),
        LifeEvent.GRACE_EXPIRED: IGNORED,
        LifeEvent.CHILD_EXITED: IGNORED,
        LifeEvent.DRAIN_ENDED: IGNORED,
        LifeEvent.KEEPER_LOST: IGNORED,
        LifeEvent.BACKOFF_ELAPSED: Cell(_start_next, (State.STARTING,)),
        LifeEvent.RESTART: Cell(_start_again, (State.STARTING,)),
    },
    State.EXITED: _ENDED,
    State.LOST: _ENDED,
}


def next_generation(record: SessionRecord) -> SessionRecord:
    """Return the record of the child that follows: same ID, same offsets, nothing else kept."""
    return record.but(
        state=State.STARTING,
        desired="running",
        ready=False,
        generation=record.generation + 1,
        generation_offset=record.output_next,
        former_offset=record.generation_offset,
        backoff_until_s=None,
        gave_up=False,
        restarts=record.restarts + 1,
        restarting=record.restart_wanted,
        restart_wanted=None,
        pid=None,
        containment=None,
        started_at_us=None,
        ended_at_us=None,
        deadline_s=None,
        input_closed=False,
        output_complete=False,
        cause=None,
        delivered=(),
        drained=False,
        status=None,
        spawn_error=None,
        lost_reason=None,
        kept=False,
        outcome=None,
        survivors=(),
        ports=(),
    )


def decide(record: SessionRecord, happening: Happening) -> Step:
    """Return the record after the event, and the effects to carry out in order.

    Raises IllegalEvent for an event that cannot happen in the record's state.
    """
    return TRANSITIONS[record.state][happening.event].rule(record, happening)
