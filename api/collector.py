"""Takes all output of one generation and keeps head and tail of each stream.

Rules
- Whatever is read is reported as taken, so that the session never waits for long; memory is
  bounded by `max_bytes` a stream.
- Input goes in as the child takes it, then end of file. A child that does not read its input, or
  closes it, changes nothing for its output.
- It ends when the generation's outcome is committed and all output before it was read.
"""

from __future__ import annotations

import asyncio
from typing import Final

from api.text import HeadTail
from supervisor.errors import SupervisorError
from supervisor.output.reader import OffsetGone
from supervisor.output.segments import Stream
from supervisor.session import Session

__all__ = ["Collector"]

_READ_BYTES: Final = 256 * 1024
_REPORT_BYTES: Final = 1024 * 1024


class Collector:
    """One reader of one generation. `stopped` is set by its owner when `run` has returned.

    `complete`: everything was read. `wanted`: how many wait for it. `offset`: read up to there.
    `input_` is all of the child's input, from offset 0 on.
    """

    def __init__(self, session: Session, max_bytes: int, input_: bytes | None) -> None:
        record = session.record
        self.stdout = HeadTail(max_bytes)
        self.stderr = HeadTail(max_bytes)
        self.generation = record.generation
        self.complete = False
        self.wanted = 0
        self.stopped = asyncio.Event()
        self._session = session
        self._input = input_
        self.offset = self._reported = record.generation_offset

    @property
    def feeding(self) -> bool:
        """Whether there is input that the child has not been given yet."""
        return self._input is not None and not self._over

    async def run(self) -> None:
        """Read until the end. Cancelling ends only the reading."""
        session = self._session
        while True:
            await self._feed()
            over = self._over  # before reading: all of its output is there then
            more = self._read()
            self._report_if_due()
            if more:
                await asyncio.sleep(0)  # others have their turn
            elif over:
                break
            else:
                await session.changes.wait()
        self._report()
        self.complete = True

    @property
    def _over(self) -> bool:
        record = self._session.record
        return record.state.over or record.generation > self.generation

    def _read(self) -> bool:
        """Take what is there; return whether there may be more."""
        record, reader = self._session.record, self._session.reader
        newer = record.generation > self.generation
        end = record.generation_offset if newer else reader.next
        if self.offset >= end:
            return False
        try:
            spans = reader.spans(self.offset, min(_READ_BYTES, end - self.offset))
        except OffsetGone as gone:
            for stream in (self.stdout, self.stderr):
                stream.skip(self.offset, gone.oldest)
            self.offset = gone.oldest
            return True
        for span in spans:
            kept = self.stderr if span.stream is Stream.STDERR else self.stdout
            kept.append(span.offset, span.data)
            self.offset = span.offset + len(span.data)
        return self.offset < end

    def _report_if_due(self) -> None:
        """Reporting each piece would wake the pump for nothing."""
        waited_for = self._session.stalled == "reader"
        if waited_for or self.offset - self._reported >= _REPORT_BYTES:
            self._report()

    def _report(self) -> None:
        if self.offset > self._reported and not self._over:
            self._reported = self.offset
            self._session.taken(self.offset)

    async def _feed(self) -> None:
        """Give the child what it has room for, and end of file behind it."""
        written = self._session.input
        if self._input is None or written is None or self._over:
            return
        try:
            while (room := written.room) > 0 and (piece := self._input[written.next :][:room]):
                written.write(piece)
            if written.next >= len(self._input):
                self._input = None
                await self._session.end_input()
        except SupervisorError:  # it closed its stdin, or ended: it did not want the rest
            self._input = None
