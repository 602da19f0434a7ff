"""Conditions: from what a client wrote to what the supervisor waits for.

A condition that cannot ever be looked at is refused before anything is started or stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from api.errors import BadRequest, Invalid
from api.senses import SystemSenses
from holdfast import wire
from supervisor.conditions import (
    Condition,
    UntilChange,
    UntilEnded,
    UntilExit,
    UntilHttp,
    UntilIdle,
    UntilLog,
    UntilPort,
    UntilReady,
)
from supervisor.log_search import Search
from supervisor.records import ReadyWhen

__all__ = ["check_ready", "compile_search", "condition_of", "conditions_of", "ready_of", "simple"]

_WORDS: Final[Mapping[wire.Word, Condition]] = {
    "exit": UntilExit(),
    "ended": UntilEnded(),
    "ready": UntilReady(),
    "change": UntilChange(),
}
_KINDS: Final = ("log", "port", "http", "idle")
_STREAMS: Final = {"stdout": 1, "stderr": 2}
_MOST_CONDITIONS: Final = 16
_PORTS: Final = range(1, 65536)


def conditions_of(
    asked: wire.WaitRequest, senses: SystemSenses, path: str = "$"
) -> list[Condition]:
    """Return what a request waits for, in its order. Raises Invalid."""
    if not 0 < len(asked.for_) <= _MOST_CONDITIONS:
        raise Invalid(f"Give 1 to {_MOST_CONDITIONS} conditions.", path=f"{path}.for")
    return [condition_of(one, senses, f"{path}.for[{at}]") for at, one in enumerate(asked.for_)]


def condition_of(asked: wire.Condition | wire.Word, senses: SystemSenses, path: str) -> Condition:
    """Return what the supervisor waits for. Raises Invalid; `path` is the place in the body."""
    if isinstance(asked, str):
        return _WORDS[asked]
    _check_fields(asked, path)
    if asked.log is not None:
        stream = None if asked.stream is None else _STREAMS[asked.stream]
        return UntilLog(compile_search(asked.log, f"{path}.log"), stream)
    if asked.http is not None:
        refusal = senses.probe.refusal(asked.http)
        if refusal is not None:
            raise Invalid(refusal, path=f"{path}.http")
        return UntilHttp(asked.http, asked.status)
    if asked.idle is not None:
        return UntilIdle(asked.idle)
    if asked.port == "any":
        return UntilPort(None)
    if asked.port is None or asked.port not in _PORTS:
        raise Invalid("A port is 1 to 65535, or any.", path=f"{path}.port")
    return UntilPort(asked.port)


def check_ready(asked: wire.Condition | None, senses: SystemSenses) -> None:
    """Refuse a `ready` that could never be met for its form. Raises Invalid."""
    if asked is not None:
        condition_of(asked, senses, "$.ready")


def ready_of(asked: wire.Condition | None) -> ReadyWhen | None:
    """Return `ready` as it is stored."""
    return None if asked is None else ReadyWhen(**msgspec.structs.asdict(asked))


def compile_search(pattern: str, path: str) -> Search:
    """Return a search for an RE2 pattern, `^` and `$` being those of lines. Raises Invalid."""
    try:
        return SystemSenses.compile(pattern)
    except ValueError as error:
        raise Invalid(str(error), path=path) from error


def simple(text: str) -> wire.Condition | wire.Word:
    """Return the condition that one of `exit`, `log:RE`, `port:N`, `http:URL`, `idle:S` stands for.

    Raises BadRequest.
    """
    word, _, value = text.partition(":")
    for known in _WORDS:
        if text == known:
            return known
    if word == "log":
        return wire.Condition(log=value)
    if word == "http" and value:
        return wire.Condition(http=value)
    if word == "port" and (value == "any" or value.isdecimal()):
        return wire.Condition(port="any" if value == "any" else int(value))
    if word == "idle":
        try:
            return msgspec.convert({"idle": float(value)}, wire.Condition)
        except ValueError as error:  # msgspec.ValidationError is one
            raise BadRequest("idle needs seconds above 0, such as idle:2.5") from error
    raise BadRequest(
        f"for={text!r}: give exit, ended, ready, change, log:RE, port:N, http:URL or idle:S."
    )


def _check_fields(asked: wire.Condition, path: str) -> None:
    if sum(getattr(asked, name) is not None for name in _KINDS) != 1:
        raise Invalid("A condition is one of log, port, http and idle.", path=path)
    if asked.stream is not None and asked.log is None:
        raise Invalid("stream belongs to log.", path=f"{path}.stream")
    if asked.status is not None and asked.http is None:
        raise Invalid("status belongs to http.", path=f"{path}.status")
