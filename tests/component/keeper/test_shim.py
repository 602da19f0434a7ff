"""A shim by itself, with the test in the place of its keeper."""

from __future__ import annotations

import os
import signal
import socket

from supervisor.keeper import shim, wire
from tests.component.keeper.post import ENV, process_ended, read_to_end


async def test_a_leader_whose_keeper_died_before_it_was_told_is_killed() -> None:
    report, report_theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control, control_theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    alive, alive_theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    pid = os.fork()
    if not pid:
        shim.run(report_theirs)
    os.kill(pid, signal.SIGSTOP)
    script = "exec sleep 40"
    plan = {"argv": ["sh", "-c", script], "env": ENV, "cwd": "/", "tty": False, "user": None}
    stdio = [alive_theirs] * 3
    wire.send(report, {"plan": {**plan, "soft_nofile": 100}}, [*stdio, control_theirs.fileno()])
    os.close(alive_theirs)
    for end in (report, report_theirs, control, control_theirs):
        end.close()
    os.kill(pid, signal.SIGCONT)
    try:
        await process_ended(pid)
        await read_to_end(alive)
    finally:
        os.close(alive)
        os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - does not block
