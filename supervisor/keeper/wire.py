"""Messages between keeper, daemon and shim: one JSON object per SOCK_SEQPACKET packet.

Rules:
- The kernel keeps packet borders, so a message is whole or absent, and its descriptors
  (SCM_RIGHTS) arrive with it.
- Strings may hold any byte (surrogateescape of UTF-8); JSON escapes lone surrogates and gives
  them back unchanged.
- A packet of more than about 200 KB is refused by the kernel (EMSGSIZE), so a longer message
  travels in a memfd: the packet is then `M`, the memfd its first descriptor.
- Received descriptors are close-on-exec from the start (MSG_CMSG_CLOEXEC); without the flag they
  would leak into every child spawned later.
"""

from __future__ import annotations

import json
import os
import socket
from array import array
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

UNDERSTOOD = (1,)
"""Versions of the protocol. A keeper outlives daemons, so each side understands its own and the one
before; there is none before the first."""
INLINE_BYTES = 100 * 1024
"""Longer messages travel in a memfd."""
MESSAGE_BYTES = 64 * 1024 * 1024
"""Longest message accepted; argv and environment of one exec are at most 6 MB on Linux."""
FDS_PER_MESSAGE = 253
"""SCM_MAX_FD of the kernel; one is needed for the memfd of a long message."""

Message = dict[str, Any]

_IN_MEMFD = b"M"


def send(sock: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Send one message and duplicates of `fds`; the caller keeps its own.

    Raises BlockingIOError when the (non-blocking) socket is full, and then nothing was sent.
    """
    payload = json.dumps(message, separators=(",", ":")).encode("ascii")
    if len(payload) <= INLINE_BYTES:
        _send_packet(sock, payload, fds)
        return
    memfd = os.memfd_create("holdfast-message", os.MFD_CLOEXEC)
    try:
        with open(memfd, "wb", closefd=False) as file:
            file.write(payload)
        _send_packet(sock, _IN_MEMFD, [memfd, *fds])
    finally:
        os.close(memfd)


def receive(sock: socket.socket) -> tuple[Message, list[int]]:
    """The next message and its descriptors, which the caller owns.

    Raises EOFError at the end of the connection, BlockingIOError when nothing is there (on a
    non-blocking socket) and ValueError for anything that is no message.
    """
    payload, fds, flags = _receive_packet(sock)
    try:
        if not payload:
            raise EOFError
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            msg = "a message or its descriptors were cut off"
            raise ValueError(msg)
        if payload == _IN_MEMFD and fds:
            payload = _read_memfd(fds.pop(0))
        message = json.loads(payload)
        if not isinstance(message, dict):
            msg = "a message is not an object"
            raise ValueError(msg)  # noqa: TRY004 - for the reader it is a malformed message
    except BaseException:  # nothing stays open; it goes on to the caller
        close_all(fds)
        raise
    return message, fds


def encode(text: str) -> bytes:
    """The bytes a wire string stands for, whatever the locale of this process."""
    return text.encode("utf-8", "surrogateescape")


def close_all(fds: Sequence[int]) -> None:
    """Close descriptors received with a message that nobody wants."""
    for fd in fds:
        os.close(fd)


def _send_packet(sock: socket.socket, payload: bytes, fds: Sequence[int]) -> None:
    if fds:
        socket.send_fds(sock, [payload], fds)
    else:
        sock.send(payload)


def _receive_packet(sock: socket.socket) -> tuple[bytes, list[int], int]:
    """Packet, descriptors, flags. Not socket.recv_fds: Python 3.11 drops the flags given to it."""
    room = socket.CMSG_SPACE(FDS_PER_MESSAGE * array("i").itemsize)
    payload, ancillary, flags, _ = sock.recvmsg(INLINE_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    fds = array("i")
    for level, kind, packed in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(packed[: len(packed) - len(packed) % fds.itemsize])
    return payload, list(fds), flags


def _read_memfd(memfd: int) -> bytes:
    with open(memfd, "rb") as file:
        if os.fstat(memfd).st_size > MESSAGE_BYTES:
            msg = "a message is too long"
            raise ValueError(msg)
        file.seek(0)
        return file.read()
