"""What the supervisor is told once, at its start. Sizes are bytes, times seconds."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SupervisorSettings"]

_DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorSettings:
    """Limits and retention; every one has its default here and a key in the configuration.

    `node_bytes` None means the smaller of 8 GiB and a fifth of the file system. `containment` is
    `auto`, `cgroup` or `shim`. `open_files` is the soft descriptor limit of children; None is the
    daemon's own. `sessions` counts live ones.
    """

    sessions: int = 5000
    node_bytes: int | None = None
    reserve_bytes: int = 64 * 1024 * 1024
    containment: str = "auto"
    open_files: int | None = None
    finished_s: float = 7 * _DAY_S
    finished: int = 1000
    exec_s: float = 3600
    exec_finished: int = 1000
    tombstone_s: float = 30 * _DAY_S
    events: int = 100_000
    receipts: int = 10_000
    receipts_s: float = 7 * _DAY_S
