"""Opening a journal, checking the ends of its lanes, and closing it in order (JRN-11, JRN-12)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from web4.foundation.errors import Web4Error
from web4.foundation.events import no_events
from web4.journal.chain import broken_at, check_run, genesis
from web4.journal.errors import CorruptJournalError
from web4.journal.journal import Journal
from web4.journal.lane import SERVER, Lane
from web4.journal.own_events import OWN_EVENTS, JournalAnchored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.foundation.identity import Identity
    from web4.foundation.ids import IdSource
    from web4.journal.backends.backend import Backend
    from web4.journal.event_types import EventRegistry
    from web4.journal.limits import JournalLimits
    from web4.journal.record import Head, Record
    from web4.journal.redaction import Redactor

_PAGE: Final = 500


@asynccontextmanager
async def open_journal(
    backend: Backend,
    *,
    registry: EventRegistry,
    identity: Identity | None = None,
    redactor: Redactor | None = None,
    clock: Clock | None = None,
    ids: IdSource | None = None,
    emit: Emitter = no_events,
    limits: JournalLimits | None = None,
) -> AsyncIterator[Journal]:
    """Open a journal over an open backend; on leaving, write what waits, anchor, and close.

    The last records of every lane are verified first: a lane that is damaged there is halted, the others serve
    (JRN-12c). Cancelled, it still writes what was appended, for `close_seconds` at most.

    Args:
        backend: Where records are kept; see `open_sqlite`, `open_postgresql`, `open_memory`.
        registry: The event types of this node; the journal's own are added.
        identity: Signs anchors (JRN-3f).
        redactor: What keeps data from being stored.
        clock: See `Journal`.
        ids: See `Journal`.
        emit: See `Journal`.
        limits: See `JournalLimits`.
    """
    for one in OWN_EVENTS:
        registry.register(one)
    journal = Journal(
        backend,
        registry=registry,
        identity=identity,
        redactor=redactor,
        clock=clock,
        ids=ids,
        emit=emit,
        limits=limits,
    )
    await _verify_tails(journal)
    emit("journal_opened", **{name: journal.health()[name] for name in ("backend", "durability", "boot")})
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        # The body may be cancelled; what it has appended is written all the same.
        writer = trio.CancelScope(shield=True)
        ended = trio.Event()

        async def write() -> None:
            try:
                with writer:
                    await journal.run()
            finally:
                ended.set()

        nursery.start_soon(write)
        try:
            yield journal
        except BaseException as error:  # raised again below, not in the nursery's group
            failure = error
        finally:
            journal.close()
            with trio.CancelScope(shield=True), trio.move_on_after(journal.limits.close_seconds):
                await ended.wait()
            writer.cancel()
    if failure is not None:
        raise failure


async def _verify_tails(journal: Journal) -> None:
    """Verify the last records of every lane against their chain, and the newest anchor there is (JRN-12c)."""
    after: Lane | None = None
    anchored: dict[str, tuple[int, str]] = {}
    heads: dict[str, Head] = {}
    written: list[tuple[Lane, Head, int]] = []
    newest = 0
    while page := await journal.backend.heads(after=after, limit=_PAGE):
        for lane, head in page:
            heads[str(lane)] = head
            try:
                records = await _verify_tail(journal, lane, head)
            except CorruptJournalError as error:
                journal.halt(lane, str(error), seq=error.seq)
                continue
            if lane == SERVER:
                anchored = _anchored(journal, records)
                newest = max((one.commit for one in records if one.type == "journal.anchored"), default=0)
            elif records:
                written.append((lane, head, records[-1].commit))
        after = page[-1][0]
    for name, (seq, digest) in anchored.items():
        head_now = heads.get(name)
        same = head_now is not None and head_now.seq == seq
        if head_now is None or head_now.seq < seq or (same and head_now.hash.hex() != digest):
            journal.halt(Lane.parse(name), f"the lane is not what was anchored at {seq}", seq=seq)
    # What a process that was killed had written since its last anchor is for the next one to anchor (JRN-3f).
    for lane, head, commit in written:
        if commit > newest and lane not in journal.halted:
            journal.unanchored(lane, head)


async def _verify_tail(journal: Journal, lane: Lane, head: Head) -> list[Record]:
    backend = journal.backend
    begin = max(head.base_seq, head.seq - journal.limits.verified_tail)
    prev = head.base_hash if begin else genesis(journal.journal_id, lane)
    if begin > head.base_seq:
        # The record before the tail comes along, for its hash: one question less for each lane at boot.
        records = await backend.read(lane, after=begin - 1, limit=head.seq - begin + 1)
        if not records or records[0].seq != begin:
            raise broken_at(lane, begin)
        prev, records = records[0].hash, records[1:]
    else:
        records = await backend.read(lane, after=begin, limit=max(1, head.seq - begin))
    if check_run(lane, prev, begin, records) != head.hash or begin + len(records) != head.seq:
        raise broken_at(lane, begin + len(records) + 1)
    return records


def _anchored(journal: Journal, records: list[Any]) -> dict[str, tuple[int, str]]:
    """The newest anchored head of each lane among `records`."""
    anchored = {}
    for record in records:
        if record.type in {"journal.anchored", "journal.repaired"} and record.payload is not None:
            try:
                event = journal.registry.decode(record)
            except Web4Error:
                continue
            if isinstance(event, JournalAnchored):
                anchored.update({name: (seq, digest) for name, seq, digest in event.lanes})
            elif anchored.get(event.lane, (0, ""))[0] > event.seq:
                del anchored[event.lane]  # a repair has cut it since
    return anchored
