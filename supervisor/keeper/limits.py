"""The soft limit of descriptors: high for keeper and daemon, for children what it was before.

A program that sees a high limit may close that many descriptors one by one, or use select(2) with
numbers it cannot hold; so nobody but us gets ours.
"""

from __future__ import annotations

import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def soft_nofile(soft: int) -> Iterator[None]:
    """Lower the soft limit while a process is started; descriptors above it stay open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lower_nofile(soft)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def lower_nofile(soft: int) -> None:
    """Set the soft limit, at most to the hard one."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard), hard))


def raise_nofile() -> tuple[int, int]:
    """Raise the soft limit to the hard one; return both as they were."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    return before
