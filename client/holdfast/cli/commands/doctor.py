"""hold doctor: what holds here, what does not, and what to do about it."""

from __future__ import annotations

import os
import platform
import pwd
import resource
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import click

from holdfast.cli.arguments import json_option, print_json
from holdfast.cli.autostart import daemon_command, scope
from holdfast.cli.exits import Exit
from holdfast.cli.failure import Failure
from holdfast.cli.invocation import Invocation
from holdfast.cli.table import escaped
from holdfast.errors import HoldfastError
from holdfast.places import local_socket, state_dir

__all__ = ["Finding", "doctor_command", "findings_of_node"]

FEW_DESCRIPTORS = 4096
SOCKET_PATH_BYTES = 107  # unix(7): sun_path has 108 bytes with its NUL
LINGER = Path("/var/lib/systemd/linger")  # logind keeps a file for each lingering user
# As the daemon refuses them (supervisor/output/selftest.py): behind a network or a user's program.
FOREIGN_FILE_SYSTEMS = frozenset(
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
        "vboxsf",
        "virtiofs",
    ]
)
CONTAINMENT = {
    "cgroup": "a cgroup for each session: kill reaches everything, proven by the kernel",
    "shim": "a subreaper for each session, as no cgroup v2 can be made here: kill reaches "
    "everything, proven by the kernel; 0.8 MB each",
    "children": "parents and children alone, as neither a cgroup v2 nor a subreaper can be made "
    "here: kill misses a process whose parent has ended; give the daemon a cgroup to write to",
    "unknown": "known when a keeper runs",
}
HOLDS_TREES: Mapping[str, bool | None] = {"cgroup": True, "shim": True, "children": False}
SURVIVES = (
    ("this terminal closes, the client is killed", "everything", "sessions_survive_daemon"),
    ("the daemon is killed or upgraded", "sessions, output, input", "sessions_survive_daemon"),
    ("the daemon is killed", "exit status", "exit_status_survives_daemon"),
    ("the keeper is killed", "sessions, output; status where the kernel tells", None),
    ("the machine reboots", "output and records; processes end as lost: reboot", None),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `ok` None: neither good nor bad."""

    name: str
    text: str
    ok: bool | None = None


@click.command("doctor")
@json_option
@click.pass_obj
def doctor_command(invocation: Invocation) -> int:
    """Say what holds on this machine; exits with 1 when something needs doing.

    Works without a daemon, and starts none.
    """
    local = [*_local(), *_lingering()]
    starts = invocation.is_own and all(finding.ok is not False for finding in local)
    findings = [*local, *_daemon(invocation, starts=starts)]
    if invocation.as_json:
        print_json([{"name": f.name, "ok": f.ok, "text": f.text} for f in findings])
    else:
        for finding in findings:
            mark = {True: "ok  ", False: "BAD ", None: "    "}[finding.ok]
            click.echo(f"{mark} {finding.name:<12} {escaped(finding.text)}")
    return Exit.FAILURE if any(finding.ok is False for finding in findings) else Exit.OK


def _local() -> Iterator[Finding]:
    yield Finding("system", f"{platform.system()} {platform.release()}, Python "
                            f"{platform.python_version()}")  # fmt: skip
    yield _server()
    yield _state(state_dir(), local_socket())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = hard != resource.RLIM_INFINITY and hard < FEW_DESCRIPTORS
    advice = ": few sessions fit; raise it (ulimit -Hn, or nofile in limits.conf)" if few else ""
    yield Finding("descriptors", f"{soft} soft, {hard} hard{advice}", not few)


def _server() -> Finding:
    try:
        return Finding("server", " ".join(daemon_command()), ok=True)
    except Failure as failure:
        return Finding("server", str(failure.message), ok=False)


def _state(folder: Path, socket: Path) -> Finding:
    """Whether the state directory can hold sessions, and the socket be where it has to."""
    there = folder
    while not os.path.lexists(there):
        there = there.parent
    kind = file_system_of(there)
    place = "set HOLDFAST_STATE_DIR to a place on a local disk"
    if kind in FOREIGN_FILE_SYSTEMS or kind.startswith("fuse."):
        return Finding("state", f"{folder} is on {kind}: {place}", ok=False)
    for path, setting in ((socket, "RUNTIME"), (folder / "run" / "keeper.sock", "STATE")):
        if (size := len(os.fsencode(path))) > SOCKET_PATH_BYTES:
            text = f"{path} has {size} bytes, and {SOCKET_PATH_BYTES} is the most for a socket"
            return Finding(
                "state", f"{text}: set HOLDFAST_{setting}_DIR to a shorter one", ok=False
            )
    try:
        # The mode alone says little: root may do all, and yet nothing below /proc.
        TemporaryFile(dir=there).close()
    except OSError as error:
        text = f"{there} cannot be written to ({error.strerror}): chown it, or {place}"
        return Finding("state", text, ok=False)
    free = os.statvfs(there)
    return Finding("state", f"{folder} on {kind}, {free.f_bavail * free.f_frsize >> 20} MiB free",
                   ok=True)  # fmt: skip


def _lingering() -> Iterator[Finding]:
    """Whether what the user manager holds outlives the last login; nothing where it holds none."""
    if scope(os.environ):
        user = pwd.getpwuid(os.getuid()).pw_name
        on = (LINGER / user).exists()
        advice = "" if on else (
            ": daemon and sessions end with your last login; `loginctl enable-linger` keeps them"
        )  # fmt: skip
        yield Finding("lingering", f"{'on' if on else 'off'} for {user}{advice}", on or None)


def file_system_of(path: Path) -> str:
    """The type of the file system that `path` is on (proc(5), mounts); the longest mount wins."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return "an unknown file system"
    mounts = [line.split()[1:3] for line in lines]
    real = path.resolve()
    over = [(place, kind) for place, kind in mounts if real.is_relative_to(_unescaped(place))]
    return max(over, key=lambda mount: len(mount[0]))[1] if over else "an unknown file system"


def _unescaped(place: str) -> str:
    return place.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


def _daemon(invocation: Invocation, *, starts: bool) -> Iterator[Finding]:
    try:
        node = invocation.connect(autostart=False).get("/v1/node")
    except HoldfastError as error:
        then = "; the next hold command starts one" if starts else ""
        yield Finding("daemon", error.message + then)
        return
    yield from findings_of_node(node)


def findings_of_node(node: dict[str, Any]) -> Iterator[Finding]:
    """What the daemon says of itself, and what survives what here."""
    yield Finding("daemon", f"{node['version']}, process {node['pid']}, {node['id']}", ok=True)
    yield Finding("listeners", "  ".join(node["listeners"]))
    keeper = node["keeper"]["pid"]
    text = f"process {keeper}" if keeper else "none: no session can start; see daemon.log"
    yield Finding("keeper", text, ok=keeper is not None)
    kind = node["containment"]
    yield Finding("containment", CONTAINMENT.get(kind, kind), HOLDS_TREES.get(kind))
    yield Finding("splice", "tested at the daemon's start: output survives its SIGKILL",
                  ok=node["promises"].get("output_survives_daemon", False))  # fmt: skip
    yield Finding("limits", "  ".join(f"{key}={value}" for key, value in node["limits"].items()))
    for problem in node["degraded"]:
        yield Finding("degraded", problem, ok=False)
    for cause, kept, promise in SURVIVES:
        holds = None if promise is None else bool(node["promises"].get(promise))
        yield Finding("survives", f"{cause}: {kept}", holds)
