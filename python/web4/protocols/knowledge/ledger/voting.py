"""Take in what peers say of claims: counted, noted, or parked until the claim is here (KNOW-2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.protocols.knowledge.ledger import events
from web4.protocols.knowledge.ledger.claims import Vote
from web4.trust import Unverifiable

if TYPE_CHECKING:
    from web4.protocols.knowledge.commands import CastVote
    from web4.protocols.knowledge.ledger.claims import Cited, Claim
    from web4.protocols.knowledge.ledger.limits import KnowledgeLimits
    from web4.protocols.knowledge.ledger.rounds import Round

UNVERIFIABLE: Final = frozenset({"cannot_verify", "insufficient_evidence"})
"""Reasons of a challenge that say the proposer could not show what it claims (TRUST-4)."""
_MOST_REASON: Final = 256
_MOST_ADOPTED: Final = 64
"""Parked votes that one decision counts at once."""


def cast(on: Round, command: CastVote) -> None:
    """Take in a vote, for each claim that it is about."""
    refused = ""
    if command.peer != on.node and on.ledger.peer(command.peer).state not in {"probing", "trusted"}:
        refused = "not_admitted"
    elif is_too_much(command.cited, on.limits):
        refused = "too_much_evidence"
    if refused:
        for ref in command.refs:
            on.answer(ref, refused)
        return
    vote = Vote(
        peer=command.peer,
        kind=command.kind,
        route=command.route,
        msg_id=command.msg_id,
        sent_ms=command.sent_ms,
        at_ms=on.at_ms,
        cited=command.cited,
        reason=command.reason[:_MOST_REASON],
        confidence=command.confidence,
        digest=command.digest,
    )
    for ref in dict.fromkeys(command.refs):
        claim = on.ledger.find(ref)
        if command.note_only:
            on.answer(ref, _note(on, claim, vote))
        elif claim is None:
            on.answer(ref, _park(on, ref, vote))
        else:
            on.answer(ref, take(on, claim, vote))


def is_too_much(cited: Cited, limits: KnowledgeLimits) -> bool:
    """Whether somebody cites more than a claim keeps: cut short, it could hide what it shares with others (KNOW-3)."""
    return max(len(cited.domains), len(cited.bodies)) > limits.evidence


def take(on: Round, claim: Claim, vote: Vote) -> str:
    """Let a vote stand, unless a later one of its peer does; what became of it."""
    known = claim.votes.get(vote.peer)
    # A message that is sent again has a new timestamp (OUT-2), and is the same vote.
    if known is not None and (known.msg_id == vote.msg_id or known.stamp >= vote.stamp):
        return "known"
    instead_of: str | None = None
    if known is None and len(claim.votes) >= on.limits.votes_per_claim:
        instead_of = _weightless(on, claim)
        if instead_of is None or not _has_weight(on, vote.peer):
            return "claim_full"
    on.emit(events.ClaimVoted(key=claim.key, vote=vote, instead_of=instead_of))
    if vote.kind == "challenge" and vote.reason in UNVERIFIABLE and vote.route == "cip":
        _doubt(on, claim, vote)
    on.look_at((claim.key,))
    return "voted"


def adopt(on: Round, claim: Claim) -> bool:
    """Count the votes that waited for a claim; whether all of them were counted."""
    parked = on.ledger.parked
    if not parked:
        return True
    waiting = [
        (ref, peer, vote)
        for ref in (claim.key, *sorted({one.msg_id for one in claim.proposals}))
        if ref in parked and on.ledger.find(ref) is not None
        for peer, vote in sorted(parked[ref].items())
    ]
    for ref, peer, vote in waiting[:_MOST_ADOPTED]:
        on.emit(events.VoteUnparked(ref=ref, peer=peer, reason="arrived", at_ms=on.at_ms))
        take(on, on.ledger.claims[claim.key], vote)
    return len(waiting) <= _MOST_ADOPTED


def expire_parked(on: Round) -> None:
    """Let parked votes go whose time is over. They wait in the order in which they came."""
    while not on.full and (place := next(iter(on.ledger.waiting), None)) is not None:
        peer, _, ref = place.partition(" ")
        if on.at_ms - on.ledger.parked[ref][peer].at_ms < on.limits.parked_ms:
            break
        on.emit(events.VoteUnparked(ref=ref, peer=peer, reason="expired", at_ms=on.at_ms))


def _note(on: Round, claim: Claim | None, vote: Vote) -> str:
    """A challenge without weight: noted with the claim, if it is here (TRUST-6)."""
    if claim is None:
        return "unknown_fact_ref"
    if (vote.peer, vote.msg_id) in claim.notes:
        return "known"
    on.emit(
        events.ChallengeNoted(
            key=claim.key, peer=vote.peer, msg_id=vote.msg_id, reason=vote.reason, at_ms=on.at_ms
        )
    )
    return "noted"


def _park(on: Round, ref: str, vote: Vote) -> str:
    """Keep a vote whose claim is not here. When there is no room, the peer with most parked votes loses its oldest."""
    parked = on.ledger.parked.get(ref)
    known = None if parked is None else parked.get(vote.peer)
    if known is not None:
        if known.msg_id == vote.msg_id or known.stamp >= vote.stamp:
            return "known"
        on.emit(events.VoteUnparked(ref=ref, peer=vote.peer, reason="evicted", at_ms=on.at_ms))
    elif len(on.ledger.waiting) >= on.limits.parked:
        places = [place.partition(" ") for place in on.ledger.waiting]
        counts: dict[str, int] = {}
        for peer, _, _ in places:
            counts[peer] = counts.get(peer, 0) + 1
        loser = max(sorted(counts), key=counts.__getitem__)
        peer, _, old = next(place for place in places if place[0] == loser)
        on.emit(events.VoteUnparked(ref=old, peer=peer, reason="evicted", at_ms=on.at_ms))
    on.emit(events.VoteParked(ref=ref, peer=vote.peer, vote=vote))
    return "parked"


def _doubt(on: Round, claim: Claim, vote: Vote) -> None:
    """A trusted peer could not verify the claim: said to its proposers' lanes, once for each challenger (TRUST-4)."""
    if vote.peer in claim.doubted_by or on.ledger.peer(vote.peer).state != "trusted":
        return
    on.emit(events.ClaimDoubted(key=claim.key, peer=vote.peer, at_ms=on.at_ms))
    for one in claim.proposals:
        if one.peer != vote.peer:
            command = Unverifiable(at_ms=on.at_ms, claim_key=claim.key, challenger=vote.peer)
            on.tell_trust(one.peer, command, about=claim.key)


def _has_weight(on: Round, peer: str) -> bool:
    return peer == on.node or on.ledger.peer(peer).state == "trusted"


def _weightless(on: Round, claim: Claim) -> str | None:
    """Whose vote falls when a claim is full: the oldest of those without weight."""
    without = [one for one in claim.votes.values() if not _has_weight(on, one.peer)]
    return min(without, key=lambda one: (one.at_ms, one.peer)).peer if without else None
