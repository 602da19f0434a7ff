"""`hold` on a real terminal: keys, screens, and the terminal given back on every way out."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.system.daemon import Daemon
from tests.system.hold_command import Hold

DETACH = b"\x1dd"
TUI = """
import os, signal, sys
def draw(*_):
    size = os.get_terminal_size()
    sys.stdout.write(f"\\x1b[2J\\x1b[Hsize {size.lines}x{size.columns}\\r\\n")
    sys.stdout.flush()
signal.signal(signal.SIGWINCH, draw)
sys.stdout.write("\\x1b[?1049h\\x1b[?25l\\x1b[?1000h\\x1b[?2004h")
draw()
while True:
    signal.pause()
"""


@pytest.fixture
def hold(daemon: Daemon, tmp_path: Path) -> Hold:
    return Hold(daemon.environment, tmp_path)


def test_run_on_a_terminal_is_that_terminal(hold: Hold) -> None:
    script = "stty size; test -t 0 && echo yes; exit 3"
    with hold.on_terminal("run", "-t", "--", "sh", "-c", script, rows=30, cols=100) as terminal:
        assert terminal.wait() == 3
        assert terminal.shown.splitlines() == ["30 100", "yes"]
        assert terminal.is_as_before


def test_exec_is_a_shell_on_a_terminal_by_default(hold: Hold) -> None:
    with hold.on_terminal("exec", "--", "sh", "-c", "echo ready; cat") as terminal:
        terminal.until("ready")
        terminal.type(b"typed\r")
        terminal.until("typed\ntyped")
        terminal.type(b"\r~.")
        assert terminal.wait() == 75
        assert "the session goes on" in terminal.shown
        assert terminal.is_as_before


def test_ctrl_c_and_ctrl_z_are_the_childs(hold: Hold) -> None:
    script = "trap 'echo caught' INT; stty -echo; echo ready; while :; do read line || :; done"
    with hold.on_terminal("run", "-t", "--", "bash", "-c", script) as terminal:
        terminal.until("ready")
        terminal.type(b"\x03")
        terminal.until("caught")
        terminal.type(DETACH)
        assert terminal.wait() == 75


def test_a_session_is_left_and_come_back_to(hold: Hold, daemon: Daemon) -> None:
    session = hold.start("-t", "--", "sh", "-c", "echo first; cat")
    with hold.on_terminal("attach", session) as terminal:
        terminal.until("first")
        terminal.type(b"second\r" + DETACH)
        assert terminal.wait() == 0
        assert terminal.is_as_before
    daemon.kill9()
    with hold.on_terminal("attach", session) as terminal:
        terminal.until("second\nsecond")
        terminal.type(b"\x04")
        assert terminal.wait() == 0


def test_help_is_shown_and_typing_goes_on(hold: Hold) -> None:
    with hold.on_terminal("run", "-t", "--", "cat") as terminal:
        terminal.until_raw()
        terminal.type(b"\x1d?")
        terminal.until("ctrl-] d")
        terminal.type(b"typed\r")
        terminal.until("typed\ntyped")
        terminal.type(b"\x04")
        assert terminal.wait() == 0


def test_attach_makes_a_full_screen_program_redraw(hold: Hold) -> None:
    session = hold.start("-t", "--size", "24x80", "--", sys.executable, "-c", TUI)
    hold.out("wait", session, "--for", "log:size 24x80")
    with hold.on_terminal("attach", session) as terminal:
        terminal.until_true(
            lambda: terminal.raw_output.count(b"size 24x80") > 1, "a drawing after the replay"
        )
        terminal.type(DETACH)
        assert terminal.wait() == 0
        ending = terminal.raw_output[terminal.raw_output.rfind(b"size") :]
        for undone in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l", b"\x1b[?2004l"):
            assert undone in ending
        assert terminal.is_as_before


def test_attach_without_redraw_only_replays(hold: Hold) -> None:
    session = hold.start("-t", "--size", "24x80", "--", sys.executable, "-c", TUI)
    hold.out("wait", session, "--for", "log:size 24x80")
    with hold.on_terminal("attach", session, "--no-redraw") as terminal:
        terminal.until("size 24x80")
        terminal.resize(30, 90)
        terminal.until_output(b"size 30x90")
        terminal.type(DETACH)
        assert terminal.wait() == 0
        assert b"size 23x80" not in terminal.raw_output


def test_a_replay_asks_the_terminal_nothing(hold: Hold) -> None:
    script = r"printf 'a\033[6n\033[c\033]11;?\007b\n'; cat"
    session = hold.start("-t", "--", "sh", "-c", script)
    hold.out("wait", session, "--for", "log:b")
    with hold.on_terminal("attach", session, "--no-redraw") as terminal:
        terminal.until("ab")
        terminal.type(DETACH)
        assert terminal.wait() == 0
        assert b"\x1b[6n" not in terminal.raw_output
        assert b"11;?" not in terminal.raw_output


def test_what_is_asked_live_is_passed_on(hold: Hold) -> None:
    with hold.on_terminal("run", "-t", "--", "sh", "-c", r"read x; printf '\033[6n'; cat") as it:
        it.until_raw()
        it.type(b"go\r")
        it.until_output(b"\x1b[6n")
        it.type(DETACH)
        assert it.wait() == 75


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT], ids=str
)
def test_a_signal_ends_attach_and_gives_the_terminal_back(
    hold: Hold, number: signal.Signals
) -> None:
    session = hold.start("-t", "--", "sh", "-c", r"printf '\033[?1049hready'; cat")
    with hold.on_terminal("attach", session) as terminal:
        terminal.until("ready")
        terminal.signal(number)
        assert terminal.wait() == -number
        assert terminal.is_as_before
        assert b"\x1b[?1049l" in terminal.raw_output
        assert b"the session goes on" in terminal.raw_output
    assert hold.json("inspect", session)["state"] == "running"


def test_a_stopped_attach_gives_the_terminal_back_until_it_goes_on(hold: Hold) -> None:
    session = hold.start("-t", "--", "sh", "-c", "echo ready; cat")
    with hold.on_terminal("attach", session) as terminal:
        terminal.until("ready")
        terminal.until_raw()
        terminal.signal(signal.SIGTSTP)
        os.waitid(os.P_PID, terminal.pid, os.WSTOPPED | os.WNOWAIT)
        assert terminal.is_as_before
        terminal.signal(signal.SIGCONT)
        terminal.until_raw()
        terminal.type(b"typed\r")
        terminal.until("typed\ntyped")
        terminal.type(DETACH)
        assert terminal.wait() == 0


def test_a_daemon_that_ends_for_good_gives_the_terminal_back(hold: Hold) -> None:
    session = hold.start("-t", "--", "sh", "-c", "echo ready; cat")
    with hold.on_terminal("attach", session) as terminal:
        terminal.until("ready")
        hold.out("kill", session)
        assert terminal.wait() == 137
        assert terminal.is_as_before


def test_the_daemon_is_killed_and_typing_goes_on(hold: Hold, daemon: Daemon) -> None:
    with hold.on_terminal("run", "-t", "--", "sh", "-c", "echo ready; cat") as terminal:
        terminal.until("ready")
        daemon.kill9()
        terminal.type(b"while dead\r")
        terminal.until("while dead\nwhile dead")
        terminal.type(b"\x04")
        assert terminal.wait() == 0
        assert terminal.is_as_before
    daemon.wait_answering()


def test_a_second_person_watches_until_taking_over(hold: Hold) -> None:
    session = hold.start("-t", "--", "sh", "-c", "echo ready; cat")
    with hold.on_terminal("attach", session) as first:
        first.until("ready")
        with hold.on_terminal("attach", session) as second:
            second.until("you are watching")
            second.type(b"ignored\r" + DETACH)
            assert second.wait() == 0
        with hold.on_terminal("attach", session, "--takeover") as third:
            third.until("ready")
            first.until("you are the observer now")
            third.type(b"taken\r")
            first.until("taken\ntaken")
            third.type(DETACH)
            assert third.wait() == 0
        assert "ignored" not in first.shown
        first.type(DETACH)
        assert first.wait() == 0


def test_a_read_only_attach_types_nothing(hold: Hold) -> None:
    session = hold.start("-t", "--", "sh", "-c", "echo ready; cat")
    with hold.on_terminal("attach", "-r", session) as terminal:
        terminal.until("ready")
        terminal.type(b"nothing\r" + DETACH)
        assert terminal.wait() == 0
    assert "nothing" not in hold.out("logs", session)


def test_start_on_a_terminal_names_the_next_commands(hold: Hold) -> None:
    with hold.on_terminal("start", "--name", "web", "--", "sleep", "60") as terminal:
        assert terminal.wait() == 0
        for command in ("hold attach web", "hold logs -f web", "hold stop web"):
            assert command in terminal.shown


def test_attach_without_a_name_takes_the_only_session(hold: Hold) -> None:
    hold.start("-t", "--", "sh", "-c", "echo the only one; cat")
    with hold.on_terminal("attach") as terminal:
        terminal.until("the only one")
        terminal.type(DETACH)
        assert terminal.wait() == 0
