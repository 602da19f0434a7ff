"""Messages of a server, as tests write them."""

from __future__ import annotations

import json
import struct
from typing import Any

VIEW: dict[str, Any] = {
    "id": "s1",
    "name": "web",
    "labels": {},
    "kind": "start",
    "machine": "local",
    "node": "n1",
    "command": ["true"],
    "shell": None,
    "cwd": None,
    "user": None,
    "group": None,
    "tty": False,
    "size": None,
    "env_names": [],
    "env_hash": "",
    "state": "running",
    "desired": "running",
    "ready": True,
    "generation": 1,
    "restarts": 0,
    "restart_policy": "never",
    "next_start_at": None,
    "gave_up": False,
    "timeouts": {},
    "pid": 4711,
    "boot_id": "b",
    "created_by": "uid 0",
    "created_at": "2026-01-01T00:00:00.000000Z",
    "started_at": None,
    "ended_at": None,
    "last_output_at": None,
    "deadline_at": None,
    "output": {
        "oldest": 0,
        "next": 0,
        "capacity": 1 << 24,
        "on_full": "drop",
        "complete": False,
        "stalled": None,
        "bytes_on_disk": 0,
    },
    "input": {"next": 0, "delivered": 0, "open": True},
    "attachments": [],
    "outcome": None,
    "outcome_detail": {},
    "exit_code": None,
    "signal": None,
    "message": "runs",
    "survivors": [],
}


def view(**fields: Any) -> dict[str, Any]:
    return {**VIEW, **fields}


def says(type_: str, **fields: Any) -> str:
    return json.dumps({"type": type_, **{key.rstrip("_"): value for key, value in fields.items()}})


def attached(*, input_next: int = 0, role: str = "writer", oldest: int = 0, next_: int = 0) -> str:
    return says(
        "attached", session=VIEW, oldest=oldest, next=next_, input_next=input_next, role=role
    )


def prints(offset: int, content: bytes, kind: int = 1) -> bytes:
    return struct.pack(">BQ", kind, offset) + content


def exits(*, final: bool = True, exit_code: int | None = 0, signal: str | None = None) -> str:
    return says("exit", outcome="exited", exit_code=exit_code, signal=signal, final=final)
