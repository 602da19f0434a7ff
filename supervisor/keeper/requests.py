"""What a daemon can ask of the keeper, one function a verb.

A request is `{ref, verb, ...}`; its answer carries the same `ref`, and either the fields described
at the verb or `error: {errno, stage, message}`. Errors never end the keeper.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from typing import TYPE_CHECKING

from supervisor.keeper import wire
from supervisor.keeper.errors import SpawnFailed
from supervisor.keeper.streams import new_journal

if TYPE_CHECKING:
    from supervisor.keeper.program import Keeper
    from supervisor.keeper.session import Session
    from supervisor.keeper.wire import Message

Answer = list[tuple["Message", list[int]]]
"""Messages with the descriptors that go along."""

_TO_GROUP = 1 << 2
"""PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9."""
_HELD_PER_MESSAGE = 20
"""Sessions in one message of `list`: at most 12 descriptors each, 253 a message."""


def answer(keeper: Keeper, message: Message, *, greeted: bool) -> Answer:
    """Do what `message` asks and say how it went."""
    ref = message.get("ref")
    try:
        verb = message["verb"]
        if not greeted and verb != "hello":
            msg = "the first request is not hello"
            raise ValueError(msg)
        replies = _VERBS[verb](keeper, message)
    except SpawnFailed as error:
        return [_failed(ref, error.errno, error.stage, error.message)]
    except OSError as error:
        return [_failed(ref, error.errno or 0, "", error.strerror or str(error))]
    except Exception as error:  # noqa: BLE001 - the daemon is told; the keeper must live on
        return [_failed(ref, errno.EINVAL, "", f"{type(error).__name__}: {error}")]
    return [({"ref": ref, **reply}, fds) for reply, fds in replies]


def _failed(ref: object, number: int, stage: str, text: str) -> tuple[Message, list[int]]:
    return {"ref": ref, "error": {"errno": number, "stage": stage, "message": text}}, []


def _hello(keeper: Keeper, message: Message) -> Answer:
    """`{versions, respawn: {argv, env} | null}` -> `{version, keeper_id, pid, ...}`."""
    common = set(message["versions"]) & set(wire.UNDERSTOOD)
    if not common:
        msg = f"no common version: {message['versions']} and {wire.UNDERSTOOD}"
        raise ValueError(msg)
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot_id = file.read().strip()
    keeper.greeted()
    keeper.respawner.connected(message["respawn"], time.monotonic())
    reply = {
        "version": max(common),
        "keeper_id": keeper.keeper_id,
        "pid": os.getpid(),
        "boot_id": boot_id,
        "containment": keeper.spawner.containment,
        "cgroup_base": keeper.spawner.cgroup_base,
    }
    return [(reply, [])]


def _list(keeper: Keeper, _: Message) -> Answer:
    """-> `{held: [...], more}` in as many messages as the descriptors need."""
    sessions = list(keeper.sessions.values())
    answers: Answer = []
    for start in range(0, max(len(sessions), 1), _HELD_PER_MESSAGE):
        held = [_describe(keeper, each) for each in sessions[start : start + _HELD_PER_MESSAGE]]
        more = start + _HELD_PER_MESSAGE < len(sessions)
        fds = [fd for _, each in held for fd in each]
        answers.append(({"held": [each for each, _ in held], "more": more}, fds))
    return answers


def _spawn(keeper: Keeper, message: Message) -> Answer:
    """The fields of `SpawnRequest` -> `{held}`; the same session again: the same child."""
    session = keeper.sessions.get((message["session"], message["generation"]))
    if session is None:
        session = keeper.spawner.spawn(message)
        keeper.hold(session)
    held, fds = _describe(keeper, session)
    return [({"held": held}, fds)]


def _describe(keeper: Keeper, session: Session) -> tuple[Message, list[int]]:
    kind = "cgroup" if session.cgroup is not None else keeper.spawner.shim_kind
    return session.describe(kind)


def _signal(keeper: Keeper, message: Message) -> Answer:
    """`{session, generation, signum, target: leader | group}`; ESRCH when the leader is gone."""
    session = _held(keeper, message)
    pidfd, signum = session.fds["pidfd"], message["signum"]
    if message["target"] == "leader":
        signal.pidfd_send_signal(pidfd, signum)
        return [({}, [])]
    try:
        signal.pidfd_send_signal(pidfd, signum, None, _TO_GROUP)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        signal.pidfd_send_signal(pidfd, 0)  # not reaped, so the number is still its own
        os.killpg(session.pid, signum)
    return [({}, [])]


def _close_input(keeper: Keeper, message: Message) -> Answer:
    """`{session, generation}`: end of file for the child once the daemon closed its end too."""
    stdin = _held(keeper, message).fds.pop("stdin", None)
    if stdin is not None:
        os.close(stdin)
    return [({}, [])]


def _new_journal(keeper: Keeper, message: Message) -> Answer:
    """`{session, generation, offset}` -> the new journal; the former one is closed here."""
    session = _held(keeper, message)
    journal = new_journal(message["offset"])
    os.close(session.fds["journal"])
    session.fds["journal"] = journal
    return [({}, [journal])]


def _kill_orphans(keeper: Keeper, message: Message) -> Answer:
    """`{session, generation, kill}` -> `{pids}` that came to the keeper when the shim died.

    A shim's sockets end before it does, so its own pid is among them until it was reaped: no
    orphans before that does not mean that there will be none.
    """
    session = _held(keeper, message)
    if message["kill"]:
        keeper.orphans.kill(session)
    dying = {session.shim_pid} & keeper.children.keys()
    return [({"pids": sorted(session.orphans | dying)}, [])]


def _drop(keeper: Keeper, message: Message) -> Answer:
    """`{sessions: [[session, generation]]}`: close everything. What is not held is no error."""
    for session, generation in message["sessions"]:
        held = keeper.sessions.get((session, generation))
        if held is not None:
            keeper.forget(held)
    return [({}, [])]


def _bye(keeper: Keeper, _: Message) -> Answer:
    keeper.respawner.said_bye(keeper.daemon_pid)
    return [({}, [])]


def _end(keeper: Keeper, _: Message) -> Answer:
    keeper.respawner.said_bye(keeper.daemon_pid)
    keeper.ending = True
    return [({}, [])]


def _held(keeper: Keeper, message: Message) -> Session:
    session = keeper.sessions.get((message["session"], message["generation"]))
    if session is None:
        raise ProcessLookupError(errno.ESRCH, "this keeper does not hold that session")
    return session


_VERBS = {
    "hello": _hello,
    "list": _list,
    "spawn": _spawn,
    "signal": _signal,
    "close_input": _close_input,
    "new_journal": _new_journal,
    "kill_orphans": _kill_orphans,
    "drop": _drop,
    "bye": _bye,
    "end": _end,
}
