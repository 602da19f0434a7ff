"""What `start`, `run` and `exec` say of a command, as options and as the body of the request.

Rules
- To the caller's own daemon go the caller's directory and, as `base_env`, the whole environment
  (not with --clean-env); to another daemon only what is given.
- The ID is made here, so that a request sent twice starts one session.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from holdfast.cli.arguments import pairs, size_of
from holdfast.cli.failure import say
from holdfast.cli.invocation import Invocation
from holdfast.ids import new_id

__all__ = ["body_of", "restart_option", "sendable", "spec_options", "variables"]

F = TypeVar("F", bound=Callable[..., Any])

RESTART_POLICIES = ("never", "on_failure", "always")
RESTART_NUMBERS: dict[str, Callable[[str], float]] = {
    "initial": float, "max": float, "intensity": int, "window": float,
}  # fmt: skip
OPTIONS = (
    click.option("--id", "id_", help="The session's ID: the same one starts nothing twice."),
    click.option("--name", help="A name that one live session may hold."),
    click.option("--label", "labels", multiple=True, metavar="K=V", help="A label."),
    click.option("-e", "--env", multiple=True, metavar="K[=V]", help="A variable; K: as here."),
    click.option("--env-file", multiple=True, type=click.Path(), help="Variables, K=V lines."),
    click.option("--clean-env", is_flag=True, help="Leave the caller's environment behind."),
    click.option("-w", "--cwd", metavar="DIR", help="The directory to run in."),
    click.option("-u", "--user", metavar="USER[:GROUP]", help="Who it runs as."),
    click.option("--shell", help="auto, none, or a shell such as 'bash -lc', for one string."),
    click.option("--size", type=size_of, metavar="ROWSxCOLS", help="The terminal's size."),
    click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="S",
                 help="End it after S seconds."),
    click.option("--idle-timeout", type=click.FloatRange(min=0, min_open=True), metavar="S",
                 help="End it after S seconds without output and input."),
    click.option("--disconnect-timeout", type=click.FloatRange(min=0, min_open=True), metavar="S",
                 help="End it after S seconds with nobody attached."),
    click.option("--replace", is_flag=True, help="Stop the session that holds the name first."),
)  # fmt: skip


def spec_options(function: F) -> F:
    """All options of a command's spec."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def restart_option(function: F) -> F:
    """--restart, for what may be started again."""
    return click.option(
        "--restart",
        type=restart_of,
        metavar="POLICY[,K=V...]",
        help="never, on_failure or always; initial, max, window in seconds, intensity.",
    )(function)


def restart_of(text: str) -> dict[str, Any]:
    """The `restart` of a spec, from `always` or `on_failure,intensity=10,max=5`."""
    policy, *rest = text.split(",")
    restart: dict[str, Any] = {"policy": policy.replace("-", "_")}
    if restart["policy"] not in RESTART_POLICIES:
        raise click.BadParameter(f"{policy!r} is none of {', '.join(RESTART_POLICIES)}")
    for name, value in pairs(tuple(rest), "--restart").items():
        if name not in RESTART_NUMBERS:
            raise click.BadParameter(f"{name!r} is none of {', '.join(RESTART_NUMBERS)}")
        try:
            restart[name] = RESTART_NUMBERS[name](value)
        except ValueError:
            raise click.BadParameter(f"{name}={value}: not a number") from None
    return restart


def body_of(
    invocation: Invocation, command: tuple[str, ...], given: Mapping[str, Any], **fixed: Any
) -> dict[str, Any]:
    """The body of `POST /v1/sessions`. `given` are the options above, `fixed` further fields."""
    body: dict[str, Any] = {"id": given["id_"] or new_id(), **fixed}
    body["command"] = _command(command, given["shell"])
    optional = {
        "labels": pairs(given["labels"], "--label"),
        "env": variables(given["env"], given["env_file"]),
        "shell": given["shell"],
        "size": given["size"] if fixed.get("tty") else None,
        "replace": given["replace"],
        **_place(invocation, given),
    }
    body.update({key: value for key, value in optional.items() if value})
    body.update(_who(given["user"]))
    timeouts = {
        "run": given["timeout"],
        "idle": given["idle_timeout"],
        "disconnect": given["disconnect_timeout"],
    }
    if chosen := {name: seconds for name, seconds in timeouts.items() if seconds is not None}:
        body["timeouts"] = chosen
    if given.get("restart") is not None:
        body["restart"] = given["restart"]
    if given["name"] is not None:
        body["name"] = given["name"]  # an empty one is the daemon's to refuse
    return body


def _command(words: tuple[str, ...], shell: str | None) -> list[str] | str | None:
    """Words are argv, executed as they are; for a shell they are one string, as ssh makes it."""
    if not words:
        return None
    return " ".join(words) if shell else list(words)


def _who(user: str | None) -> dict[str, str | int]:
    name, _, group = (user or "").partition(":")
    given = {"user": name, "group": group}
    return {
        key: int(value) if value.isdecimal() else value for key, value in given.items() if value
    }


def _place(invocation: Invocation, given: Mapping[str, Any]) -> dict[str, Any]:
    """The directory and the environment under it."""
    if not invocation.is_own:
        return {"cwd": given["cwd"]}
    place: dict[str, Any] = {"cwd": str(Path.cwd() / (given["cwd"] or ""))}
    if not given["clean_env"]:
        place["base_env"] = sendable(os.environ)
    return place


def sendable(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that JSON can carry, and one line about each that it cannot."""
    kept = {}
    for name, value in environ.items():
        try:
            (name + value).encode()
        except UnicodeEncodeError:
            say(f"the variable {name!r} is not UTF-8 and is left out")
        else:
            kept[name] = value
    return kept


def variables(env: tuple[str, ...], files: tuple[str, ...]) -> dict[str, str]:
    """The variables given; those on the command line win over those of files."""
    found: dict[str, str] = {}
    for name in files:
        try:
            lines = Path(name).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"--env-file {name}: {error}") from error
        words = [line.strip() for line in lines]
        found.update(_variables(word for word in words if word and not word.startswith("#")))
    return found | _variables(env)


def _variables(words: Any) -> dict[str, str]:
    """`K=V`, or `K` for the caller's value (nothing where the caller has none), as docker does."""
    full = []
    for word in words:
        if "=" in word:
            full.append(word)
        elif word in os.environ:
            full.append(f"{word}={os.environ[word]}")
    return pairs(full, "--env")
