"""Two OS processes and one lane (JRN-24b)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tests.journal.postgresql.arrange import SAFETY
from tests.journal.postgresql.contender import LANE
from tests.seeds import a_seed
from web4 import _core
from web4.journal.backends.postgresql import open_postgresql

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

ROOT = Path(__file__).parents[3]
ROUNDS = int(os.environ.get("WEB4_FENCING_ROUNDS", "3"))


class Contender:
    """One of the processes, and all it has said."""

    def __init__(self, node: str, process: trio.Process) -> None:
        self.node = node
        self.process = process
        self.said: list[list[str]] = []
        self._pending = b""
        self._news = trio.Event()

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for data in self.process.stdout:
            *lines, self._pending = (self._pending + data).split(b"\n")
            self.said += [line.decode().split() for line in lines]
            self._news.set()
            self._news = trio.Event()

    async def until(self, word: str, times: int = 1) -> None:
        with trio.fail_after(SAFETY):
            while sum(line[0] == word for line in self.said) < times:
                await self._news.wait()

    async def may_write(self) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(b".")

    def acknowledged(self) -> dict[int, int]:
        return {int(line[1]): int(line[2]) for line in self.said if line[0] == "ack"}


@asynccontextmanager
async def contenders(database: str) -> AsyncGenerator[Contenders]:
    async with trio.open_nursery() as nursery:
        all_of_them = Contenders(database, nursery)
        try:
            yield all_of_them
        finally:
            for one in all_of_them.started:
                one.process.kill()
            nursery.cancel_scope.cancel()


class Contenders:
    def __init__(self, database: str, nursery: trio.Nursery) -> None:
        self._database = database
        self._nursery = nursery
        self.started: list[Contender] = []

    async def start(self, sight: str) -> Contender:
        node = f"n{len(self.started)}"
        command = [sys.executable, "-m", "tests.journal.postgresql.contender", self._database, node, sight]
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
        )
        one = Contender(node, process)
        self.started.append(one)
        self._nursery.start_soon(one.listen)
        return one


async def test_stale_owner_fenced(database: str) -> None:
    """JRN-24b: an owner that is paused beyond its lease has lost its lane when it goes on: not one record of it
    appears after the next one owns the lane, whether that has written already or not, and it stops. Every second one
    is blind to time, so that the fence in the database is seen to hold by itself."""
    seed = a_seed()
    print(f"seed {seed}")
    chance = random.Random(seed)
    async with contenders(database) as processes:
        owner = await processes.start("blind")
        await owner.may_write()
        await owner.until("ack", 3)
        for number in range(ROUNDS):
            rival = await processes.start("blind" if number % 2 else "sees")
            await owner.until("ack", len(owner.acknowledged()) + chance.randrange(1, 20))
            owner.process.send_signal(signal.SIGSTOP)
            await rival.until("own")
            writes_first = number % 4 > 1
            if writes_first:
                await rival.may_write()
                await rival.until("ack", 2)
            owner.process.send_signal(signal.SIGCONT)
            await owner.until("lost")
            if not writes_first:
                await rival.may_write()
            assert owner.said[-1] == ["lost", "lease_lost"]
            with trio.fail_after(SAFETY):
                assert await owner.process.wait() == 0
            await rival.until("ack", 4)
            owner = rival
        owner.process.send_signal(signal.SIGSTOP)
        async with open_postgresql(database, node="reader", read_only=True) as reader:
            records = await reader.read(LANE, limit=1_000_000)
            scanned = await reader.scan(limit=1_000_000)
            assert [(r.lane, r.seq) for r in scanned] == [(LANE, r.seq) for r in records[: len(scanned)]]
            owner.process.send_signal(signal.SIGCONT)
    stored = [(r.header, r.payload, r.salt, r.payload_hash, r.hash) for r in records]
    assert _core.first_broken_record(_core.lane_genesis(reader.journal_id, str(LANE)), stored) is None
    assert [r.seq for r in records] == list(range(1, len(records) + 1))
    authors = [r.payload.split(b'"')[3].decode() for r in records if r.payload is not None]
    turns = [author for index, author in enumerate(authors) if index == 0 or authors[index - 1] != author]
    assert turns == [one.node for one in processes.started]
    commits = {r.seq: r.commit for r in records}
    for one in processes.started:
        for seq, commit in one.acknowledged().items():
            if seq in commits or one is not owner:
                assert authors[seq - 1] == one.node
                assert commits[seq] == commit
