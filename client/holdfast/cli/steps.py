"""`hold send --wait CONDITION --read`: input, what it causes, and its output, as one step.

Rules
- Waiting and reading begin where the output stood before the input, so that nothing is missed.
- The daemon holds an answer back for 45 s at a time; what is waited for longer is asked for again.
- Output goes to stdout as text; what is left out of it is said on stderr.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from holdfast.cli.arguments import print_json
from holdfast.cli.commands.wait import ASK_S, KINDS, condition_of, exit_of_wait, waited
from holdfast.cli.exits import Exit
from holdfast.cli.failure import say
from holdfast.cli.resolve import path_of
from holdfast.errors import Gone

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection, Query

__all__ = ["Step", "step_options"]

F = TypeVar("F", bound=Callable[..., Any])

READ_BYTES = 1024 * 1024
OPTIONS = (
    click.option("--wait", "conditions", type=condition_of, multiple=True, metavar=KINDS,
                 help="Then wait, as `hold wait --for`, for what follows the input."),
    click.option("--read", is_flag=True, help="Then print the output that followed the input."),
    click.option("--timeout", type=click.FloatRange(min=0), metavar="S",
                 help="Wait at most S seconds."),
)  # fmt: skip


def step_options(function: F) -> F:
    """The options of a step."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Step:
    """What to do behind the input: `timeout` in seconds, None for ever."""

    conditions: tuple[Any, ...]
    read: bool
    timeout: float | None

    @property
    def is_empty(self) -> bool:
        """Whether it is a plain send."""
        return not (self.conditions or self.read)

    def query(self, since: int) -> dict[str, str]:
        """The fields of the input's query; `since` is where the output stood before it."""
        fields: dict[str, Any] = {}
        if self.conditions:
            ask_s = ASK_S if self.timeout is None else min(ASK_S, self.timeout)
            asked = {"for": self.conditions, "from_offset": since, "timeout": ask_s}
            fields["wait"] = asked
        if self.read:
            fields["read"] = {"offset": since}
        return {name: json.dumps(value) for name, value in fields.items()}

    def finish(
        self,
        connection: Connection,
        answer: dict[str, Any],
        since: int,
        began_s: float,
        *,
        as_json: bool,
    ) -> int:
        """Wait on where the daemon's time was over, show everything; the exit code.

        `began_s` is when the input was sent, in monotonic seconds.
        """
        wait = answer.get("wait")
        if wait is not None and wait["reason"] == "timeout":
            spent_s = time.monotonic() - began_s
            if self.timeout is None or self.timeout > spent_s:
                answer = self._wait_on(connection, answer, since, spent_s)
        if as_json:
            print_json(answer)
        elif self.read:
            _show(answer["read"], answer.get("wait"))
        return exit_of_wait(list(self.conditions), answer["wait"]) if self.conditions else Exit.OK

    def _wait_on(
        self, connection: Connection, answer: dict[str, Any], since: int, spent_s: float
    ) -> dict[str, Any]:
        ref = answer["wait"]["session"]["id"]
        left_s = None if self.timeout is None else self.timeout - spent_s
        conditions = list(self.conditions)
        wait = waited(connection, ref, conditions, from_offset=since, timeout=left_s)
        answer = {**answer, "wait": wait}
        if self.read:
            answer["read"] = _read(connection, ref, since)
        return answer


def _read(connection: Connection, ref: str, since: int, gap: Any = None) -> dict[str, Any]:
    """What the daemon would answer to the step's `read` now."""
    query: Query = {"offset": since, "max_bytes": READ_BYTES, "format": "text"}
    try:
        with connection.stream(path_of(ref, "output"), query) as response:
            text = response.read().decode()
            offsets = (response.headers[f"Holdfast-{name}Offset"] for name in ("", "Next-"))
            offset, next_offset = map(int, offsets)
    except Gone as gone:
        oldest = int(gone.details["oldest"])
        return _read(connection, ref, oldest, {"from": since, "to": oldest})
    return {"offset": offset, "next_offset": next_offset, "text": text, "gap": gap}


def _show(read: dict[str, Any], wait: dict[str, Any] | None) -> None:
    if gap := read["gap"]:
        say(f"{gap['to'] - gap['from']} bytes of output are no longer kept")
    click.echo(read["text"], nl=False)
    if wait is not None and read["next_offset"] < wait["next_offset"]:
        left = wait["next_offset"] - read["next_offset"]
        say(f"{left} bytes more are in `hold logs`")
