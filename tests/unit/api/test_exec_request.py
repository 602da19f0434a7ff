from __future__ import annotations

import asyncio

import msgspec
import pytest

from api.collector import Collector
from api.errors import Invalid, TimedOut
from api.exec import session_request
from api.exec_result import result_of
from holdfast import wire
from supervisor.errors import Conflict
from supervisor.records import Outcome, OutcomeKind, State, Timeouts
from tests.fake_session import STARTED_US, FakeSession, turns


def read(text: str) -> wire.SessionRequest:
    return session_request(msgspec.json.decode(text, type=wire.ExecRequest), 1 << 20)


def test_an_exec_is_a_session_that_loses_nothing_and_ends_in_time() -> None:
    asked = read('{"command": ["true"]}')
    assert asked.command == ["true"]
    assert asked.kind == "exec"
    assert asked.output == wire.OutputOptions(capacity=1 << 20, on_full="block")
    assert asked.timeouts.run == 30
    assert asked.leftovers == "keep"
    assert asked.stdin == "null"


def test_timeouts_have_two_names() -> None:
    assert read('{"command": ["true"], "timeout": 5}').timeouts.run == 5
    assert read('{"command": ["true"], "timeout": null}').timeouts.run is None
    assert read('{"command": ["true"], "timeouts": {"run": 6}}').timeouts.run == 6
    with pytest.raises(Invalid):
        read('{"command": ["true"], "timeout": 5, "timeouts": {"run": 6}}')


def test_cmd_is_another_name_of_command() -> None:
    assert read('{"cmd": ["true"]}').command == ["true"]
    with pytest.raises(Invalid):
        read('{"cmd": ["true"], "command": ["false"]}')


def test_input_needs_a_pipe() -> None:
    assert read('{"command": ["cat"], "input": ""}').stdin == "pipe"


@pytest.mark.parametrize(
    "text",
    [
        '{"command": ["true"], "on_timeout": "leave"}',
        '{"command": ["true"], "restart": {"policy": "always"}}',
        '{"commands": [["true"]]}',
        '{"command": ["true"], "max_output_bytes": 17000000}',
        '{"command": ["true"], "encoding": "hex"}',
        '{"command": [1]}',
    ],
)
def test_fields_of_later_and_wrong_types_are_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(text)


def test_exec_has_nobody_attached_whose_leaving_could_end_it() -> None:
    with pytest.raises(Invalid, match="start a session"):
        read('{"command": ["true"], "timeouts": {"disconnect": 1}}')


def test_exec_without_a_command_is_refused() -> None:
    with pytest.raises(Invalid):
        read("{}")


async def collected(
    session: FakeSession, max_bytes: int = 4096, input_: bytes | None = None
) -> Collector:
    collector = Collector(session, max_bytes, input_)  # type: ignore[arg-type]
    await collector.run()
    return collector


async def test_the_result_has_both_streams_and_the_exit() -> None:
    session = FakeSession()
    session.prints(b"out\xff")
    session.prints(b"err", 2)
    session.exits(3)
    session.record = session.record.but(ended_at_us=STARTED_US + 1_500_000)
    result = result_of(session, await collected(session), "text")  # type: ignore[arg-type]
    assert (result.stdout, result.stderr, result.exit_code) == ("out\ufffd", "err", 3)
    assert (result.truncated, result.omitted, result.duration) == (False, [], 1.5)
    result = result_of(session, await collected(session), "base64")  # type: ignore[arg-type]
    assert result.stdout == "b3V0/w=="


async def test_too_much_output_is_cut_and_what_is_left_out_named() -> None:
    session = FakeSession()
    session.prints(b"".join(b"%06d\n" % number for number in range(10_000)))
    session.exits(0)
    result = result_of(session, await collected(session), "text")  # type: ignore[arg-type]
    assert result.truncated
    (omitted,) = result.omitted
    assert len(result.stdout) == 70_000 - (omitted.to - omitted.from_)
    assert result.stdout.startswith("000000\n")
    assert result.stdout.endswith("009999\n")


async def test_a_program_that_is_missing_says_so_on_stderr() -> None:
    session = FakeSession()
    outcome = Outcome(OutcomeKind.SPAWN_FAILED, 127, None, "could not be started: no such file")
    session.show(state=State.EXITED, outcome=outcome)
    result = result_of(session, await collected(session), "text")  # type: ignore[arg-type]
    assert (result.exit_code, result.stderr) == (127, "could not be started: no such file\n")


async def test_a_timeout_is_an_error_with_what_was_printed() -> None:
    session = FakeSession()
    session.prints(b"half")
    outcome = Outcome(OutcomeKind.TIMED_OUT, 143, "SIGTERM", "", {"which": "run"})
    session.show(state=State.EXITED, outcome=outcome, timeouts=Timeouts(run=30.0))
    with pytest.raises(TimedOut) as error:
        result_of(session, await collected(session), "text")  # type: ignore[arg-type]
    assert error.value.message == "Command execution timed out after 30 seconds"
    assert error.value.details == {"session_id": "s1", "stdout": "half", "stderr": ""}


async def test_a_restart_meanwhile_leaves_no_result() -> None:
    session = FakeSession()
    collector = Collector(session, 4096, None)  # type: ignore[arg-type]
    session.restarts()
    await collector.run()
    with pytest.raises(Conflict):
        result_of(session, collector, "text")  # type: ignore[arg-type]


async def test_what_was_taken_is_reported_while_it_runs() -> None:
    session = FakeSession(on_full="block")
    collector = Collector(session, 4096, None)  # type: ignore[arg-type]
    running = asyncio.create_task(collector.run())
    session.prints(b"x" * (1 << 20))
    await turns(50)
    assert session.takens == [1 << 20]
    session.prints(b"x")
    await turns()
    assert session.takens == [1 << 20]
    session.prints(b"x")
    session.stalled = "reader"
    await turns()
    assert session.takens == [1 << 20, (1 << 20) + 2]
    session.exits(0)
    await running


async def test_input_goes_in_as_there_is_room_and_then_ends() -> None:
    session = FakeSession()
    session.input.limit = 3
    collector = Collector(session, 4096, b"abcdef")  # type: ignore[arg-type]
    await collector._feed()
    assert (session.input.content, session.input_ends) == (b"abc", 0)
    session.input.delivered = 3
    await collector._feed()
    await collector._feed()
    assert (session.input.content, session.input_ends) == (b"abcdef", 1)


async def test_a_child_that_closes_its_input_ends_only_that() -> None:
    session = FakeSession()
    session.input.open = False
    session.exits(0)
    assert (await collected(session, input_=b"abc")).complete
