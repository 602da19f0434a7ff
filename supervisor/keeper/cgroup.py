"""The keeper's cgroups: one cgroup v2 directory per session, all under one of the keeper's own.

Rules:
- The keeper is never in a session's cgroup while it serves: it enters one only to spawn there, and
  leaves it before anything else.
- Directories are numbered, not named by session, since a spare joins its own before it is known
  which session it will become; cgroup v2 cannot rename.
- A directory that is not empty yet when its session is dropped is remembered and removed later.
- A session may make cgroups inside its own, so what is removed is a tree, from the bottom up; never
  a part of one that has processes.
- The keeper locks its base for its whole life: the base of a living keeper is nobody's to remove.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

from supervisor.keeper import lock

_BASE_PREFIX = "holdfast-"


def own_cgroup() -> str | None:
    """Path of the cgroup v2 directory this process is in; None where there is none to be seen.

    Joins the mount of cgroup2 in /proc/self/mountinfo with the `0::` line of /proc/self/cgroup
    (cgroups(7)). /sys/fs/cgroup itself need not be v2: on a hybrid host it is not.
    """
    mounted = _cgroup2_mount()
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        inside = next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), None)
    if mounted is None or inside is None:
        return None
    mount_point, root = mounted
    relative = os.path.relpath(inside, root)
    if relative.startswith(".."):
        return None  # outside what this mount shows, as in a foreign cgroup namespace
    return os.path.normpath(os.path.join(mount_point, relative))


class Cgroups:
    """Makes, enters and removes the cgroups of sessions."""

    def __init__(self, home: str, keeper_id: str) -> None:
        """Make the base directory and prove that a session's cgroup works; raises OSError if not.

        `home` is the keeper's own cgroup.
        """
        self.base = os.path.join(home, f"{_BASE_PREFIX}{keeper_id}")
        self._home_fd = os.open(os.path.join(home, "cgroup.procs"), os.O_WRONLY | os.O_CLOEXEC)
        self._made = 0
        self._not_empty: list[str] = []
        try:
            os.mkdir(self.base, 0o755)
            lock.take_directory(self.base)
            probe = self.make()
            os.stat(os.path.join(probe, "cgroup.kill"))  # Linux 5.14
            self.enter(probe)
            self.leave()
            self.remove(probe)
        except OSError:
            self.close()
            raise

    def make(self) -> str:
        """Make a fresh directory; its path."""
        self._made += 1
        path = os.path.join(self.base, str(self._made))
        os.mkdir(path, 0o755)
        return path

    def enter(self, path: str) -> None:
        """Move this process into the cgroup at `path`.

        Takes 7 to 10 ms when the machine was quiet (the kernel waits for an RCU grace period) and
        10 us when another move came just before.
        """
        with open(os.path.join(path, "cgroup.procs"), "wb", buffering=0) as file:
            file.write(b"0")

    def leave(self) -> None:
        """Move this process back to the cgroup where it was started."""
        os.write(self._home_fd, b"0")

    def remove(self, path: str) -> None:
        """Remove the directory now, or at a later call when processes are still in it."""
        self._not_empty = [each for each in (*self._not_empty, path) if not remove_tree(each)]

    def close(self) -> None:
        """Remove what is empty; a directory that still has processes stays."""
        os.close(self._home_fd)
        _remove_base(self.base)


def tree_of(path: str) -> list[str]:
    """`path` and all cgroups below it, each parent before its children; what is gone is skipped.

    Without recursion: how deep it goes is up to the session.
    """
    found = [path]
    for folder in found:  # which grows meanwhile
        with suppress(OSError), os.scandir(folder) as entries:
            found += [each.path for each in entries if each.is_dir(follow_symlinks=False)]
    return found


def remove_tree(path: str) -> bool:
    """Remove a cgroup with all below it unless a process is in there; whether it is gone."""
    try:
        with open(os.path.join(path, "cgroup.events"), "rb") as file:
            if b"populated 1" in file.read():
                return False
        for folder in reversed(tree_of(path)):
            os.rmdir(folder)
    except OSError:
        return not os.path.exists(path)
    return True


def is_base(path: str) -> bool:
    """Whether `path` names a keeper's own directory, as opposed to one of its sessions."""
    return os.path.basename(path).startswith(_BASE_PREFIX)


def base_lives(path: str) -> bool:
    """Whether `path` is the base of a living keeper."""
    return is_base(path) and lock.holder(path) is not None


def remove_left_base(path: str) -> None:
    """Remove what is empty of the base of a dead keeper; nothing of anything else."""
    if is_base(path) and not base_lives(path):
        _remove_base(path)


def _remove_base(path: str) -> None:
    with suppress(OSError):
        for name in os.listdir(path):
            folder = os.path.join(path, name)
            if os.path.isdir(folder):
                remove_tree(folder)
        os.rmdir(path)


def _cgroup2_mount() -> tuple[str, str] | None:
    """(mount point, root within the hierarchy) of the first cgroup2 mount."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            if right.startswith("cgroup2 "):
                root, mount_point = left.split(" ")[3:5]
                return _unescape(mount_point), _unescape(root)
    return None


def _unescape(path: str) -> str:
    r"""Undo the octal escapes (`\040`) of /proc/self/mountinfo."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)
