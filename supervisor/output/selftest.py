"""Whether a directory can carry the output log; asked once, before the daemon serves anybody.

Rules
1. `splice(2)` from a pipe to a file there, and from a pty to a pipe, must work: there is no second
   way for the bytes, since one by `read` and `write` loses a chunk in two of three kills.
2. A file system behind a network or a user-space server is refused even if splice works on it: a
   request to it can be interrupted by the very SIGKILL that must fall before or after, not between.
"""

from __future__ import annotations

import os
import tempfile
import tty
from pathlib import Path

from supervisor.output.errors import StateFolderRefused

REFUSED_TYPES = frozenset(
    [
        "9p",
        "afs",
        "ceph",
        "cifs",
        "fuse",
        "fuseblk",
        "gfs2",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "smb3",
        "smbfs",
        "virtiofs",
        "vboxsf",
    ]
)
_REMEDY = "HOLDFAST_STATE_DIR=/var/lib/holdfast hold serve"
_PROBE = b"holdfast splice probe\n"


def check_state_folder(folder: Path) -> None:
    """Raise StateFolderRefused unless output can be kept below `folder`, which exists."""
    kind = file_system_type(folder)
    if kind in REFUSED_TYPES or kind.startswith("fuse."):
        raise _refused(
            folder, f"{kind} is a network or user-space file system; a local disk is needed"
        )
    try:
        _splice_to_file(folder)
    except OSError as error:
        raise _refused(
            folder, f"splice from a pipe to a file on {kind or 'it'} fails: {error.strerror}"
        ) from error
    try:
        _splice_from_pty()
    except OSError as error:
        raise _refused(
            folder,
            f"splice from a terminal to a pipe fails: {error.strerror} (Linux 5.11 or newer is "
            "needed, and not gVisor)",
        ) from error


def file_system_type(folder: Path) -> str:
    """The type of the mount that holds `folder`, as in mount(8); empty where /proc is silent.

    By mount ID (proc_pid_fdinfo(5), proc_pid_mountinfo(5)): comparing paths goes wrong with
    mounts over mounts, comparing devices with btrfs.
    """
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fdinfo = Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="utf-8")
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    finally:
        os.close(fd)
    return mount_type(fdinfo, mounts)


def mount_type(fdinfo: str, mountinfo: str) -> str:
    """The file system type of the mount named by `fdinfo`'s `mnt_id`; empty if not listed."""
    fields = dict(line.split(":", 1) for line in fdinfo.splitlines() if ":" in line)
    wanted = fields.get("mnt_id", "").strip()
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split(" ", 1)[0] == wanted:
            return source.split(" ", 1)[0]
    return ""


def _refused(folder: Path, reason: str) -> StateFolderRefused:
    return StateFolderRefused(str(folder), reason, _REMEDY)


def _splice_to_file(folder: Path) -> None:
    """As `OutputLog.take` does it: at an explicit offset, twice."""
    source, target = os.pipe()
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            for round_ in range(2):
                os.write(target, _PROBE)
                at = round_ * len(_PROBE)
                flags = os.SPLICE_F_NONBLOCK
                os.splice(source, probe.fileno(), len(_PROBE), offset_dst=at, flags=flags)
            if os.pread(probe.fileno(), 3 * len(_PROBE), 0) != _PROBE * 2:
                raise OSError(0, "the bytes do not arrive")
    finally:
        os.close(source)
        os.close(target)


def _splice_from_pty() -> None:
    master, slave = os.openpty()
    source, target = os.pipe()
    try:
        tty.setraw(slave)
        os.write(slave, _PROBE)
        moved = os.splice(master, target, len(_PROBE))
        if os.read(source, moved) != _PROBE:
            raise OSError(0, "the bytes do not arrive")
    finally:
        for fd in (master, slave, source, target):
            os.close(fd)
