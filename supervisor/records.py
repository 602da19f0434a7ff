"""What is known of sessions, commands and events: plain values that a store can keep.

Rules
- Everything here is a frozen value of JSON-compatible fields. Nothing here acts. They are msgspec
  Structs, since a session's record is replaced a dozen times in its life.
- Times are whole microseconds since the epoch, UTC (`_us`). Deadlines are CLOCK_MONOTONIC
  seconds and mean nothing without the `boot_id` beside them.
- `Spec` is what the caller asked for and never changes. What the machine makes of it (a path,
  numbers of users, an environment) is worked out at each spawn, in `launch.py`.

Over 400 lines: nothing here but types, and whoever looks for a field looks here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any, Self

from msgspec import NODEFAULT, Struct, structs

__all__ = [
    "By",
    "Cause",
    "Delivered",
    "Event",
    "OpenPort",
    "Outcome",
    "OutcomeKind",
    "OutputSpec",
    "ReadyWhen",
    "Receipt",
    "ReceiptState",
    "Record",
    "RestartSpec",
    "SessionRecord",
    "Size",
    "Spec",
    "State",
    "Timeouts",
    "Token",
    "Tombstone",
    "Verb",
    "is_ready",
]

CAPACITY_BYTES = 16 * 1024 * 1024


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the values below.

    A field that a store holds and this version does not know is refused, never dropped: the next
    replacement of the row would lose what a newer version wrote.
    """

    def but(self, **changes: Any) -> Self:
        """Return a copy with these fields changed; a tenth of a dataclass's `replace`."""
        return structs.replace(self, **changes)


class State(StrEnum):
    """Where a session is in its life. Users see `draining` as `stopping`."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    DRAINING = "draining"
    EXITED = "exited"
    LOST = "lost"
    BACKOFF = "backoff"

    @property
    def ended(self) -> bool:
        """Whether the session has ended for good, unless somebody asks."""
        return self in (State.EXITED, State.LOST)

    @property
    def over(self) -> bool:
        """Whether this generation has ended: its outcome is committed, and it has no child."""
        return self.ended or self is State.BACKOFF

    @property
    def shown(self) -> str:
        """The word users see."""
        return "stopping" if self is State.DRAINING else self.value


class Size(Record, frozen=True):
    """A terminal's size in character cells, each 1 to 65535."""

    rows: int = 24
    cols: int = 80


class OutputSpec(Record, frozen=True):
    """How much output is kept (bytes) and what happens when that is full: `drop` or `block`."""

    capacity: int = CAPACITY_BYTES
    on_full: str = "drop"


class Timeouts(Record, frozen=True):
    """Seconds after which the daemon ends the session; None is never.

    `run` from the start, `idle` without output and input, `disconnect` with nobody attached.
    """

    run: float | None = None
    idle: float | None = None
    disconnect: float | None = None


class RestartSpec(Record, frozen=True):
    """The restart policy, `never`, `on_failure` or `always`, and its waits in seconds.

    `initial` doubles up to `max`; `intensity` restarts within `window` are the most.
    """

    policy: str = "never"
    initial: float = 1.0
    max: float = 60.0
    intensity: int = 5
    window: float = 60.0


class ReadyWhen(Record, frozen=True, kw_only=True):
    """The condition that makes a session ready: one of `log`, `port`, `http` and `idle`.

    `log` is a pattern (`stream` limits it), `port` a number or `any`, `http` a URL that answers
    with `status` (None: 200 to 399), `idle` seconds without output.
    """

    log: str | None = None
    stream: str | None = None
    port: int | str | None = None
    http: str | None = None
    status: int | None = None
    idle: float | None = None


class Spec(Record, frozen=True, kw_only=True):
    """What the caller asked for; two requests are the same when their specs are equal.

    `command` is argv, a string (only together with `shell`), or None for an interactive shell.
    `stdin` is `null` or `pipe`, `stdout` `pipe` or `ignore`, `stderr` those or `combined`.
    `leftovers` says what happens to processes that outlive the leader: `kill` or `keep`.
    """

    name: str | None = None
    command: tuple[str, ...] | str | None = None
    shell: str | None = None
    machine: str = "local"
    cwd: str | None = None
    user: str | None = None
    group: str | None = None
    env: Mapping[str, str] = {}
    tty: bool = False
    size: Size | None = None
    stdin: str = "null"
    stdout: str = "pipe"
    stderr: str = "pipe"
    output: OutputSpec = OutputSpec()
    timeouts: Timeouts = Timeouts()
    stop_signal: str = "SIGTERM"
    stop_grace: float = 10.0
    leftovers: str = "kill"
    restart: RestartSpec = RestartSpec()
    ready: ReadyWhen | None = None

    def canonical(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, as JSON-compatible values."""
        return _without_defaults(self)

    def digest(self) -> str:
        """Return the SHA-256 (hex) of the canonical JSON, by which specs are compared."""
        text = json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class OutcomeKind(StrEnum):
    """The closed set of ways in which a generation ends."""

    SPAWN_FAILED = "spawn_failed"
    LOST = "lost"
    TIMED_OUT = "timed_out"
    KILLED = "killed"
    SIGNALED = "signaled"
    EXITED = "exited"


class Outcome(Record, frozen=True):
    """How a generation ended. `detail` holds the fields of that kind (`outcome.py` fills them).

    `exit_code` is the kernel's status, 128+n for signal n; None only for `lost`; 127 or 126 for a
    program that could not be executed, 125 for what failed before that.
    """

    kind: OutcomeKind
    exit_code: int | None
    signal: str | None
    message: str
    detail: Mapping[str, Any] = {}


class By(Record, frozen=True):
    """Who sent a request. `via` is `http`, `websocket`, `timer` or `daemon`."""

    token: str | None = None
    user: str | None = None
    client: str | None = None
    via: str = "http"


class Cause(Record, frozen=True):
    """What began the end of this generation, kept so that the outcome can name it.

    `kind` is `stop`, `kill`, `restart` or `timeout`; `signal` is the number it began with (a
    SIGKILL after the grace belongs to it as well); `timeout` is which one: `run`, `idle` or
    `disconnect`.
    """

    kind: str
    by: By
    signal: int
    command_id: str | None = None
    grace_s: float = 0.0
    timeout: str | None = None


class Delivered(Record, frozen=True):
    """A single signal that a `signal` request sent to this generation."""

    signal: int
    by: By
    command_id: str


class OpenPort(Record, frozen=True):
    """A listening socket of the tree that was told of: by whom it is held, and since when."""

    port: int
    address: str
    pid: int
    since_us: int


class SessionRecord(Record, frozen=True, kw_only=True):
    """All that is durable about one session: one row, replaced as a whole.

    `keeper_id`, `boot_id` say where the child of this generation lives; `containment` is enough
    to kill its tree when keeper and daemon were both replaced. `output_*` are true once the
    outcome is committed; before that the log's files are. `restart_wanted` is the command ID of a
    restart to carry out after the end, `restarting` of the one that this generation came from;
    `kept` says that leftovers were kept and may still live. `input_next` is the input offset at
    which this generation began, and after its end the next one does.
    `drained` says that this generation's output ended, `status` is the wait status of its leader,
    `spawn_error` is `{errno, stage, message}`, `lost_reason` why no status can be known.
    `timeouts` are those in force. `restarted_s` are the times of the policy's last restarts, and
    `backoff_until_s` is that of the next one; both are meaningless in another boot.
    `former_offset` is where the output of the generation before this one began. `ready` says that
    the spec's condition was met in this generation.
    """

    id: str
    spec: Spec
    spec_hash: str
    kind: str
    node: str
    created_by: str
    created_at_us: int
    name: str | None = None
    labels: Mapping[str, str] = {}
    base_env: Mapping[str, str] = {}
    state: State = State.STARTING
    desired: str = "running"
    ready: bool = False
    generation: int = 1
    generation_offset: int = 0
    boot_id: str = ""
    keeper_id: str = ""
    pid: int | None = None
    containment: Mapping[str, Any] | None = None
    started_at_us: int | None = None
    ended_at_us: int | None = None
    last_output_at_us: int | None = None
    deadline_s: float | None = None
    timeouts: Timeouts = Timeouts()
    on_full: str = "drop"
    size: Size | None = None
    input_next: int = 0
    input_closed: bool = False
    output_oldest: int = 0
    output_next: int = 0
    output_complete: bool = False
    cause: Cause | None = None
    delivered: tuple[Delivered, ...] = ()
    restart_wanted: str | None = None
    restarting: str | None = None
    drained: bool = False
    status: int | None = None
    spawn_error: Mapping[str, Any] | None = None
    lost_reason: str | None = None
    kept: bool = False
    restarts: int = 0
    restarted_s: tuple[float, ...] = ()
    backoff_until_s: float | None = None
    gave_up: bool = False
    former_offset: int | None = None
    outcome: Outcome | None = None
    survivors: tuple[int, ...] = ()
    ports: tuple[OpenPort, ...] = ()


class Verb(StrEnum):
    """The control requests that leave a receipt."""

    STOP = "stop"
    KILL = "kill"
    SIGNAL = "signal"
    RESTART = "restart"
    RESIZE = "resize"
    TIMEOUT = "timeout"


class ReceiptState(StrEnum):
    """How far a control request is."""

    ACCEPTED = "accepted"
    DONE = "done"
    FAILED = "failed"
    EXPIRED = "expired"


class Receipt(Record, frozen=True, kw_only=True):
    """One control request and what became of it. `args` are the verb's own fields."""

    command_id: str
    verb: Verb
    session: str
    generation: int
    by: By
    at_us: int
    args: Mapping[str, Any] = {}
    reason: str | None = None
    state: ReceiptState = ReceiptState.ACCEPTED
    effect: Mapping[str, Any] = {}


class Event(Record, frozen=True, kw_only=True):
    """One entry of the node's event log; `id` only counts up."""

    id: int
    time_us: int
    type: str
    node: str
    session: str | None = None
    name: str | None = None
    labels: Mapping[str, str] = {}
    generation: int | None = None
    data: Mapping[str, Any] = {}


class Tombstone(Record, frozen=True):
    """What stays of a pruned session so that its ID never starts twice."""

    id: str
    spec_hash: str
    outcome: str
    exit_code: int | None
    ended_at_us: int


class Token(Record, frozen=True):
    """A credential at rest: the SHA-256 (hex) of the secret, never the secret."""

    accessor: str
    secret_hash: str
    name: str
    created_at_us: int


def is_ready(record: SessionRecord) -> bool:
    """Whether users may count on it: it runs, and the spec's condition, if any, was met."""
    return record.state is State.RUNNING and (record.ready or record.spec.ready is None)


def _without_defaults(value: Struct) -> dict[str, Any]:
    """Return the fields that are not at their defaults, as a dict, recursively."""
    kept: dict[str, Any] = {}
    for name, default in _defaults(type(value)):
        current = getattr(value, name)
        if current != default:
            kept[name] = _plain(current)
    return kept


@cache
def _defaults(kind: type[Struct]) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (item.name, {} if item.default is NODEFAULT else item.default)
        for item in structs.fields(kind)
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Struct):
        return _without_defaults(value)
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value
