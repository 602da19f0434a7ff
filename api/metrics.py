"""`GET /metrics`: the node in numbers for Prometheus, in a registry of its own.

Rules
- States and sizes are read when somebody scrapes; what happens is counted from the event feed,
  which tells everything exactly once and costs nothing on the paths that are measured.
- No label ever holds an ID, a name or an argument.
- Counters begin at 0 with the daemon, as Prometheus expects of a restarted process.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from supervisor.errors import Gone, NotFound, StoreFailed
from supervisor.records import Event
from supervisor.supervisor import Supervisor

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_BATCH: Final = 500
_US: Final = 1_000_000
_SPAWN_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_STATES: Final = ("starting", "running", "stopping", "exited", "lost")


class Metrics:
    """What is counted while the daemon runs. `watch` must run for the counts to advance."""

    def __init__(self, supervisor: Supervisor, version: str) -> None:
        self._supervisor = supervisor
        self._registry = CollectorRegistry()
        self._registry.register(_Now(supervisor, version))
        self._begun_us: dict[str, int] = {}
        self._requests = Counter(
            "holdfast_requests",
            "Requests answered, by status.",
            ("status",),
            registry=self._registry,
        )
        self._ends = Counter(
            "holdfast_session_ends",
            "Generations that ended, by outcome.",
            ("outcome",),
            registry=self._registry,
        )
        self._spawn_s = Histogram(
            "holdfast_spawn_seconds",
            "From an accepted start to a running child.",
            buckets=_SPAWN_BUCKETS_S,
            registry=self._registry,
        )
        self._restarts = self._counter("restarts", "Further generations that started.")
        self._gaps = self._counter("output_gap_bytes", "Output that full rings dropped.")
        self._survivors = self._counter("survivors", "Processes that outlived a kill.")

    def text(self) -> bytes:
        """Return the exposition text."""
        return generate_latest(self._registry)

    def answered(self, status: int) -> None:
        """Count an answer."""
        self._requests.labels(str(status)).inc()

    async def watch(self) -> None:
        """Count what happens from now on, until cancelled."""
        feed = self._supervisor.feed
        after = feed.last
        while True:
            try:
                events: Sequence[Event] = await feed.page(after, _BATCH)
            except (Gone, StoreFailed):
                # What cannot be read is not counted; the node itself goes on.
                after = feed.last
                events = ()
            for event in events:
                after = event.id
                self._count(event)
            if not events and feed.last <= after:
                await feed.changes.wait()

    def _counter(self, name: str, meaning: str) -> Counter:
        return Counter(f"holdfast_{name}", meaning, registry=self._registry)

    def _left_over(self, session_id: str) -> int:
        """How many processes an ended session could not get rid of."""
        with suppress(NotFound):
            return len(self._supervisor.find(session_id).record.survivors)
        return 0

    def _count(self, event: Event) -> None:
        session, data = event.session or "", event.data
        match event.type:
            case "session.created" | "session.starting":
                self._begun_us.setdefault(session, event.time_us)
            case "session.started":
                begun_us = self._begun_us.pop(session, event.time_us)
                self._spawn_s.observe(max(0, event.time_us - begun_us) / _US)
            case "session.exited" | "session.lost":
                self._begun_us.pop(session, None)
                self._ends.labels(str(data.get("outcome", "unknown"))).inc()
                self._survivors.inc(self._left_over(session))
            case "session.restarted":
                self._restarts.inc()
            case "session.output_gap":
                self._gaps.inc(max(0, data["to"] - data["from"]))


class _Now(Collector):
    """What is read at each scrape."""

    def __init__(self, supervisor: Supervisor, version: str) -> None:
        self._supervisor = supervisor
        self._version = version
        self._seen: dict[str, int] = {}
        self._output_bytes = 0

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of this moment."""
        sessions = self._supervisor.sessions()
        tally = Tally(session.record.state.shown for session in sessions)
        states = GaugeMetricFamily("holdfast_sessions", "Sessions, by state.", labels=["state"])
        for state in _STATES:
            states.add_metric([state], tally[state])
        yield states
        yield CounterMetricFamily(
            "holdfast_output_bytes",
            "Output taken, as far as sessions were still listed at a scrape.",
            value=self._advance(sessions),
        )
        yield _gauge(
            "output_stalled_sessions",
            "Sessions whose output waits.",
            sum(session.stalled is not None for session in sessions),
        )
        yield _gauge(
            "disk_bytes",
            "What kept output takes up, with its index.",
            sum(session.bytes_on_disk for session in sessions),
        )
        yield _gauge(
            "attachments",
            "Attached clients.",
            sum(len(session.attachments) for session in sessions),
        )
        yield InfoMetricFamily("holdfast_build", "This daemon.", {"version": self._version})

    def _advance(self, sessions: Any) -> int:
        """Add what each session gained since the last scrape; removed ones take nothing away."""
        ends = {session.record.id: session.reader.next for session in sessions}
        self._output_bytes += sum(end - self._seen.get(key, 0) for key, end in ends.items())
        self._seen = ends
        return self._output_bytes


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"holdfast_{name}", meaning, value=value)
