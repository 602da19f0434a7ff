"""The doctor refuses the file systems that the daemon refuses; neither may import the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.cli.commands import doctor
from holdfast.cli.main import main
from supervisor.output import selftest
from supervisor.output.errors import StateFolderRefused


def test_client_and_daemon_know_the_same_file_systems() -> None:
    assert doctor.FOREIGN_FILE_SYSTEMS == selftest.REFUSED_TYPES


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "fuse.sshfs", "fusectl", "ext4"])
def test_client_and_daemon_judge_a_place_alike(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(doctor, "SOCKET_PATH_BYTES", 1000)
    monkeypatch.setattr(doctor, "file_system_of", lambda _path: kind)
    monkeypatch.setattr(selftest, "file_system_type", lambda _folder: kind)
    main(["doctor", "--json"])
    (state,) = [one for one in json.loads(capsys.readouterr().out) if one["name"] == "state"]
    assert (not state["ok"]) is refuses(tmp_path)


def refuses(folder: Path) -> bool:
    """Whether a daemon would not keep output there."""
    try:
        selftest.check_state_folder(folder)
    except StateFolderRefused:
        return True
    return False
