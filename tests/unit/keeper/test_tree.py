"""What /proc tells about processes and cgroups."""

from __future__ import annotations

import os
from pathlib import Path

from supervisor.keeper import tree
from supervisor.keeper.cgroup import _unescape, own_cgroup
from supervisor.keeper.containment import exit_status_of


def test_children_are_found_with_and_without_the_kernels_list() -> None:
    read_end, write_end = os.pipe()
    pid = os.posix_spawn("/bin/cat", ["cat"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, read_end, 0)])
    try:
        assert pid in tree.children_of(os.getpid())
        assert pid in tree._children_by_search(os.getpid())
        assert pid in tree.descendants_of(os.getppid())
        assert tree.children_of(pid) == []
    finally:
        os.close(read_end)
        os.close(write_end)
        os.waitpid(pid, 0)
    assert tree.children_of(pid) == []


def test_a_name_with_parentheses_does_not_move_the_fields(tmp_path: Path) -> None:
    program = tmp_path / "a) Z (b"
    program.symlink_to("/bin/cat")
    read_end, write_end = os.pipe()
    pid = os.posix_spawn(program, ["x"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, read_end, 0)])
    try:
        assert tree.stat_fields(pid)[1] == str(os.getpid())
    finally:
        os.close(read_end)
        os.close(write_end)
        os.waitpid(pid, 0)


def test_a_zombie_has_its_status_and_a_living_process_has_none() -> None:
    read_end, write_end = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, read_end, 0)]
    argv = ["sh", "-c", "read x; exit 33"]
    pid = os.posix_spawn("/bin/sh", argv, {}, file_actions=actions)
    pidfd = os.pidfd_open(pid)
    assert exit_status_of(pidfd, pid) is None
    os.close(read_end)
    os.close(write_end)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert exit_status_of(pidfd, pid) == 33 << 8
    os.waitpid(pid, 0)
    os.close(pidfd)


def test_escapes_of_mountinfo_are_undone() -> None:
    assert _unescape(r"/with\040blank\134and\011tab") == "/with blank\\and\ttab"


def test_our_own_cgroup_lists_us() -> None:
    path = own_cgroup()
    assert path is None or str(os.getpid()) in (Path(path) / "cgroup.procs").read_text().split()
