"""The sockets that the daemon listens on: bound with the right modes, and bound again when gone.

Rules
- The unix socket is 0600 in a 0700 directory from its first instant on.
- It takes the place of a former one by rename(2), so that there is no moment without a socket. The
  caller holds the state directory's lock: whoever left one there is gone.
- Every listener has small send buffers, which accepted connections inherit: a client that reads
  slowly is noticed after 200 KiB, not after 4 MB.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from supervisor.errors import StartRefused

__all__ = ["SOCKET_PATH_BYTES", "UnixListener", "bind_tcp", "check_exposure", "split_address"]

SOCKET_PATH_BYTES: Final = 107  # sockaddr_un holds 108 with the final NUL (unix(7))

_SEND_BUFFER_BYTES: Final = 131072
_UNSENT_BYTES: Final = 16384
_BACKLOG: Final = 2048
_PRIVATE: Final = 0o077


class UnixListener:
    """The unix socket at `path`; knows whether the file is still its own."""

    def __init__(self, path: Path) -> None:
        """Raise StartRefused for a path that no socket can have."""
        length = len(os.fsencode(path))
        if length > SOCKET_PATH_BYTES:
            raise StartRefused(
                f"The socket's path {path} has {length} bytes, and {SOCKET_PATH_BYTES} is the most "
                "that Linux takes. Set state.runtime_dir (HOLDFAST_RUNTIME_DIR) to a shorter one."
            )
        self.path = path
        self._identity: tuple[int, int] | None = None

    def bind(self) -> socket.socket:
        """Return a new listening socket at the path. Raises StartRefused."""
        try:
            self._make_room()
            return self._listen()
        except OSError as error:
            raise StartRefused(f"Cannot listen on {self.path}: {error.strerror}.") from error

    def is_bound(self) -> bool:
        """Return whether the path still leads to this socket."""
        try:
            found = self.path.lstat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def remove(self) -> None:
        """Take the path away, if it is still this socket's."""
        if self.is_bound():
            self.path.unlink(missing_ok=True)

    def _make_room(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = self.path.parent.stat()
        if folder.st_uid != os.getuid():
            raise StartRefused(f"{self.path.parent} belongs to user {folder.st_uid}, not to us.")
        if folder.st_mode & _PRIVATE:
            self.path.parent.chmod(0o700)
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self.path.lstat().st_mode):
                raise StartRefused(f"{self.path} is in the way: it is no socket. Remove it.")

    def _listen(self) -> socket.socket:
        # Shorter than the final name, so it fits where that fits.
        temporary = self.path.with_name(".s")
        temporary.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(temporary))
            temporary.chmod(0o600)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            listener.listen(_BACKLOG)
            made = temporary.lstat()
            temporary.rename(self.path)
        except OSError:
            listener.close()
            raise
        self._identity = (made.st_dev, made.st_ino)
        return listener


def bind_tcp(address: str) -> socket.socket:
    """Return a listening socket at `host:port` (`[::1]:4680`). Raises StartRefused in words."""
    host, port = split_address(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _name, target = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartRefused(f"Cannot listen on {address}: {error.strerror}.") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        listener.bind(target)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartRefused(f"Cannot listen on {address}: {error.strerror}.") from error
    return listener


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of `host:port`. Raises StartRefused."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004  (the last port)
        raise StartRefused(f"listen.tcp {address!r} is not host:port, such as 127.0.0.1:4680.")
    return host.strip("[]"), int(port)


def check_exposure(listener: socket.socket, *, tls: bool, behind_proxy: bool) -> None:
    """Refuse plain HTTP where others can listen in: tokens would cross the network readable."""
    bound = ipaddress.ip_address(listener.getsockname()[0])
    if not (bound.is_loopback or tls or behind_proxy):
        raise StartRefused(
            f"listen.tcp {bound} is not loopback, and without TLS tokens could be read on the way. "
            "Set listen.tls_cert and listen.tls_key, or listen.behind_proxy = true where a proxy "
            "ends TLS."
        )
