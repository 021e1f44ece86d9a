"""A node that is going to be killed while claims are accepted: `python -m tests.protocols.knowledge.killed_node DIR N`.

Says `ready`, then the number of each claim whose acceptance was durable. What a peer's lane was told stands in
`DIR.told`, one line with proposer and cause each, as the outside world would remember it. With N = 0 it only finishes
what was left, says `state` with the digest of its own and of the replayed state, and ends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from tests.protocols.knowledge.book import fp, msg
from tests.protocols.knowledge.nodes import confirmation, delivery, fact
from web4.actors import open_lane_actors
from web4.actors.rebuilding import rebuild
from web4.foundation.digest import blake3_hex
from web4.journal import EventRegistry, open_journal
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.lane import KNOWLEDGE
from web4.protocols.knowledge.definition import KNOWLEDGE_EVENTS
from web4.protocols.knowledge.form import encode_state
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.knowledge.runtime import KnowledgeRuntime
from web4.trust import Anchored, HandshakeOk, TrustOutcome, TrustRegistry

if TYPE_CHECKING:
    from web4.trust import TrustCommand

NODE, P, B, C = (fp(one) for one in ("node", "p", "b", "c"))


class World:
    """What other lanes know: it does not go away with the node."""

    def __init__(self, directory: Path) -> None:
        self._file = os.open(f"{directory}.told", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def tell(self, peer: str, command: TrustCommand, *, cause: str | None = None) -> TrustOutcome:
        await trio.lowlevel.checkpoint()
        os.write(self._file, f"{peer} {command.event} {cause}\n".encode())
        return TrustOutcome("trusted")

    async def send(self, *_: Any, **__: Any) -> str:
        raise AssertionError("nothing is sent here")


async def main(directory: Path, first: int) -> None:
    """Accept claims until killed."""
    world, registry = World(directory), TrustRegistry()
    for peer in (P, B, C):
        registry.handle(peer, HandshakeOk(at_ms=1) if peer == P else Anchored(at_ms=1))
    knowledge = KnowledgeRuntime(NODE, trust=world.tell, send=world.send, view=registry)
    async with (
        open_sqlite(directory) as store,
        open_journal(store, registry=EventRegistry(KNOWLEDGE_EVENTS)) as journal,
        open_lane_actors(journal, {"knowledge": knowledge.definition}) as actors,
    ):
        knowledge.bind(actors)
        if first:
            print("ready", flush=True)
            for number in range(first, first + 100_000):
                statement = f"s{number}"
                for peer, payload, name in (
                    (P, fact(statement), "p"),
                    (B, confirmation(claim_key("physics", statement)), "b"),
                    (C, confirmation(claim_key("physics", statement)), "c"),
                ):
                    trust = registry.state(peer)
                    told = delivery(
                        NODE, peer, payload, msg(f"{name}{number}"), trust, now=knowledge.clock.wall_ms()
                    )
                    result = await knowledge.handle(told)
                    assert result.status == "handled"
                print(number, flush=True)
        while await journal.open_work(KNOWLEDGE):  # noqa: ASYNC110 - the journal has no event for it
            await trio.sleep(0.01)
        own = encode_state(await knowledge.state())
        again = encode_state((await rebuild(journal, KNOWLEDGE, knowledge.definition)).state)
        statuses = [f"{one.statement[1:]}" for one in await knowledge.claims("accepted", limit=100_000)]
        print("accepted", *statuses, flush=True)
        print("state", blake3_hex(own), blake3_hex(again), flush=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
