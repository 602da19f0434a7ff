"""`hold` in scripts: bytes, exit codes, and every command against a real daemon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.system.conftest import NewDaemon
from tests.system.daemon import Daemon
from tests.system.hold_command import HOLD, Hold


@pytest.fixture(scope="module")
def shared() -> Iterator[Daemon]:
    """One daemon for all tests that do not kill it; they end its sessions.

    Its folder lies outside the tests' own, where each test would be blamed for the child that the
    keeper holds ready for the next session.
    """
    with TemporaryDirectory(prefix="hold-") as folder:
        daemon = Daemon(Path(folder), tcp=None, environment={})
        daemon.start()
        yield daemon
        daemon.end()


@pytest.fixture
def hold(shared: Daemon, tmp_path: Path) -> Iterator[Hold]:
    hold = Hold(shared.environment, tmp_path)
    yield hold
    ending = Hold(shared.environment)
    assert ending("kill", "--all").returncode == 0
    assert ending("rm", "--all").returncode == 0


@pytest.fixture
def mortal(daemon: Daemon, tmp_path: Path) -> Hold:
    """`hold` with a daemon of the test's own, to be killed."""
    return Hold(daemon.environment, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["run", "--", "true"], 0),
        (["run", "--", "sh", "-c", "exit 7"], 7),
        (["run", "--", "sh", "-c", "kill -TERM $$"], 143),
        (["run", "--", "sh", "-c", "kill -KILL $$"], 137),
        (["run", "--", "/no/such/program"], 127),
        (["run", "--", "/etc/hostname"], 126),
        (["run", "-w", "/no/such/folder", "--", "true"], 125),
        (["run", "-u", "no-such-user", "--", "true"], 125),
        (["run", "--timeout", "0.2", "--", "sleep", "60"], 124),
        (["exec", "--", "sh", "-c", "exit 7"], 7),
        (["exec", "no-such-session", "--", "true"], 66),
        (["start", "--", "/no/such/program"], 127),
        (["inspect", "no-such-session"], 66),
        (["signal", "no-such-session"], 66),
        (["stop", "no-such-session"], 66),
        (["ls", "--filter", "no=such"], 64),
        (["nonsense"], 64),
        (["-H", "http://127.0.0.1:1", "ls"], 69),
        (["-H", "unix:///no/such/socket", "ls"], 69),
    ],
)
def test_exit_codes(hold: Hold, arguments: list[str], exit_code: int) -> None:
    done = hold(*arguments)
    assert done.returncode == exit_code, done
    if exit_code in {64, 66, 69, 125, 126, 127}:
        assert done.stderr.startswith(b"hold: ")
        assert done.stderr.count(b"\n") == 1


def test_run_passes_bytes_of_all_three_streams_unchanged(hold: Hold) -> None:
    content = os.urandom(3_000_000)
    done = hold("run", "--", "sh", "-c", "tee /dev/stderr", stdin=content)
    assert (done.returncode, done.stdout, done.stderr) == (0, content, content)


def test_exec_loses_no_byte_of_two_large_streams(hold: Hold) -> None:
    script = "head -c 20000000 /dev/zero & head -c 20000000 /dev/zero >&2; wait"
    done = hold("exec", "--", "sh", "-c", script)
    assert (done.returncode, len(done.stdout), len(done.stderr)) == (0, 20_000_000, 20_000_000)


def test_run_has_the_callers_environment_and_directory(hold: Hold, tmp_path: Path) -> None:
    hold.environment = {**hold.environment, "ONLY_HERE": "yes"}
    assert hold.out("run", "--", "sh", "-c", "echo $ONLY_HERE $PWD") == f"yes {tmp_path}"
    assert hold.out("run", "--clean-env", "--", "sh", "-c", "echo $ONLY_HERE") == ""
    assert hold.out("run", "-e", "ONLY_HERE=no", "--", "sh", "-c", "echo $ONLY_HERE") == "no"


def test_a_pipeline_can_go_through_run(hold: Hold) -> None:
    pipeline = 'printf "a\\nb\\n" | "$0" run -- cat | "$0" run -- tr a-z A-Z'
    done = subprocess.run(
        ["sh", "-c", pipeline, HOLD], env=hold.environment, capture_output=True,
        check=True,
    )  # fmt: skip
    assert done.stdout == b"A\nB\n"


def test_a_reader_that_went_away_ends_run_and_its_command_in_silence(hold: Hold) -> None:
    with hold.running("run", "--name", "endless", "--", "yes") as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.read(10)
        child.stdout.close()
        assert child.wait() == 141
        assert child.stderr.read() == b""
    hold("wait", "endless")
    assert hold.json("inspect", "endless")["state"] == "exited"


def test_a_reader_of_logs_that_went_away_is_no_error(hold: Hold) -> None:
    session = hold.start("--", "sh", "-c", "yes | head -n 300000")
    assert hold("wait", session).returncode == 0
    with hold.running("logs", session) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.read(10)
        child.stdout.close()
        assert child.wait() == 141
        assert child.stderr.read() == b""


def test_ctrl_c_is_an_interrupt_to_the_command(hold: Hold) -> None:
    script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 60 & wait; done"
    with hold.running("run", "--", "bash", "-c", script) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == b"caught\n"
        assert child.wait() == 9


def test_a_second_ctrl_c_stops_a_command_that_ignores_them(hold: Hold) -> None:
    script = "trap 'echo ignored' INT; echo ready; while :; do sleep 60 & wait; done"
    with hold.running("run", "--", "bash", "-c", script) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == b"ignored\n"
        child.send_signal(signal.SIGINT)
        assert child.wait() == 128 + signal.SIGTERM


def test_a_killed_run_leaves_its_session_running(hold: Hold) -> None:
    with hold.running("run", "--name", "kept", "--", "sh", "-c", "echo ready; cat") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.kill()
        child.wait()
    assert hold.json("inspect", "kept")["state"] == "running"
    hold.out("send", "kept", "hello", "--line", "--eof")
    assert hold("wait", "kept").returncode == 0
    assert hold.out("logs", "kept") == "ready\nhello"


def test_attach_without_a_terminal_leaves_by_ctrl_c_and_says_so(hold: Hold) -> None:
    session = hold.start("--", "sh", "-c", "echo one; echo two >&2; cat")
    with hold.running("attach", session) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == b"one\n"
        assert child.stderr.readline() == b"two\n"
        child.send_signal(signal.SIGINT)
        assert child.wait() == 130
        assert b"the session goes on" in child.stderr.read()
    assert hold.json("inspect", session)["state"] == "running"


def test_attach_ends_with_the_session_and_its_exit_code(hold: Hold) -> None:
    session = hold.start("--", "sh", "-c", "read line; echo $line; exit 5")
    with hold.running("attach", session) as child:
        out, _ = child.communicate(b"typed\n")
        assert (out, child.returncode) == (b"typed\n", 5)


def test_attach_replays_the_last_lines(hold: Hold) -> None:
    session = hold.start("--", "seq", "1000")
    hold("wait", session)
    assert hold.out("attach", session).split() == [str(n) for n in range(801, 1001)]
    assert hold.out("attach", session, "--tail", "2") == "999\n1000"
    assert hold.out("attach", session, "--tail", "0") == ""


def test_run_goes_on_through_a_sigkill_of_the_daemon(mortal: Hold, daemon: Daemon) -> None:
    with mortal.running("run", "--", "cat") as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"before\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"before\n"
        daemon.kill9()
        child.stdin.write(b"after\n")
        child.stdin.close()
        assert child.stdout.read() == b"after\n"
        assert child.wait() == 0
    daemon.wait_answering()


def test_logs_keep_streams_apart_and_follow_to_the_end(mortal: Hold, daemon: Daemon) -> None:
    session = mortal.start("--", "sh", "-c", "echo out; echo err >&2; read x; echo last")
    with mortal.running("logs", "-f", session) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == b"out\n"
        assert child.stderr.readline() == b"err\n"
        daemon.kill9()
        daemon.wait_answering()
        mortal.out("send", session, "--eof")
        assert child.stdout.read() == b"last\n"
        assert child.wait() == 0
    assert mortal.out("logs", session, "--stream", "stdout") == "out\nlast"
    assert mortal.out("logs", session, "-n", "1") == "last"
    assert mortal("logs", session, "--stream", "stderr").stderr == b"err\n"


def test_send_takes_text_lines_and_stdin(hold: Hold) -> None:
    session = hold.start("--", "cat")
    hold.out("send", session, "a")
    hold.out("send", session, "b", "--line")
    hold.out("send", session, stdin=b"\x00\xff" * 300_000)
    hold.out("send", session, "--eof")
    assert hold("wait", session).returncode == 0
    assert hold("logs", session).stdout == b"ab\n" + b"\x00\xff" * 300_000


def test_start_ready_waits_for_it(hold: Hold) -> None:
    session = hold.start("--ready", "log:^up$", "--", "sh", "-c", "echo up; exec sleep 1000")
    assert hold.json("inspect", session)["ready"] is True
    assert hold("wait", session, "--for", "ready").returncode == 0


def test_start_ready_shows_the_last_lines_of_what_ended_first(hold: Hold) -> None:
    script = "seq 1 100; printf 'no port left \\033]0;x\\007' >&2; exit 5"
    done = hold("start", "--ready", "port:any", "--", "sh", "-c", script)
    assert done.returncode == 3
    said = done.stderr.decode().splitlines()
    assert "\x1b" not in done.stderr.decode()
    assert "no port left" in done.stderr.decode()
    assert "99" in said
    assert "1" not in said
    assert "ended first" in said[-1]
    assert hold("wait", done.stdout.decode().strip(), "--for", "ready").returncode == 3


@pytest.mark.parametrize("condition", ["exit", "ready", "http:", "port:0", "log:"])
def test_what_makes_nothing_ready_is_refused(hold: Hold, condition: str) -> None:
    assert hold("start", "--ready", condition, "--", "true").returncode == 64


def test_a_url_of_another_host_is_refused_with_what_to_do(hold: Hold) -> None:
    session = hold.start("--", "sleep", "1000")
    refused = hold("wait", session, "--for", "http:http://10.0.0.1/")
    assert refused.returncode == 64
    assert b"wait.http_hosts" in refused.stderr


STEPPING = 'while read -r x; do eval "$x"; echo "$ "; done'
PROMPT = r"log:^\$ "


def test_send_waits_for_what_it_caused_and_prints_it(hold: Hold) -> None:
    session = hold.start("--", "sh", "-c", STEPPING)
    step = ("--wait", PROMPT, "--read")
    assert hold.out("send", session, "echo a", "--line", *step) == "a\n$ "
    assert hold.out("send", session, *step, stdin=b"echo b\n") == "b\n$ "
    told = hold.json("send", session, "echo c", "--line", *step)
    assert (told["wait"]["met"], told["read"]["text"]) == (0, "c\n$ \n")
    late = hold("send", session, "sleep 60", "--line", *step, "--timeout", "0.1")
    assert late.returncode == 124
    assert hold("send", session, "x", "--wait", "port:0").returncode == 64


def test_a_send_that_ends_the_session_first_says_so(hold: Hold) -> None:
    session = hold.start("--", "sh", "-c", STEPPING)
    done = hold("send", session, "echo bye; exit 4", "--line", "--wait", PROMPT, "--read")
    assert (done.returncode, done.stdout) == (3, b"bye\n")
    other = hold.start("--", "sh", "-c", STEPPING)
    done = hold("send", other, "exit 4", "--line", "--wait", "exit")
    assert done.returncode == 4


def test_ls_shows_escapes_and_filters(hold: Hold) -> None:
    first = hold.start("--name", "web", "--label", "team=a", "--", "sh", "-c", "cat # \x1b]0;x\x07")
    second = hold.start("--", "sh", "-c", "exit 3")
    hold("wait", second)
    table = hold.out("ls")
    assert "\x1b" not in table
    assert table.splitlines()[0].split() == [
        "NAME", "ID", "STATE", "UP/ENDED", "PORTS", "CPU", "MEM", "LAST-OUTPUT", "NODE", "COMMAND",
    ]  # fmt: skip
    assert "\\e]0;x\\x07" in table.splitlines()[1]
    assert "exited 3" in table.splitlines()[2]
    assert hold.out("ls", "-q").split() == [first, second]
    assert hold.out("ls", "-q", "--filter", "label=team=a") == first
    assert hold.out("ls", "-q", "--filter", "state=exited") == second
    assert [session["id"] for session in hold.json("ls", "-a")] == [first, second]


def test_parts_of_an_id_and_names_mean_the_session(hold: Hold) -> None:
    one = hold.start("--id", "aaaa-one-zzzz", "--", "cat")
    hold.start("--id", "aaaa-two-yyyy", "--name", "two", "--", "cat")
    assert hold.json("inspect", "zzzz")["id"] == one
    assert hold.json("inspect", "aaaa-o")["id"] == one
    assert hold.json("inspect", "two")["id"] == "aaaa-two-yyyy"
    ambiguous = hold("stop", "aaaa")
    assert ambiguous.returncode == 66
    assert b"aaaa-one-zzzz, aaaa-two-yyyy" in ambiguous.stderr
    assert hold("inspect", "zzz").returncode == 66


def test_the_same_id_starts_nothing_twice(hold: Hold) -> None:
    arguments = ("start", "--id", "once", "--", "sh", "-c", "echo started")
    assert hold.out(*arguments) == hold.out(*arguments) == "once"
    hold("wait", "once")
    assert hold.out("logs", "once") == "started"
    assert hold("start", "--id", "once", "--", "true").returncode == 125


def test_a_name_is_held_until_replaced(hold: Hold) -> None:
    first = hold.start("--name", "slot", "--", "cat")
    taken = hold("start", "--name", "slot", "--", "sleep", "60")
    assert taken.returncode == 125
    assert b"--replace" in taken.stderr
    second = hold.start("--name", "slot", "--replace", "--", "sleep", "60")
    assert hold.json("inspect", first)["state"] == "exited"
    assert hold.json("inspect", "slot")["id"] == second


def test_stop_kill_and_signal_reach_what_they_name(hold: Hold) -> None:
    for name in ("a", "b", "c"):
        hold.start("--name", name, "--label", f"group={name}", "--", "sleep", "60")
    assert hold.json("stop", "a")["effect"]["tree_gone"]
    assert hold("wait", "a").returncode == 143
    assert hold("stop", "-l", "group=b").returncode == 0
    assert hold("wait", "b").returncode == 143
    assert hold("signal", "c", "USR1").returncode == 0
    assert hold("wait", "c").returncode == 128 + signal.SIGUSR1
    assert hold("stop").returncode == 64
    hold.start("--name", "d", "--", "sh", "-c", "trap '' TERM; sleep 60 & wait; wait")
    assert hold("kill", "--all").returncode == 0
    assert hold("wait", "d").returncode == 137


def test_restart_is_the_next_generation_under_the_same_id(hold: Hold) -> None:
    hold.environment = {**hold.environment, "GREETING": "first"}
    session = hold.start("--", "sh", "-c", "echo $GREETING; exec sleep 60")
    hold.out("wait", session, "--for", "log:first")
    hold.environment = {**hold.environment, "GREETING": "second"}
    hold.out("restart", session, "--env-from-here")
    hold.out("wait", session, "--for", "log:second")
    assert hold.json("inspect", session)["generation"] == 2
    assert hold.out("logs", session) == "first\nsecond"


def test_rm_and_prune_forget(hold: Hold) -> None:
    live = hold.start("--", "sleep", "60")
    done = hold.start("--", "true")
    hold("wait", done)
    assert hold("rm", live).returncode == 1
    assert hold.out("rm", "-f", live) == live
    assert hold.out("prune") == done
    assert hold.out("ls", "-aq") == ""


@pytest.mark.parametrize(
    ("script", "conditions", "exit_code"),
    [
        ("exit 4", [], 4),
        ("echo ready; sleep 60", ["log:^ready$"], 0),
        ("exit 0", ["log:never"], 3),
        ("sleep 60", ["log:never"], 124),
        ("sleep 60", ["idle:0.1"], 0),
        ("exit 6", ["log:never", "exit"], 6),
    ],
)
def test_wait_ends_as_it_says(
    hold: Hold, script: str, conditions: list[str], exit_code: int
) -> None:
    session = hold.start("--", "sh", "-c", script)
    options = [word for condition in conditions for word in ("--for", condition)]
    limit = ["--timeout", "0.3"] if exit_code == 124 else []
    assert hold("wait", session, *options, *limit).returncode == exit_code


def test_start_can_wait_by_itself(hold: Hold) -> None:
    done = hold("start", "--wait", "log:ready", "--", "sh", "-c", "echo ready; sleep 60")
    assert done.returncode == 0
    assert hold("start", "--wait", "log:ready", "--", "true").returncode == 3


def test_exec_runs_beside_a_session(hold: Hold, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    hold.start("--name", "web", "-w", "here", "--", "sleep", "60")
    assert hold.out("exec", "web", "--", "pwd") == str(tmp_path / "here")
    assert hold.out("exec", "local", "--", "pwd") == str(tmp_path)
    assert hold.out("exec", "--cmd", "echo 'a  b'") == "a  b"
    assert hold.out("exec", "--shell", "auto", "--cmd", "echo a | tr a b") == "b"


def test_events_are_json_lines(hold: Hold) -> None:
    session = hold.start("--", "true")
    hold("wait", session)
    lines = hold.out("events", "--session", session, "--json").splitlines()
    types = [json.loads(line)["type"] for line in lines]
    assert types[0] == "session.created"
    assert "session.exited" in types
    assert session in hold.out("events")


def test_events_of_a_session_are_found_by_its_name_also_once_it_is_gone(hold: Hold) -> None:
    session = hold.start("--name", "told", "--", "true")
    hold("wait", session)
    by_name = hold.out("events", "--session", "told", "--json").splitlines()
    assert {json.loads(line)["session"] for line in by_name} == {session}
    hold.out("rm", session)
    assert "session.removed told" in hold.out("events", "--session", session)
    done = hold("events", "--session", "nobody")
    assert (done.returncode, done.stdout) == (66, b"")


def test_a_filter_with_a_typo_is_refused(hold: Hold) -> None:
    done = hold("ls", "--filter", "state=foo")
    assert (done.returncode, done.stdout) == (64, b"")
    assert b"running" in done.stderr


def test_events_can_be_followed_through_a_sigkill_of_the_daemon(
    mortal: Hold, daemon: Daemon
) -> None:
    mortal.start("--", "true")
    with mortal.running("events", "-f", "--json", "--type", "session.created") as child:
        assert child.stdout is not None
        assert json.loads(child.stdout.readline())["type"] == "session.created"
        daemon.kill9()
        daemon.wait_answering()
        session = mortal.start("--", "true")
        assert json.loads(child.stdout.readline())["session"] == session


def test_errors_with_json_are_the_daemons_own(hold: Hold) -> None:
    done = hold("signal", "--json", hold.start("--", "sleep", "60"), "SIGNONE")
    assert done.returncode == 64
    assert json.loads(done.stderr)["error"]["code"] == "VALIDATION_FAILED"


def test_a_token_opens_the_tcp_listener(new_daemon: NewDaemon) -> None:
    daemon = new_daemon(tcp="127.0.0.1:0")
    hold = Hold(daemon.environment)
    tcp = next(one for one in daemon.listeners if one.startswith("tcp:"))
    url = tcp.replace("tcp:", "http://")
    token_file = daemon.state_dir / "token"
    token_file.write_text(hold.out("tokens", "create", "ci"))
    assert hold("-H", url, "ls").returncode == 1
    remote = ("-H", url, "--token-file", str(token_file))
    assert hold(*remote, "run", "--", "echo", "hi").stdout == b"hi\n"
    assert hold(*remote, "run", "--", "cat", stdin=b"x" * 100_000).stdout == b"x" * 100_000
    assert hold(*remote, "start", "--", "sh", "-c", "exit $ONLY_HERE").returncode == 0


def test_node_version_and_doctor_describe_the_daemon(hold: Hold, shared: Daemon) -> None:
    assert hold.json("node")["pid"] == shared.pid
    assert hold.json("version")["daemon"] == hold.json("node")["version"]
    findings = {finding["name"]: finding for finding in hold.json("doctor")}
    assert findings["keeper"]["ok"]
    assert findings["containment"]["ok"]
    assert str(shared.pid) in findings["daemon"]["text"]


def test_completion_offers_names_and_ids(hold: Hold) -> None:
    session = hold.start("--name", "web", "--", "sleep", "60")
    hold.environment = hold.environment | {
        "_HOLD_COMPLETE": "bash_complete", "COMP_WORDS": "hold stop ", "COMP_CWORD": "2",
    }  # fmt: skip
    offered = hold.out()
    assert "plain,web" in offered
    assert f"plain,{session}" in offered


def test_a_live_session_is_removed_by_force_only_and_the_way_is_said(hold: Hold) -> None:
    hold.start("--name", "web", "--", "sleep", "60")
    done = hold("rm", "web")
    assert done.stderr == b"hold: web is alive; `hold rm -f web` kills it first\n"
    assert hold("rm", "-f", "web").returncode == 0


def test_a_run_that_timed_out_says_so_as_its_record_does(hold: Hold) -> None:
    done = hold("run", "--timeout", "0.2", "--", "sleep", "60")
    assert done.stderr.endswith(b": ended by its run timeout after 0.2 s\n")


def test_wrong_usage_is_one_line(hold: Hold) -> None:
    done = hold("completion")
    assert done.returncode == 64
    assert b"bash, zsh, fish" in done.stderr
    assert b"\\n" not in done.stderr
