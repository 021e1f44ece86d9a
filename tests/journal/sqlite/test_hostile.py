"""Directories that somebody tampered with, took files from, or forked a process over (JRN-11, JRN-12)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import apsw
import pytest
import trio

from tests.journal.sqlite.reference import one_commit, seal
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.errors import JournalLocked, JournalOpenError
from web4.journal.lane import SERVER

if TYPE_CHECKING:
    from pathlib import Path

    from web4.journal.backends.sqlite import SqliteBackend

FORK_AND_DIE = """
import os, sys, time, trio
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.errors import JournalUnavailable
from web4.journal.lane import SERVER
async def main():
    async with open_sqlite(sys.argv[1]) as backend:
        if os.fork() == 0:
            try:
                backend.head(SERVER).send(None)
            except JournalUnavailable as error:
                print(error.code, os.getpid(), flush=True)
            time.sleep(60)
            os._exit(0)
        time.sleep(0.2)
        os._exit(9)
trio.run(main)
"""


async def write(backend: SqliteBackend, number: int) -> None:
    """One record more on `server`."""
    sealed = seal(SERVER, await backend.own(SERVER), [b'{"n":%d}' % number])
    await backend.commit(one_commit(sealed))


def contents(directory: Path) -> dict[str, bytes]:
    """What lies there; the memory that connections share is nobody's data."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if not path.name.endswith("-shm")}


async def refused(directory: Path, code: str) -> None:
    """Opening says `code`, to writers and readers, and changes nothing."""
    before = contents(directory)
    for read_only in (False, True):
        with pytest.raises(JournalOpenError) as error:
            async with open_sqlite(directory, read_only=read_only):
                pass
        assert error.value.code == code
    assert contents(directory) == before


async def test_a_lock_file_that_was_removed_makes_no_room_for_a_second_writer(tmp_path: Path) -> None:
    """JRN-11a, b."""
    directory = tmp_path / "journal"
    async with open_sqlite(directory) as backend:
        await write(backend, 1)
        (directory / "writer.lock").unlink()
        with pytest.raises(JournalLocked):
            async with open_sqlite(directory):
                pass
        (directory / "writer.lock").unlink()
        await write(backend, 2)
    async with open_sqlite(directory) as backend:
        assert (await backend.head(SERVER)).seq == 2


async def test_a_log_without_its_database_is_not_read_into_a_new_one(tmp_path: Path) -> None:
    """The engine would replay the log of the one over the other (JRN-12)."""
    directory = tmp_path / "journal"
    async with open_sqlite(directory) as backend:
        await write(backend, 1)
        log = (directory / "journal.db-wal").read_bytes()
    assert log
    (directory / "journal.db-wal").write_bytes(log)
    (directory / "journal.db").unlink()
    await refused(directory, "not_a_journal")
    (directory / "journal.db-wal").unlink()
    async with open_sqlite(directory) as backend:
        assert (await backend.head(SERVER)).seq == 0


@pytest.mark.parametrize(
    "tampering",
    [
        "CREATE TRIGGER t AFTER INSERT ON record BEGIN DELETE FROM record WHERE position < new.position; END",
        "CREATE VIEW more AS SELECT * FROM record",
        "CREATE TABLE more (one INTEGER)",
        "DROP TABLE ref; CREATE VIEW ref AS SELECT 'a' AS kind, 'b' AS value, 1 AS position",
        "DROP INDEX work_place",
    ],
)
async def test_other_tables_than_a_journals_are_refused(tmp_path: Path, tampering: str) -> None:
    """A trigger made acknowledged records go (JRN-12b)."""
    directory = tmp_path / "journal"
    async with open_sqlite(directory) as backend:
        await write(backend, 1)
    connection = apsw.Connection(str(directory / "journal.db"))
    connection.execute(tampering)
    connection.close()
    await refused(directory, "not_a_journal")


def test_a_forked_child_neither_uses_the_store_nor_keeps_its_lock(tmp_path: Path) -> None:
    """The lock lasts as long as the process that took it (JRN-11a); the threads that write are not in the child."""
    directory = tmp_path / "journal"

    async def opens() -> None:
        async with open_sqlite(directory) as backend:
            await write(backend, 1)

    command = [sys.executable, "-W", "ignore", "-c", FORK_AND_DIE, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        said, child = parent.stdout.readline().split()
        try:
            assert said == "closed"
            assert parent.wait() == 9
            trio.run(opens)
        finally:
            os.kill(int(child), signal.SIGKILL)
