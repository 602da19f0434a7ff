"""One request for each of several sessions, at the same time.

Rules
- One that is refused does not keep the others from being asked: it is said, and the worst exit
  code is the command's.
- Each thread has a connection of its own; two stops take one grace period, not two.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from holdfast.cli.exits import Exit
from holdfast.cli.failure import Failure, exit_of, report, say
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.cli.connection import Connection
    from holdfast.cli.invocation import Invocation

__all__ = ["for_each"]

AT_ONCE = 16  # requests; a daemon has a limit of connections
Work = Callable[["Connection", str], int]


def for_each(invocation: Invocation, connection: Connection, refs: list[str], work: Work) -> int:
    """Call `work` for each session; the highest exit code. One alone uses `connection` and raises.

    What is neither a refusal nor a `Failure` is raised when all are done.
    """
    if len(refs) == 1:
        return work(connection, refs[0])

    def asked(ref: str) -> int:
        own = invocation.connect()
        try:
            return work(own, ref)
        except Failure as failure:
            if failure.message is not None:
                say(failure.message)
            return failure.exit_code
        except HoldfastError as error:
            report(error, as_json=invocation.as_json)
            return exit_of(error)
        finally:
            own.close()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return max(threads.map(asked, refs), default=Exit.OK)
