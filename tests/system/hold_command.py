"""The real `hold` as a child process, with pipes or on a real terminal.

Rules
- Nothing is slept for: a terminal is read until what is expected stands on its screen.
- The slave side of each terminal stays open here, so that its modes can be read after `hold` ended.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyte

HOLD = str(Path(sys.executable).with_name("hold"))
PATIENCE_S = 30.0


class Hold:
    """Runs `hold` commands with one environment: that of a daemon's own user."""

    def __init__(self, environment: dict[str, str], cwd: Path | None = None) -> None:
        self.environment = environment
        self.cwd = cwd

    def __call__(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end."""
        return subprocess.run(
            [HOLD, *arguments],
            env=self.environment,
            cwd=self.cwd,
            input=stdin,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def out(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run a command that must succeed; what it printed, without the last newline."""
        done = self(*arguments, stdin=stdin)
        assert done.returncode == 0, done
        return done.stdout.decode().removesuffix("\n")

    def json(self, *arguments: str) -> Any:
        """Run a command with --json; its answer."""
        return json.loads(self.out(*arguments, "--json"))

    def start(self, *arguments: str) -> str:
        """`hold start`; the ID."""
        return self.out("start", *arguments)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command with pipes, killed at the end of the block if it is alive."""
        with subprocess.Popen(
            [HOLD, *arguments],
            env=self.environment,
            cwd=self.cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as child:
            try:
                yield child
            finally:
                child.kill()

    @contextmanager
    def on_terminal(self, *arguments: str, rows: int = 24, cols: int = 80) -> Iterator[Terminal]:
        """A command on a terminal of its own."""
        terminal = Terminal([HOLD, *arguments], {**self.environment, "TERM": "xterm"}, rows, cols)
        try:
            yield terminal
        finally:
            terminal.close()


class Terminal:
    """A pseudo-terminal with one command on it and a screen behind it.

    `raw_output` is all that came, `before` the terminal's modes at the start.
    """

    def __init__(self, argv: list[str], environment: dict[str, str], rows: int, cols: int) -> None:
        self.master, self.slave = os.openpty()
        self.resize(rows, cols)
        self.before = termios.tcgetattr(self.slave)
        self.screen = pyte.Screen(cols, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.raw_output = b""
        self.exit_code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.login_tty(self.slave)
                os.execve(argv[0], argv, environment)
            finally:
                os._exit(127)
        self.pidfd = os.pidfd_open(self.pid)

    def resize(self, rows: int, cols: int) -> None:
        """Change the window; the kernel tells the command (SIGWINCH)."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.master, keys)

    def until(self, text: str) -> None:
        """Read until the text stands on the screen."""
        self.until_true(lambda: text in self.shown, text)

    def until_output(self, content: bytes) -> None:
        """Read until these bytes came."""
        self.until_true(lambda: content in self.raw_output, repr(content))

    def until_true(self, holds: Callable[[], bool], what: str) -> None:
        """Read until it holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self.master], [], [], left)[0]
            assert ready, f"{what} did not come; the screen:\n{self.shown}"
            self._read()

    def until_raw(self) -> None:
        """Wait until the command has made the terminal raw.

        No descriptor tells when modes change; but the command reads what is typed only then.
        """
        deadline = time.monotonic() + PATIENCE_S
        while termios.tcgetattr(self.slave)[3] & termios.ICANON:
            assert time.monotonic() < deadline, f"never raw; the screen:\n{self.shown}"
            select.select([], [], [], 0.01)
            self._read_what_is_there()

    def wait(self) -> int:
        """Read until the command has ended; its exit code, -n for signal n."""
        deadline = time.monotonic() + PATIENCE_S
        while self.exit_code is None:
            left = max(0.0, deadline - time.monotonic())
            ready = select.select([self.master, self.pidfd], [], [], left)[0]
            assert ready, f"it did not end; the screen:\n{self.shown}"
            if self.master in ready:
                self._read()
            elif self.pidfd in ready:
                self.exit_code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._read_what_is_there()
        return self.exit_code

    def signal(self, number: signal.Signals) -> None:
        """Signal the command."""
        os.kill(self.pid, number)

    @property
    def shown(self) -> str:
        """The screen's lines."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    @property
    def is_as_before(self) -> bool:
        """Whether the terminal's modes are those of the start."""
        return termios.tcgetattr(self.slave) == self.before

    def close(self) -> None:
        """End the command, if it is alive, and the terminal."""
        if self.exit_code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        for fd in (self.pidfd, self.master, self.slave):
            os.close(fd)

    def _read_what_is_there(self) -> None:
        while select.select([self.master], [], [], 0)[0]:
            self._read()

    def _read(self) -> None:
        content = os.read(self.master, 65536)
        self.raw_output += content
        self._stream.feed(content)
