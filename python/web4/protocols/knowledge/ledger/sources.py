"""Tiers of sources, as the claims of the ledger move them (LIP-2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.protocols.knowledge.ledger import counting, events
from web4.protocols.knowledge.sources import tiers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from web4.protocols.knowledge.ledger.claims import Claim
    from web4.protocols.knowledge.ledger.rounds import Round
    from web4.protocols.knowledge.ledger.state import LedgerState
    from web4.protocols.knowledge.sources.tiers import Tier, TierRule


def retier(
    on: Round,
    domain: str,
    tier: Tier,
    rule: TierRule,
    *,
    because: str | None = None,
    human: str | None = None,
    words: str = "",
) -> None:
    """Move a source to a tier, if it is not there, and look at its claims again."""
    was = on.ledger.source(domain).tier
    if was == tier:
        return
    on.emit(
        events.TierChanged(
            domain=domain,
            was=was,
            tier=tier,
            rule=rule,
            because=because,
            human=human,
            words=words[:512],
            at_ms=on.at_ms,
        )
    )
    on.look_at(on.ledger.concerning_source(domain))


def tiers_by_support(on: Round, claim: Claim) -> None:
    """A source becomes `medium` when two other independent ones support a claim of it.

    Counted is what trusted peers or this node bring from it: a probing peer's word raises no tier (ENV-2).
    """
    votes = [
        vote
        for vote in claim.votes.values()
        if vote.kind == "confirm"
        and vote.cited.domains
        and (vote.peer == on.node or counting.state_of(on.ledger.peers, vote.peer) == "trusted")
    ]
    if len(votes) < 3 or counting.independent(votes, on.ledger.peers, up_to=3) < 3:
        return
    for domain in sorted({domain for vote in votes for domain in vote.cited.domains}):
        source = on.ledger.source(domain)
        if source.tier == "unknown":
            retier(on, domain, tiers.supported(source), "supported", because=claim.key)


def tiers_of_change(
    ledger: LedgerState, claim: Claim, event: events.ClaimChanged, node: str
) -> Iterator[tuple[str, Tier, TierRule]]:
    """Where the sources of a claim belong after it changed: (domain, tier, why)."""
    credited = claim.credited or event.credited
    retracted = claim.was_accepted and event.status == "rejected" and event.rule in {"a", "c"}
    for domain in credited:
        source = ledger.source(domain)
        if retracted:
            yield domain, "blocked", "retracted"
        elif (tier := tiers.recounted(source)) != source.tier:
            yield domain, tier, "track_record" if tier == "high" else "lost_record"
    if event.status == "disputed" and event.reason == "contradicted":
        for one in claim.proposals:
            if one.route == "lip" and (
                one.peer == node or counting.state_of(ledger.peers, one.peer) == "trusted"
            ):
                for domain in one.cited.domains:
                    yield domain, tiers.contradicted(ledger.source(domain)), "contradicted"
