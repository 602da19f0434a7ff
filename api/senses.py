"""The daemon's senses: RE2 for patterns, /proc for sockets, HTTP for URLs."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final
from weakref import WeakValueDictionary

import re2  # type: ignore[import-untyped]  # google-re2 ships no types

from api.http_probe import HttpProbe
from supervisor.listeners import Listening, listening
from supervisor.log_search import Search
from supervisor.senses import HttpAnswer

__all__ = ["SystemSenses"]

_PATTERN_CHARACTERS: Final = 4096

# Whoever waits for the same pattern gets the same search, and shares it (supervisor/log_watch.py).
_in_use: Final[WeakValueDictionary[str, Search]] = WeakValueDictionary()


def _compile(pattern: str) -> Search:
    options = re2.Options()
    options.never_nl = True
    options.log_errors = False
    try:
        compiled = re2.compile(b"(?m)" + pattern.encode(), options)
    except re2.error as error:
        reason = error.args[0] if error.args else "syntax"
        shown = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"That is no RE2 pattern: {shown}.") from error

    def search(lines: bytes) -> tuple[int, int] | None:
        found = compiled.search(lines)
        return None if found is None else found.span()

    return search


class SystemSenses:
    """Implements `supervisor.senses.Senses`. `hosts` may be asked beside loopback."""

    def __init__(self, hosts: Collection[str] = ()) -> None:
        self.probe = HttpProbe(hosts)

    @staticmethod
    def compile(pattern: str) -> Search:
        """Return a search for an RE2 pattern, `^` and `$` being those of lines.

        Linear time whatever the pattern; it never matches a newline. Raises ValueError.
        """
        if not 0 < len(pattern) <= _PATTERN_CHARACTERS:
            raise ValueError(f"A pattern has 1 to {_PATTERN_CHARACTERS} characters.")
        search = _in_use.get(pattern)
        if search is None:
            search = _in_use[pattern] = _compile(pattern)
        return search

    async def listen(self, pids: Collection[int], port: int | None) -> Listening:
        """Look into /proc on a thread."""
        return await asyncio.to_thread(listening, pids, port)

    async def get(self, url: str) -> HttpAnswer:
        """Ask a URL once."""
        return await self.probe.get(url)
