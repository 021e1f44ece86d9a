"""Every attack by its name, with how much of it, and how many identities that are trusted it takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tests.chaos.hostile import flooding, framing, malforming, meshing, replaying

if TYPE_CHECKING:
    from tests.chaos.hostile.stage import Attack


@dataclass(frozen=True, slots=True)
class Planned:
    """An attack, `count` of it, and `insiders` that it uses up."""

    attack: Attack
    count: int
    insiders: int = 0

    @property
    def name(self) -> str:
        """What it is called."""
        return self.attack.__name__

    def scaled(self, scale: float) -> Planned:
        """So much of it, but one of each at least for those who are trusted first."""
        return replace(self, count=max(self.count and 1, self.insiders, round(self.count * scale)))


ATTACKS: Final = tuple(
    Planned(*given)
    for given in (
        (flooding.garbage, 300),
        (replaying.replayed_hello, 8),
        (flooding.handshakes, 60),
        (replaying.replayed_envelopes, 3_000),
        (framing.foreign_sender, 6),
        (flooding.intents, 6_000),
        (meshing.forged_introductions, 4, 4),
        (replaying.replayed_to_others, 60),
        (flooding.facts, 6_000),
        (framing.forged_signature, 6),
        (meshing.introductions_in_honest_names, 40, 1),
        (flooding.votes, 6_000),
        (framing.equivocates, 6, 3),
        (meshing.lying_routes, 60, 1),
        (flooding.states, 8_000),
        (framing.two_faced_facts, 4, 2),
        (meshing.relay_flood, 3_000, 1),
        (flooding.people, 6_000),
        (framing.votes_in_honest_names, 3, 3),
        (meshing.thousands_introduced, 3_000, 1),
        (replaying.invented_receipts, 1_000),
        (framing.two_votes, 1_500),
        (meshing.gossip, 1_500, 1),
        (flooding.web_claims, 6_000),
        (framing.damaged_pubkey, 4),
        (meshing.services, 2_000, 1),
        (flooding.huge, 300),
        (malforming.wrong_channel, 4),
        (meshing.fetches, 1_000, 1),
        (flooding.slow_reader, 2_000),
    )
)
"""Each once; 10^5 malformed envelopes come in parts between them."""
MALFORMED: Final = Planned(malforming.malformed, 25_000)
EVERYTHING: Final = (*ATTACKS, *[MALFORMED] * 4)
"""A round."""
