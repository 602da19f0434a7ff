"""A connection to a daemon elsewhere: one ssh process, whose stdin and stdout are a socket of ours.

Rules
- A tunnel is handed out only when the daemon has answered through it. What fails before that sent
  no request of the caller, so it may be tried again, and is told in ssh's own words.
- The process ends with its connection, and is always collected.
- ssh does not see this terminal's ctrl-c: that is for the command that has the connection.
- What ssh and the far side say on stderr waits in a pipe that is read only to explain a failure;
  one that says more than the pipe holds stops itself and nobody else.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import socket
import subprocess
import time
from contextlib import suppress

from holdfast.ssh import SshTarget

__all__ = ["Tunnel", "TunnelFailed", "open_tunnel", "open_tunnel_async"]

ANSWER_S = 120.0  # as sshd's LoginGraceTime; a person may be typing a password
END_S = 2.0
LOOK_AGAIN_S = 0.005
STDERR_BYTES = 64 * 1024
HEADER_BYTES = 32 * 1024
SSH_FAILED, NOT_FOUND = 255, 127
PROBE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)


class TunnelFailed(OSError):
    """No connection to the daemon through ssh; the text says why, and what to do."""


class Probe:
    """The first request and its answer, without the reading and writing of it."""

    def __init__(self) -> None:
        self._came = b""

    def feed(self, content: bytes) -> bool:
        """Take what came; whether the answer is complete. Raises `TunnelFailed` for another one."""
        self._came += content
        if not content:
            raise TunnelFailed("the connection was closed before the daemon answered")
        if not self._came.startswith(b"HTTP/1.1 "[: len(self._came)]):
            shown = self._came[:60].decode(errors="replace")
            raise TunnelFailed(
                f"a start-up file of the shell there prints {shown!r}: let it print nothing where "
                "it is not interactive"
            )
        head, end, body = self._came.partition(b"\r\n\r\n")
        if not end:
            if len(head) > HEADER_BYTES:
                raise TunnelFailed("what answers there is no Holdfast daemon")
            return False
        length = LENGTH.search(head + b"\r\n")
        if not head.startswith(b"HTTP/1.1 200") or length is None:
            raise TunnelFailed("what answers there is no Holdfast daemon")
        return len(body) >= int(length[1])


class Tunnel:
    """A started ssh. `sock` is the connection; whoever takes it over closes it too."""

    def __init__(self, target: SshTarget, *, first: bool) -> None:
        """Start ssh; `first` lets it ask and start a daemon, as far as the target allows that.

        Raises `TunnelFailed` where there is no ssh.
        """
        self.target = target
        argv = target.argv(
            asks=first and target.asks and _has_terminal(), starts=first and target.starts
        )
        self.sock, theirs = socket.socketpair()
        # The mask is inherited, and ssh leaves it as it is (a handler of ours would not be).
        unmasked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process = subprocess.Popen(
                argv, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.PIPE
            )
        except FileNotFoundError as error:
            self.sock.close()
            raise TunnelFailed("there is no ssh here: install the OpenSSH client") from error
        except OSError as error:
            self.sock.close()
            raise TunnelFailed(f"ssh cannot be started: {error.strerror}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unmasked)
            theirs.close()

    def close(self) -> None:
        """Close the connection and end ssh; it is gone when this returns."""
        self.sock.close()
        self._terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        self._collect()

    async def aclose(self) -> None:
        """As `close`, while others go on. Cancelled, it ends ssh at once."""
        self.sock.close()
        self._terminate()
        deadline = time.monotonic() + END_S
        try:
            while self._process.poll() is None and time.monotonic() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_AGAIN_S)  # pidfds, which would tell, are Linux alone
        finally:
            self._collect()

    def explained(self, failure: OSError) -> TunnelFailed:
        """The failure in the words of ssh or of the far side, where they said any. Closes."""
        self.sock.close()
        # An ssh whose connection broke is about to end, and says why first.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        status, said = self._process.poll(), self._said()
        self.close()
        if status == NOT_FOUND:
            return TunnelFailed(
                "`hold` is not found there: it must be on the PATH of a shell that is not "
                f"interactive (a link in /usr/local/bin will do); try `ssh {self.target.host} "
                "hold version`"
            )
        if status is not None and said:
            return TunnelFailed(said)
        if status == SSH_FAILED:
            return TunnelFailed("ssh failed without saying why")
        return (
            failure
            if isinstance(failure, TunnelFailed)
            else TunnelFailed(str(failure) or f"no answer within {ANSWER_S:g} seconds")
        )

    def _said(self) -> str:
        """The last line on stderr so far, without the names before it."""
        assert self._process.stderr is not None  # noqa: S101  (a pipe was asked for)
        ready = select.select([self._process.stderr], [], [], 0)[0]
        content = os.read(self._process.stderr.fileno(), STDERR_BYTES) if ready else b""
        lines = [line.strip() for line in content.decode(errors="replace").splitlines()]
        said = [line for line in lines if line and not line.startswith("Killed by signal")]
        return said[-1].removeprefix("hold: ") if said else ""

    def _terminate(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()

    def _collect(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()


def open_tunnel(target: SshTarget, *, first: bool) -> Tunnel:
    """Return a tunnel through which the daemon answers; raises `TunnelFailed`."""
    tunnel = Tunnel(target, first=first)
    probe = Probe()
    try:
        tunnel.sock.settimeout(ANSWER_S)
        tunnel.sock.sendall(PROBE)
        while not probe.feed(tunnel.sock.recv(HEADER_BYTES)):
            pass
        tunnel.sock.settimeout(None)
    except OSError as error:
        raise tunnel.explained(error) from error
    except BaseException:  # ctrl-c, mostly; it goes on to the caller
        tunnel.close()
        raise
    return tunnel


async def open_tunnel_async(target: SshTarget, *, first: bool) -> Tunnel:
    """As `open_tunnel`. Cancelled, it leaves no process behind."""
    tunnel = Tunnel(target, first=first)
    probe, loop = Probe(), asyncio.get_running_loop()
    try:
        tunnel.sock.settimeout(0)
        async with asyncio.timeout(ANSWER_S):
            await loop.sock_sendall(tunnel.sock, PROBE)
            while not probe.feed(await loop.sock_recv(tunnel.sock, HEADER_BYTES)):
                pass
    except OSError as error:
        raise tunnel.explained(error) from error
    except BaseException:  # a cancellation, mostly; it goes on to the caller
        tunnel.close()
        raise
    return tunnel


def _has_terminal() -> bool:
    """Whether ssh could ask anybody: it asks on the controlling terminal, whatever stdin is."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
