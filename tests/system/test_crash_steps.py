"""The daemon dies between any two steps of a session's life: nothing twice, nothing invented.

Each case begins a life under a daemon that SIGKILLs itself at one named step. The keeper starts
the next daemon; the client, as any would, asks again with the same IDs.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.system.daemon import Daemon

pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning",
    "ignore:unclosed <socket:ResourceWarning",
)

CRASHING = Path(__file__).with_name("crashing_daemon.py")
UNREACHED_S = 2.0
START = [
    *(("commit", when, count) for count in (1, 2, 3) for when in ("before", "after")),
    *((step, when, 1) for step in ("spawn", "tap", "drop") for when in ("before", "after")),
]
STOP = [
    *(("commit", when, count) for count in (2, 3, 4) for when in ("before", "after")),
    *((step, when, 1) for step in ("signal", "drop") for when in ("before", "after")),
]
RESTART = [
    *(("commit", when, count) for count in (2, 3, 4, 5) for when in ("before", "after")),
    *(("spawn", when, 2) for when in ("before", "after")),
    *((step, when, 1) for step in ("signal", "drop") for when in ("before", "after")),
]


def name_of(step: tuple[str, str, int]) -> str:
    """`before-commit-2`"""
    return f"{step[1]}-{step[0]}-{step[2]}"


class DoomedDaemon(Daemon):
    """A daemon whose first process kills itself at a step."""

    _ended = False

    def start_doomed(self, step: tuple[str, str, int]) -> subprocess.Popen[bytes]:
        """Start it; the caller waits for its end."""
        argv = [sys.executable, str(CRASHING), *map(str, step), "--autostarted"]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            argv,
            env={**self.environment, "PYTHONPATH": str(CRASHING.parents[2])},
            cwd="/",
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
        )

    def ask(self, call: Callable[[httpx.Client], httpx.Response]) -> dict[str, Any]:
        """Ask until there is an answer, through the death of the daemon."""
        answer: dict[str, Any] = self.answer(call).json()
        return answer

    def answer(self, call: Callable[[httpx.Client], httpx.Response]) -> httpx.Response:
        """The same, for an answer that is not JSON."""
        while True:
            self.wait_answering()
            with suppress(httpx.TransportError), self.client() as client:
                answer = call(client)
                assert answer.status_code < 300, answer.text
                return answer

    def end(self) -> None:
        """End all that is left, once."""
        if not self._ended:
            self._ended = True
            super().end()


@pytest.fixture
def doomed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoomedDaemon]:
    folder = tmp_path_factory.mktemp("d")
    daemon = DoomedDaemon(folder, tcp=None, environment={})
    yield daemon
    daemon.end()


def wait(session: str, *conditions: str) -> Callable[[httpx.Client], httpx.Response]:
    body = {"for": list(conditions), "timeout": 50}
    return lambda client: client.post(f"/v1/sessions/{session}/wait", json=body, timeout=60)


def start(session: str, script: str) -> Callable[[httpx.Client], httpx.Response]:
    body = {"id": session, "command": ["sh", "-c", script]}
    return lambda client: client.post("/v1/sessions", json=body)


@pytest.mark.parametrize("step", START, ids=name_of)
def test_a_short_command_runs_once_with_its_true_end(
    doomed: DoomedDaemon, tmp_path: Path, step: tuple[str, str, int]
) -> None:
    witness = tmp_path / "witness"
    process = doomed.start_doomed(step)
    script = f"echo started >> {witness}; echo out; echo err >&2; exit 7"
    doomed.ask(start("s", script))
    session = doomed.ask(wait("s", "ended"))["session"]
    assert (session["outcome"], session["exit_code"]) == ("exited", 7)
    assert session["output"]["complete"], session
    assert witness.read_text() == "started\n"
    output = doomed.answer(lambda client: client.get("/v1/sessions/s/output"))
    assert sorted(output.text.split()) == ["err", "out"]
    doomed.ask(start("s", script))
    assert witness.read_text() == "started\n"
    end_of(process, doomed)


@pytest.mark.parametrize("verb", ["stop", "kill"])
@pytest.mark.parametrize("step", STOP, ids=name_of)
def test_an_accepted_stop_is_carried_out(
    doomed: DoomedDaemon, verb: str, step: tuple[str, str, int]
) -> None:
    if verb == "kill" and step[0] == "signal":
        step = ("commit", step[1], 2)
    process = doomed.start_doomed(step)
    doomed.ask(start("s", "echo up; exec sleep 1000"))
    doomed.ask(lambda client: client.post("/v1/sessions/s/wait", json={"for": [{"log": "up"}]}))
    command = {"command_id": "c1", "reason": "test"}
    receipt = doomed.ask(
        lambda client: client.post(f"/v1/sessions/s/{verb}", json=command, timeout=60)
    )
    assert receipt["state"] == "done"
    assert receipt["effect"]["tree_gone"]
    session = doomed.ask(lambda client: client.get("/v1/sessions/s"))
    expected = {"stop": ("SIGTERM", 143), "kill": ("SIGKILL", 137)}[verb]
    assert (session["signal"], session["exit_code"]) == expected
    assert session["outcome"] == "killed"
    assert session["outcome_detail"]["command_id"] == "c1"
    assert session["desired"] == "stopped"
    end_of(process, doomed)


@pytest.mark.parametrize("step", RESTART, ids=name_of)
def test_an_accepted_restart_starts_one_next_generation(
    doomed: DoomedDaemon, tmp_path: Path, step: tuple[str, str, int]
) -> None:
    witness = tmp_path / "witness"
    process = doomed.start_doomed(step)
    doomed.ask(start("s", f"echo started >> {witness}; echo up; exec sleep 1000"))
    doomed.ask(lambda client: client.post("/v1/sessions/s/wait", json={"for": [{"log": "up"}]}))
    receipt = doomed.ask(
        lambda client: client.post("/v1/sessions/s/restart", json={"command_id": "r1"}, timeout=60)
    )
    assert receipt["state"] == "done"
    assert receipt["effect"]["generation"] == 2
    waited = {"for": [{"log": "up"}], "generation": 2}
    doomed.ask(lambda client: client.post("/v1/sessions/s/wait", json=waited))
    session = doomed.ask(lambda client: client.get("/v1/sessions/s"))
    assert (session["state"], session["generation"]) == ("running", 2)
    assert witness.read_text() == "started\nstarted\n"
    output = doomed.answer(lambda client: client.get("/v1/sessions/s/output"))
    assert output.text == "up\nup\n"
    end_of(process, doomed)


def end_of(process: subprocess.Popen[bytes], daemon: DoomedDaemon) -> None:
    """A step that this life does not reach leaves the first daemon serving: end it as well."""
    try:
        process.wait(UNREACHED_S)
    except subprocess.TimeoutExpired:
        daemon.end()
    assert process.wait(30) in (0, -9)
