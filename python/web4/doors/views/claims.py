"""The ledger's claims: `claim_ls`, `claim_show` (section 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from web4.doors.views.errors import UnknownName
from web4.doors.views.naming import by_prefix
from web4.foundation.codec import HexDigest
from web4.protocols.knowledge import asking
from web4.protocols.knowledge.errors import UnknownFactRef
from web4.protocols.knowledge.ledger.claims import ClaimStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.doors.views.reading import Reading
    from web4.protocols.knowledge.ledger.claims import Claim, Proposal, Vote
    from web4.protocols.knowledge.ledger.state import LedgerState

MOST: Final = 500
HISTORY: Final = 200
"""Events of one claim that are shown: the last."""


class WhichClaims(msgspec.Struct, frozen=True):
    """The payload of `claim_ls`.

    Args:
        status: Only those that are this.
        domain: Only those of this domain.
        after: Only those behind this key: the `next` of the page before.
        limit: At most so many.
    """

    status: ClaimStatus | None = None
    domain: str | None = None
    after: HexDigest | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = 100


class WhichClaim(msgspec.Struct, frozen=True):
    """The payload of `claim_show`: a key, the first digits of one, or the `msg_id` of a proposal."""

    claim: str


async def claim_ls(reading: Reading, asked: WhichClaims) -> Mapping[str, Any]:
    """`{claims: [row], next}`, in the order of their keys; `next` is None at the end."""
    ledger = await reading.ledger()
    found = asking.claims(
        ledger, status=asked.status, domain=asked.domain, after=asked.after, limit=asked.limit + 1
    )
    page = found[: asked.limit]
    return {
        "claims": [claim_row(one) for one in page],
        "next": page[-1].key if len(found) > len(page) else None,
    }


async def claim_show(reading: Reading, asked: WhichClaim) -> Mapping[str, Any]:
    """A row, with who said what of it, and `events`: the last that made it what it is, oldest first (OBS-7)."""
    claim = find_claim(await reading.ledger(), asked.claim)
    told = await asking.why(reading.journal, claim.key, limit=HISTORY)
    return {
        **claim_row(claim),
        "triple": None if claim.triple is None else msgspec.to_builtins(claim.triple),
        "opened_ms": claim.opened_ms,
        "mode": claim.mode,
        "proposals": [_proposal(one) for one in claim.proposals],
        "votes": [_vote(claim.votes[peer]) for peer in sorted(claim.votes)],
        "counted": list(claim.confirmers),
        "notes": [list(one) for one in claim.notes],
        "sent_to": list(claim.sent_to),
        "decision_id": claim.decision_id,
        "events": [
            {"seq": one.seq, "at_ms": one.at_ms, "type": one.type, "event": msgspec.to_builtins(one.event)}
            for one in told
        ],
    }


def find_claim(ledger: LedgerState, word: str) -> Claim:
    """The claim that a word stands for.

    Raises:
        UnknownFactRef: There is none.
        UnknownName: `ambiguous_name`, `name_too_short`.
    """
    found = ledger.find(word)
    if found is not None:
        return found
    try:
        return ledger.claims[by_prefix(word, ledger.claims, what="claim")]
    except UnknownName as error:
        if error.code != "unknown_name":
            raise
        raise UnknownFactRef(f"there is no claim {word[:80]!r} here") from None


def claim_row(claim: Claim) -> dict[str, Any]:
    """A claim in brief."""
    return {
        "key": claim.key,
        "status": claim.status,
        "reason": claim.reason or None,
        "rule": claim.rule,
        "since_ms": claim.since_ms,
        "domain": claim.domain,
        "statement": claim.statement,
        "proposers": [one.peer for one in claim.proposals],
        "confirms": sum(one.kind == "confirm" for one in claim.votes.values()),
        "rejects": sum(one.kind == "reject" for one in claim.votes.values()),
        "challenges": sum(one.kind == "challenge" for one in claim.votes.values()),
        "basis": claim.basis,
        "human": None if claim.human is None else msgspec.to_builtins(claim.human),
    }


def _proposal(one: Proposal) -> dict[str, Any]:
    return {
        "peer": one.peer,
        "msg_id": one.msg_id,
        "route": one.route,
        "at_ms": one.at_ms,
        "confidence": one.confidence,
        "complete": one.complete,
        "sources": list(one.cited.domains),
        "links": list(one.links),
        "contradicted": one.contradicted,
    }


def _vote(one: Vote) -> dict[str, Any]:
    return {
        "peer": one.peer,
        "kind": one.kind,
        "route": one.route,
        "msg_id": one.msg_id,
        "at_ms": one.at_ms,
        "confidence": one.confidence,
        "evidence": one.cited.pieces,
        "sources": list(one.cited.domains),
        "reason": one.reason or None,
    }


QUESTIONS: Final = {"claim_ls": (WhichClaims, claim_ls), "claim_show": (WhichClaim, claim_show)}
