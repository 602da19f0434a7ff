"""The keys by which a person leaves a session whose terminal takes every other key.

Rules
- `ctrl-] d` detaches, `ctrl-] ?` asks for help, `ctrl-] ctrl-]` types one ctrl-]. Anything else
  after ctrl-] is typed as it is, ctrl-] included: no key is ever lost.
- With an escape character (ssh's `~`), at the start of a line only: `~.` and `~d` detach, `~?`
  asks for help, `~~` types one `~`; anything else is typed as it is.
- Keys may arrive in any pieces: a state is kept between calls.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["HELP", "EscapeKeys", "Request"]

CTRL_BRACKET = 0x1D
LINE_ENDS = b"\r\n"

# A program may have switched the terminal to the kitty keyboard protocol or to xterm's
# modifyOtherKeys; ctrl-] is then an escape sequence, and without this nobody could leave.
SPELLINGS = (b"\x1b[93;5u", b"\x1b[27;5;93~")

HELP = (
    "ctrl-] d  detach: the session goes on",
    "ctrl-] ?  this help",
    "ctrl-] ctrl-]  type ctrl-]",
)


class Request(StrEnum):
    """What the person asks of `hold` itself."""

    DETACH = "detach"
    HELP = "help"


class EscapeKeys:
    """Splits what is typed into bytes for the child and requests to `hold`.

    `escape` is one ASCII character, or None for ctrl-] alone.
    """

    def __init__(self, escape: str | None = None) -> None:
        self._escape = ord(escape) if escape else None
        self._line_start = True
        self._pending: int | None = None  # the ctrl-] or escape character that waits for its key

    def feed(self, typed: bytes) -> list[bytes | Request]:
        """The bytes to pass on and the requests, in the order typed; nothing after a detach."""
        for spelling in SPELLINGS:
            typed = typed.replace(spelling, bytes([CTRL_BRACKET]))
        found: list[bytes | Request] = []
        passed = bytearray()
        for key in typed:
            request = self._key(key, passed)
            if request is None:
                continue
            if passed:
                found.append(bytes(passed))
                passed.clear()
            found.append(request)
            if request is Request.DETACH:
                return found
        if passed:
            found.append(bytes(passed))
        return found

    def _key(self, key: int, passed: bytearray) -> Request | None:
        if self._pending is not None:
            return self._after_prefix(key, passed)
        if key == CTRL_BRACKET or (key == self._escape and self._line_start):
            self._pending = key
            return None
        self._pass(key, passed)
        return None

    def _after_prefix(self, key: int, passed: bytearray) -> Request | None:
        prefix, self._pending = self._pending, None
        assert prefix is not None  # noqa: S101  (only called while one waits)
        if key == ord("d") or (key == ord(".") and prefix == self._escape):
            return Request.DETACH
        if key == ord("?"):
            return Request.HELP
        self._pass(prefix, passed)
        if key != prefix:
            self._pass(key, passed)
        return None

    def _pass(self, key: int, passed: bytearray) -> None:
        passed.append(key)
        self._line_start = key in LINE_ENDS
