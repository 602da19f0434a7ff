"""`POST /machines/{id}/exec`: run a command, wait for its end, answer with what it printed.

Rules
- It is a session like any other, with `on_full: block`: its collector takes every byte, and reads
  on when the client has vanished, which ends nothing.
- The same `id` again waits for the same result: while a collector is at work it is shared, later
  the result is made again from the log.
- A program that is missing (127) or not executable (126) is a result. What the machine refused
  before that is an error, as is a timeout (504), which is told when the tree is gone.
- `on_timeout: detach` waits no longer, and nothing ends: the command goes on, from then on with
  `on_full: drop`, since nobody reads it any more. Its input has been passed on before that.
"""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec import UNSET, structs
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Json, Services, caller, services
from api.body import decode
from api.collector import Collector
from api.conditions import check_ready
from api.errors import Invalid, PermissionDenied
from api.exec_result import result_of, result_so_far
from api.requests import check_machine, create_session
from holdfast import wire
from supervisor.errors import SpawnRefused
from supervisor.records import By
from supervisor.session import Session
from supervisor.supervisor import Supervisor

__all__ = ["collect_adopted", "post_exec", "session_request"]

_TIMEOUT_S: Final = 30.0
_OUTPUT_BYTES: Final = 1024 * 1024
_FEEDING_S: Final = 0.1
_SPEC_FIELDS: Final = tuple(field.name for field in structs.fields(wire.SpecFields))

# Collectors at work, each owned by the request or the adoption that runs it.
_collecting: Final[dict[Session, Collector]] = {}


async def post_exec(request: Request) -> Response:
    """Run a command on a machine and wait for its end."""
    shared = services(request)
    check_machine(request.path_params["id"])
    if not shared.settings.exec.enabled:
        raise PermissionDenied("Exec is switched off on this node (exec.enabled).")
    asked = await decode(request, wire.ExecRequest, command=True)
    session = await _start(shared, asked, caller(request))
    collector = _collecting.get(session)
    if collector is None:
        input_ = None if asked.input is None else asked.input.encode()
        collector = Collector(session, asked.max_output_bytes, input_)
    if await _completed(session, collector, _patience_s(asked)):
        return Json(result_of(session, collector, asked.encoding))
    if not collector.wanted:
        await shared.supervisor.patch(session.record.id, {"on_full": "drop"})
    return Json(result_so_far(session, collector, asked.encoding))


def session_request(asked: wire.ExecRequest, capacity: int) -> wire.SessionRequest:
    """Return the session that an exec is. Raises Invalid for fields that contradict each other."""
    if asked.cmd is not None and asked.command is not None:
        raise Invalid("cmd is another name of command: give one of them.", path="$.cmd")
    if asked.command is None and asked.cmd is None and asked.input is None and not asked.tty:
        raise Invalid("Exec needs a command.", path="$.command")
    fields = {name: getattr(asked, name) for name in _SPEC_FIELDS}
    fields["command"] = asked.cmd if asked.command is None else asked.command
    if asked.input is not None:
        fields["stdin"] = "pipe"
    if asked.output is not UNSET:
        capacity = asked.output.capacity
    return wire.SessionRequest(
        **fields,
        output=wire.OutputOptions(capacity=capacity, on_full="block"),
        timeouts=_timeouts(asked),
        leftovers=asked.leftovers,
        kind="exec",
    )


async def collect_adopted(supervisor: Supervisor) -> None:
    """Take over the collectors of a former daemon: else their commands would wait for a reader.

    Runs until those commands have ended; the daemon owns it.
    """
    async with asyncio.TaskGroup() as group:
        for session in supervisor.sessions():
            record = session.record
            if record.kind == "exec" and record.on_full == "block" and not session.final:
                collector = _collecting.get(session) or Collector(session, _OUTPUT_BYTES, None)
                group.create_task(_adopted(session, collector))


async def _adopted(session: Session, collector: Collector) -> None:
    await _completed(session, collector, None)


def _patience_s(asked: wire.ExecRequest) -> float | None:
    """Return how long the answer may take while the command runs, None without a limit."""
    if asked.on_timeout == "kill":
        return None
    return _TIMEOUT_S if asked.timeout is UNSET else asked.timeout


def _timeouts(asked: wire.ExecRequest) -> wire.TimeoutOptions:
    if asked.timeouts is not UNSET and asked.timeouts.disconnect is not None:
        message = "timeouts.disconnect counts attached clients, and exec has none: start a session."
        raise Invalid(message, path="$.timeouts.disconnect")
    if asked.on_timeout == "detach":
        return wire.TimeoutOptions() if asked.timeouts is UNSET else asked.timeouts
    if asked.timeout is not UNSET and asked.timeouts is not UNSET:
        raise Invalid("timeout is timeouts.run: give one of them.", path="$.timeout")
    if asked.timeouts is not UNSET:
        return asked.timeouts
    return wire.TimeoutOptions(run=_TIMEOUT_S if asked.timeout is UNSET else asked.timeout)


async def _start(shared: Services, asked: wire.ExecRequest, by: By) -> Session:
    """Return the session, started or found by its ID, also one that could not be executed."""
    check_ready(asked.ready, shared.senses)
    wanted = session_request(asked, shared.settings.output.capacity_bytes)
    request = create_session(wanted, by, shared.settings.limits.argv_env_bytes)
    try:
        session, _ = await shared.supervisor.create(request)
    except SpawnRefused as error:
        if error.details.get("stage") != "exec":
            raise
        return shared.supervisor.find(str(error.details["session_id"]))
    return session


async def _completed(session: Session, collector: Collector, patience_s: float | None) -> bool:
    """Collect to the end, or wait for who does; false when `patience_s` passed before that.

    The work is done in a caller's own task, and taken over by another caller when that one leaves;
    uvicorn cancels a request only with the daemon.
    """
    collector.wanted += 1
    try:
        while True:
            try:
                async with asyncio.timeout(patience_s):
                    while not collector.complete:
                        await _collect(session, collector)
            except TimeoutError:
                if not collector.feeding:
                    return False
                patience_s = _FEEDING_S
            else:
                return True
    finally:
        collector.wanted -= 1


async def _collect(session: Session, collector: Collector) -> None:
    if session in _collecting:
        await collector.stopped.wait()
        return
    _collecting[session] = collector
    collector.stopped.clear()
    try:
        await collector.run()
    finally:
        del _collecting[session]
        collector.stopped.set()
