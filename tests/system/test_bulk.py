"""Much output that must not lose a byte, and much input: 64 MiB through each way."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.asking import ended, printed, start, type_in
from tests.system.daemon import Daemon
from tests.system.flood import LINE_BYTES
from tests.system.hold_command import HOLD, Hold

LINES = (64 << 20) // LINE_BYTES
SPEAK = f"""
import os, sys
def speak(fd, letter):
    for first in range(0, {LINES}, 1000):
        text = "".join(f"{{letter}}{{n:013d}}\\n" for n in range(first, min(first + 1000, {LINES})))
        left = memoryview(text.encode())
        while left:
            left = left[os.write(fd, left):]
if os.fork():
    speak(1, "o")
    os.wait()
else:
    speak(2, "e")
"""
"""Numbered lines, 64 MiB on stdout and 64 MiB on stderr at the same time."""
COMMAND = (sys.executable, "-I", "-S", "-c", SPEAK)
CHUNK = 1 << 16
HEAD_SHARE = 0.3


def text_of(letter: str) -> bytes:
    return b"".join(b"%s%013d\n" % (letter.encode(), number) for number in range(LINES))


@pytest.mark.timeout(240)
def test_exec_over_http_takes_every_byte_and_says_what_it_left_out(daemon: Daemon) -> None:
    body = {
        "command": COMMAND, "timeout": 120, "encoding": "base64",
        "output": {"capacity": 1 << 20, "on_full": "block"},
    }  # fmt: skip
    with daemon.client(timeout=200) as client:
        answer = client.post("/v1/machines/local/exec", json=body).raise_for_status().json()
    assert (answer["outcome"], answer["exit_code"]) == ("exited", 0)
    assert answer["truncated"]
    for name, letter in (("stdout", "o"), ("stderr", "e")):
        got, whole = base64.b64decode(answer[name]), text_of(letter)
        head = int(len(got) * HEAD_SHARE) // LINE_BYTES * LINE_BYTES
        cut = next(
            at for at in range(head - 2 * LINE_BYTES, len(got), LINE_BYTES)
            if got[at:] == whole[at - len(got):]
        )  # fmt: skip
        assert got[:cut] == whole[:cut]
        assert len(got) > 1 << 19


@pytest.mark.timeout(240)
def test_hold_exec_passes_every_byte_of_both_streams(daemon: Daemon, tmp_path: Path) -> None:
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        done = subprocess.run(
            [HOLD, "exec", "--", *COMMAND],
            env=daemon.environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            timeout=200, check=False,
        )  # fmt: skip
    assert done.returncode == 0
    assert out.read_bytes() == text_of("o")
    assert err.read_bytes() == text_of("e")


def test_an_upload_arrives_whole_and_ends(daemon: Daemon, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    content = os.urandom(64 << 20)
    pieces = (content[at : at + CHUNK] for at in range(0, len(content), CHUNK))
    with daemon.client() as client:
        start(client, "sh", "-c", f"cat > {kept}; echo over", id="up", stdin="pipe")
        answer = client.post("/v1/sessions/up/input?offset=0&close=true", content=pieces)
        assert answer.json() == {"next": len(content)}
        printed(client, "up", "^over$")
        assert ended(client, "up")["exit_code"] == 0
    assert hashlib.sha256(kept.read_bytes()).digest() == hashlib.sha256(content).digest()


def test_what_exits_at_the_end_of_its_input_stays_up_under_hold_start(daemon: Daemon) -> None:
    hold = Hold(daemon.environment)
    session = hold.start("--", "sh", "-c", "echo up; cat; echo over")
    with daemon.client() as client:
        printed(client, session, "^up$")
        type_in(client, session, b"still here\n")
        printed(client, session, "^still here$")
        client.post(f"/v1/sessions/{session}/input", params={"close": "true"})
        printed(client, session, "^over$")
        assert ended(client, session)["exit_code"] == 0
