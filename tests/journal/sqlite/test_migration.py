"""A store of edition 1 opens under this edition, and a newer one is left alone (JRN-10)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import pytest
import trio

from web4 import _core
from web4.journal.backends.sqlite import SqliteLimits, open_sqlite
from web4.journal.errors import CorruptJournalError, JournalOpenError
from web4.journal.lane import Lane
from web4.testing.disk import SimulatedDisk

if TYPE_CHECKING:
    from web4.journal.backends.backend import Backend

FIXTURE = Path(__file__).parents[2] / "vectors" / "journal" / "schema1"
EXPECTED: dict[str, Any] = json.loads((FIXTURE / "expected.json").read_text())


def lay(directory: Path) -> Path:
    """A copy of the fixture, as its owner would have it."""
    directory.mkdir(mode=0o700)
    for name in ("journal.db", "hash.key"):
        shutil.copyfile(FIXTURE / name, directory / name)
        (directory / name).chmod(0o600)
    return directory


def schema_of(directory: Path) -> int:
    """The edition, as any reader of SQLite finds it."""
    connection = apsw.Connection(str(directory / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        found: Any = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchall()
        return int(found[0][0])
    finally:
        connection.close()


def state_of(records: list[Any], state: dict[str, Any]) -> dict[str, Any]:
    """The lane's state: a sum, and the outcomes of its commands. Erased payloads count for nothing."""
    for record in records:
        payload = json.loads(record.payload or b"{}")
        if record.type == "fixture.counted":
            state["sum"] += payload.get("n", 0)
        elif record.type == "fixture.finished":
            state["outcomes"][payload["command_id"]] = payload["success"]
    return state


async def check(backend: Backend) -> None:
    """Everything that edition 1 held is there, under its old numbers and hashes."""
    assert backend.journal_id.hex() == EXPECTED["journal_id"]
    heads = dict(await backend.heads())
    assert {str(lane) for lane in heads} == set(EXPECTED["lanes"])
    for lane, head in heads.items():
        expected = EXPECTED["lanes"][str(lane)]
        assert (head.seq, head.hash.hex(), head.at, head.base_seq, head.base_hash.hex()) == tuple(
            expected[key] for key in ("head", "hash", "at", "base", "base_hash")
        )
        records = await backend.read(lane)
        assert [record.seq for record in records] == list(range(head.base_seq + 1, head.seq + 1))
        chain = [(one.header, one.payload, one.salt, one.payload_hash, one.hash) for one in records]
        assert _core.first_broken_record(head.base_hash, chain) is None
        assert all(record.principal is None and record.refs == () for record in records)
        erased = EXPECTED["erased"].get(str(lane), 0)
        assert [record.erased for record in records] == [record.seq <= erased for record in records]
        snapshots = await backend.snapshots(lane)
        assert [one.seq for one in snapshots] == EXPECTED["snapshots"].get(str(lane), [])
        assert all(one.intact for one in snapshots)
        state: dict[str, Any] = {"sum": 0, "outcomes": {}}
        if head.base_seq:
            state = json.loads(snapshots[-1].state)
        state = state_of(records, state)
        if not erased:
            assert state == {key: expected[key] for key in ("sum", "outcomes")}
    work = [{**one._asdict(), "lane": str(one.lane)} for one in await backend.open_work()]
    assert work == EXPECTED["open_work"]
    assert {name: size for name, size, _ in await backend.blobs()} == EXPECTED["blobs"]
    for name in EXPECTED["blobs"]:
        assert "b3:" + _core.blake3(await backend.blob(name) or b"").hex() == name


async def test_schema1_fixture(tmp_path: Path) -> None:
    """JRN-10b, c: heads, hashes, states and outcomes match; a verified copy lies beside the store."""
    directory = lay(tmp_path / "j")
    with pytest.raises(JournalOpenError) as refused:
        async with open_sqlite(directory, read_only=True):
            pass
    assert refused.value.code == "schema_older"
    async with open_sqlite(directory) as backend:
        await check(backend)
        assert backend.boot == EXPECTED["boot"] + 1
        lane = Lane("session", "long")
        assert [one.seq for one in await backend.read(lane, after=40, limit=3)] == [41, 42, 43]
    async with open_sqlite(directory) as backend:
        await check(backend)
    copy = directory / "journal.db.schema1"
    assert copy.stat().st_mode & 0o777 == 0o600
    # What an erasure must not leave behind, the copy must not keep (JRN-16).
    again = lay(tmp_path / "copy")
    shutil.copyfile(copy, again / "journal.db")
    assert schema_of(again) == 1
    async with open_sqlite(again) as backend:
        await check(backend)
        await backend.scrub()
    assert not list(again.glob("*schema1*"))


async def test_a_migration_that_is_cut_short_leaves_one_edition_or_the_other(tmp_path: Path) -> None:
    """JRN-10d: the power goes at each of the first calls of the disk, then at every tenth."""
    found = set()
    for after in (*range(10), *range(10, 10_000, 10)):
        directory = lay(tmp_path / str(after))
        disk = SimulatedDisk(f"migration-{after}", seed=after)
        disk.arm("cut", after=after)
        try:
            async with open_sqlite(directory, vfs=disk.name, limits=SqliteLimits(open_s=60)):
                pass
        except (JournalOpenError, CorruptJournalError):
            assert disk.off
        struck = disk.off
        disk.cut()
        disk.restore()
        found.add(schema_of(directory))
        async with open_sqlite(directory, vfs=disk.name, limits=SqliteLimits(open_s=60)) as backend:
            await check(backend)
        disk.unregister()
        if not struck:
            break
    assert found == {1, 2}


async def check_opened(directory: Path) -> None:
    """Open, and check everything."""
    async with open_sqlite(directory) as backend:
        await check(backend)


OPEN = """
import sys, trio
from web4.journal.backends.sqlite import open_sqlite
async def main():
    print("go", flush=True)
    async with open_sqlite(sys.argv[1]):
        print("open", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


def test_a_migration_that_is_killed_leaves_one_edition_or_the_other(tmp_path: Path) -> None:
    """JRN-10d, in a real process that is killed at some moment of it."""
    for number in range(int(os.environ.get("WEB4_KILLS", "8")) // 2 or 1):
        directory = lay(tmp_path / str(number))
        child = subprocess.Popen(
            [sys.executable, "-c", OPEN, str(directory)], stdout=subprocess.PIPE, env=dict(os.environ)
        )
        assert child.stdout is not None
        child.stdout.readline()
        # A moment that is different each time: as long as it takes to see a few names appear.
        while number % 4 and child.poll() is None:
            names = {path.name for path in directory.iterdir()}
            if {1: "journal.db.schema1.new", 2: "journal.db.schema1", 3: "journal.db-wal"}[
                number % 4
            ] in names:
                break
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        trio.run(check_opened, directory)


@pytest.mark.parametrize(
    ("schema", "code"), [(3, "schema_newer"), (0, "schema_foreign"), ("x", "schema_foreign")]
)
async def test_another_schema_is_refused_and_untouched(tmp_path: Path, schema: object, code: str) -> None:
    """JRN-10b: a newer store is never touched; the message names both numbers."""
    directory = tmp_path / "j"
    async with open_sqlite(directory):
        pass
    connection = apsw.Connection(str(directory / "journal.db"))
    connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (schema,))
    connection.close()
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    for read_only in (False, True):
        with pytest.raises(JournalOpenError) as refused:
            async with open_sqlite(directory, read_only=read_only):
                pass
        assert refused.value.code == code
        if schema == 3:
            assert "schema 3" in str(refused.value)
            assert "schema 2" in str(refused.value)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
