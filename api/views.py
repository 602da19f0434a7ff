"""Sessions as users see them, and their JSON, kept encoded while nothing changes.

Rules
- An answer shows names of environment variables and one hash over all of them, never a value.
- The encoded JSON of a session is reused until its version or one of its offsets changes, so that
  a list of a thousand idle sessions is a join of bytes that are there already.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, cast

import msgspec

from holdfast import wire
from supervisor.clock import Clock
from supervisor.environment import env_hash
from supervisor.records import Event, OpenPort, Receipt, SessionRecord, State, is_ready
from supervisor.session import Session

__all__ = [
    "SessionViews",
    "event_view",
    "ports_view",
    "receipt_view",
    "session_view",
    "timestamp",
    "usage_view",
]

Stalled = Literal["reader", "disk", "node_full"]

_encode = msgspec.json.encode


def timestamp(at_us: int) -> datetime:
    """Return microseconds since the epoch as a UTC time; msgspec writes it as RFC 3339."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).replace(microsecond=at_us % 1_000_000)


def session_view(session: Session, clock: Clock) -> wire.SessionView:
    """Return everything about a session that lists show: all but `usage`."""
    record, spec, outcome = session.record, session.record.spec, session.record.outcome
    size = record.size or spec.size
    return wire.SessionView(
        id=record.id,
        name=record.name,
        labels=dict(record.labels),
        kind=record.kind,
        machine=spec.machine,
        node=record.node,
        command=list(spec.command) if isinstance(spec.command, tuple) else spec.command,
        shell=spec.shell,
        cwd=spec.cwd,
        user=spec.user,
        group=spec.group,
        tty=spec.tty,
        size=wire.TerminalSize(rows=size.rows, cols=size.cols) if size else None,
        env_names=sorted({*spec.env, *record.base_env}),
        env_hash=env_hash({**record.base_env, **spec.env}),
        state=record.state.shown,
        desired=record.desired,
        ready=is_ready(record),
        generation=record.generation,
        restarts=record.restarts,
        restart_policy=spec.restart.policy,
        next_start_at=_later(record.backoff_until_s, clock),
        gave_up=record.gave_up,
        pid=record.pid,
        boot_id=record.boot_id,
        created_by=record.created_by,
        created_at=timestamp(record.created_at_us),
        started_at=_moment(record.started_at_us),
        ended_at=_moment(record.ended_at_us),
        last_output_at=_moment(session.last_output_at_us),
        deadline_at=None if record.state.over else _later(record.deadline_s, clock),
        timeouts=msgspec.structs.asdict(record.timeouts),
        output=_output(session),
        input=_input(session),
        attachments=[_attachment(one) for one in session.attachments],
        outcome=outcome.kind if outcome else None,
        outcome_detail=dict(outcome.detail) if outcome else {},
        exit_code=outcome.exit_code if outcome else None,
        signal=outcome.signal if outcome else None,
        message=_message(record),
        survivors=list(record.survivors),
        ports=ports_view(record.ports) if session.child is not None else [],
    )


def ports_view(ports: Iterable[OpenPort]) -> list[wire.PortView]:
    """Return listening ports as users see them."""
    return [
        wire.PortView(
            port=one.port, address=one.address, pid=one.pid, since=timestamp(one.since_us)
        )
        for one in ports
    ]


def usage_view(session: Session) -> wire.UsageView | None:
    """Return what a session's tree used when it was last looked at; None when it never was."""
    usage = session.usage
    if usage is None:
        return None
    return wire.UsageView(
        cpu_seconds=round(usage.cpu_seconds, 6),
        memory_bytes=usage.memory_bytes if session.child is not None else 0,
        processes=usage.processes if session.child is not None else 0,
        at=timestamp(usage.at_us),
    )


class SessionViews:
    """The encoded views of this node's sessions, by ID."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[tuple[Any, ...], bytes]] = {}

    def encoded(self, session: Session) -> bytes:
        """Return the JSON of one session's view."""
        reader, written = session.reader, session.input
        # Everything else that is shown changes together with the version.
        key = (
            session,
            session.version,
            reader.next,
            reader.oldest,
            session.bytes_on_disk,
            written and (written.next, written.delivered),
        )
        kept = self._kept.get(session.record.id)
        if kept is not None and kept[0] == key:
            return kept[1]
        content = _encode(session_view(session, self._clock))
        self._kept[session.record.id] = key, content
        return content

    def encoded_with_usage(self, session: Session) -> bytes:
        """Return the same with `usage`, which changes at every look and is not kept."""
        usage = usage_view(session)
        if usage is None:
            return self.encoded(session)
        return b'%b,"usage":%b}' % (self.encoded(session)[:-1], _encode(usage))

    def page(
        self,
        sessions: Iterable[Session],
        next_cursor: str | None,
        event_cursor: int,
        *,
        usage: bool = False,
    ) -> bytes:
        """Return the JSON of a SessionPage."""
        encoded = self.encoded_with_usage if usage else self.encoded
        return b'{"items":[%b],"next_cursor":%b,"event_cursor":%d,"as_of":%b}' % (
            b",".join(map(encoded, sessions)),
            _encode(next_cursor),
            event_cursor,
            _encode(timestamp(self._clock.wall_us())),
        )

    def forget_others(self, present: Collection[Session]) -> None:
        """Let go of what is kept for sessions that are no longer there; cheap when few went."""
        if len(self._kept) > 2 * len(present):
            ids = {session.record.id for session in present}
            self._kept = {key: kept for key, kept in self._kept.items() if key in ids}


def receipt_view(receipt: Receipt) -> wire.ReceiptView:
    """Return a receipt as users see it."""
    by = receipt.by
    return wire.ReceiptView(
        command_id=receipt.command_id,
        verb=receipt.verb,
        session=receipt.session,
        generation=receipt.generation,
        state=receipt.state.value,
        by={"token": by.token, "user": by.user, "client": by.client, "via": by.via},
        reason=receipt.reason,
        at=timestamp(receipt.at_us),
        effect=dict(receipt.effect),
    )


def event_view(event: Event) -> wire.EventView:
    """Return an event as users see it."""
    return wire.EventView(
        id=event.id,
        time=timestamp(event.time_us),
        type=event.type,
        node=event.node,
        session=event.session,
        name=event.name,
        labels=dict(event.labels),
        generation=event.generation,
        data=dict(event.data),
    )


def _moment(at_us: int | None) -> datetime | None:
    return None if at_us is None else timestamp(at_us)


def _later(at_s: float | None, clock: Clock) -> datetime | None:
    """Return a time to come as users see it; what is stored is CLOCK_MONOTONIC of this boot."""
    if at_s is None:
        return None
    left_s = at_s - clock.monotonic()
    return timestamp(clock.wall_us() + round(left_s * 1_000_000))


def _output(session: Session) -> wire.OutputView:
    reader, record = session.reader, session.record
    return wire.OutputView(
        oldest=reader.oldest,
        next=reader.next,
        capacity=record.spec.output.capacity,
        on_full="block" if record.on_full == "block" else "drop",
        complete=record.output_complete,
        stalled=cast("Stalled | None", session.stalled),
        bytes_on_disk=session.bytes_on_disk,
    )


def _input(session: Session) -> wire.InputView:
    written = session.input
    if written is None:
        return wire.InputView(next=0, delivered=0, open=False)
    return wire.InputView(next=written.next, delivered=written.delivered, open=written.open)


def _attachment(attached: Any) -> wire.Attachment:
    return wire.Attachment(
        client=attached.client,
        role=attached.role.value,
        since=timestamp(attached.since_us),
        user=attached.by.user,
        via=attached.by.via,
    )


def _message(record: SessionRecord) -> str:
    """Say in one sentence how the session ended, or what it is doing."""
    if record.outcome is not None:
        restart, told = record.spec.restart, record.outcome.message
        if record.gave_up and record.survivors:
            return f"{told}; not started again, since processes of it survive SIGKILL"
        if record.gave_up:
            return f"{told}; given up after {restart.intensity} restarts in {restart.window:g} s"
        return f"{told}; it is started again" if record.state is State.BACKOFF else told
    about: Mapping[str, str] = {
        "starting": "Starting.",
        "running": f"Running as process {record.pid}.",
        "stopping": "Ending.",
    }
    return about.get(record.state.shown, "")
