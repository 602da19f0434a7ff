"""The wait between two children of a session: its timer, and what is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.messages import BackoffElapsed
from supervisor.records import Event, SessionRecord, State

if TYPE_CHECKING:
    from supervisor.clock import Timer
    from supervisor.session import Session

__all__ = ["Backoff"]


class Backoff:
    """Reports BackoffElapsed when the next child of a session is due."""

    __slots__ = ("_session", "_timer")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._timer: Timer | None = None

    def begin(self) -> None:
        """Begin to wait if the record says so; called after each end and each adoption."""
        self.cancel()
        session = self._session
        if session.record.state is State.BACKOFF:
            elapsed = BackoffElapsed(session.record.generation)
            left_s = self._left_s(session.record)
            self._timer = session.node.clock.call_later(left_s, lambda: session.tell(elapsed))

    def cancel(self) -> None:
        """Wait no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def events(self, ended: SessionRecord) -> tuple[Event, ...]:
        """Return what is told, beside its end, of a generation with a restart policy."""
        event = self._session.node.feed.event
        if ended.gave_up:
            restart = ended.spec.restart
            told = {"restarts": len(ended.restarted_s), "window": restart.window}
            return (event("session.gave_up", ended, told),)
        if ended.state is State.BACKOFF:
            return (event("session.backoff", ended, {"seconds": self._left_s(ended)}),)
        return ()

    def _left_s(self, record: SessionRecord) -> float:
        """Return how long there is to wait; what was due in another boot is due now."""
        if record.backoff_until_s is None:
            return 0.0
        return max(0.0, record.backoff_until_s - self._session.node.clock.monotonic())
