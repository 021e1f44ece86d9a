"""The ledger on its lane: handlers, own voice, effects, restarts (KNOW-4, KNOW-9, ACT-3, MESH-12, OBS-7)."""

from __future__ import annotations

import copy
from itertools import cycle, permutations
from typing import TYPE_CHECKING, Any

import pytest
import trio.testing

from tests.protocols.knowledge.book import fp, msg
from tests.protocols.knowledge.nodes import SOURCE, Node, confirmation, fact, node
from web4.actors.rebuilding import rebuild
from web4.journal.backends.memory import MemoryStore
from web4.journal.lane import KNOWLEDGE
from web4.observe import ObservabilityHub
from web4.protocols.knowledge.errors import (
    HumanDecisionRefused,
    MissingProvenance,
    UnknownFactRef,
    VoteRefused,
)
from web4.protocols.knowledge.form import encode_state
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.knowledge.ledger.evaluation import Load
from web4.protocols.knowledge.memory import MemoryRuntime
from web4.protocols.knowledge.runtime import HANDLED
from web4.protocols.messages import cip, lip
from web4.protocols.messages.fields import Provenance
from web4.protocols.messages.vocabulary import TYPES
from web4.protocols.router import ProtocolRouter
from web4.trust import OperatorBlock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ICE = "ice is lighter than water"
KEY = claim_key("physics", ICE)
P, B, C, D = (fp(one) for one in "pbcd")


def known(one: Node) -> None:
    one.trust.meet(P)
    one.trust.anchor(B, C, D)


@pytest.fixture
async def alone() -> AsyncIterator[Node]:
    async with node(before=known) as one:
        yield one


async def test_messages_to_acceptance(alone: Node) -> None:
    """KNOW-5, KNOW-9: from deliveries to an accepted claim, and the proposer's own lane hears of it."""
    assert (await alone.hear(P, fact(ICE), msg("p1"))).status == "handled"
    await alone.hear(B, confirmation(KEY), msg("b1"))
    await alone.hear(C, confirmation(msg("p1")), msg("c1"))
    claim = await alone.knowledge.claim(KEY)
    assert (claim.status, claim.confirmers) == ("accepted", (B, C))
    await trio.testing.wait_all_tasks_blocked()
    assert alone.trust.heard == [(P, "knowledge_verified", f"{C}:{msg('c1')}")]
    assert alone.trust.registry.state(P) == "trusted"
    kinds = [kind for kind, _ in alone.emitted]
    assert kinds == ["claim_pending", "claim_vote", "claim_vote", "claim_accepted"]
    assert alone.emitted[-1][1]["decision_id"] == claim.decision_id
    assert ICE not in str(alone.emitted)


async def test_what_is_told_of_claims_and_sources(alone: Node) -> None:
    """OBS-2, OBS-7: each change with what decided it, and nothing that would be withheld for not being declared."""
    await alone.hear(P, fact(ICE), msg("p1"))
    await alone.hear(B, cip.FactChallenge(fact_ref=KEY, reason="conflict", notes=""), msg("b1"))
    await alone.knowledge.set_tier("example.com", "low", "ada", "it was wrong")
    told = dict(alone.emitted)
    disputed, moved = told["claim_disputed"], told["tier_changed"]
    assert (disputed["key"], disputed["was"], disputed["rule"]) == (KEY, "pending", "d")
    assert (disputed["check"], disputed["cause"]) == ("unknown", f"{B}:{msg('b1')}")
    assert (moved["domain"], moved["was"], moved["state"], moved["rule"]) == (
        "example.com",
        "unknown",
        "low",
        "human",
    )
    hub = ObservabilityHub("ada")
    for kind, fields in alone.emitted:
        hub.emit(kind, **fields)
    assert not hub.redaction.withheld
    assert [event.type for event in hub.memory] == [kind for kind, _ in alone.emitted]


async def test_a_message_twice_changes_nothing(alone: Node) -> None:
    """ROUTE-4: handled again after a crash, a message leaves the same state and no further event."""
    told = [(P, fact(ICE), msg("p")), (B, confirmation(KEY), msg("b")), (C, confirmation(KEY), msg("c"))]
    for peer, payload, msg_id in told:
        await alone.hear(peer, payload, msg_id)
    await trio.testing.wait_all_tasks_blocked()
    before, state = await alone.journal.head(KNOWLEDGE), await alone.knowledge.state()
    for peer, payload, msg_id in told:
        delivery = alone.delivery(peer, payload, msg_id)
        assert (await alone.knowledge.handle(delivery)).status == "handled"
    await trio.testing.wait_all_tasks_blocked()
    votes = (await alone.knowledge.claim(KEY)).votes
    assert {peer: vote.msg_id for peer, vote in votes.items()} == {B: msg("b"), C: msg("c")}
    assert (await alone.journal.head(KNOWLEDGE)).seq == before.seq
    assert await alone.knowledge.state() == state
    assert len(alone.trust.heard) == 1


async def test_admission(alone: Node) -> None:
    """TRUST-6: a probing peer's challenge is a note; evidence without provenance is refused with its reason."""
    await alone.hear(P, fact(ICE), msg("p1"))
    challenge = cip.FactChallenge(fact_ref=KEY, reason="conflict", notes="")
    alone.trust.meet(fp("q"))
    await alone.hear(fp("q"), challenge, msg("q1"))
    claim = await alone.knowledge.claim(KEY)
    assert (claim.status, claim.notes, claim.votes) == ("pending", ((fp("q"), msg("q1")),), {})
    await alone.hear(B, challenge, msg("b1"))
    assert (await alone.knowledge.claim(KEY)).status == "disputed"
    empty = lip.LipEvidence(
        claims=(lip.WebClaim(statement="x", domain="y"),), evidence=(), confidence=1.0, extraction_notes=""
    )
    result = await alone.hear(B, empty, msg("b2"))
    assert result.status == "refused"
    assert isinstance(result.error, MissingProvenance)
    too_long = await alone.hear(B, fact("x" * 20_000), msg("b3"))
    assert (too_long.status, too_long.error.code) == ("refused", "claim_too_long")
    assert too_long.error.peer == B


async def test_many_web_claims_in_one_message(alone: Node) -> None:
    """LIP: a message with more claims than one command takes enters whole."""
    claims = tuple(lip.WebClaim(statement=f"s{number}", domain="d") for number in range(100))
    page = Provenance(
        uri="https://a.example.org/",
        final_uri="https://a.example.org/",
        retrieved_at="2027-01-15T08:00:00.000Z",
        status=200,
        content_type="text/html",
        body_blake3="ab" * 32,
        body_bytes=10,
    )
    payload = lip.LipEvidence(claims=claims, evidence=(page,), confidence=1.0, extraction_notes="")
    await alone.hear(B, payload, msg("b1"))
    assert len(await alone.knowledge.claims("pending", domain="D", limit=1000)) == 100
    first = await alone.knowledge.claims(limit=60)
    rest = await alone.knowledge.claims(after=first[-1].key, limit=60)
    assert [one.key for one in (*first, *rest)] == sorted(claim_key("d", one.statement) for one in claims)
    (mine,) = await alone.knowledge.evidence(
        lip.LipEvidence(claims=claims[:1], evidence=(page,), confidence=1.0, extraction_notes="")
    )
    assert [one.peer for one in mine.proposals] == [B, alone.fingerprint]


async def test_trust_is_followed(alone: Node) -> None:
    """KNOW-7, TRUST-8: votes are recounted when a peer's own lane says that its trust moved."""
    await alone.hear(P, fact(ICE), msg("p1"))
    await alone.hear(B, confirmation(KEY), msg("b1"))
    await alone.hear(fp("q"), confirmation(KEY), msg("q0"))
    assert (await alone.knowledge.claim(KEY)).status == "pending"
    alone.trust.meet(fp("q"))
    await alone.hear(fp("q"), confirmation(KEY), msg("q1"))
    assert (await alone.knowledge.claim(KEY)).status == "pending"
    alone.trust.anchor(fp("q"))
    await trio.testing.wait_all_tasks_blocked()
    assert (await alone.knowledge.claim(KEY)).status == "accepted"
    block = OperatorBlock(at_ms=alone.clock.wall_ms(), human="ada", reason="lies")
    alone.trust.registry.handle(B, block)
    await trio.testing.wait_all_tasks_blocked()
    assert (await alone.knowledge.claim(KEY)).reason == "confirmer_blacklisted"


async def test_load_is_followed(alone: Node) -> None:
    """KNOW-6 (f): recorded only when it matters."""
    head = (await alone.journal.head(KNOWLEDGE)).seq
    await alone.knowledge.see_load(Load(presence="engaged", lri=31))
    assert (await alone.journal.head(KNOWLEDGE)).seq == head
    await alone.knowledge.see_load(Load(presence="overloaded", lri=91))
    await alone.hear(P, fact(ICE), msg("p1"))
    await alone.hear(B, confirmation(KEY), msg("b1"))
    await alone.hear(C, confirmation(KEY), msg("c1"))
    assert (await alone.knowledge.claim(KEY)).reason == "load"
    await alone.knowledge.see_load(Load(presence="engaged", lri=31))
    assert (await alone.knowledge.claim(KEY)).status == "accepted"


async def test_time_ends_claims(alone: Node, autojump_clock: trio.testing.MockClock) -> None:
    """KNOW-6 (g): by the runtime's own timer."""
    await alone.hear(P, fact(ICE), msg("p1"))
    await alone.hear(B, confirmation(fp("unknown")), msg("b1"))
    await trio.sleep(86_400 - 60)
    assert (await alone.knowledge.claim(KEY)).status == "pending"
    await trio.sleep(120)
    assert (await alone.knowledge.claim(KEY)).reason == "expired"
    assert not (await alone.knowledge.state()).ledger.parked


async def test_first_hand_votes(alone: Node, autojump_clock: trio.testing.MockClock) -> None:
    """KNOW-4: this node confirms by its own records from before, its own fetch or a human; never on hearsay."""
    memory = MemoryRuntime(alone.knowledge.remember, alone.knowledge.memory, clock=alone.clock)
    before = await memory.record("saw ice float", success=True)
    await trio.sleep(1)
    await alone.hear(P, fact(ICE), msg("p1"))
    await trio.sleep(1)
    later = await memory.record("heard of it")
    vote = alone.knowledge.vote
    hearsay: list[tuple[cip.VoteEvidence, ...]] = [
        (),
        (cip.MemoryEvidence(ref=KEY),),
        (cip.MemoryEvidence(ref=_name(later)),),
        (cip.HumanEvidence(ref=""),),
    ]
    for evidence in hearsay:
        with pytest.raises(VoteRefused):
            await vote(KEY, "confirm", evidence)
    with pytest.raises(UnknownFactRef):
        await vote("ab" * 32, "confirm", (cip.HumanEvidence(ref="ada"),))
    assert alone.sent == []
    claim = await vote(KEY, "confirm", (cip.MemoryEvidence(ref=_name(before)),))
    await trio.testing.wait_all_tasks_blocked()
    assert claim.votes[alone.fingerprint].cited.pieces == 1
    assert claim.status == "pending"
    assert [(peer, type(payload).__name__) for peer, payload, _ in alone.sent] == [
        (peer, "FactConfirm") for peer in sorted((B, C, D))
    ]
    assert len({msg_id for _, _, msg_id in alone.sent}) == 3
    assert (await alone.knowledge.claim(KEY)).sent_to == tuple(sorted((B, C, D)))
    claim = await alone.knowledge.challenge(KEY, "cannot_verify", to=())
    assert claim.status == "disputed"  # in the same millisecond, too


def _name(recorded: Any) -> str:
    """The id of a record, however the room of causal memory gives it."""
    return recorded if isinstance(recorded, str) else recorded.record_id


async def test_own_proposals_are_sent(alone: Node) -> None:
    """MESH-12, TRUST-5: to every trusted peer, once each, under ids of their own."""
    claim = await alone.knowledge.propose(fact(ICE))
    await trio.testing.wait_all_tasks_blocked()
    assert claim.proposals[0].peer == alone.fingerprint
    assert sorted(peer for peer, _, _ in alone.sent) == sorted((B, C, D))
    assert (await alone.knowledge.claim(KEY)).sent_to == tuple(sorted((B, C, D)))
    assert await alone.journal.open_work(KNOWLEDGE) == []


async def test_a_human_decides_with_name_and_reason(alone: Node) -> None:
    """KNOW-6 (a), LIP-2: both or nothing."""
    await alone.hear(P, fact(ICE), msg("p1"))
    for human, reason in (("", "why"), ("ada", " ")):
        with pytest.raises(HumanDecisionRefused):
            await alone.knowledge.decide_as_human(KEY, "accept", human, reason)
        with pytest.raises(HumanDecisionRefused):
            await alone.knowledge.set_tier("example.com", "high", human, reason)
    with pytest.raises(UnknownFactRef):
        await alone.knowledge.decide_as_human("ab" * 32, "accept", "ada", "why")
    claim = await alone.knowledge.decide_as_human(msg("p1"), "accept", "ada", "I saw it")
    assert (claim.status, claim.human and claim.human.human) == ("accepted", "ada")
    await alone.knowledge.set_tier("Example.com", "high", "ada", "known for years")
    assert (await alone.knowledge.source("example.com")).tier == "high"
    assert (await alone.knowledge.check(ICE, "Physics")).verdict == "supports"


async def test_why(alone: Node) -> None:
    """OBS-7: an operator gets the events that decided."""
    await alone.hear(P, fact(ICE), msg("p1"))
    await alone.hear(B, confirmation(KEY), msg("b1"))
    await alone.hear(P, fact("another"), msg("p2"))
    await alone.knowledge.decide_as_human(KEY, "reject", "ada", "wrong")
    told = await alone.knowledge.why(alone.journal, KEY)
    assert [one.type for one in told] == [
        "knowledge.proposed",
        "knowledge.voted",
        "knowledge.human_decided",
        "knowledge.changed",
        "decision.made",
    ]
    assert told[-2].event.rule == "a"
    assert len(await alone.knowledge.why(alone.journal, KEY, limit=2)) == 2


async def test_a_restart_gives_the_same_bytes(autojump_clock: trio.testing.MockClock) -> None:
    """WEB-2, JRN-7: snapshot and replay, and replay alone, give what the running node had."""
    store = MemoryStore()
    async with node(store=store, before=known) as one:
        await one.hear(P, fact(ICE), msg("p1"))
        await one.hear(B, confirmation(KEY), msg("b1"))
        await one.hear(C, confirmation(fp("not here")), msg("c1"))
        await one.hear(C, confirmation(KEY), msg("c2"))
        await trio.testing.wait_all_tasks_blocked()
        had = encode_state(await one.knowledge.state())
        rebuilt = await rebuild(one.journal, KNOWLEDGE, one.knowledge.definition)
        assert encode_state(rebuilt.state) == had
    async with node(store=store, before=known) as one:
        state = await one.knowledge.state()
        assert (await one.knowledge.claim(KEY)).status == "accepted"
        assert state.ledger.parked
        await one.hear(D, fact("more"), msg("d1"))


async def test_a_crash_between_decision_and_effect(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-3, ROUTE-3: what was decided is told by the next boot; what was told is not told twice."""
    store = MemoryStore()
    crashed: list[MemoryStore] = []
    async with node(store=store, before=known) as one:
        told = one.trust.__call__

        async def dying(*arguments: Any, **fields: Any) -> Any:
            left = copy.deepcopy(store)
            left.kill()
            crashed.append(left)
            return await told(*arguments, **fields)

        object.__setattr__(one.knowledge.definition, "_trust", dying)
        await one.hear(P, fact(ICE), msg("p1"))
        await one.hear(B, confirmation(KEY), msg("b1"))
        await one.hear(C, confirmation(KEY), msg("c1"))
        await trio.testing.wait_all_tasks_blocked()
    async with node(store=crashed[0], before=known) as one:
        await trio.testing.wait_all_tasks_blocked()
        assert one.trust.heard == [(P, "knowledge_verified", f"{C}:{msg('c1')}")]
        assert await one.journal.open_work(KNOWLEDGE) == []
        await one.hear(C, confirmation(KEY), msg("c1"))
        await trio.testing.wait_all_tasks_blocked()
        assert len(one.trust.heard) == 1


async def test_every_type_is_registered(alone: Node) -> None:
    """Section 14: a real router takes a handler of the ledger for each of its types, and knows that each is one."""
    host: Any = object()  # nothing is routed here
    router = ProtocolRouter(host)
    alone.knowledge.register(router)
    assert {type_name for _, type_name in HANDLED} == {
        name for name in TYPES if name.startswith(("FACT_", "LIP_")) and name != "LIP_FETCH"
    }


async def test_web_claims_are_fetched_again(alone: Node, autojump_clock: trio.testing.MockClock) -> None:
    """LIP-6: an accepted web claim is due after 24 hours; a body without support disputes it."""
    page = Provenance(
        uri="https://a.example.org/",
        final_uri="https://a.example.org/",
        retrieved_at="2027-01-15T08:00:00.000Z",
        status=200,
        content_type="text/html",
        body_blake3="ab" * 32,
        body_bytes=10,
    )
    await alone.knowledge.set_tier("example.org", "medium", "ada", "known for years")
    claims = (lip.WebClaim(statement=ICE, domain="physics"),)
    payload = lip.LipEvidence(claims=claims, evidence=(page,), confidence=1.0, extraction_notes="")
    (claim,) = await alone.knowledge.evidence(payload, to=(B,), about=SOURCE)
    await trio.testing.wait_all_tasks_blocked()
    assert claim.status == "accepted"
    assert [(peer, type(said).__name__) for peer, said, _ in alone.sent] == [(B, "LipEvidence")]
    assert await alone.knowledge.due_for_recheck() == []
    await trio.sleep(24 * 3_600)
    (due,) = await alone.knowledge.due_for_recheck()
    assert due.key == KEY
    assert (await alone.knowledge.rechecked(KEY, supported=False)).status == "disputed"
    assert await alone.knowledge.due_for_recheck() == []
    accept = lip.LipAccept(
        claim_keys=(KEY,), decision="accept", reason="", evidence=(page,), corroborators=()
    )
    await trio.sleep(1)
    await alone.knowledge.corroborate(accept, to=())
    assert (await alone.knowledge.claim(KEY)).status == "accepted"


async def test_four_ledgers_come_to_the_same_state(autojump_clock: trio.testing.MockClock) -> None:
    """MESH-12: four ledgers with the same votes and trust come to the same state, in whatever order they hear them;
    `test_mesh_consensus_four` has that of whole nodes."""
    names = ("ann", "ben", "cat", "dan")
    everyone = {name: name.encode().hex().ljust(64, "0") for name in names}

    def trusting(one: Node) -> None:
        one.trust.anchor(*(peer for peer in everyone.values() if peer != one.fingerprint))

    async with (
        node("ann", before=trusting) as ann,
        node("ben", before=trusting) as ben,
        node("cat", before=trusting) as cat,
        node("dan", before=trusting) as dan,
    ):
        nodes = {one.fingerprint: one for one in (ann, ben, cat, dan)}
        orders = cycle(permutations(range(4)))

        async def spread(*, waves: int) -> None:
            """Hand over what was sent, to each in another order, until nobody has more to say."""
            for _ in range(waves):
                await trio.testing.wait_all_tasks_blocked()
                mail: dict[str, list[tuple[str, Any, str]]] = {peer: [] for peer in nodes}
                for sender, one in nodes.items():
                    for receiver, payload, msg_id in one.sent:
                        mail[receiver].append((sender, payload, msg_id))
                    one.sent = []
                for receiver, letters in mail.items():
                    order = next(orders)
                    letters.sort(key=lambda letter: order[list(nodes).index(letter[0])])
                    for sender, payload, msg_id in letters:
                        await nodes[receiver].hear(sender, payload, msg_id)

        await ann.knowledge.propose(fact(ICE))
        await spread(waves=1)
        for one in (ben, cat, dan):
            await one.knowledge.vote(KEY, "confirm", (cip.HumanEvidence(ref="saw it"),))
        await spread(waves=2)
        assert {(await one.knowledge.claim(KEY)).status for one in nodes.values()} == {"accepted"}
        await trio.sleep(1)
        await ben.knowledge.challenge(KEY, "conflict")
        await spread(waves=2)
        assert {(await one.knowledge.claim(KEY)).status for one in nodes.values()} == {"disputed"}
        await trio.sleep(1)
        await ben.knowledge.vote(KEY, "confirm", (cip.HumanEvidence(ref="saw it after all"),))
        await spread(waves=2)
        assert {(await one.knowledge.claim(KEY)).status for one in nodes.values()} == {"accepted"}
