"""Starting, killing and ending a real daemon by its pid.

Rules
- Nothing is slept for: readiness is a line on a pipe, an end is a pidfd that becomes readable.
- A daemon that the keeper started again is found by the pid it wrote into its lock file.
- `end` leaves no process of the state directory: sessions are killed, then keeper and daemon.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

PATIENCE_S = 30.0
ATTEMPT_S = 0.02


class Daemon:
    """One state directory and whichever daemon serves it.

    `pid` is that of the daemon that served last; `listeners` what it listens on. `launcher` is a
    command that ends by executing the arguments it is given: the daemon's.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        tcp: str | None,
        environment: dict[str, str],
        launcher: Sequence[str] = (),
    ) -> None:
        self.state_dir = state_dir
        self.pid = 0
        self.listeners: list[str] = []
        self._tcp = tcp
        self._environment = environment
        self._launcher = launcher
        self._over = False
        self._started: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """The path of the unix socket."""
        folder = self._environment.get("HOLDFAST_RUNTIME_DIR", self.state_dir / "run")
        return Path(folder) / "holdfast.sock"

    @property
    def environment(self) -> dict[str, str]:
        """What a command that shall talk to this daemon needs in its environment."""
        kept = ("PATH", "HOME", "USER", "LOGNAME", "LANG")
        base = {name: os.environ[name] for name in kept if name in os.environ}
        config = {"XDG_CONFIG_HOME": str(self.state_dir), "HOLDFAST_STATE_DIR": str(self.state_dir)}
        return {**base, **config, **self._environment}

    def start(self) -> None:
        """Start a daemon and wait until it answers."""
        assert self._launch(), f"the daemon did not start: {self._last_words()}"

    def kill9(self) -> None:
        """SIGKILL the daemon that serves, and wait until it is gone. The keeper starts another."""
        self.signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask the daemon to end, and wait until it is gone. Nobody starts another."""
        self.signal(signal.SIGTERM)

    def restart(self) -> None:
        """End the daemon by SIGTERM and start another."""
        self.terminate()
        self.start()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal that ends the daemon, and wait for that."""
        with suppress(ProcessLookupError), pidfd_of(self.pid) as pidfd:
            signal.pidfd_send_signal(pidfd, number)
            assert readable(pidfd), f"daemon {self.pid} did not end by {number.name}"
        self._reap()

    def wait_answering(self) -> dict[str, Any]:
        """Wait until a daemon answers, whoever started it; return its `GET /v1/node`."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                # httpx forgets to close a socket that could not connect, so it is asked second.
                if self._accepts():
                    with self.client() as client:
                        node: dict[str, Any] = client.get("/v1/node").raise_for_status().json()
                    self.pid, self.listeners = node["pid"], node["listeners"]
                    return node
            select.select([], [], [], ATTEMPT_S)  # nothing tells when a socket begins to accept
        raise AssertionError(f"no daemon answers: {self._last_words()}")

    def client(self, timeout: float = PATIENCE_S) -> httpx.Client:
        """A client on the unix socket; the caller closes it."""
        transport = httpx.HTTPTransport(uds=str(self.socket), verify=False)  # no TLS: saves 20 ms
        return httpx.Client(transport=transport, base_url="http://holdfast", timeout=timeout)

    def keeper_pid(self) -> int:
        """The pid of the keeper that serves."""
        with self.client() as client:
            pid: int = client.get("/v1/node").json()["keeper"]["pid"]
            return pid

    def end(self) -> None:
        """Kill all sessions, and end keeper and daemon, whatever happened to them before."""
        if self._over:
            return
        self._over = True
        gone = self._started is None or self._started.poll() is not None
        # Ours or the keeper's own new daemon serves, whichever is first.
        if gone and not self._accepts() and not self._launch("--autostarted"):
            self._last_words()
        keeper = self.wait_answering()["keeper"]["pid"]
        with suppress(ProcessLookupError), pidfd_of(self.pid) as pidfd:
            with pidfd_of(keeper) as keeper_pidfd:
                with suppress(httpx.TransportError), self.client() as client:
                    client.post("/v1/node/shutdown", params={"kill_sessions": "true"})
                assert readable(keeper_pidfd), f"keeper {keeper} did not end"
            assert readable(pidfd), f"daemon {self.pid} did not end"
        self._reap()

    def _launch(self, *flags: str) -> bool:
        """Start a daemon; whether it came to answer. One that was started before is collected."""
        self._reap()
        ready, theirs = os.pipe()
        argv = [*self._launcher, sys.executable, "-P", "-m", "api"]
        argv += ["--ready-fd", str(theirs), *flags]
        argv += ["--tcp", self._tcp] if self._tcp else []
        with os.fdopen(ready, "rb") as told:
            try:
                self._started = subprocess.Popen(
                    argv,
                    env=self.environment,
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=[theirs],
                    start_new_session=True,
                )
            finally:
                os.close(theirs)
            line = told.readline() if readable(told.fileno()) else b""
        if line:
            answer = json.loads(line)
            self.pid, self.listeners = answer["pid"], answer["listeners"]
        return bool(line)

    def _accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(OSError):
            probe.connect(str(self.socket))
            return True
        return False

    def _reap(self) -> None:
        """Collect the daemon that this object started, if that one has ended."""
        started = self._started
        if started is not None and (started.pid == self.pid or started.poll() is not None):
            assert started.stderr is not None
            started.wait(PATIENCE_S)
            started.stderr.close()
            self._started = None

    def _last_words(self) -> str:
        """What a daemon that did not start said, and the end of its log."""
        words = b""
        if self._started is not None and self._started.stderr is not None:
            self._started.kill()
            words = self._started.communicate(timeout=PATIENCE_S)[1]
            self._started = None
        with suppress(FileNotFoundError):
            words += (self.state_dir / "daemon.log").read_bytes()[-4000:]
        return words.decode(errors="replace")


@contextmanager
def running(
    state_dir: Path,
    *,
    tcp: str | None = None,
    environment: dict[str, str] | None = None,
    launcher: Sequence[str] = (),
) -> Iterator[Daemon]:
    """A daemon that answers; at the end nothing of its state directory runs any more."""
    daemon = Daemon(state_dir, tcp=tcp, environment=environment or {}, launcher=launcher)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.end()


@contextmanager
def pidfd_of(pid: int) -> Iterator[int]:
    """A descriptor of a process, readable when it has ended (pidfd_open(2))."""
    pidfd = os.pidfd_open(pid)
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def readable(descriptor: int) -> bool:
    """Wait until there is something to read, or the end; false after `PATIENCE_S`."""
    return bool(select.select([descriptor], [], [], PATIENCE_S)[0])
