"""Who may open a journal's directory, and what is said to everybody else (JRN-10, JRN-11)."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio

from tests.journal.sqlite.reference import one_commit, seal
from web4.journal.backends.sqlite import SqliteLimits, engine, open_sqlite
from web4.journal.backends.sqlite.layout import APPLICATION_ID
from web4.journal.errors import CorruptJournalError, JournalLocked, JournalOpenError, NotWriterError
from web4.journal.lane import SERVER
from web4.testing.disk import SimulatedDisk

WRITE_AND_WAIT = """
import sys, trio
from tests.journal.sqlite.reference import one_commit, seal
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.lane import SERVER
async def main():
    async with open_sqlite(sys.argv[1]) as backend:
        await backend.commit(one_commit(seal(SERVER, await backend.own(SERVER), [b'{"n":1}'])))
        print("written", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


async def opening_fails(directory: Path, **options: Any) -> JournalOpenError:
    """What `open_sqlite` says."""
    with pytest.raises(JournalOpenError) as refused:
        async with open_sqlite(directory, **options):
            pass
    return refused.value


def names_in(directory: Path) -> list[str]:
    """What lies there."""
    return sorted(path.name for path in directory.iterdir())


def give_to_nobody(directory: Path) -> None:
    """Root may write anywhere: so the directory becomes that of a user who is nobody."""
    for path in (directory.parent, directory, *directory.iterdir()):
        os.chown(path, 65534, 65534)


async def write_one(directory: Path) -> None:
    """A journal with one record."""
    async with open_sqlite(directory) as backend:
        await backend.commit(one_commit(seal(SERVER, await backend.own(SERVER), [b'{"n":1}'])))


def writing_child(directory: Path) -> subprocess.Popen[bytes]:
    """Another process that writes one record and stays."""
    child = subprocess.Popen([sys.executable, "-c", WRITE_AND_WAIT, str(directory)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"written\n"
    return child


async def test_second_writer(tmp_path: Path) -> None:
    """JRN-11a, b: one writer, in any process; a dead one's lock is free at once; readers are never refused."""
    directory = tmp_path / "j"
    async with open_sqlite(directory) as backend:
        with pytest.raises(JournalLocked) as refused:
            async with open_sqlite(directory):
                pass
        assert f"pid {os.getpid()}" in refused.value.owner
        assert f"boot {backend.boot}" in refused.value.owner
        async with open_sqlite(directory, read_only=True) as reader:
            assert reader.boot == 0
            assert (await reader.head(SERVER)).seq == 0
    child = await trio.to_thread.run_sync(writing_child, directory)
    try:
        with pytest.raises(JournalLocked) as refused:
            async with open_sqlite(directory):
                pass
        assert f"pid {child.pid}" in refused.value.owner
        async with open_sqlite(directory, read_only=True) as reader:
            assert (await reader.head(SERVER)).seq == 1
            with pytest.raises(NotWriterError):
                await reader.own(SERVER)
            with pytest.raises(NotWriterError):
                await reader.scrub()
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert child.stdout is not None
    child.stdout.close()
    async with open_sqlite(directory) as backend:
        assert backend.boot == 3
        assert (await backend.head(SERVER)).seq == 1


async def test_a_reader_follows_a_running_writer(tmp_path: Path) -> None:
    """JRN-11b: `changed` wakes a reader once another has written."""
    async with (
        open_sqlite(tmp_path) as writer,
        open_sqlite(tmp_path, read_only=True) as reader,
        trio.open_nursery() as nursery,
    ):

        async def write() -> None:
            await writer.commit(one_commit(seal(SERVER, await writer.own(SERVER), [b'{"n":1}'])))

        nursery.start_soon(write)
        with trio.fail_after(60):
            await reader.changed(SERVER, 0)
        assert [record.seq for record in await reader.read(SERVER)] == [1]


async def test_the_directory_is_its_owners_alone(tmp_path: Path) -> None:
    """JRN-11c, JRN-18d: 0700; the key is 32 bytes, 0600, stays the same, and others' eyes on it are refused."""
    directory = tmp_path / "deep" / "j"
    async with open_sqlite(directory) as backend:
        key = backend.hash_key
    assert len(key) == 32
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for path in directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    directory.chmod(0o755)
    async with open_sqlite(directory) as backend:
        assert backend.hash_key == key
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    (directory / "hash.key").chmod(0o640)
    assert "0600" in str(await opening_fails(directory))
    (directory / "hash.key").chmod(0o600)
    (directory / "hash.key").rename(tmp_path / "key")
    assert "restore" in str(await opening_fails(directory))
    (directory / "hash.key").write_bytes(b"short")
    (directory / "hash.key").chmod(0o600)
    refused = await opening_fails(directory)
    assert (refused.code, "32 bytes" in str(refused)) == ("hash_key", True)
    (directory / "hash.key").write_bytes(bytes(32))
    for read_only in (False, True):
        refused = await opening_fails(directory, read_only=read_only)
        assert refused.code == "hash_key"
        assert "another journal" in str(refused)
    (tmp_path / "key").rename(directory / "hash.key")
    async with open_sqlite(directory) as backend:
        assert backend.hash_key == key


@pytest.mark.parametrize("place", ["/proc/self/journal", "/sys/journal", "/dev/shm/journal", "/proc/self"])
async def test_no_journal_where_nothing_is_kept(place: str) -> None:
    """JRN-11c."""
    assert (await opening_fails(Path(place))).code == "directory"


async def test_links_and_other_things_are_refused(tmp_path: Path) -> None:
    """Nothing in the directory leads out of it, and the directory is one."""
    directory = tmp_path / "j"
    await write_one(directory)
    (tmp_path / "link").symlink_to(directory)
    assert (await opening_fails(tmp_path / "link")).code == "directory"
    (tmp_path / "file").write_text("")
    assert (await opening_fails(tmp_path / "file")).code == "directory"
    assert (await opening_fails(tmp_path / "file" / "j")).code == "directory"
    for name in ("journal.db", "hash.key", "writer.lock", "journal.db-wal"):
        (directory / name).rename(tmp_path / name)
        (directory / name).symlink_to(tmp_path / name)
        assert (await opening_fails(directory)).code == "directory"
        assert (await opening_fails(directory, read_only=True)).code == "directory"
        (directory / name).unlink()
        (tmp_path / name).rename(directory / name)
    async with open_sqlite(directory) as backend:
        assert (await backend.head(SERVER)).seq == 1


async def test_readers_find_nothing_and_make_nothing(tmp_path: Path) -> None:
    """A reader leaves a place without a journal as it was."""
    assert (await opening_fails(tmp_path / "none", read_only=True)).code == "not_found"
    assert (await opening_fails(tmp_path, read_only=True)).code == "not_found"
    assert names_in(tmp_path) == []


async def test_what_is_no_journal_is_refused_and_untouched(tmp_path: Path) -> None:
    """Not a database; a database of somebody else; one that was damaged."""
    for name, content in (
        ("text", b"not a database, but long enough to look like one" * 200),
        ("short", b"x"),
    ):
        (tmp_path / name).mkdir(mode=0o700)
        (tmp_path / name / "journal.db").write_bytes(content)
        assert (await opening_fails(tmp_path / name)).code == "not_a_journal"
        assert (tmp_path / name / "journal.db").read_bytes() == content
    foreign = tmp_path / "foreign"
    foreign.mkdir(mode=0o700)
    connection = apsw.Connection(str(foreign / "journal.db"))
    connection.execute("CREATE TABLE meta (key, value)")
    connection.close()
    before = (foreign / "journal.db").read_bytes()
    assert (await opening_fails(foreign)).code == "not_a_journal"
    assert (foreign / "journal.db").read_bytes() == before
    assert APPLICATION_ID.to_bytes(4, "big") == b"W4JN"


async def test_a_damaged_store_is_said_to_be_one(tmp_path: Path) -> None:
    """JRN-15g: pages of zeros where the tables were are no empty journal."""
    await write_one(tmp_path / "j")
    path = tmp_path / "j" / "journal.db"
    whole = path.read_bytes()
    codes = set()
    for begin in range(4096, len(whole), 4096):
        path.write_bytes(whole[:begin] + b"\xa5" * 4096 + whole[begin + 4096 :])
        codes.add(await _code_of(tmp_path / "j"))
    assert codes <= {"", "not_a_journal", "store"}
    assert "store" in codes


async def _code_of(directory: Path) -> str:
    """What is said of a store; nothing if all of it can be read."""
    try:
        async with open_sqlite(directory) as backend:
            await backend.heads()
            await backend.read(SERVER)
            await backend.scan()
            await backend.snapshots(SERVER)
            await backend.open_work()
    except (JournalOpenError, CorruptJournalError) as error:
        return error.code
    return ""


def test_an_engine_that_corrupts_is_refused() -> None:
    """JRN-24a."""
    for version in ("3.7.0", "3.40.1", "3.51.2"):
        with pytest.raises(JournalOpenError) as refused:
            engine.require_engine(version)
        assert refused.value.code == "engine"
    for version in ("3.51.3", "3.54.1", "4.0"):
        engine.require_engine(version)


async def test_opening_has_a_bound(tmp_path: Path) -> None:
    """JRN-11d: a disk that does not answer does not keep a node from saying so, and lets go in the end."""
    disk = _StuckDisk("stuck", seed=1)
    refused = await opening_fails(tmp_path / "j", vfs=disk.name, limits=SqliteLimits(open_s=0.05))
    assert refused.code == "timeout"
    disk.answer.set()
    with trio.fail_after(60):
        while True:
            try:
                async with open_sqlite(tmp_path / "j", vfs=disk.name) as backend:
                    assert backend.boot >= 1
                break
            except JournalLocked:
                await trio.sleep(0.01)
    disk.unregister()


class _StuckDisk(SimulatedDisk):
    """A disk that answers when it is told to."""

    def __init__(self, name: str, *, seed: int) -> None:
        super().__init__(name, seed=seed)
        self.answer = threading.Event()

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - the engine's name
        self.answer.wait()
        return super().xOpen(name, flags)


AS_SOMEBODY = """
import os, sys, trio
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.errors import JournalOpenError
from web4.journal.lane import SERVER
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
async def main():
    try:
        async with open_sqlite(sys.argv[1]):
            print("written")
    except JournalOpenError as error:
        print(error.code)
    async with open_sqlite(sys.argv[1], read_only=True) as reader:
        print((await reader.head(SERVER)).seq, len(await reader.read(SERVER)), flush=True)
trio.run(main)
"""


@pytest.mark.parametrize("killed", [False, True])
async def test_a_directory_that_cannot_be_written_can_be_read(killed: bool) -> None:
    """JRN-11b: without a writer and without a right to write, the store is read, as it was closed or left by a kill."""
    # Not below pytest's directory, which is for one user only.
    with tempfile.TemporaryDirectory() as parent:
        directory = Path(parent) / "j"
        if killed:
            child = await trio.to_thread.run_sync(writing_child, directory)
            child.kill()
            child.communicate()
            assert (directory / "journal.db-wal").stat().st_size
        else:
            await write_one(directory)
        if os.geteuid() == 0:
            give_to_nobody(directory)
        directory.chmod(0o500)
        done = await trio.run_process(
            [sys.executable, "-c", AS_SOMEBODY, str(directory)],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        directory.chmod(0o700)
    assert done.stdout.decode().split("\n")[:2] == ["read_only_directory", "1 1"], done.stderr.decode()
