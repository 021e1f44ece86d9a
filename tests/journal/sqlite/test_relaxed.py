"""Profile `relaxed`: what is lost is a suffix of whole commits, and only for a moment (JRN-5c)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import trio

from tests.journal.sqlite.reference import one_commit, seal
from web4.journal.backends.sqlite import SqliteLimits, open_sqlite
from web4.journal.lane import KNOWLEDGE, SERVER, Lane
from web4.testing.disk import SimulatedDisk

if TYPE_CHECKING:
    from pathlib import Path

LANES = [KNOWLEDGE, SERVER, Lane("session", "a")]


async def test_relaxed_loses_a_suffix_of_whole_commits(tmp_path: Path) -> None:
    """JRN-5c: the power goes right after commits that were not flushed: never a hole, never half a commit."""
    left = set()
    for seed in range(6):
        chance = random.Random(seed)
        disk = SimulatedDisk(f"relaxed-{seed}", seed=seed)
        limits = SqliteLimits(flush_ms=10_000, wal_pages=chance.choice((20, 10_000)))
        directory = tmp_path / str(seed)
        async with open_sqlite(directory, durability="relaxed", vfs=disk.name, limits=limits) as backend:
            assert backend.durability == "relaxed"
            heads = {lane: await backend.own(lane) for lane in LANES}
            history = [heads]
            for _ in range(30):
                parts = [seal(lane, heads[lane], [b'{"n":1}'] * 2) for lane in chance.sample(LANES, 2)]
                commit = one_commit(*parts)
                await backend.commit(commit)
                heads = {**heads, **{move.lane: move.after for move in commit.heads}}
                history.append(heads)
            disk.cut()
        disk.restore()
        async with open_sqlite(directory, durability="relaxed", vfs=disk.name) as backend:
            found = {lane: await backend.head(lane) for lane in LANES}
            assert found in history
            left.add(history.index(found))
            for lane in LANES:
                assert len(await backend.read(lane)) == found[lane].seq
        disk.unregister()
    assert min(left) < 30  # the disk does lose what was not synced


async def test_relaxed_flushes_soon(tmp_path: Path) -> None:
    """JRN-5c: without any further commit what was written is forced to disk."""
    disk = SimulatedDisk("flushing", seed=1)
    async with open_sqlite(tmp_path / "j", durability="relaxed", vfs=disk.name) as backend:
        commit = one_commit(*[seal(lane, await backend.own(lane), [b'{"n":1}']) for lane in LANES])
        await backend.commit(commit)
        while not (await backend.stats())["flushed"]:  # noqa: ASYNC110 - the writer's thread tells nobody
            await trio.sleep(0.01)
        disk.cut()
    disk.restore()
    async with open_sqlite(tmp_path / "j", vfs=disk.name) as backend:
        for lane in LANES:
            assert (await backend.head(lane)).seq == 1
    disk.unregister()
