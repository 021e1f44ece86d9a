"""Fills a small volume under a journal, and frees it again (JRN-15a, c, e, f). Runs in a mount namespace of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio

from web4.journal import EventRegistry, EventType, NewEvent, open_journal
from web4.journal.backends.sqlite import SqliteLimits, open_sqlite
from web4.journal.lane import SERVER, Lane

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20
LIMITS = SqliteLimits(reserve_bytes=4 * MIB, floor_bytes=8 * MIB, wal_pages=200)
LANE = Lane("session", "a")


class Said(msgspec.Struct, frozen=True):
    text: str


SAID = EventType(name="test.said", struct=Said, classes={"text": "retainable"})


def fill(path: Path) -> None:
    """Take all the space that is left."""
    with path.open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


async def wait_while(condition: Callable[[], bool]) -> None:
    """Wait for something that tells nobody of itself."""
    while condition():  # noqa: ASYNC110 - states of a journal and of a file system
        await trio.sleep(0.01)


async def main(volume: Path) -> None:
    """The scenario; any assertion that fails ends the process."""
    appended = 0
    async with (
        open_sqlite(volume / "j", limits=LIMITS) as backend,
        open_journal(backend, registry=EventRegistry([SAID])) as journal,
        trio.open_nursery() as nursery,
    ):
        assert backend.accepting
        assert (volume / "j" / "reserve").stat().st_size == 4 * MIB

        async def load() -> None:
            nonlocal appended
            while True:
                await journal.append(LANE, [NewEvent(Said("x" * 20_000), 1)], expected_seq=appended)
                appended += 1

        nursery.start_soon(load)
        await wait_while(lambda: appended < 50)
        await trio.to_thread.run_sync(fill, volume / "filler")
        await wait_while(lambda: journal.state != "suspended" or (volume / "j" / "reserve").exists())
        # The reserve carries the work on for a while; then nothing goes any more, and nothing is lost.
        before = -1
        while before != appended or journal.state != "suspended":
            before = appended
            await trio.sleep(1)
        assert not backend.accepting
        assert journal.health()["state"] == "suspended"
        assert len(await journal.read(LANE, after=appended - 10)) >= 10
        assert (await backend.stats())["accepting"] is False
        (volume / "filler").unlink()
        await wait_while(lambda: journal.state != "ready" or appended == before or not backend.accepting)
        assert (volume / "j" / "reserve").stat().st_size == 4 * MIB
        async for record in journal.follow(SERVER):
            if record.type == "journal.resumed":
                break
        nursery.cancel_scope.cancel()
    async with open_sqlite(volume / "j", limits=LIMITS) as backend:
        head = await backend.head(LANE)
        assert head.seq in {appended, appended + 1}
        records = await backend.read(LANE, limit=10_000)
        assert [record.seq for record in records] == list(range(1, head.seq + 1))
    print("survived", appended)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
