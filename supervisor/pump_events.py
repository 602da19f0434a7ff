"""From the pump's thread to the sessions: every event reaches its session, on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from supervisor.output.events import (
    Advanced,
    AllEnded,
    Delivered,
    Discarding,
    Dropped,
    InputBroken,
    InputEnded,
    NodeFilling,
    PumpEvent,
    PumpFailed,
    Resumed,
    Stalled,
    TapRemoved,
)
from supervisor.session import Session

__all__ = ["PumpEvents"]


class PumpEvents:
    """Takes batches on the pump's thread and hands them out on the loop, in order.

    `node_filling()` is called when finished logs should go; `pump_failed(reason)` when the
    pump's thread ended, after which this process can serve nobody.
    """

    def __init__(
        self,
        sessions: Mapping[str, Session],
        node_filling: Callable[[], None],
        pump_failed: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sessions = sessions
        self._node_filling = node_filling
        self._pump_failed = pump_failed

    def __call__(self, events: Sequence[PumpEvent]) -> None:
        """Called on the pump's thread."""
        with suppress(RuntimeError):  # the loop is closed: the daemon ends, and so does the pump
            self._loop.call_soon_threadsafe(self._hand_out, events)

    def _hand_out(self, events: Sequence[PumpEvent]) -> None:
        for event in events:
            match event:
                case NodeFilling():
                    self._node_filling()
                case PumpFailed():
                    self._pump_failed(event.reason)
                case _:
                    session = self._sessions.get(event.key)
                    if session is not None:
                        _tell(session, event)


def _tell(session: Session, event: PumpEvent) -> None:  # noqa: C901  one case for each event
    match event:
        case Advanced():
            session.advanced(event.next, event.oldest, event.time_ns)
        case Dropped():
            session.dropped(event.from_, event.to)
        case AllEnded():
            session.output_over()
        case Stalled():
            session.stall_changed(event.why)
        case Resumed():
            session.stall_changed(None)
        case Delivered():
            session.delivered(event.offset)
        case InputEnded():
            session.input_shut(broken=False)
        case InputBroken():
            session.input_shut(broken=True)
        case Discarding():
            session.discarding()
        case TapRemoved():
            session.untapped()
        case _:  # StreamEnded: the end of all streams is what counts
            pass
