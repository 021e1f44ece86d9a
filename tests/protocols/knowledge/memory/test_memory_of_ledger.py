"""Decisions and causal memory of a real ledger: what enters, what is flagged, what joins (MEM-1, KNOW-7, KNOW-8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio.testing

from tests.protocols.knowledge.book import Book, triple
from web4.actors import open_lane_actors
from web4.journal import EventRegistry, open_journal
from web4.journal.backends.memory import MemoryStore, open_memory
from web4.journal.lane import KNOWLEDGE
from web4.protocols.decision_history import check_decisions, decision_story, decisions
from web4.protocols.knowledge.definition import KnowledgeLane
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.knowledge.ledger.events import ClaimChanged
from web4.protocols.knowledge.memory import Asking, check
from web4.protocols.knowledge.memory.asking import Step
from web4.testing.clocks import ManualClock
from web4.trust import TrustOutcome

if TYPE_CHECKING:
    from web4.protocols.knowledge.logic import KnowledgeReply
    from web4.trust import TrustCommand

TRACE = "11111111-2222-4333-8444-555555555555"
RAIN, FLOOD, DRY = "rain soaks the hills", "the river floods", "the hills stay dry"


def key(statement: str) -> str:
    return claim_key("physics", statement)


def story() -> Book:
    """Two claims are accepted, the second following from the first; a third contradicts; then the first is disputed."""
    book = Book()
    book.know("trusted", "b", "c", "d", "e", "f")
    book.know("probing", "p")
    soaked = triple("rain causes floods", functional=False)
    book.propose("p", RAIN, of=soaked, decision_id=TRACE, links=(TRACE,), confidence=0.8)
    book.propose("p", FLOOD, of=triple("river state flooded"), links=(key(RAIN),))
    for statement in (RAIN, FLOOD):
        book.confirm("b", statement)
        book.confirm("c", statement)
    book.propose("p", DRY, of=triple("river state low"))
    for who in "bcdef":
        book.confirm(who, DRY)
    return book


def test_lip_only_accepted_in_memory() -> None:
    """KNOW-8: of all that was proposed and confirmed, memory holds what was accepted, and nothing else."""
    book = story()
    assert book.status(DRY) == "disputed(contradicted)"
    book.propose("p", "something pending")
    memory = book.state.memory
    assert set(memory.claims) == {key(RAIN), key(FLOOD)}
    assert check(memory, DRY, "physics", triple("river state low")).verdict == "contradicts"


def test_causal_explain_path_of_claims() -> None:
    """MEM-2: what accepted claims say is explained by them, from the decision that led to the first."""
    book = story()
    asking = Asking(book.state.memory, book.at)
    way = asking.way(TRACE, key(FLOOD))
    assert way is not None
    assert [step.effect for step in way.steps] == [key(RAIN), key(FLOOD)]
    step = asking.step("rain", "floods")
    assert isinstance(step, Step)
    assert (step.weight, step.claims, step.flagged) == (0.8, (key(RAIN),), False)
    book.challenge("d", RAIN)
    asking = Asking(book.state.memory, book.at)
    assert asking.step("rain", "floods") is None
    assert asking.way(TRACE, key(FLOOD)) is None
    assert check(book.state.memory, FLOOD, "physics").flagged
    book.confirm("d", RAIN)  # withdraws
    assert Asking(book.state.memory, book.at).way(TRACE, key(FLOOD)) == way


async def verified(peer: str, command: TrustCommand, *, cause: str | None = None) -> TrustOutcome:
    """The lane of the first proposer, as far as this test needs one."""
    return TrustOutcome("trusted")


async def unsent(*_: Any, **__: Any) -> str:
    """Nothing is sent in this test."""
    raise AssertionError


async def test_dmp_every_decision_of_claims() -> None:
    """MEM-1: one record for each change of a claim, the chain verifies, `decision_id` joins trace and edges."""
    book = story()
    book.challenge("d", RAIN)
    definition = KnowledgeLane(book.logic, trust=verified, send=unsent, now=lambda: book.at)
    async with (
        open_memory(MemoryStore()) as backend,
        open_journal(backend, registry=EventRegistry(definition.events), clock=ManualClock()) as journal,
        open_lane_actors(journal, {"knowledge": definition}) as actors,
    ):
        lane = actors.lane(KNOWLEDGE)
        told: list[Any] = []
        for command in book.commands:
            reply: KnowledgeReply = await lane.ask(command)
            told += reply.told
        await trio.testing.wait_all_tasks_blocked()  # what the effects came to is recorded
        changes = [one for one in told if isinstance(one, ClaimChanged)]
        assert {one.status for one in changes} >= {"accepted", "disputed"}
        checked = await check_decisions(backend, journal.registry, KNOWLEDGE)
        assert checked.sound
        assert checked.outcomes >= 1  # the first proposer's trust
        page = await decisions(backend, journal.registry, KNOWLEDGE, limit=100)
        records = {one.record.decision_id: one.record for one in page.decisions}
        assert {one.decision_id for one in changes} == {
            one.decision_id for one in records.values() if one.kind == "claim"
        }
        for change in changes:
            record = records[change.decision_id]
            assert (record.about, record.choice) == (change.key, change.status)
        accepted = next(one for one in changes if one.status == "accepted" and one.key == key(RAIN))
        ours = await decision_story(backend, journal.registry, accepted.decision_id)
        assert ours is not None
        assert ours.made is not None
        assert [one.type for one in ours.edges] == ["memory.claim_remembered"]
        theirs = await decision_story(backend, journal.registry, TRACE)
        assert theirs is not None
        assert theirs.made is None
        assert [one.type for one in theirs.traces] == ["knowledge.proposed"]
        assert (await lane.state()).memory.graph.effects(TRACE) == [key(RAIN)]
