"""SIGKILL of the daemon at any instant: no byte, no session, no status lost or made twice."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.system.daemon import Daemon
from tests.system.flood import FloodCheck

# httpcore leaves the socket of a refused connection to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning",
    "ignore:unclosed <socket:ResourceWarning",
)

KILLS = int(os.environ.get("HOLDFAST_TEST_KILLS", "200"))
SHORT_SESSIONS = 200
INPUT_BYTES = 200_000
FLOOD = Path(__file__).with_name("flood.py")
SEED = int(os.environ.get("HOLDFAST_TEST_SEED", "20"))
LONGEST_LIFE_S = 0.9

FLOODS = {
    "both-a": {"streams": "oe", "lines": 40, "pause": 0.01},
    "both-b": {"streams": "oe", "lines": 700, "pause": 0.05},
    "both-c": {"streams": "oe", "lines": 1, "pause": 0.002},
    "combined-a": {"streams": "o", "lines": 40, "pause": 0.01, "stderr": "combined"},
    "combined-b": {"streams": "o", "lines": 4000, "pause": 0.05, "stderr": "combined"},
    "tiny-a": {"streams": "o", "lines": 1, "pause": 0.001},
    "tiny-b": {"streams": "oe", "lines": 1, "pause": 0.005},
    "pty-a": {"streams": "o", "lines": 20, "pause": 0.01, "tty": True},
    "pty-b": {"streams": "o", "lines": 500, "pause": 0.05, "tty": True},
    "hot": {"streams": "oe", "lines": 2000, "pause": 0.0, "capacity": 1 << 20},
}


class Killing:
    """Starts daemons and SIGKILLs them after random lives, also while they are still starting."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._chance = random.Random(SEED)
        self.kills = 0

    def once(self) -> None:
        """Start a daemon beside whichever the keeper starts, and kill the one that serves."""
        started = self.start()
        pidfd = os.pidfd_open(started.pid)
        try:
            select.select([pidfd], [], [], self._chance.uniform(0, LONGEST_LIFE_S))
        finally:
            os.close(pidfd)
        self._kill_serving()
        started.kill()
        started.wait()
        self.kills += 1

    def start(self) -> subprocess.Popen[bytes]:
        """Start a daemon now: the keeper waits longer each time one has died young."""
        argv = [sys.executable, "-P", "-m", "api", "--autostarted"]
        nothing = subprocess.DEVNULL
        return subprocess.Popen(
            argv,
            env=self._daemon.environment,
            cwd="/",
            stdin=nothing,
            stdout=nothing,
            stderr=nothing,
        )

    def _kill_serving(self) -> None:
        with suppress(FileNotFoundError, ValueError, ProcessLookupError):
            os.kill(int((self._daemon.state_dir / "lock").read_text()), signal.SIGKILL)


def ask(
    daemon: Daemon, stop: threading.Event, call: Callable[[httpx.Client], httpx.Response]
) -> httpx.Response | None:
    """Ask until there is an answer of 200 or 201, through any number of kills."""
    while not stop.is_set():
        with suppress(httpx.TransportError), daemon.client(timeout=10) as client:
            answer = call(client)
            if answer.status_code in (200, 201):
                return answer
        stop.wait(0.01)
    return None


def start_flood(daemon: Daemon, name: str, how: dict[str, object]) -> FloodCheck:
    """Start one flooding session."""
    argv = [sys.executable, str(FLOOD), str(how["streams"]), str(how["lines"]), str(how["pause"])]
    body: dict[str, object] = {
        "id": name,
        "command": argv,
        "env": {"PYTHONPATH": str(FLOOD.parents[2])},
        "tty": how.get("tty", False),
        "stderr": how.get("stderr", "pipe"),
        "output": {"capacity": how.get("capacity", 8 << 20)},
    }
    if how.get("tty"):
        body["command"] = ["sh", "-c", 'stty -onlcr; exec "$@"', "sh", *argv]
    with daemon.client() as client:
        client.post("/v1/sessions", json=body).raise_for_status()
    one_stream = how["streams"] == "o"
    return FloodCheck(daemon.state_dir / "sessions" / name, one_stream=one_stream)


def run_short_sessions(daemon: Daemon, witness: Path, stop: threading.Event) -> None:
    """Start short sessions one after the other, each retried until it was answered."""
    for number in range(SHORT_SESSIONS):
        body = {
            "id": f"short-{number}",
            "command": [
                "sh",
                "-c",
                f"echo {number} >> {witness}; echo n{number}; exit {number % 200}",
            ],
        }
        ask(daemon, stop, partial(httpx.Client.post, url="/v1/sessions", json=body))


def send_input(daemon: Daemon, stop: threading.Event) -> None:
    """Send numbered lines to the session `typed`, each chunk until it was accepted."""
    text = b"".join(b"%09d\n" % number for number in range(INPUT_BYTES // 10))
    post = partial(httpx.Client.post, url="/v1/sessions/typed/input")
    offset = 0
    while offset < len(text):
        chunk = text[offset : offset + 997]
        answer = ask(daemon, stop, partial(post, params={"offset": offset}, content=chunk))
        if answer is None:
            return
        offset = answer.json()["next"]
    ask(daemon, stop, partial(post, params={"offset": offset, "close": "true"}))


@contextmanager
def in_background(*calls: threading.Thread) -> Iterator[None]:
    for call in calls:
        call.start()
    yield
    for call in calls:
        call.join()


def hammer(daemon: Daemon, kills: int, tmp_path: Path) -> None:
    """Kill while floods print, short sessions start and input is typed; then check all of it."""
    checks = [start_flood(daemon, name, how) for name, how in FLOODS.items()]
    typed, witness = tmp_path / "typed", tmp_path / "witness"
    with daemon.client() as client:
        cat = {"id": "typed", "command": ["sh", "-c", f"cat > {typed}"], "stdin": "pipe"}
        client.post("/v1/sessions", json=cat).raise_for_status()
    stop = threading.Event()
    killing = Killing(daemon)
    background = in_background(
        threading.Thread(target=run_short_sessions, args=(daemon, witness, stop)),
        threading.Thread(target=send_input, args=(daemon, stop)),
    )
    with background:
        try:
            while killing.kills < kills:
                killing.once()
                checks[killing.kills % len(checks)].check()
            last = killing.start()
        except BaseException:
            stop.set()
            raise
        daemon.wait_answering()
    for check in checks:
        check.check()
        assert check.checked_bytes > 0
    verify_short_sessions(daemon, witness)
    expected = b"".join(b"%09d\n" % number for number in range(INPUT_BYTES // 10))
    with daemon.client(timeout=60) as client:
        waited = client.post("/v1/sessions/typed/wait", json={"for": ["ended"], "timeout": 50})
    assert waited.json()["session"]["exit_code"] == 0
    assert typed.read_bytes() == expected
    daemon.terminate()
    last.wait()
    daemon.start()


def verify_short_sessions(daemon: Daemon, witness: Path) -> None:
    """Each was started once, printed its line, and has its true status."""
    started = sorted(int(line) for line in witness.read_text().split())
    assert started == list(range(SHORT_SESSIONS))
    with daemon.client(timeout=60) as client:
        for number in range(SHORT_SESSIONS):
            body = {"for": ["ended"], "timeout": 50}
            waited = client.post(f"/v1/sessions/short-{number}/wait", json=body).json()
            session = waited["session"]
            assert (session["outcome"], session["exit_code"]) == ("exited", number % 200)
            output = client.get(f"/v1/sessions/short-{number}/output")
            assert output.text == f"n{number}\n"


@pytest.mark.timeout(900)
def test_sigkill_at_random_instants_loses_and_repeats_nothing(
    daemon: Daemon, tmp_path: Path
) -> None:
    hammer(daemon, KILLS, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_thousands_of_sigkills_lose_and_repeat_nothing(daemon: Daemon, tmp_path: Path) -> None:
    hammer(daemon, 3000, tmp_path)
