"""One round trip for each step of an agent: `wait` and `read` within a start or an input.

Rules
- Both are checked before anything is started or accepted: a refusal has changed nothing.
- With an input they begin where the output stood before it, unless they say otherwise, so that what
  it makes the child print is neither missed nor mixed with what was there. Silence counts from it.
- `read` is the query of `/output` and is answered as text, at most `MOST_BYTES`. What the ring no
  longer holds of it is a `gap`, since the step itself is done and cannot be refused any more.
- A client that leaves ends the wait; what was started or accepted stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, cast
from urllib.parse import urlencode

from msgspec import UNSET, UnsetType, structs
from starlette.requests import Request

from api.answers import Services, services
from api.conditions import conditions_of
from api.errors import BadRequest, Invalid
from api.output import FIELDS, output_answer, understand
from api.query import Query
from api.stream import Stream, StreamBroken
from api.text import decode
from api.wait import check_offset, waited
from holdfast import wire
from supervisor.conditions import Condition
from supervisor.errors import Conflict, Gone
from supervisor.session import Session

__all__ = ["Step", "Stepped", "check_on", "step_of", "take"]

DEFAULT_BYTES: Final = 1024 * 1024
MOST_BYTES: Final = 16 * 1024 * 1024
_TRIES: Final = 8
_KNOWN: Final = tuple(name for name in FIELDS if name not in ("follow", "previous"))
_STARTS: Final = ("offset", "since", "tail_lines", "tail_bytes")

Read = Mapping[str, str | int | float | bool]
Stepped = tuple[wire.WaitResult | UnsetType, wire.ReadResult | UnsetType]


@dataclass(frozen=True, slots=True)
class Step:
    """What to do before the answer; `read` are the fields of a query, as text."""

    wait: wire.WaitRequest | None
    conditions: tuple[Condition, ...]
    read: Mapping[str, str] | None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return self.wait is None and self.read is None


def step_of(
    shared: Services, wait: wire.WaitRequest | None, read: Read | None, path: str = "$"
) -> Step:
    """Return what was asked for, checked. Raises Invalid."""
    conditions: list[Condition] = []
    if wait is not None:
        conditions = conditions_of(wait, shared.senses, f"{path}.wait")
    if read is None:
        return Step(wait, tuple(conditions), None)
    fields = {name: _text(value) for name, value in read.items()}
    fields.setdefault("format", "text")
    try:
        _try(fields, shared.supervisor.clock.wall_us())
    except BadRequest as error:
        raise Invalid(error.message, path=f"{path}.read") from error
    return Step(wait, tuple(conditions), fields)


def check_on(session: Session, step: Step) -> None:
    """Refuse what cannot be waited for in a session that is there. Raises BadRequest, Conflict."""
    if step.wait is not None:
        check_offset(step.wait, session)
        generation = step.wait.generation
        if generation is not None and generation > session.record.generation:
            raise Conflict("that generation has not begun", generation=session.record.generation)


async def take(request: Request, session: Session, step: Step, since: int | None = None) -> Stepped:
    """Wait, then read. `since`: the offset to begin at where the step does not say another."""
    told: wire.WaitResult | UnsetType = UNSET
    read: wire.ReadResult | UnsetType = UNSET
    if step.wait is not None:
        asked = step.wait
        if asked.from_offset is None and since is not None:
            asked = structs.replace(asked, from_offset=since)
        fresh = since is not None
        told = await waited(request, session, asked, step.conditions, fresh=fresh)
    if step.read is not None:
        fields = dict(step.read)
        if since is not None and not any(name in fields for name in _STARTS):
            fields["offset"] = str(since)
        read = await _read(fields, session, services(request).supervisor.clock.wall_us())
    return told, read


async def _read(fields: Mapping[str, str], session: Session, now_us: int) -> wire.ReadResult:
    """Read what is kept of it; what is gone is told as a gap before it."""
    first = int(fields.get("offset", 0))
    if first > session.reader.next:
        return wire.ReadResult(offset=first, next_offset=first, text="")
    gap = None
    for _ in range(_TRIES):
        try:
            answer = await output_answer(_query(fields), session, now_us)
            body = await answer.whole() if isinstance(answer, Stream) else answer.body
        except (Gone, StreamBroken):  # the ring goes on while it is read
            fields = {name: value for name, value in fields.items() if name not in _STARTS}
            fields["offset"] = str(session.reader.oldest)
            gap = wire.Omitted(from_=first, to=session.reader.oldest)
            continue
        return wire.ReadResult(
            offset=int(answer.headers["holdfast-offset"]),
            next_offset=int(answer.headers["holdfast-next-offset"]),
            text=decode(bytes(body)),
            gap=gap,
        )
    end = session.reader.next
    gap = wire.Omitted(from_=first, to=end)
    return wire.ReadResult(offset=end, next_offset=end, text="", gap=gap)


def _try(fields: Mapping[str, str], now_us: int) -> None:
    """Try a query on a session without output. Raises BadRequest for what no session could take."""
    query = _query(fields)
    if fields["format"] == "raw":
        raise BadRequest("format is text, or jsonl, where encoding=base64 keeps every byte.")
    query.number("max_bytes", least=1, most=MOST_BYTES)
    at = query.number("offset") or 0
    blank = SimpleNamespace(oldest=0, next=at, tail_offset=_start, offset_since=_start)
    understand(query, cast("Session", SimpleNamespace(reader=blank, final=True)), now_us)


def _start(*_: Any, **__: Any) -> int:
    return 0


def _query(fields: Mapping[str, str]) -> Query:
    given = dict(fields)
    if given.get("shape") != "head_tail":
        given.setdefault("max_bytes", str(DEFAULT_BYTES))
    return Query(urlencode(given).encode(), _KNOWN)


def _text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
