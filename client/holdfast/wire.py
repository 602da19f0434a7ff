"""The JSON that crosses HTTP and WebSocket: one definition for the server, the SDK and the CLI.

Rules
- A request refuses unknown fields, so that a typo never passes.
- Times are RFC 3339 UTC with microseconds, durations seconds, sizes bytes.
- Values of environment variables are only ever in requests, never in answers.

One file of more than 400 lines: nothing here but types, and whoever looks for a field looks here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

__all__ = [
    "ID_PATTERN",
    "LABEL_KEY_PATTERN",
    "SUBPROTOCOL",
    "Answer",
    "Attachment",
    "CommandBody",
    "Condition",
    "ErrorAnswer",
    "ErrorBody",
    "EventView",
    "ExecRequest",
    "ExecResult",
    "InputAccepted",
    "InputView",
    "KillRequest",
    "NodeView",
    "Omitted",
    "OutputOptions",
    "OutputView",
    "PortView",
    "ReadResult",
    "ReceiptView",
    "ResizeRequest",
    "RestartOptions",
    "RestartRequest",
    "SessionCreated",
    "SessionPage",
    "SessionPatch",
    "SessionRequest",
    "SessionView",
    "SignalRequest",
    "SpecFields",
    "StopRequest",
    "TerminalSize",
    "TimeoutOptions",
    "TimeoutRequest",
    "TokenCreated",
    "TokenRequest",
    "UsageView",
    "WaitRequest",
    "WaitResult",
    "Word",
]

SUBPROTOCOL = "holdfast.v1"
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z"
LABEL_KEY_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}\Z"

Id = Annotated[str, Meta(pattern=ID_PATTERN)]
Cells = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[float, Meta(gt=0)]
Labels = Annotated[
    dict[Annotated[str, Meta(pattern=LABEL_KEY_PATTERN)], Annotated[str, Meta(max_length=256)]],
    Meta(max_length=32),
]
OnFull = Literal["drop", "block"]


class Request(Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Base of all that a client sends."""


class Answer(Struct, frozen=True):
    """Base of all that the server sends; clients ignore fields they do not know."""


class TerminalSize(Request, frozen=True, kw_only=True):
    """A terminal's size in character cells."""

    rows: Cells
    cols: Cells


class OutputOptions(Request, frozen=True, kw_only=True):
    """How much output is kept and what happens when that is full."""

    capacity: Annotated[int, Meta(ge=512 * 1024, le=1 << 40)] = 16 * 1024 * 1024
    on_full: OnFull = "drop"


class Condition(Request, frozen=True, kw_only=True):
    """One thing to wait for; exactly one of `log`, `port`, `http`, `idle` is set.

    `stream` belongs to `log`. `status` belongs to `http`; without it any from 200 to 399 will do.
    """

    log: str | None = None
    stream: Literal["stdout", "stderr"] | None = None
    port: int | Literal["any"] | None = None
    http: str | None = None
    status: Annotated[int, Meta(ge=100, le=599)] | None = None
    idle: Seconds | None = None


Word = Literal["exit", "ended", "ready", "change"]


class WaitRequest(Request, frozen=True, kw_only=True):
    """The body of `/wait`: the first condition that holds answers."""

    for_: list[Condition | Word] = msgspec.field(name="for")
    from_offset: Annotated[int, Meta(ge=0)] | None = None
    generation: Annotated[int, Meta(ge=1)] | None = None
    timeout: Annotated[float, Meta(ge=0, le=50)] = 30.0


class TimeoutOptions(Request, frozen=True, kw_only=True):
    """Seconds until the daemon ends the session; null is never.

    `run` from its start, `idle` without output and input, `disconnect` with nobody attached.
    """

    run: Seconds | None = None
    idle: Seconds | None = None
    disconnect: Seconds | None = None


class RestartOptions(Request, frozen=True, kw_only=True):
    """When a command that ended is started again.

    The wait is `initial` seconds and doubles up to `max`; after `intensity` restarts within
    `window` seconds it is given up.
    """

    policy: Literal["never", "on_failure", "always"] = "never"
    initial: Annotated[float, Meta(gt=0, le=86400)] = 1.0
    max: Annotated[float, Meta(gt=0, le=86400)] = 60.0
    intensity: Annotated[int, Meta(ge=1, le=1_000_000)] = 5
    window: Annotated[float, Meta(gt=0, le=31_536_000)] = 60.0


class SpecFields(Request, frozen=True, kw_only=True):
    """What a caller may say of a command, on whichever route it starts."""

    id: Id | None = None
    name: Id | None = None
    labels: Labels = {}
    command: list[str] | str | None = None
    shell: str | None = None
    cwd: str | None = None
    user: str | int | None = None
    group: str | int | None = None
    env: dict[str, str] = {}
    base_env: dict[str, str] = {}
    tty: bool = False
    size: TerminalSize | None = None
    stdin: Literal["null", "pipe"] | None = "null"
    stdout: Literal["pipe", "ignore"] = "pipe"
    stderr: Literal["pipe", "ignore", "combined"] = "pipe"
    stop_signal: str | int = "SIGTERM"
    stop_grace: Annotated[float, Meta(ge=0, le=86400)] = 10.0
    ready: Condition | None = None


class SessionRequest(SpecFields, frozen=True, kw_only=True):
    """The body of `POST /v1/sessions`: a spec, and how to treat one that is there already.

    `wait` is the body of `/wait`, `read` the query of `/output`: both are done before the answer.
    """

    machine: str = "local"
    output: OutputOptions = OutputOptions()
    timeouts: TimeoutOptions = TimeoutOptions()
    leftovers: Literal["kill", "keep"] = "kill"
    restart: RestartOptions = RestartOptions()
    kind: Literal["start", "run", "exec", "up"] = "start"
    replace: bool = False
    wait: WaitRequest | None = None
    read: dict[str, str | int | float | bool] | None = None


class ExecRequest(SpecFields, frozen=True, kw_only=True):
    """The body of `POST /machines/{id}/exec`: run a command and wait for its end."""

    cmd: list[str] | str | None = None
    output: OutputOptions | UnsetType = UNSET
    timeouts: TimeoutOptions | UnsetType = UNSET
    leftovers: Literal["kill", "keep"] = "keep"
    timeout: Seconds | None | UnsetType = UNSET
    input: str | None = None
    on_timeout: Literal["kill", "detach"] = "kill"
    max_output_bytes: Annotated[int, Meta(ge=1024, le=16 * 1024 * 1024)] = 1024 * 1024
    encoding: Literal["text", "base64"] = "text"


class Omitted(Answer, frozen=True, kw_only=True):
    """A range of offsets that an answer left out: `from_` inclusive, `to` exclusive."""

    from_: int = msgspec.field(name="from")
    to: int


class ExecResult(Answer, frozen=True, kw_only=True):
    """What became of an exec; also for exits other than 0.

    `state` is `running` for a command that was left running at its timeout: then `exit_code`,
    `signal` and `outcome` are null, and its output goes on at `next_offset`.
    """

    state: str
    exit_code: int | None
    stdout: str
    stderr: str
    signal: str | None
    outcome: str | None
    next_offset: int
    truncated: bool
    omitted: list[Omitted]
    session_id: str
    duration: float


class SessionPatch(Request, frozen=True, kw_only=True):
    """The body of `PATCH /v1/sessions/{id}`; a null name takes the name away.

    `on_full: drop` lets a command go on that would wait for a reader who is gone.
    """

    name: Id | None | UnsetType = UNSET
    labels: Labels | UnsetType = UNSET
    on_full: OnFull | UnsetType = UNSET


class OutputView(Answer, frozen=True, kw_only=True):
    """Where a session's output stands; offsets count bytes from 0 over all generations."""

    oldest: int
    next: int
    capacity: int
    on_full: OnFull
    complete: bool
    stalled: Literal["reader", "disk", "node_full"] | None
    bytes_on_disk: int


class InputView(Answer, frozen=True, kw_only=True):
    """Where a session's input stands: accepted up to `next`, taken by the pipe to `delivered`."""

    next: int
    delivered: int
    open: bool
    wanted: bool | None = None


class PortView(Answer, frozen=True, kw_only=True):
    """A listening TCP socket of the session's own process tree, and a process that holds it."""

    port: int
    address: str
    pid: int
    since: datetime


class UsageView(Answer, frozen=True, kw_only=True):
    """What the whole tree uses: CPU time of this generation, memory now; looked at when `at`."""

    cpu_seconds: float
    memory_bytes: int
    processes: int
    at: datetime


class Attachment(Answer, frozen=True, kw_only=True):
    """One client that is attached."""

    client: str
    role: Literal["writer", "observer"]
    since: datetime
    user: str | None = None
    via: str = "websocket"


class SessionView(Answer, frozen=True, kw_only=True):
    """A session as users see it. `usage` is in the answer for a single one, or when asked for."""

    id: str
    name: str | None
    labels: dict[str, str]
    kind: str
    machine: str
    node: str
    command: list[str] | str | None
    shell: str | None
    cwd: str | None
    user: str | None
    group: str | None
    tty: bool
    size: TerminalSize | None
    env_names: list[str]
    env_hash: str
    state: str
    desired: str
    ready: bool
    generation: int
    restarts: int
    restart_policy: str
    next_start_at: datetime | None
    gave_up: bool
    pid: int | None
    boot_id: str
    created_by: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    last_output_at: datetime | None
    deadline_at: datetime | None
    timeouts: dict[str, float | None]
    output: OutputView
    input: InputView
    attachments: list[Attachment]
    outcome: str | None
    outcome_detail: dict[str, Any]
    exit_code: int | None
    signal: str | None
    message: str
    survivors: list[int]
    ports: list[PortView] = []
    usage: UsageView | UnsetType = UNSET


class SessionPage(Answer, frozen=True, kw_only=True):
    """A page of the list; `event_cursor` is where to follow events without missing one."""

    items: list[SessionView]
    next_cursor: str | None
    event_cursor: int
    as_of: datetime


class CommandBody(Request, frozen=True, kw_only=True):
    """What every control request may carry."""

    generation: Annotated[int, Meta(ge=1)] | None = None
    command_id: Id | None = None
    reason: Annotated[str, Meta(max_length=1024)] | None = None
    wait: bool = True


class StopRequest(CommandBody, frozen=True, kw_only=True):
    """Ask the tree to end, and kill it after `grace` seconds."""

    signal: str | int | None = None
    grace: Annotated[float, Meta(ge=0, le=86400)] | None = None


class KillRequest(CommandBody, frozen=True, kw_only=True):
    """SIGKILL the whole tree."""


class SignalRequest(CommandBody, frozen=True, kw_only=True):
    """Send one signal."""

    signal: str | int = "SIGTERM"
    target: Literal["leader", "group", "tree"] = "leader"


class RestartRequest(CommandBody, frozen=True, kw_only=True):
    """Stop the child, if there is one, and start the next generation."""

    base_env: dict[str, str] | UnsetType = UNSET


class ResizeRequest(CommandBody, frozen=True, kw_only=True):
    """Set the terminal's size."""

    rows: Cells
    cols: Cells


class TimeoutRequest(CommandBody, frozen=True, kw_only=True):
    """Set (seconds from now) or clear (null) timeouts; one that is not named stays."""

    run: Seconds | None | UnsetType = UNSET
    idle: Seconds | None | UnsetType = UNSET
    disconnect: Seconds | None | UnsetType = UNSET


class ReceiptView(Answer, frozen=True, kw_only=True):
    """One control request and what became of it."""

    command_id: str
    verb: str
    session: str
    generation: int
    state: Literal["accepted", "done", "failed", "expired"]
    by: dict[str, str | None]
    reason: str | None
    at: datetime
    effect: dict[str, Any]


class WaitResult(Answer, frozen=True, kw_only=True):
    """`met` is the index of the condition that held, null when none did."""

    met: int | None
    reason: Literal["met", "timeout", "ended"]
    evidence: dict[str, Any] | None
    session: SessionView
    next_offset: int


class ReadResult(Answer, frozen=True, kw_only=True):
    """What `GET .../output` would answer to the same query, as text, with its two headers.

    `gap` is what the query began with and the ring no longer held, `from_` inclusive, `to`
    exclusive; null when nothing was missing.
    """

    offset: int
    next_offset: int
    text: str
    gap: Omitted | None = None


class SessionCreated(Answer, frozen=True, kw_only=True):
    """The answer of `POST /v1/sessions`: `created` is false for one that was there already.

    `wait` and `read` are there when they were asked for.
    """

    session: SessionView
    created: bool
    wait: WaitResult | UnsetType = UNSET
    read: ReadResult | UnsetType = UNSET


class InputAccepted(Answer, frozen=True, kw_only=True):
    """The answer of `/input`: `next` is the offset behind what was accepted.

    `wait` and `read` are there when they were asked for.
    """

    next: int
    wait: WaitResult | UnsetType = UNSET
    read: ReadResult | UnsetType = UNSET


class EventView(Answer, frozen=True, kw_only=True):
    """One entry of the node's event log."""

    id: int
    time: datetime
    type: str
    node: str
    session: str | None
    name: str | None
    labels: dict[str, str]
    generation: int | None
    data: dict[str, Any]


class NodeView(Answer, frozen=True, kw_only=True):
    """What a node says of itself."""

    id: str
    version: str
    pid: int
    boot_id: str
    started_at: datetime
    keeper: dict[str, Any]
    containment: str
    listeners: list[str]
    state_dir: str
    promises: dict[str, bool]
    degraded: list[str]
    sessions: dict[str, int]
    limits: dict[str, int]


class TokenRequest(Request, frozen=True, kw_only=True):
    """The body of `POST /v1/tokens`."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]


class TokenCreated(Answer, frozen=True, kw_only=True):
    """A new token; `token` is shown this once."""

    accessor: str
    name: str
    token: str


class ErrorBody(Answer, frozen=True, kw_only=True):
    """`code` is stable, `message` is for people, `details` for programs."""

    code: str
    message: str
    details: dict[str, Any] = {}


class ErrorAnswer(Answer, frozen=True, kw_only=True):
    """The body of every answer of status 400 and above."""

    error: ErrorBody
