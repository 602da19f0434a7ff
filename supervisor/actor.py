"""Actors: state that only its own messages change.

Rules of this file
- An actor handles one message at a time. `tell` never waits; `ask` waits for the answer, with a
  timeout. Whatever an actor awaits in `receive` delays its own mailbox and nobody else's.
- A mailbox is a deque that exists, with a task draining it, only while it is not empty: an idle
  actor costs no task and no queue (4.4 KiB each).
- A mailbox holds `MAILBOX_LIMIT` requests. A further request is refused with LimitReached at the
  sender; facts (what has already happened) are always taken, since there is one source of them
  per actor and refusing one would lose it.
- An exception out of `receive` is a crash, unless it is a SupervisorError and somebody asked: the
  actor stops, every pending ask fails with ActorStopped, and its owner is told by `on_crash`.
- A message that will never be handled is given to `unhandled`, since it may own descriptors.
- Every task an actor starts belongs to it and is cancelled when it stops.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from supervisor.errors import ActorStopped, AskTimeout, LimitReached, SupervisorError

__all__ = ["ASK_TIMEOUT_S", "MAILBOX_LIMIT", "Actor", "ActorRef"]

MAILBOX_LIMIT = 1000
ASK_TIMEOUT_S = 60.0

_Envelope = tuple[Any, "asyncio.Future[Any] | None"]


class Actor:
    """Base of all actors. Subclasses implement `receive`; outsiders hold an `ActorRef`."""

    __slots__ = ("_drain", "_mailbox", "_on_crash", "_stopped", "_tasks")

    def __init__(self) -> None:
        self._mailbox: deque[_Envelope] | None = None
        self._drain: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] | None = None
        self._stopped = False
        self._on_crash: Callable[[BaseException], None] | None = None

    @property
    def stopped(self) -> bool:
        """Whether it handles no message any more."""
        return self._stopped

    async def receive(self, message: Any) -> Any:
        """Handle one message; what it returns is the answer to an ask."""
        raise TypeError(f"{type(self).__name__} does not know {type(message).__name__}")

    def unhandled(self, message: Any) -> None:
        """Give back what a message holds that is not handled any more."""

    def tell(self, message: Any) -> None:
        """Put a fact into the mailbox. A stopped actor drops it."""
        self._post((message, None))

    async def ask(self, message: Any, timeout_s: float | None = ASK_TIMEOUT_S) -> Any:
        """Put a request into the mailbox and return its answer; None waits without a limit.

        Raises what `receive` raised, AskTimeout, ActorStopped, or LimitReached when the mailbox
        is full. A cancelled ask may still be carried out.
        """
        if self._stopped:
            raise ActorStopped("the actor has stopped")
        if self._mailbox is not None and len(self._mailbox) >= MAILBOX_LIMIT:
            raise LimitReached(
                "too many requests wait for this session; try again in a moment",
                limit="mailbox",
                value=MAILBOX_LIMIT,
            )
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._post((message, answer))
        if timeout_s is None:
            return await answer
        overdue = answer.get_loop().call_later(timeout_s, _expire, answer, timeout_s)
        try:
            return await answer
        finally:
            overdue.cancel()

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work beside the mailbox; a failure is a crash of this actor."""
        task = asyncio.get_running_loop().create_task(work)
        if self._tasks is None:
            self._tasks = set()
        self._tasks.add(task)
        task.add_done_callback(self._work_done)

    async def stop(self) -> None:
        """Stop: cancel owned work, fail pending asks, drop facts. May be called twice."""
        self._stopped = True
        mine = asyncio.current_task()
        tasks = [task for task in (*(self._tasks or ()), self._drain) if task and task is not mine]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._fail_pending()

    def revive(self) -> None:
        """Accept messages again after a crash, with an empty mailbox."""
        self._stopped = False
        self._mailbox = None
        self._drain = None

    def _post(self, envelope: _Envelope) -> None:
        if self._stopped:
            self.unhandled(envelope[0])
            return
        if self._mailbox is None:
            self._mailbox = deque()
        self._mailbox.append(envelope)
        if self._drain is None:
            self._drain = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._mailbox and not self._stopped:
                message, answer = self._mailbox.popleft()
                await self._handle(message, answer)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 the actor's boundary: `on_crash` is told
            self._crash(error)
        finally:
            self._drain = None
            if not self._mailbox:
                self._mailbox = None

    async def _handle(self, message: Any, answer: asyncio.Future[Any] | None) -> None:
        try:
            result = await self.receive(message)
        except SupervisorError as error:
            if answer is None:
                raise
            if not answer.done():
                answer.set_exception(error)
        except BaseException:  # who asked is told here, `on_crash` by `_run`
            if answer is not None and not answer.done():
                answer.set_exception(ActorStopped("the actor crashed while it handled this"))
            raise
        else:
            if answer is not None and not answer.done():
                answer.set_result(result)

    def _work_done(self, task: asyncio.Task[None]) -> None:
        if self._tasks is not None:
            self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crash(error)

    def _crash(self, error: BaseException) -> None:
        self._stopped = True
        self._fail_pending()
        if self._on_crash is not None:
            self._on_crash(error)

    def _fail_pending(self) -> None:
        for message, answer in self._mailbox or ():
            self.unhandled(message)
            if answer is not None and not answer.done():
                answer.set_exception(ActorStopped("the actor stopped before it answered"))
        self._mailbox = None


def _expire(answer: asyncio.Future[Any], timeout_s: float) -> None:
    if not answer.done():
        answer.set_exception(AskTimeout(f"no answer within {timeout_s:g} s"))


class ActorRef:
    """What others hold of an actor: an address to send messages to."""

    __slots__ = ("_actor",)

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def tell(self, message: Any) -> None:
        """See `Actor.tell`."""
        self._actor.tell(message)

    async def ask(self, message: Any, timeout_s: float = ASK_TIMEOUT_S) -> Any:
        """See `Actor.ask`."""
        return await self._actor.ask(message, timeout_s)
