"""Questions about decisions, answered from a journal (MEM-1): by lane, by what was decided on, by id.

The records of decisions are events like any other, found by the references `decision` and `about`. So is whatever else
says that it belongs to a decision: the claim whose `dmp_trace` names it, the edge of causal memory that it taught.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from web4.journal.verify import verify
from web4.protocols.decisions import DecisionOutcome, DecisionRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.journal.backends.backend import Backend
    from web4.journal.event_types import EventRegistry
    from web4.journal.findings import VerifyReport
    from web4.journal.lane import Lane
    from web4.journal.record import Record

_PAGE: Final = 250
MOST_JOINED: Final = 1_000
"""Records that one decision's story is told from."""


@dataclass(frozen=True, slots=True)
class Mention:
    """An event that belongs to a decision, and where it stands."""

    lane: Lane
    seq: int
    type: str
    event: Any
    """As it is registered; None if its payload was erased."""


@dataclass(frozen=True, slots=True)
class KeptDecision:
    """A decision and where its record stands."""

    lane: Lane
    seq: int
    record: DecisionRecord


@dataclass(frozen=True, slots=True)
class DecisionStory:
    """All that a journal says of one decision.

    Args:
        made: Its record; None if this node keeps none: it is a peer's, or was erased.
        outcomes: What came of it, oldest first.
        traces: Events of the protocols that name it: claims and messages whose trace it is.
        edges: What it taught causal memory.
    """

    made: KeptDecision | None
    outcomes: tuple[DecisionOutcome, ...]
    traces: tuple[Mention, ...]
    edges: tuple[Mention, ...]


@dataclass(frozen=True, slots=True)
class DecisionPage:
    """Decisions of one lane, in order. `after` continues; None when there are no more."""

    decisions: tuple[KeptDecision, ...]
    after: int | None


@dataclass(frozen=True, slots=True)
class DecisionCheck:
    """Whether the decisions of a lane are what was written (MEM-1).

    Args:
        report: What verifying the lane's hash chain found (JRN-23a).
        records: How many decisions there are.
        outcomes: How many outcomes.
        twice: Ids that have more than one record.
        unmade: Ids that have an outcome and no record. On a lane that was compacted the record may have gone before.
    """

    report: VerifyReport
    records: int
    outcomes: int
    twice: tuple[str, ...]
    unmade: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether the chain holds, and every decision has one record."""
        return not (self.report.findings or self.twice or self.unmade)


async def decisions(
    backend: Backend, registry: EventRegistry, lane: Lane, *, after: int = 0, limit: int = 100
) -> DecisionPage:
    """Give the decisions of a lane, oldest first.

    Args:
        backend: An open store; that of a running node, too.
        registry: The event types of the lane.
        lane: The lane that decided.
        after: Number of the record to go on after: `after` of the page before.
        limit: Decisions at most.

    Raises:
        CorruptJournalError: A record cannot be read.
        ValueError: `limit` is not positive.
    """
    if limit < 1:
        raise ValueError("limit is at least 1")
    found: list[KeptDecision] = []
    while page := await backend.read(lane, after=after, limit=_PAGE):
        for record in page:
            after = record.seq
            made = _made(record, registry)
            if made is not None:
                found.append(made)
                if len(found) == limit:
                    return DecisionPage(tuple(found), after)
    return DecisionPage(tuple(found), None)


async def decisions_about(
    backend: Backend, registry: EventRegistry, about: str, *, limit: int = 100
) -> tuple[KeptDecision, ...]:
    """Give the decisions about a claim, a message, a peer or a human, over all lanes, newest first.

    Raises:
        CorruptJournalError: A record cannot be read.
    """
    page = await backend.find(("about", about), limit=limit, reverse=True)
    return tuple(made for made in (_made(record, registry) for record in page) if made is not None)


async def decision_story(backend: Backend, registry: EventRegistry, decision_id: str) -> DecisionStory | None:
    """Tell all that a journal says of a decision, from its 1 000 oldest mentions; None if it says nothing.

    Raises:
        CorruptJournalError: A record cannot be read, or is of a type that the registry does not know.
    """
    made: KeptDecision | None = None
    outcomes: list[DecisionOutcome] = []
    traces: list[Mention] = []
    edges: list[Mention] = []
    known = False
    async for record in _joined(backend, decision_id):
        known = True
        event = None if record.erased else registry.decode(record)
        mention = Mention(record.lane, record.seq, record.type, event)
        if isinstance(event, DecisionRecord):
            made = made or KeptDecision(record.lane, record.seq, event)
        elif isinstance(event, DecisionOutcome):
            outcomes.append(event)
        elif record.type.startswith("memory."):
            edges.append(mention)
        elif not record.type.startswith("decision."):
            traces.append(mention)
    return DecisionStory(made, tuple(outcomes), tuple(traces), tuple(edges)) if known else None


async def check_decisions(backend: Backend, registry: EventRegistry, lane: Lane) -> DecisionCheck:
    """Verify a lane's hash chain, and that each decision on it has one record. Holds the ids of all of them.

    Raises:
        CorruptJournalError: `store`: it cannot be read.
    """
    report = await verify(backend, registry, lanes=[lane])
    counts: dict[str, int] = {}
    outcomes: dict[str, int] = {}
    after = 0
    while page := await backend.read(lane, after=after, limit=_PAGE):
        after = page[-1].seq
        for record in page:
            ids = [value for kind, value in record.refs if kind == "decision"]
            into = {"decision.made": counts, "decision.outcome": outcomes}.get(record.type)
            if ids and into is not None:
                into[ids[0]] = into.get(ids[0], 0) + 1
    return DecisionCheck(
        report=report,
        records=sum(counts.values()),
        outcomes=sum(outcomes.values()),
        twice=tuple(sorted(one for one, count in counts.items() if count > 1)),
        unmade=tuple(sorted(one for one in outcomes if one not in counts)),
    )


async def _joined(backend: Backend, decision_id: str) -> AsyncIterator[Record]:
    after, left = 0, MOST_JOINED
    while left and (
        page := await backend.find(("decision", decision_id), after=after, limit=min(_PAGE, left))
    ):
        after, left = page[-1].position, left - len(page)
        for record in page:
            yield record


def _made(record: Record, registry: EventRegistry) -> KeptDecision | None:
    if record.type != "decision.made" or record.erased:
        return None
    return KeptDecision(record.lane, record.seq, registry.decode(record))
