"""hold completion: the script that makes a shell complete commands, names and IDs."""

from __future__ import annotations

import click

__all__ = ["completion_command"]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    bash, in ~/.bashrc: source <(hold completion bash). zsh, in ~/.zshrc: source <(hold completion
    zsh). fish: hold completion fish > ~/.config/fish/completions/hold.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  (the three of the choice are click's own)
    click.echo(kind(ctx.find_root().command, {}, "hold", "_HOLD_COMPLETE").source())
