"""Start of the keeper program: `python -I -S supervisor/keeper RUN_DIR CONTAINMENT`.

Python puts this folder in front of `sys.path`, where a file of ours would hide a module of the
standard library. It is taken out, and the parent of `supervisor` is appended, so that the
standard library always wins.
"""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _HERE]
sys.path.append(str(_HERE.parent.parent))

from supervisor.keeper.program import main  # noqa: E402 - only importable from here on

main(sys.argv[1:])
