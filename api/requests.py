"""From what a client asked for to what the supervisor starts: the checks that JSON types cannot do.

Rules
- Everything that would be refused later for its form is refused here, before anything is stored.
- A `Spec` has one spelling for each meaning, since specs are compared: signals by name, users as
  text, `shell: none` split, a terminal's stdin always `pipe` and its stderr `combined`.
- Messages name the place (`$.env`), never a value of an environment variable.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from api.body import decode_bytes
from api.conditions import ready_of
from api.errors import BadRequest, Invalid
from holdfast import wire
from supervisor.creation import CreateSession
from supervisor.errors import NotFound, TooLarge
from supervisor.records import By, OutputSpec, RestartSpec, Size, Spec, Timeouts
from supervisor.signals import signal_name

__all__ = [
    "AnySignal",
    "check_environment",
    "check_machine",
    "check_size",
    "check_timeouts",
    "create_session",
    "signal_field",
    "spec_of",
    "with_capacity",
]

AnySignal = str | int

_NUL: Final = "\0"
_LONGEST_RUN_S: Final = 10 * 365 * 86_400


def create_session(request: wire.SessionRequest, by: By, argv_env_bytes: int) -> CreateSession:
    """Return what the supervisor is asked for.

    Raises Invalid, BadRequest (a string without `shell`), NotFound (machine) or TooLarge.
    """
    spec = spec_of(request, request.output, request.timeouts, request.leftovers).but(
        restart=_restart(request.restart)
    )
    check_machine(request.machine)
    check_size(spec, request.base_env, argv_env_bytes)
    return CreateSession(
        spec=spec,
        by=by,
        id=request.id,
        labels=request.labels,
        base_env=request.base_env,
        kind=request.kind,
        replace=request.replace,
    )


def spec_of(
    asked: wire.SpecFields,
    output: wire.OutputOptions,
    timeouts: wire.TimeoutOptions,
    leftovers: str,
) -> Spec:
    """Return the Spec of any route that starts a command. Raises Invalid or BadRequest."""
    for field in ("shell", "cwd", "user", "group"):
        _check_text(getattr(asked, field), f"$.{field}")
    if asked.cwd is not None and not asked.cwd.startswith("/"):
        raise Invalid("cwd is an absolute path.", path="$.cwd")
    check_environment(asked.env, "$.env")
    check_environment(asked.base_env, "$.base_env")
    check_timeouts(msgspec.structs.asdict(timeouts), "$.timeouts")
    return Spec(
        name=asked.name,
        command=_command(asked.command, asked.shell),
        shell=None if asked.shell == "none" else asked.shell,
        cwd=asked.cwd,
        user=_account(asked.user, "$.user"),
        group=_account(asked.group, "$.group"),
        env=asked.env,
        tty=asked.tty,
        size=Size(asked.size.rows, asked.size.cols) if asked.size else None,
        stdin="pipe" if asked.tty else asked.stdin or "null",
        stdout=asked.stdout,
        stderr="combined" if asked.tty else asked.stderr,
        output=OutputSpec(output.capacity, output.on_full),
        timeouts=Timeouts(timeouts.run, timeouts.idle, timeouts.disconnect),
        stop_signal=signal_field(asked.stop_signal, "$.stop_signal"),
        stop_grace=asked.stop_grace,
        leftovers=leftovers,
        ready=ready_of(asked.ready),
    )


def check_timeouts(timeouts: Mapping[str, float | None], path: str) -> None:
    """Refuse a time that no timer could wait for."""
    for name, seconds in timeouts.items():
        if seconds is not None and seconds > _LONGEST_RUN_S:
            message = f"A {name} timeout is at most {_LONGEST_RUN_S} seconds."
            raise Invalid(message, path=f"{path}.{name}")


def with_capacity(body: bytes, request: wire.SessionRequest, capacity: int) -> wire.SessionRequest:
    """Return the request with this node's capacity where the client named none."""
    asked = decode_bytes(body, _Asked).output
    if isinstance(asked, _AskedOutput) and asked.capacity is not UNSET:
        return request
    output = wire.OutputOptions(capacity=capacity, on_full=request.output.on_full)
    return msgspec.structs.replace(request, output=output)


def signal_field(value: AnySignal, path: str) -> str:
    """Return a signal's name. Raises Invalid for one that does not exist."""
    try:
        return signal_name(value)
    except ValueError as error:
        raise Invalid(f"{error}.", path=path) from error


def check_environment(environment: Mapping[str, str], path: str) -> None:
    """Refuse names and values that execve(2) cannot pass on."""
    for name, value in environment.items():
        if not name or "=" in name or _NUL in name or _NUL in value:
            message = f"{name[:64]!r}: a name is not empty and has no '=', and nothing holds NUL."
            raise Invalid(message, path=path)


def check_machine(machine: str) -> None:
    """Refuse a machine that this node does not have."""
    if machine != "local":
        raise NotFound(f"There is no machine {machine!r}; this node has 'local'.", machine=machine)


def check_size(spec: Spec, base_env: Mapping[str, str], limit: int) -> None:
    """Refuse more arguments and environment than `limit` characters. Raises TooLarge."""
    command = spec.command or ()
    words = (command,) if isinstance(command, str) else command
    size = sum(len(word) + 1 for word in words)
    for environment in (spec.env, base_env):
        size += sum(len(name) + len(value) + 2 for name, value in environment.items())
    if size > limit:
        raise TooLarge(
            f"Arguments and environment have {size} characters, and {limit} is the limit "
            "(limits.argv_env_bytes).",
            limit="argv_env_bytes",
            value=limit,
        )


def _restart(asked: wire.RestartOptions) -> RestartSpec:
    if asked.max < asked.initial:
        raise Invalid("restart.max is not less than restart.initial.", path="$.restart.max")
    return RestartSpec(asked.policy, asked.initial, asked.max, asked.intensity, asked.window)


class _AskedOutput(msgspec.Struct):
    capacity: int | UnsetType = UNSET


class _Asked(msgspec.Struct):
    output: _AskedOutput | UnsetType = UNSET


def _command(command: list[str] | str | None, shell: str | None) -> tuple[str, ...] | str | None:
    """Return argv, a string for the shell, or None for an interactive shell."""
    if isinstance(command, str):
        _check_text(command, "$.command")
        if shell is None:
            shown = json.dumps(_split(command) or [command], ensure_ascii=False)
            raise BadRequest(
                f"command is a string: give an array, {shown}, or name a shell, "
                '"shell": "auto", that is to read it.'
            )
        if shell != "none":
            return command
        argv = _split(command)
        if argv is None:
            raise Invalid("command ends within a quotation.", path="$.command")
    elif command is None:
        if shell == "none":
            raise Invalid("shell 'none' needs a command.", path="$.command")
        return None
    else:
        argv = command
        for place, word in enumerate(argv):
            _check_text(word, f"$.command[{place}]")
    if not argv or not argv[0]:
        raise Invalid("command is empty: its first element is the program.", path="$.command")
    return tuple(argv)


def _split(command: str) -> list[str] | None:
    try:
        return shlex.split(command)
    except ValueError:
        return None


def _check_text(value: object, path: str) -> None:
    if isinstance(value, str) and _NUL in value:
        raise Invalid("NUL cannot be passed to a program.", path=path)


def _account(value: str | int | None, path: str) -> str | None:
    if isinstance(value, int) and value < 0:
        raise Invalid("A number of a user or group is not negative.", path=path)
    return None if value is None else str(value)
