"""A full disk under a flood: nothing lost, no busy loop, others served, and on when there is room.

The state directory is a small tmpfs in a mount namespace of the daemon's own; from here it is
reached through /proc/PID/root.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.system.asking import ended, get, output, start, wait
from tests.system.conftest import NewDaemon
from tests.system.daemon import Daemon
from tests.system.flood import LINE_BYTES
from tests.system.processes import cpu_s, until

DISK = 64 << 20
RESERVE = 8 << 20
BALLAST = 40 << 20
LINES = 2_000_000
STALL_S = 3.0
FLOOD = f"""
import sys
for first in range(0, {LINES}, 1000):
    sys.stdout.write("".join("o%013d\\n" % n for n in range(first, first + 1000)))
"""
MOUNT = f'mount -t tmpfs -o size={DISK},mode=700 tmpfs "$0" && exec "$@"'


@pytest.fixture
def small(
    new_daemon: NewDaemon, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Daemon:
    """A daemon whose state directory holds 64 MiB."""
    if os.geteuid() != 0 and "CI" not in os.environ:
        pytest.skip("mounting a tmpfs needs root")
    state_dir = tmp_path / "s"
    state_dir.mkdir()
    runtime = mkdtemp(prefix="h", dir=tmp_path_factory.getbasetemp())  # short, for a socket
    return new_daemon(
        state_dir,
        environment={
            "HOLDFAST_RUNTIME_DIR": runtime,
            "HOLDFAST_OUTPUT_RESERVE_BYTES": str(RESERVE),
            "HOLDFAST_OUTPUT_NODE_BYTES": str(1 << 30),
        },
        launcher=["unshare", "-m", "sh", "-c", MOUNT, str(state_dir)],
    )


def test_on_a_full_disk_nothing_is_lost_and_others_go_on(small: Daemon) -> None:
    ballast = Path(f"/proc/{small.pid}/root{small.state_dir}/ballast")
    ballast.write_bytes(b"x" * BALLAST)
    with small.client() as client:
        argv = [sys.executable, "-I", "-S", "-c", FLOOD]
        start(client, *argv, id="flood", output={"capacity": 1 << 30})
        until(lambda: get(client, "flood")["output"]["stalled"] == "disk", "the disk is full")
        assert_idle(small)
        for number in range(20):
            session = start(client, "sh", "-c", "exit 5", id=f"other-{number}")
            assert ended(client, session["id"])["exit_code"] == 5
        start(client, "sleep", "1000", id="stopped")
        receipt = client.post("/v1/sessions/stopped/stop", json={}).json()
        assert receipt["effect"]["tree_gone"] is True
        stalled = get(client, "flood")
        assert (stalled["state"], stalled["output"]["stalled"]) == ("running", "disk")
        assert stalled["output"]["oldest"] == 0
        assert stalled["output"]["next"] < LINES * LINE_BYTES
        ballast.unlink()
        over = ended(client, "flood")
        assert (over["outcome"], over["exit_code"]) == ("exited", 0)
        assert (over["output"]["stalled"], over["output"]["complete"]) == (None, True)
        assert output(client, "flood") == b"".join(b"o%013d\n" % n for n in range(LINES))
        types = [event["type"] for event in client.get("/v1/events?session=flood").json()["items"]]
        assert types.index("session.output_stalled") < types.index("session.output_resumed")


def assert_idle(daemon: Daemon) -> None:
    """While it waits for room, the daemon hardly uses the processor."""
    with daemon.client() as client:
        used, began = cpu_s(daemon.pid), time.monotonic()
        wait(client, "flood", {"idle": STALL_S})
        elapsed, used = time.monotonic() - began, cpu_s(daemon.pid) - used
    assert used < elapsed / 5


def test_a_daemon_killed_on_a_full_disk_loses_nothing(small: Daemon) -> None:
    ballast = Path("root", *small.state_dir.parts[1:], "ballast")
    (Path(f"/proc/{small.pid}") / ballast).write_bytes(b"x" * BALLAST)
    with small.client() as client:
        argv = [sys.executable, "-I", "-S", "-c", FLOOD]
        start(client, *argv, id="flood", output={"capacity": 1 << 30})
        until(lambda: get(client, "flood")["output"]["stalled"] == "disk", "the disk is full")
    small.kill9()
    small.wait_answering()
    with small.client() as client:
        until(lambda: get(client, "flood")["output"]["stalled"] == "disk", "the disk is full")
        (Path(f"/proc/{small.pid}") / ballast).unlink()
        assert ended(client, "flood")["exit_code"] == 0
        assert output(client, "flood") == b"".join(b"o%013d\n" % n for n in range(LINES))
