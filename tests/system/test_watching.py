"""`hold ls`, `hold top` and `--port`, against a real daemon: what listens, what it uses."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import holdfast.sync
from tests.listening import listener
from tests.system.conftest import NewDaemon
from tests.system.daemon import Daemon
from tests.system.hold_command import Hold

QUICK = ("--interval", "0.2")


@pytest.fixture(scope="module")
def shared() -> Iterator[Daemon]:
    """One daemon for all tests that do not kill it; they end its sessions."""
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


def listening(hold: Hold, name: str) -> int:
    """Start a session that listens; its port."""
    hold.start("--name", name, "--wait", "port:any", "--", "sh", "-c", listener())
    return int(hold.out("logs", name))


def test_ls_shows_the_ports_and_finds_who_listens(hold: Hold) -> None:
    port = listening(hold, "web")
    hold.start("--name", "other", "--", "cat")
    header, row = hold.out("ls", "--port", str(port)).splitlines()
    shown = dict(zip(header.split(), row.split(), strict=False))
    assert (shown["NAME"], shown["PORTS"]) == ("web", str(port))
    assert shown["CPU"].endswith("s")
    assert shown["MEM"].endswith("M")
    assert [one["name"] for one in hold.json("ls", "--port", str(port))] == ["web"]
    assert hold("ls", "--port", "0").returncode == 64
    assert hold.out("ls", "-q", "--port", "1") == ""


def test_the_sdk_finds_a_port_and_shows_what_a_session_uses(hold: Hold, shared: Daemon) -> None:
    port = listening(hold, "web")
    with holdfast.sync.connect(f"unix://{shared.socket}") as hf:
        (view,) = hf.list(port=port)
        assert (view.name, [one.port for one in view.ports]) == ("web", [port])
        (used,) = hf.list(port=port, usage=True)
        alone = hf.get("web")
        for usage in (used.usage, alone.usage):
            assert isinstance(usage, holdfast.wire.UsageView)
            assert usage.processes >= 1
        assert alone.ports[0].since == view.ports[0].since


def test_top_prints_one_look_a_line(hold: Hold) -> None:
    port = listening(hold, "web")
    lines = hold.out("top", "-n", "2", "--json", *QUICK).splitlines()
    assert len(lines) == 2
    for line in lines:
        (row,) = json.loads(line)["sessions"]
        assert (row["name"], row["ports"], row["attached"]) == ("web", [port], 0)
        assert row["cpu_percent"] >= 0
        assert row["memory_bytes"] > 1 << 20
    assert "web" in hold.out("top", "-n", "1", "--sort", "mem")
    assert "web" not in hold.out("top", "-n", "1", "-l", "a=b")


@pytest.mark.parametrize("command", [("top",), ("ls", "--watch")])
@pytest.mark.parametrize(("end", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_live_table_is_drawn_in_place_and_gives_the_terminal_back(
    hold: Hold, command: tuple[str, ...], end: signal.Signals, code: int
) -> None:
    hold.start("--name", "first", "--", "cat")
    with hold.on_terminal(*command, *QUICK, cols=120) as terminal:
        terminal.until("first")
        hold.start("--name", "second", "--", "cat")
        terminal.until("second")
        assert terminal.shown.count("first") == 1
        terminal.signal(end)
        assert terminal.wait() == code
        assert terminal.raw_output.endswith(b"\x1b[?25h\x1b[?1049l")


def test_watching_without_a_terminal_is_json_lines_or_refused(hold: Hold) -> None:
    hold.start("--name", "web", "--", "cat")
    refused = hold("ls", "--watch")
    assert (refused.returncode, refused.stdout) == (64, b"")
    assert b"--json" in refused.stderr
    assert hold("ls", "--watch", "-q").returncode == 64
    with hold.running("ls", "--watch", "--json", *QUICK) as watching:
        assert watching.stdout is not None
        for _ in range(2):
            assert json.loads(watching.stdout.readline())[0]["name"] == "web"
        watching.send_signal(signal.SIGINT)
        watching.stdout.read()
        assert watching.wait() == 0


def test_a_port_is_chosen_exported_and_the_same_again(hold: Hold) -> None:
    arguments = ("--name", "web", "--port", "auto", "--", "sh", "-c", "echo $PORT; exec cat")
    first = hold("start", *arguments)
    session_id = first.stdout.decode().strip()
    said = first.stderr.decode().strip()
    hold.out("wait", "web", "--for", "log:[0-9]+")
    port = hold.out("logs", "web")
    assert said == f"hold: PORT={port}"
    assert hold.json("inspect", "web")["labels"] == {"holdfast.port": port}
    assert hold.start(*arguments) == session_id
    hold.out("stop", "web")
    assert hold("start", *arguments).stderr == first.stderr
    ran = hold("run", "--port", "8080", "--", "sh", "-c", "echo $PORT")
    assert ran.stdout == b"8080\n"
    assert hold("start", "--port", "0", "--", "cat").returncode == 64


def test_a_killed_daemon_tells_of_no_port_twice(new_daemon: NewDaemon, tmp_path: Path) -> None:
    daemon = new_daemon()
    hold = Hold(daemon.environment, tmp_path)
    port = listening(hold, "web")
    hold.out("ls", "--port", str(port))
    opened = ("events", "-f", "--type", "port.opened", "--json")
    with hold.running(*opened) as events:  # told, and so stored
        assert events.stdout is not None
        assert json.loads(events.stdout.readline())["data"]["port"] == port
    since = hold.json("inspect", "web")["ports"][0]["since"]
    daemon.kill9()
    daemon.wait_answering()
    assert hold.json("ls", "--port", str(port))[0]["ports"][0]["since"] == since
    hold.out("kill", "web")
    kinds = [json.loads(line)["type"] for line in hold.out("events", "--json").splitlines()]
    assert [kind for kind in kinds if kind.startswith("port.")] == ["port.opened", "port.closed"]
