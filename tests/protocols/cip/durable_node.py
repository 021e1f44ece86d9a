"""A node with a journal, in a process that can be killed: `python -m tests.protocols.cip.durable_node DIRECTORY`.

It prints a JSON object per line: what it remembers of its peers, where it listens, then what it took in and what it
had heard before. It ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from tests.protocols.cip.examples import BOB, EVERYTHING
from web4 import rtt
from web4.actors.rebuilding import rebuild
from web4.foundation.digest import blake3_hex
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.event_types import EventRegistry
from web4.journal.opening import open_journal
from web4.protocols.cip import CipOptions, CipRuntime
from web4.protocols.cip.durable_lane import peer_definition
from web4.protocols.cip.lane import PEER_EVENTS, encode_state

if TYPE_CHECKING:
    from web4.foundation.identity import Identity
    from web4.journal.journal import Journal

OPTIONS = CipOptions(
    agent_id="bob",
    offer=EVERYTHING,
    messages_per_second=1e6,
    message_burst=1e6,
    handshakes_per_second=1e6,
    handshake_burst=1e6,
)


def say(kind: str, /, **fields: Any) -> None:
    os.write(1, json.dumps({"kind": kind, **fields}).encode() + b"\n")


def emit(kind: str, /, **fields: Any) -> None:
    if kind == "replay_detected":
        say(kind, msg_id=fields["msg_id"], status=fields.get("status"), code=fields.get("code"))
    elif kind in {"error", "lane_halted", "journal_failed"}:
        say("trouble", of=kind, **{name: str(value) for name, value in fields.items()})


async def remembered(journal: Journal, cip: CipRuntime) -> dict[str, list[Any]]:
    """Of every peer its trust, the digest of its lane's state as the records have it, and what is not settled."""
    peers = {}
    for lane, _ in await journal.heads("peer"):
        state = (await rebuild(journal, lane, peer_definition())).state
        digest = blake3_hex(encode_state(state))
        peers[lane.id] = [cip.trust.state(lane.id), digest, len(state.taken.messages)]
    return peers


async def main(directory: Path, identity: Identity = BOB) -> None:
    async with (
        open_sqlite(directory / "journal") as backend,
        open_journal(backend, registry=EventRegistry(PEER_EVENTS), identity=identity, emit=emit) as journal,
        rtt.open_endpoint(identity) as endpoint,
        CipRuntime(identity, options=OPTIONS, emit=emit, journal=journal) as cip,
        trio.open_nursery() as nursery,
    ):
        say("remembered", peers=await remembered(journal, cip), durability=journal.durability)
        (directory / "bob.sock").unlink(missing_ok=True)
        listener = await endpoint.listen(f"unix://{directory}/bob.sock", admit=cip.admit)

        async def serve_all() -> None:
            async for session in endpoint.sessions():
                nursery.start_soon(cip.serve, session)

        async def take_in() -> None:
            async for delivery in cip.inbox:
                say("delivered", msg_id=delivery.message.msg_id, trust=delivery.trust)
                await cip.settled(delivery)
                peer = cip._peers[delivery.peer]
                peer.settle_now(round(time.time() * 1_000))
                await peer.lane.durable()
                say("settled", msg_id=delivery.message.msg_id)

        nursery.start_soon(serve_all)
        nursery.start_soon(take_in)
        say("listening", url=listener.addresses[0])
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
