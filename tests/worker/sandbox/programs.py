"""What an ordinary extension does. Each function says "fine", or raises what stopped it."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from pathlib import Path


def imports() -> str:
    names = (
        "argparse asyncio base64 bz2 calendar cmath collections compileall concurrent.futures configparser csv ctypes "
        "curses dataclasses datetime dbm decimal difflib email encodings.idna fractions getpass gettext glob gzip "
        "hashlib hmac html http.client importlib.metadata inspect io ipaddress json locale logging logging.handlers "
        "lzma mimetypes multiprocessing numbers pathlib pickle platform pprint queue random re sched secrets selectors "
        "shelve shutil socket sqlite3 ssl statistics string struct subprocess tarfile tempfile textwrap threading "
        "tomllib traceback typing unicodedata unittest urllib.request uuid venv wave weakref xml.etree.ElementTree "
        "xmlrpc.client zipfile zlib zoneinfo"
    )
    for name in names.split():
        importlib.import_module(name)
    return "fine"


def native_packages() -> str:
    for name in ("msgspec", "apsw", "immutables._map", "jsonschema_rs", "_cffi_backend", "trio", "rich"):
        importlib.import_module(name)
    return "fine"


def trio_with_threads() -> str:
    import trio

    async def main() -> str:
        seen: list[int] = []
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(trio.to_thread.run_sync, seen.append, number)
        with trio.move_on_after(0.001):
            await trio.sleep_forever()
        one, other = trio.socket.socketpair()
        await one.send(b"x")
        assert await other.recv(1) == b"x"
        assert sorted(seen) == list(range(8))
        return "fine"

    return trio.run(main)


def asyncio_with_threads() -> str:
    import asyncio

    async def main() -> str:
        assert await asyncio.to_thread(sum, [1, 2]) == 3
        await asyncio.sleep(0)
        return "fine"

    return asyncio.run(main())


def files_of_all_kinds(tmp: str) -> str:
    import gzip
    import mmap
    import tarfile
    import tempfile
    import zipfile

    tempfile.tempdir = tmp
    root = Path(tempfile.mkdtemp())
    (root / "deep" / "er").mkdir(parents=True)
    text = root / "deep" / "text"
    text.write_text("hello")
    os.utime(text)
    os.link(text, root / "hard")
    (root / "deep" / "soft").symlink_to("text")
    (root / "hard").replace(root / "deep" / "er" / "moved")
    os.mkfifo(root / "queue")
    with tempfile.TemporaryFile() as file, tempfile.NamedTemporaryFile() as named:
        file.write(b"x" * 4096)
        file.truncate(100)
        file.flush()
        os.fsync(file.fileno())
        named.write(b"y")
    with gzip.open(root / "packed.gz", "wb") as packed:
        packed.write(b"z" * 1000)
    with zipfile.ZipFile(root / "a.zip", "w") as archive:
        archive.write(text, "text")
    with zipfile.ZipFile(root / "a.zip") as archive:
        archive.extractall(root / "unzipped")
    with tarfile.open(root / "a.tar", "w") as tape:
        tape.add(root / "deep", "deep")
    with text.open("rb") as source, mmap.mmap(source.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:] == b"hello"
    assert sorted(one.name for one in (root / "deep").iterdir()) == ["er", "soft", "text"]
    shutil.rmtree(root)
    assert not root.exists()
    return "fine"


def database(tmp: str) -> str:
    import sqlite3

    path = Path(tmp, "base.sqlite")
    with sqlite3.connect(path) as base:
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("CREATE TABLE one (two)")
        base.executemany("INSERT INTO one VALUES (?)", [(number,) for number in range(100)])
        base.commit()
        assert base.execute("SELECT sum(two) FROM one").fetchone() == (4950,)
    base.close()
    path.unlink()
    return "fine"


def clocks_and_signals() -> str:
    import signal
    import time

    seen: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: seen.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    while not seen:
        time.sleep(0.001)
    signal.signal(signal.SIGALRM, before)
    time.clock_gettime(time.CLOCK_BOOTTIME)
    os.times()
    return "fine"


def randomness() -> str:
    import random
    import secrets
    import uuid

    assert len({random.random(), secrets.token_hex(), str(uuid.uuid4()), os.urandom(8), os.getrandom(8)}) == 5
    with Path("/dev/urandom").open("rb") as source:
        assert len(source.read(8)) == 8
    return "fine"


def who_and_where() -> str:
    import locale
    import platform
    import zoneinfo

    platform.platform()
    os.cpu_count()
    Path.cwd()
    os.sched_getaffinity(0)
    locale.setlocale(locale.LC_ALL, "C.UTF-8")
    zoneinfo.available_timezones()
    assert os.isatty(0) is False
    Path("/proc/self/status").read_text()
    sys.stderr.write("")
    return "fine"
