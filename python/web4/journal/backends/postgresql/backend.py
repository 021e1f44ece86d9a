"""The PostgreSQL backend (JRN-24b): one writing connection, a few for reading, one that listens."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from web4.journal.backends.postgresql import cutting
from web4.journal.backends.postgresql.keeping import Keeping
from web4.journal.backends.postgresql.restoring import PostgresqlRestoring
from web4.journal.backends.postgresql.tables import renumber
from web4.journal.backends.postgresql.wire import ConnectionLostError, StatementRefusedError
from web4.journal.backends.postgresql.writing import check_held, read_back, write
from web4.journal.errors import NotCommittedError, NotWriterError, OutcomeUnknownError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from web4.journal.backends.backend import Durability
    from web4.journal.backends.postgresql.changes import Changes
    from web4.journal.backends.postgresql.leases import Leases
    from web4.journal.backends.postgresql.pool import Pool
    from web4.journal.backends.postgresql.tables import Meta
    from web4.journal.backends.postgresql.wire import Connection
    from web4.journal.lane import Lane
    from web4.journal.record import Commit, Head, OpenWork, RawRecord

ANSWER_WITHIN: Final = 10.0
"""Seconds for which a step that is not a commit waits for the server."""
_LOOK_WITHIN: Final = 1.0
_LEAVE_WITHIN: Final = 3.0
_FLUSH_AFTER: Final = 0.1
"""Seconds after which what `relaxed` has written is forced to stable storage (JRN-5c)."""


class PostgresqlBackend(Keeping):
    """An open journal in PostgreSQL. See `Backend` for what its methods mean."""

    def __init__(
        self,
        meta: Meta,
        pool: Pool,
        changes: Changes,
        leases: Leases | None,
        connect: Callable[[], Awaitable[Connection]],
        *,
        durability: Durability,
    ) -> None:
        super().__init__(pool, meta.journal_id, read_only=leases is None)
        self._hash_key = meta.hash_key
        self._boot = 0
        self._changes = changes
        self._leases = leases
        self._connect = connect
        self._durability = durability
        self._connection: Connection | None = None
        self._offset = 0
        self._writing = trio.Lock()
        self._unknown = False
        self._unflushed = trio.Event()

    @property
    def name(self) -> str:
        """See `Backend.name`."""
        return "postgresql"

    @property
    def durability(self) -> Durability:
        """See `Backend.durability`."""
        return self._durability

    @property
    def journal_id(self) -> bytes:
        """See `Backend.journal_id`."""
        return self._journal_id

    @property
    def boot(self) -> int:
        """See `Backend.boot`. Openings by all nodes count."""
        return self._boot

    @property
    def read_only(self) -> bool:
        """See `Backend.read_only`."""
        return self._read_only

    @property
    def accepting(self) -> bool:
        """See `Backend.accepting`. The server's volume is its operator's to watch."""
        return True

    @property
    def shared(self) -> bool:
        """See `Backend.shared`."""
        return True

    @property
    def hash_key(self) -> bytes:
        """See `Backend.hash_key`."""
        return self._hash_key

    @property
    def torn(self) -> int:
        """See `Backend.torn`. The server discards unfinished transactions by itself and does not count them."""
        return 0

    # --- writing ----------------------------------------------------------------------------------------

    async def own(self, lane: Lane) -> Head:
        """See `Backend.own`. Takes a lane that is free, or whose owner's lease expired, and raises its epoch.

        Raises:
            NotWriterError: `lane_owned`, with the owner's name and `retry_after_ms`; `lease_lost`, `read_only`.
            NotCommittedError: The server cannot be reached.
        """
        leases = self._leases_or_refuse()
        async with self._answering() as connection:
            return await leases.take(connection, lane, self.genesis(lane).hash)

    async def release(self, lane: Lane) -> None:
        """See `Backend.release`. When the server cannot be reached, the lease's end does it."""
        leases = self._leases_or_refuse()
        try:
            async with self._answering() as connection:
                await leases.release(connection, lane)
        except NotCommittedError:
            leases.forget(lane)

    async def commit(self, commit: Commit) -> int:
        """See `Backend.commit`. Gives up where the lease must be thought lost."""
        leases = self._leases_or_refuse()
        async with self._writing:
            if self._unknown:
                raise NotCommittedError("an earlier commit's outcome is unknown: recover first")
            sent = False
            with trio.CancelScope(shield=True, deadline=leases.deadline):
                try:
                    check_held(leases, commit)
                    connection = await self._writer()
                    sent = True
                    number = await write(connection, leases, commit, offset=self._offset)
                except StatementRefusedError as error:
                    raise NotCommittedError(str(error)) from None
                except ConnectionLostError as error:
                    if not (sent and error.sent):
                        raise NotCommittedError(str(error)) from None
                    self._unknown = True
                    raise OutcomeUnknownError(str(error)) from None
                self._last_number = number
                self._changes.tell(commit.heads)
                self._unflushed.set()
                return number
            # The deadline passed.
            if not sent:
                raise NotCommittedError("no connection in time")
            self._unknown = True
            raise OutcomeUnknownError("no answer before the lease had to be given up")

    async def recover(self, commit: Commit) -> int | None:
        """See `Backend.recover`. Afterwards the commit, if it is not there, cannot come late."""
        leases = self._leases_or_refuse()
        async with self._answering(anew=True) as connection:
            number = await read_back(connection, leases, commit, offset=self._offset)
        self._unknown = False
        if number is not None:
            self._last_number = max(self._last_number, number)
            self._changes.tell(commit.heads)
        return number

    async def raw(self, lane: Lane, *, after: int = 0, limit: int = 500) -> list[RawRecord]:
        """See `Repairable.raw`."""
        return await cutting.raw(self._pool, lane, after, limit)

    async def cut(self, lane: Lane, head: Head, work: Sequence[OpenWork]) -> int:
        """See `Repairable.cut`. The lane must be this opening's: see `own`."""
        leases = self._leases_or_refuse()
        async with self._answering() as connection:
            return await cutting.cut(connection, leases, lane, head, work)

    def _leases_or_refuse(self) -> Leases:
        if self._leases is None:
            raise NotWriterError("the journal was opened for reading", code="read_only")
        return self._leases

    async def _writer(self) -> Connection:
        """The writing connection; a new one if the last was lost."""
        assert self._leases is not None
        if self._connection is None or self._connection.closed:
            connection = await self._connect()
            try:
                self._offset = await renumber(connection)
                await self._leases.reconnected(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    @asynccontextmanager
    async def _answering(self, *, anew: bool = False) -> AsyncGenerator[Connection]:
        """The writing connection for a step that completes though its caller is cancelled."""
        async with self._writing:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + ANSWER_WITHIN) as scope:
                try:
                    if anew and self._connection is not None:
                        self._connection.close()
                    yield await self._writer()
                except (ConnectionLostError, StatementRefusedError) as error:
                    raise NotCommittedError(str(error)) from None
            if scope.cancelled_caught:
                raise NotCommittedError(f"no answer within {ANSWER_WITHIN:g} s")

    @asynccontextmanager
    async def restoring(self, journal_id: bytes, hash_key: bytes) -> AsyncGenerator[PostgresqlRestoring]:
        """See `CopyTarget.restoring`."""
        leases = self._leases_or_refuse()
        async with self._beside(), self._pool.connection() as connection:
            restoring = PostgresqlRestoring(connection)
            await restoring.begin(leases.node, journal_id, hash_key)
            yield restoring
            try:
                await restoring.end()
            except ConnectionLostError as error:
                raise OutcomeUnknownError(str(error)) from None
            leases.held.clear()
            self._journal_id, self._hash_key = journal_id, hash_key
        async with self._answering() as connection:
            self._offset = await renumber(connection)

    # --- reading, beside `Reading` ----------------------------------------------------------------------

    async def changed(self, lane: Lane, seq: int) -> None:
        """See `Backend.changed`. A lane that this opening owns has no other writer; nothing is asked for it."""

        async def look() -> int:
            if self._leases is not None and lane in self._leases.held:
                return seq
            # A connection whose query is cancelled is lost, and followers stop waiting all the time.
            with trio.move_on_after(_LOOK_WITHIN, shield=True):
                return (await self.head(lane)).seq
            return seq + 1

        await self._changes.wait(str(lane), seq, look)

    # --- life -------------------------------------------------------------------------------------------

    async def start(self, connection: Connection) -> None:
        """Take the node's lease on the connection that opened the tables.

        Raises:
            JournalLocked: Another process writes under this node's name.
        """
        assert self._leases is not None
        self._boot = await self._leases.open(connection)
        self._offset = await renumber(connection)
        self._connection = connection

    async def listen(self) -> None:
        """Hear what others tell of their lanes, for ever."""
        await self._changes.listen()

    async def tell(self) -> None:
        """Tell others of our lanes, for ever."""
        await self._changes.send()

    async def renew(self, every: float) -> None:
        """Renew the lease, for ever. Who cannot will find no lane to commit to."""
        assert self._leases is not None
        pause = every
        while True:
            await trio.sleep(pause)
            pause = await self._renew(every, synchronous=False)

    async def flush(self) -> None:
        """Force to stable storage what `relaxed` wrote, soon after it was written, for ever."""
        while True:
            await self._unflushed.wait()
            self._unflushed = trio.Event()
            await trio.sleep(_FLUSH_AFTER)
            await self._renew(0, synchronous=True)

    async def _renew(self, pause: float, *, synchronous: bool) -> float:
        assert self._leases is not None
        async with self._writing:
            deadline = max(self._leases.deadline, trio.current_time() + 1)
            with trio.move_on_at(deadline) as scope:
                try:
                    await self._leases.renew(await self._writer(), synchronous=synchronous)
                except (ConnectionLostError, StatementRefusedError):
                    return min(pause, 0.5)
            return min(pause, 0.5) if scope.cancelled_caught else pause

    async def leave(self) -> None:
        """Let go of all lanes, tell the last news, close every connection."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _LEAVE_WITHIN):
            if self._leases is not None:
                await self._changes.send_now()
                try:
                    async with self._writing:
                        await self._leases.leave(await self._writer())
                except (ConnectionLostError, StatementRefusedError):
                    pass  # the lease's end will do it
        if self._connection is not None:
            self._connection.close()
        self._pool.close()
