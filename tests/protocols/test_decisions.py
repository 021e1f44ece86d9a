"""Decision records on any lane (MEM-1)."""

from __future__ import annotations

import random
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.protocols.knowledge.memory.remembering import accepted, node
from web4.actors import open_lane_actors
from web4.actors.definition import LaneDefinition, Origin
from web4.foundation.ids import SeededIds
from web4.foundation.logic import Decision
from web4.journal import EventRegistry, open_journal
from web4.journal.backends.memory import MemoryStore, open_memory
from web4.journal.errors import InvalidEventError
from web4.journal.event_types import EventType
from web4.journal.journal import NewEvent
from web4.journal.lane import KNOWLEDGE, Lane
from web4.journal.redaction import Redactor
from web4.protocols.decision_history import check_decisions, decision_story, decisions, decisions_about
from web4.protocols.decisions import (
    DECISION_EVENTS,
    MOST_CONTEXT,
    MOST_ITEMS,
    MOST_TEXT,
    DecisionEvidence,
    DecisionOutcome,
    DecisionRecord,
    DecisionState,
    decision_outcome,
    decision_record,
    derive_decision_id,
)
from web4.testing.clocks import START_MS, ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.actors import LaneActors
    from web4.journal.journal import Journal

LANE = Lane("human", "grace")
IDS = [f"{number:08}-0000-4000-8000-000000000000" for number in range(200)]


class Asked(msgspec.Struct, frozen=True):
    """Something that calls for a decision; `late`: what came of an earlier one is known instead."""

    number: int
    late: bool = False
    at: int = START_MS


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A message whose trace names a decision, as a protocol's lane records it."""

    msg_id: str
    decision_id: str


HEARD = EventType(
    name="test.heard",
    struct=Heard,
    classes={"msg_id": "structural", "decision_id": "structural"},
    refs={"decision": "decision_id"},
)


@dataclass(frozen=True)
class Deciding:
    """A lane that decides by the parity of what it is asked, and does nothing else."""

    initial: int = 0

    def decide(self, state: int, command: Asked) -> Decision[Any, str]:
        if command.late:
            return Decision(
                (decision_outcome(decision_id=IDS[command.number], outcome="fine", at_ms=1),), "known"
            )
        choice = "accepted" if command.number % 2 else "deferred"
        record = decision_record(
            decision_id=IDS[command.number],
            kind="intent",
            about=f"msg-{command.number}",
            choice=choice,
            alternatives=("accepted", "deferred", "refused"),
            reasons=("load",),
            context={"topic": "weather"},
            evidence=(DecisionEvidence(kind="envelope", ref=f"msg-{command.number}"),),
            state=DecisionState(trust="trusted", presence="focused", lri=12),
            at_ms=command.at,
        )
        return Decision(
            (record, Heard(msg_id=f"msg-{command.number}", decision_id=record.decision_id)), choice
        )

    def apply(self, state: int, event: Any) -> int:
        return state + isinstance(event, DecisionRecord)


class DecidingLane(LaneDefinition[int, Asked, Any, str]):
    def origin(self, command: Asked) -> Origin:
        return Origin(command.at)


DECIDING = DecidingLane(logic=Deciding(), state=int, events=(*DECISION_EVENTS, HEARD))


@asynccontextmanager
async def deciding(store: MemoryStore) -> AsyncIterator[tuple[Journal, LaneActors]]:
    async with (
        open_memory(store) as backend,
        open_journal(backend, registry=EventRegistry(DECIDING.events), clock=ManualClock()) as journal,
        open_lane_actors(journal, {"human": DECIDING}) as actors,
    ):
        yield journal, actors


async def test_dmp_every_decision() -> None:
    """MEM-1: one record each, the chain verifies, and records stay with the lane that decided over a restart."""
    store = MemoryStore()
    async with deciding(store) as (_, actors):
        for number in range(120):
            await actors.lane(LANE).ask(Asked(number))
        await actors.lane(LANE).ask(Asked(7, late=True))
    async with deciding(store) as (journal, _):
        checked = await check_decisions(journal.backend, journal.registry, LANE)
        assert checked.sound
        assert (checked.records, checked.outcomes, checked.twice, checked.unmade) == (120, 1, (), ())
        seen: list[str] = []
        after: int | None = 0
        while after is not None:
            page = await decisions(journal.backend, journal.registry, LANE, after=after, limit=50)
            seen += [one.record.decision_id for one in page.decisions]
            after = page.after
        assert seen == IDS[:120]
        (about,) = await decisions_about(journal.backend, journal.registry, "msg-7")
        assert (about.lane, about.record.choice, about.record.state.lri) == (LANE, "accepted", 12)
        story = await decision_story(journal.backend, journal.registry, IDS[7])
        assert story is not None
        assert story.made == about
        assert [one.outcome for one in story.outcomes] == ["fine"]
        assert [(one.type, one.event.msg_id) for one in story.traces] == [("test.heard", "msg-7")]
        assert await decision_story(journal.backend, journal.registry, IDS[150]) is None


async def test_dmp_every_decision_joins_edges() -> None:
    """MEM-1: `decision_id` finds what a decision taught causal memory."""
    async with node(MemoryStore()) as (journal, actors, memory):
        record = await memory.record("act", causes=[IDS[1]], decision_id=IDS[1], success=True)
        await memory.link(IDS[1], "rain", decision_id=IDS[1])
        await actors.lane(KNOWLEDGE).ask(accepted("it rained", "weather", decision_id=IDS[1]))
        story = await decision_story(journal.backend, journal.registry, IDS[1])
        assert story is not None
        assert story.made is None
        assert [one.type for one in story.edges] == [
            "memory.experience_recorded",
            "memory.edge_seen",
            "memory.claim_remembered",
        ]
        assert (await memory.asking()).downstream(IDS[1]) == tuple(sorted(("rain", record)))


async def test_check_finds_what_is_wrong() -> None:
    """MEM-1: a decision recorded twice and an outcome of none are found."""
    async with deciding(MemoryStore()) as (journal, actors):
        for number in (1, 1, 2):
            await actors.lane(LANE).ask(Asked(number))
        await actors.lane(LANE).ask(Asked(9, late=True))
        checked = await check_decisions(journal.backend, journal.registry, LANE)
        assert not checked.sound
        assert (checked.twice, checked.unmade) == ((IDS[1],), (IDS[9],))
        with pytest.raises(ValueError, match="at least 1"):
            await decisions(journal.backend, journal.registry, LANE, limit=0)


async def test_records_are_cut_to_their_bounds() -> None:
    """MEM-1: what people and peers write at length never keeps a decision from being recorded."""
    chance = random.Random(3)
    words = "".join(chance.choice("aä😀 ") for _ in range(2_000))
    async with deciding(MemoryStore()) as (journal, _):
        made = decision_record(
            decision_id=IDS[0],
            kind="human",
            about=words,
            choice=words,
            alternatives=[words] * 40,
            reasons=[words] * 40,
            context={"words": words * 10},
            evidence=[DecisionEvidence(kind="human", ref="grace")] * 40,
            actor=words,
            at_ms=1,
        )
        outcome = decision_outcome(decision_id=IDS[0], outcome=words, detail={"words": words * 10}, at_ms=2)
        await journal.append(LANE, [NewEvent(made, at=1), NewEvent(outcome, at=2)], expected_seq=0)
    assert len(made.choice) == len(made.actor) == MOST_TEXT
    assert len(made.reasons) == len(made.evidence) == MOST_ITEMS
    assert sorted(made.context) == ["blake3", "bytes"]
    assert made.context["bytes"] > MOST_CONTEXT
    small = decision_record(
        decision_id=IDS[0], kind="trust", about="p", choice="trusted", context={"a": [1]}, at_ms=1
    )
    assert small.context == {"a": [1]}
    with pytest.raises(ValueError, match="out of range"):
        decision_record(
            decision_id=IDS[0], kind="trust", about="p", choice="x", context={"a": 2**60}, at_ms=1
        )


async def test_record_outside_its_bounds_is_refused() -> None:
    """JRN-19b: a record that was not made with care does not enter a journal that could not read it again."""
    async with deciding(MemoryStore()) as (journal, _):
        made = DecisionRecord(decision_id="short", kind="claim", about="k", choice="c", at_ms=1)
        with pytest.raises(InvalidEventError, match="unreadable"):
            await journal.append(LANE, [NewEvent(made, at=1)], expected_seq=0)


def test_derived_ids() -> None:
    """WEB-2: one command that decides several things gives each an id of its own, the same at every replay."""
    ids = SeededIds(1)
    command = ids.uuid4()
    first = derive_decision_id(command, "claim-1")
    assert first == derive_decision_id(command, "claim-1")
    assert (
        len({first, derive_decision_id(command, "claim-2"), derive_decision_id(command, "claim", "-1")}) == 3
    )
    assert (uuid.UUID(first).version, uuid.UUID(first).variant) == (8, uuid.RFC_4122)


def test_data_classes() -> None:
    """JRN-18: words and names may be redacted, what joins and orders decisions may not."""
    made, outcome = DECISION_EVENTS
    assert {name for name, kind in made.classes.items() if kind == "retainable"} == {
        "choice",
        "alternatives",
        "reasons",
        "context",
        "evidence",
        "actor",
    }
    assert {name for name, kind in outcome.classes.items() if kind == "retainable"} == {"outcome", "detail"}
    assert outcome.struct is DecisionOutcome


def test_known_secrets_are_replaced_in_words() -> None:
    """JRN-18f: a secret in a reason or a context is replaced before it is stored; the record still reads."""
    made, _ = DECISION_EVENTS
    record = decision_record(
        decision_id=IDS[0],
        kind="intent",
        about="m",
        choice="deferred",
        reasons=("the token is hunter2-hunter2",),
        context={"header": {"auth": ["hunter2-hunter2"]}},
        at_ms=1,
    )
    redactor = Redactor(b"k" * 32, {"token": "hunter2-hunter2"})
    registry = EventRegistry(DECISION_EVENTS)
    event, payload = redactor.persist(made, record, registry.encode(record))
    assert b"hunter2" not in payload
    assert isinstance(event, DecisionRecord)
    assert event.reasons == ("the token is [redacted:token]",)
    assert event == registry.reread(made, payload)
