"""What is said of claims: by the node on evidence of its own, and by a human (KNOW-4, KNOW-6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from web4.doors.commands.operators import add_for_operators
from web4.doors.views.claims import claim_row, find_claim
from web4.doors.views.errors import UnknownName
from web4.protocols.knowledge.errors import HumanDecisionRefused, VoteRefused
from web4.protocols.lip.fetch_events import FETCH_EVENTS
from web4.protocols.lip.kept import records_of
from web4.protocols.messages import cip

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.doors.control import CommandSet
    from web4.doors.views.reading import Reading
    from web4.node import Node

Words = Annotated[str, msgspec.Meta(min_length=1, max_length=4_096)]
Few = Annotated[tuple[Words, ...], msgspec.Meta(max_length=32)]
Sureness = Annotated[float, msgspec.Meta(ge=0, le=1)]


class ProposeClaim(msgspec.Struct, frozen=True):
    """A fact that a human lets this node propose.

    Args:
        statement: In words.
        domain: What it is about, as `geography`.
        human: Who says it.
        because: The steps that led to it.
        sources: Addresses and other sources.
        evidence: Other evidence, in words or as references.
        links: Claims and decisions that it follows from.
        confidence: 0 to 1.
        triple: Subject, predicate and object, if it is one.
        functional: Whether there is one object only (MEM-4).
    """

    statement: Annotated[str, msgspec.Meta(min_length=1)]
    domain: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    human: Words
    because: Few = ()
    sources: Few = ()
    evidence: Few = ()
    links: Few = ()
    confidence: Sureness = 1.0
    triple: tuple[Words, Words, Words] | None = None
    functional: bool = False


class ChallengeClaim(msgspec.Struct, frozen=True):
    """A doubt about a claim, in a human's name."""

    claim: str
    reason: Literal["conflict", "insufficient_evidence", "cannot_verify"]
    human: Words
    notes: str = ""


class VoteOnClaim(msgspec.Struct, frozen=True):
    """A vote by this node's own evidence.

    Args:
        claim: However it is named.
        decision: `withdraw` takes back what this node says against the claim: its vote confirms then (KNOW-7).
        human: In whose name; `told` is this human's word.
        told: What the human tells the node.
        memory: Records of causal memory from before the claim.
        fetched: BLAKE3 of bodies that this node fetched.
        confidence: 0 to 1.
        notes: Words for whoever reads it.
    """

    claim: str
    decision: Literal["confirm", "reject", "withdraw"]
    human: Words
    told: Few = ()
    memory: Few = ()
    fetched: Few = ()
    confidence: Sureness = 1.0
    notes: str = ""


class ResolveClaim(msgspec.Struct, frozen=True):
    """A human's decision about a claim (KNOW-6, a)."""

    claim: str
    decision: Literal["accept", "reject"]
    human: str
    reason: str


def add(commands: CommandSet, node: Node, reading: Reading) -> None:
    """Add the commands of this group."""

    async def key_of(word: str) -> str:
        return find_claim(await reading.ledger(), word).key

    async def propose(asked: ProposeClaim) -> Mapping[str, Any]:
        return claim_row(await node.knowledge.propose(_proposal(asked, node.ids.uuid4())))

    async def challenge(asked: ChallengeClaim) -> Mapping[str, Any]:
        notes = f"{asked.human}: {asked.notes}" if asked.notes else asked.human
        return claim_row(await node.knowledge.challenge(await key_of(asked.claim), asked.reason, notes=notes))

    async def vote(asked: VoteOnClaim) -> Mapping[str, Any]:
        claim = find_claim(await reading.ledger(), asked.claim)
        if asked.decision == "withdraw":
            stands = claim.votes.get(node.fingerprint)
            if stands is None or stands.kind == "confirm":
                raise VoteRefused("this node says nothing against the claim", code="nothing_to_withdraw")
        evidence = await _evidence(reading, asked)
        if not evidence:
            raise VoteRefused("a vote cites evidence of this node's own", code="no_own_evidence")
        found = await node.knowledge.vote(
            claim.key,
            "reject" if asked.decision == "reject" else "confirm",
            evidence,
            confidence=asked.confidence,
            notes=asked.notes,
        )
        return claim_row(found)

    async def resolve(asked: ResolveClaim) -> Mapping[str, Any]:
        if not asked.human.strip() or not asked.reason.strip():
            code = "name_required" if not asked.human.strip() else "why_required"
            raise HumanDecisionRefused("a decision has a human and a reason", code=code)
        key = await key_of(asked.claim)
        return claim_row(await node.knowledge.decide_as_human(key, asked.decision, asked.human, asked.reason))

    add_for_operators(commands, "claim_propose", ProposeClaim, propose)
    add_for_operators(commands, "claim_challenge", ChallengeClaim, challenge)
    add_for_operators(commands, "claim_vote", VoteOnClaim, vote)
    add_for_operators(commands, "claim_resolve", ResolveClaim, resolve)


def _proposal(asked: ProposeClaim, decision_id: str) -> cip.FactPropose:
    triple: Any = msgspec.UNSET
    if asked.triple is not None:
        subject, predicate, object_ = asked.triple
        triple = cip.Triple(subject=subject, predicate=predicate, object=object_, functional=asked.functional)
    fact = cip.Fact(
        statement=asked.statement,
        domain=asked.domain,
        confidence=asked.confidence,
        sources=asked.sources,
        context={},
        triple=triple,
    )
    trace = cip.DmpTrace(
        decision_id=decision_id,
        steps=(*asked.because, f"{asked.human} says so"),
        counterfactuals=(),
        evidence=asked.evidence,
    )
    return cip.FactPropose(fact=fact, dmp_trace=trace, causal_links=asked.links)


async def _evidence(reading: Reading, asked: VoteOnClaim) -> list[cip.VoteEvidence]:
    found: list[cip.VoteEvidence] = [cip.HumanEvidence(ref=f"{asked.human}: {one}") for one in asked.told]
    found += [cip.MemoryEvidence(ref=one) for one in asked.memory]
    for one in FETCH_EVENTS:
        reading.journal.registry.register(one)
    for digest in asked.fetched:
        records = await records_of(reading.journal, digest.lower())
        if not records:
            raise UnknownName(f"no body {digest[:80]!r} was fetched here", code="unknown_name")
        found.append(cip.FetchEvidence(ref=digest.lower(), provenance=records[-1].provenance()))
    return found
