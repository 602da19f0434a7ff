"""Mounts an empty FUSE file system and serves its root, until standard input ends.

    fuse_root.py FOLDER COMMAND...    run COMMAND over the mount; its exit code

Just enough of the protocol for the folder to be looked at (linux/fuse.h): INIT, GETATTR and
SETATTR of the root; everything else is ENOSYS. Run under `unshare -m` as root.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import subprocess
import sys
import threading

INIT, GETATTR, SETATTR = 26, 3, 4
HEAD = struct.Struct("<IIQQIIII")
REPLY = struct.Struct("<IiQ")
ATTR = struct.Struct("<QQQQQQIIIIIIIIII")
MAJOR, MINOR = 7, 31


def mount(folder: str) -> int:
    """Mount at the folder; the descriptor to serve."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode={stat.S_IFDIR | 0o700:o},user_id=0,group_id=0"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", folder.encode(), b"fuse", 0, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    return device


def serve(device: int) -> None:
    """Answer requests until the mount is gone."""
    while True:
        try:
            request = os.read(device, 1 << 17)
        except OSError:  # ENODEV: unmounted
            return
        _, opcode, unique, *_ = HEAD.unpack_from(request)
        error, body = answer(opcode)
        os.write(device, REPLY.pack(REPLY.size + len(body), -error, unique) + body)


def answer(opcode: int) -> tuple[int, bytes]:
    """An errno and what follows the header of the reply."""
    if opcode == INIT:
        return 0, struct.pack("<IIIIHHIIHHI28x", MAJOR, MINOR, 0, 0, 1, 1, 4096, 1, 1, 0, 0)
    if opcode in (GETATTR, SETATTR):
        attr = ATTR.pack(1, 0, 0, 0, 0, 0, 0, 0, 0, stat.S_IFDIR | 0o700, 2, 0, 0, 0, 4096, 0)
        return 0, struct.pack("<QII", 1, 0, 0) + attr
    return errno.ENOSYS, b""


if __name__ == "__main__":
    descriptor = mount(sys.argv[1])
    threading.Thread(target=serve, args=(descriptor,), daemon=True).start()
    raise SystemExit(subprocess.run(sys.argv[2:], check=False).returncode)
