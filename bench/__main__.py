"""`python -m bench [W1 ... W9] [--quick] [--json]`: floor, ours, ratio, target, met or not."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from dataclasses import asdict
from importlib import import_module
from typing import Final

from bench.daemon import scratch
from bench.measure import Row, machine, table

_WORKLOADS: Final = {
    "W1": "bench.w1_exec",
    "W2": "bench.w2_output",
    "W3": "bench.w3_echo",
    "W4": "bench.w4_idle",
    "W5": "bench.w5_list",
    "W6": "bench.w6_replay",
    "W7": "bench.w7_sigkill",
    "W8": "bench.w8_waits",
    "W9": "bench.w9_sampling",
}


def main() -> int:
    """Measure what is asked for and print it; returns 0, since a benchmark is not a test."""
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("workloads", nargs="*", metavar="W", help="W1 to W9; all when none")
    parser.add_argument("--quick", action="store_true", help="a minute, with fewer rounds")
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    asked = parser.parse_args()
    unknown = set(asked.workloads) - set(_WORKLOADS)
    if unknown:
        parser.error(f"no such workload: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that daemons are ended, not left
    before = machine()
    found: list[Row] = []
    with scratch() as folder:
        for name in asked.workloads or _WORKLOADS:
            started = time.monotonic()
            found += import_module(_WORKLOADS[name]).rows(folder, quick=asked.quick)
            print(f"{name} took {time.monotonic() - started:.0f} s", file=sys.stderr)
    if asked.json:
        print(json.dumps({"machine": before}))
        for row in found:
            print(json.dumps(asdict(row) | {"met": row.met}))
    else:
        print(f"{before}\nafter:  {machine()}\n\n{table(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
