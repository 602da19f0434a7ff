"""Puts the daemon together: settings, log, store, supervisor, application, server; and ends it.

Rules
- What can be refused is refused before anything listens, in one sentence.
- SIGTERM and SIGINT end the daemon and say `bye` to the keeper: sessions go on. SIGHUP does
  nothing, but by a handler, since an ignored signal would be inherited.
- Everything that was begun is ended in the opposite order, also after a failure.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import socket
import ssl
import sys
from pathlib import Path
from typing import Any, Final

import structlog
import uvloop

from api import logs
from api.answers import Services
from api.app import build
from api.exec import collect_adopted
from api.gate import Hosts
from api.listeners import UnixListener, bind_tcp, check_exposure
from api.metrics import Metrics
from api.node import VERSION
from api.notify import is_under_systemd, tell_parent, tell_systemd
from api.senses import SystemSenses
from api.server import Server
from api.settings import Listen, Settings, load
from api.views import SessionViews
from store import SqliteStore
from supervisor.clock import SystemClock
from supervisor.errors import StartRefused
from supervisor.keeper.client import Respawn
from supervisor.keeper.limits import raise_nofile
from supervisor.settings import SupervisorSettings
from supervisor.supervisor import Supervisor

__all__ = ["run"]

_DESCRIPTORS_PER_SESSION: Final = 8
_DESCRIPTORS_FOR_REST: Final = 500
_PLACES: Final = ("HOLDFAST_CONFIG", "HOLDFAST_RUNTIME_DIR", "XDG_CONFIG_HOME")
"""Settings that may be relative to this daemon's directory, which is not the keeper's."""

_log = structlog.get_logger("api.daemon")


def run(flags: argparse.Namespace) -> None:
    """Serve until told to end. Raises StartRefused."""
    os.umask(0o077)
    _forget_inherited_signals()
    settings = load(os.environ, config=flags.config, flags=_from_flags(flags))
    unix = UnixListener(settings.socket_path)
    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        message = f"The state directory {settings.state_dir} cannot be made: {error.strerror}."
        raise StartRefused(message) from error
    log = flags.log or (None if flags.foreground else settings.state_dir / "daemon.log")
    logs.configure(log)
    own, descriptors = raise_nofile()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(
                _serve(settings, flags, unix, _supervisor_settings(settings, own, descriptors))
            )
    except StartRefused as refusal:
        if not refusal.details.get("locked") and not _is_stderr(log):
            _log.error("cannot serve", why=refusal.message)
        raise


async def _serve(
    settings: Settings, flags: argparse.Namespace, unix: UnixListener, limits: SupervisorSettings
) -> None:
    stopping = asyncio.Event()
    _take_signals(stopping)
    senses = SystemSenses(settings.wait.http_hosts)
    supervisor = Supervisor(
        store=SqliteStore(settings.state_dir / "holdfast.db"),
        clock=SystemClock(),
        node=settings.node_id,
        state_dir=settings.state_dir,
        settings=limits,
        respawn=_respawn(settings, flags),
        report=_report,
        senses=senses,
    )
    await supervisor.start()
    try:
        metrics = Metrics(supervisor, VERSION)
        server = _server(settings, supervisor, metrics, unix, stopping, senses)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(metrics.watch(), name="metrics")
            announcing = tasks.create_task(_announce(server, flags.ready_fd), name="announce")
            ending = tasks.create_task(_stop_when(stopping, server), name="stop")
            taking = tasks.create_task(collect_adopted(supervisor), name="adopted execs")
            await server.serve()
            for task in (watching, announcing, ending, taking):
                task.cancel()
    finally:
        tell_systemd(os.environ, "STOPPING=1")
        await supervisor.stop()
        _log.info("ended")


def _server(
    settings: Settings,
    supervisor: Supervisor,
    metrics: Metrics,
    unix: UnixListener,
    stopping: asyncio.Event,
    senses: SystemSenses,
) -> Server:
    """Bind what is listened on and build the application behind it."""
    tcp = _bind_tcp(settings.listen)
    bound = [tcp.getsockname()[0]] if tcp else []
    shared = Services(
        supervisor=supervisor,
        settings=settings,
        views=SessionViews(supervisor.clock),
        metrics=metrics,
        listeners=lambda: server.listeners,
        stop=stopping.set,
        senses=senses,
    )
    app = build(shared, Hosts([socket.gethostname(), *settings.listen.hosts], bound))
    connections = _affordable_connections(settings, supervisor.settings.sessions)
    server = Server(app, unix, tcp, _tls(settings.listen), connections)
    return server


async def _announce(server: Server, ready_fd: int | None) -> None:
    """Say that the daemon answers, to everyone who may want to know."""
    await server.wait_ready()
    _log.info("ready", listeners=server.listeners, pid=os.getpid(), version=VERSION)
    tell_systemd(os.environ, "READY=1")
    if ready_fd is not None:
        tell_parent(ready_fd, server.listeners)


async def _stop_when(stopping: asyncio.Event, server: Server) -> None:
    await stopping.wait()
    server.stop()


def _forget_inherited_signals() -> None:
    """Undo what a careless parent left: with TERM blocked nobody could end this daemon.

    An ignored CHLD would take the statuses of our own children away (waitpid(2), "Notes").
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _take_signals(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)


def _is_stderr(log: Path | None) -> bool:
    """Return whether what main prints of a refusal lands in the log by itself."""
    return log is None or os.path.samestat(os.fstat(2), log.stat())


def _report(what: str, error: BaseException) -> None:
    """Log what the supervisor could not do."""
    _log.error(what, exc_info=error)


def _from_flags(flags: argparse.Namespace) -> dict[tuple[str, str], Any]:
    given = {("state", "dir"): flags.state_dir, ("listen", "tcp"): flags.tcp}
    return {key: str(value) for key, value in given.items() if value is not None}


def _bind_tcp(listen: Listen) -> socket.socket | None:
    if not listen.tcp:
        return None
    tcp = bind_tcp(listen.tcp)
    try:
        check_exposure(tcp, tls=listen.tls_cert is not None, behind_proxy=listen.behind_proxy)
    except StartRefused:
        tcp.close()
        raise
    return tcp


def _tls(listen: Listen) -> ssl.SSLContext | None:
    if listen.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(listen.tls_cert, listen.tls_key)
    except OSError as error:  # ssl.SSLError among them
        raise StartRefused(f"listen.tls_cert and tls_key cannot be used: {error}.") from error
    return context


def _supervisor_settings(settings: Settings, own: int, descriptors: int) -> SupervisorSettings:
    affordable = max(1, (descriptors - _DESCRIPTORS_FOR_REST) // _DESCRIPTORS_PER_SESSION)
    return SupervisorSettings(
        sessions=min(settings.limits.sessions, affordable),
        open_files=own,
        node_bytes=settings.output.node_bytes,
        reserve_bytes=settings.output.reserve_bytes,
        containment=settings.exec.containment,
    )


def _affordable_connections(settings: Settings, sessions: int) -> int:
    """Return how many connections leave descriptors for every session, and some for the rest."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)  # raised at the start
    left = descriptors - _DESCRIPTORS_PER_SESSION * sessions - _DESCRIPTORS_FOR_REST // 2
    return max(1, min(settings.limits.connections, left))


def _respawn(settings: Settings, flags: argparse.Namespace) -> Respawn | None:
    """Return how the keeper starts this daemon again; None where systemd does.

    `-P` keeps the current directory off the import path, as `-I` does, and still finds what a user
    installed below their home or named in PYTHONPATH, if this daemon was found there.
    """
    if is_under_systemd(os.environ, os.getpid()):
        return None
    argv = [sys.executable, "-I" if sys.flags.isolated else "-P", "-m", "api", "--autostarted"]
    argv += ["--state-dir", str(settings.state_dir)]
    for flag, value in (("--config", flags.config), ("--log", flags.log)):
        if value is not None:
            argv += [flag, str(Path(value).absolute())]
    if flags.tcp is not None:
        argv += ["--tcp", flags.tcp]
    places = {name: os.environ[name] for name in _PLACES if os.environ.get(name)}
    found = {name: str(Path(place).expanduser().absolute()) for name, place in places.items()}
    return Respawn(argv=tuple(argv), env={**os.environ, **found})
