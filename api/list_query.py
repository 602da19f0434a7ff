"""What `GET /v1/sessions?...` selects: filters, order and cursor, as pure functions of records.

Rules
- The same filter repeated means or, different ones mean and. An unknown one is refused, and so is
  a value of a closed set that is not in it: a typo never looks like "there is none".
- `sort` names a field, with `-` for descending; ties go by ID, so that the order is total.
- A cursor holds the last item's place in that order, not a count: sessions that come or go
  meanwhile neither repeat nor hide others.
"""

from __future__ import annotations

import base64
import binascii
import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

import msgspec

from api.errors import BadRequest
from supervisor.records import OutcomeKind, SessionRecord, State

__all__ = ["DEFAULT_LIMIT", "FILTERS", "MAX_LIMIT", "ListQuery", "parse", "parse_time_us", "select"]

DEFAULT_LIMIT: Final = 1000
MAX_LIMIT: Final = 10_000

_PORTS: Final = range(1, 65536)
_CONTROL: Final = ("sort", "limit", "cursor", "usage")


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A parsed query. `after` is the sort key of the last item of the page before."""

    filters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sort: str = "created_at"
    descending: bool = False
    usage: bool = False
    limit: int = DEFAULT_LIMIT
    after: tuple[Any, str] | None = None


def _text(get: Callable[[SessionRecord], str | None]) -> Callable[[SessionRecord, str], bool]:
    return lambda record, wanted: get(record) == wanted


def _label(record: SessionRecord, wanted: str) -> bool:
    """`key` is there with any value, `key=value` with that one."""
    key, equals, value = wanted.partition("=")
    return key in record.labels and (not equals or record.labels[key] == value)


def _matches_text(record: SessionRecord, wanted: str) -> bool:
    """Anywhere in ID, name or command, whatever its case."""
    command = record.spec.command or ""
    words = command if isinstance(command, str) else " ".join(command)
    return wanted.lower() in f"{record.id} {record.name or ''} {words}".lower()


def _exit_code(record: SessionRecord, wanted: str) -> bool:
    code = record.outcome.exit_code if record.outcome else None
    return code is not None and str(code) == wanted


def _since(record: SessionRecord, wanted: str) -> bool:
    return record.created_at_us >= parse_time_us(wanted)


def _ended_since(record: SessionRecord, wanted: str) -> bool:
    return record.ended_at_us is not None and record.ended_at_us >= parse_time_us(wanted)


def _listens(record: SessionRecord, wanted: str) -> bool:
    return any(str(one.port) == wanted for one in record.ports)


FILTERS: Final[Mapping[str, Callable[[SessionRecord, str], bool]]] = {
    "state": _text(lambda record: record.state.shown),
    "outcome": _text(lambda record: record.outcome.kind if record.outcome else None),
    "exit_code": _exit_code,
    "label": _label,
    "machine": _text(lambda record: record.spec.machine),
    "node": _text(lambda record: record.node),
    "name": _text(lambda record: record.name),
    "kind": _text(lambda record: record.kind),
    "created_by": _text(lambda record: record.created_by),
    "port": _listens,
    "q": _matches_text,
    "since": _since,
    "ended_since": _ended_since,
}

_KNOWN: Final[Mapping[str, Sequence[str]]] = {
    "state": list(dict.fromkeys(state.shown for state in State)),
    "outcome": [kind.value for kind in OutcomeKind],
    "kind": ["start", "run", "exec", "up"],
}

_SORTS: Final[Mapping[str, Callable[[SessionRecord], int | str]]] = {
    "created_at": lambda record: record.created_at_us,
    "started_at": lambda record: record.started_at_us or 0,
    "ended_at": lambda record: record.ended_at_us or 0,
    "name": lambda record: record.name or "",
    "state": lambda record: record.state.shown,
}


def parse(pairs: Iterable[tuple[str, str]]) -> ListQuery:
    """Return the query of the URL's key and value pairs. Raises BadRequest, naming the pair."""
    filters: dict[str, list[str]] = {}
    control: dict[str, str] = {}
    for key, value in pairs:
        if key in FILTERS:
            filters.setdefault(key, []).append(value)
        elif key in _CONTROL:
            control[key] = value
        else:
            known = ", ".join([*FILTERS, *_CONTROL])
            raise BadRequest(f"{key!r} is no filter; there are {known}.", query=key)
    _check_values(filters)
    sort = control.get("sort", "created_at")
    if sort.removeprefix("-") not in _SORTS:
        raise BadRequest(f"sort is one of {', '.join(_SORTS)}, with - for descending.", query=sort)
    cursor = control.get("cursor")
    return ListQuery(
        filters=filters,
        sort=sort.removeprefix("-"),
        descending=sort.startswith("-"),
        usage=_usage(control.get("usage", "false")),
        limit=_limit(control.get("limit")),
        after=_read_cursor(cursor, sort) if cursor else None,
    )


def _check_values(filters: Mapping[str, Sequence[str]]) -> None:
    """Refuse what no session can ever have, and what is no time."""
    for key, known in _KNOWN.items():
        for value in filters.get(key, ()):
            if value not in known:
                listed = ", ".join(known)
                raise BadRequest(f"{value!r} is no {key}; there are {listed}.", query=key)
    for key in ("since", "ended_since"):
        for value in filters.get(key, ()):
            parse_time_us(value)
    for value in filters.get("port", ()):
        _check_port(value)


def _check_port(text: str) -> None:
    """Refuse what no session can listen on; numbers are compared as they are written."""
    plain = text.isascii() and text.isdecimal() and text[0] != "0" and len(text) < 6  # noqa: PLR2004
    if not plain or int(text) not in _PORTS:
        raise BadRequest(f"port is a number from 1 to 65535, not {text!r}.", query="port")


def _usage(text: str) -> bool:
    if text not in ("true", "false"):
        raise BadRequest("usage is true or false.", query="usage")
    return text == "true"


class _Recorded(Protocol):
    @property
    def record(self) -> SessionRecord: ...


S = TypeVar("S", bound=_Recorded)


def select(sessions: Collection[S], query: ListQuery) -> tuple[list[S], str | None]:
    """Return what belongs on the page, in order, and the cursor of the next page.

    `sessions` come in the order of their creation.
    """
    chosen = [one for one in sessions if _passes(one.record, query)] if query.filters else sessions
    key = _SORTS[query.sort]

    def place(session: S) -> tuple[Any, str]:
        return key(session.record), session.record.id

    if (query.sort, query.descending, query.after) == ("created_at", False, None):
        ordered = list(chosen)
    else:
        ordered = sorted(chosen, key=place, reverse=query.descending)
    if query.after is not None:
        after = query.after
        beyond = operator.lt if query.descending else operator.gt
        ordered = [one for one in ordered if beyond(place(one), after)]
    page = ordered[: query.limit]
    more = len(ordered) > len(page)
    return page, _write_cursor(query, place(page[-1])) if more else None


def parse_time_us(text: str) -> int:
    """Return an RFC 3339 time as microseconds since the epoch. Raises BadRequest."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRequest(f"{text!r} is no RFC 3339 time.", query=text) from error
    if moment.tzinfo is None:
        raise BadRequest(f"{text!r} has no time zone: add Z or an offset.", query=text)
    return round(moment.timestamp() * 1_000_000)


def _passes(record: SessionRecord, query: ListQuery) -> bool:
    return all(
        any(FILTERS[name](record, value) for value in values)
        for name, values in query.filters.items()
    )


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= MAX_LIMIT:
        raise BadRequest(f"limit is a number from 1 to {MAX_LIMIT}.", query="limit")
    return int(text)


def _write_cursor(query: ListQuery, last: tuple[Any, str]) -> str:
    sort = f"-{query.sort}" if query.descending else query.sort
    return base64.urlsafe_b64encode(msgspec.json.encode([sort, *last])).decode().rstrip("=")


def _read_cursor(cursor: str, sort: str) -> tuple[Any, str]:
    """Return the place a cursor stands for; it belongs to one order."""
    try:
        decoded = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        written, value, last = msgspec.json.decode(decoded, type=tuple[str, int | str, str])
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise BadRequest("The cursor is none of ours.", query="cursor") from error
    if written != sort or not isinstance(value, str if sort.strip("-") in _TEXTS else int):
        raise BadRequest(f"The cursor belongs to the order {written!r}.", query="cursor")
    return value, last


_TEXTS: Final = ("name", "state")
