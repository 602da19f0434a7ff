"""The `hold` command: finds the command's file, and turns every way out into an exit code.

Rules
- A command's file is imported when that command is called, and what is heavy in it when needed.
- stdout is data, stderr is talk. Every failure is one line on stderr, `hold: ...`.
- An interrupt exits with 130; a reader of stdout that went away with 141, in silence;
  a stdout that takes nothing (a full disk) with 1. Closed from the start, it is a sink.
"""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from typing import Any

import click

from holdfast.cli.exits import Exit
from holdfast.cli.failure import Failure, exit_of, report, say
from holdfast.cli.invocation import Invocation
from holdfast.errors import HoldfastError

__all__ = ["cli", "main"]

# command -> module in `commands/`; the object in it has the command's name, `_command` behind it.
MODULES = {
    "serve": "serve",
    "node": "node",
    "start": "start",
    "run": "run",
    "ls": "ls",
    "top": "top",
    "attach": "attach",
    "logs": "logs",
    "send": "send",
    "exec": "exec",
    "stop": "control",
    "kill": "control",
    "signal": "control",
    "restart": "control",
    "timeout": "control",
    "resize": "control",
    "wait": "wait",
    "inspect": "inspect",
    "rm": "remove",
    "prune": "remove",
    "events": "events",
    "tokens": "tokens",
    "doctor": "doctor",
    "dial-stdio": "dial_stdio",
    "shutdown": "shutdown",
    "completion": "completion",
    "version": "version",
}
INTERRUPTED = 130
UNWRITABLE = {errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC}


class Commands(click.Group):
    """The commands in the order of `MODULES`, each imported when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        """All names, in the order in which people need them."""
        return list(MODULES)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002  (click's signature)
        cmd_name: str,
    ) -> click.Command | None:
        """The command, or None for a name that is none."""
        if cmd_name not in MODULES:
            return None
        module = import_module(f"holdfast.cli.commands.{MODULES[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; click would answer a broken pipe with an exit code of its own."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise Failure(None, Exit.BROKEN_PIPE) from None


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=True,
)
@click.option(
    "-H", "--url", help="The daemon: unix:///path, http://host:port, https://host, ssh://host."
)
@click.option("--token-file", type=click.Path(), help="A file that holds the token.")
@click.option("--cacert", type=click.Path(), help="Certificates to trust for https.")
@click.option("--no-autostart", is_flag=True, help="Fail where no daemon runs; start none.")
@click.pass_context
def cli(ctx: click.Context, /, no_autostart: bool, **given: Any) -> None:
    """Keep processes: start, go away, come back to the same session."""
    invocation: Invocation = ctx.obj
    invocation.autostart = not no_autostart
    invocation.url, invocation.token_file = given["url"], given["token_file"]
    invocation.cacert = given["cacert"]


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    _open_missing()
    try:
        code = _called(arguments, Invocation())
        sys.stdout.flush()
    except BrokenPipeError:
        code = Exit.BROKEN_PIPE
    except OSError as error:
        code = _unwritten(error)
    if code == Exit.BROKEN_PIPE:
        _discard_stdout()
    return code


def _called(arguments: list[str] | None, invocation: Invocation) -> int:
    try:
        result = cli.main(arguments, "hold", standalone_mode=False, obj=invocation)
        return result if isinstance(result, int) else Exit.OK
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return Exit.USAGE
    except click.UsageError as error:
        hint = f" (see `{error.ctx.command_path} --help`)" if error.ctx else ""
        say(" ".join(error.format_message().split()) + hint)  # choices come in lines of their own
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Failure as failure:
        if failure.message is not None:
            say(failure.message)
        return failure.exit_code
    except HoldfastError as error:
        report(error, as_json=invocation.as_json)
        return exit_of(error, starting=invocation.starting)


def _unwritten(error: OSError) -> int:
    """Say that output found no place, and let what is left of it go nowhere."""
    what = "cannot write: " if error.errno in UNWRITABLE else ""
    say(f"{what}{error.strerror or error}")
    _discard_stdout()
    return Exit.FAILURE


def _open_missing() -> None:
    """Open what the caller closed, so that no other file gets its number and is written to."""
    for name, fd in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_WRONLY)
            if opened != fd:
                os.dup2(opened, fd)
                os.close(opened)
            setattr(sys, name, os.fdopen(fd, "w", closefd=False))


def _discard_stdout() -> None:
    """Let the interpreter's last flush go nowhere instead of failing on the broken pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
