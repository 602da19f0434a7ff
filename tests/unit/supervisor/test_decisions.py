"""Small pure decisions: adoption, same or conflict, retention, signals, IDs."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from supervisor.adoption import Adoption, adoption_of
from supervisor.creation import CreateSession, same_or_conflict
from supervisor.errors import Conflict, Gone, NameInUse
from supervisor.ids import is_id, new_id
from supervisor.records import SessionRecord, Spec, State, Tombstone
from supervisor.retention import outdated
from supervisor.settings import SupervisorSettings
from supervisor.signals import signal_name, signal_number
from tests.fake_session import VirtualClock
from tests.unit.supervisor.samples import ME, record

S, A = State, Adoption


@pytest.mark.parametrize(
    ("state", "held", "keeper", "boot", "what"),
    [
        (S.EXITED, False, "k", "b", A.KEEP),
        (S.LOST, False, "other", "other", A.KEEP),
        (S.EXITED, True, "k", "b", A.TAKE),
        *((state, True, "k", "b", A.TAKE) for state in S if not state.ended),
        (S.BACKOFF, False, "k", "b", A.WAIT),
        (S.BACKOFF, False, "other", "b", A.WAIT),
        (S.BACKOFF, False, "other", "other", A.WAIT),
        (S.STARTING, False, "k", "b", A.SPAWN),
        (S.RUNNING, False, "k", "b", A.LOST_WITH_KEEPER),
        (S.STOPPING, False, "k", "b", A.LOST_WITH_KEEPER),
        (S.DRAINING, False, "k", "b", A.LOST_WITH_KEEPER),
        *((state, False, "other", "b", A.LOST_WITH_KEEPER) for state in S if not state.over),
        *((state, False, "other", "other", A.LOST_IN_REBOOT) for state in S if not state.over),
        *((state, False, "k", "other", A.LOST_IN_REBOOT) for state in S if not state.over),
    ],
)
def test_adoption(state: State, held: bool, keeper: str, boot: str, what: Adoption) -> None:
    one = record(state, keeper_id=keeper, boot_id=boot)
    assert adoption_of(one, held=held, keeper_id="k", boot_id="b") is what


SPEC, OTHER = Spec(command=("a",), name="n"), Spec(command=("b",), name="n")
LIVE, ENDED = record(spec=SPEC, name="n"), record(S.EXITED, spec=SPEC, name="n")


@pytest.mark.parametrize(
    ("spec", "by_id", "records", "answer"),
    [
        (SPEC, None, [], None),
        (SPEC, LIVE, [LIVE], LIVE),
        (SPEC, ENDED, [ENDED], ENDED),
        (OTHER, LIVE, [LIVE], Conflict),
        (OTHER, ENDED, [ENDED], Conflict),
        (SPEC, None, [LIVE], LIVE),
        (OTHER, None, [LIVE], NameInUse),
        (SPEC, None, [ENDED], None),
        (OTHER, None, [ENDED], None),
        (Spec(command=("a",)), None, [LIVE], None),
    ],
)
def test_the_same_is_found_and_another_conflicts(
    spec: Spec, by_id: SessionRecord | None, records: list[SessionRecord], answer: Any
) -> None:
    asked = CreateSession(spec=spec, by=ME)
    if isinstance(answer, type):
        with pytest.raises(answer) as raised:
            same_or_conflict(asked, by_id, records)
        assert raised.type is answer
        error: Any = raised.value
        assert error.details["differing"] == ["command"]
    else:
        assert same_or_conflict(asked, by_id, records) is answer


def test_a_tombstone_answers_gone_to_the_same_and_conflict_to_another() -> None:
    tombstone = Tombstone("x", SPEC.digest(), "exited", 3, 1)
    with pytest.raises(Gone) as raised:
        same_or_conflict(CreateSession(spec=SPEC, by=ME, tombstone=tombstone), None, [])
    assert raised.value.details == {"session_id": "x", "outcome": "exited", "exit_code": 3}
    with pytest.raises(Conflict):
        same_or_conflict(CreateSession(spec=OTHER, by=ME, tombstone=tombstone), None, [])


def test_values_of_the_environment_are_in_no_conflict() -> None:
    one = record(spec=Spec(command=("a",), env={"TOKEN": "secret-1"}))
    asked = CreateSession(spec=Spec(command=("a",), env={"TOKEN": "secret-2"}), by=ME)
    with pytest.raises(Conflict) as raised:
        same_or_conflict(asked, one, [one])
    assert "secret" not in f"{raised.value.message} {raised.value.details}"


def test_too_old_or_too_many_go_and_the_longest_finished_first() -> None:
    keep = SupervisorSettings(finished=2, finished_s=100, exec_finished=1, exec_s=10)
    now = 1_000_000_000
    ages = {"old": 101, "third": 50, "second": 40, "first": 30}
    done = [
        record(S.EXITED, id=name, ended_at_us=now - age * 1_000_000) for name, age in ages.items()
    ]
    execs = [each.but(id=f"exec-{each.id}", kind="exec") for each in done]
    live = [record(id="live"), record(S.EXITED, id="kept", kept=True, ended_at_us=0)]
    assert sorted(outdated([*done, *execs, *live], now, keep)) == sorted(
        ["old", "third", "exec-old", "exec-third", "exec-second", "exec-first"]
    )


@pytest.mark.parametrize("value", ["TERM", "SIGTERM", "sigterm", "15", 15])
def test_a_signal_has_many_spellings(value: str | int) -> None:
    assert (signal_number(value), signal_name(value)) == (15, "SIGTERM")


@pytest.mark.parametrize("value", ["", "NOPE", "0", 0, 65, -1, "SIGRTMIN+99", "\u0661"])
def test_an_unknown_signal_is_refused_in_words(value: str | int) -> None:
    with pytest.raises(ValueError, match="unknown signal"):
        signal_number(value)


def test_every_number_has_a_name_that_means_it_again() -> None:
    for number in range(1, 65):
        assert signal_number(signal_name(number)) == number
    assert signal_number("RTMIN+2") == signal.SIGRTMIN + 2


def test_ids_sort_by_time_and_are_safe_as_file_names() -> None:
    clock = VirtualClock()
    found = []
    for _ in range(100):
        found.append(new_id(clock))
        clock.advance(0.001)
    assert found == sorted(found)
    assert all(is_id(one) and len(one) == 14 for one in found)


@pytest.mark.parametrize("text", ["", "-a", "_a", "a/b", "..", "a" * 65, "a\n", "é"])
def test_what_is_no_id(text: str) -> None:
    assert not is_id(text)
