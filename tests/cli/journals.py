"""Journals for the tests of the command line, as a node and a stranger would write them."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio

from web4.foundation.identity import Identity
from web4.journal import EventRegistry, EventType, Lane, NewEvent, open_journal
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.replay import state_at
from web4.protocols.cip.durable_lane import peer_definition
from web4.protocols.cip.lane import PEER_EVENTS
from web4.protocols.cip.peer_state import IdHeard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.journal import Journal

NODE = Identity.from_seed(bytes(range(32)))
PEER = Lane("peer", "ab" * 32)
STRANGE = Lane("session", "strange")
BEGIN = 1_700_000_000_000
TEXT = "pay\x1b[31m attention"
"""What somebody else wrote, with a sequence that would turn a terminal red."""


class Noted(msgspec.Struct, frozen=True):
    """An event that no installation knows."""

    text: str


class Asked(msgspec.Struct, frozen=True):
    """A command that nobody ends."""

    command: str


NOTED = EventType(name="test.noted", struct=Noted, classes={"text": "retainable"})
ASKED = EventType(
    name="test.asked", struct=Asked, classes={"command": "structural"}, phase="begin", subject="command"
)


def heard(number: int) -> NewEvent:
    """An event of a peer's lane."""
    digest = f"{number:064x}"
    at = BEGIN + number
    return NewEvent(
        IdHeard(key=f"{number:032x}", content=digest, envelope=digest, at_ms=at, skew_ms=60_000), at
    )


def noted(number: int) -> NewEvent:
    """An event of a stranger's lane."""
    event = Noted(text=f"{TEXT} {number}")
    return NewEvent(event, BEGIN + number, principal="ann\x1b[2J", refs=(("session", "strange"),))


@asynccontextmanager
async def writing(directory: Path, durability: str = "strict") -> AsyncIterator[Journal]:
    """The journal in `directory`, as its node has it open."""
    registry = EventRegistry((*PEER_EVENTS, NOTED, ASKED))
    async with (
        open_sqlite(directory, durability=durability) as backend,  # type: ignore[arg-type]
        open_journal(backend, registry=registry, identity=NODE) as journal,
    ):
        yield journal


def make(directory: Path, *, peers: int = 12, strange: int = 5, snapshot: bool = False) -> Path:
    """A journal at rest: a peer's lane, a lane that this installation does not know, an anchor."""

    async def write() -> None:
        async with writing(directory) as journal:
            if peers:
                await journal.append(PEER, [heard(number) for number in range(peers)], expected_seq=0)
            if strange:
                await journal.append(STRANGE, [noted(number) for number in range(strange)], expected_seq=0)
            if snapshot:
                definition = peer_definition()
                await journal.put_snapshot(
                    await state_at(journal.backend, definition, journal.registry, PEER, peers)
                )

    trio.run(write)
    return directory


async def _run(directory: Path, durability: str) -> None:
    """A node that writes until its standard input ends: it says when there is something, and at the end how much."""
    async with writing(directory, durability) as journal, trio.open_nursery() as nursery:

        async def until_told() -> None:
            await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
            nursery.cancel_scope.cancel()

        nursery.start_soon(until_told)
        seq = (await journal.head(PEER)).seq
        told = False
        with trio.CancelScope():
            while True:
                with trio.CancelScope(shield=True):
                    seq = (
                        await journal.append(PEER, [heard(seq), heard(seq + 1)], expected_seq=seq)
                    ).last_seq
                if not told:
                    sys.stdout.write("writing\n")
                    sys.stdout.flush()
                told = True
                await trio.sleep(0.002)
    sys.stdout.write(f"{seq}\n")


if __name__ == "__main__":
    trio.run(_run, Path(sys.argv[1]), sys.argv[2])
