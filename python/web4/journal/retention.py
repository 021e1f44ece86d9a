"""What is kept of lanes, and for how long (JRN-16). What must never go is found first, the rest is arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from web4.journal.compaction import (
    Kept,
    Slices,
    base_at,
    compact_to,
    floor_of,
    prune,
    scrub,
    usable_snapshots,
)
from web4.journal.draft import NewEvent
from web4.journal.errors import JournalError, NotWriterError, RetentionError
from web4.journal.holds import holds, turn
from web4.journal.own_events import JournalRetained
from web4.journal.replay import state_at
from web4.journal.seeking import last_before, last_erased

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.journal.journal import Journal
    from web4.journal.lane import Lane, LaneKind
    from web4.journal.record import Head
    from web4.journal.replay import ReplayDefinition

_PAGE: Final = 500
_BYTES_PAGE: Final = 64
"""Records read at a time where their payloads are only measured: each may have 256 KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Up to where something is kept; None keeps it. Whichever bound is passed first lets the oldest go.

    Args:
        max_age_ms: Milliseconds since the time of the record.
        max_bytes: Of payloads, per lane.
        max_records: Per lane.

    Raises:
        ValueError: A bound is negative.
    """

    max_age_ms: int | None = None
    max_bytes: int | None = None
    max_records: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_age_ms", "max_bytes", "max_records"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must not be negative")

    @property
    def keeps_all(self) -> bool:
        """Whether nothing ever goes."""
        return (self.max_age_ms, self.max_bytes, self.max_records) == (None, None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """What is kept of a kind of lane: payloads, and records as a whole. The default keeps everything."""

    payloads: Bounds = field(default_factory=Bounds)
    records: Bounds = field(default_factory=Bounds)


class Retained(NamedTuple):
    """What a run came to in one lane.

    Args:
        base_seq: Where what is kept begins, afterwards.
        erased: Payloads erased.
        removed: Records removed.
        bytes: Bytes of payloads that went.
        kept: What was in the way of going as far as the policy says; None if nothing was.
    """

    lane: Lane
    base_seq: int
    erased: int
    removed: int
    bytes: int
    kept: str | None


async def retain(
    journal: Journal,
    policies: Mapping[LaneKind, RetentionPolicy],
    *,
    definitions: Mapping[LaneKind, ReplayDefinition] | None = None,
    now: int | None = None,
    reason: str = "policy",
) -> list[Retained]:
    """Apply policies to all lanes (JRN-16); what was done in the lanes in which something was, or should have been.

    Unfinished work, anchors, holds and what no snapshot stands for stay, whatever a policy says. Each step is
    announced by `journal.retained` in the very commit that makes it. At the end nothing of what went is left in any
    file of the store.

    Args:
        journal: Open for writing.
        policies: By kind of lane; other lanes keep everything.
        definitions: The logic of kinds of lanes: their states can then be made where they are needed. Without it only
            snapshots that exist stand for records.
        now: From when ages count; the journal's clock if left out.
        reason: What asked for it, for the record.

    Raises:
        JournalError: Writing failed. What was done until then is done and announced; running it again goes on.
        JournalUnavailable: `suspended`: also when all is done, and files of the store could not be scrubbed of it.

    Cancellation: between two steps.
    """
    moment = journal.clock.wall_ms() if now is None else now
    results = []
    done = False
    after: Lane | None = None
    while page := await journal.heads(after=after, limit=_PAGE):
        for lane, _ in page:
            async with turn(journal):
                run = _LaneRun(journal, lane, (definitions or {}).get(lane.kind), moment, reason)
                result = await run.apply(policies.get(lane.kind, RetentionPolicy()))
            if result is not None:
                results.append(result)
            done = done or run.went
        after = page[-1][0]
    if done:
        await scrub(journal)
    return results


class _LaneRun:
    """One lane under retention."""

    def __init__(
        self, journal: Journal, lane: Lane, definition: ReplayDefinition | None, now: int, reason: str
    ) -> None:
        self._journal = journal
        self._backend = journal.backend
        self._lane = lane
        self._definition = definition
        self._now = now
        self._reason = reason
        self._erased = self._removed = self._bytes = 0
        self._kept: str | None = None
        self.went = False
        """Whether anything went that files of the store may still hold."""

    async def apply(self, policy: RetentionPolicy) -> Retained | None:
        """Compact, then erase. None if there was nothing to do."""
        lane, journal = self._lane, self._journal
        head = await journal.head(lane)
        if lane in journal.halted:
            return None  # what is damaged is evidence
        if head.base_seq:
            # What an earlier run was interrupted in.
            self.went = await prune(journal, lane) > 0
        if policy.payloads.keeps_all and policy.records.keeps_all:
            return None
        try:
            await self._compact(policy.records, head)
            head = await journal.head(lane)
            await self._erase(policy.payloads, head)
        except NotWriterError:
            self._kept = "another node writes the lane"
        if not (self._erased or self._removed or self._kept):
            return None
        return Retained(lane, head.base_seq, self._erased, self._removed, self._bytes, self._kept)

    # --- records ----------------------------------------------------------------------------------------

    async def _compact(self, bounds: Bounds, head: Head) -> None:
        wanted = await self._cut(bounds, head)
        if wanted <= head.base_seq:
            return
        allowed = await self._allowed(head, wanted)
        if allowed <= head.base_seq:
            return
        try:
            base = await base_at(self._journal, self._lane, allowed, definition=self._definition)
        except RetentionError as error:
            self._kept = self._kept or error.args[0]
            return
        self.went = True
        removed, size = await compact_to(self._journal, base, reason=self._reason)
        self._removed += removed
        self._bytes += size

    # --- payloads ---------------------------------------------------------------------------------------

    async def _erase(self, bounds: Bounds, head: Head) -> None:
        wanted = await self._cut(bounds, head)
        done = await last_erased(self._backend, self._lane, head.base_seq, max(wanted, head.base_seq))
        if wanted <= done:
            return
        allowed = await self._backed(head, await self._allowed(head, wanted))
        slices = Slices(self._journal, first=_PAGE)
        while done < allowed:
            limit = min(slices.size, allowed - done, _PAGE)
            records = await self._backend.read(self._lane, after=done, limit=limit)
            if not records:
                return
            done = records[-1].seq
            size = sum(len(record.payload or b"") for record in records)
            event = JournalRetained(
                lane=str(self._lane),
                base_seq=head.base_seq,
                erased=len(records),
                removed=0,
                bytes=size,
                reason=self._reason,
            )
            self.went = True
            with slices.measured():
                await self._journal.change(
                    events=[NewEvent(event, self._journal.clock.wall_ms())], erasures=[(self._lane, done)]
                )
            self._erased += len(records)
            self._bytes += size

    async def _backed(self, head: Head, seq: int) -> int:
        """How far payloads may go: a snapshot that holds must stand for them, and is made if it can be.

        Two of them, where that can be: what is erased cannot be replayed, and with one alone a single damaged byte
        would cost the lane.
        """
        for at in (seq, head.seq):
            standing = await self._standing(head)
            if seq <= head.base_seq or len([one for one in standing if one >= seq]) > 1 or at in standing:
                continue
            if self._definition is None:
                break
            try:
                made = await state_at(self._backend, self._definition, self._journal.registry, self._lane, at)
            except JournalError as error:
                if max(standing, default=head.base_seq) < seq:
                    self._kept = self._kept or str(error)
                break
            await self._journal.put_snapshot(made)
        best = max(await self._standing(head), default=head.base_seq)
        if best < seq:
            self._kept = self._kept or "no snapshot stands for later records"
        return min(seq, best)

    async def _standing(self, head: Head) -> list[int]:
        """The numbers of the snapshots that hold."""
        known = await usable_snapshots(self._journal, self._lane, head, self._definition)
        return [one.seq for one in known]

    # --- how far ----------------------------------------------------------------------------------------

    async def _allowed(self, head: Head, wanted: int) -> int:
        kept: Kept | None = await floor_of(
            self._journal, self._lane, head, wanted, held=await holds(self._backend)
        )
        if kept is None:
            return wanted
        self._kept = self._kept or kept.reason
        return kept.seq

    async def _cut(self, bounds: Bounds, head: Head) -> int:
        """The last number that has to go by the bounds."""
        cut = head.base_seq
        if bounds.max_records is not None:
            cut = max(cut, head.seq - bounds.max_records)
        if bounds.max_age_ms is not None:
            oldest = self._now - bounds.max_age_ms
            cut = max(cut, await last_before(self._backend, self._lane, head.base_seq, head.seq, oldest))
        if bounds.max_bytes is not None:
            cut = max(cut, await self._beyond_bytes(bounds.max_bytes, cut, head.seq))
        return cut

    async def _beyond_bytes(self, most: int, low: int, high: int) -> int:
        """The newest number at which the payloads from the end down to it, itself included, are more than `most`."""
        before, size = high + 1, 0
        while before > low + 1:
            records = await self._backend.read(
                self._lane, after=low, before=before, limit=_BYTES_PAGE, reverse=True
            )
            for record in records:
                size += len(record.payload or b"")
                if size > most:
                    return record.seq
            if not records:
                break
            before = records[-1].seq
        return low
