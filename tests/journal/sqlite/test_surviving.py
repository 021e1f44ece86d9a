"""What of a store survives kills, cut files, failing writes and erasure, on real files (JRN-4, 12, 15, 16)."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
import trio

from tests.journal.sqlite.crashing import LIMITS
from tests.journal.sqlite.reference import one_commit, seal
from web4 import _core
from web4.journal import EventRegistry, EventType, JournalLimits, NewEvent, open_journal
from web4.journal.backends.sqlite import SqliteLimits, open_sqlite
from web4.journal.lane import KNOWLEDGE, SERVER, Lane
from web4.journal.record import Commit, Record, Snapshot
from web4.testing.disk import SimulatedDisk

KILLS = int(os.environ.get("WEB4_KILLS", "5"))
EVERY_BYTE = bool(os.environ.get("WEB4_EVERY_BYTE"))
SEED = int(os.environ.get("WEB4_SEED", "1"))


class Said(msgspec.Struct, frozen=True):
    text: str


SAID = EventType(name="test.said", struct=Said, classes={"text": "retainable"})


def require_chain(head: Any, records: list[Record]) -> None:
    """Base and records make a chain without a gap up to the head."""
    assert [record.seq for record in records] == list(range(head.base_seq + 1, head.seq + 1))
    chain = [(one.header, one.payload, one.salt, one.payload_hash, one.hash) for one in records]
    assert _core.first_broken_record(head.base_hash, chain) is None


# --- the tail ---------------------------------------------------------------------------------------------------


async def test_torn_tail_everywhere(tmp_path: Path) -> None:
    """JRN-12a: a copy cut at a byte of the last commit opens, with everything before it; the tear is counted.

    `WEB4_EVERY_BYTE=1` cuts at each byte.
    """
    directory = tmp_path / "j"
    lanes = [KNOWLEDGE, SERVER, Lane("session", "a")]
    async with open_sqlite(directory) as backend:
        commit = one_commit(
            *[seal(lane, await backend.own(lane), [b'{"n":1}', b'{"n":2}']) for lane in lanes]
        )
        await backend.commit(commit)
        wal = directory / "journal.db-wal"
        before = wal.stat().st_size
        last = one_commit(
            *[
                seal(move.lane, move.after, [b'{"n":3}', b'{"n":"%s"}' % (b"x" * 3000)])
                for move in commit.heads
            ]
        )
        await backend.commit(last)
        after = wal.stat().st_size
        for name in ("journal.db", "journal.db-wal", "hash.key"):
            shutil.copyfile(directory / name, tmp_path / name)
    frame = 4096 + 24
    assert (after - before) % frame == 0
    edges = {cut + near for cut in range(before, after + 1, frame) for near in (-1, 0, 1, 8, 16, 24)}
    cuts = range(before, after + 1) if EVERY_BYTE else sorted({*edges, *range(before, after, 3001)})
    torn = set()
    for cut in cuts:
        if not before <= cut <= after:
            continue
        again = tmp_path / "again"
        again.mkdir(mode=0o700)
        shutil.copyfile(tmp_path / "journal.db", again / "journal.db")
        shutil.copyfile(tmp_path / "hash.key", again / "hash.key")
        (again / "hash.key").chmod(0o600)
        (again / "journal.db-wal").write_bytes((tmp_path / "journal.db-wal").read_bytes()[:cut])
        async with open_sqlite(again) as backend:
            expected = 4 if cut == after else 2
            torn.add((cut in {before, after}, backend.torn))
            for lane in lanes:
                head = await backend.head(lane)
                assert head.seq == expected, cut
                require_chain(head, await backend.read(lane))
        shutil.rmtree(again)
    assert torn == {(True, 0), (False, 1)}


# --- kills ------------------------------------------------------------------------------------------------------

WRITE_UNTIL_KILLED = """
import sys, trio
from tests.journal.sqlite.reference import one_commit, seal
from web4.journal.backends.sqlite import SqliteLimits, open_sqlite
from web4.journal.lane import KNOWLEDGE, SERVER, Lane
from web4.journal.record import Snapshot
async def main():
    lanes = [KNOWLEDGE, SERVER, Lane("session", "a")]
    async with open_sqlite(sys.argv[1], limits=SqliteLimits(wal_pages=40)) as backend:
        heads = {lane: await backend.own(lane) for lane in lanes}
        print("ready", flush=True)
        while True:
            payload = [b'{"n":"%s"}' % (b"x" * 700)]
            commit = one_commit(*[seal(lane, heads[lane], payload * 2) for lane in lanes])
            await backend.commit(commit)
            heads = {move.lane: move.after for move in commit.heads}
            head = heads[SERVER]
            print(head.seq, head.hash.hex(), flush=True)
            if not head.seq % 40:
                base = Snapshot.of(SERVER, head.seq - 20, commit.records[0].hash, b"{}", 1)
                await backend.put_snapshot(base, keep=1)
trio.run(main)
"""


def write_and_kill(directory: Path, chance: random.Random) -> tuple[int, str] | None:
    """Let a process write, kill it, and say what it was told last."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, str(directory)],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(chance.random() ** 2 * 0.2)
    finally:
        child.kill()
        said, _ = child.communicate()
    lines = said.split("\n")[:-1]  # what was cut off in the middle of a line was not said
    if not lines:
        return None
    seq, digest = lines[-1].split(" ")
    return int(seq), digest


async def look(directory: Path, told: tuple[int, str] | None) -> list[Any]:
    """What is there after a kill: everything that was acknowledged, whole commits only."""
    async with open_sqlite(directory) as backend:
        heads = dict(await backend.heads())
        assert len({head.seq for head in heads.values()}) <= 1
        for lane, head in heads.items():
            records = await backend.read(lane, limit=100_000)
            require_chain(head, records)
            if lane == SERVER and told is not None:
                assert head.seq >= told[0]
                assert records[told[0] - 1].hash.hex() == told[1]
        return sorted(heads.items())


def test_no_kill_loses_what_was_acknowledged(tmp_path: Path) -> None:
    """JRN-4b, c, 11b, 12b: kill -9 at any moment; two boots find the same, whole commits, nothing missing."""
    chance = random.Random(SEED)
    acknowledged = 0
    for number in range(KILLS):
        directory = tmp_path / f"j{number // 20}"
        told = write_and_kill(directory, chance)
        found = trio.run(look, directory, told)
        assert trio.run(look, directory, told) == found
        acknowledged += told is not None
        if number % 20 == 19:
            shutil.rmtree(directory)
    print(f"seed {SEED}: {KILLS} kills, {acknowledged} after an acknowledgement")


# --- failing writes ---------------------------------------------------------------------------------------------


async def test_failed_write_no_gap(tmp_path: Path) -> None:
    """JRN-1d, 15a, b: 100 random failures of the disk among 1 000 appends: numbers 1 to n, and every reply is true."""
    chance = random.Random(SEED)
    disk = SimulatedDisk("failing", seed=SEED)
    lane = Lane("session", "a")
    limits = JournalLimits(retry_seconds=0.0001, retry_most_seconds=0.001)
    replies: dict[int, str] = {}
    struck = 0
    async with (
        open_sqlite(tmp_path / "j", vfs=disk.name, limits=LIMITS) as backend,
        open_journal(backend, registry=EventRegistry([SAID]), limits=limits) as journal,
    ):
        for number in range(1_000):
            if disk.struck < 100 and not chance.randrange(8):
                disk.disarm()
                disk.arm(chance.choice(("sync", "write", "full")), after=chance.randrange(3))
            text = f"{number}" + "x" * chance.choice((0, 500, 5_000))
            appended = await journal.append(lane, [NewEvent(Said(text), 1)], expected_seq=number)
            replies[appended.last_seq] = text
        struck = disk.struck
        disk.disarm()
        assert journal.state == "ready"
    async with open_sqlite(tmp_path / "j", vfs=disk.name, limits=LIMITS) as backend:
        records = await backend.read(lane, limit=10_000)
        require_chain(await backend.head(lane), records)
        assert [record.seq for record in records] == list(range(1, 1_001))
        for record in records:
            assert msgspec.json.decode(record.payload or b"")["text"] == replies[record.seq]
    assert struck >= 90, struck
    disk.unregister()
    print(f"seed {SEED}: {struck} failures")


# --- erasure ----------------------------------------------------------------------------------------------------


VALUE = re.compile(rb"\d{4}-s\d-\d{3}-")


def left_in(directory: Path, values: set[bytes]) -> set[tuple[str, bytes]]:
    """Which of the values lie in which file."""
    return {
        (path.name, value)
        for path in directory.iterdir()
        for value in VALUE.findall(path.read_bytes())
        if value in values
    }


async def test_nothing_erased_is_left_in_any_file(tmp_path: Path) -> None:
    """JRN-16: payloads of all sizes, erased and pruned while other lanes grow, are in no file after `scrub`."""
    chance = random.Random(SEED)
    lanes = [Lane("session", f"s{number}") for number in range(8)]
    gone: set[bytes] = set()
    async with open_sqlite(tmp_path / "j", limits=SqliteLimits(wal_pages=50)) as backend:
        heads = {lane: await backend.own(lane) for lane in lanes}
        there: dict[Lane, list[bytes]] = {lane: [] for lane in lanes}
        for turn in range(24):
            parts = []
            for lane in chance.sample(lanes, 3):
                values = [f"{turn:04d}-{lane.id}-{n:03d}-".encode() for n in range(chance.choice((1, 3, 30)))]
                payloads = [
                    b'{"t":"%s%s"}' % (value, b"y" * chance.choice((1, 50, 400, 3000, 9000)))
                    for value in values
                ]
                parts.append(seal(lane, heads[lane], payloads, salt=chance.randbytes(16)))
                there[lane] += values
            commit = one_commit(*parts)
            await backend.commit(commit)
            heads.update({move.lane: move.after for move in commit.heads})
            lane = chance.choice(lanes)
            if there[lane]:
                last = chance.randint(1, len(there[lane]))
                if chance.random() < 0.5:
                    await backend.commit(Commit((), (), (), ((lane, last),)))
                else:
                    record = await backend.read(lane, after=last - 1, limit=1)
                    if record:
                        base = Snapshot.of(lane, last, record[0].hash, b"{}", 1)
                        await backend.commit(Commit((), (), (base,), ()))
                        while await backend.prune(lane, limit=100):
                            pass
                        heads[lane] = await backend.head(lane)
                gone.update(there[lane][:last])
            if turn % 8 == 7:
                await backend.scrub()
                assert left_in(tmp_path / "j", gone) == set()
        for lane in lanes:
            require_chain(await backend.head(lane), await backend.read(lane, limit=10_000))
    connection = apsw.Connection(str(tmp_path / "j" / "journal.db"))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    assert len(gone) > 100
    assert left_in(tmp_path / "j", gone) == set()


# --- a full volume ----------------------------------------------------------------------------------------------

MOUNTED = 'mount -t tmpfs -o size=32m tmpfs "$1" && exec "$2" -m tests.journal.sqlite.full_volume "$1"'


def test_disk_full_and_back(tmp_path: Path) -> None:
    """JRN-15a, c, e, f on a volume that really is full: nothing is lost, and room brings the journal back by itself."""
    inside = ["sh", "-c", MOUNTED, "sh", str(tmp_path), sys.executable]
    for privilege in (["unshare", "-m"], ["unshare", "-rm"]):
        try:
            subprocess.run(
                [*privilege, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], check=True, capture_output=True
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        done = subprocess.run(
            [*privilege, *inside],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stdout.startswith("survived"), done.stdout + done.stderr
        return
    pytest.skip("no right to mount a small volume here; test_a_full_disk_is_no_loss runs on a simulated one")


async def test_nothing_stays_of_a_blob_that_did_not_arrive(tmp_path: Path) -> None:
    """Cancelled again and again, uploads do not fill the disk; one that goes on beside another stays whole (JRN-8)."""
    data = os.urandom(8 << 20)
    name = f"b3:{_core.blake3(data).hex()}"
    async with open_sqlite(tmp_path / "journal") as backend:
        for after in range(2):
            with trio.move_on_after(0.02 * after + 0.005) as scope:
                await backend.put_blob(name, data, at=1)
            if not scope.cancelled_caught:
                await backend.delete_blob(name)
        parts = apsw.Connection(str(tmp_path / "journal" / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY)
        assert parts.execute("SELECT count(*) FROM blob_part").fetchall() == [(0,)]
        parts.close()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(backend.put_blob, name, data, at=1))
            with trio.move_on_after(0.005):
                await backend.put_blob(name, data, at=1)
        assert await backend.blob(name) == data
