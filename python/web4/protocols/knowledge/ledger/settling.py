"""Look at claims again, and see to what follows when one changes (KNOW-7 to KNOW-9, LIP-2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.protocols.decisions import (
    DecisionEvidence,
    DecisionState,
    decision_outcome,
    decision_record,
)
from web4.protocols.knowledge.ledger import counting, events
from web4.protocols.knowledge.ledger.evaluation import CausalAnswer, Standing, Verdict, evaluate
from web4.protocols.knowledge.ledger.sources import retier, tiers_by_support, tiers_of_change
from web4.protocols.knowledge.ledger.state import domains_of
from web4.protocols.knowledge.ledger.voting import adopt
from web4.protocols.knowledge.memory.checking import check_key
from web4.protocols.knowledge.memory.commands import AcceptClaim, FlagClaim
from web4.trust import Conflict, KnowledgeVerified

if TYPE_CHECKING:
    from web4.protocols.decisions import DecisionRecord
    from web4.protocols.knowledge.ledger.claims import Claim
    from web4.protocols.knowledge.ledger.rounds import Round

_MOST_LOOKED_AT: Final = 512
_MOST_DEPENDANTS: Final = 64
_ALTERNATIVES: Final = ("accepted", "disputed", "pending", "rejected")


def settle(on: Round) -> None:
    """Look at all claims that the round is to look at, and at those that they concern in turn."""
    looked = 0
    while (key := on.next_key()) is not None:
        if on.full or looked >= _MOST_LOOKED_AT:
            on.look_at((key,))
            break
        looked += 1
        claim = on.ledger.claims.get(key)
        if claim is None:
            continue
        if not adopt(on, claim):
            on.look_at((key,))  # more votes waited for it than one decision takes
        look(on, key)
    on.mark_rest()
    _forget_oldest(on)


def look(on: Round, key: str) -> None:
    """Evaluate one claim, and record what it is from now on if that is something else."""
    claim = on.ledger.claims[key]
    if claim.closed and claim.human is None:
        return
    tiers_by_support(on, claim)
    check = checked(on, claim)
    verdict = evaluate(standing(on, claim, check))
    if (verdict.status, verdict.reason) != (claim.status, claim.reason):
        change(on, claim, verdict, check)


def checked(on: Round, claim: Claim) -> CausalAnswer:
    """What causal memory says of a claim (MEM-4)."""
    found = check_key(on.state.memory, claim.key, claim.domain, claim.triple)
    return CausalAnswer(found.verdict, tuple([one.ref for one in found.references]))


def standing(on: Round, claim: Claim, check: CausalAnswer) -> Standing:
    """All that the evaluation of a claim depends on."""
    ledger, limits = on.ledger, on.limits
    return Standing(
        claim=claim,
        peers=ledger.peers,
        tiers={domain: ledger.source(domain).tier for domain in domains_of(claim)},
        check=check,
        supports=_supports(on, claim) if limits.mode == "relaxed" else {},
        load=ledger.load,
        mode=limits.mode,
        at_ms=on.at_ms,
        node=on.node,
        confirmers_needed=limits.confirmers_needed,
        pending_ms=limits.pending_ms,
        disputed_ms=limits.disputed_ms,
    )


def _supports(on: Round, claim: Claim) -> dict[str, int]:
    """Of each proposer, how many accepted claims of others it says this one follows from (KNOW-5)."""
    found: dict[str, int] = {}
    for proposal in claim.proposals:
        linked = [on.ledger.find(link) for link in proposal.links]
        keys = {
            one.key
            for one in linked
            if one is not None
            and one.key != claim.key
            and one.status == "accepted"
            and proposal.peer not in one.proposers
        }
        found[proposal.peer] = len(keys)
    return found


def change(on: Round, claim: Claim, verdict: Verdict, check: CausalAnswer) -> None:
    """Record that a claim is something else from now on, and what follows from that."""
    decision_id = on.decision_id("claim", claim.key, claim.changes)
    accepts, accepted = verdict.status == "accepted", claim.status == "accepted"
    event = events.ClaimChanged(
        key=claim.key,
        was=claim.status,
        status=verdict.status,
        rule=verdict.rule,
        reason=verdict.reason,
        basis=verdict.basis,
        mode=on.limits.mode if accepts else None,
        confirmers=verdict.confirmers if accepts else (),
        independent=verdict.independent if accepts else 0,
        check=check.verdict,
        references=check.references,
        credited=_credited(on, claim) if accepts else (),
        dependants=_dependants(on, claim) if accepts != accepted else (),
        decision_id=decision_id,
        cause=on.cause,
        at_ms=on.at_ms,
    )
    if claim.decision_id is not None and (accepted or claim.status == "rejected"):
        undone = decision_outcome(
            decision_id=claim.decision_id, outcome=verdict.status, success=False, at_ms=on.at_ms
        )
        on.emit(undone)
    on.emit(event)
    on.emit(_record(on, claim, event))
    _remember(on, claim, event)
    _tell_trust(on, claim, event)
    for domain, tier, rule in tiers_of_change(on.ledger, claim, event, on.node):
        retier(on, domain, tier, rule, because=claim.key)
    if accepts != accepted:
        on.look_at(_concerned(on, claim))


def _record(on: Round, claim: Claim, event: events.ClaimChanged) -> DecisionRecord:
    """The DecisionRecord of a change (MEM-1)."""
    reasons = [event.rule, *([event.reason] if event.reason else ())]
    actor, kind, word = "node", "claim", claim.human
    if event.rule == "a" and word is not None:
        actor, kind = word.human, "human"
        reasons.append(word.reason)
    evidence = [DecisionEvidence(kind="envelope", ref=one.msg_id) for one in claim.proposals[:4]]
    evidence += [
        DecisionEvidence(kind="envelope", ref=one.msg_id)
        for one in sorted(claim.votes.values(), key=lambda vote: vote.stamp)[-8:]
    ]
    evidence += [DecisionEvidence(kind="claim", ref=one) for one in event.references[:4]]
    load = on.ledger.load
    first = claim.proposals[0].peer
    return decision_record(
        decision_id=event.decision_id,
        kind="human" if kind == "human" else "claim",
        about=claim.key,
        choice=event.status,
        alternatives=[one for one in _ALTERNATIVES if one != event.status],
        reasons=reasons,
        context={"domain": claim.domain, "mode": on.limits.mode, "independent": event.independent},
        evidence=evidence,
        state=DecisionState(
            trust=None if first == on.node else on.ledger.peer(first).state,
            presence=load.presence,
            lri=load.lri,
        ),
        actor=actor,
        at_ms=on.at_ms,
    )


def _remember(on: Round, claim: Claim, event: events.ClaimChanged) -> None:
    """Only accepted claims enter causal memory (KNOW-8); one that is not any more is flagged there (KNOW-7)."""
    if event.status == "accepted" and event.was != "accepted":
        first = claim.proposals[0]
        on.remember(
            AcceptClaim(
                key=claim.key,
                domain=claim.domain,
                triple=claim.triple,
                causal_links=first.links,
                confidence=first.confidence,
                at_ms=on.at_ms,
                decision_id=event.decision_id,
            )
        )
    elif event.was == "accepted" and event.status != "accepted":
        on.remember(
            FlagClaim(key=claim.key, reason=event.status, at_ms=on.at_ms, decision_id=event.decision_id)
        )


def _tell_trust(on: Round, claim: Claim, event: events.ClaimChanged) -> None:
    """What the change says about its proposers (KNOW-9, TRUST-4)."""
    if event.status == "accepted":
        if event.independent >= 2 and not claim.verified:
            on.tell_trust(
                claim.proposals[0].peer,
                KnowledgeVerified(at_ms=on.at_ms, claim_key=claim.key),
                about=claim.key,
                decision_id=event.decision_id,
            )
        return
    ended = event.reason == "voted_down" or (event.reason == "unresolved" and event.check == "contradicts")
    if event.status != "rejected" or not ended:
        return
    by_words = event.reason == "voted_down" or bool(on.state.memory.against(claim.key))
    for one in claim.proposals:
        # One that was contradicted when it came was charged then; nobody answers for the triple of another.
        if one.contradicted is None and (by_words or one.triple == claim.triple):
            on.tell_trust(
                one.peer,
                Conflict(at_ms=on.at_ms, claim_key=claim.key, confidence=one.confidence),
                about=claim.key,
                decision_id=event.decision_id,
            )


def _credited(on: Round, claim: Claim) -> tuple[str, ...]:
    """The sources whose record a first acceptance becomes part of: those that somebody with weight stands for.

    What a probing peer says of a source neither builds its record nor ruins it (ENV-2).
    """
    first = counting.first_web_proposal(claim)
    if first is None or (
        first.peer != on.node and counting.state_of(on.ledger.peers, first.peer) != "trusted"
    ):
        return ()
    return first.cited.domains


def _dependants(on: Round, claim: Claim) -> tuple[str, ...]:
    """The claims that say they follow from this one."""
    return tuple(_linked(on, claim)[:_MOST_DEPENDANTS])


def _linked(on: Round, claim: Claim) -> list[str]:
    links, names = on.ledger.index.links, (claim.key, *[one.msg_id for one in claim.proposals])
    keys = {key for name in names if name in links for key in links[name]}
    return sorted(keys - {claim.key})


def _concerned(on: Round, claim: Claim) -> list[str]:
    """The claims that it concerns whether this one is accepted: by contradiction, or as its support."""
    index, claims = on.ledger.index, on.ledger.claims
    keys = {one for one in on.state.memory.opposed(claim.key) if one in claims}
    if claim.slot is not None:
        keys.update(index.slots.get(claim.slot, ()))
    if on.limits.mode == "relaxed":
        keys.update(_linked(on, claim))
    keys.discard(claim.key)
    return sorted(keys, key=lambda key: (claims[key].order, key))


def _forget_oldest(on: Round) -> None:
    """Keep to the bounds of what is decided; what falls out is an event."""
    for kept, most in (("accepted", on.limits.accepted), ("rejected", on.limits.rejected)):
        while len(getattr(on.ledger, kept)) > most:
            key = next(iter(getattr(on.ledger, kept)))
            on.emit(events.ClaimForgotten(key=key, status=on.ledger.claims[key].status, at_ms=on.at_ms))
