"""One peer's outbox as its pump sees it: durable entries in their order, and how far the present session has got."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Final

import outcome
import trio

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.protocols.cip.outbox.entries import Conclusion, Queued

MAX_FLYING = 256
"""Envelopes sent and not receipted: as many as fit the receipt, and no more than a full inbox must refuse."""
MAX_FLYING_BYTES = 4 * 1024 * 1024
_VOTES: Final = frozenset(
    ("FACT_CHALLENGE", "FACT_CONFIRM", "FACT_REJECT", "LIP_CONFLICT", "LIP_ACCEPT", "LIP_REJECT")
)
"""Types of which the receiver lets the one with the greatest timestamp stand (KNOW-2)."""
_LEAD_MS: Final = 30_000
"""How far the timestamps of votes may lead the clock, of votes said in one breath or after the clock was set back: far
less than the skew that is borne."""


class OutboxQueue:
    """What waits to be said, and what was said on this session and has no receipt.

    Only what is durable comes in here (OUT-1). It holds no rule of its own: after a restart it is made anew from the
    lane's state.
    """

    def __init__(self) -> None:
        self.waiting: OrderedDict[str, Queued] = OrderedDict()
        self.flying: OrderedDict[str, Queued] = OrderedDict()
        self.flying_bytes = 0
        self.paused_until_ms = 0
        """Until when the peer has asked to be left alone, milliseconds of the monotonic clock."""
        self._voted_ms = 0
        self.turn = trio.Lock()
        """Held by the pump of the one session over which is sent."""
        self._changed = trio.Event()
        self._concluded: dict[str, tuple[trio.lowlevel.Task, ...]] = {}
        """Who waits for an entry to end."""

    def __len__(self) -> int:
        return len(self.waiting) + len(self.flying)

    def holds(self, msg_id: str) -> bool:
        """Whether an entry is here."""
        return msg_id in self.waiting or msg_id in self.flying

    # --- what the lane says -----------------------------------------------------------------------------

    def load(self, entries: Iterable[Queued], said_ms: int = 0) -> None:
        """Begin anew with what the lane holds; who waits for something that has ended meanwhile is told.

        Args:
            entries: What is queued.
            said_ms: By when the last vote was said, as far as the lane tells: the next one's timestamp is greater.
        """
        self._voted_ms = max(self._voted_ms, said_ms)
        self.waiting = OrderedDict((one.msg_id, one) for one in sorted(entries, key=_number))
        self.flying.clear()
        self.flying_bytes = 0
        for msg_id in [msg_id for msg_id in self._concluded if msg_id not in self.waiting]:
            self._tell(msg_id)
        self.wake()

    def add(self, entry: Queued) -> None:
        """An entry is durable, and may be said."""
        self.waiting[entry.msg_id] = entry
        self._changed.set()

    def end(self, msg_ids: Iterable[str], how: Conclusion) -> None:
        """Entries have ended."""
        for msg_id in msg_ids:
            entry = self.flying.pop(msg_id, None)
            if entry is not None:
                self.flying_bytes -= entry.size
            else:
                self.waiting.pop(msg_id, None)
            self._tell(msg_id, how)
        self._changed.set()

    # --- sending ----------------------------------------------------------------------------------------

    def rewind(self) -> None:
        """Say again what has no receipt, oldest first (OUT-4)."""
        if not self.flying:
            return
        again = sorted([*self.flying.values(), *self.waiting.values()], key=_number)
        self.waiting = OrderedDict((one.msg_id, one) for one in again)
        self.flying.clear()
        self.flying_bytes = 0

    def again_in(self, wait_ms: int, at_ms: int) -> None:
        """The peer takes nothing more for that long: then everything without a receipt goes again, in order."""
        self.paused_until_ms = max(self.paused_until_ms, at_ms + wait_ms)
        self.rewind()
        self.wake()

    def next(self, most: int, most_bytes: int, *, low: bool) -> list[Queued]:
        """What may be said next, oldest first; `fly` follows. Without `low`, low priority waits (PACE-4)."""
        room = min(most, MAX_FLYING - len(self.flying))
        left = min(most_bytes, MAX_FLYING_BYTES - self.flying_bytes)
        found: list[Queued] = []
        for entry in self.waiting.values():
            if len(found) >= room or left <= 0 or (found and entry.size > left):
                break
            if entry.low and not low:
                continue
            found.append(entry)
            left -= entry.size
        return found

    def stamp_ms(self, entry: Queued, now_ms: int) -> int:
        """The time of an attempt: now, but for a vote always later than that of the vote before.

        What waited goes in one batch, within one millisecond. A doubt and its withdrawal with equal timestamps would
        be decided by their random ids, at each receiver anew: nodes would not come to the same state (MESH-12).
        """
        if entry.type not in _VOTES:
            return now_ms
        later = max(now_ms, self._voted_ms + 1)
        # Further ahead, the clock was set back; then only a clock that goes on helps.
        self._voted_ms = later if later <= now_ms + _LEAD_MS else now_ms
        return self._voted_ms

    def fly(self, entries: Iterable[Queued]) -> None:
        """Entries are being said."""
        for entry in entries:
            if self.waiting.pop(entry.msg_id, None) is not None:
                self.flying[entry.msg_id] = entry
                self.flying_bytes += entry.size

    # --- waiting ----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Let the pump look around."""
        self._changed.set()

    async def changed(self, seconds: float = float("inf")) -> bool:
        """Wait until something has changed since the last such wait, or for so long; whether it has."""
        with trio.move_on_after(seconds):
            await self._changed.wait()
        changed = self._changed.is_set()
        if changed:
            self._changed = trio.Event()
        return changed

    async def ended(self, msg_id: str) -> Conclusion | None:
        """Wait until an entry that is here has ended; how, or None if the lane has to be asked."""
        task = trio.lowlevel.current_task()
        self._concluded[msg_id] = (*self._concluded.get(msg_id, ()), task)
        abandon = partial(self._abandon, msg_id, task)
        how: Conclusion | None = await trio.lowlevel.wait_task_rescheduled(abandon)
        return how

    def _abandon(self, msg_id: str, task: trio.lowlevel.Task, _: object) -> trio.lowlevel.Abort:
        left = tuple(other for other in self._concluded[msg_id] if other is not task)
        if left:
            self._concluded[msg_id] = left
        else:
            del self._concluded[msg_id]
        return trio.lowlevel.Abort.SUCCEEDED

    def _tell(self, msg_id: str, how: Conclusion | None = None) -> None:
        for task in self._concluded.pop(msg_id, ()):
            trio.lowlevel.reschedule(task, outcome.Value(how))


def _number(entry: Queued) -> int:
    return entry.number
