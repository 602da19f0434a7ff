"""The table of the contract, section 1, said again in other words and compared cell by cell."""

from __future__ import annotations

from itertools import product
from signal import SIGKILL
from typing import Any

import pytest
from msgspec import structs

from supervisor.lifecycle import (
    TRANSITIONS,
    BeginDrain,
    BeginGrace,
    Conclude,
    Effect,
    Happening,
    IllegalEvent,
    KillLeftovers,
    KillTree,
    LifeEvent,
    SignalTree,
    Spawn,
    Superseded,
    decide,
    next_generation,
)
from supervisor.records import Cause, SessionRecord, State
from tests.unit.supervisor.samples import cause, record

S, E = State, LifeEvent
CAUSES = {
    E.STOP: cause("stop", "new"),
    E.KILL: cause("kill", "new"),
    E.RESTART: cause("restart", "new"),
}
TERM, GRACE = SignalTree(15), BeginGrace(10.0)

IGNORED: list[tuple[State, LifeEvent]] = [
    (S.RUNNING, E.SPAWNED),
    (S.RUNNING, E.GRACE_EXPIRED),
    (S.RUNNING, E.KEEPER_LOST),
    (S.STOPPING, E.SPAWNED),
    (S.STOPPING, E.KEEPER_LOST),
    (S.DRAINING, E.SPAWNED),
    (S.DRAINING, E.GRACE_EXPIRED),
    (S.DRAINING, E.CHILD_EXITED),
    (S.DRAINING, E.KEEPER_LOST),
    *((state, E.BACKOFF_ELAPSED) for state in S if state is not S.BACKOFF),
    (S.BACKOFF, E.SPAWNED),
    (S.BACKOFF, E.GRACE_EXPIRED),
    (S.BACKOFF, E.CHILD_EXITED),
    (S.BACKOFF, E.DRAIN_ENDED),
    (S.BACKOFF, E.KEEPER_LOST),
    *product(
        (S.EXITED, S.LOST),
        (
            E.SPAWNED,
            E.SPAWN_FAILED,
            E.GRACE_EXPIRED,
            E.CHILD_EXITED,
            E.DRAIN_ENDED,
            E.KEEPER_LOST,
        ),
    ),
]
REFUSED: list[tuple[State, LifeEvent]] = [
    (S.STARTING, E.GRACE_EXPIRED),
    (S.STARTING, E.CHILD_EXITED),
    (S.STARTING, E.DRAIN_ENDED),
    (S.RUNNING, E.SPAWN_FAILED),
    (S.STOPPING, E.SPAWN_FAILED),
    (S.DRAINING, E.SPAWN_FAILED),
    (S.BACKOFF, E.SPAWN_FAILED),
]
CHANGES: dict[tuple[State, LifeEvent], tuple[State, tuple[Effect, ...]]] = {
    (S.STARTING, E.SPAWNED): (S.RUNNING, ()),
    (S.STARTING, E.SPAWN_FAILED): (S.EXITED, (Conclude(),)),
    (S.STARTING, E.STOP): (S.STARTING, ()),
    (S.STARTING, E.KILL): (S.STARTING, ()),
    (S.STARTING, E.KEEPER_LOST): (S.LOST, (Conclude(),)),
    (S.STARTING, E.RESTART): (S.STARTING, ()),
    (S.RUNNING, E.STOP): (S.STOPPING, (TERM, GRACE)),
    (S.RUNNING, E.KILL): (S.STOPPING, (KillTree(),)),
    (S.RUNNING, E.CHILD_EXITED): (S.DRAINING, (BeginDrain(),)),
    (S.RUNNING, E.DRAIN_ENDED): (S.RUNNING, ()),
    (S.RUNNING, E.RESTART): (S.STOPPING, (TERM, GRACE)),
    (S.STOPPING, E.STOP): (S.STOPPING, (GRACE,)),
    (S.STOPPING, E.KILL): (S.STOPPING, (KillTree(),)),
    (S.STOPPING, E.GRACE_EXPIRED): (S.STOPPING, (KillTree(),)),
    (S.STOPPING, E.CHILD_EXITED): (S.DRAINING, (BeginDrain(),)),
    (S.STOPPING, E.DRAIN_ENDED): (S.STOPPING, ()),
    (S.STOPPING, E.RESTART): (S.STOPPING, ()),
    (S.DRAINING, E.STOP): (S.DRAINING, (KillLeftovers(),)),
    (S.DRAINING, E.KILL): (S.DRAINING, (KillLeftovers(),)),
    (S.DRAINING, E.DRAIN_ENDED): (S.LOST, (Conclude(),)),
    (S.DRAINING, E.RESTART): (S.DRAINING, ()),
    (S.BACKOFF, E.STOP): (S.EXITED, ()),
    (S.BACKOFF, E.KILL): (S.EXITED, ()),
    (S.BACKOFF, E.BACKOFF_ELAPSED): (S.STARTING, (Spawn(),)),
    (S.BACKOFF, E.RESTART): (S.STARTING, (Spawn(),)),
    (S.EXITED, E.STOP): (S.EXITED, (KillLeftovers(),)),
    (S.EXITED, E.KILL): (S.EXITED, (KillLeftovers(),)),
    (S.EXITED, E.RESTART): (S.STARTING, (Spawn(),)),
    (S.LOST, E.STOP): (S.LOST, (KillLeftovers(),)),
    (S.LOST, E.KILL): (S.LOST, (KillLeftovers(),)),
    (S.LOST, E.RESTART): (S.STARTING, (Spawn(),)),
}


def step(
    before: SessionRecord, event: LifeEvent, why: Cause | None = None
) -> tuple[SessionRecord, tuple[Effect, ...]]:
    return decide(before, Happening(event, why or CAUSES.get(event)))


def test_every_cell_is_written_here_once() -> None:
    cells = [*IGNORED, *REFUSED, *CHANGES]
    assert len(cells) == len(set(cells))
    assert set(cells) == set(product(State, LifeEvent))
    assert {(state, event) for state in TRANSITIONS for event in TRANSITIONS[state]} == set(cells)


@pytest.mark.parametrize(("state", "event"), IGNORED)
def test_what_is_ignored_changes_nothing(state: State, event: LifeEvent) -> None:
    before = record(state)
    assert step(before, event) == (before, ())


@pytest.mark.parametrize(("state", "event"), REFUSED)
def test_what_is_refused_raises_and_names_both(state: State, event: LifeEvent) -> None:
    before = record(state)
    with pytest.raises(IllegalEvent) as raised:
        step(before, event)
    assert raised.value.details == {"state": state, "event": event}
    assert before == record(state)


@pytest.mark.parametrize(("state", "event"), list(CHANGES))
def test_every_other_cell_leads_where_the_contract_says(state: State, event: LifeEvent) -> None:
    after, effects = step(record(state, generation=3), event)
    assert (after.state, effects) == CHANGES[state, event]


VARIANTS: tuple[dict[str, object], ...] = (
    {},
    {"status": 0},
    {"cause": cause("stop")},
    {"cause": cause("kill")},
    {"restart_wanted": "r1", "status": 0},
    {"restart_wanted": "r1", "cause": cause("restart", "r1")},
    {"kept": True, "lost_reason": "reboot"},
)


@pytest.mark.parametrize(("state", "event"), list(product(S, E)))
def test_a_rule_leads_only_to_a_state_that_its_cell_names(state: State, event: LifeEvent) -> None:
    if (state, event) in REFUSED:
        return
    reached = {step(record(state, **each), event)[0].state for each in VARIANTS}
    assert reached - {state} <= set(TRANSITIONS[state][event].to)


@pytest.mark.parametrize("event", [E.STOP, E.KILL, E.RESTART])
@pytest.mark.parametrize("state", [S.STARTING, S.RUNNING, S.STOPPING, S.DRAINING, S.EXITED])
def test_an_end_without_a_cause_is_a_bug(state: State, event: LifeEvent) -> None:
    if state is S.EXITED and event is not E.RESTART:
        return
    with pytest.raises(IllegalEvent):
        decide(record(state), Happening(event))


@pytest.mark.parametrize(
    ("kind", "effects"),
    [("stop", (TERM, GRACE)), ("timeout", (TERM, GRACE)), ("kill", (KillTree(),))],
)
def test_what_was_remembered_while_it_started_is_done_when_it_runs(
    kind: str, effects: tuple[Effect, ...]
) -> None:
    after, done = step(record(S.STARTING, cause=cause(kind)), E.SPAWNED)
    assert (after.state, done) == (S.STOPPING, effects)
    assert [each.command_id for each in after.delivered] == ["c1"]


def test_a_kill_outweighs_a_stop_that_comes_later_while_it_starts() -> None:
    waiting = step(record(S.STARTING), E.KILL, cause("kill", "k"))[0]
    waiting = step(waiting, E.STOP, cause("stop", "s"))[0]
    assert waiting.cause == cause("kill", "k")
    assert step(waiting, E.SPAWNED)[1] == (KillTree(),)


def test_a_kill_takes_the_place_of_a_stop_while_it_starts() -> None:
    waiting = step(record(S.STARTING, cause=cause("stop", "s")), E.KILL)[0]
    assert waiting.cause == CAUSES[E.KILL]


@pytest.mark.parametrize("event", [E.STOP, E.KILL])
@pytest.mark.parametrize("state", [S.STARTING, S.STOPPING, S.DRAINING])
def test_a_later_stop_or_kill_clears_the_restart_that_waited(
    state: State, event: LifeEvent
) -> None:
    after, effects = step(record(state, restart_wanted="r1", cause=cause("restart", "r1")), event)
    assert after.restart_wanted is None
    assert effects[0] == Superseded("r1")


@pytest.mark.parametrize("state", [S.STARTING, S.STOPPING, S.DRAINING])
def test_a_later_restart_takes_the_place_of_the_former(state: State) -> None:
    after, effects = step(record(state, restart_wanted="r1"), E.RESTART)
    assert (after.restart_wanted, effects) == ("new", (Superseded("r1"),))


@pytest.mark.parametrize("state", [S.STARTING, S.RUNNING, S.STOPPING, S.DRAINING])
def test_a_restart_is_remembered_for_the_end(state: State) -> None:
    assert step(record(state), E.RESTART)[0].restart_wanted == "new"


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"status": 0}, S.EXITED),
        ({"status": 9}, S.EXITED),
        ({"status": None}, S.LOST),
        ({"status": 0, "restart_wanted": "r1"}, S.STARTING),
        ({"status": None, "restart_wanted": "r1"}, S.STARTING),
    ],
)
def test_the_end_of_the_drain_concludes(fields: dict[str, object], state: State) -> None:
    after, effects = step(record(S.DRAINING, **fields), E.DRAIN_ENDED)
    assert (after.state, effects) == (state, (Conclude(),))


def test_the_first_cause_stays_and_signals_add_up() -> None:
    after = step(record(), E.STOP, cause("stop", "s"))[0]
    after = step(after, E.KILL, cause("kill", "k"))[0]
    assert after.cause == cause("stop", "s")
    assert [(each.signal, each.command_id) for each in after.delivered] == [(15, "s"), (9, "k")]


def test_sigkill_after_the_grace_belongs_to_the_stop() -> None:
    after = step(record(S.STOPPING, cause=cause("stop", "s")), E.GRACE_EXPIRED)[0]
    assert [(each.signal, each.command_id) for each in after.delivered] == [(SIGKILL, "s")]


def test_only_the_last_sixteen_signals_are_kept() -> None:
    after = record(S.STOPPING)
    for number in range(20):
        after = step(after, E.KILL, cause("kill", f"k{number}"))[0]
    assert [each.command_id for each in after.delivered] == [f"k{n}" for n in range(4, 20)]


def test_a_further_stop_brings_its_own_grace() -> None:
    again = cause("stop", "again", grace_s=1.5)
    assert step(record(S.STOPPING), E.STOP, again)[1] == (BeginGrace(1.5),)


@pytest.mark.parametrize("state", [S.RUNNING, S.STOPPING])
def test_output_that_ends_first_is_noted(state: State) -> None:
    assert step(record(state), E.DRAIN_ENDED)[0].drained


KEPT = {
    "id", "spec", "spec_hash", "kind", "node", "created_by", "created_at_us", "name", "labels",
    "base_env", "boot_id", "keeper_id", "last_output_at_us", "timeouts", "on_full", "size",
    "input_next", "output_oldest", "output_next", "restarted_s",
}  # fmt: skip
NEW = {
    "state": S.STARTING,
    "desired": "running",
    "generation": 3,
    "generation_offset": 70,
    "former_offset": 30,
    "restarts": 5,
    "restarting": "r1",
}


def test_the_next_generation_keeps_identity_and_offsets_and_nothing_else() -> None:
    fresh = record(S.STARTING)
    every: dict[str, Any] = {each.name: each.name for each in structs.fields(SessionRecord)}
    numbers = {"generation": 2, "restarts": 4, "output_next": 70, "generation_offset": 30}
    filled = SessionRecord(**every | numbers | {"restart_wanted": "r1"})
    after = next_generation(filled)
    for each in structs.fields(SessionRecord):
        value = getattr(after, each.name)
        if each.name in NEW:
            assert value == NEW[each.name], each.name
        elif each.name in KEPT:
            assert value == getattr(filled, each.name), each.name
        else:
            assert value == getattr(fresh, each.name), each.name
