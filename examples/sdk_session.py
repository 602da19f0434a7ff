"""Start a server, go away, come back to it: the same session, with everything it said."""

from __future__ import annotations

import asyncio
import sys

import holdfast

SERVER = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]


async def start() -> None:
    """Start a development server under a name, and leave as soon as its port answers."""
    async with holdfast.connect() as hf:
        session = await hf.start(SERVER, name="example-web")
        port = await session.wait_for(port="any", timeout=30)
        print("listening, by this session's own process:", port.evidence is not None)


async def come_back() -> None:
    """Attach from what could be another program, read what was printed, stop it, see the proof."""
    async with holdfast.connect() as hf, await hf.attach("example-web") as session:
        print((await session.stdout.readline()).decode().partition(" port")[0])
        receipt = await session.stop(grace=2)
        print("tree gone:", receipt.effect.get("tree_gone"))
        await session.wait()
        print("outcome:", session.outcome)


async def converse() -> None:
    """Talk to a program line by line; each byte arrives once, whatever happens to the daemon."""
    async with holdfast.connect() as hf:
        session = await hf.start(["cat"], name="example-cat")
        if session.stdin is None:
            raise RuntimeError("started with a pipe for its input")
        session.stdin.write(b"hello\n")
        print((await session.stdout.readline()).decode(), end="")
        session.stdin.close()
        print("ended with", await session.wait())


if __name__ == "__main__":
    asyncio.run(start())
    asyncio.run(come_back())
    asyncio.run(converse())
    print("done")
