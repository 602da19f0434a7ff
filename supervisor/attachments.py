"""Who is attached to one session, and in which role.

Rules
- At most one client is the writer. Observers neither type nor resize.
- Without a wish for a role a client becomes the writer if nobody is, else an observer. Nobody is
  promoted later: a role changes only by somebody's takeover.
- A client that attaches again replaces its own former connection, and inherits nothing from it.
- What lossless readers took is the highest offset that any of them acknowledged: one that took a
  byte is enough for it to be dropped. It never goes back.
- Nothing here waits: whoever holds a connection is told by a call that must not block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from supervisor.errors import Conflict
from supervisor.records import By

__all__ = ["Attach", "Attached", "Attachments", "Notice", "Replaced", "Role", "RoleChanged"]


class Role(StrEnum):
    """What a client may do: the writer types and resizes, an observer looks on."""

    WRITER = "writer"
    OBSERVER = "observer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """A client wants to attach. `client` names it across its reconnects; `at_us` is UTC."""

    client: str
    by: By
    at_us: int
    role: Role | None = None
    takeover: bool = False
    lossless: bool = False


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """The client has another role now; `by` is the client that took it over."""

    role: Role
    by: str


@dataclass(frozen=True, slots=True)
class Replaced:
    """The same client attached again: this connection is no longer in the registry."""


Notice = RoleChanged | Replaced


@dataclass(slots=True, eq=False)
class Attached:
    """One attached connection. `acked` is the highest offset it acknowledged, or None."""

    client: str
    role: Role
    by: By
    since_us: int
    lossless: bool
    tell: Callable[[Notice], None]
    acked: int | None = None


class Attachments:
    """The clients of one session, in the order in which they came."""

    __slots__ = ("_changed", "_clients", "_taken")

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        """`changed` is called after a client came or left."""
        self._changed = changed
        self._clients: dict[str, Attached] = {}
        self._taken: int | None = None

    def __iter__(self) -> Iterator[Attached]:
        return iter(tuple(self._clients.values()))

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def writer(self) -> Attached | None:
        """The client that may type."""
        return next((one for one in self._clients.values() if one.role is Role.WRITER), None)

    @property
    def lossless(self) -> bool:
        """Whether a client that must not miss a byte is attached."""
        return any(one.lossless for one in self._clients.values())

    def attach(self, request: Attach, tell: Callable[[Notice], None]) -> Attached:
        """Add a client; `tell` is called with what happens to it later.

        Raises Conflict, changing nothing, when it asks to be the writer, another client is, and
        `takeover` was not asked for; `details["client"]` is that other one.
        """
        former = self._clients.get(request.client)
        writer = self.writer
        held = writer is not None and writer is not former
        role = request.role or (Role.OBSERVER if held and not request.takeover else Role.WRITER)
        if writer is not None and held and role is Role.WRITER:
            if not request.takeover:
                raise Conflict("another client is the writer", client=writer.client)
            writer.role = Role.OBSERVER
            writer.tell(RoleChanged(Role.OBSERVER, request.client))
        if former is not None:
            del self._clients[former.client]  # so that the new one stands last
            former.tell(Replaced())
        attached = Attached(request.client, role, request.by, request.at_us, request.lossless, tell)
        self._clients[request.client] = attached
        self._changed()
        return attached

    def detach(self, attached: Attached) -> None:
        """Remove a connection; harmless for one that was replaced or is gone already."""
        if self._clients.get(attached.client) is attached:
            del self._clients[attached.client]
            self._changed()

    def ack(self, attached: Attached, offset: int) -> int | None:
        """Note that a client consumed everything below `offset`.

        Returns the offset below which output may be dropped when that rose, else None.
        """
        attached.acked = max(offset, attached.acked or 0)
        if not attached.lossless or (self._taken is not None and attached.acked <= self._taken):
            return None
        self._taken = attached.acked
        return self._taken
