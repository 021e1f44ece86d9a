"""What lane `knowledge` decides: the ledger and causal memory together, as one pure logic (ACT-1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from web4.foundation.logic import Decision
from web4.protocols.decisions import DecisionState, decision_outcome, decision_record
from web4.protocols.knowledge import commands
from web4.protocols.knowledge.ledger import events
from web4.protocols.knowledge.ledger.claims import HumanWord
from web4.protocols.knowledge.ledger.counting import PeerSeen
from web4.protocols.knowledge.ledger.limits import KnowledgeLimits
from web4.protocols.knowledge.ledger.proposing import propose
from web4.protocols.knowledge.ledger.rounds import KnowledgeState, Round, applied
from web4.protocols.knowledge.ledger.settling import settle
from web4.protocols.knowledge.ledger.sources import retier
from web4.protocols.knowledge.ledger.state import domains_of
from web4.protocols.knowledge.ledger.voting import cast, expire_parked
from web4.protocols.knowledge.memory import commands as memory_commands
from web4.protocols.knowledge.memory.logic import MemoryLogic, MemoryReply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.protocols.decisions import DecisionRecord
    from web4.protocols.knowledge.commands import KnowledgeCommand
    from web4.protocols.knowledge.ledger.claims import Claim
    from web4.protocols.knowledge.ledger.rounds import KnowledgeEvent

_MOST_MARKED_AT_ONCE: Final = 256
"""Marked claims that one decision takes up."""


@dataclass(frozen=True, slots=True)
class KnowledgeReply:
    """The answer to a command of lane `knowledge`.

    Args:
        outcomes: What became of each claim or reference that the command was about: `proposed`, `voted`, `parked`,
            `noted`, `known`, `decided`, `sent`, or the code of a `KnowledgeError`.
        told: The events that observers hear of, once they are durable (OBS-3).
        more: Whether claims wait to be looked at: `Tick` goes on with them.
        memory: What causal memory answered.
    """

    outcomes: tuple[tuple[str, str], ...] = ()
    told: tuple[KnowledgeEvent, ...] = ()
    more: bool = False
    memory: MemoryReply | None = None


@dataclass(frozen=True)
class KnowledgeLogic:
    """Decisions of lane `knowledge`, for a node and given limits.

    Args:
        node: This node's fingerprint: its own claims and votes are told apart by it.
        limits: See `KnowledgeLimits`.
        memory: Logic of causal memory.
    """

    node: str
    limits: KnowledgeLimits = field(default_factory=KnowledgeLimits)
    memory: MemoryLogic = field(default_factory=MemoryLogic)
    initial: KnowledgeState = field(default_factory=KnowledgeState)

    def decide(
        self, state: KnowledgeState, command: KnowledgeCommand
    ) -> Decision[KnowledgeEvent, KnowledgeReply]:
        """See `LaneLogic.decide`."""
        on = Round(
            state,
            at_ms=command.at_ms,
            cause=command.cause,
            node=self.node,
            limits=self.limits,
            memory=self.memory,
        )
        remembered = _begin(on, command)
        settle(on)
        if isinstance(command, commands.HumanDecision):
            _record_human(on, command)
        reply = KnowledgeReply(
            outcomes=tuple(on.outcomes),
            told=tuple(on.events),
            more=len(on.ledger.dirty) > 0 or on.full,
            memory=remembered,
        )
        return Decision(tuple(on.events), reply)

    def apply(self, state: KnowledgeState, event: KnowledgeEvent) -> KnowledgeState:
        """See `LaneLogic.apply`."""
        return applied(self.memory, state, event)


def _begin(on: Round, command: KnowledgeCommand) -> MemoryReply | None:
    """Do what the command says itself; what follows from it is settled afterwards."""
    match command:
        case commands.Propose():
            propose(on, command)
        case commands.CastVote():
            cast(on, command)
        case commands.TrustSeen():
            _see_trust(on, command)
        case commands.LoadSeen():
            _see_load(on, command)
        case commands.TierSet():
            _set_tier(on, command)
        case commands.HumanDecision():
            _decide_as_human(on, command)
        case commands.Say():
            _say(on, command)
        case commands.Recheck():
            _recheck(on, command)
        case commands.Tick():
            _tick(on)
        case commands.Remember():
            return _remember(on, command)
        case _:
            _conclude(on, command)
    return None


def _see_trust(on: Round, command: commands.TrustSeen) -> None:
    seen = PeerSeen(state=command.state, introducer=command.introducer)
    if on.ledger.peer(command.peer) == seen:
        on.answer(command.peer, "known")
        return
    was, before = on.ledger.peer(command.peer), on.ledger.peers
    on.emit(events.PeerTrustSeen(peer=command.peer, seen=seen, at_ms=on.at_ms))
    barred = "blacklisted" in {was.state, seen.state}
    claims = on.ledger.claims
    concerned = on.ledger.concerning_peer(command.peer)
    on.look_at([key for key in concerned if barred or _can_move(claims[key], command.peer)])
    if was.introducer != seen.introducer:
        for peer in _brought_by(command.peer, before):
            on.look_at([key for key in on.ledger.concerning_peer(peer) if _can_move(claims[key], peer)])


def _brought_by(peer: str, peers: Mapping[str, PeerSeen]) -> list[str]:
    """Who is here by a peer, at once or through others, sorted: another group's, when that one's changes (KNOW-3)."""
    found, waiting = {peer}, {peer}
    while waiting := {
        name for name, seen in peers.items() if seen.introducer in waiting and name not in found
    }:
        found |= waiting
    return sorted(found - {peer})


def _can_move(claim: Claim, peer: str) -> bool:
    """Whether a claim can become another by a change of a peer's trust that neither bars it nor lets it in again.

    An acceptance is not taken back because somebody who confirmed it rose or fell (KNOW-7): of ten thousand claims that
    a peer voted on, most need not be looked at.
    """
    if claim.closed and claim.human is None:
        return False
    if claim.status != "accepted":
        return True
    vote = claim.votes.get(peer)
    return (vote is not None and vote.kind != "confirm") or bool(domains_of(claim))


def _see_load(on: Round, command: commands.LoadSeen) -> None:
    """Record the load when it opens or closes a way for claims; those that waited for it are looked at."""
    was, now = on.ledger.load, command.load
    if (was.overloaded, was.learning) == (now.overloaded, now.learning):
        return
    on.emit(events.LoadChanged(load=now, at_ms=on.at_ms))
    on.look_at(on.ledger.in_order(on.ledger.index.loaded))


def _set_tier(on: Round, command: commands.TierSet) -> None:
    retier(on, command.domain, command.tier, "human", human=command.human, words=command.reason)
    on.emit(
        decision_record(
            decision_id=on.decision_id("tier", command.domain),
            kind="human",
            about=command.domain,
            choice=command.tier,
            reasons=("human", command.reason),
            actor=command.human,
            at_ms=on.at_ms,
        )
    )
    on.answer(command.domain, "decided")


def _decide_as_human(on: Round, command: commands.HumanDecision) -> None:
    claim = on.ledger.find(command.key)
    if claim is None:
        on.answer(command.key, "unknown_fact_ref")
        return
    word = HumanWord(
        decision=command.decision, human=command.human, reason=command.reason[:512], at_ms=on.at_ms
    )
    on.emit(events.HumanDecided(key=claim.key, word=word))
    on.look_at((claim.key,))
    on.answer(claim.key, "decided")


def _record_human(on: Round, command: commands.HumanDecision) -> None:
    """A human's word that changes nothing is a decision all the same (MEM-1)."""
    claim = on.ledger.find(command.key)
    if claim is None or any(
        isinstance(one, events.ClaimChanged) and one.key == claim.key for one in on.events
    ):
        return
    on.emit(_human_record(on, command, claim.key))


def _human_record(on: Round, command: commands.HumanDecision, key: str) -> DecisionRecord:
    load = on.ledger.load
    return decision_record(
        decision_id=on.decision_id("human", key),
        kind="human",
        about=key,
        choice=f"{command.decision}ed",
        reasons=("a", command.reason),
        state=DecisionState(presence=load.presence, lri=load.lri),
        actor=command.human,
        at_ms=on.at_ms,
    )


def _say(on: Round, command: commands.Say) -> None:
    """Request that it is sent: a crash from here on repeats it under the same `msg_id`s."""
    peers = {one.peer for one in command.to}
    for key in command.keys:
        claim = on.ledger.claims.get(key)
        new = tuple(sorted(peers - set(claim.sent_to))) if claim is not None else ()
        if new:
            on.emit(events.ClaimSent(key=key, peers=new, at_ms=on.at_ms))
    on.emit(
        events.SendRequested(
            effect_id=on.effect_id("say", *sorted(one.msg_id for one in command.to)),
            type=command.type,
            payload=command.payload,
            to=command.to,
            about=command.about,
        )
    )
    on.answer(command.type, "said")


def _recheck(on: Round, command: commands.Recheck) -> None:
    """The body still supports the claim, or does not: then this node itself doubts it from now on (LIP-6)."""
    claim = on.ledger.find(command.key)
    if claim is None:
        on.answer(command.key, "unknown_fact_ref")
        return
    if claim.key in on.ledger.rechecks:
        on.emit(events.WebClaimRechecked(key=claim.key, supported=command.supported, at_ms=on.at_ms))
    before = claim.votes.get(on.node)
    vote = commands.CastVote(
        at_ms=on.at_ms,
        cause=on.cause,
        refs=(claim.key,),
        peer=on.node,
        kind="confirm" if command.supported else "challenge",
        route="lip",
        msg_id=on.cause,
        # What this node finds later counts, whatever its clock says: this page is not fetched a second time.
        sent_ms=on.at_ms if before is None else max(on.at_ms, before.sent_ms + 1),
        cited=command.cited,
        reason="" if command.supported else "recheck",
    )
    cast(on, vote)


def _tick(on: Round) -> None:
    """Go on with what is marked; then what is over its time (KNOW-6, g; KNOW-7)."""
    ledger = on.ledger
    marked = tuple(islice(ledger.dirty, _MOST_MARKED_AT_ONCE))
    if marked:
        on.emit(events.ClaimsLookedAt(count=len(marked), at_ms=on.at_ms))
        on.look_at(marked)
        return
    expire_parked(on)
    over = [
        key
        for key in ledger.index.undecided
        if on.at_ms - ledger.claims[key].since_ms
        >= (on.limits.pending_ms if ledger.claims[key].status == "pending" else on.limits.disputed_ms)
    ]
    on.look_at(sorted(over, key=lambda key: (ledger.claims[key].order, key)))


def _conclude(on: Round, command: commands.ConcludeTrust | commands.ConcludeSend) -> None:
    """An effect of this lane ended; of the decision that it belongs to, this is an outcome (MEM-1)."""
    if isinstance(command, commands.ConcludeSend):
        on.emit(
            events.SendConcluded(
                effect_id=command.effect_id, sent=command.sent, failed=command.failed, at_ms=on.at_ms
            )
        )
        return
    on.emit(events.TrustEffectConcluded(effect_id=command.effect_id, outcome=command.outcome, at_ms=on.at_ms))
    if command.decision_id is not None:
        on.emit(
            decision_outcome(
                decision_id=command.decision_id, outcome=f"trust {command.outcome}", at_ms=on.at_ms
            )
        )


def _remember(on: Round, command: commands.Remember) -> MemoryReply:
    """What this node saw itself, or others shared; a contradiction may concern claims (MEM-4)."""
    told = command.memory
    reply = on.remember(told)
    if isinstance(told, memory_commands.Contradict):
        on.look_at([key for key in (told.source, told.target) if key in on.ledger.claims])
    return reply
