"""The output log: a ring of segments per session, the pump that fills it, readers beside it."""

from supervisor.output.errors import OffsetAhead, OffsetGone, OutputError, StateFolderRefused
from supervisor.output.events import (
    Advanced,
    AllEnded,
    Delivered,
    Discarding,
    Dropped,
    InputBroken,
    InputEnded,
    NodeFilling,
    PumpEvent,
    PumpFailed,
    Resumed,
    Stalled,
    StreamEnded,
    TapRemoved,
)
from supervisor.output.log import OutputLog
from supervisor.output.pump import Pump
from supervisor.output.reader import LogReader, Span, TailCache
from supervisor.output.segments import MIN_CAPACITY_BYTES, Hole, Stream
from supervisor.output.selftest import check_state_folder
from supervisor.output.space import Space
from supervisor.output.tap import Tap

__all__ = [
    "MIN_CAPACITY_BYTES",
    "Advanced",
    "AllEnded",
    "Delivered",
    "Discarding",
    "Dropped",
    "Hole",
    "InputBroken",
    "InputEnded",
    "LogReader",
    "NodeFilling",
    "OffsetAhead",
    "OffsetGone",
    "OutputError",
    "OutputLog",
    "Pump",
    "PumpEvent",
    "PumpFailed",
    "Resumed",
    "Space",
    "Span",
    "Stalled",
    "StateFolderRefused",
    "Stream",
    "StreamEnded",
    "TailCache",
    "Tap",
    "TapRemoved",
    "check_state_folder",
]
