"""The ledger after an event (ACT-1). Pure, and needs no limits: events carry what was worked out."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from immutables import Map
from msgspec.structs import replace

from web4.protocols.knowledge.ledger import events
from web4.protocols.knowledge.ledger.claims import MOST_NOTES, Claim
from web4.protocols.knowledge.ledger.counting import UNSEEN
from web4.protocols.knowledge.ledger.state import LedgerState, queued

if TYPE_CHECKING:
    from web4.protocols.knowledge.ledger.events import LedgerEvent
    from web4.protocols.knowledge.ledger.state import Queue


def after(ledger: LedgerState, event: LedgerEvent) -> LedgerState:
    """Give the ledger after `event`."""
    match event:
        case events.ClaimProposed():
            ledger = _proposed(ledger, event)
        case events.ClaimVoted():
            ledger = _voted(ledger, event)
        case events.ClaimChanged():
            ledger = _changed(ledger, event)
        case events.PeerTrustSeen() | events.TierChanged() | events.LoadChanged() | events.AlignmentSeen():
            ledger = _seen(ledger, event)
        case events.VoteParked() | events.VoteUnparked():
            ledger = _parking(ledger, event)
        case events.ClaimForgotten(key=key):
            ledger = ledger.forget(key)
        case events.ClaimsMarked() | events.ClaimsLookedAt():
            ledger = ledger.with_(dirty=_dirty(ledger.dirty, event))
        case events.WebClaimRechecked(key=key):
            ledger = ledger.with_(rechecks=ledger.rechecks.without(key))
        case (
            events.TrustEffectRequested()
            | events.TrustEffectConcluded()
            | events.SendRequested()
            | events.SendConcluded()
        ):
            pass  # the lane's writer keeps what is open
        case _:
            ledger = ledger.put(_noted(ledger.claims[event.key], event))
    return ledger


def _seen(
    ledger: LedgerState,
    event: events.PeerTrustSeen | events.TierChanged | events.LoadChanged | events.AlignmentSeen,
) -> LedgerState:
    """What the ledger knows of others: peers, sources, the load."""
    match event:
        case events.PeerTrustSeen(peer=peer, seen=seen):
            peers, aligned = ledger.peers, ledger.aligned
            if peer in aligned and seen.state != "probing":
                aligned = aligned.delete(peer)
            if seen != UNSEEN:
                peers = peers.set(peer, seen)
            elif peer in peers:
                peers = peers.delete(peer)
            return ledger.with_(peers=peers, aligned=aligned)
        case events.TierChanged(domain=domain):
            source = replace(ledger.source(domain), tier=event.tier)
            return ledger.with_(sources=ledger.sources.set(domain, source))
        case events.LoadChanged(load=load):
            return ledger.with_(load=load)
        case events.AlignmentSeen(peer=peer, keys=keys):
            left = ledger.aligned.set(peer, keys) if keys else ledger.aligned.delete(peer)
            return ledger.with_(aligned=left)


def _noted(
    claim: Claim,
    event: events.HumanDecided | events.ChallengeNoted | events.ClaimSent | events.ClaimDoubted,
) -> Claim:
    """What is noted with a claim, and changes nothing that it is looked up by."""
    match event:
        case events.HumanDecided(word=word):
            return claim.with_(human=word)
        case events.ChallengeNoted(peer=peer, msg_id=msg_id):
            return claim.with_(notes=(*claim.notes, (peer, msg_id))[-MOST_NOTES:])
        case events.ClaimSent(peers=peers):
            return claim.with_(sent_to=tuple(sorted({*claim.sent_to, *peers})))
        case events.ClaimDoubted(peer=peer):
            return claim.with_(doubted_by=(*claim.doubted_by, peer))


def _dirty(dirty: Queue, event: events.ClaimsMarked | events.ClaimsLookedAt) -> Queue:
    if isinstance(event, events.ClaimsMarked):
        for key in event.keys:
            dirty = queued(dirty, key)
        return dirty
    for key in tuple(islice(dirty, event.count)):
        dirty = dirty.without(key)
    return dirty


def _voted(ledger: LedgerState, event: events.ClaimVoted) -> LedgerState:
    claim = ledger.claims[event.key]
    votes = {**claim.votes, event.vote.peer: event.vote}
    if event.instead_of is not None:
        del votes[event.instead_of]
    return ledger.put(claim.with_(votes=votes))


def _proposed(ledger: LedgerState, event: events.ClaimProposed) -> LedgerState:
    proposal, key = event.proposal, event.key
    claim = ledger.claims.get(key) or Claim(key=key, domain=event.domain, statement=event.statement)
    others = tuple(one for one in claim.proposals if one.peer != proposal.peer)
    before = tuple(one for one in claim.proposals if one.peer == proposal.peer)
    if event.opens:
        # Whoever brings it back is its first proposer: it counts for that one's bound (KNOW-10).
        claim = claim.with_(
            proposals=(proposal, *others),
            status="pending",
            reason="",
            rule="h",
            opened_ms=proposal.at_ms,
            since_ms=proposal.at_ms,
            order=ledger.order,
        )
        ledger = ledger.with_(order=ledger.order + 1)
    elif before:  # it says more than before, and keeps its place
        proposal = replace(proposal, less=before[0].msg_id)
        same = tuple(proposal if one.peer == proposal.peer else one for one in claim.proposals)
        claim = claim.with_(proposals=same)
    else:
        claim = claim.with_(proposals=(*others, proposal))
    claim = claim.with_(triple=claim.triple or event.triple)
    return ledger.put(claim)


def _changed(ledger: LedgerState, event: events.ClaimChanged) -> LedgerState:
    claim = ledger.claims[event.key]
    accepts = event.status == "accepted"
    first = accepts and not claim.was_accepted
    moved = event.status != claim.status
    ledger = _counted(ledger, claim, event)
    changed = claim.with_(
        status=event.status,
        reason=event.reason,
        rule=event.rule,
        since_ms=event.at_ms if moved else claim.since_ms,
        changes=claim.changes + 1,
        decision_id=event.decision_id,
    )
    if accepts:
        changed = changed.with_(
            was_accepted=True,
            basis=event.basis,
            mode=event.mode,
            confirmers=event.confirmers,
            credited=event.credited if first else claim.credited,
            verified=claim.verified or event.independent >= 2,
        )
    ledger = ledger.put(changed)
    if first and any(one.route == "lip" for one in claim.proposals):
        ledger = ledger.with_(rechecks=queued(ledger.rechecks, event.key))
    return ledger


def _counted(ledger: LedgerState, claim: Claim, event: events.ClaimChanged) -> LedgerState:
    """The track record of the sources that the claim is credited to (LIP-2)."""
    was, now = claim.status == "accepted", event.status == "accepted"
    if was == now:
        return ledger
    first = now and not claim.was_accepted
    sources = ledger.sources
    for domain in event.credited if first else claim.credited:
        source = ledger.source(domain)
        sources = sources.set(
            domain,
            replace(source, accepted=source.accepted + first, standing=source.standing + (1 if now else -1)),
        )
    return ledger.with_(sources=sources)


def _parking(ledger: LedgerState, event: events.VoteParked | events.VoteUnparked) -> LedgerState:
    ref, peer = event.ref, event.peer
    place = f"{peer} {ref}"
    of_ref = ledger.parked.get(ref, Map())
    if isinstance(event, events.VoteParked):
        return ledger.with_(
            parked=ledger.parked.set(ref, of_ref.set(peer, event.vote)), waiting=queued(ledger.waiting, place)
        )
    left = of_ref.delete(peer)
    return ledger.with_(
        parked=ledger.parked.set(ref, left) if left else ledger.parked.delete(ref),
        waiting=ledger.waiting.without(place),
    )
