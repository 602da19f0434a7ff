"""A dev server that nothing kills: what `make demo` shows.

Starts a real server, detaches from it, kills the daemon with SIGKILL while requests keep being
answered, comes back to the same session with everything printed in between, stops it and proves
its process tree gone. Every command and what it printed is shown. Exits with 1 when a promise is
broken.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

HOLD = str(Path(sys.executable).with_name("hold"))
NAME = "web"
PATIENCE_S = 20.0


class Demo:
    """The scenario, in a `room` of its own. `broken` counts the promises not kept."""

    def __init__(self, room: Path) -> None:
        self.folder = room / "served"
        self.folder.mkdir()
        self.environment = {**os.environ, "HOLDFAST_STATE_DIR": str(room / "state")}
        for name in ("HOLDFAST_URL", "HOLDFAST_RUNTIME_DIR"):
            self.environment.pop(name, None)
        self.port = free_port()
        self.asked: list[str] = []
        self.broken = 0

    def play(self) -> None:
        """Everything, in order."""
        self.title("Start a dev server under a name, and wait until its own port answers")
        server = f"python3 -u -m http.server --bind 127.0.0.1 {self.port}"
        session_id = self.hold(f"start --name {NAME} -w {self.folder} -- {server}")
        self.hold(f"wait {NAME} --for port:{self.port}")
        self.request("/before")

        self.title("Attach, see what it prints, detach. It goes on")
        self.attach_and_detach("/before")
        self.hold("ls")

        before = self.session()
        self.title("SIGKILL the daemon. The server answers as if nothing had happened")
        self.kill_daemon()
        self.promise("nobody listens at the daemon's socket", not self.daemon_answers())
        self.request("/while-the-daemon-is-dead")

        self.title("The keeper has started a new daemon: the same session, every byte")
        self.until_answered()
        self.hold("ls")
        self.request("/after")
        self.hold(f"wait {NAME} --for 'log:GET /after'")
        self.compare(session_id, before)
        self.attach_and_detach("/while-the-daemon-is-dead")

        self.title("Stop it: the whole tree is gone, and that is proven")
        self.stop(before["pid"])
        code = self.hold_code(f"wait {NAME}")
        self.promise(f"its exit status is known: {code} is 128 + SIGTERM", code == 128 + 15)
        self.hold("ls")

    def compare(self, session_id: str, before: dict[str, Any]) -> None:
        """The same session, process and offsets; each request once and in order in its log."""
        after = self.session()
        self.promise("the same ID", after["id"] == session_id == before["id"])
        self.promise(f"the same process, {before['pid']}", after["pid"] == before["pid"])
        offsets = f"{before['output']['next']} -> {after['output']['next']}"
        grew = after["output"]["oldest"] == 0 and before["output"]["next"] < after["output"]["next"]
        self.promise(f"offsets go on from where they were: {offsets}", grew)
        log = self.logs()
        size = after["output"]["next"]
        self.promise(f"the log has every byte, {size} of {size}", len(log) == size)
        found = [line.split(b'"GET ')[1].split()[0].decode() for line in log.splitlines()
                 if b'"GET ' in line]  # fmt: skip
        self.promise(f"it shows every request once, in order: {' '.join(found)}",
                     found == self.asked)  # fmt: skip

    def logs(self) -> bytes:
        """Both streams, as bytes."""
        print(f"$ hold logs {NAME}")
        log = subprocess.run(
            [HOLD, "logs", NAME],
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True,
        ).stdout  # fmt: skip
        sys.stdout.write(log.decode(errors="replace"))
        return log

    def attach_and_detach(self, expected: str) -> None:
        """Attach without a terminal until the line is there; ctrl-c leaves the session running."""
        print(f"$ hold attach {NAME}")
        with subprocess.Popen(
            [HOLD, "attach", NAME], env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as attached:  # fmt: skip
            assert attached.stdout is not None  # noqa: S101  (it is a pipe)
            seen = b""
            while expected.encode() not in seen:
                line = attached.stdout.readline()
                if not line:
                    break
                seen += line
                sys.stdout.write(line.decode(errors="replace"))
            attached.send_signal(signal.SIGINT)
            print("^C")
            sys.stdout.write(attached.stdout.read().decode(errors="replace"))
        self.promise(f"attach replays {expected}", expected.encode() in seen)

    def kill_daemon(self) -> None:
        """SIGKILL, and the kernel's word that it is dead: a readable pidfd (pidfd_open(2))."""
        pid = json.loads(self.quiet("node", "--json"))["pid"]
        print(f"$ kill -KILL {pid}   # the daemon")
        pidfd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            select.select([pidfd], [], [], PATIENCE_S)
        finally:
            os.close(pidfd)

    def daemon_answers(self) -> bool:
        """Whether somebody accepts connections at the daemon's socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            path = self.environment["HOLDFAST_STATE_DIR"] + "/run/holdfast.sock"
            return probe.connect_ex(path) == 0

    def until_answered(self) -> None:
        """Nobody types a command that starts a daemon: the keeper does it."""
        wait_until("the daemon is back", self.daemon_answers)

    def stop(self, pid: int) -> None:
        """Stop, the receipt's proof, and the kernel's."""
        print(f"$ hold stop {NAME} --json")
        receipt = json.loads(self.quiet("stop", NAME, "--json"))
        print(json.dumps(receipt["effect"]))
        self.promise("the receipt says that the tree is gone", receipt["effect"]["tree_gone"])
        self.promise(f"there is no process {pid}", not Path(f"/proc/{pid}").exists())

    def request(self, path: str) -> None:
        """One HTTP request to the dev server (404: its folder is empty)."""
        url = f"http://127.0.0.1:{self.port}{path}"
        print(f"$ curl {url}")
        self.asked.append(path)
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            error.close()
            status = error.code
        except OSError as error:
            status = 0
            print(error)
        self.promise(f"the dev server answers {path} ({status})", status != 0)

    def session(self) -> dict[str, Any]:
        """What the daemon knows of it."""
        found: dict[str, Any] = json.loads(self.quiet("inspect", NAME, "--json"))
        return found

    def hold(self, arguments: str) -> str:
        """Run one command, show it and what it prints; it must succeed."""
        print(f"$ hold {arguments}")
        out = self.quiet(*shlex.split(arguments))
        sys.stdout.write(out)
        return out.strip()

    def hold_code(self, arguments: str) -> int:
        """Run one command and show it; the exit code."""
        print(f"$ hold {arguments}; echo $?")
        done = subprocess.run([HOLD, *shlex.split(arguments)], env=self.environment, check=False)
        print(done.returncode)
        return done.returncode

    def quiet(self, *arguments: str) -> str:
        """Run one command; what it printed."""
        return subprocess.run(
            [HOLD, *arguments], env=self.environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def title(self, text: str) -> None:
        """Say what comes."""
        print(f"\n{text}.", flush=True)

    def promise(self, text: str, kept: bool) -> None:
        """Say whether a promise was kept."""
        print(f"  {'kept' if kept else 'BROKEN'}: {text}", flush=True)
        self.broken += not kept


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(what: str, holds: Callable[[], bool]) -> None:
    """Look again until it holds; what is waited for belongs to the kernel or another process."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {PATIENCE_S:.0f} s")
        time.sleep(0.02)


def main() -> int:
    """Play it, clean up, and say whether every promise was kept."""
    with tempfile.TemporaryDirectory(prefix="holdfast-demo-") as room:
        demo = Demo(Path(room))
        try:
            demo.play()
        except (subprocess.CalledProcessError, TimeoutError) as error:
            demo.promise(str(error), kept=False)
        finally:
            subprocess.run([HOLD, "shutdown", "--kill-sessions"], env=demo.environment,
                           capture_output=True, check=False)  # fmt: skip
    print("\nEvery promise was kept." if not demo.broken else f"\n{demo.broken} broken.")
    return 1 if demo.broken else 0


if __name__ == "__main__":
    sys.exit(main())
