"""One generation's child as the daemon holds it: its tree, its descriptors, its timers.

Rules
- Nothing here decides. What happened goes into the session's mailbox as a fact.
- The pump owns the descriptors of input and output from `Pump.add` to `TapRemoved`. The number of
  the pty's master and of the journal may be used here until `Pump.remove` is called.
- The leader is signalled through its pidfd only, the tree through its containment.
- `stalled`, `output_ended`, `discarding` are what the pump said last of this child;
  `last_output_s` and `last_active_s` are when output and input last came, monotonic.
- `idle` and `disconnect` are counted from the moment this daemon took the child.
- After the leader's exit output is waited for until it ends, `SILENCE_S` passed without any, or
  `DRAIN_S` in all. Time in which the pump may not read (full disk, lossless reader) does not
  count: those bytes are still to come.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import termios
from collections.abc import Callable
from contextlib import suppress

from supervisor.clock import Clock, Timer
from supervisor.errors import Refused
from supervisor.keeper.client import Held, KeeperClient
from supervisor.keeper.containment import exit_status_of
from supervisor.messages import ChildExited, DrainEnded, GraceExpired, KillExpired, TimeExpired
from supervisor.records import Size, Timeouts

__all__ = ["DRAIN_S", "KILL_S", "SILENCE_S", "Child"]

SILENCE_S = 2.0
DRAIN_S = 10.0
KILL_S = 5.0
_STALLED_LOOK_S = 0.5
_TIMEOUTS = ("run", "idle", "disconnect")
_ENDING_S = 0.02  # a tree that is ending anyway needs no SIGKILL


class Child:
    """The held child of one generation. `tell` puts a fact into the session's mailbox."""

    __slots__ = (
        "_alone_since_s",
        "_clock",
        "_closed",
        "_drain_began_s",
        "_grace_ends_s",
        "_timeouts",
        "_timers",
        "_watched",
        "discarding",
        "generation",
        "held",
        "keeper",
        "last_active_s",
        "last_output_s",
        "output_ended",
        "stalled",
        "tell",
    )

    def __init__(
        self, held: Held, keeper: KeeperClient, clock: Clock, tell: Callable[[object], None]
    ) -> None:
        self.held = held
        self.keeper = keeper
        self.generation = held.generation
        self.tell = tell
        self.stalled: str | None = None
        self.output_ended = False
        self.discarding = False
        self.last_output_s = self.last_active_s = clock.monotonic()
        self._clock = clock
        self._alone_since_s: float | None = clock.monotonic()
        self._drain_began_s = 0.0
        self._timeouts = Timeouts()
        self._grace_ends_s: float | None = None
        self._timers: dict[str, Timer] = {}
        self._watched = False
        self._closed = False

    def signal_leader(self, number: int) -> None:
        """Signal the leader; one that has ended gets nothing."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.held.pidfd, number)

    async def signal_group(self, number: int) -> None:
        """Signal the leader's process group, which only its parent can name safely."""
        await self.keeper.signal(self.held.session, self.generation, number, "group")

    def signal_tree(self, number: int) -> int:
        """Signal every process of the tree; return how many."""
        return self.held.containment.signal(number)

    async def kill_tree(self) -> None:
        """SIGKILL every process of the tree."""
        await self.held.containment.kill()

    async def kill_leftovers(self) -> tuple[int, ...]:
        """Kill what lives of the tree and return the pids that are still there after `KILL_S`."""
        containment = self.held.containment
        if await containment.empty(_ENDING_S):
            return ()
        await containment.kill()
        return () if await containment.empty(KILL_S) else tuple(containment.pids())

    def resize(self, size: Size) -> None:
        """Set the terminal's size; the foreground group gets SIGWINCH. Refused without a pty."""
        if self.held.master is None:
            raise Refused("the session has no terminal to resize; start it with a tty")
        cells = struct.pack("HHHH", size.rows, size.cols, 0, 0)
        fcntl.ioctl(self.held.master, termios.TIOCSWINSZ, cells)

    def begin_grace(self, seconds: float) -> None:
        """Report GraceExpired after so long; a grace that is due sooner stays."""
        ends = self._clock.monotonic() + seconds
        if self._grace_ends_s is None or ends < self._grace_ends_s:
            self._grace_ends_s = ends
            self._arm("grace", seconds, lambda: self.tell(GraceExpired(self.generation)))

    def begin_kill(self) -> None:
        """Report KillExpired if the leader has not ended after `KILL_S`."""
        self._arm("kill", KILL_S, lambda: self.tell(KillExpired(self.generation)))

    def begin_timeouts(self, timeouts: Timeouts, deadline_s: float | None) -> None:
        """Report TimeExpired for each of these from now on, for `run` at a monotonic time."""
        for name in _TIMEOUTS:
            self._disarm(name)
        self._timeouts = timeouts
        if deadline_s is not None:
            seconds = max(0.0, deadline_s - self._clock.monotonic())
            self._arm("run", seconds, lambda: self.tell(TimeExpired(self.generation, "run")))
        if timeouts.idle is not None:
            self._look_at_idle()
        if timeouts.disconnect is not None:
            self._look_at_disconnect()

    def attended(self, attached: bool) -> None:
        """Somebody is attached, or nobody any more."""
        self._alone_since_s = None if attached else self._clock.monotonic()
        if self._timeouts.disconnect is not None and not self._drain_began_s:
            self._look_at_disconnect()

    def begin_drain(self) -> None:
        """Report DrainEnded when there is nothing more to wait for."""
        for name in ("grace", "kill", *_TIMEOUTS):
            self._disarm(name)
        self._drain_began_s = self._clock.monotonic()
        self._arm("drain", SILENCE_S, self._look_at_drain)

    def watch_exit(self) -> None:
        """See the leader's exit without its parent: the keeper is gone."""
        if not self._watched:
            self._watched = True
            asyncio.get_running_loop().add_reader(self.held.pidfd, self._exited_unseen)

    def close(self) -> None:
        """Give back timers and the descriptors that the pump does not own; once only.

        A recovery and an end that was under way may both come here, and a second time the numbers
        are somebody else's.
        """
        if self._closed:
            return
        self._closed = True
        for name in tuple(self._timers):
            self._disarm(name)
        self._unwatch()
        os.close(self.held.pidfd)
        self.held.containment.close()

    def _exited_unseen(self) -> None:
        self._unwatch()
        status = exit_status_of(self.held.pidfd, self.held.pid)
        if status is None:
            status = self.held.containment.leader_status()
        self.tell(ChildExited(self.generation, status))

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            asyncio.get_running_loop().remove_reader(self.held.pidfd)

    def _look_at_drain(self) -> None:
        now = self._clock.monotonic()
        if self.stalled is not None:
            self._drain_began_s = self.last_output_s = now
            self._arm("drain", _STALLED_LOOK_S, self._look_at_drain)
            return
        quiet_at = max(self.last_output_s, self._drain_began_s) + SILENCE_S
        left = min(quiet_at, self._drain_began_s + DRAIN_S) - now
        if left <= 0:
            self.tell(DrainEnded(self.generation))
        else:
            self._arm("drain", left, self._look_at_drain)

    def _look_at_idle(self) -> None:
        """What the pump may not read is no silence, so a session that is stalled is not idle."""
        now = self._clock.monotonic()
        if self.stalled is not None:
            self.last_active_s = now
        quiet_since = max(self.last_active_s, self.last_output_s)
        self._expire_after("idle", quiet_since, self._timeouts.idle, self._look_at_idle)

    def _look_at_disconnect(self) -> None:
        self._disarm("disconnect")
        if self._alone_since_s is not None:
            limit = self._timeouts.disconnect
            self._expire_after("disconnect", self._alone_since_s, limit, self._look_at_disconnect)

    def _expire_after(
        self, name: str, since_s: float, limit_s: float | None, again: Callable[[], None]
    ) -> None:
        """Report the timeout when it is over, else look again when it would be."""
        left = since_s + (limit_s or 0.0) - self._clock.monotonic()
        if left <= 0:
            self.tell(TimeExpired(self.generation, name))
        else:
            self._arm(name, left, again)

    def _arm(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        self._disarm(name)
        self._timers[name] = self._clock.call_later(seconds, call)

    def _disarm(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
