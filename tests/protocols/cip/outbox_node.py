"""A node with an outbox, in a process that can be killed: `python -m tests.protocols.cip.outbox_node ROLE DIRECTORY`.

`receiver` listens, and writes down each message it handles: to a file, flushed to the disk before the message is
settled, as a handler with an effect elsewhere would. `sender` dials it again and again, and queues so many messages
as it is told, one line on standard input each: one after the other, or, behind a `+`, all at once. Both print a JSON
object per line and end with their standard input.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from tests.protocols.cip.examples import ADA, BOB, EVERYTHING, FACT, TRACE
from web4 import rtt
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.event_types import EventRegistry
from web4.journal.opening import open_journal
from web4.protocols.cip import CipOptions, CipRuntime
from web4.protocols.cip.lane import PEER_EVENTS
from web4.protocols.errors import HandshakeFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

IDENTITIES = {"sender": ADA, "receiver": BOB}


def options(role: str) -> CipOptions:
    return CipOptions(
        agent_id=role,
        offer=EVERYTHING,
        messages_per_second=1e6,
        message_burst=1e6,
        handshakes_per_second=1e6,
        handshake_burst=1e6,
    )


def say(kind: str, /, **fields: Any) -> None:
    os.write(1, json.dumps({"kind": kind, **fields}).encode() + b"\n")


def emit(kind: str, /, **fields: Any) -> None:
    if kind in {"error", "lane_halted", "journal_failed"}:
        say("trouble", of=kind, **{name: str(value) for name, value in fields.items()})
    elif kind == "envelope_concluded":
        say("concluded", msg_id=fields["msg_id"], outcome=fields["outcome"])


async def lines() -> AsyncIterator[str]:
    """What the parent says."""
    pending = b""
    while True:
        await trio.lowlevel.wait_readable(0)
        chunk = os.read(0, 4_096)
        if not chunk:
            return
        *whole, pending = (pending + chunk).split(b"\n")
        for line in whole:
            yield line.decode()


async def receive(cip: CipRuntime, endpoint: rtt.Endpoint, directory: Path, nursery: trio.Nursery) -> None:
    (directory / "receiver.sock").unlink(missing_ok=True)
    await endpoint.listen(f"unix://{directory}/receiver.sock", admit=cip.admit)

    async def serve() -> None:
        async for session in endpoint.sessions():
            nursery.start_soon(cip.serve, session)

    async def handle() -> None:
        handled = os.open(directory / "handled", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        known = set((directory / "handled").read_text().split())
        async for delivery in cip.inbox:
            if delivery.msg_id not in known:  # idempotent by msg_id, as every handler is (ROUTE-4)
                os.write(handled, delivery.msg_id.encode() + b"\n")
                os.fsync(handled)
                known.add(delivery.msg_id)
            say("handled", msg_id=delivery.msg_id)
            await cip.settled(delivery)

    nursery.start_soon(serve)
    nursery.start_soon(handle)
    say("up")
    async for _ in lines():
        pass


async def send(cip: CipRuntime, endpoint: rtt.Endpoint, directory: Path, nursery: trio.Nursery) -> None:
    async def dial() -> None:
        while True:
            with suppress(rtt.RttError, HandshakeFailed, OSError):
                async with endpoint.dial(
                    f"unix://{directory}/receiver.sock", expect=BOB.fingerprint
                ) as session:
                    await cip.serve(session)
            await trio.sleep(0.02)

    waiting = [entry.msg_id for entry in await cip.outbox(BOB.fingerprint)]
    say("up", waiting=waiting)

    async def queue() -> None:
        say("queued", msg_id=await cip.propose_fact(BOB.fingerprint, FACT, TRACE))

    async for line in lines():
        if line == "dial":
            nursery.start_soon(dial)
        elif line.startswith("+"):
            async with trio.open_nursery() as together:
                for _ in range(int(line)):
                    together.start_soon(queue)
        else:
            for _ in range(int(line)):
                await queue()


async def main(role: str, directory: Path) -> None:
    identity = IDENTITIES[role]
    async with (
        open_sqlite(directory / role) as backend,
        open_journal(backend, registry=EventRegistry(PEER_EVENTS), identity=identity, emit=emit) as journal,
        rtt.open_endpoint(identity) as endpoint,
        CipRuntime(identity, options=options(role), emit=emit, journal=journal) as cip,
        trio.open_nursery() as nursery,
    ):
        work = partial(receive if role == "receiver" else send, cip, endpoint, directory, nursery)
        await work()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], Path(sys.argv[2]))
