"""Restart policies and timeouts as users meet them: HTTP, `hold`, SDK, and a killed daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast.sync
from holdfast.wire import RestartOptions
from tests.system.daemon import Daemon
from tests.system.hold_command import PATIENCE_S, Hold

QUICK = {"policy": "on_failure", "initial": 0.02, "max": 0.02, "intensity": 1000}


@pytest.fixture
def hold(daemon: Daemon, tmp_path: Path) -> Hold:
    return Hold(daemon.environment, tmp_path)


def until_tries(witness: Path, count: int) -> list[str]:
    """A program that notes that it was started, and succeeds at the `count`-th time."""
    script = f"echo x >> {witness}; echo try; test $(wc -l < {witness}) -ge {count}"
    return ["sh", "-c", script]


def test_each_child_is_started_once_through_sigkills_of_the_daemon(
    daemon: Daemon, tmp_path: Path
) -> None:
    witness = tmp_path / "witness"
    with daemon.client() as client:
        body = {"id": "s", "command": until_tries(witness, 30), "restart": QUICK}
        assert client.post("/v1/sessions", json=body).status_code == 201
    for _ in range(2):
        daemon.kill9()
        daemon.wait_answering()
    with daemon.client() as client:
        client.post("/v1/sessions/s/wait", json={"for": ["ended"], "timeout": 30})
        session = client.get("/v1/sessions/s").json()
        assert (session["exit_code"], session["outcome"]) == (0, "exited")
        assert (session["generation"], session["restarts"]) == (30, 29)
        assert session["output"]["next"] == 30 * len("try\n")
    assert witness.read_text() == "x\n" * 30


def test_what_waits_for_its_next_child_is_shown_and_can_be_stopped(hold: Hold) -> None:
    restart = "always,initial=600,max=600"
    session = hold.start("--name", "web", "--restart", restart, "--", "sh", "-c", "exit 3")
    assert hold("wait", session, "--for", "exit").returncode == 3
    shown = hold.json("inspect", "web")
    assert (shown["state"], shown["restart_policy"]) == ("backoff", "always")
    assert shown["next_start_at"] is not None
    assert shown["message"] == "exited with status 3; it is started again"
    assert [one["state"] for one in hold.json("ls")] == ["backoff"]
    hold.out("stop", "--all")
    shown = hold.json("inspect", "web")
    assert (shown["state"], shown["desired"], shown["exit_code"]) == ("exited", "stopped", 3)


def test_run_stays_with_a_command_over_its_restarts(hold: Hold, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    command = until_tries(witness, 3)
    done = hold("run", "--restart", "on-failure,initial=0.02", "--", *command)
    assert (done.returncode, done.stdout) == (0, b"try\n" * 3)
    assert b"restarted, generation 3" in done.stderr
    session = hold.json("ls", "-a")[0]["id"]
    assert hold.out("logs", session, "--previous") == "try"
    assert hold("logs", session, "--previous", "-f").returncode == 64


@pytest.mark.parametrize(
    "restart", ["sometimes", "always,retries=3", "always,initial=soon", "always,initial"]
)
def test_a_restart_policy_that_is_none_is_refused_in_words(hold: Hold, restart: str) -> None:
    done = hold("start", "--restart", restart, "--", "true")
    assert done.returncode == 64
    assert b"--restart" in done.stderr


def test_timeouts_are_set_changed_and_taken_away_while_it_runs(hold: Hold) -> None:
    session = hold.start("--idle-timeout", "600", "--", "sleep", "1000")
    assert hold.json("inspect", session)["timeouts"] == {
        "run": None, "idle": 600.0, "disconnect": None,
    }  # fmt: skip
    hold.out("timeout", session, "--idle", "none", "--disconnect", "900")
    shown = hold.json("inspect", session)["timeouts"]
    assert shown == {"run": None, "idle": None, "disconnect": 900.0}
    hold.out("timeout", session, "--run", "0.01")
    assert hold("wait", session).returncode == 124
    shown = hold.json("inspect", session)
    assert (shown["outcome"], shown["outcome_detail"]) == ("timed_out", {"which": "run"})
    assert hold("timeout", session).returncode == 64
    assert hold("timeout", session, "--run", "never").returncode == 64


def test_run_leaves_its_command_running_after_a_while(hold: Hold) -> None:
    script = "echo up; read line; echo $line"
    with hold.running("run", "--yield", "0.5", "--name", "y", "--", "sh", "-c", script) as child:
        assert child.wait(PATIENCE_S) == 75
        assert child.stderr is not None
        told = child.stderr.read()
    shown = hold.json("inspect", "y")
    assert (shown["state"], shown["output"]["on_full"]) == ("running", "drop")
    assert f"still running as {shown['id']}".encode() in told
    hold.out("send", "y", "--line", "on")
    assert hold("wait", "y").returncode == 0
    assert hold.out("logs", "y") == "up\non"


def test_exec_leaves_its_command_running_when_it_takes_too_long(daemon: Daemon) -> None:
    body = {
        "id": "e", "command": ["sh", "-c", "cat; exec sleep 1000"],
        "input": "given", "timeout": 0.3, "on_timeout": "detach",
    }  # fmt: skip
    with daemon.client() as client:
        result = client.post("/v1/machines/local/exec", json=body).json()
        assert (result["state"], result["exit_code"], result["outcome"]) == ("running", None, None)
        assert (result["stdout"], result["next_offset"]) == ("given", 5)
        session = client.get("/v1/sessions/e").json()
        assert session["output"]["on_full"] == "drop"
    daemon.kill9()
    daemon.wait_answering()
    with daemon.client() as client:
        assert client.get("/v1/sessions/e").json()["state"] == "running"
        client.post("/v1/sessions/e/kill", json={})
        again = client.post("/v1/machines/local/exec", json=body).json()
        assert (again["state"], again["exit_code"], again["stdout"]) == ("exited", 137, "given")


def test_the_sdk_takes_policies_and_timeouts(daemon: Daemon, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    with holdfast.sync.connect(f"unix://{daemon.socket}") as hf:
        options = RestartOptions(policy="on_failure", initial=0.02)
        session = hf.start(until_tries(witness, 2), restart=options)
        assert session.wait() == 0
        assert hf.get(session.id).generation == 2
        short = hf.start(["sleep", "1000"], idle_timeout=0.05, restart="always")
        short.wait()
        assert short.outcome == "timed_out"
        assert hf.get(short.id).outcome_detail == {"which": "idle"}
        rests = RestartOptions(policy="always", initial=600.0, max=600.0)
        waiting = hf.start(["false"], restart=rests)
        with daemon.client() as client:
            client.post(f"/v1/sessions/{waiting.id}/wait", json={"for": ["exit"]})
        assert hf.get(waiting.id).state == "backoff"
        hf.stop_all()
        assert hf.get(waiting.id).state == "exited"
