"""Stores in PostgreSQL for the contract suite: a schema each, and faults where the wire is."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, Any, NoReturn

import trio

from web4.journal.backends.postgresql import open_postgresql
from web4.journal.backends.postgresql.wire import ConnectionLostError, StatementRefusedError
from web4.testing.journal import StoreUnderTest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.postgresql_server import PostgresqlServer
    from web4.journal.backends.postgresql.backend import PostgresqlBackend
    from web4.journal.backends.postgresql.wire import Connection
    from web4.journal.lane import Lane
    from web4.testing.journal import Column, FailureKind, StoreFactory

_NUMBERS = count()


class Failing:
    """A writing connection whose next round trip fails."""

    def __init__(self, inner: Connection, kind: FailureKind) -> None:
        self._inner = inner
        self._kind = kind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def run(self, *calls: Any) -> Any:
        await trio.lowlevel.checkpoint()
        if self._kind == "not_committed":
            raise StatementRefusedError("53100", "no space left on device")
        if self._kind == "reply_lost":
            await self._inner.run(*calls)
        # What is torn, the server discards by itself: to a client it was not written.
        self._inner.close()
        raise ConnectionLostError("the test cut it", sent=True)


class Store:
    """One schema of a database, and who has it open."""

    def __init__(self, server: PostgresqlServer, database: str) -> None:
        self._server = server
        self._database = database
        self._schema = f"s{next(_NUMBERS)}"
        self._open: dict[str, PostgresqlBackend] = {}
        self._failures: list[FailureKind] = []

    def under_test(self) -> StoreUnderTest:
        # Not `holds`: what was erased stays in the server's write-ahead log until that is recycled; no client can help.
        return StoreUnderTest(
            open=self.open, kill=self.kill, fail=self.fail, expire=self.expire, damage=self.damage
        )

    @asynccontextmanager
    async def open(self, *, read_only: bool = False) -> AsyncGenerator[PostgresqlBackend]:
        node = next(name for name in (f"n{number}" for number in count()) if name not in self._open)
        async with open_postgresql(
            self._database,
            node=node,
            schema=self._schema,
            read_only=read_only,
            lease_seconds=120.0,
            renew_seconds=60.0,
            give_up_seconds=100.0,
        ) as backend:
            if not read_only:
                self._open[node] = backend
                self._let_fail(backend)
            try:
                yield backend
            finally:
                if self._open.get(node) is backend:
                    del self._open[node]

    def _let_fail(self, backend: PostgresqlBackend) -> None:
        writer = backend._writer
        commit = backend.commit

        async def failing_commit(what: Any) -> int:
            async def failing_writer() -> Any:
                connection = await writer()
                return Failing(connection, self._failures.pop(0)) if self._failures else connection

            backend._writer = failing_writer  # type: ignore[method-assign]
            try:
                return await commit(what)
            finally:
                backend._writer = writer  # type: ignore[method-assign]

        backend.commit = failing_commit  # type: ignore[method-assign, assignment]

    def fail(self, kind: FailureKind, times: int) -> None:
        self._failures += [kind] * times

    async def kill(self) -> None:
        """Close all sockets as the kernel would, and let nothing be connected again."""
        for backend in self._open.values():
            for part in (backend, backend._pool, backend._changes):
                part._connect = refuse
            connections = [*backend._pool._idle, backend._connection]
            for connection in connections:
                if connection is not None and not connection.closed:
                    wire = socket.fromfd(connection._native.socket, socket.AF_UNIX, socket.SOCK_STREAM)
                    with wire, suppress(OSError):
                        wire.shutdown(socket.SHUT_RDWR)
        self._open.clear()
        await trio.lowlevel.checkpoint()

    async def expire(self) -> None:
        await self._sql("UPDATE {}.nodes SET expires = clock_timestamp() - interval '1 second'")

    async def damage(self, lane: Lane, seq: int, column: Column) -> None:
        await self._sql(
            f"UPDATE {{}}.records SET {column} = set_byte({column}, 0, get_byte({column}, 0) # 1) WHERE seq = {seq}"
            f" AND lane = (SELECT lane FROM {{}}.lanes WHERE kind = '{lane.kind}' AND id = '{lane.id}')"
        )

    async def remove(self) -> None:
        await self._sql("DROP SCHEMA IF EXISTS {} CASCADE")

    async def _sql(self, text: str) -> None:
        name = self._database.rpartition("=")[2]
        await trio.to_thread.run_sync(self._server.sql, text.replace("{}", self._schema), name)


async def refuse() -> NoReturn:
    await trio.lowlevel.checkpoint()
    raise ConnectionLostError("the process was killed", sent=False)


def postgresql_factory(server: PostgresqlServer, database: str) -> StoreFactory:
    """Stores of one database for the contract suite."""

    @asynccontextmanager
    async def factory() -> AsyncGenerator[StoreUnderTest]:
        store = Store(server, database)
        try:
            yield store.under_test()
        finally:
            with trio.CancelScope(shield=True):
                await store.remove()

    return factory
