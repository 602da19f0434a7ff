"""The server's routes as typed calls; everything that needs no open connection.

Rules
- What creates carries an `id`, what controls a `command_id`: after a lost connection the same
  request is sent again and means the same one.
- `ref` is a session's ID, the name of a live session, or the name of the last one to have it.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Literal, Unpack
from urllib.parse import quote
from weakref import WeakSet

import msgspec
from msgspec import UNSET, Struct, UnsetType

from holdfast.errors import NotFound
from holdfast.ids import new_id
from holdfast.options import (
    Command,
    ControlOptions,
    ListFilters,
    OutputQuery,
    StartOptions,
    control_fields,
    session_request,
)
from holdfast.transport import Call, Reply, Transport
from holdfast.waiting import StepWait, wait_request
from holdfast.wire import (
    ExecRequest,
    ExecResult,
    InputAccepted,
    KillRequest,
    NodeView,
    ReceiptView,
    ResizeRequest,
    RestartRequest,
    SessionCreated,
    SessionPage,
    SessionPatch,
    SessionView,
    SignalRequest,
    StopRequest,
    TimeoutRequest,
    TokenCreated,
    TokenRequest,
    WaitRequest,
    WaitResult,
)

if TYPE_CHECKING:
    from holdfast.session import Session

__all__ = ["Calls"]


class Calls:
    """One method for each route. All raise the errors of `holdfast.errors`.

    `sessions` are the `Session` objects made with it that are still in use.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.sessions: WeakSet[Session] = WeakSet()

    async def node(self) -> NodeView:
        """Return what the daemon says of itself."""
        return await self.transport.ask(NodeView, Call(method="GET", path="/v1/node"))

    async def create(
        self,
        command: Command,
        *,
        wait: StepWait | None = None,
        read: OutputQuery | None = None,
        **options: Unpack[StartOptions],
    ) -> SessionCreated:
        """Start a session, or return the one that `id` or `name` stands for already.

        With `wait` and `read` the answer comes when both are done, and holds them. Raises
        `SpawnFailed` when the command cannot be started, `Conflict` when the ID stands for
        something else, `NameInUse`, `LimitReached`.
        """
        body = session_request(command, options)
        if wait is not None or read is not None:
            asked = None if read is None else {**read}
            body = msgspec.structs.replace(body, wait=wait_request(wait), read=asked)
        call = Call(method="POST", path="/v1/sessions", body=body)
        return await self.transport.ask(SessionCreated, call)

    async def exec(self, request: ExecRequest, machine: str = "local") -> ExecResult:
        """Run a command on the server's side of the wire and return its bounded output.

        Raises `TimedOut` when the command's time is over.
        """
        if request.id is None:
            request = msgspec.structs.replace(request, id=new_id())
        path = f"/v1/machines/{quote(machine, safe='')}/exec"
        call = Call(method="POST", path=path, body=request, slow=True)
        return await self.transport.ask(ExecResult, call)

    async def get(self, ref: str) -> SessionView:
        """Return one session, with its ports and usage."""
        return await self.transport.ask(SessionView, Call(method="GET", path=_path(ref)))

    async def page(
        self,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        **filters: Unpack[ListFilters],
    ) -> SessionPage:
        """Return one page of the list. `filters` are the query fields of `GET /v1/sessions`."""
        query = {**filters, "limit": limit, "cursor": cursor}
        call = Call(method="GET", path="/v1/sessions", query={**query})
        return await self.transport.ask(SessionPage, call)

    async def list(self, **filters: Unpack[ListFilters]) -> list[SessionView]:
        """Return all sessions that match; the same field repeated means or (`state=[..]`)."""
        return [session async for session in self.each(**filters)]

    async def each(self, **filters: Unpack[ListFilters]) -> AsyncIterator[SessionView]:
        """Yield all sessions that match, page by page."""
        cursor = None
        while True:
            page = await self.page(cursor=cursor, **filters)
            for session in page.items:
                yield session
            cursor = page.next_cursor
            if cursor is None:
                return

    async def patch(
        self,
        ref: str,
        *,
        name: str | None | UnsetType = UNSET,
        labels: dict[str, str] | UnsetType = UNSET,
        on_full: Literal["drop", "block"] | UnsetType = UNSET,
    ) -> SessionView:
        """Change name, labels, or what a full output does; a name of None takes the name away."""
        body = SessionPatch(name=name, labels=labels, on_full=on_full)
        return await self.transport.ask(
            SessionView, Call(method="PATCH", path=_path(ref), body=body)
        )

    async def remove(self, ref: str, *, force: bool = False) -> None:
        """Forget a finished session; with `force` kill a living one first."""
        call = Call(method="DELETE", path=_path(ref), query={"force": force or None})
        try:
            await self.transport.request(call)
        except NotFound as error:
            if not error.repeated:  # else the try before, whose answer was lost, removed it
                raise

    async def prune(self) -> builtins.list[str]:
        """Forget all finished sessions; return their IDs."""
        reply = await self.transport.request(Call(method="POST", path="/v1/prune"))
        return reply.decode(dict[str, list[str]])["removed"]

    async def stop(
        self,
        ref: str,
        *,
        signal: str | int | None = None,
        grace: float | None = None,
        **options: Unpack[ControlOptions],
    ) -> ReceiptView:
        """Ask the tree to end, kill it after `grace` seconds; return the proof or the survivors."""
        body = StopRequest(**control_fields(options, signal=signal, grace=grace))
        return await self._control(ref, "stop", body)

    async def kill(self, ref: str, **options: Unpack[ControlOptions]) -> ReceiptView:
        """SIGKILL the tree; return the proof or the survivors."""
        return await self._control(ref, "kill", KillRequest(**control_fields(options)))

    async def signal(
        self,
        ref: str,
        signal: str | int = "SIGTERM",
        *,
        target: str = "leader",
        **options: Unpack[ControlOptions],
    ) -> ReceiptView:
        """Send one signal to `leader`, `group` or `tree`."""
        body = SignalRequest(**control_fields(options, signal=signal, target=target))
        return await self._control(ref, "signal", body)

    async def restart(
        self,
        ref: str,
        *,
        base_env: dict[str, str] | UnsetType = UNSET,
        **options: Unpack[ControlOptions],
    ) -> ReceiptView:
        """Stop the child, if there is one, and start the next generation."""
        body = RestartRequest(**control_fields(options, base_env=base_env))
        return await self._control(ref, "restart", body)

    async def resize(
        self, ref: str, rows: int, cols: int, **options: Unpack[ControlOptions]
    ) -> ReceiptView:
        """Set the terminal's size in cells."""
        body = ResizeRequest(**control_fields(options, rows=rows, cols=cols))
        return await self._control(ref, "resize", body)

    async def timeout(
        self,
        ref: str,
        run: float | None | UnsetType = UNSET,
        *,
        idle: float | None | UnsetType = UNSET,
        disconnect: float | None | UnsetType = UNSET,
        **options: Unpack[ControlOptions],
    ) -> ReceiptView:
        """Let the daemon end the session in `run` seconds from now.

        Or after so many seconds `idle`, or with nobody attached (`disconnect`). None takes a
        timeout away, and what is not given stays.
        """
        body = TimeoutRequest(run=run, idle=idle, disconnect=disconnect, **control_fields(options))
        return await self._control(ref, "timeout", body)

    async def receipt(self, command_id: str) -> ReceiptView:
        """Return what became of a control request."""
        path = f"/v1/commands/{quote(command_id, safe='')}"
        return await self.transport.ask(ReceiptView, Call(method="GET", path=path))

    async def wait_once(self, ref: str, request: WaitRequest) -> WaitResult:
        """Ask once; the server answers within 50 s. `Session.wait_for` asks as long as needed."""
        call = Call(method="POST", path=_path(ref, "wait"), body=request)
        return await self.transport.ask(WaitResult, call)

    async def send(
        self, ref: str, content: bytes, *, offset: int | None = None, close: bool = False
    ) -> int:
        """Append to a session's input; return the offset after it.

        Without `offset` a lost connection is reported instead of tried again, since the bytes might
        arrive twice. Raises `Conflict` when other input is at that offset.
        """
        query = {"offset": offset, "close": close or None}
        call = Call(
            method="POST",
            path=_path(ref, "input"),
            query=query,
            content=content,
            repeatable=offset is not None,
            slow=offset is not None,  # the answer comes when the child has taken enough
        )
        return (await self.transport.request(call)).decode(dict[str, int])["next"]

    async def step(
        self,
        ref: str,
        content: bytes = b"",
        *,
        offset: int | None = None,
        close: bool = False,
        wait: StepWait | None = None,
        read: OutputQuery | None = None,
    ) -> InputAccepted:
        """Append to a session's input, then wait, then read: one round trip.

        `log` and `read` begin where the output stood before the input; silence counts from it.
        `offset` is as for `send`: without it a lost connection is reported, not tried again.
        """
        asked = wait_request(wait)
        query = {
            "offset": offset,
            "close": close or None,
            "wait": None if asked is None else msgspec.json.encode(asked).decode(),
            "read": None if read is None else msgspec.json.encode(read).decode(),
        }
        call = Call(
            method="POST",
            path=_path(ref, "input"),
            query=query,
            content=content,
            repeatable=offset is not None,
            slow=offset is not None,
        )
        return await self.transport.ask(InputAccepted, call)

    async def output(self, ref: str, **query: Unpack[OutputQuery]) -> Reply:
        """Read output once, as `GET .../output` gives it.

        The headers `holdfast-offset` and `holdfast-next-offset` say where the content begins and
        ends. Raises `Gone` when it is no longer kept.
        """
        return await self.transport.request(
            Call(method="GET", path=_path(ref, "output"), query={**query})
        )

    async def create_token(self, name: str) -> TokenCreated:
        """Create a token for TCP; the answer shows it once."""
        call = Call(
            method="POST", path="/v1/tokens", body=TokenRequest(name=name), repeatable=False
        )
        return await self.transport.ask(TokenCreated, call)

    async def shutdown(self, *, kill_sessions: bool = False) -> None:
        """Let the daemon end; sessions go on unless `kill_sessions`."""
        call = Call(
            method="POST",
            path="/v1/node/shutdown",
            query={"kill_sessions": kill_sessions or None},
            repeatable=False,
        )
        await self.transport.request(call)

    async def _control(self, ref: str, verb: str, body: Struct) -> ReceiptView:
        call = Call(method="POST", path=_path(ref, verb), body=body, slow=True)
        return await self.transport.ask(ReceiptView, call)


def _path(ref: str, below: str = "") -> str:
    return f"/v1/sessions/{quote(ref, safe='')}" + (f"/{below}" if below else "")
