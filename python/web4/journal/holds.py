"""Holds: records that are kept whatever retention says, until somebody lets them go (JRN-16b)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import trio

from web4.journal.draft import NewEvent
from web4.journal.errors import InvalidEventError, RetentionError
from web4.journal.event_types import EventRegistry
from web4.journal.lane import Lane
from web4.journal.own_events import OWN_EVENTS, JournalHeld, JournalReleased

if TYPE_CHECKING:
    from web4.journal.backends.backend import Backend
    from web4.journal.journal import Journal

_REF: Final = ("journal", "hold")
_PAGE: Final = 500
_TURNS: WeakKeyDictionary[Any, trio.Lock] = WeakKeyDictionary()


class Hold(NamedTuple):
    """Records `first` to `last` of a lane that are kept; all from `first` on if `last` is None.

    `seq` is the number, on `server`, of the record that says so.
    """

    name: str
    lane: Lane
    first: int
    last: int | None
    reason: str
    seq: int


def turn(journal: Journal) -> trio.Lock:
    """One at a time decides what is kept: a hold never comes between a look and what is removed upon it."""
    return _TURNS.setdefault(journal, trio.Lock())


async def hold(
    journal: Journal,
    lane: Lane,
    *,
    name: str,
    reason: str,
    first: int = 1,
    last: int | None = None,
    principal: str | None = None,
) -> None:
    """Keep records of a lane until `release`. Durable when this returns, and it outlives restarts.

    Args:
        journal: Open for writing.
        lane: Which lane.
        name: Of the hold, 1 to 256 characters, not in use.
        reason: Why, for people.
        first: The first record that is held.
        last: The last one; None for all there are and will be.
        principal: Who asks for it.

    Raises:
        RetentionError: `unknown_hold`: there is a hold of that name already.
        InvalidEventError: The range is none.
        JournalError: Everything that `Journal.append` raises.
    """
    if first < 1 or (last is not None and last < first):
        raise InvalidEventError("a hold is from one record to the same or a later one", field="first")
    async with turn(journal):
        if name in await holds(journal.backend):
            raise RetentionError(f"there is a hold {name} already", code="unknown_hold")
        event = JournalHeld(hold=name, lane=str(lane), first=first, last=last, reason=reason)
        await _say(journal, event, principal)


async def release(journal: Journal, name: str, *, reason: str, principal: str | None = None) -> None:
    """Let go what a hold has kept.

    Raises:
        RetentionError: `unknown_hold`: there is none of that name.
        JournalError: Everything that `Journal.append` raises.
    """
    async with turn(journal):
        if name not in await holds(journal.backend):
            raise RetentionError(f"there is no hold {name}", code="unknown_hold")
        await _say(journal, JournalReleased(hold=name, reason=reason), principal)


async def holds(backend: Backend) -> dict[str, Hold]:
    """The holds there are, by name; found by an index."""
    registry = EventRegistry(OWN_EVENTS)
    found: dict[str, Hold] = {}
    after = 0
    while page := await backend.find(_REF, after=after, limit=_PAGE):
        for record in page:
            event = None if record.erased else registry.decode(record)
            if isinstance(event, JournalHeld):
                lane = Lane.parse(event.lane)
                found[event.hold] = Hold(event.hold, lane, event.first, event.last, event.reason, record.seq)
            elif isinstance(event, JournalReleased):
                found.pop(event.hold, None)
        after = page[-1].position
    return found


async def _say(journal: Journal, event: JournalHeld | JournalReleased, principal: str | None) -> None:
    await journal.change(events=[NewEvent(event, journal.clock.wall_ms(), principal=principal, refs=(_REF,))])
