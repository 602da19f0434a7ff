"""Run under `unshare -m` as root: floods a log on a 1 MiB tmpfs, then makes room."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from supervisor.output import AllEnded, Resumed, Stalled, Tap
from tests.component.output.checker import STDOUT, Checker, expected
from tests.component.output.processes import Forked
from tests.component.output.rig import Rig

DISK_BYTES = 1 << 20
FLOOD_BYTES = 3 << 20


def flood(fd: int) -> None:
    """Write the pattern, waiting as a child does; then the pipe's last writer is gone."""
    for start in range(0, FLOOD_BYTES, 50_000):
        piece = expected(STDOUT, start, min(50_000, FLOOD_BYTES - start))
        while piece:
            piece = piece[os.write(fd, piece) :]


def main(folder: Path) -> None:
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)], check=True
    )
    ballast = folder / "ballast"
    ballast.write_bytes(b"x" * 300_000)
    out, child_out = os.pipe()
    child = Forked(lambda: flood(child_out))
    os.close(child_out)
    rig = Rig(folder)
    log = rig.log(capacity=8 << 20)
    rig.add(Tap("s", log, stdout=out))
    assert rig.wait(Stalled).why == "disk"
    checker = Checker()
    checker.check(folder / "s")
    assert checker.offset == log.next < DISK_BYTES
    subprocess.run(["mount", "-o", "remount,size=16m", str(folder)], check=True)
    ballast.unlink()
    rig.wait(Resumed)
    rig.wait(AllEnded)
    checker.check(folder / "s")
    assert checker.offset == FLOOD_BYTES
    rig.close()
    os.waitpid(child.pid, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
