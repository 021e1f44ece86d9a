"""How far a source is trusted: tiers that move by rule, and by a human's word (LIP-2). Pure."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from web4.protocols.messages.lip import TrustTier

Tier = TrustTier

RANK: Final[dict[Tier, int]] = {"blocked": 0, "low": 1, "unknown": 2, "medium": 3, "high": 4}
"""Tiers from worst to best. `unknown` is better than `low`: nothing is held against it."""
ACCEPTED_FOR_HIGH: Final = 20
STILL_ACCEPTED_PERCENT: Final = 95

TierRule = Literal["supported", "track_record", "contradicted", "retracted", "human", "lost_record"]
"""Why a tier moved.

`supported`: a claim of it is supported by two other independent sources. `track_record`: 20 accepted claims, 95 % of
them still accepted; `lost_record`: no longer. `contradicted`: by an accepted claim. `retracted`: an accepted claim of
it was rejected by a human or voted down.
"""


class Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What this node holds about one source.

    Args:
        tier: How far it is trusted.
        accepted: Claims of it that were ever accepted here.
        standing: Those of them that still are.
    """

    tier: Tier = "unknown"
    accepted: int = 0
    standing: int = 0

    @property
    def has_record(self) -> bool:
        """Whether enough of its claims were accepted, and still are."""
        return (
            self.accepted >= ACCEPTED_FOR_HIGH
            and self.standing * 100 >= self.accepted * STILL_ACCEPTED_PERCENT
        )


NEW_SOURCE: Final = Source()


def supported(source: Source) -> Tier:
    """The tier after a claim of the source was supported by two other independent ones.

    One that was contradicted stays `low`: the claims from before must not raise it again.
    """
    return "medium" if source.tier == "unknown" else source.tier


def recounted(source: Source) -> Tier:
    """The tier after a claim of the source was accepted, or stopped being so."""
    if source.tier == "blocked":
        return "blocked"
    if source.has_record:
        return "high"
    return "medium" if source.tier == "high" else source.tier


def contradicted(source: Source) -> Tier:
    """The tier after an accepted claim contradicted one of the source."""
    return source.tier if source.tier == "blocked" else "low"
