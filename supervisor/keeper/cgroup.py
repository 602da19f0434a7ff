"""The keeper's cgroups: one cgroup v2 directory per session, all under one of the keeper's own.

Rules:
- The keeper is never in a session's cgroup while it serves: it enters one only to spawn there, and
  leaves it before anything else.
- Directories are numbered, not named by session, since a spare joins its own before it is known
  which session it will become; cgroup v2 cannot rename.
- A directory that is not empty yet when its session is dropped is remembered and removed later.
"""

from __future__ import annotations

import os
import re


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
        self.base = os.path.join(home, f"holdfast-{keeper_id}")
        self._home_fd = os.open(os.path.join(home, "cgroup.procs"), os.O_WRONLY | os.O_CLOEXEC)
        self._made = 0
        self._not_empty: list[str] = []
        try:
            os.mkdir(self.base, 0o755)
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
        waiting, self._not_empty = [*self._not_empty, path], []
        for each in waiting:
            try:
                os.rmdir(each)
            except FileNotFoundError:
                continue
            except OSError:
                self._not_empty.append(each)

    def close(self) -> None:
        """Remove what is empty; a directory that still has processes stays."""
        os.close(self._home_fd)
        for path in [*self._not_empty, os.path.join(self.base, str(self._made)), self.base]:
            try:
                os.rmdir(path)
            except OSError:
                continue


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
