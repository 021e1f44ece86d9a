"""From messages that were let in to commands of lane `knowledge`. Idempotent: a message twice changes nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET
from msgspec.structs import replace

from web4.foundation.clock import parse_timestamp
from web4.protocols.knowledge import commands
from web4.protocols.knowledge.errors import ClaimRefused, MissingProvenance, UnknownFactRef
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.knowledge.ledger.claims import Cited, Page
from web4.protocols.knowledge.memory.entries import stored_triple
from web4.protocols.knowledge.sources.domains import source_domain
from web4.protocols.messages import cip, lip
from web4.protocols.router.results import HandlerResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from web4.foundation.errors import Web4Error
    from web4.protocols.cip.actions import Delivery
    from web4.protocols.knowledge.ledger.limits import KnowledgeLimits
    from web4.protocols.messages.fields import Provenance

_MOST_PAGES: Final = 4
"""Pages of one message that a claim keeps, to fetch them again."""
_MOST_URI: Final = 2_048
_FINE: Final = frozenset({"proposed", "voted", "parked", "noted", "known", "said", "decided"})


def proposed_fact(payload: cip.FactPropose, **said: Any) -> commands.Propose:
    """The command of a FACT_PROPOSE.

    Args:
        payload: What is proposed.
        said: Who said it, when, in which message.

    Raises:
        ClaimRefused: The statement has no canonical form, or too much is cited.
    """
    fact, trace = payload.fact, payload.dmp_trace
    domains = sorted({found for one in fact.sources if (found := source_domain(one)) is not None})
    return commands.Propose(
        route="cip",
        claims=(stated(fact.statement, fact.domain, fact.triple),),
        confidence=float(fact.confidence),
        complete=is_complete(payload),
        cited=Cited(pieces=len(fact.sources) + len(trace.evidence), domains=tuple(domains)),
        links=tuple(dict.fromkeys(payload.causal_links)),
        decision_id=trace.decision_id,
        **said,
    )


def is_complete(payload: cip.FactPropose) -> bool:
    """Whether trace and provenance are complete (KNOW-5, 2): a step that led there, and a source or evidence."""
    trace = payload.dmp_trace
    return bool(trace.steps) and bool(payload.fact.sources or trace.evidence)


def stated(statement: str, domain: str, triple: cip.Triple | Any) -> commands.Stated:
    """A statement under its key (KNOW-1).

    Raises:
        ClaimRefused: `claim_unwritable`.
    """
    try:
        key = claim_key(domain, statement)
    except ValueError:
        raise ClaimRefused("the statement has no canonical form", code="claim_unwritable") from None
    return commands.Stated(
        key=key,
        domain=domain.lower(),
        statement=statement,
        triple=None if triple is UNSET or triple is None else stored_triple(triple),
    )


def proposed_web_claims(
    payload: lip.LipEvidence, limits: KnowledgeLimits, **said: Any
) -> list[commands.Propose]:
    """The commands of a LIP_EVIDENCE: a few claims each.

    Raises:
        MissingProvenance: It says not where it is from (LIP-1).
        ClaimRefused: A statement has no canonical form.
    """
    cited = cited_pages(payload.evidence)
    return [
        commands.Propose(
            route="lip",
            claims=tuple(stated(one.statement, one.domain, one.triple) for one in some),
            confidence=float(payload.confidence),
            complete=True,
            cited=cited,
            **said,
        )
        for some in _by(limits.claims_per_command, payload.claims)
    ]


def cited_pages(evidence: Iterable[Provenance]) -> Cited:
    """What counting needs of pages that were fetched: where they are, and what was there.

    Raises:
        MissingProvenance: There is none, or one names no http or https URI (LIP-1).
    """
    domains: set[str] = set()
    bodies: set[str] = set()
    pages: list[Page] = []
    pieces = 0
    for one in evidence:
        places = [source_domain(uri) for uri in (one.uri, one.final_uri)]
        if None in places or not one.retrieved_at or not one.body_blake3:
            raise MissingProvenance("evidence from the web names no http(s) address")
        domains.update(place for place in places if place is not None)
        bodies.add(one.body_blake3)
        pieces += 1
        if len(pages) < _MOST_PAGES and len(one.final_uri) <= _MOST_URI:
            pages.append(Page(uri=one.final_uri, body=one.body_blake3, retrieved_at=one.retrieved_at))
    if not pieces:
        raise MissingProvenance("a web claim cites no evidence")
    return Cited(
        pieces=pieces, domains=tuple(sorted(domains)), bodies=tuple(sorted(bodies)), pages=tuple(pages)
    )


def cited_evidence(evidence: Iterable[cip.VoteEvidence]) -> Cited:
    """What counting needs of a vote's evidence (KNOW-3). What was fetched names its page; the rest is a piece each.

    Raises:
        MissingProvenance: What was fetched names no http or https URI (LIP-1).
    """
    listed = tuple(evidence)
    fetched = [one.provenance for one in listed if isinstance(one, cip.FetchEvidence)]
    pages = cited_pages(fetched) if fetched else Cited()
    return replace(pages, pieces=len(listed))


def fact_vote(payload: cip.FactConfirm | cip.FactReject, **said: Any) -> commands.CastVote:
    """The command of a FACT_CONFIRM or FACT_REJECT.

    Raises:
        MissingProvenance: As `cited_evidence`.
    """
    return commands.CastVote(
        refs=(payload.fact_ref,),
        kind=payload.decision,
        route="cip",
        cited=cited_evidence(payload.evidence),
        reason=payload.notes,
        confidence=float(payload.confidence),
        **said,
    )


def fact_challenge(payload: cip.FactChallenge, *, note_only: bool, **said: Any) -> commands.CastVote:
    """The command of a FACT_CHALLENGE."""
    return commands.CastVote(
        refs=(payload.fact_ref,),
        kind="challenge",
        route="cip",
        reason=payload.reason,
        note_only=note_only,
        **said,
    )


def web_votes(
    payload: lip.LipAccept | lip.LipReject, limits: KnowledgeLimits, **said: Any
) -> list[commands.CastVote]:
    """The commands of a LIP_ACCEPT or LIP_REJECT. `corroborators` is hearsay and not even looked at (LIP-3).

    Raises:
        MissingProvenance: An acceptance cites nothing of its own (LIP-1).
    """
    accepts = isinstance(payload, lip.LipAccept)
    cited = cited_pages(payload.evidence) if accepts or payload.evidence else Cited()
    return [
        commands.CastVote(
            refs=some,
            kind="confirm" if accepts else "reject",
            route="lip",
            cited=cited,
            reason=payload.reason,
            **said,
        )
        for some in _by(limits.claims_per_command, payload.claim_keys)
    ]


def web_conflicts(
    payload: lip.LipConflict, limits: KnowledgeLimits, *, note_only: bool, **said: Any
) -> list[commands.CastVote]:
    """The commands of a LIP_CONFLICT."""
    return [
        commands.CastVote(
            refs=(one.claim_key,),
            kind="challenge",
            route="lip",
            reason=one.reason,
            note_only=note_only,
            **said,
        )
        for one in payload.conflicts[: 16 * limits.claims_per_command]
    ]


def commands_of(
    delivery: Delivery, limits: KnowledgeLimits
) -> Sequence[commands.Propose | commands.CastVote]:
    """What a message says to the ledger (section 14).

    Raises:
        KnowledgeError: Nothing of it enters.
    """
    message: Any = delivery.message
    payload = message.payload
    said: dict[str, Any] = {
        "at_ms": delivery.received_ms,
        "cause": f"{delivery.peer}:{message.msg_id}",  # a sender chooses its ids, and others' are not its to use
        "peer": delivery.peer,
        "msg_id": message.msg_id,
        "sent_ms": parse_timestamp(message.timestamp),
        "digest": delivery.digest,
    }
    note_only = delivery.admission == "note only"
    match payload:
        case cip.FactPropose():
            return [proposed_fact(payload, **said)]
        case cip.FactConfirm() | cip.FactReject():
            return [fact_vote(payload, **said)]
        case cip.FactChallenge():
            return [fact_challenge(payload, note_only=note_only, **said)]
        case lip.LipEvidence():
            return proposed_web_claims(payload, limits, **said)
        case lip.LipAccept() | lip.LipReject():
            return web_votes(payload, limits, **said)
        case lip.LipConflict():
            return web_conflicts(payload, limits, note_only=note_only, **said)
    raise TypeError(f"{message.type} is not for the ledger")


def result_of(delivery: Delivery | None, outcomes: Iterable[tuple[str, str]]) -> HandlerResult:
    """What the router hears: refused if nothing of the message entered, with the first reason."""
    listed = list(outcomes)
    if not listed or any(outcome in _FINE for _, outcome in listed):
        return HandlerResult()
    return HandlerResult("refused", error=refusal(listed[0][1], delivery))


def refusal(code: str, delivery: Delivery | None = None) -> Web4Error:
    """The error of a code that the logic answered."""
    about: dict[str, Any] = {}
    if delivery is not None:
        about = {"msg_id": delivery.message.msg_id, "peer": delivery.peer}
    if code == "unknown_fact_ref":
        return UnknownFactRef("no claim of this node has this reference", **about)
    return ClaimRefused(f"the ledger does not take it: {code}", code=code, **about)


def _by(most: int, things: tuple[Any, ...]) -> Iterable[tuple[Any, ...]]:
    return (things[start : start + most] for start in range(0, len(things), most))
