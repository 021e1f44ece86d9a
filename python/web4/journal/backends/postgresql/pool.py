"""A few connections for everything but commits: reading, snapshots, blobs."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from web4.journal.backends.postgresql.wire import ConnectionLostError, StatementRefusedError
from web4.journal.errors import JournalUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from psycopg.pq.abc import PGresult

    from web4.journal.backends.postgresql.wire import Call, Connection

SIZE: Final = 4
"""Connections at most; who finds none waits."""


class Pool:
    """Connections that are opened when they are first needed, and kept until they break."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], *, size: int = SIZE) -> None:
        self._connect = connect
        self._free = trio.Semaphore(size)
        self._idle: list[Connection] = []

    async def run(self, *calls: Call) -> list[PGresult]:
        """Run statements that may be run twice: see `Connection.run`. A connection that died idle is replaced once.

        Raises:
            JournalUnavailable: `suspended`: there is no server, or it refuses.
        """
        try:
            async with self._free:
                while self._idle:
                    connection = self._idle.pop()
                    try:
                        return await self._run_on(connection, *calls)
                    except ConnectionLostError:
                        continue  # it died while nobody looked, and the others probably with it
                return await self._run_on(await self._connect(), *calls)
        except (ConnectionLostError, StatementRefusedError) as error:
            raise JournalUnavailable(f"the database does not answer: {error}", code="suspended") from None

    async def _run_on(self, connection: Connection, *calls: Call) -> list[PGresult]:
        try:
            return await connection.run(*calls)
        finally:
            if not connection.closed:
                self._idle.append(connection)

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """A connection of one's own, for a transaction of several steps; dropped unless the block ends normally.

        Raises:
            ConnectionLostError, StatementRefusedError: Of the block, or of connecting.
        """
        async with self._free:
            if self._idle:
                self._idle.pop().close()  # it may be dead, and what is begun here cannot be begun again
            connection = await self._connect()
            try:
                yield connection
                self._idle.append(connection)
            finally:
                if connection not in self._idle:
                    connection.close()

    def give(self, connection: Connection) -> None:
        """Take over a connection that is open already."""
        self._idle.append(connection)

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()
