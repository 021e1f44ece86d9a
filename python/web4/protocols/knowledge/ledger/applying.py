"""The ledger after an event (ACT-1). Pure, and needs no limits: events carry what was worked out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from immutables import Map
from msgspec.structs import replace

from web4.protocols.knowledge.ledger import events
from web4.protocols.knowledge.ledger.claims import MOST_NOTES, Claim
from web4.protocols.knowledge.ledger.counting import UNSEEN
from web4.protocols.knowledge.ledger.state import AMBIGUOUS, LedgerState

if TYPE_CHECKING:
    from web4.protocols.knowledge.ledger.events import LedgerEvent


def after(ledger: LedgerState, event: LedgerEvent) -> LedgerState:
    """Give the ledger after `event`."""
    match event:
        case events.ClaimProposed():
            ledger = _proposed(ledger, event)
        case events.ClaimVoted(vote=vote):
            claim = ledger.claims[event.key]
            ledger = ledger.put(claim.with_(votes={**claim.votes, vote.peer: vote}))
        case events.ClaimChanged():
            ledger = _changed(ledger, event)
        case events.PeerTrustSeen(peer=peer, seen=seen):
            peers = ledger.peers
            ledger = ledger.with_(
                peers=peers.set(peer, seen) if seen != UNSEEN else peers.delete(peer),
                aligned=ledger.aligned.delete(peer)
                if peer in ledger.aligned and seen.state != "probing"
                else ledger.aligned,
            )
        case events.TierChanged(domain=domain):
            source = replace(ledger.source(domain), tier=event.tier)
            ledger = ledger.with_(sources=ledger.sources.set(domain, source))
        case events.LoadChanged(load=load):
            ledger = ledger.with_(load=load)
        case events.VoteParked() | events.VoteUnparked():
            ledger = _parking(ledger, event)
        case events.ClaimForgotten(key=key):
            ledger = ledger.forget(key)
        case events.ClaimsMarked(keys=keys):
            dirty = ledger.dirty
            for key in keys:
                dirty = dirty.with_(key)
            ledger = ledger.with_(dirty=dirty)
        case events.ClaimsLookedAt(count=count):
            dirty = ledger.dirty
            for key in [key for _, key in zip(range(count), dirty, strict=False)]:
                dirty = dirty.without(key)
            ledger = ledger.with_(dirty=dirty)
        case events.AlignmentSeen(peer=peer, keys=keys):
            ledger = ledger.with_(aligned=ledger.aligned.set(peer, keys))
        case events.TrustEffectRequested() | events.TrustEffectConcluded():
            pass  # the lane's writer keeps what is open
        case _:
            ledger = _noted(ledger, event)
    return ledger


def _noted(ledger: LedgerState, event: LedgerEvent) -> LedgerState:
    """Events that note something with a claim, and change nothing that it is looked up by."""
    assert not isinstance(event, events.TrustEffectConcluded | events.LoadChanged | events.ClaimsLookedAt)
    claim = ledger.claims[event.key]  # type: ignore[union-attr]  # what is left has one
    match event:
        case events.HumanDecided(word=word):
            claim = claim.with_(human=word)
        case events.ChallengeNoted(peer=peer, msg_id=msg_id):
            claim = claim.with_(notes=(*claim.notes, (peer, msg_id))[-MOST_NOTES:])
        case events.ClaimSent(peers=peers):
            claim = claim.with_(sent_to=tuple(sorted({*claim.sent_to, *peers})))
        case events.ClaimDoubted(peer=peer):
            claim = claim.with_(doubted_by=(*claim.doubted_by, peer))
        case events.WebClaimRechecked(key=key):
            return ledger.with_(rechecks=ledger.rechecks.without(key))
    return ledger.put(claim)


def _proposed(ledger: LedgerState, event: events.ClaimProposed) -> LedgerState:
    proposal, key = event.proposal, event.key
    claim = ledger.claims.get(key)
    if claim is None:
        claim = Claim(
            key=key,
            domain=event.domain,
            statement=event.statement,
            since_ms=proposal.at_ms,
            order=ledger.order,
        )
        ledger = ledger.with_(order=ledger.order + 1)
    known = tuple(one for one in claim.proposals if one.peer != proposal.peer)
    if len(known) < len(claim.proposals):  # it proposes again: it keeps its place
        proposals = tuple(proposal if one.peer == proposal.peer else one for one in claim.proposals)
    else:
        proposals = (*claim.proposals, proposal)
    claim = claim.with_(proposals=proposals, triple=claim.triple or event.triple)
    if event.opens:
        claim = claim.with_(
            status="pending",
            reason="",
            rule="h",
            opened_ms=proposal.at_ms,
            since_ms=proposal.at_ms,
            order=ledger.order if claim.order != ledger.order - 1 else claim.order,
        )
        if claim.order == ledger.order:
            ledger = ledger.with_(order=ledger.order + 1)
    known_as = ledger.refs.get(proposal.msg_id, key)
    refs = ledger.refs.set(proposal.msg_id, key if known_as == key else AMBIGUOUS)
    return ledger.with_(refs=refs).put(claim)


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
    if first and event.credited:
        ledger = ledger.with_(rechecks=ledger.rechecks.with_(event.key))
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
            replace(
                source, accepted=source.accepted + first, standing=source.standing + (1 if now else -1)
            ),
        )
    return ledger.with_(sources=sources)


def _parking(ledger: LedgerState, event: events.VoteParked | events.VoteUnparked) -> LedgerState:
    ref, peer = event.ref, event.peer
    place = f"{peer} {ref}"
    of_ref = ledger.parked.get(ref, Map())
    if isinstance(event, events.VoteParked):
        return ledger.with_(
            parked=ledger.parked.set(ref, of_ref.set(peer, event.vote)), waiting=ledger.waiting.with_(place)
        )
    left = of_ref.delete(peer)
    return ledger.with_(
        parked=ledger.parked.set(ref, left) if left else ledger.parked.delete(ref),
        waiting=ledger.waiting.without(place),
    )
