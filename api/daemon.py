"""`holdfastd`: flags, refusals in words, and exit codes. `compose.py` puts the daemon together.

    holdfastd [--state-dir DIR] [--config FILE] [--tcp HOST:PORT] [--log FILE]
              [--foreground] [--autostarted] [--ready-fd FD]

Exit codes: 0 ended as told, or `--autostarted` and another daemon serves already; 1 cannot serve,
with one sentence on stderr; 2 wrong flags.

This module imports nothing of `supervisor` before it has looked for supervisord, whose package has
the same name and may have overwritten ours.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

__all__ = ["main"]

_SUPERVISORD: Final = (
    "supervisord is installed in this environment, and its package is called `supervisor` as one "
    "of ours is: the two cannot be told apart. Install holdfast-server into an environment of its "
    "own: python3 -m venv ~/holdfast && ~/holdfast/bin/pip install 'holdfast[server]'"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon until it is told to end; return the exit code."""
    flags = _parser().parse_args(argv)
    try:
        distribution("supervisor")
    except PackageNotFoundError:
        pass
    else:
        return _refuse(_SUPERVISORD)

    from api.compose import run  # noqa: PLC0415  (see the module's docstring)
    from supervisor.errors import StartRefused  # noqa: PLC0415  (as above)

    try:
        run(flags)
    except StartRefused as refusal:
        if flags.autostarted and refusal.details.get("locked"):
            return 0
        return _refuse(refusal.message)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="holdfastd", description="Keeps processes. `hold` talks to it, and starts it itself."
    )
    parser.add_argument("--state-dir", type=Path, metavar="DIR", help="where everything lies")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    parser.add_argument("--tcp", metavar="HOST:PORT", help="listen here beside the unix socket")
    parser.add_argument("--log", type=Path, metavar="FILE", help="log to this file")
    parser.add_argument("--foreground", action="store_true", help="log to stderr")
    parser.add_argument(
        "--autostarted",
        action="store_true",
        help="started by a command or the keeper: if another daemon serves already, exit 0",
    )
    parser.add_argument(
        "--ready-fd",
        type=int,
        metavar="FD",
        help="write a line with the listeners to this descriptor once they answer, and close it",
    )
    return parser


def _refuse(message: str) -> int:
    print(f"holdfastd: {message}", file=sys.stderr)  # noqa: T201  (the person who typed it reads)
    return 1
