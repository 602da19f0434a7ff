"""What the options before a command's name say: which daemon, and whether one may be started."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.address import Address, resolve
from holdfast.cli.exits import Exit
from holdfast.cli.failure import Failure

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection

__all__ = ["Invocation", "shows_colour"]


@dataclass(slots=True)
class Invocation:
    """The global options of one `hold` command. `as_json` is set by the command's own --json.

    `asks`: ssh may ask for a password on the terminal.
    """

    url: str | None = None
    token_file: str | None = None
    cacert: str | None = None
    autostart: bool = True
    as_json: bool = False
    starting: bool = False
    asks: bool = True

    @property
    def is_own(self) -> bool:
        """Whether the daemon is the caller's own, at its default place on this machine."""
        return not (self.url or os.environ.get("HOLDFAST_URL"))

    @property
    def address(self) -> Address:
        """Where the daemon is; raises `BadRequest`, and `Failure` for the token file."""
        return resolve(self.url, self._token(), cacert=self.cacert)

    def connect(self, *, autostart: bool | None = None) -> Connection:
        """Calls to the daemon; the first one starts the caller's own daemon where there is none."""
        from holdfast.cli.connection import Connection

        allowed = self.autostart if autostart is None else autostart
        if not (allowed and self.is_own):
            return Connection(self._unstarted(allowed))
        from holdfast.cli.autostart import start_daemon

        return Connection(self.address, start_daemon)

    def _unstarted(self, starts: bool) -> Address:
        """The address, at which ssh starts a daemon only where that is allowed."""
        address = self.address if self.asks else self.address.unasked()
        if starts or address.ssh is None:
            return address
        return replace(address, ssh=replace(address.ssh, starts=False))

    def _token(self) -> str | None:
        if self.token_file is None:
            return None
        try:
            return Path(self.token_file).read_text().strip()
        except OSError as error:
            text = f"the token file {self.token_file} cannot be read: {error.strerror}"
            raise Failure(text, Exit.USAGE) from error


def shows_colour() -> bool:
    """Whether stdout is a terminal and nobody asked for plain text (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
