"""hold serve: the daemon in the foreground."""

from __future__ import annotations

import os

import click

from holdfast.cli.autostart import daemon_command, daemon_environment

__all__ = ["serve_command"]

LOOPBACK = "127.0.0.1:4680"


@click.command("serve")
@click.option("--tcp", default=LOOPBACK, show_default=True, metavar="HOST:PORT",
              help="Listen here beside the unix socket; empty: not.")  # fmt: skip
@click.option("--state-dir", type=click.Path(), metavar="DIR", help="Where everything lies.")
@click.option("--config", type=click.Path(), metavar="FILE", help="Settings file.")
def serve_command(tcp: str, state_dir: str | None, config: str | None) -> None:
    """Run the daemon in the foreground, its log on stderr."""
    argv = [*daemon_command(), "--foreground"]
    given = {"--tcp": tcp, "--state-dir": state_dir, "--config": config}
    for flag, value in given.items():
        if value is not None:
            argv += [flag, value if flag == "--tcp" else os.path.abspath(value)]  # noqa: PTH100  (text)
    os.execve(argv[0], argv, daemon_environment(os.environ))  # noqa: S606  (no shell is implied)
