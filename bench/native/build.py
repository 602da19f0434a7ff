"""Compiling the floors and reading what they print."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["build", "numbers"]


def build(folder: Path) -> dict[str, Path]:
    """Compile every program of this folder into `folder`, once; return them by name."""
    programs = {}
    for source in sorted(Path(__file__).parent.glob("*.c")):
        program = folder / source.stem
        if not program.exists():
            subprocess.run(["cc", "-O2", "-Wall", "-o", program, source, "-lutil"], check=True)
        programs[source.stem] = program
    return programs


def numbers(program: Path, *arguments: str) -> list[float]:
    """Run a program and return the numbers it prints, one a line."""
    ran = subprocess.run([program, *arguments], check=True, stdout=subprocess.PIPE)
    return [float(line) for line in ran.stdout.split()]
