"""Waiting for something about a session for longer than the server holds one answer back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from holdfast.errors import BadRequest, EndedFirst, TimedOut
from holdfast.wire import Condition, WaitRequest, WaitResult, Word

if TYPE_CHECKING:
    from holdfast.calls import Calls

__all__ = ["ASK_S", "StepWait", "WaitOptions", "Wanted", "wait_request", "wait_until"]

ASK_S = 45.0  # the server holds an answer back for 50 s at most


class WaitOptions(TypedDict, total=False):
    """The fields of `Wanted` as keyword arguments."""

    log: str | None
    stream: Literal["stdout", "stderr"] | None
    port: int | Literal["any"] | None
    http: str | None
    status: int | None
    idle: float | None
    exit: bool
    ended: bool
    ready: bool
    change: bool


class StepWait(WaitOptions, total=False):
    """What a start or an input waits for before it is answered: the fields of `Wanted`, and these.

    `timeout` is in seconds, at most 50 (30 when it is not there). `from_offset` is where `log`
    begins to look: else the start of the generation, or where the output stood before the input.
    """

    timeout: float
    from_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to wait for; of several the first to hold answers, in this order.

    `log` is a pattern (RE2) that a line must contain, `stream` limits it. `port` counts only
    sockets of the session's own tree. `http` is a URL that the daemon's own machine serves, and
    `status` what a GET of it answers, any from 200 to 399 when None. `idle` is seconds without
    output. `exit` is the end of this generation, `ended` that nothing follows, `ready` that the
    condition it was started with holds (without one: that it runs), `change` any change of the
    state.
    """

    log: str | None = None
    stream: Literal["stdout", "stderr"] | None = None
    port: int | Literal["any"] | None = None
    http: str | None = None
    status: int | None = None
    idle: float | None = None
    exit: bool = False
    ended: bool = False
    ready: bool = False
    change: bool = False

    def conditions(self) -> list[Condition | Word]:
        """Return the conditions as the server takes them; `BadRequest` when there is none."""
        found: list[Condition | Word] = []
        if self.log is not None:
            found.append(Condition(log=self.log, stream=self.stream))
        if self.port is not None:
            found.append(Condition(port=self.port))
        if self.http is not None:
            found.append(Condition(http=self.http, status=self.status))
        if self.idle is not None:
            found.append(Condition(idle=self.idle))
        words: dict[Word, bool] = {
            "exit": self.exit,
            "ended": self.ended,
            "ready": self.ready,
            "change": self.change,
        }
        found += [word for word, wanted in words.items() if wanted]
        if not found:
            raise BadRequest(
                "say what to wait for: log, port, http, idle, exit, ended, ready or change"
            )
        return found


def wait_request(wait: StepWait | None) -> WaitRequest | None:
    """Return the body of one question. Raises `BadRequest` when nothing is waited for."""
    if wait is None:
        return None
    fields: dict[str, Any] = {**wait}
    given = {name: fields.pop(name) for name in ("timeout", "from_offset") if name in fields}
    return WaitRequest(for_=Wanted(**fields).conditions(), **given)


async def wait_until(
    calls: Calls,
    ref: str,
    wanted: Wanted,
    *,
    timeout: float | None = None,
    from_offset: int | None = None,
    generation: int | None = None,
) -> WaitResult:
    """Ask again and again until a condition holds; return the server's answer with its evidence.

    `timeout` is in seconds, None for ever. Raises `TimedOut`, and `EndedFirst` when the session
    ended and nothing can hold any more. The whole output is searched each time: a line that was
    half printed at the end of one question is not missed by the next.
    """
    conditions = wanted.conditions()
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = ASK_S if deadline is None else max(0.0, deadline - time.monotonic())
        request = WaitRequest(
            for_=conditions,
            from_offset=from_offset,
            generation=generation,
            timeout=min(left, ASK_S),
        )
        result = await calls.wait_once(ref, request)
        if result.met is not None:
            return result
        if result.reason == "ended":
            raise EndedFirst(result.session)
        if deadline is not None and time.monotonic() >= deadline:
            raise TimedOut(f"{timeout:g} seconds are over", details={"session_id": ref})
        if generation is None and not wanted.change:
            generation = result.session.generation
