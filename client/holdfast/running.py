"""`run`: a command from its start to its end, as `subprocess.run`.

Rules
- No byte is missing: the session blocks rather than drop what was not acknowledged, and is read
  from its first byte on, through restarts of the daemon.
- Whoever leaves `run` early (cancelled, interrupted, out of patience) stops its command. That also
  holds while the start is being asked for: its answer is awaited first.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from holdfast.calls import Calls
from holdfast.errors import HoldfastError, InputLost, TimedOut
from holdfast.options import Command, StartOptions
from holdfast.result import Result
from holdfast.session import Session
from holdfast.sinks import Collector
from holdfast.wire import SessionCreated
from holdfast.writer import Writer

__all__ = ["run", "run_many"]

SLICE_BYTES = 1024 * 1024
STOP_S = 10.0


async def run(
    calls: Calls,
    command: Command,
    content: bytes | None,
    *,
    check: bool,
    options: StartOptions,
) -> Result:
    """Start `command`, feed it `content`, collect its output, wait for its end."""
    options = {"kind": "run", "on_full": "block", "stdin": "null", **options}
    if content is not None:
        options["stdin"] = "pipe"
    session = await _started(calls, command, options)
    collector = Collector()
    try:
        await _through(session, collector, content)
    except BaseException:  # whatever it is; it goes on to the caller
        await _stop(calls, session.id)
        raise
    finally:
        await session.detach()
    result = session.result(collector.collected("stdout"), collector.collected("stderr"))
    if result.outcome == "timed_out":
        error = TimedOut(f"{result.summary()} after {options.get('timeout')} seconds")
        error.result = result
        raise error
    if check:
        result.check_returncode()
    return result


async def run_many(
    calls: Calls,
    commands: Sequence[Command],
    *,
    concurrency: int,
    stop_on_error: bool,
    options: StartOptions,
) -> list[Result]:
    """Run several commands, at most `concurrency` at once; results in the order of `commands`.

    With `stop_on_error` no further one starts once one did not exit with 0, and the list ends
    before the first that did not run.
    """
    results: dict[int, Result] = {}
    waiting = iter(enumerate(commands))
    stopped = False

    async def work() -> None:
        nonlocal stopped
        for place, command in waiting:
            if stopped:
                return
            results[place] = await run(calls, command, None, check=False, options=options)
            if stop_on_error and results[place].exit_code != 0:
                stopped = True

    tasks = [asyncio.create_task(work()) for _ in range(max(1, concurrency))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [results[place] for place in sorted(results)]


async def _started(calls: Calls, command: Command, options: StartOptions) -> Session:
    creating = asyncio.ensure_future(calls.create(command, **options))
    try:
        created = await asyncio.shield(creating)
    except asyncio.CancelledError:
        await _stop_created(calls, creating)
        raise
    return Session(calls, created.session, attach={"offset": 0})


async def _stop_created(calls: Calls, creating: asyncio.Future[SessionCreated]) -> None:
    """Stop what a cancelled `run` may still have started."""
    with contextlib.suppress(HoldfastError, TimeoutError):
        created = await asyncio.wait_for(creating, STOP_S)
        await _stop(calls, created.session.id)


async def _stop(calls: Calls, session_id: str) -> None:
    """Have the command stopped, without waiting for its end. A second cancellation leaves it."""
    stopping = calls.stop(session_id, reason="run was left", wait=False)
    with contextlib.suppress(HoldfastError, TimeoutError):
        await asyncio.wait_for(stopping, STOP_S)


async def _through(session: Session, collector: Collector, content: bytes | None) -> None:
    feeding = None
    if content is not None and (stdin := session.stdin) is not None:
        feeding = asyncio.create_task(_feed(stdin, content))
    try:
        await session.collect(collector)
    finally:
        if feeding is not None:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeding


async def _feed(stdin: Writer, content: bytes) -> None:
    """Write everything. A command may end without reading all of it, as with `communicate`."""
    with contextlib.suppress(InputLost):
        for start in range(0, len(content), SLICE_BYTES):
            stdin.write(content[start : start + SLICE_BYTES])
            await stdin.drain()
        stdin.close()
        await stdin.wait_closed()
