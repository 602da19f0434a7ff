"""Commands for tests that listen on ports."""

from __future__ import annotations

import socket
import sys
from textwrap import dedent

PYTHON = f"{sys.executable} -I -S -c"


def listener(
    address: str = "127.0.0.1", port: int = 0, *, reuse: bool = False, closes: bool = True
) -> str:
    """A shell command that listens, prints the port, and closes it at the end of its stdin."""
    family = "AF_INET6" if ":" in address else "AF_INET"
    script = dedent(f"""\
        import socket, sys, time
        s = socket.socket(socket.{family})
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, {int(reuse)})
        s.bind(("{address}", {port}))
        s.listen()
        print(s.getsockname()[1], flush=True)
        {"sys.stdin.read()" if closes else "time.sleep(600)"}
        s.close()
        print("closed", flush=True)
        time.sleep(600)
        """)
    return f"{PYTHON} '{script}'"


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server((address, 0)) as server:
        port: int = server.getsockname()[1]
        return port
