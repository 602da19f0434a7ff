"""Output as it comes, several commands at once, and everything that happens on the node."""

from __future__ import annotations

import asyncio
import sys

import holdfast


async def main() -> None:
    """Show callbacks, `run_many`, and events from a known place on."""
    async with holdfast.connect() as hf:
        cursor = (await hf.page(limit=1)).event_cursor

        session = await hf.start(
            "for n in 1 2 3; do echo line $n; done",
            on_stdout=lambda content: sys.stdout.write(content.decode()),
            on_exit=lambda returncode: print("exited with", returncode),
        )
        await session.wait()

        results = await hf.run_many([["echo", word] for word in ("a", "b", "c")], concurrency=2)
        print(b"".join(result.stdout for result in results).split())

        async for event in hf.events(cursor, session=session.id):
            print(event.type)
            if event.type == "session.exited":
                break
    print("done")


if __name__ == "__main__":
    asyncio.run(main())
