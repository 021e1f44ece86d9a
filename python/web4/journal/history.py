"""What happened, in its order, found by what headers say (JRN-20). Payloads are never given out."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from web4.foundation.clock import SystemClock
from web4.foundation.digest import blake3_hex, canonical
from web4.journal.errors import CorruptJournalError, CursorError
from web4.journal.journal import Journal
from web4.journal.lane import Lane
from web4.journal.record import Cause, Phase, Refs
from web4.journal.seeking import last_before

if TYPE_CHECKING:
    from collections.abc import Collection

    from web4.foundation.clock import Clock
    from web4.journal.backends.backend import Backend
    from web4.journal.event_types import EventRegistry
    from web4.journal.record import Record

Order = Literal["asc", "desc"]

MOST_SCANNED: Final = 20_000
"""Records that one query looks at (JRN-20b)."""
MOST_NS: Final = 1_000_000_000
"""Nanoseconds that one query takes (JRN-20b)."""
MOST: Final = 500
"""Entries of one page (JRN-20a)."""
_PAGE: Final = 250
_FARTHEST: Final = 2**53  # beyond any time that can be written


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One record as history tells it: its header and what is known of its type.

    Args:
        phase: How it moved a command or an effect; None for a mere fact and for a type that is not known.
        success: Of an event that ends a command or concludes an effect, whether that went well; None of any other,
            and where it cannot be told.
        erased: Whether its payload is gone.
        commit: The group commit that carried it.
        position: Its place in the order of history.
    """

    lane: Lane
    seq: int
    type: str
    v: int
    at: int
    cause: Cause | None
    principal: str | None
    refs: Refs
    hash: bytes
    commit: int
    position: int
    phase: Phase | None
    success: bool | None
    erased: bool


class HistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of an answer.

    Args:
        entries: What was found, in the order that was asked for.
        cursor: Where the next page begins; None when there is no more.
        truncated: Whether the query ended by its bounds, and not because the page was full or all was seen.
        scanned: Records looked at.
        malformed: Records on the way whose headers are damaged: whether they match nobody can tell. `verify` names
            them.
    """

    entries: tuple[HistoryEntry, ...]
    cursor: str | None
    truncated: bool
    scanned: int
    malformed: int = 0


class _Query(msgspec.Struct, frozen=True):
    """What a cursor is bound to."""

    journal: str
    lane: str | None
    session: str | None
    command: str | None
    principal: str | None
    types: tuple[str, ...] | None
    since: int | None
    until: int | None
    order: Order

    def matches(self, record: Record) -> bool:
        """Whether a record is looked for."""
        return (
            (self.lane is None or str(record.lane) == self.lane)
            and (self.session is None or ("session", self.session) in record.refs)
            and (self.command is None or ("command", self.command) in record.refs)
            and (self.principal is None or record.principal == self.principal)
            and (self.types is None or record.type in self.types)
            and (self.since is None or record.at >= self.since)
            and (self.until is None or record.at <= self.until)
        )

    @property
    def digest(self) -> str:
        """What a cursor carries of it."""
        return blake3_hex(canonical(self))[:16]


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Which query, and the record it got to."""

    query: str
    position: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    seq: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


async def history(
    source: Journal | Backend,
    *,
    lane: Lane | None = None,
    session: str | None = None,
    command_id: str | None = None,
    principal: str | None = None,
    types: Collection[str] | None = None,
    since: int | None = None,
    until: int | None = None,
    order: Order = "asc",
    cursor: str | None = None,
    limit: int = 100,
    registry: EventRegistry | None = None,
    clock: Clock | None = None,
) -> HistoryPage:
    """Ask what happened. Filters are exact and combined with *and* (JRN-20a).

    Paging by `cursor` gives each record that matches once, also while writing goes on (JRN-20b); the other arguments
    but `limit` must then be the same. Queries by session, command or lane use an index, all others look at everything.

    Args:
        source: A journal, or an open store.
        lane: Only records of this lane.
        session: Only records that refer to this session.
        command_id: Only records that refer to this command.
        principal: Only records on this one's behalf.
        types: Only events of these types.
        since: Not before this time, Unix milliseconds, inclusive.
        until: Not after this time, inclusive.
        order: `asc`, oldest first, or `desc`. The order is that of commit, lane and number.
        cursor: From the page before.
        limit: Entries at most, 1 to 500.
        registry: Tells phases and outcomes; a journal's own if left out.
        clock: Ends the query after a second; a journal's own if left out.

    Raises:
        CursorError: `foreign_cursor`: the cursor belongs to another journal or another query, or is none.
        CorruptJournalError: `store`: it cannot be read. Records with a damaged header are passed over, and counted.
        ValueError: `limit` or `order` is out of range, or a time.
    """
    if not 1 <= limit <= MOST or order not in {"asc", "desc"}:
        raise ValueError(f"limit is 1 to {MOST}, order asc or desc")
    if not all(abs(one) < _FARTHEST for one in (since, until) if one is not None):
        raise ValueError("not a time in milliseconds")
    backend = source
    if isinstance(source, Journal):
        backend, registry, clock = source.backend, registry or source.registry, clock or source.clock
    assert not isinstance(backend, Journal)
    chosen = None if types is None else tuple(sorted(types))
    query = _Query(
        backend.journal_id.hex(),
        None if lane is None else str(lane),
        session,
        command_id,
        principal,
        chosen,
        since,
        until,
        order,
    )
    begin = None if cursor is None else _read_cursor(cursor, query)
    return await _Search(backend, query, lane, registry, clock or SystemClock()).page(begin, limit)


class _Search:
    """One query on its way through the records."""

    def __init__(
        self,
        backend: Backend,
        query: _Query,
        lane: Lane | None,
        registry: EventRegistry | None,
        clock: Clock,
    ) -> None:
        self._backend = backend
        self._query = query
        self._lane = lane
        self._registry = registry
        self._clock = clock
        self._reverse = query.order == "desc"
        self._entries: list[HistoryEntry] = []
        self._scanned = self._malformed = 0

    async def page(self, at: _Cursor | None, limit: int) -> HistoryPage:
        """Look at records from `at` on until the page is full, the bounds are met, or all was seen."""
        deadline = self._clock.monotonic_ns() + MOST_NS
        while True:
            ask = min(_PAGE, MOST_SCANNED - self._scanned)
            records, damaged = await self._readable(at, ask)
            for record in records:
                if self._beyond(record):
                    return self._result(None)
                self._scanned += 1
                at = _Cursor(self._query.digest, record.position, record.seq)
                if self._query.matches(record):
                    self._entries.append(_entry(record, self._registry))
                    if len(self._entries) == limit:
                        return self._result(at)
            if damaged is not None:
                at = damaged
                self._scanned += 1
                self._malformed += 1
            elif len(records) < ask:
                return self._result(None)
            if self._scanned >= MOST_SCANNED or self._clock.monotonic_ns() >= deadline:
                return self._result(at, truncated=True)

    def _result(self, at: _Cursor | None, *, truncated: bool = False) -> HistoryPage:
        return HistoryPage(
            entries=tuple(self._entries),
            cursor=None if at is None else _write_cursor(at),
            truncated=truncated,
            scanned=self._scanned,
            malformed=self._malformed,
        )

    def _beyond(self, record: Record) -> bool:
        """Whether neither this record of a single lane nor any after it can match: times never decrease there."""
        query = self._query
        if not self._by_lane:
            return False
        if self._reverse:
            return query.since is not None and record.at < query.since
        return query.until is not None and record.at > query.until

    @property
    def _by_lane(self) -> bool:
        return self._lane is not None and self._query.command is None and self._query.session is None

    async def _readable(self, at: _Cursor | None, limit: int) -> tuple[list[Record], _Cursor | None]:
        """Records up to the first of which the header is damaged, and the place of that one."""
        damaged: _Cursor | None = None
        while True:
            try:
                return await self._read(at, limit, damaged), damaged
            except CorruptJournalError as error:
                if error.position is None or error.seq is None:
                    raise
                # Going backwards, there may be more of them that come before it.
                damaged = _Cursor(self._query.digest, error.position, error.seq)

    async def _read(self, at: _Cursor | None, limit: int, end: _Cursor | None) -> list[Record]:
        """Records from `at` on, `end` and what is beyond it excluded."""
        query = self._query
        after, before = 0, None
        begins, ends = (end, at) if self._reverse else (at, end)
        if self._by_lane:
            assert self._lane is not None
            if at is None:
                after, before = await self._begin(self._lane)
            after = after if begins is None else begins.seq
            before = before if ends is None else ends.seq
            return await self._backend.read(
                self._lane, after=after, before=before, limit=limit, reverse=self._reverse
            )
        after = 0 if begins is None else begins.position
        before = None if ends is None else ends.position
        for ref in (("command", query.command), ("session", query.session)):
            if ref[1] is not None:
                return await self._backend.find(
                    (ref[0], ref[1]), after=after, before=before, limit=limit, reverse=self._reverse
                )
        return await self._backend.scan(after=after, before=before, limit=limit, reverse=self._reverse)

    async def _begin(self, lane: Lane) -> tuple[int, int | None]:
        """Where in a lane the times begin that are asked for."""
        try:
            return await self._begin_by_time(lane)
        except CorruptJournalError as error:
            if error.position is None:
                raise
            return 0, None  # times cannot be halved where one cannot be read: everything is looked at

    async def _begin_by_time(self, lane: Lane) -> tuple[int, int | None]:
        query = self._query
        head = await self._backend.head(lane)
        if self._reverse and query.until is not None:
            last = await last_before(self._backend, lane, head.base_seq, head.seq, query.until + 1)
            return 0, last + 1
        if not self._reverse and query.since is not None:
            return await last_before(self._backend, lane, head.base_seq, head.seq, query.since), None
        return 0, None


def _entry(record: Record, registry: EventRegistry | None) -> HistoryEntry:
    one = None if registry is None else registry.named(record.type)
    phase = None if one is None else one.phase
    return HistoryEntry(
        lane=record.lane,
        seq=record.seq,
        type=record.type,
        v=record.v,
        at=record.at,
        cause=record.cause,
        principal=record.principal,
        refs=record.refs,
        hash=record.hash,
        commit=record.commit,
        position=record.position,
        phase=phase,
        success=success_of(record, phase),
        erased=record.erased,
    )


def success_of(record: Record, phase: Phase | None) -> bool | None:
    """Whether what a record ends or concludes went well: its `success`, or that its `outcome` is `ok`.

    None of any other record, of an erased one, and of one that does not say so.
    """
    if phase not in {"end", "conclusion"} or record.payload is None:
        return None
    try:
        document: Any = msgspec.json.decode(record.payload)
    except msgspec.DecodeError:
        return None
    if not isinstance(document, dict):
        return None
    success, outcome = document.get("success"), document.get("outcome")
    if isinstance(success, bool):
        return success
    return outcome == "ok" if isinstance(outcome, str) else None


def _write_cursor(cursor: _Cursor) -> str:
    return base64.urlsafe_b64encode(canonical(cursor)).rstrip(b"=").decode()


def _read_cursor(text: str, query: _Query) -> _Cursor:
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = msgspec.json.decode(data, type=_Cursor)
    except (binascii.Error, UnicodeEncodeError, msgspec.MsgspecError, UnicodeDecodeError):
        raise CursorError("this is no cursor", code="foreign_cursor", field="cursor") from None
    if cursor.query != query.digest:
        raise CursorError(
            "the cursor belongs to another query or another journal", code="foreign_cursor", field="cursor"
        )
    return cursor
