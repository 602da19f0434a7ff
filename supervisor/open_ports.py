"""The ports that a session's tree listens on, compared with what was told of them before.

What was told is in the session's record and stored together with the events, so that a port that
stays open through a restart of the daemon is told of once, and one that closed meanwhile is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from supervisor.records import OpenPort

__all__ = ["MOST_PORTS", "Place", "Told", "compare", "places_of"]

MOST_PORTS = 32
"""Of one session; the lowest are kept. A process may open thousands, and each is an event."""

Place = tuple[int, str]
"""Port and address."""
Told = tuple[str, Mapping[str, Any]]
"""The type of an event and its data."""


def places_of(ports: Sequence[OpenPort]) -> dict[Place, int]:
    """Return the ports as a sampler sees them: place -> pid."""
    return {(one.port, one.address): one.pid for one in ports}


def compare(
    before: Sequence[OpenPort], seen: Mapping[Place, int], at_us: int
) -> tuple[tuple[OpenPort, ...], list[Told]]:
    """Return the ports that are open now, and what is to be told: closed ones first.

    A port whose holder changed, as when a worker goes on after its parent, stays open.
    """
    since = {(one.port, one.address): one.since_us for one in before}
    now = tuple(
        OpenPort(port=place[0], address=place[1], pid=pid, since_us=since.get(place, at_us))
        for place, pid in sorted(seen.items())[:MOST_PORTS]
    )
    kept = places_of(now)
    closed = [one for one in before if (one.port, one.address) not in kept]
    opened = [one for one in now if (one.port, one.address) not in since]
    told = [("port.closed", _data(one)) for one in closed]
    return now, told + [("port.opened", _data(one)) for one in opened]


def _data(one: OpenPort) -> dict[str, Any]:
    return {"port": one.port, "address": one.address, "pid": one.pid}
