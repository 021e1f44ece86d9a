"""An agent with a journal, in a process that can be killed: `python -m tests.agent.agent_process DIRECTORY`.

With a second word `idempotent`, it begins again what a crash interrupted. It works on a task until DIRECTORY/released
exists, prints a JSON object per line, and ends when its standard input does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from tests.protocols.cip.durable_node import OPTIONS, say
from tests.protocols.cip.examples import BOB
from web4 import rtt
from web4.agent import AgentLoopAdapter, Result, Task
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.event_types import EventRegistry
from web4.journal.opening import open_journal
from web4.protocols.cip import CipRuntime
from web4.protocols.cip.lane import PEER_EVENTS
from web4.protocols.router import ProtocolRouter


async def main(directory: Path, idempotent: bool) -> None:
    async def handler(task: Task) -> Result:
        say("working", again=task.again, topic=task.content["topic"].text)
        while not (directory / "released").exists():  # noqa: ASYNC110 - another process makes it
            await trio.sleep(0.01)
        return Result(content={"again": task.again})

    async with (
        open_sqlite(directory / "journal") as backend,
        open_journal(backend, registry=EventRegistry(PEER_EVENTS), identity=BOB) as journal,
        rtt.open_endpoint(BOB) as endpoint,
        CipRuntime(BOB, options=OPTIONS, journal=journal) as cip,
        trio.open_nursery() as nursery,
    ):
        router = ProtocolRouter(cip)
        AgentLoopAdapter(router, handler, idempotent=lambda _: idempotent)
        nursery.start_soon(router.run)
        (directory / "bob.sock").unlink(missing_ok=True)
        listener = await endpoint.listen(f"unix://{directory}/bob.sock", admit=cip.admit)

        async def serve_all() -> None:
            async for session in endpoint.sessions():
                nursery.start_soon(cip.serve, session)

        nursery.start_soon(serve_all)
        say("listening", url=listener.addresses[0])
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), "idempotent" in sys.argv)
