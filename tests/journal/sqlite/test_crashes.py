"""Power cuts, failing syncs and writes and full disks under the real engine, judged by a model (JRN-4, 5, 12, 15).

`WEB4_CRASHES=10000` runs until so many power cuts were survived; a failure names the seed that repeats it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.journal.sqlite.crashing import LIMITS, Ordeal
from tests.journal.sqlite.reference import genesis, one_commit, seal
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.errors import JournalOpenError, NotCommittedError, OutcomeUnknownError
from web4.journal.lane import SERVER, Lane
from web4.testing.disk import SimulatedDisk

if TYPE_CHECKING:
    from pathlib import Path

CRASHES = int(os.environ.get("WEB4_CRASHES", "25"))
SEED = int(os.environ.get("WEB4_SEED", "1"))
LIVES = 20


async def test_ack_means_durable(tmp_path: Path) -> None:
    """JRN-5b, 12a, b, 15a, b, 16: whatever fails, what was acknowledged is there, as a whole, and nothing else is."""
    crashes = faults = recovered = 0
    seed = SEED
    while crashes < CRASHES:
        ordeal = Ordeal(seed, tmp_path / str(seed))
        try:
            for _ in range(LIVES):
                await ordeal.live()
        finally:
            ordeal.close()
        crashes += ordeal.crashes
        faults += ordeal.faults
        recovered += ordeal.recovered
        seed += 1
    print(f"seeds {SEED} to {seed - 1}: {crashes} power cuts, {faults} faults, {recovered} commits recovered")


async def test_no_copy_stays_where_the_engine_moved_cells(tmp_path: Path) -> None:
    """JRN-16: a life in which an erased value stayed between the cells of a page, although deleting overwrites."""
    ordeal = Ordeal(100_119, tmp_path / "j")
    try:
        for _ in range(14):
            await ordeal.live()
    finally:
        ordeal.close()


async def test_a_failed_sync_is_never_just_repeated(tmp_path: Path) -> None:
    """JRN-15b: after EIO from fsync the commit is read back, and what was recovered outlives the next power cut."""
    lane = Lane("session", "a")
    for readers_are_open in (False, True):
        directory = tmp_path / str(readers_are_open)
        disk = SimulatedDisk(f"sync-{readers_are_open}", seed=3)
        async with open_sqlite(directory, vfs=disk.name, limits=LIMITS) as backend:
            # A reader keeps the index of the WAL alive, which does not know the failed commit; without one it is found.
            head = await backend.own(lane) if readers_are_open else genesis(backend.journal_id, lane)
            commit = one_commit(seal(lane, head, [b'{"n":1}', b'{"n":2}']))
            disk.arm("sync")
            try:
                await backend.commit(commit)
            except OutcomeUnknownError:
                pass
            else:
                raise AssertionError("a failed sync was taken for a commit")
            # Until the outcome is known nothing is taken.
            try:
                await backend.commit(commit)
            except NotCommittedError:
                pass
            else:
                raise AssertionError("a commit was taken on top of an unknown one")
            number = await backend.recover(commit)
            there = (await backend.head(lane)).seq == 2
            assert there == (number is not None) == (not readers_are_open)
            disk.cut()
        disk.restore()
        async with open_sqlite(directory, vfs=disk.name, limits=LIMITS) as backend:
            assert ((await backend.head(lane)).seq == 2) == there
        disk.unregister()


async def test_a_store_is_not_built_on_what_another_could_not_sync(tmp_path: Path) -> None:
    """JRN-15b: whoever wrote the WAL last may have died of a failed sync; a commit behind it outlives a power cut."""
    refused = 0
    for seed in range(12):
        disk = SimulatedDisk(f"inherited-{seed}", seed=seed)
        directory = tmp_path / str(seed)
        async with open_sqlite(directory, vfs=disk.name, limits=LIMITS):
            disk.cut()
        disk.restore()
        disk.arm("sync", after=seed % 3)
        try:
            async with open_sqlite(directory, vfs=disk.name, limits=LIMITS):
                disk.disarm()
        except JournalOpenError:
            refused += 1
        async with open_sqlite(directory, vfs=disk.name, limits=LIMITS) as backend:
            await backend.commit(one_commit(seal(SERVER, await backend.own(SERVER), [b'{"n":1}'])))
            disk.cut()
        disk.restore()
        async with open_sqlite(directory, vfs=disk.name, limits=LIMITS) as backend:
            assert (await backend.head(SERVER)).seq == 1
        disk.unregister()
    assert refused >= 4


async def test_multi_lane_all_or_none(tmp_path: Path) -> None:
    """JRN-4b, c: the power goes at every call of the disk during a commit over three lanes: all grew or none."""
    lanes = [Lane("knowledge"), Lane("server"), Lane("session", "a")]
    outcomes = set()
    for after in range(40):
        disk = SimulatedDisk(f"lanes-{after}", seed=after)
        directory = tmp_path / str(after)
        acknowledged = False
        async with open_sqlite(directory, vfs=disk.name, limits=LIMITS) as backend:
            first = one_commit(*[seal(lane, await backend.own(lane), [b'{"n":1}']) for lane in lanes])
            await backend.commit(first)
            big = [b'{"n":"%s"}' % (b"x" * 3000) for _ in range(4)]
            second = one_commit(*[seal(move.lane, move.after, big) for move in first.heads])
            disk.arm("cut", after=after)
            try:
                await backend.commit(second)
                acknowledged = True
            except (NotCommittedError, OutcomeUnknownError):
                pass
            struck = disk.off
            disk.cut()
        disk.restore()
        async with open_sqlite(directory, vfs=disk.name, limits=LIMITS) as backend:
            heads = {(await backend.head(lane)).seq for lane in lanes}
            assert heads in ({1}, {5})
            assert not acknowledged or heads == {5}
            outcomes.add((acknowledged, heads.pop()))
        disk.unregister()
        if not struck:
            break
    else:
        raise AssertionError("the commit never ended")
    assert {(False, 1), (True, 5)} <= outcomes


async def test_a_full_disk_is_no_loss(tmp_path: Path) -> None:
    """JRN-15a: without space a commit certainly did not happen; with space again the same commit is taken."""
    lane = Lane("server")
    disk = SimulatedDisk("full", seed=1)
    async with open_sqlite(tmp_path / "j", vfs=disk.name, limits=LIMITS) as backend:
        head = await backend.own(lane)
        disk.capacity = sum(path.stat().st_size for path in (tmp_path / "j").glob("journal.db*"))
        refused = 0
        for number in range(300):
            commit = one_commit(seal(lane, head, [b'{"n":"%d%s"}' % (number, b"x" * 2000)]))
            while True:
                try:
                    await backend.commit(commit)
                    break
                except NotCommittedError:
                    refused += 1
                    assert await backend.head(lane) == head
                    assert disk.capacity is not None
                    disk.capacity += 50_000
            head = commit.heads[0].after
        assert refused > 3
        assert (await backend.head(lane)).seq == 300
        assert len(await backend.read(lane, limit=1000)) == 300
    disk.unregister()
