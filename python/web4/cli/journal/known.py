"""What this installation knows of lanes: types of events, and the logic that replays them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final, cast, get_args

from web4.journal.errors import CorruptJournalError
from web4.journal.event_types import EventRegistry
from web4.journal.lane import LaneKind
from web4.journal.own_events import OWN_EVENTS
from web4.journal.recovery import RECOVERY_EVENTS

if TYPE_CHECKING:
    from collections.abc import Collection

    from web4.journal.event_types import EventType
    from web4.journal.lane import Lane
    from web4.journal.record import Head
    from web4.journal.replay import ReplayDefinition, ReplaySource

LOGICS: Final[dict[LaneKind, str]] = {
    "peer": "web4.cli.journal.peers",
    "server": "web4.cli.extensions.server",
    "human": "web4.cli.journal.humans",
    "knowledge": "web4.cli.journal.knowledge",
    "governance": "web4.cli.journal.governance",
    "session": "web4.cli.journal.sessions",
}
"""Kind of lane to the module that knows it: `EVENTS`, and `definition()`. Imported when such lanes are met."""
_SHARED: Final[frozenset[LaneKind]] = frozenset({"session"})
"""Kinds whose lanes may be of rooms that are not known here: the first event of each lane tells."""
_PAGE: Final = 500


async def kinds_of(source: ReplaySource) -> list[LaneKind]:
    """The kinds of lanes that there are."""
    return [
        kind for kind in cast("tuple[LaneKind, ...]", get_args(LaneKind)) if await source.heads(kind, limit=1)
    ]


async def known_kinds(source: ReplaySource) -> list[LaneKind]:
    """Those of the kinds of lanes that there are all of whose events this installation has to know."""
    return [
        kind
        for kind in await kinds_of(source)
        if kind in LOGICS and (kind not in _SHARED or await _begin_known(source, kind))
    ]


async def _begin_known(source: ReplaySource, kind: LaneKind) -> bool:
    """Whether every lane of a kind begins with an event that is known. What is damaged is not."""
    names = {one.name for one in importlib.import_module(LOGICS[kind]).EVENTS}
    after: Lane | None = None
    while page := await source.heads(kind, after=after, limit=_PAGE):
        for lane, head in page:
            try:
                first = await source.read(lane, after=head.base_seq, limit=1)
            except CorruptJournalError:
                return False
            if any(one.type not in names for one in first):
                return False
        after = page[-1][0]
    return True


def known_types(kinds: Collection[LaneKind]) -> EventRegistry:
    """The types of events that are known of lanes of these kinds, and the journal's own."""
    registry = EventRegistry((*OWN_EVENTS, *RECOVERY_EVENTS))
    for kind in kinds:
        if kind in LOGICS:
            events: tuple[EventType, ...] = importlib.import_module(LOGICS[kind]).EVENTS
            for one in events:
                registry.register(one)
    return registry


def known_definitions(kinds: Collection[LaneKind]) -> dict[LaneKind, ReplayDefinition]:
    """The logic of lanes of these kinds, where there is one."""
    return {kind: importlib.import_module(LOGICS[kind]).definition() for kind in kinds if kind in LOGICS}


async def all_lanes(source: ReplaySource) -> list[tuple[Lane, Head]]:
    """All lanes with their heads."""
    found: list[tuple[Lane, Head]] = []
    after: Lane | None = None
    while page := await source.heads(after=after, limit=500):
        found += page
        after = page[-1][0]
    return found
