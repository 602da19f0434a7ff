"""Implementations of the supervisor's ports: where the node's truth is kept."""

from store.memory import MemoryStore
from store.sqlite import SqliteStore

__all__ = ["MemoryStore", "SqliteStore"]
