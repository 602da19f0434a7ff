"""`POST /machines/{id}/exec`: run a command, wait for its end, answer with what it printed.

Rules
- It is a session like any other, with `on_full: block`: its collector takes every byte, and reads
  on when the client has vanished, which ends nothing.
- The same `id` again waits for the same result: while a collector is at work it is shared, later
  the result is made again from the log.
- A program that is missing (127) or not executable (126) is a result. What the machine refused
  before that is an error, as is a timeout (504), which is told when the tree is gone.
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
from api.errors import Invalid, PermissionDenied, Unavailable
from api.exec_result import result_of
from api.requests import check_machine, create_session
from holdfast import wire
from supervisor.errors import SpawnRefused
from supervisor.records import By
from supervisor.session import Session
from supervisor.supervisor import Supervisor

__all__ = ["collect_adopted", "post_exec", "session_request"]

_TIMEOUT_S: Final = 30.0
_OUTPUT_BYTES: Final = 1024 * 1024
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
        await _collect(session, collector)
    else:
        await _share(collector)
    return Json(result_of(session, collector, asked.encoding))


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
            if session.record.kind == "exec" and not session.final and session not in _collecting:
                group.create_task(_collect(session, Collector(session, _OUTPUT_BYTES, None)))


def _timeouts(asked: wire.ExecRequest) -> wire.TimeoutOptions:
    if asked.timeout is not UNSET and asked.timeouts is not UNSET:
        raise Invalid("timeout is timeouts.run: give one of them.", path="$.timeout")
    if asked.timeouts is not UNSET:
        return asked.timeouts
    return wire.TimeoutOptions(run=_TIMEOUT_S if asked.timeout is UNSET else asked.timeout)


async def _start(shared: Services, asked: wire.ExecRequest, by: By) -> Session:
    """Return the session, started or found by its ID, also one that could not be executed."""
    wanted = session_request(asked, shared.settings.output.capacity_bytes)
    request = create_session(wanted, by, shared.settings.limits.argv_env_bytes)
    try:
        session, _ = await shared.supervisor.create(request)
    except SpawnRefused as error:
        if error.details.get("stage") != "exec":
            raise
        return shared.supervisor.find(str(error.details["session_id"]))
    return session


async def _collect(session: Session, collector: Collector) -> None:
    """Collect to the end, in the caller's own task: uvicorn cancels it only with the daemon."""
    _collecting[session] = collector
    try:
        await collector.run()
    finally:
        del _collecting[session]
        collector.stopped.set()


async def _share(collector: Collector) -> None:
    """Wait for a collector that another request runs."""
    await collector.stopped.wait()
    if not collector.complete:
        raise Unavailable("The daemon is ending; ask again with the same id.")
