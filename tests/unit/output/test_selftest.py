"""The start-up test of the state directory."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from supervisor.output import selftest
from supervisor.output.errors import StateFolderRefused
from supervisor.output.selftest import check_state_folder, mount_type

MOUNTS = """\
24 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 24 0:27 / /srv/with\\040blank rw shared:9 master:1 - nfs4 server:/export rw
32 24 0:28 / /mnt rw - fuse.sshfs host:/ rw
"""


@pytest.mark.parametrize(("mount", "kind"), [(24, "ext4"), (31, "nfs4"), (32, "fuse.sshfs")])
def test_the_mount_is_found_by_its_id(mount: int, kind: str) -> None:
    assert mount_type(f"pos:\t0\nflags:\t012\nmnt_id:\t{mount}\n", MOUNTS) == kind


def test_a_mount_that_is_not_listed_has_no_type() -> None:
    assert mount_type("mnt_id:\t99\n", MOUNTS) == ""


def test_a_local_directory_passes_and_stays_empty(tmp_path: Path) -> None:
    check_state_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "9p", "fuse", "fuse.sshfs", "cifs"])
def test_a_network_file_system_is_refused_in_words(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "file_system_type", lambda _folder: kind)
    with pytest.raises(StateFolderRefused, match=kind) as refused:
        check_state_folder(tmp_path)
    assert "HOLDFAST_STATE_DIR=" in refused.value.remedy
    assert refused.value.remedy in str(refused.value)


@pytest.mark.parametrize(("fails_at", "words"), [(1, "pipe to a file"), (3, "terminal to a pipe")])
def test_a_file_system_without_splice_is_refused_in_words(
    fails_at: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.splice, [0]

    def splice(*args: Any, **kwargs: Any) -> int:
        calls[0] += 1
        if calls[0] == fails_at:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(*args, **kwargs)

    monkeypatch.setattr(os, "splice", splice)
    with pytest.raises(StateFolderRefused, match=words):
        check_state_folder(tmp_path)
