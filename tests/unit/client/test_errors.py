from __future__ import annotations

import re

import pytest

from holdfast import errors
from holdfast.errors import (
    CommandFailed,
    HoldfastError,
    NameInUse,
    SpawnFailed,
    TimedOut,
    error_from,
)
from holdfast.result import Result


def every(base: type[HoldfastError]) -> set[type[HoldfastError]]:
    return {base}.union(*(every(below) for below in base.__subclasses__()))


def test_the_drawing_shows_every_error_with_its_code() -> None:
    drawn = re.findall(r"── (\w+) +(.*)", errors.__doc__ or "")
    assert {name for name, _ in drawn} == {one.__name__ for one in every(HoldfastError)} - {
        "HoldfastError"
    }
    for name, words in drawn:
        code = re.search(r"[A-Z]{2,}[A-Z_]+", words)
        assert getattr(errors, name).code in ("", code and code[0])


@pytest.mark.parametrize("kind", list(every(HoldfastError)))
def test_an_error_is_rebuilt_from_its_code(kind: type[HoldfastError]) -> None:
    if "code" in vars(kind) and kind.code:
        error = error_from(kind.code, "words", {"a": 1}, 400)
        assert type(error) is kind
        assert (error.message, error.details, error.status) == ("words", {"a": 1}, 400)


def test_an_unknown_code_gives_the_base_class() -> None:
    assert type(error_from("NEW_ONE", "words")) is HoldfastError


def test_a_spawn_failure_has_its_fields() -> None:
    error = error_from(
        "SPAWN_FAILED", "no", {"errno": "ENOENT", "stage": "exec", "session_id": "s"}
    )
    assert isinstance(error, SpawnFailed)
    assert (error.errno, error.stage, error.session_id) == ("ENOENT", "exec", "s")


def test_a_name_in_use_is_a_conflict_and_a_timeout_a_timeout_error() -> None:
    assert issubclass(NameInUse, errors.Conflict)
    assert issubclass(TimedOut, TimeoutError)
    assert issubclass(errors.NotReachable, ConnectionError)


def result(**fields: object) -> Result:
    base = {
        "args": ["make"],
        "id": "s",
        "exit_code": 2,
        "outcome": "exited",
        "signal": None,
        "stdout": b"",
        "stderr": b"",
    }
    return Result(**{**base, **fields})  # type: ignore[arg-type]


def test_a_checked_failure_shows_the_end_of_stderr() -> None:
    with pytest.raises(CommandFailed) as caught:
        result(stderr=b"x" * 9000 + b"\nno rule\xff\n").check_returncode()
    assert "'make' ended: exited, status 2" in str(caught.value)
    assert "no rule\ufffd" in str(caught.value)
    assert len(str(caught.value)) < 2100


def test_a_status_of_zero_passes_the_check_and_an_unknown_one_does_not() -> None:
    result(exit_code=0).check_returncode()
    with pytest.raises(CommandFailed, match="status unknown"):
        result(exit_code=None, outcome="lost").check_returncode()


@pytest.mark.parametrize(
    ("exit_code", "signal", "returncode"),
    [
        (0, None, 0),
        (3, None, 3),
        (137, "SIGKILL", -9),
        (163, "SIGRTMIN+1", -35),
        (None, None, None),
    ],
)
def test_the_return_code_is_negative_for_signals(
    exit_code: int | None, signal: str | None, returncode: int | None
) -> None:
    assert result(exit_code=exit_code, signal=signal).returncode == returncode
