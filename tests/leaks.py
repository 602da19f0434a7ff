"""What this process holds that a test could leave behind, read from the kernel.

- Two snapshots are compared: what was there before a test is not the test's.
- Nothing is collected or closed here. What only the garbage collector would close counts as left.
- Threads, and daemons that were told to end, may still be on their way out; they are waited for,
  up to `PATIENCE_S`. A child, a descriptor and a task are in the test's own hands: no grace.
"""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Holdings:
    """One snapshot. Children by pid, descriptors by number and target, live threads."""

    children: frozenset[int]
    descriptors: frozenset[tuple[int, str]]
    threads: frozenset[threading.Thread]
    strays: frozenset[int]

    def left_since(self, before: Holdings) -> list[str]:
        """One line for each thing that is here and was not before, after the grace above."""
        threads = [t for t in self.threads - before.threads if not ended(t)]
        strays = [pid for pid in self.strays - before.strays if not gone(pid)]
        return [
            *(f"child {describe(pid)}" for pid in sorted(self.children - before.children)),
            *(f"descriptor {n} -> {to}" for n, to in sorted(self.descriptors - before.descriptors)),
            *(f"thread {thread.name}" for thread in threads),
            *(f"process {describe(pid)}" for pid in sorted(strays)),
        ]


def holdings(room: Path | None = None) -> Holdings:
    """Take a snapshot.

    With `room`, also every process anywhere whose arguments or environment name that folder: a
    daemon or keeper that left this process' tree, working on a test's state directory.
    """
    return Holdings(
        children=children(),
        descriptors=descriptors(),
        threads=frozenset(threading.enumerate()),
        strays=frozenset() if room is None else processes_naming(room),
    )


def children() -> frozenset[int]:
    """Pids of all children of all threads, zombies too (proc(5), `children`)."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # the thread ended meanwhile
            found.update(map(int, (task / "children").read_text().split()))
    return frozenset(found)


def descriptors() -> frozenset[tuple[int, str]]:
    """Every open descriptor but the one that reading the list takes."""
    found: set[tuple[int, str]] = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  (names of numbers, not of files)
        with suppress(FileNotFoundError):  # the list's own descriptor
            found.add((int(name), os.readlink(f"/proc/self/fd/{name}")))  # noqa: PTH115
    return frozenset(found)


def processes_naming(room: Path) -> frozenset[int]:
    """Pids of other processes, zombies excepted, that were given `room` at their start."""
    sought = os.fsencode(room) + b"/"  # below it, so that pytest-1 is not found in pytest-12
    found: set[int] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended, or is another user's
            given = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            if sought in given:
                found.add(int(folder.name))
    return frozenset(found - {os.getpid()})


def ended(thread: threading.Thread) -> bool:
    """Wait for a thread on its way out."""
    thread.join(PATIENCE_S)
    return not thread.is_alive()


def gone(pid: int) -> bool:
    """Wait for a process on its way out; readable pidfd means ended (pidfd_open(2))."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(PATIENCE_S * 1000))
    finally:
        os.close(pidfd)


def describe(pid: int) -> str:
    """Pid and command line; of a zombie, which has none, the name in brackets."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").strip()
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except FileNotFoundError:
        return f"{pid} (ended)"
    return f"{pid} {words.decode(errors='replace') or f'[{name}]'}"
