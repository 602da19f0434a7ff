"""The receiving half of an attached client: keys, control messages, acknowledgements.

Rules
- Nothing is sent from here: what there is to say goes to `Outgoing` as a note. So a client that
  reads nothing, and a child that reads no input, can still be interrupted through this socket.
- Input is accepted up to the limit last announced, and refused beyond it (4413).
- What a client may not do gets an `error` and changes nothing, since a role can change while keys
  are on their way. What no client of this protocol sends closes the connection.
- Control messages become the same commands as over HTTP, and leave the same receipts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from api.attach_output import NOTES, Ending, Outgoing
from api.attach_wire import (
    BAD_CONTENT,
    BAD_KIND,
    HEAD,
    INPUT_KIND,
    NORMAL,
    OVER_LIMIT,
    REFUSED,
    Ack,
    Detach,
    FromClient,
    InputEnd,
    Kill,
    Resize,
    Signal,
    Stop,
    decode_text,
    text,
)
from api.errors import ApiError, BadRequest, describe
from api.requests import signal_field
from supervisor.attachments import Attached, Role
from supervisor.commands import Command
from supervisor.errors import Conflict, InputConflict, Refused, SupervisorError
from supervisor.ids import new_id
from supervisor.records import Verb
from supervisor.session import Session
from supervisor.session_input import SessionInput
from supervisor.supervisor import Supervisor

__all__ = ["Incoming", "error_text"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class _Closing(Exception):
    """What the client sent ends its connection; carries the `Ending`."""

    def __init__(self, code: int, error: Exception) -> None:
        super().__init__(code)
        self.ending = Ending(code, error=error_text(error))


class Incoming:
    """Everything that one client says."""

    def __init__(
        self, session: Session, attached: Attached, outgoing: Outgoing, supervisor: Supervisor
    ) -> None:
        self._session = session
        self._attached = attached
        self._outgoing = outgoing
        self._supervisor = supervisor
        self._by = attached.by.but(client=attached.client, via="websocket")

    async def run(self, receive: Receive) -> Ending | None:
        """Take messages until the client leaves (None) or has to."""
        try:
            while True:
                message = await receive()
                if message["type"] == "websocket.disconnect":
                    return None
                data = message.get("bytes")
                if data is not None:
                    await self._typed(data)
                elif await self._told(message.get("text") or ""):
                    return Ending(NORMAL, "detached")
        except _Closing as closing:
            return closing.ending

    async def _typed(self, frame: bytes) -> None:
        """Accept a frame of input."""
        if len(frame) < HEAD.size:
            raise _Closing(BAD_CONTENT, BadRequest("A binary frame has a head of 9 bytes."))
        kind, offset = HEAD.unpack_from(frame)
        if kind != INPUT_KIND:
            raise _Closing(BAD_KIND, BadRequest(f"A client sends frames of kind 0, not {kind}."))
        input_ = self._session.input
        if input_ is None:
            self._refuse(Refused("This session takes no input.", stage="input"))
        elif self._may("type"):
            await self._accept(input_, offset, frame[HEAD.size :])

    async def _accept(self, input_: SessionInput, offset: int, data: bytes) -> None:
        limit = input_.delivered + input_.limit
        if offset + len(data) > limit:
            refusal = Conflict("Input beyond the limit announced.", next=input_.next, limit=limit)
            raise _Closing(OVER_LIMIT, refusal)
        # The journal is being replaced, which the keeper does within a moment.
        while offset + len(data) > input_.next + input_.room and input_ is self._session.input:
            if not input_.open or self._session.final:
                break
            await self._session.changes.wait()
        try:
            input_.write(data, offset)
        except InputConflict as error:
            raise _Closing(REFUSED, error) from error
        except SupervisorError as error:
            self._refuse(error)
        self._session.changes.notify()

    async def _told(self, message: str) -> bool:
        """Carry out a text message; return whether it says to detach."""
        try:
            said = decode_text(message)
        except msgspec.DecodeError as error:
            code = BAD_KIND if str(error).endswith("`$.type`") else BAD_CONTENT
            raise _Closing(code, error) from error
        match said:
            case Detach():
                return True
            case Ack():
                self._acknowledged(said.offset)
            case InputEnd():
                await self._end_input()
            case _:
                await self._control(said)
        return False

    def _acknowledged(self, offset: int) -> None:
        if offset > self._outgoing.offset:
            message = f"Output below {offset} was not sent yet; {self._outgoing.offset} is next."
            raise _Closing(REFUSED, BadRequest(message, next=self._outgoing.offset))
        taken = self._session.attachments.ack(self._attached, offset)
        if taken is not None:
            self._session.taken(taken)

    async def _end_input(self) -> None:
        if self._may("end the input"):
            try:
                await self._session.end_input()
            except SupervisorError as error:
                self._refuse(error)

    async def _control(self, said: FromClient) -> None:
        if isinstance(said, Resize) and not self._may("resize"):
            return
        try:
            await self._supervisor.control(self._command(said), wait=False)
        except (SupervisorError, ApiError) as error:
            self._refuse(error)

    def _command(self, said: FromClient) -> Command:
        verb, arguments = _arguments(said)
        named = said if isinstance(said, Resize | Signal | Stop | Kill) else Kill()
        return Command(
            command_id=named.command_id or new_id(self._supervisor.clock),
            verb=verb,
            session=self._session.record.id,
            by=self._by,
            generation=named.generation,
            reason=named.reason,
            args=arguments,
        )

    def _may(self, what: str) -> bool:
        if self._attached.role is Role.WRITER:
            return True
        self._refuse(Conflict(f"Observers do not {what}; attach with takeover to do so."))
        return False

    def _refuse(self, error: Exception) -> None:
        if len(self._outgoing.notes) >= NOTES:
            raise _Closing(REFUSED, BadRequest("Too many refused messages that were not read."))
        self._outgoing.note(error_text(error))


def error_text(error: Exception) -> str:
    """Return the `error` message for an error of any package."""
    _, body = describe(error)
    return text("error", code=body.code, message=body.message, details=body.details)


def _arguments(said: FromClient) -> tuple[Verb, dict[str, Any]]:
    match said:
        case Resize(rows=rows, cols=cols):
            return Verb.RESIZE, {"rows": rows, "cols": cols}
        case Signal(signal=signal, target=target):
            return Verb.SIGNAL, {"signal": signal_field(signal, "$.signal"), "target": target}
        case Stop(signal=signal, grace=grace):
            named = None if signal is None else signal_field(signal, "$.signal")
            return Verb.STOP, {"signal": named, "grace": grace}
        case _:
            return Verb.KILL, {}
