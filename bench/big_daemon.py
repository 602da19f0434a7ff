"""The daemon with a large heap: `python -m bench.big_daemon BYTES [flags of the daemon]`.

What a fork of such a process costs is why the keeper, and not the daemon, makes children.
"""

from __future__ import annotations

import sys

from api.daemon import main

_PAGE = 4096

if __name__ == "__main__":
    heap = bytearray(int(sys.argv[1]))
    heap[::_PAGE] = b"\1" * len(range(0, len(heap), _PAGE))  # touched, so that the pages exist
    sys.exit(main(sys.argv[2:]))
