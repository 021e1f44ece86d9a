"""Who writes a lane: owners, leases and fencing epochs (JRN-24b).

An opening for writing has one lease, in its node's row; it covers every lane whose row names that node as its owner.
So it is renewed by one small write, however many lanes there are. Taking a lane raises its epoch, and every commit
asserts owner and epoch in its own transaction: the lease decides when a lane may be taken, the epoch that the one it
was taken from cannot write any more. Safety hangs on no clock at all.

Leases are counted by the database's clock. The owner counts by its own, from before it asked for the renewal, and gives
up earlier than anybody may take its lanes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from web4.journal.backends.postgresql.encoding import (
    column,
    int8,
    int8_array,
    read_bytes,
    read_int,
    read_text,
    rows,
    text,
)
from web4.journal.backends.postgresql.wire import Statement
from web4.journal.errors import JournalLocked, NotWriterError
from web4.journal.record import Head

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.journal.backends.postgresql.wire import Connection
    from web4.journal.lane import Lane

SYNCHRONOUS: Final = Statement("synchronous", "SELECT set_config('synchronous_commit', 'on', true)")
"""First in a round trip: what follows is on stable storage when it returns, whatever the profile."""

_OPENING: Final = Statement(
    "opening",
    """INSERT INTO @.nodes AS n (node, opening, backend, backend_start, expires)
        SELECT $1, 1, pg_backend_pid(), (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()),
            clock_timestamp() + $2::bigint * interval '1 millisecond'
    ON CONFLICT (node) DO UPDATE SET opening = n.opening + 1, backend = excluded.backend,
            backend_start = excluded.backend_start, expires = excluded.expires
        WHERE n.expires < clock_timestamp() OR NOT EXISTS (SELECT FROM pg_stat_activity AS a
            WHERE a.pid = n.backend AND (a.backend_start IS NULL OR a.backend_start = n.backend_start))
    RETURNING opening""",
)
_SET_FREE: Final = Statement(
    # In one transaction with `opening`: an earlier opening that finds itself replaced must find its lanes taken, too.
    "set_free",
    """UPDATE @.lanes SET owner = NULL WHERE owner = $1
       AND EXISTS (SELECT FROM @.nodes WHERE node = $1 AND backend = pg_backend_pid())""",
)
_COUNT_BOOT: Final = Statement(
    "count_boot",
    """UPDATE @.meta SET boots = boots + 1
       WHERE EXISTS (SELECT FROM @.nodes WHERE node = $1 AND backend = pg_backend_pid()) RETURNING boots""",
)
_RENEW: Final = Statement(
    "renew",
    """UPDATE @.nodes SET expires = clock_timestamp() + $3::bigint * interval '1 millisecond'
       WHERE node = $1 AND opening = $2::bigint""",
)
_RECONNECTED: Final = Statement(
    "reconnected",
    """UPDATE @.nodes SET expires = clock_timestamp() + $3::bigint * interval '1 millisecond',
        backend = pg_backend_pid(),
        backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
       WHERE node = $1 AND opening = $2::bigint""",
)
_LEAVE: Final = Statement(
    "leave",
    """WITH gone AS (UPDATE @.nodes SET expires = clock_timestamp() - interval '1 second', backend = 0
            WHERE node = $1 AND opening = $2::bigint RETURNING node)
       UPDATE @.lanes SET owner = NULL WHERE owner = (SELECT node FROM gone)""",
)
KNOW_LANE: Final = Statement(
    "know_lane",
    """INSERT INTO @.lanes (kind, id, seq, hash, at, base_seq, base_hash) VALUES ($1, $2, 0, $3, 0, 0, $3)
       ON CONFLICT (kind, id) DO NOTHING""",
)
_TAKE: Final = Statement(
    # The owner's own row is looked at first: an owner whose lease was taken as its node opened anew takes nothing.
    "take_lane",
    """WITH mine AS (SELECT node FROM @.nodes WHERE node = $3 AND opening = $4::bigint FOR SHARE)
       UPDATE @.lanes AS l SET owner = $3, epoch = epoch + 1
       WHERE l.kind = $1 AND l.id = $2 AND EXISTS (SELECT FROM mine) AND (l.owner IS NULL OR l.owner = $3
            OR NOT EXISTS (SELECT FROM @.nodes AS n WHERE n.node = l.owner AND n.expires >= clock_timestamp()))
       RETURNING lane, epoch, seq, hash, at, base_seq, base_hash""",
)
_WHO: Final = Statement(
    "who_owns",
    """SELECT l.owner, ceil(extract(epoch FROM n.expires - clock_timestamp()) * 1000)::bigint
       FROM @.lanes AS l JOIN @.nodes AS n ON n.node = l.owner WHERE l.kind = $1 AND l.id = $2""",
)
_RELEASE: Final = Statement(
    "release_lane",
    "UPDATE @.lanes SET owner = NULL WHERE lane = $1::bigint AND owner = $2 AND epoch = $3::bigint",
)
_NODE: Final = Statement(
    "node_owner",
    """SELECT ceil(extract(epoch FROM expires - clock_timestamp()) * 1000)::bigint FROM @.nodes
       WHERE node = $1""",
)
_FENCE: Final = Statement(
    "fence",
    """WITH mine AS (SELECT node FROM @.nodes WHERE node = $2 AND opening = $3::bigint FOR SHARE)
       UPDATE @.lanes AS l SET epoch = epoch + 1 FROM unnest($1::bigint[]) AS asked (lane)
       WHERE l.lane = asked.lane AND (l.owner = (SELECT node FROM mine)) IS TRUE RETURNING l.lane, l.epoch""",
)


class Held(NamedTuple):
    """A lane that this opening owns: its number in the tables, and the epoch under which it was taken."""

    number: int
    epoch: int


class Leases:
    """What one opening holds. Its methods run on the writing connection, one at a time."""

    def __init__(self, node: str, *, lease_seconds: float, give_up_seconds: float) -> None:
        self.node = node
        self._lease = int8(round(lease_seconds * 1000))
        self._give_up = give_up_seconds
        self._opening = 0
        self._renewed = -float("inf")
        self._held: dict[Lane, Held] = {}

    @property
    def held(self) -> dict[Lane, Held]:
        """The lanes that may be committed to; empty from the moment in which the lease must be thought lost."""
        if self._held and trio.current_time() >= self.deadline:
            self._held.clear()
        return self._held

    @property
    def deadline(self) -> float:
        """When this opening gives up, by Trio's clock, unless it can renew before."""
        return self._renewed + self._give_up

    async def open(self, connection: Connection) -> int:
        """Take the node's lease: free, expired, or of a process whose connection is gone; which opening this is.

        Raises:
            JournalLocked: Another process writes under the name of this node.
        """
        asked = trio.current_time()
        node = text(self.node)
        _, taken, _, boots = await connection.run(
            (SYNCHRONOUS, ()), (_OPENING, (node, self._lease)), (_SET_FREE, (node,)), (_COUNT_BOOT, (node,))
        )
        if not taken.ntuples:
            (left,) = await connection.run((_NODE, (node,)))
            seconds = column(left, 0, read_int)[0] / 1000 if left.ntuples else 0.0
            raise JournalLocked(
                "the journal", owner=f"node {self.node}, for another {seconds:.1f} s at least"
            )
        self._opening = read_int(taken.get_value(0, 0))
        self._renewed = asked
        return read_int(boots.get_value(0, 0))

    async def renew(self, connection: Connection, *, synchronous: bool = False) -> None:
        """Extend the lease. Another opening of this node ends ours for good."""
        asked = trio.current_time()
        first = ((SYNCHRONOUS, ()),) if synchronous else ()
        answers = await connection.run(*first, (_RENEW, (text(self.node), int8(self._opening), self._lease)))
        self._count(answers[-1].command_tuples, asked)

    async def reconnected(self, connection: Connection) -> None:
        """Say that the lease goes on, on another connection."""
        asked = trio.current_time()
        parameters = (text(self.node), int8(self._opening), self._lease)
        _, answer = await connection.run((SYNCHRONOUS, ()), (_RECONNECTED, parameters))
        self._count(answer.command_tuples, asked)

    def _count(self, found: int | None, asked: float) -> None:
        if found:
            _ = (
                self.held
            )  # a lease that was given up before it could be renewed is not revived for lanes held then
            self._renewed = asked
        else:
            self._renewed = -float("inf")
            self._held.clear()

    async def leave(self, connection: Connection) -> None:
        """Let go of everything, so that nobody has to wait."""
        self._held.clear()
        await connection.run((_LEAVE, (text(self.node), int8(self._opening))))

    async def take(self, connection: Connection, lane: Lane, genesis: bytes) -> Head:
        """Become the owner of a lane that is free, or whose owner's lease expired.

        Raises:
            NotWriterError: `lane_owned`.
        """
        if trio.current_time() >= self.deadline:
            await self.renew(connection)  # what is taken under a lease that is over would be lost at once
        kind, name = text(lane.kind), text(lane.id)
        _, _, taken, owner = await connection.run(
            (SYNCHRONOUS, ()),
            (KNOW_LANE, (kind, name, genesis)),
            (_TAKE, (kind, name, text(self.node), int8(self._opening))),
            (_WHO, (kind, name)),
        )
        if not taken.ntuples:
            self._held.pop(lane, None)
            raise self._refusal(lane, rows(owner))
        number, epoch, seq, hash_, at, base_seq, base_hash = rows(taken)[0]
        self._held[lane] = Held(read_int(number), read_int(epoch))
        return Head(read_int(seq), read_bytes(hash_), read_int(at), read_int(base_seq), read_bytes(base_hash))

    def _refusal(self, lane: Lane, owners: list[list[bytes | None]]) -> NotWriterError:
        owner, left = (read_text(owners[0][0]), max(0, read_int(owners[0][1]))) if owners else ("nobody", 0)
        if owner in {self.node, "nobody"}:
            return NotWriterError(f"node {self.node} was opened anew elsewhere", code="lease_lost", lane=lane)
        return NotWriterError(
            f"{lane} belongs to node {owner}, for another {left / 1000:.1f} s unless it renews",
            code="lane_owned",
            lane=lane,
            retry_after_ms=left,
        )

    async def release(self, connection: Connection, lane: Lane) -> None:
        """Let go of a lane."""
        held = self._held.pop(lane, None)
        if held is not None:
            await connection.run((_RELEASE, (int8(held.number), text(self.node), int8(held.epoch))))

    async def fence(self, connection: Connection, numbers: Iterable[int]) -> None:
        """Raise the epochs of our own lanes: nothing sent before can commit after this returned.

        A statement that a broken connection left behind may still wait in the server. It either committed before the
        rows are ours, and is seen, or it finds another epoch.
        """
        parameters = (int8_array(list(numbers)), text(self.node), int8(self._opening))
        _, raised = await connection.run((SYNCHRONOUS, ()), (_FENCE, parameters))
        epochs = {read_int(number): read_int(epoch) for number, epoch in rows(raised)}
        for lane, held in list(self.held.items()):
            if held.number in epochs:
                self._held[lane] = held._replace(epoch=epochs[held.number])

    def forget(self, lane: Lane) -> None:
        """The lane turned out to be another's."""
        self._held.pop(lane, None)
