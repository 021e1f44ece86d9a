"""Take in claims: one entry for each key, within bounds, and what a proposal says of its proposer (KNOW-1, KNOW-10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.protocols.knowledge.ledger import counting, events
from web4.protocols.knowledge.ledger.claims import Proposal, Vote
from web4.protocols.knowledge.ledger.evaluation import CausalAnswer, Verdict
from web4.protocols.knowledge.ledger.settling import change
from web4.protocols.knowledge.ledger.voting import is_too_much, take
from web4.protocols.knowledge.memory.checking import check_key
from web4.trust import Conflict, LocalAlignment, MaliciousEvidence, cited_envelope

if TYPE_CHECKING:
    from web4.protocols.knowledge.commands import Propose, Stated
    from web4.protocols.knowledge.ledger.claims import Claim
    from web4.protocols.knowledge.ledger.limits import KnowledgeLimits
    from web4.protocols.knowledge.ledger.rounds import Round
    from web4.protocols.knowledge.memory.entries import StoredTriple

_ALIGNED = 2
"""Claims of a probing peer that equal what was accepted here, until it is trusted (TRUST-5)."""


def propose(on: Round, command: Propose) -> None:
    """Take in every claim that a message proposes."""
    admitted = command.peer == on.node or on.ledger.peer(command.peer).state in {"probing", "trusted"}
    for stated in command.claims:
        if not admitted:
            outcome = "not_admitted"
        elif _is_too_long(stated, on.limits):
            outcome = "claim_too_long"
        elif is_too_much(command.cited, on.limits) or _are_too_many(command.links, on.limits):
            outcome = "too_much_evidence"
        else:
            outcome = _propose(on, command, stated)
        on.answer(stated.key, outcome)


def _is_too_long(stated: Stated, limits: KnowledgeLimits) -> bool:
    return (
        len(stated.statement.encode()) > limits.statement_bytes
        or len(stated.domain.encode()) > limits.domain_bytes
    )


def _are_too_many(links: tuple[str, ...], limits: KnowledgeLimits) -> bool:
    return len(links) > limits.evidence or any(len(one.encode()) > limits.domain_bytes for one in links)


def _propose(on: Round, command: Propose, stated: Stated) -> str:
    claim = on.ledger.claims.get(stated.key)
    opens = claim is None or claim.closed
    said = _said(claim, command.peer)
    if claim is not None and said is not None:
        if said.msg_id == command.msg_id:
            return "known"  # the same message once more: it brings nothing back
        if not opens and said.complete >= command.complete:
            return _corroborate(on, command, claim, "known")
    if opens:
        if not _room(on, command.peer):
            return "ledger_full"
    elif claim is not None and said is None and len(claim.proposals) >= on.limits.proposers_per_claim:
        return "claim_full"
    answer = check_key(on.state.memory, stated.key, stated.domain, stated.triple)
    against = answer.references[0].ref if answer.verdict == "contradicts" else None
    proposal = Proposal(
        peer=command.peer,
        msg_id=command.msg_id,
        route=command.route,
        at_ms=on.at_ms,
        confidence=command.confidence,
        complete=command.complete,
        cited=command.cited,
        links=command.links,
        decision_id=command.decision_id,
        digest=command.digest,
        contradicted=against,
        triple=stated.triple,
    )
    on.emit(
        events.ClaimProposed(
            key=stated.key,
            proposal=proposal,
            opens=opens,
            decision_id=command.decision_id,
            domain=stated.domain if claim is None else "",
            statement=stated.statement if claim is None else "",
            triple=stated.triple if claim is None or claim.triple is None else None,
        )
    )
    _weigh_proposer(on, claim, on.ledger.claims[stated.key], proposal)
    on.look_at((stated.key,))
    return _corroborate(on, command, on.ledger.claims[stated.key], "proposed")


def _said(claim: Claim | None, peer: str) -> Proposal | None:
    return None if claim is None else next((one for one in claim.proposals if one.peer == peer), None)


def _corroborate(on: Round, command: Propose, claim: Claim, outcome: str) -> str:
    """LIP_EVIDENCE is the word of its sender for the claim, too, with its own provenance (LIP-3)."""
    if command.route == "lip":
        vote = Vote(
            peer=command.peer,
            kind="confirm",
            route="lip",
            msg_id=command.msg_id,
            sent_ms=command.sent_ms,
            at_ms=on.at_ms,
            cited=command.cited,
            confidence=command.confidence,
            digest=command.digest,
        )
        take(on, claim, vote)
    return outcome


# --- what it says of the proposer (TRUST-4, TRUST-5) --------------------------------------------------------


def _weigh_proposer(on: Round, before: Claim | None, claim: Claim, proposal: Proposal) -> None:
    if proposal.peer == on.node:
        return
    other = _contradiction_in_one_decision(on, claim, proposal)
    if other is not None:
        envelopes = [(proposal.digest, proposal.msg_id), (other.digest, other.msg_id)]
        cited = tuple(cited_envelope(digest, msg_id, None) for digest, msg_id in envelopes)
        command = MaliciousEvidence(at_ms=on.at_ms, reason="contradicting_facts", evidence=cited)
        on.tell_trust(proposal.peer, command, about=claim.key)
    elif proposal.contradicted is not None:
        _charge_conflict(on, claim, proposal, proposal.contradicted)
    else:
        _align(on, before, proposal)


def _contradiction_in_one_decision(on: Round, claim: Claim, proposal: Proposal) -> Proposal | None:
    """What the peer said otherwise under the same `decision_id`: equivocation (TRUST-4).

    Each of the two by its own triple: what others make of the same statements is not the peer's word.
    """
    if proposal.decision_id is None or proposal.triple is None:
        return None
    known = on.ledger.index.decisions.get((proposal.peer, proposal.decision_id), ())
    for key in sorted(known):
        other = on.ledger.claims[key]
        said = _said(other, proposal.peer)
        if said is not None and other.domain == claim.domain and _is_otherwise(said.triple, proposal.triple):
            return said
    return None


def _is_otherwise(one: StoredTriple | None, other: StoredTriple) -> bool:
    """Whether two triples cannot both hold (MEM-4)."""
    return (
        one is not None
        and (one.subject, one.predicate) == (other.subject, other.predicate)
        and one.object != other.object
        and (one.functional or other.functional)
    )


def _charge_conflict(on: Round, claim: Claim, proposal: Proposal, against: str) -> None:
    """The proposal contradicts what is accepted here."""
    accepted = on.ledger.claims.get(against)
    number = 0
    if accepted is not None:
        number = max(
            counting.independent(counted(accepted, on.ledger.peers, on.node), on.ledger.peers, up_to=2)
            for counted in (counting.confirmers, counting.corroborators)
        )
    conflict = Conflict(
        at_ms=on.at_ms,
        claim_key=against,
        confidence=proposal.confidence,
        confirmers=number,
        evidence=(cited_envelope(proposal.digest, proposal.msg_id, None),),
    )
    on.tell_trust(proposal.peer, conflict, about=claim.key)


def _align(on: Round, before: Claim | None, proposal: Proposal) -> None:
    """Two claims that equal what was accepted here, and was never sent there, raise a probing peer (TRUST-5)."""
    ledger, peer = on.ledger, proposal.peer
    if (
        before is None
        or before.status != "accepted"
        or peer in before.proposers
        or peer in before.sent_to
        or ledger.peer(peer).state != "probing"
    ):
        return
    keys = tuple(dict.fromkeys((*ledger.aligned.get(peer, ()), before.key)))
    if len(keys) < _ALIGNED:
        on.emit(events.AlignmentSeen(peer=peer, keys=keys, at_ms=on.at_ms))
        return
    on.emit(events.AlignmentSeen(peer=peer, keys=(), at_ms=on.at_ms))
    on.tell_trust(peer, LocalAlignment(at_ms=on.at_ms, claim_keys=keys), about=before.key)


# --- bounds (KNOW-10) ---------------------------------------------------------------------------------------


def _room(on: Round, peer: str) -> bool:
    """Make room for one more open claim of a peer; whether there is."""
    limits = on.limits
    while len(on.ledger.index.open.get(peer, ())) >= limits.open_per_peer:
        if not _evict(on, peer):
            return False
    while on.ledger.open_claims >= limits.open_claims:
        counts = {one: len(keys) for one, keys in on.ledger.index.open.items()}
        if not any(_evict(on, one) for one in sorted(counts, key=lambda one: (-counts[one], one))):
            return False
    return True


def _evict(on: Round, peer: str) -> bool:
    """Let a peer lose its oldest pending claim; whether it had one."""
    claims = [on.ledger.claims[key] for key in on.ledger.in_order(on.ledger.index.open[peer])]
    oldest = next((one for one in claims if one.status == "pending"), None)
    if oldest is None:
        return False
    change(on, oldest, Verdict("rejected", "evicted", "evicted"), CausalAnswer())
    return True
