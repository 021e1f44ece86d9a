"""News of lanes that others write: LISTEN and NOTIFY (JRN-6b).

NOTIFY takes a lock of the whole database when its transaction commits, so it never stands in a commit's own: it is sent
afterwards, at most every `PAUSE` seconds, with the newest number of each lane. Should an owner die in between, a reader
looks by itself after `LOOK_AGAIN` seconds: news may be late then, and are never lost, for they stand in the tables.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

import trio

from web4.journal.backends.postgresql.encoding import text
from web4.journal.backends.postgresql.wire import ConnectionLostError, Statement, StatementRefusedError
from web4.journal.errors import JournalUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from web4.journal.backends.postgresql.pool import Pool
    from web4.journal.backends.postgresql.wire import Connection
    from web4.journal.record import HeadMove

PAUSE: Final = 0.01
LOOK_AGAIN: Final = 15.0
_PAYLOAD: Final = 7800
"""Bytes; PostgreSQL takes less than 8000."""
_MOST: Final = 256
"""Commits whose lanes are named; of more it is only said that there were some."""
_ANY: Final = "*"

_NOTIFY: Final = Statement(
    "notify", "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)"
)


class Changes:
    """What this process tells others about its lanes, and what it waits for of theirs."""

    def __init__(self, pool: Pool, connect: Callable[[], Awaitable[Connection]], channel: str) -> None:
        self._pool = pool
        self._connect = connect
        self._channel = channel
        self._name = secrets.token_hex(8)
        """By which this process knows its own news."""
        self._news: list[Sequence[HeadMove]] = []
        self._overflow = False
        self._some = trio.Event()
        self._waiting: dict[str, dict[trio.Event, int]] = {}
        self._listening = trio.Event()
        self._wanted = trio.Event()

    def tell(self, heads: Sequence[HeadMove]) -> None:
        """Lanes have grown. The news is on its way; the latest wins."""
        self._news.append(heads)
        if len(self._news) > _MOST:
            del self._news[0]
            self._overflow = True
        self._some.set()

    async def send(self) -> None:
        """Tell what is to be told, for ever."""
        while True:
            await self._some.wait()
            self._some = trio.Event()
            await self.send_now()
            await trio.sleep(PAUSE)

    async def send_now(self) -> None:
        """Tell what there is to be told."""
        told, self._news = self._news, []
        overflow, self._overflow = self._overflow, False
        news = {str(move.lane): move.after.seq for heads in told for move in heads}
        payloads = [_ANY] if overflow else _payloads(news)
        try:
            for payload in payloads:
                said = text(f"{self._name}\n{payload}")
                await self._pool.run((_NOTIFY, (text(self._channel), said)))
        except JournalUnavailable:
            pass  # whoever waits looks again

    async def listen(self) -> None:
        """Hear what others tell, for ever; nothing is connected before somebody waits."""
        await self._wanted.wait()
        while True:
            connection = None
            try:
                connection = await self._connect()
                await connection.script(f'LISTEN "{self._channel}"')
                self._listening.set()
                self._wake(_ANY)
                while True:
                    for payload in await connection.notifications():
                        self._hear(payload)
            except (ConnectionLostError, StatementRefusedError):
                self._listening = trio.Event()
                self._wake(_ANY)
                await trio.sleep(1)
            finally:
                if connection is not None:
                    connection.close()

    async def wait(self, lane: str, seq: int, look: Callable[[], Awaitable[int]]) -> None:
        """Wait until `lane` ends beyond `seq`, as `look` tells or others tell; see `Backend.changed`."""
        woken = trio.Event()
        self._waiting.setdefault(lane, {})[woken] = seq
        self._wanted.set()
        try:
            with trio.move_on_after(LOOK_AGAIN):
                await self._listening.wait()
                # What was told before somebody listened must be looked for.
                try:
                    if await look() > seq:
                        return
                except JournalUnavailable:
                    await trio.sleep(1)
                    return
                await woken.wait()
        finally:
            del self._waiting[lane][woken]
            if not self._waiting[lane]:
                del self._waiting[lane]

    def _hear(self, payload: str) -> None:
        sender, *lines = payload.split("\n")
        for line in lines if sender != self._name else ():
            lane, _, number = line.rpartition(" ")
            if line == _ANY:
                self._wake(_ANY)
            elif number.isdecimal():
                self._wake(lane, int(number))

    def _wake(self, lane: str, seq: int = 0) -> None:
        if lane == _ANY:
            for waiting in self._waiting.values():
                for woken in waiting:
                    woken.set()
            return
        for woken, beyond in self._waiting.get(lane, {}).items():
            if seq > beyond:
                woken.set()


def _payloads(news: dict[str, int]) -> list[str]:
    payloads: list[str] = []
    for lane, seq in news.items():
        line = f"{lane} {seq}"
        if payloads and len(payloads[-1]) + len(line) < _PAYLOAD:
            payloads[-1] += f"\n{line}"
        else:
            payloads.append(line)
    return payloads
