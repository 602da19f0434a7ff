"""Addresses of the form `ssh://[user@]host[:port]`, and the command that leads there.

Rules
- What comes out of a URL can be no option of ssh and no word of a shell: host and user begin with a
  letter, digit or underscore, and hold no other characters than names do.
- ssh is executed with an argument list; its own configuration (`~/.ssh/config`, agent, jump hosts,
  multiplexing) holds, so that a host is whatever the user calls it there.
- The remote side is always the same two words, `hold dial-stdio`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["FORM", "SshTarget", "parse_ssh"]

CONNECT_S = 10  # of ssh to the host, as ssh counts it
LARGEST_PORT = 65535
FORM = "ssh://[user@]host[:port]"
NAME = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.+\\-]*)@)?"
    r"(?:(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]*)|\[(?P<v6>[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?)\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)


@dataclass(frozen=True, slots=True)
class SshTarget:
    """Where ssh goes. `host` is an alias of the user's configuration, a name or an address.

    `starts`: the first connection starts a daemon there where none runs. `asks`: ssh may ask for a
    password or passphrase on the terminal.
    """

    host: str
    user: str | None = None
    port: int | None = None
    starts: bool = True
    asks: bool = True

    @property
    def shown(self) -> str:
        """The address as people write it."""
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{user}{host}" + (f":{self.port}" if self.port else "")

    def argv(self, *, asks: bool, starts: bool) -> list[str]:
        """The command whose stdin and stdout are a connection to the daemon there."""
        argv = ["ssh", "-T", "-o", f"ConnectTimeout={CONNECT_S}"]
        # A forwarding of the configuration would be refused beside another ssh that has it already.
        argv += ["-o", "ClearAllForwardings=yes"]
        if not asks:
            argv += ["-o", "BatchMode=yes"]
        if self.port is not None:
            argv += ["-p", str(self.port)]
        if self.user is not None:
            argv += ["-l", self.user]
        return [*argv, "--", self.host, "hold", *([] if starts else ["--no-autostart"]),
                "dial-stdio"]  # fmt: skip


def parse_ssh(url: str) -> SshTarget | None:
    """The target of an ssh URL; None for one of another form (a path, a password, an option)."""
    found = NAME.fullmatch(url)
    if found is None:
        return None
    port = None if found["port"] is None else int(found["port"])
    if port is not None and not 1 <= port <= LARGEST_PORT:
        return None
    return SshTarget(found["host"] or found["v6"], found["user"], port)
