"""The keyword arguments of `start`, `run` and the control verbs, and the requests they become."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, cast

from msgspec import UNSET

from holdfast.ids import new_id
from holdfast.wire import (
    Condition,
    OutputOptions,
    RestartOptions,
    SessionRequest,
    TerminalSize,
    TimeoutOptions,
)

__all__ = [
    "Command",
    "ControlOptions",
    "EventFilters",
    "ListFilters",
    "LogFilters",
    "OutputQuery",
    "OutputStart",
    "ReadyOptions",
    "StartOptions",
    "control_fields",
    "session_request",
]

RestartPolicy = Literal["never", "on_failure", "always"]
Command = str | list[str] | tuple[str, ...] | None


class ReadyOptions(TypedDict, total=False):
    """What makes a session ready: one of `log` (RE2), `port`, `http` (a URL) and `idle` (seconds).

    `stream` limits `log`; `status` is what `http` must answer, any from 200 to 399 without it.
    """

    log: str
    stream: Literal["stdout", "stderr"]
    port: int | Literal["any"]
    http: str
    status: int
    idle: float


class StartOptions(TypedDict, total=False):
    """What may be said of a command besides its argv; the defaults are the server's.

    `size` is (rows, cols), `capacity` the output kept in bytes, `timeout` the seconds after which
    the daemon ends the command, as do `idle_timeout` without output and input and
    `disconnect_timeout` with nobody attached. `restart` is a policy's name or the fields of
    `RestartOptions`. `base_env` is like `env`, but a difference in it is not a
    difference between two requests of the same `id`. `ready` is what makes the session ready, as
    `{"port": 8000}`.
    """

    id: str
    name: str
    labels: dict[str, str]
    shell: str | None
    machine: str
    cwd: str
    user: str | int
    group: str | int
    env: dict[str, str]
    base_env: dict[str, str]
    tty: bool
    size: tuple[int, int]
    stdin: Literal["null", "pipe"]
    stdout: Literal["pipe", "ignore"]
    stderr: Literal["pipe", "ignore", "combined"]
    capacity: int
    on_full: Literal["drop", "block"]
    timeout: float | None
    idle_timeout: float | None
    disconnect_timeout: float | None
    restart: RestartPolicy | RestartOptions
    stop_signal: str | int
    stop_grace: float
    leftovers: Literal["kill", "keep"]
    ready: ReadyOptions
    kind: Literal["start", "run", "exec", "up"]
    replace: bool


class ControlOptions(TypedDict, total=False):
    """What every control verb takes.

    `generation` limits it to that process, `command_id` makes repeats one request, `reason` is kept
    in the receipt, `wait=False` answers as soon as the request is stored.
    """

    generation: int
    command_id: str
    reason: str
    wait: bool


class ListFilters(TypedDict, total=False):
    """What `list` selects by: different fields mean and, several values of one mean or.

    `label` is `key` or `key=value`, `q` a part of ID, name or command, `port` one that the session
    listens on. `since` and `ended_since` are RFC 3339 times. `usage` selects nothing: with it the
    views say what each session uses.
    """

    state: str | list[str]
    outcome: str | list[str]
    exit_code: int | list[int]
    label: str | list[str]
    machine: str | list[str]
    node: str | list[str]
    name: str | list[str]
    kind: str | list[str]
    created_by: str | list[str]
    port: int | list[int]
    q: str
    since: str
    ended_since: str
    sort: str
    usage: bool


class EventFilters(TypedDict, total=False):
    """What `events` selects by, in the same way."""

    type: str | list[str]
    label: str | list[str]
    name: str | list[str]
    session: str | list[str]


class OutputStart(TypedDict, total=False):
    """Where reading output begins: one of an offset, a time, or so much from the end.

    `since` is RFC 3339, or a number: so many seconds ago.
    """

    offset: int
    since: str | float
    tail_lines: int
    tail_bytes: int


class LogFilters(TypedDict, total=False):
    """Of which sessions `log_lines` tells, as `list` selects them, and what of their output.

    `since` and `tail_lines` say where each session begins; the rest is as in `OutputQuery`.
    """

    state: str | list[str]
    outcome: str | list[str]
    label: str | list[str]
    machine: str | list[str]
    node: str | list[str]
    name: str | list[str]
    kind: str | list[str]
    created_by: str | list[str]
    q: str
    since: str | float
    tail_lines: int
    stream: Literal["stdout", "stderr"]
    clean: str
    grep: str
    context: int


class OutputQuery(OutputStart, total=False):
    """Which output to read at once, and how it is shown: as `GET .../output` takes it.

    `clean` is `ansi`, `cr` or `ansi,cr`, `grep` an RE2 pattern, `context` the lines around a match;
    with `shape="head_tail"` at most `max_bytes` come, the first and the last. `previous` reads the
    generation before this one.
    """

    max_bytes: int
    previous: bool
    stream: Literal["stdout", "stderr"]
    clean: str
    grep: str
    context: int
    shape: Literal["all", "head_tail"]
    format: Literal["raw", "text", "jsonl"]
    encoding: Literal["text", "base64"]


def session_request(command: Command, options: StartOptions) -> SessionRequest:
    """Build the body that creates a session.

    A string goes through a shell (`auto`: bash, else sh) unless `shell` says otherwise, a list
    never does. Without an `id` one is made here, so that sending it twice starts one session.
    """
    fields: dict[str, Any] = dict(options)
    fields.setdefault("id", new_id())
    if isinstance(command, str):
        fields.setdefault("shell", "auto")
    fields["command"] = list(command) if isinstance(command, tuple) else command
    if (size := fields.pop("size", None)) is not None:
        fields["size"] = TerminalSize(rows=size[0], cols=size[1])
    kept = {key: fields.pop(key) for key in ("capacity", "on_full") if key in fields}
    if (ready := fields.pop("ready", None)) is not None:
        fields["ready"] = Condition(**ready)
    timeouts = TimeoutOptions(
        run=fields.pop("timeout", None),
        idle=fields.pop("idle_timeout", None),
        disconnect=fields.pop("disconnect_timeout", None),
    )
    if isinstance(policy := fields.get("restart"), str):
        fields["restart"] = RestartOptions(policy=cast("RestartPolicy", policy))
    return SessionRequest(output=OutputOptions(**kept), timeouts=timeouts, **fields)


def control_fields(options: ControlOptions, **verb_fields: Any) -> dict[str, Any]:
    """Return the fields of a control request; what was not given is left to the server."""
    given = {key: value for key, value in verb_fields.items() if value not in (None, UNSET)}
    return {"command_id": new_id(), **options, **given}
