"""Writes straight to a backend, past the journal: chains records, commits them, and remembers what must be there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from web4 import _core
from web4.journal.chain import check_run
from web4.journal.record import Commit, HeadMove, Sealed, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from web4.journal.backends.backend import Backend
    from web4.journal.lane import Lane
    from web4.journal.record import Cause, Head, Record, Refs, Work

START_MS = 1_800_000_000_000


class JournalContractError(AssertionError):
    """A backend does not do what a journal needs of it. Its text begins with the name of the check."""


def require(condition: object, what: str) -> None:
    """Fail the case unless `condition` holds.

    Raises:
        JournalContractError: It does not.
    """
    if not condition:
        raise JournalContractError(what)


class Draft(NamedTuple):
    """An event to be written. Payloads are canonical JSON."""

    payload: bytes = b"{}"
    at: int = START_MS
    refs: Refs = ()
    work: Work | None = None
    principal: str | None = None
    cause: Cause | None = None
    type: str = "contract.fact"
    salt: bytes = b"sixteen bytes..."


class Written(NamedTuple):
    """A record that was committed, and the number of its commit."""

    sealed: Sealed
    commit: int


class Scribe:
    """The single writer of the lanes of one case, across openings."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.heads: dict[Lane, Head] = {}
        self.written: list[Written] = []
        """All records, in the order of history."""

    async def own(self, *lanes: Lane) -> None:
        """Become the writer of lanes, of all of them at once."""
        found: dict[Lane, Head] = {}

        async def own(lane: Lane) -> None:
            found[lane] = await self.backend.own(lane)

        if len(lanes) == 1:
            await own(lanes[0])
        else:
            async with trio.open_nursery() as nursery:
                for lane in lanes:
                    nursery.start_soon(own, lane)
        for lane, head in found.items():
            known = self.heads.setdefault(lane, head)
            require(head == known, f"{lane} ends at {head}, not at {known}")

    async def reopened(self, backend: Backend) -> None:
        """Go on with another opening of the same store, which must know every lane as it was."""
        self.backend = backend
        await self.own(*list(self.heads))

    def draft(
        self,
        events: dict[Lane, Sequence[Draft]],
        *,
        bases: Sequence[Snapshot] = (),
        erasures: Sequence[tuple[Lane, int]] = (),
    ) -> Commit:
        """A commit of these events, each lane's after its head, and nothing is written yet."""
        records: list[Sealed] = []
        moves: dict[Lane, HeadMove] = {}
        for lane in sorted(events):
            sealed = self._seal(lane, events[lane])
            records += sealed
            before = self.heads[lane]
            if sealed:
                last = sealed[-1]
                after = before._replace(seq=last.seq, hash=last.hash, at=last.at)
                moves[lane] = HeadMove(lane, before, after)
        return Commit(records, [moves[lane] for lane in sorted(moves)], bases, erasures)

    def _seal(self, lane: Lane, events: Sequence[Draft]) -> list[Sealed]:
        head = self.heads[lane]
        drafts: list[Any] = [
            (
                one.at,
                None if one.cause is None else (str(one.cause[0]), one.cause[1]),
                one.principal,
                list(one.refs),
                one.type,
                1,
                one.payload,
                one.salt,
            )
            for one in events
        ]
        chained = _core.seal_records(str(lane), head.seq + 1, head.hash, drafts)
        return [
            Sealed(
                lane,
                head.seq + 1 + index,
                one.at,
                header,
                one.payload,
                one.salt,
                hashed,
                link,
                one.refs,
                one.work,
            )
            for index, (one, (header, hashed, link)) in enumerate(zip(events, chained, strict=True))
        ]

    def took(self, commit: Commit, number: int) -> None:
        """Remember that `commit` is durable under `number`."""
        last = self.written[-1].commit if self.written else 0
        require(
            not commit.records or number > last, f"commit {number} came after commit {last}, which is no less"
        )
        for move in commit.heads:
            self.heads[move.lane] = move.after
        for base in commit.bases:
            head = self.heads[base.lane]
            self.heads[base.lane] = head._replace(base_seq=base.seq, base_hash=base.record_hash)
        self.written += [Written(sealed, number) for sealed in commit.records]

    async def write(
        self,
        events: dict[Lane, Sequence[Draft]],
        *,
        bases: Sequence[Snapshot] = (),
        erasures: Sequence[tuple[Lane, int]] = (),
    ) -> Commit:
        """Commit these events; what became durable."""
        await self.own(*(lane for lane in events if lane not in self.heads))
        commit = self.draft(events, bases=bases, erasures=erasures)
        self.took(commit, await self.backend.commit(commit))
        return commit

    def snapshot(self, lane: Lane, seq: int, state: bytes = b'{"state":1}') -> Snapshot:
        """A snapshot of a lane after one of its records."""
        found = [one.sealed.hash for one in self.written if one.sealed.lane == lane and one.sealed.seq == seq]
        return Snapshot.of(lane, seq, found[0], state, 1)

    def expected(self, lane: Lane | None = None) -> list[Written]:
        """What must be there, of a lane or of all, in the order of history."""
        return [
            one
            for one in self.written
            if lane in {None, one.sealed.lane} and one.sealed.seq > self.heads[one.sealed.lane].base_seq
        ]

    async def check_lane(self, lane: Lane, *, erased_to: int = 0) -> None:
        """The lane is exactly what was written, and its chain is whole."""
        head = await self.backend.head(lane)
        require(head == self.heads[lane], f"{lane} ends at {head}, not at {self.heads[lane]}")
        found = await self.backend.read(lane, limit=10_000)
        same_records(found, self.expected(lane), what=str(lane), erased_to=erased_to)
        check_run(lane, head.base_hash, head.base_seq, found)

    async def check_all(self) -> None:
        """Every lane is exactly what was written."""
        for lane in self.heads:
            await self.check_lane(lane)


def same_records(
    found: Iterable[Record], expected: Iterable[Written], *, what: str, erased_to: int = 0
) -> None:
    """The records that were found are those expected, byte for byte; up to `erased_to` without their payloads.

    Raises:
        JournalContractError: They are others.
    """
    found, expected = list(found), list(expected)
    places = [(one.lane, one.seq) for one in found]
    wanted = [(one.sealed.lane, one.sealed.seq) for one in expected]
    require(places == wanted, f"{what}: {_shown(places)} are there, {_shown(wanted)} were written")
    for one, (sealed, number) in zip(found, expected, strict=True):
        gone = sealed.seq <= erased_to
        payload, salt = (None, None) if gone else (sealed.payload, sealed.salt)
        for name, value in (
            ("header", sealed.header),
            ("payload", payload),
            ("salt", salt),
            ("payload_hash", sealed.payload_hash),
            ("hash", sealed.hash),
            ("refs", sealed.refs),
            ("at", sealed.at),
            ("commit", number),
        ):
            require(getattr(one, name) == value, f"{what}: {name} of {sealed.lane} {sealed.seq} is another")


def _shown(places: list[tuple[Lane, int]]) -> str:
    few = ", ".join(f"{lane} {seq}" for lane, seq in places[:6])
    return f"{len(places)} records ({few}{', …' if len(places) > 6 else ''})"
