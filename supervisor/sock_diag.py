"""All listening TCP sockets of this network namespace, by one dump of the kernel's table.

Rules
- `NETLINK_SOCK_DIAG` (sock_diag(7)) filters by state in the kernel, so that what it costs grows
  with the listeners and not with the connections, as /proc/net/tcp does.
- Where it is refused (a container's seccomp filter, a kernel without INET_DIAG) the tables of
  /proc are read instead: the same answer, dearer.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

__all__ = ["Sockets", "dumped", "listening_sockets", "parse_dump", "parse_table", "tabled"]

Sockets = dict[int, tuple[str, int]]
"""Inode -> (address, port)."""

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_TCP_LISTEN = 10
_LISTEN_HEX = "0A"
_WORD_HEX_DIGITS = 8
_INODE_COLUMN = 9

_HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, pid."""
_REQUEST = struct.Struct("=BBBBI48x")
"""struct inet_diag_req_v2: family, protocol, extensions, padding, states, an empty socket ID."""
_ANSWER = struct.Struct("=BBBB")
"""The beginning of struct inet_diag_msg: family, state, timer, retransmissions."""
_PORT_AT, _ADDRESS_AT, _INODE_AT = 4, 8, 68
_MESSAGE_BYTES = 72
_RECEIVE_BYTES = 256 * 1024
_PATIENCE_S = 1.0


def listening_sockets() -> Sockets:
    """Return every listening TCP socket, IPv4 and IPv6. Raises OSError when nothing tells."""
    try:
        return dumped()
    except OSError:
        return tabled("/proc/self/net")


def dumped() -> Sockets:
    """Ask the kernel. Raises OSError where that is refused, also after a second of silence."""
    found: Sockets = {}
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
    ) as asked:
        asked.settimeout(_PATIENCE_S)
        for family in (socket.AF_INET, socket.AF_INET6):
            body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, 1 << _TCP_LISTEN)
            flags = _NLM_F_REQUEST | _NLM_F_DUMP
            length = _HEADER.size + len(body)
            asked.send(_HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, flags, family, 0) + body)
            while not parse_dump(asked.recv(_RECEIVE_BYTES), found):
                pass
    return found


def parse_dump(content: bytes, found: Sockets) -> bool:
    """Add the sockets of one datagram to `found`; return whether the dump is at its end.

    Raises OSError with the kernel's errno, EPROTO for what is no netlink message.
    """
    at = 0
    while at + _HEADER.size <= len(content):
        length, kind, *_ = _HEADER.unpack_from(content, at)
        if kind == _NLMSG_DONE:
            return True
        if kind == _NLMSG_ERROR:
            (number,) = struct.unpack_from("=i", content, at + _HEADER.size)
            raise OSError(-number, os.strerror(-number))
        if length < _HEADER.size + _MESSAGE_BYTES or at + length > len(content):
            raise OSError(errno.EPROTO, "a netlink message of an unknown shape")
        inode, address, port = _socket(content, at + _HEADER.size)
        found[inode] = address, port
        at += (length + 3) & ~3  # NLMSG_ALIGN
    return False


def _socket(content: bytes, at: int) -> tuple[int, str, int]:
    family = _ANSWER.unpack_from(content, at)[0]
    size = 4 if family == socket.AF_INET else 16
    packed = content[at + _ADDRESS_AT : at + _ADDRESS_AT + size]
    (port,) = struct.unpack_from(">H", content, at + _PORT_AT)
    (inode,) = struct.unpack_from("=I", content, at + _INODE_AT)
    return inode, socket.inet_ntop(family, packed), port


def tabled(folder: str) -> Sockets:
    """Read the tables `tcp` and `tcp6` of a /proc/PID/net folder; one that is missing is empty."""
    found: Sockets = {}
    for name in ("tcp", "tcp6"):
        with suppress(OSError), open(f"{folder}/{name}", encoding="ascii") as file:
            found |= {inode: (address, port) for inode, address, port in parse_table(file.read())}
    return found


def parse_table(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield inode, address and port of each listening socket of a /proc/net/tcp or tcp6 table."""
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) > _INODE_COLUMN and words[3] == _LISTEN_HEX:
            address, _, port = words[1].partition(":")
            yield int(words[_INODE_COLUMN]), _address(address), int(port, 16)


def _address(text: str) -> str:
    """Decode an address: words of 32 bits, each in the byte order of the machine."""
    words = (text[at : at + _WORD_HEX_DIGITS] for at in range(0, len(text), _WORD_HEX_DIGITS))
    packed = b"".join(int(word, 16).to_bytes(4, "little") for word in words)
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6  # noqa: PLR2004  (bytes)
    return socket.inet_ntop(family, packed)
