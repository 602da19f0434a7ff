"""A lean HTTP client on the unix socket: what a figure should not contain is the client.

Requests are bytes made beforehand; a connection is kept. Answers have a `Content-Length`.
"""

from __future__ import annotations

import json
import select
import socket
import time
from pathlib import Path
from typing import Any

__all__ = ["Connection", "get", "post", "rate"]

_MEBIBYTE = 1024 * 1024


def get(path: str) -> bytes:
    """Return a GET request as bytes."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


def post(path: str, body: Any = None) -> bytes:
    """Return a POST request with a JSON body as bytes."""
    content = b"" if body is None else json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


class Connection:
    """One kept connection."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(path))

    def ask(self, request: bytes) -> bytes:
        """Send a request and return the answer's body. Raises RuntimeError for an error."""
        self.sock.sendall(request)
        return self.receive()

    def receive(self) -> bytes:
        """Return the body of the next answer."""
        answer = self.sock.recv(65536)
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._more()
        lower = answer[:end].lower()
        at = lower.find(b"\r\ncontent-length:")
        length = int(lower[at + 17 :].split(b"\r", 1)[0]) if at >= 0 else 0
        pieces, missing = [answer[end + 4 :]], length - (len(answer) - end - 4)
        while missing > 0:
            pieces.append(self._more())
            missing -= len(pieces[-1])
        body = b"".join(pieces)
        if answer[9:10] != b"2":
            raise RuntimeError(f"{answer[:end].decode()}: {body.decode(errors='replace')}")
        return body

    def json(self, request: bytes) -> Any:
        """Send a request and return the answer's JSON."""
        return json.loads(self.ask(request))

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def _more(self) -> bytes:
        piece = self.sock.recv(_MEBIBYTE)
        if not piece:
            raise RuntimeError("the daemon closed the connection")
        return piece


def rate(path: Path, request: bytes, clients: int, count: int) -> float:
    """Return answers per second of `count` requests over `clients` connections at once."""
    connections = [Connection(path) for _ in range(clients)]
    polled = select.epoll()
    by_descriptor = {each.sock.fileno(): each for each in connections}
    try:
        for descriptor in by_descriptor:
            polled.register(descriptor, select.EPOLLIN)
        started = time.perf_counter()
        for each in connections:
            each.sock.sendall(request)
        sent, answered = clients, 0
        while answered < count:
            for descriptor, _ in polled.poll():
                by_descriptor[descriptor].receive()
                answered += 1
                if sent < count:
                    by_descriptor[descriptor].sock.sendall(request)
                    sent += 1
        return count / (time.perf_counter() - started)
    finally:
        polled.close()
        for each in connections:
            each.close()
