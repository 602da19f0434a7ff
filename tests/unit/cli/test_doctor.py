"""What the doctor says of a place is what a daemon would meet there."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

import pytest

from holdfast.cli.commands import doctor
from holdfast.cli.main import main


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    """The report, by name."""
    main(["doctor", "--json"])
    return {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}


@pytest.mark.parametrize(
    ("folder", "why"), [("/proc/x", "cannot be written to"), ("/" + "long/" * 30, "bytes")]
)
def test_a_state_directory_that_no_daemon_can_use_is_bad(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: str, why: str
) -> None:
    monkeypatch.setenv("HOLDFAST_STATE_DIR", folder)
    found = findings(capsys)
    assert found["state"]["ok"] is False
    assert why in str(found["state"]["text"])
    assert "starts one" not in str(found["daemon"]["text"])


def test_a_state_directory_that_is_not_there_yet_is_fine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path / "s"))
    monkeypatch.setenv("HOLDFAST_RUNTIME_DIR", str(tmp_path / "r"))
    monkeypatch.setattr(doctor, "SOCKET_PATH_BYTES", 1000)
    found = findings(capsys)
    assert found["state"]["ok"] is True
    assert "starts one" in str(found["daemon"]["text"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("on", [True, False])
def test_lingering_is_told_of_where_a_user_manager_holds_the_daemon(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, *, on: bool
) -> None:
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path))
    assert "lingering" not in findings(capsys)
    monkeypatch.setattr(doctor, "scope", lambda _environ: ["systemd-run"])
    linger = tmp_path / "linger"
    linger.mkdir()
    monkeypatch.setattr(doctor, "LINGER", linger)
    if on:
        (linger / pwd.getpwuid(os.getuid()).pw_name).touch()
    assert ("loginctl enable-linger" in str(findings(capsys)["lingering"]["text"])) is not on


@pytest.mark.parametrize(
    ("containment", "ok", "words"),
    [
        ("cgroup", True, "reaches everything"),
        ("shim", True, "reaches everything"),
        ("children", False, "misses a process whose parent has ended"),
        ("unknown", None, "when a keeper runs"),
        ("of a newer daemon", None, "of a newer daemon"),
    ],
)
def test_every_containment_that_a_daemon_can_name_is_told_of(
    containment: str, ok: bool | None, words: str
) -> None:
    node = {
        "version": "1", "pid": 2, "id": "n", "listeners": [], "keeper": {"pid": 3},
        "containment": containment, "promises": {}, "limits": {}, "degraded": [],
    }  # fmt: skip
    found = {finding.name: finding for finding in doctor.findings_of_node(node)}
    assert found["containment"].ok is ok
    assert words in found["containment"].text
