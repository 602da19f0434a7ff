"""The ports and the usage of all sessions of a node, looked at about once a second.

Rules
- One look at all sessions (`sampler.py`), on a thread. What changed goes into the mailbox of the
  session that it concerns; usage only moves numbers and is noted past it.
- Ports are always watched, so that their events are complete. Usage costs a visit of every process
  and is taken only while somebody asked for it within `WATCHED_S`.
- After a look that took so much CPU time, as much time passes as makes it `SHARE` of a core: what
  it costs is bounded whatever the number of sessions, and with very many it is done less often.
  2 % are promised; the rest is what the event loop does with the answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from supervisor.broadcast import Broadcast
from supervisor.child import Child
from supervisor.clock import Timer
from supervisor.messages import PortsSeen
from supervisor.node import Node
from supervisor.open_ports import Place, compare, places_of
from supervisor.records import OpenPort
from supervisor.sampler import Look, Sampler, look_at
from supervisor.session import Session
from supervisor.usage import counted

__all__ = ["INTERVAL_S", "PATIENCE_S", "SHARE", "WATCHED_S", "Sampling"]

INTERVAL_S = 1.0
SHARE = 0.0125
WATCHED_S = 60.0
PATIENCE_S = 2.0


class Sampling:
    """Looks again and again, from `start` to `stop`."""

    def __init__(
        self, node: Node, sessions: Mapping[str, Session], sampler: Sampler | None = None
    ) -> None:
        self._node = node
        self._sessions = sessions
        self._sampler = sampler or Sampler()
        self._looked = Broadcast()
        self._begun = self._done = self._asked = 0
        self._allowed_at_s = 0.0
        self._usage_until_s = 0.0
        self._usage_at_s: float | None = None
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopped = True

    def start(self) -> None:
        """Begin with a look at once."""
        self._stopped = False
        self._arm(0.0)

    async def stop(self) -> None:
        """Look no more; returns when a look that is under way has ended."""
        self._stopped = True
        self._disarm()
        if self._task is not None:
            await self._task
        self._looked.notify()

    async def fresh(self, *, usage: bool = False) -> None:
        """Return after a look that began now, or when it may not begin soon for what it costs.

        With `usage`, one that took it less than `INTERVAL_S` ago is enough.
        """
        now_s = self._node.clock.monotonic()
        if usage:
            first = now_s >= self._usage_until_s
            self._usage_until_s = now_s + WATCHED_S
            if first:  # at once: at most one such look in `WATCHED_S`
                self._allowed_at_s = now_s
            elif self._usage_at_s is not None and now_s - self._usage_at_s < INTERVAL_S:
                return
        wait_s = self._allowed_at_s - now_s
        if self._stopped or wait_s > PATIENCE_S:
            return
        wanted = self._asked = self._begun + 1
        if self._task is None:
            self._arm(max(0.0, wait_s))
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while self._done < wanted and not self._stopped:
                    await self._looked.wait()

    async def look_at(self, session: Session) -> tuple[OpenPort, ...]:
        """Look at one session now: note its usage, tell it of its ports, and return them."""
        child = session.child
        if child is None:
            return ()
        places, used = await asyncio.to_thread(look_at, child.held.containment.root())
        if session.child is not child:
            return ()
        now_us = self._node.clock.wall_us()
        session.usage = counted(session.usage, used, now_us)
        if _differ(session, places):
            session.tell(PortsSeen(child.generation, places))
        return compare(session.record.ports, places, now_us)[0]

    def _arm(self, delay_s: float) -> None:
        self._disarm()
        self._timer = self._node.clock.call_later(delay_s, self._begin)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self) -> None:
        self._timer = None
        self._begun += 1
        self._task = asyncio.get_running_loop().create_task(self._look(), name="sampling")

    async def _look(self) -> None:
        clock = self._node.clock
        usage = clock.monotonic() < self._usage_until_s
        children = {key: child for key, one in self._sessions.items() if (child := one.child)}
        roots = {key: child.held.containment.root() for key, child in children.items()}
        cost_s = 0.0
        try:
            look = await asyncio.to_thread(self._sampler.look, roots, usage=usage)
            cost_s = look.cost_s
            self._tell(look, children)
        except Exception as error:  # noqa: BLE001  the log is told; ports are no reason to end
            self._node.report("ports and usage could not be looked at", error)
            cost_s = WATCHED_S * SHARE  # not again every second
        now_s = clock.monotonic()
        if usage:
            self._usage_at_s = now_s
        self._done, self._task = self._begun, None
        pause_s = cost_s / SHARE
        self._allowed_at_s = now_s + pause_s
        if not self._stopped:
            self._arm(pause_s if self._asked > self._done else max(INTERVAL_S, pause_s))
        self._looked.notify()

    def _tell(self, look: Look, children: Mapping[str, Child]) -> None:
        now_us = self._node.clock.wall_us()
        for key, child in children.items():
            session = self._sessions.get(key)
            if session is None or session.child is not child:
                continue  # it ended meanwhile, and its end tells of its ports
            if key in look.usage:
                session.usage = counted(session.usage, look.usage[key], now_us)
            if look.ports is not None and _differ(session, look.ports[key]):
                session.tell(PortsSeen(child.generation, look.ports[key]))


def _differ(session: Session, places: Mapping[Place, int]) -> bool:
    return places_of(session.record.ports) != dict(places)
