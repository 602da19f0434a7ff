"""Where the daemon is, and with which credential.

Rules
- An explicit argument wins over the environment, the environment over the default.
- The default is the unix socket of this user's own daemon (`places.py`).
- A token from the environment goes to TCP addresses only: the unix socket knows its peer, and ssh
  ends at one.
- The token is in no `repr`, no message and no URL.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from holdfast.errors import BadRequest
from holdfast.places import local_socket
from holdfast.ssh import FORM, SshTarget, parse_ssh

__all__ = ["Address", "resolve"]


@dataclass(frozen=True, slots=True)
class Address:
    """A daemon's address. With `socket` or `ssh` the host in `base_url` is only for the header.

    `base_url` has no slash at its end. `cacert` is a file of certificates to trust for https.
    """

    base_url: str
    socket: Path | None = None
    token: str | None = field(default=None, repr=False)
    cacert: str | None = None
    ssh: SshTarget | None = None

    @property
    def shown(self) -> str:
        """The address as people write it."""
        if self.ssh is not None:
            return self.ssh.shown
        return f"unix://{self.socket}" if self.socket else self.base_url

    def unasked(self) -> Address:
        """The same address, at which ssh asks nobody for a password: the terminal is in use."""
        return self if self.ssh is None else replace(self, ssh=replace(self.ssh, asks=False))

    @property
    def websocket_url(self) -> str:
        """The base URL with the WebSocket scheme of the same security."""
        return "ws" + self.base_url.removeprefix("http")

    @property
    def uses_proxy(self) -> bool:
        """Whether the proxies of the environment may stand between: never for this machine."""
        host = urlsplit(self.base_url).hostname or ""
        return self.socket is None and not _is_loopback(host)

    def headers(self) -> dict[str, str]:
        """The headers that every request carries."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def resolve(
    url: str | None = None,
    token: str | None = None,
    *,
    cacert: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Address:
    """Work out the address from arguments and environment.

    Raises `BadRequest` for a URL of another form and for a token file that cannot be read.
    """
    url = url or environ.get("HOLDFAST_URL")
    if not url:
        return Address("http://localhost", local_socket(environ), token, cacert)
    if (target := parse_ssh(url)) is not None:
        return Address("http://localhost", ssh=target)
    try:
        parts = urlsplit(url)
    except ValueError as error:  # brackets that do not match
        raise BadRequest(f"{url!r} is not an address: {error}") from error
    if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/"):
        return Address("http://localhost", Path(unquote(parts.path)), token, cacert)
    if parts.scheme in ("http", "https") and parts.hostname and not parts.username:
        found = token or _token_of(environ)
        return Address(f"{parts.scheme}://{parts.netloc}", None, found, cacert)
    shown = "what was given" if "@" in url else repr(url)  # before an @ there may be a password
    forms = f"unix:///path, http://host:port, https://host or {FORM}"
    raise BadRequest(f"{shown} is not an address: {forms}")


def _token_of(environ: Mapping[str, str]) -> str | None:
    if token := environ.get("HOLDFAST_TOKEN"):
        return token
    path = environ.get("HOLDFAST_TOKEN_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text().strip() or None
    except OSError as error:
        raise BadRequest(f"the token file {path} cannot be read: {error.strerror}") from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
