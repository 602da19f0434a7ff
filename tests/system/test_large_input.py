"""Input of any size: what a slow child has not taken waits at the sender, not in the daemon."""

from __future__ import annotations

from pathlib import Path

from tests.system.asking import ended, printed, start
from tests.system.daemon import Daemon

PIECE = bytes(range(256)) * 4096
PIECES = 300
HELD_KIB = 48 * 1024


def test_300_mib_for_a_child_leave_the_daemon_as_small_as_it_was(daemon: Daemon) -> None:
    Path(f"/proc/{daemon.pid}/clear_refs").write_text("5")  # proc(5): resets the peak
    before = peak_kib(daemon.pid)
    with daemon.client() as client:
        start(client, "sh", "-c", "cksum; echo over", id="up", stdin="pipe")
        pieces = (PIECE for _ in range(PIECES))
        answer = client.post("/v1/sessions/up/input?offset=0&close=true", content=pieces)
        assert answer.json() == {"next": PIECES * len(PIECE)}
        printed(client, "up", f" {PIECES * len(PIECE)}$")
        assert ended(client, "up")["exit_code"] == 0
    assert peak_kib(daemon.pid) - before < HELD_KIB


def peak_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
